"""What graph models learn from and are asked about, from any lake that is cut in time; and the lakes of two public data sets.

The public sets stay where they are: a folder is named, and what is missing there is skipped. MovieLens comes through its importer. The
Last.fm set of HetRec 2011 is made into a lake here: an artist is an item, a tag assignment is a save to the board "this user's this tag",
and tags become attributes of the artist from the day they are given. What has no date, listening counts and friends, is left out: it was
collected after everything else and would tell of the test.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, content_hash, load_artifact, write_artifact
from corkboard.errors import InputError
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.real_data import data_file, lake_of
from corkboard.experiments.spine_runs import code_hash
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.from_lake import item_edges
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.importers import find_importer, ingest_outside
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE
from corkboard.seeds import generator

LASTFM, MOVIELENS = "hetrec-lastfm-2k", "ml-latest-small"
BASE_GRAPH: Mapping[str, str] = {LASTFM: "board", MOVIELENS: "user_save"}
"""The one graph that PinSage reads where it is not the boards."""
_LASTFM_FILES = ("user_taggedartists.dat", "artists.dat", "tags.dat")
_FIRST_YEAR = 2005
"""Last.fm tags are no older; a few rows have impossible dates."""
_TAGS_PER_ITEM = 64


@dataclass(frozen=True)
class GraphData:
    """A lake and a cut. Edges and pairs end at the cut; what comes after it is only asked about.

    ``item_ids`` are the catalogue that is ranked, in which some items may be newer than the cut: they have no edges.
    """

    lake: Lake
    calendar: Calendar
    config: GraphExperimentConfig
    item_ids: Sequence[str]

    @property
    def cut_ms(self) -> int:
        """Where the test begins."""
        return self.calendar.rank_cut_ms

    @cached_property
    def sealed(self) -> Lake:
        """The lake as it was known at the cut."""
        return self.lake.until(self.cut_ms)

    @cached_property
    def edges(self) -> dict[str, pl.DataFrame]:
        """Edges known at the cut, by the name of their graph: left, right, time_ms."""
        return {name: found.collect() for name, found in item_edges(self.sealed, self.config.graph.pruning).items()}

    @property
    def pairs_ms(self) -> int:
        """Where the pairs begin that encoders learn from."""
        return self.calendar.last_quarter_ms(self.cut_ms)

    @cached_property
    def edges_before_pairs(self) -> dict[str, pl.DataFrame]:
        """Edges known where the pairs begin: those that encoders read while they learn."""
        return {name: found.collect() for name, found in item_edges(self.lake.until(self.pairs_ms), self.config.graph.pruning).items()}

    @cached_property
    def pairs(self) -> pl.DataFrame:
        """Items engaged together in the last quarter of the time before the cut."""
        from corkboard.embeddings.pairs import co_engagement_pairs

        return co_engagement_pairs(self.sealed.actions(self.pairs_ms), self.config.pairs, self.config.evaluation.seed)

    @cached_property
    def learned_ids(self) -> list[str]:
        """The items of the catalogue that were there before the cut: an encoder that meets others while it learns has to hide them."""
        before = set(self.sealed.items()["item_id"].to_list())
        return [item_id for item_id in self.item_ids if item_id in before]


def graphs_of(edges: Mapping[str, pl.DataFrame], item_ids: Sequence[str]) -> dict[str, BipartiteGraph]:
    """The graphs of these edges over ``item_ids``."""
    return {name: BipartiteGraph.of(name, found, item_ids) for name, found in edges.items()}


def thinned_copies(board: pl.DataFrame, names: Sequence[str], share: float, seed: int) -> dict[str, pl.DataFrame]:
    """For each of ``names`` edges that tell nothing new: a random ``share`` of the board edges, and the boards of each random two as one.

    A model with these in place of its other graphs has as many graphs and the same weights, and nothing to learn from them.
    """
    boards = board["right"].unique().sort()
    copies = {}
    for name in names:
        rng = generator(seed, "graph experiment", "copy", name)
        merged = pl.DataFrame({"right": boards, "merged": rng.permutation(len(boards)) // 2})
        kept = board.filter(pl.Series(rng.random(board.height) < share)).join(merged, on="right", how="left", maintain_order="left")
        copies[name] = kept.select("left", pl.col("merged").cast(pl.String).alias("right"), "time_ms")
    return copies


def without_items(edges: Mapping[str, pl.DataFrame], item_ids: Sequence[str], gone: np.ndarray) -> dict[str, pl.DataFrame]:
    """The edges without those of the items that ``gone``, bool ``(items,)``, marks."""
    names = [item_id for item_id, one in zip(item_ids, gone.tolist(), strict=True) if one]
    return {name: found.filter(~pl.col("left").is_in(names)) for name, found in edges.items()}


# ------------------------------------------------------------------------------------------------------------ public sets


def public_files(name: str, data: Path) -> list[Path]:
    """The files of a public set that are read. Raises :class:`corkboard.errors.NotFound` where they are not in ``data / name``."""
    folder = data_file(data, name)
    if name == MOVIELENS:
        importer = find_importer(folder, "movielens")
        assert importer is not None
        return importer.files(folder)
    return [_plain_or_packed(folder, file) for file in _LASTFM_FILES]


def public_lake(name: str, data: Path, runs: Path) -> Lake:
    """The lake of a public set, made once, below ``runs``. Raises ``NotFound`` where the data is not."""
    files, folder = public_files(name, data), data / name
    if name == MOVIELENS:
        return lake_of(files, runs, code_hash("lake"), lambda place: ingest_outside(place, folder, "movielens"))
    code = code_hash("lake", "experiments/graph_data.py")
    return lake_of(files, runs, code, lambda place: ingest_frames(place, lastfm_frames(*files), source=name))


def public_calendar(lake: Lake, test_share: float) -> Calendar:
    """A cut at the first midnight after which at most ``test_share`` of the positive actions lie."""
    times = lake.actions().filter(pl.col("action").is_in(list(POSITIVE)))["time_ms"].sort()
    days = lake.active_days
    cut_ms = (int(times[int((1 - test_share) * (len(times) - 1))]) // DAY_MS + 1) * DAY_MS
    if not days[0] * DAY_MS < cut_ms <= days[-1] * DAY_MS:
        raise InputError("No midnight leaves actions on both sides", found=len(days), expected="actions on several days")
    return Calendar(days[0] * DAY_MS, cut_ms, cut_ms, (days[-1] + 1) * DAY_MS)


def public_content(lake: Lake, calendar: Calendar, config: GraphExperimentConfig, place: Path) -> EmbeddingTable:
    """Content vectors of every item, kept below ``place``, by a tower that read what came before the cut.

    Items are as they were at the cut. Newer ones are as they were born: their tags were given later, and are left out.
    """
    from corkboard.embeddings.content import train_content
    from corkboard.embeddings.pairs import co_engagement_pairs

    cut_ms, seed = calendar.rank_cut_ms, config.evaluation.seed
    given = (config.content.model_dump(mode="json"), config.pairs.model_dump(mode="json"), seed)
    key = content_hash(lake.event_hash(), cut_ms, *given, code_hash("embeddings", "learning", "lake", "experiments/graph_data.py"))
    folder = place / "content" / "default" / key
    if (folder / "manifest.json").exists():
        return load_artifact(folder).embeddings()
    sealed = lake.until(cut_ms)
    before = sealed.items()
    tower = train_content(before, co_engagement_pairs(sealed.actions(), config.pairs, seed), config.content, seed, None, cut_ms)
    no_tag = pl.col("attributes").list.eval(pl.element().filter(pl.element().struct.field("name") != "tag"))
    newer = lake.items().join(before.select("item_id"), on="item_id", how="anti").with_columns(no_tag)
    items = pl.concat([before, newer.select(before.columns)])
    ids = items["item_id"].to_list()
    made = {"tensors": {"vectors": tower.encode(items, cut_ms)}, "tables": {"ids": pl.DataFrame({"id": ids})}}
    return write_artifact(place, "content", key, makes=[tower.space], seed=seed, **made).embeddings()


def lastfm_frames(tagged: Path, artists: Path, tags: Path) -> dict[str, pl.DataFrame]:
    """Lake frames of the Last.fm set: items, boards and actions. Dates are days; the order within one is drawn."""
    given = _read(tagged).filter(pl.col("year") >= _FIRST_YEAR).join(_read(tags), on="tagID", how="inner", maintain_order="left")
    given = given.select(
        user_id="u" + pl.col("userID").cast(pl.String),
        item_id="a" + pl.col("artistID").cast(pl.String),
        tag=pl.col("tagValue").str.strip_chars().str.to_lowercase(),
        day_ms=pl.date("year", "month", "day").cast(pl.Datetime("ms")).cast(pl.Int64),
    ).drop_nulls()
    given = given.sample(fraction=1.0, shuffle=True, seed=0).sort("user_id", "day_ms", maintain_order=True)
    place = pl.int_range(pl.len()).over("user_id", "day_ms")
    given = given.with_columns(time_ms=pl.col("day_ms") + 1000 * place, board_id=pl.col("user_id") + "/" + pl.col("tag"))
    actions = given.select("time_ms", "user_id", "item_id", "board_id", action=pl.lit("save"))
    boards = given.group_by("board_id", "user_id", maintain_order=True).agg(pl.col("time_ms").min() - 1, title=pl.col("tag").first())
    names = _read(artists).select(item_id="a" + pl.col("id").cast(pl.String), title=pl.col("name").cast(pl.String))
    return {"items": _artists(given, names), "boards": boards, "actions": actions}


def _artists(given: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The row of each artist at its first tag, and a further one for each day that brought new ones: tags grow."""
    from corkboard.lake.importers.frames import with_attributes

    new = given.sort("time_ms").unique(["item_id", "tag"], keep="first", maintain_order=True)
    new = new.filter(pl.int_range(pl.len()).over("item_id") < _TAGS_PER_ITEM)
    days = new.group_by("item_id", "day_ms", maintain_order=True).agg(pl.col("time_ms").max())
    births = given.group_by("item_id", maintain_order=True).agg(pl.col("time_ms").min() - 1)
    rows = pl.concat([births, days.select("item_id", "time_ms")]).with_row_index("row")
    so_far = rows.join(new.select("item_id", "tag", tagged_ms="time_ms"), on="item_id", maintain_order="left_right")
    so_far = so_far.filter(pl.col("tagged_ms") <= pl.col("time_ms")).select("row", name=pl.lit("tag"), value="tag")
    rows = with_attributes(rows, so_far, key="row")
    return rows.join(names, on="item_id", how="left", maintain_order="left").select("time_ms", "item_id", "title", "attributes")


def _plain_or_packed(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else data_file(folder, name)


def _read(file: Path) -> pl.DataFrame:
    """A tab-separated file with a header, plain or packed; a quotation mark is a letter."""
    read = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return pl.read_csv(read, separator="\t", quote_char=None, encoding="utf8-lossy", infer_schema_length=None)

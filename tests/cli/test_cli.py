import json
import subprocess
import sys

import pytest

from corkboard.cli.show import _print_graphs, _print_page
from corkboard.config import fields
from corkboard.settings import Settings, load_settings


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "corkboard", *arguments], capture_output=True, text=True, timeout=120)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['corkboard', '--help']\n"
        "from corkboard.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'polars', 'pyarrow', 'numpy', 'scipy', 'faiss', 'fastapi', 'plotly'}\n"
        "heavy |= {'corkboard.embeddings.content', 'corkboard.ranking.pointwise'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "-w", "/nowhere"], "There is no workspace here"),
        (["ingest", "/nowhere.csv", "-w", "/tmp/nothing"], "There is no such file"),
        (["config", "--set", "serving.prot=3"], "Did you mean serving.port"),
        (["config", "no.such"], "There is no such setting"),
        (["rank", "ann", "--items", "/nowhere.txt", "-w", "/nowhere"], "There is no workspace here"),
        (["show", "page", "-w", "/nowhere"], "corkboard show page USER"),
        (["show", "page", "--utility", "save=3", "-w", "/nowhere"], "corkboard show page USER"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_utility_of_nothing_is_shown_and_a_missing_one_is_blank(capsys):
    worth = {"save": {"before": 1.5, "after": 3.0}}
    items = [
        {"item_id": "stays", "title": "A", "before": 1, "after": 1, "moved": 0, "utility_before": 0.0, "utility_after": 0.5},
        {"item_id": "comes", "title": "B", "before": None, "after": 2, "moved": None, "utility_before": None, "utility_after": 0.0},
    ]
    _print_page({"user": "ann", "release": "r", "weights": worth, "items": items, "notes": []})
    lines = capsys.readouterr().out.splitlines()
    stays, comes = (next(line.split() for line in lines if name in line) for name in ("stays", "comes"))
    assert [cell for cell in stays if "." in cell] == ["0.00", "0.50"]
    assert [cell for cell in comes if "." in cell] == ["0.00"]


def test_graphs_are_one_line_each_and_the_walked_one_is_marked(capsys):
    board = {"left": 2000, "right": 300, "linked": 1500, "median_degree": 2.5, "edges": 4500, "walked": True}
    _print_graphs({"board": board, "tag": board | {"edges": 7, "walked": False}})
    lines = capsys.readouterr().out.splitlines()
    walked, other = (next(line for line in lines if f" {name} " in line) for name in ("board", "tag"))
    for said in ("2,000", "300", "1,500", "2.50", "4,500", "walked"):
        assert said in walked
    assert "walked" not in other


def test_config_lists_every_setting_with_a_meaning():
    done = run("config", "--json", "-w", "/tmp/no-workspace-here")
    listed = json.loads(done.stdout)
    assert set(listed) == {name for name, _, _ in fields(Settings)}
    silent = [name for name, row in listed.items() if not row["meaning"] and not name.startswith("world.")]
    assert silent == []


def test_the_dial_sets_and_an_explicit_value_wins(tmp_path):
    assert load_settings(overrides=["scale=tiny"], environ={}).world.items == 300
    assert load_settings(overrides=["scale=tiny", "world.items=77"], environ={}).world.items == 77
    (tmp_path / "corkboard.toml").write_text('scale = "tiny"\n')
    assert load_settings(tmp_path, environ={}).world.items == 300


def test_a_page_and_a_thing_from_the_shell(built):
    user = built.lake().actions()["user_id"][0]
    options = ["-w", str(built.folder), "--set", "scale=tiny", "--json"]
    page = json.loads(run("feed", user, "-k", "5", *options).stdout)
    assert len(page["items"]) == 5
    assert json.loads(run("show", user, *options).stdout)["user"] == user
    item = page["items"][0]["item_id"]
    related = json.loads(run("feed", user, "--item", item, "-k", "5", *options).stdout)
    assert len(related["items"]) == 5
    assert item not in {slot["item_id"] for slot in related["items"]}
    graphs = json.loads(run("show", "graphs", *options).stdout)
    assert [name for name, graph in graphs.items() if graph["walked"]] == ["board"]
    unknown = run("feed", user, "--item", "no such item", *options[:-1])
    assert "Like “no such item”" in unknown.stdout
    assert "[unknown_item]" in unknown.stdout
    releases = json.loads(run("release", "list", *options).stdout)["releases"]
    assert [release["live"] for release in releases].count(True) == 1

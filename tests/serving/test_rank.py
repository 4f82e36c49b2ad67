"""POST /v1/rank over HTTP, from the workspace and from the command line."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.cli.rank import read_list
from corkboard.errors import InputError, StoreError
from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import release_ids
from tests.serving.test_app import action, codes, now_ms, page

ITEMS = [f"item-{n:03d}" for n in range(24)]


@pytest.fixture
def ranking(workspace: Workspace) -> Workspace:
    """A workspace whose live release has a ranker."""
    workspace.releases.promote(release_ids(workspace)[2])
    return workspace


@pytest.fixture
def engine(ranking: Workspace) -> LiveEngine:
    return engine_of(ranking)


def rank(client: TestClient, items: Any = ITEMS, **body: Any) -> dict[str, Any]:
    listed = [one if isinstance(one, dict) else {"item_id": one} for one in items]
    answer = client.post("/v1/rank", json={"items": listed, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_an_answer_has_what_the_contract_says(client: TestClient, ranking: Workspace) -> None:
    response = client.post("/v1/rank", json={"user_id": "user-1", "query": "lamps", "items": [{"item_id": item} for item in ITEMS]})
    answer = response.json()
    assert set(answer) == {"request_id", "release", "release_label", "items", "notes"}
    assert answer["release"] == release_ids(ranking)[2]
    assert sorted(ids(answer)) == ITEMS
    assert set(answer["items"][0]) == {"item_id", "rank", "old_rank", "utility", "worth", "relevance", "heads", "reason", "flags"}
    assert set(answer["items"][0]["heads"]) == {"click", "save", "hide"}
    assert [ITEMS[item["old_rank"] - 1] for item in answer["items"]] == ids(answer)
    assert all(stage in response.headers["server-timing"] for stage in ("state;dur=", "features;dur=", "ranking;dur=", "log;dur="))


def test_it_is_the_ranker_of_the_pages(client: TestClient) -> None:
    """With no word for the list's own order, an item has the score that it has on a page of the same moment."""
    shown = {item["item_id"]: item["score"] for item in page(client, user_id="nobody", k=20)["items"]}
    answer = rank(client, list(shown), user_id="nobody-else", relevance_weight=0, log=False)
    assert [item["utility"] for item in answer["items"]] == pytest.approx([shown[item] for item in ids(answer)], rel=1e-3)
    assert [item["utility"] for item in answer["items"]] == sorted((item["utility"] for item in answer["items"]), reverse=True)


def test_a_save_of_a_moment_ago_changes_the_next_list(client: TestClient) -> None:
    before = rank(client, user_id="newcomer", relevance_weight=0, log=False)
    assert "unknown_user" in codes(before)
    client.post("/v1/events", json=[action("item-026"), action("item-032")])
    after = rank(client, user_id="newcomer", relevance_weight=0, log=False)
    assert "unknown_user" not in codes(after)
    assert [item["utility"] for item in after["items"]] != [item["utility"] for item in before["items"]]
    reasons = {item["item_id"]: item["reason"] for item in after["items"]}
    assert reasons["item-006"] == "By the creator of “Tall small rugs 26”"
    assert all(item["reason"] is None for item in before["items"])


def test_what_is_hidden_stands_last_and_is_not_dropped(client: TestClient) -> None:
    client.post("/v1/events", json=[action("item-000", "hide")])
    answer = rank(client, user_id="newcomer", relevance_weight=1e9)
    assert ids(answer) == [*ITEMS[1:], "item-000"]
    assert answer["items"][-1]["flags"] == ["hidden"]
    assert "ruled_last" in codes(answer)
    assert ids(rank(client, user_id="newcomer", relevance_weight=1e9, apply_rules=False)) == ITEMS


def test_a_list_is_logged_for_training_and_can_be_explained(client: TestClient, engine: LiveEngine) -> None:
    answer = rank(client, [*ITEMS, "unheard-of"], user_id="user-1", query="lamps", k=5)
    served = engine.store.served(answer["request_id"])
    assert (served["policy"], served["surface"], served["query"]) == ("rank/pointwise", "search", "lamps")
    assert [slot["item_id"] for slot in served["slots"]] == ids(answer)
    explained = client.get(f"/v1/explain/{answer['request_id']}/{ids(answer)[0]}").json()
    assert (explained["on_page"], explained["query"], explained["sources"]) == (True, "lamps", ["caller"])
    silent = rank(client, user_id="user-1", log=False)
    assert client.get(f"/v1/explain/{silent['request_id']}/item-001").status_code == 404


def test_explanations_come_with_the_answer(client: TestClient) -> None:
    answer = rank(client, ["unheard-of", *ITEMS], user_id="user-1", explain=True, k=4)
    assert answer["items"][0]["explanation"] is None
    for item in answer["items"][1:]:
        assert item["explanation"]["heads"] == pytest.approx(item["heads"])


def test_an_item_that_arrived_live_is_ranked(client: TestClient) -> None:
    event = {"event": "item", "time_ms": now_ms(), "item_id": "sofa", "title": "An ottoman sofa", "category": "rugs"}
    assert client.post("/v1/events", json=[event]).status_code == 200
    answer = rank(client, ["sofa", *ITEMS], user_id="user-1")
    assert next(item for item in answer["items"] if item["item_id"] == "sofa")["flags"] == []


def test_scores_and_weights_of_the_request_count(client: TestClient) -> None:
    scored = [{"item_id": item, "score": n} for n, item in enumerate(ITEMS)]
    assert ids(rank(client, scored, user_id="user-1", relevance_weight=1e6)) == ITEMS[::-1]
    plain = rank(client, user_id="user-1", relevance_weight=0)
    assert ids(rank(client, user_id="user-1", relevance_weight=0, weights={"click": -2, "save": -2})) != ids(plain)


def test_a_thousand_items_are_ranked_whole(client: TestClient) -> None:
    items = [f"item-{n:03d}" for n in range(120)] + [f"other-{n}" for n in range(880)]
    assert sorted(ids(rank(client, items, user_id="user-1"))) == sorted(items)


@pytest.mark.parametrize(
    ("body", "code", "about"),
    [
        ({"items": [{"item_id": "a"}, {"item_id": "b"}, {"item_id": "a"}]}, "bad_input", "more than once"),
        ({"items": []}, "bad_input", "length"),
        ({"items": [{"item_id": f"x{n}"} for n in range(1001)]}, "bad_input", "1 to 1000 items"),
        ({"items": ["a"]}, "bad_input", "object"),
        ({"items": [{"item_id": "a", "scroe": 1}]}, "bad_input", "scroe"),
        ({"items": [{"score": 1}]}, "bad_input", "item_id"),
        ({"items": [{"item_id": "a", "score": "high"}]}, "bad_input", "score"),
        ({"items": [{"item_id": "a", "score": 1}, {"item_id": "b"}]}, "bad_input", "all or none"),
        ({"items": [{"item_id": "é" * 300}]}, "bad_input", "512 bytes"),
        ({"itmes": []}, "unknown_key", "Did you mean items?"),
        ({"surface": "visual"}, "unknown_surface", "home"),
        ({"surface": "related"}, "bad_input", "item_id"),
        ({"surface": "search"}, "bad_input", "query"),
        ({"query": "é" * 1000 + "x" * 49}, "bad_input", "length <= 1000"),
        ({"query": "\U0001f9f6" * 513}, "bad_input", "2048 bytes"),
        ({"user_id": None}, "nobody", "session_id"),
        ({"user_id": "session:x"}, "bad_input", "session_id"),
        ({"relevance_weight": -1}, "bad_input", "relevance_weight"),
        ({"relevance_weight": 1e10}, "bad_input", "relevance_weight"),
        ({"weights": {"svae": 1}}, "unknown_key", "Did you mean save?"),
        ({"weights": {"save": "much"}}, "bad_input", "weight of save"),
        ({"k": 0}, "bad_input", "k"),
        ({"explain": True, "items": [{"item_id": f"x{n}"} for n in range(201)]}, "bad_input", "at most 200"),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, body: dict[str, Any], code: str, about: str) -> None:
    answer = client.post("/v1/rank", json={"items": [{"item_id": "item-001"}], "user_id": "user-1", **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert about in answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"items": [{"item_id": "a", "score": 1e999}], "user_id": "u"}'])
def test_what_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/rank", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("not_json", "bad_input")


def test_before_the_first_release_the_list_is_as_it_was(tmp_path: Path) -> None:
    with TestClient(create_app(engine_of(Workspace(tmp_path, load_settings(tmp_path, environ={}))))) as client:
        answer = rank(client, ["b", "a"], user_id="user-1")
    assert (ids(answer), codes(answer), answer["request_id"]) == (["b", "a"], {"no_release"}, None)


def test_without_a_ranker_the_order_is_the_callers(workspace: Workspace) -> None:
    workspace.releases.promote(release_ids(workspace)[0])
    with TestClient(create_app(engine_of(workspace))) as client:
        answer = rank(client, user_id="user-1")
    assert ids(answer) == ITEMS
    assert "no_ranker" in codes(answer)


def test_a_store_that_fails_costs_only_what_it_knows(client: TestClient, engine: LiveEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise StoreError("The store is not there")

    for method in ("state", "sequence", "items_since", "log_served"):
        monkeypatch.setattr(engine.store, method, refuse)
    answer = rank(client, user_id="user-1")
    assert sorted(ids(answer)) == ITEMS
    assert codes(answer) >= {"store_unreachable", "not_logged"}


def test_the_description_says_what_is_taken_and_answered(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    operation = described["paths"]["/v1/rank"]["post"]
    schemas = described["components"]["schemas"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/RankBody")
    assert schemas["RankBody"]["required"] == ["items"]
    assert schemas["RankBody"]["properties"]["items"]["maxItems"] == 1000
    assert set(schemas["RankItem"]["properties"]) == {"item_id", "score"}
    answer = rank(client, user_id="user-1")
    assert set(schemas["RankedList"]["properties"]) == set(answer)
    assert set(schemas["RankedList"]["properties"]["items"]["items"]["required"]) == set(answer["items"][0])


# ---------------------------------------------------------------------------------------------- Python and the command line


def test_from_the_workspace(ranking: Workspace) -> None:
    ranked = ranking.rank("user-1", ITEMS, query="lamps")
    assert sorted(ranked.item_ids) == ITEMS
    assert "session_only" in {note.code for note in ranking.rank(None, ITEMS).notes}
    with closing(ranking.store()) as store:
        assert store.served(ranked.request_id) is None


def cli(workspace: Workspace, file: Path | str, *options: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, ["rank", "user-1", "--items", str(file), *options, "-w", str(workspace.folder)], input=stdin)


def test_from_the_command_line(ranking: Workspace, tmp_path: Path) -> None:
    lines = tmp_path / "list.txt"
    lines.write_text("\n".join([*ITEMS[:6], "unheard-of"]) + "\n")
    answer = json.loads(cli(ranking, lines, "--query", "lamps", "--json").stdout)
    assert answer["items"][6]["item_id"] == "unheard-of"
    assert sorted(ids(answer)) == sorted([*ITEMS[:6], "unheard-of"])
    shown = cli(ranking, lines, "--relevance-weight", "1e9", "-k", "3")
    assert shown.exit_code == 0
    assert "item-002" in shown.stdout
    assert "item-003" not in shown.stdout
    assert "[unknown_items]" in shown.stdout
    piped = cli(ranking, "-", "--json", stdin=json.dumps({"items": [{"item_id": "item-001", "score": 2}]}))
    assert ids(json.loads(piped.stdout)) == ["item-001"]
    assert isinstance(cli(ranking, tmp_path / "no such file").exception, InputError)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\n b \n", (["a", "b"], None)),
        ("a\t0.5\nb\t2\n", (["a", "b"], [0.5, 2.0])),
        ('["a", "b"]', (["a", "b"], None)),
        ('[{"item_id": "a", "score": 1}, {"item_id": "b", "score": 2}]', (["a", "b"], [1.0, 2.0])),
        ('{"items": [{"item_id": "a"}]}', (["a"], None)),
        ("\ufeffa, with a comma\n", (["a, with a comma"], None)),
        ("", ([], None)),
    ],
)
def test_a_list_is_read_from_lines_and_from_json(tmp_path: Path, text: str, expected: Any) -> None:
    (tmp_path / "list").write_text(text, encoding="utf-8")
    assert read_list(tmp_path / "list") == expected


@pytest.mark.parametrize("text", ["a\t1\nb", "a\thigh", '["a"', "{}", '{"items": 3}', '[{"id": "a"}]', '[{"item_id": "a", "score": {}}]'])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(InputError):
        read_list(tmp_path / "list")

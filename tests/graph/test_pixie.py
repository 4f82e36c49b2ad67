import threading

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.packed import PackedGraph
from corkboard.graph.pixie import Pixie, shares_of_visits
from corkboard.graph.walks import DEGREE_BITS, ROUND, WALKERS
from tests.graph.builders import adjacency, expected_visits, graph_of, random_graph

ONE = np.ones(1)


def visits_of(pixie: Pixie, row: int, seed: int = 1, **more) -> np.ndarray:
    """How often each item was visited from ``row``; a query of one item has its counts for scores. Its own are left out."""
    rows, scores = pixie.recommend(np.array([row]), ONE, len(pixie.packed.offsets[0]), seed, **more)
    counts = np.zeros(len(pixie.packed.offsets[0]) - 1)
    counts[rows] = scores
    return counts


def whole(visits: int = 200_000, **more) -> WalkConfig:
    return WalkConfig(visits=visits, board_share=1.0, **more)


# ------------------------------------------------------------------------------------------------------------------- what a walk is


@pytest.mark.parametrize("restart", [0.3, 0.5, 0.9])
def test_visits_are_those_of_a_walk_with_restart(restart):
    graph = random_graph(60, 25, 400)
    expected = expected_visits(adjacency(graph), 7, restart)
    counts, total = visits_of(Pixie(graph, whole(400_000, restart=restart)), 7), 400_000
    expected[7] = 0
    assert np.abs(counts - total * expected).max() < 6 * np.sqrt(total * expected.max())
    assert np.corrcoef(counts, expected)[0, 1] > 0.995


def test_all_visits_are_made_and_counted():
    graph = graph_of("abc", "bcd", "e")
    for visits in (1, 15, 16, 17, 63, 64, 65, 1000, 1024, 5000):
        pixie = Pixie(graph, whole(visits))
        found, begins, ends, made = pixie._walk(np.array([0]), np.array([visits]), 3, 0, False)
        assert made.tolist() == [visits]
        assert (found[: ends[0]] & np.uint64((1 << DEGREE_BITS) - 1)).sum() == visits
        assert begins.tolist() == [0, visits]


def test_more_distinct_items_than_the_first_table_holds_are_all_counted():
    """The table grows while it is filled; nothing is lost or counted twice."""
    graph = random_graph(60_000, 3_000, 400_000)
    found, _, ends, _ = Pixie(graph, whole())._walk(np.array([5]), np.array([150_000]), 3, 0, False)
    words = found[: ends[0]]
    places = words >> np.uint64(DEGREE_BITS)
    assert len(np.unique(places)) == len(places) > 20_000
    assert (words & np.uint64((1 << DEGREE_BITS) - 1)).sum() == 150_000


def test_walkers_do_not_follow_each_other():
    """As many distinct items as independent visits would have; walkers seeded side by side in one sequence had a third."""
    graph = random_graph(200_000, 20_000, 1_000_000)
    config = whole(restart=1e-9)
    _, _, ends, _ = Pixie(graph, config)._walk(np.array([5]), np.array([100_000]), 3, 0, False)
    degrees = graph.left.degrees
    expected = -np.expm1(100_000 * np.log1p(-degrees / degrees.sum())).sum()
    assert 0.93 < ends[0] / expected < 1.02


def test_boards_can_be_told_instead_of_items():
    graph = random_graph(60, 25, 400)
    matrix = adjacency(graph)
    left = expected_visits(matrix, 7, 0.5)
    at = 0.5 * np.eye(60)[7] + 0.5 * left  # where a hop to a board sets out from
    expected = at @ (matrix / matrix.sum(axis=1, keepdims=True))
    rows, scores = Pixie(graph, whole()).recommend(np.array([7]), ONE, 25, 1, boards=True)
    assert np.corrcoef(scores, expected[rows])[0, 1] > 0.995
    assert scores.sum() == pytest.approx(200_000, rel=1e-4)


# ---------------------------------------------------------------------------------------------------------------------- requests


def test_what_lies_on_the_same_boards_is_near():
    rows, _ = Pixie(graph_of("abc", "ab", "def")).recommend(np.array([0]), ONE, 9, 1)
    assert rows.tolist() == [1, 2]


@pytest.mark.parametrize("threads", [2, 4])
def test_the_answer_does_not_depend_on_the_number_of_threads(threads):
    graph = random_graph(300, 80, 2_000)
    rows, weights, labels = np.arange(0, 60, 3), np.linspace(1, 2, 20), [np.ones(n, np.uint16) for n in (300, 80)]
    one, many = (Pixie(graph, WalkConfig(enough_items=50, enough_visits=3), *labels, threads=n) for n in (1, threads))
    for pixie in (one, many):
        pixie.overlay.add(300, 5)
        pixie.overlay.add(3, 80)
    for more in ({}, {"boards": True}, {"label": 1}, {"only": np.arange(300) % 2 == 0}):
        for a, b in zip(one.recommend(rows, weights, 50, 9, **more), many.recommend(rows, weights, 50, 9, **more), strict=True):
            assert np.array_equal(a, b)
    for a, b in zip(one.neighbours(np.arange(300), 7, 500, 9), many.neighbours(np.arange(300), 7, 500, 9), strict=True):
        assert np.array_equal(a, b)


def test_another_seed_is_another_walk():
    pixie = Pixie(random_graph(300, 80, 2_000))
    assert not np.array_equal(visits_of(pixie, 1, seed=1), visits_of(pixie, 1, seed=2))


def test_the_answer_does_not_depend_on_the_order_of_the_query():
    pixie = Pixie(random_graph(300, 80, 2_000))
    one, other = (
        pixie.recommend(np.array([5, 9, 2]), np.array([1.0, 2.0, 3.0]), 20, 1),
        pixie.recommend(np.array([2, 5, 9]), np.array([3.0, 1.0, 2.0]), 20, 1),
    )
    assert np.array_equal(one[0], other[0])


def test_what_several_query_items_lead_to_comes_first():
    """c is reached from both a and b, d and e from one of them only, as often or more often."""
    graph = graph_of("ac", "ad", "bc", "be")
    rows, scores = Pixie(graph, whole()).recommend(np.array([0, 1]), np.ones(2), 9, 1)
    assert rows.tolist()[0] == 2
    alone = [visits_of(Pixie(graph, whole(100_000)), row)[2] for row in (0, 1)]
    assert scores[0] == pytest.approx((np.sqrt(alone[0]) + np.sqrt(alone[1])) ** 2, rel=0.05)
    assert scores[0] > 1.5 * sum(alone)


def test_weights_share_the_visits_out():
    rows, scores = Pixie(graph_of("ac", "bd"), whole(10_000)).recommend(np.array([0, 1]), np.array([3.0, 1.0]), 9, 1)
    assert rows.tolist() == [2, 3]
    assert scores[0] / scores[1] == pytest.approx(3, rel=0.1)


def test_a_query_item_named_twice_has_the_sum_of_its_weights():
    pixie = Pixie(graph_of("ac", "bd"), whole(10_000))
    twice, once = (
        pixie.recommend(np.array([0, 1, 0]), np.array([1.0, 1.0, 2.0]), 9, 1),
        pixie.recommend(np.array([0, 1]), np.array([3.0, 1.0]), 9, 1),
    )
    assert np.array_equal(twice[1], once[1])


def test_popular_items_get_more_visits_but_not_in_proportion():
    shares = shares_of_visits(np.array([1, 10, 1000, 0]), np.ones(4), 100_000)
    assert shares[3] == 0
    assert shares[0] >= 1
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] / shares[1] < 100
    assert shares_of_visits(np.array([4, 4]), np.array([3.0, 1.0]), 1000).tolist() == [750, 250]
    assert shares_of_visits(np.array([0]), ONE, 1000).tolist() == [0]
    assert shares_of_visits(np.empty(0, np.int64), np.empty(0), 1000).tolist() == []


def test_only_a_chosen_subset_is_told_however_far_down_it_lies():
    graph = random_graph(2_000, 100, 20_000)
    pixie = Pixie(graph, whole())
    all_rows, all_scores = pixie.recommend(np.array([7]), ONE, 2_000, 1)
    only = np.zeros(2_000, bool)
    only[all_rows[-60:]] = True
    rows, scores = pixie.recommend(np.array([7]), ONE, 5, 1, only=only)
    wanted = only[all_rows]
    assert rows.tolist() == all_rows[wanted][:5].tolist()
    assert scores.tolist() == all_scores[wanted][:5].tolist()
    assert pixie.recommend(np.array([7]), ONE, 5, 1, only=np.zeros(2_000, bool))[0].tolist() == []
    assert pixie.recommend(np.array([7]), ONE, 5, 1, only=np.ones(3, bool))[0].max(initial=0) < 3
    assert set(pixie.recommend(np.array([7]), ONE, 5, 1, boards=True, only=np.arange(100) == 4)[0].tolist()) <= {4}


def test_the_best_are_the_same_however_many_are_asked_for():
    pixie = Pixie(random_graph(3_000, 300, 20_000), whole(20_000))
    many, few = pixie.recommend(np.array([7, 8]), np.ones(2), 3_000, 1), pixie.recommend(np.array([7, 8]), np.ones(2), 25, 1)
    assert many[0][:25].tolist() == few[0].tolist()
    assert np.all(np.diff(many[1]) <= 0)
    ties = np.flatnonzero(np.diff(many[1]) == 0)
    assert np.all(many[0][ties] < many[0][ties + 1]), "equal ones stand in the order of rows"


def test_a_walk_ends_early_where_enough_was_seen_and_only_between_rounds():
    graph = random_graph(300, 80, 2_000)
    config = {"visits": 200_000, "board_share": 1.0}
    pixie, patient = Pixie(graph, WalkConfig(enough_items=20, enough_visits=4, **config)), Pixie(graph, WalkConfig(**config))
    rows, visits = np.array([7]), np.array([200_000])
    found, _, ends, made = pixie._walk(rows, visits, 1, 0, False)
    assert made[0] < 200_000
    assert made[0] % ROUND == 0
    assert ROUND % WALKERS == 0
    assert ((found[: ends[0]] & np.uint64((1 << DEGREE_BITS) - 1)) >= 4).sum() >= 20
    assert patient._walk(rows, visits, 1, 0, False)[3][0] == 200_000
    assert pixie._walk(rows, visits, 1, 0, False, whole=True)[3][0] == 200_000


# ------------------------------------------------------------------------------------------------------------------------ labels


def labelled(bias: float) -> Pixie:
    """Every item lies on boards of language 1 and 2; items have languages, too."""
    graph = random_graph(200, 60, 4_000)
    languages = [(1 + np.arange(n) % 2).astype(np.uint16) for n in (200, 60)]
    return Pixie(graph, whole(bias=bias), *languages)


def test_a_biased_walk_keeps_to_the_label_on_both_sides():
    for boards in (False, True):
        for bias, least, most in ((0.0, 0.35, 0.65), (0.6, 0.7, 0.9), (1.0, 1.0, 1.0)):
            rows, scores = labelled(bias).recommend(np.array([0]), ONE, 300, 1, label=2, boards=boards)
            share = scores[rows % 2 == 1].sum() / scores.sum()
            assert least <= share <= most, (boards, bias, share)


def test_without_a_label_a_labelled_graph_is_walked_as_any_other():
    pixie = labelled(1.0)
    expected = expected_visits(adjacency(random_graph(200, 60, 4_000)), 3, 0.5)
    expected[3] = 0
    assert np.corrcoef(visits_of(pixie, 3), expected)[0, 1] > 0.99


def test_a_node_without_the_label_lets_the_walk_pass():
    pixie = Pixie(graph_of("ab", "bc"), whole(1_000, bias=1.0), np.array([1, 1, 2], np.uint16), np.array([1, 1], np.uint16))
    assert pixie.recommend(np.array([0]), ONE, 9, 1, label=2)[0].tolist() != []


def test_labels_that_do_not_fit_are_refused():
    graph = graph_of("ab")
    with pytest.raises(InputError, match="both sides"):
        Pixie(graph, left_labels=np.ones(2, np.uint16))
    with pytest.raises(InputError, match="every node"):
        Pixie(graph, None, np.ones(2, np.uint16), np.ones(2, np.uint16))
    with pytest.raises(InputError, match="no labels"):
        Pixie(graph).recommend(np.array([0]), ONE, 1, 1, label=1)


# -------------------------------------------------------------------------------------------------- what can be odd about a graph


def nothing(answer) -> bool:
    rows, scores = answer
    return rows.tolist() == scores.tolist() == [] and rows.dtype == np.int64 and scores.dtype == np.float32


def test_a_dead_end_brings_nothing_and_walks_turn_back_in_it():
    """The only board of a holds nothing else; walks from b come to d's dead end, its second board, and go on."""
    pixie = Pixie(graph_of("a", "bc", "bd", "d"), whole(10_000))
    assert nothing(pixie.recommend(np.array([0]), ONE, 9, 1))
    assert pixie.neighbours(np.array([0]), 2, 100, 1)[0].tolist() == [[-1, -1]]
    expected = expected_visits(adjacency(graph_of("a", "bc", "bd", "d")), 1, 0.5)
    expected[1] = 0
    assert visits_of(pixie, 1) == pytest.approx(10_000 * expected, rel=0.1)


def test_an_isolated_item_brings_nothing_and_takes_no_visits_from_others():
    graph = graph_of("ab", items=4)
    pixie = Pixie(graph, whole(1_000))
    assert nothing(pixie.recommend(np.array([2]), ONE, 9, 1))
    assert pixie.recommend(np.array([0, 2, 3]), np.ones(3), 9, 1)[1].tolist() == pixie.recommend(np.array([0]), ONE, 9, 1)[1].tolist()
    assert pixie.neighbours(np.array([2, 0]), 2, 100, 1)[0].tolist() == [[-1, -1], [1, -1]]


def test_an_unknown_id_brings_nothing():
    pixie = Pixie(graph_of("ab"), whole(1_000))
    for rows in ([-1], [2], [10**9], [-5, 10**6]):
        assert nothing(pixie.recommend(np.array(rows), np.ones(len(rows)), 9, 1))
    assert pixie.recommend(np.array([-1, 0, 99]), np.ones(3), 9, 1)[0].tolist() == [1]
    assert pixie.neighbours(np.array([-1, 99, 0]), 1, 100, 1)[0].tolist() == [[-1], [-1], [1]]


def test_an_empty_query_brings_nothing():
    pixie = Pixie(graph_of("ab"))
    assert nothing(pixie.recommend(np.empty(0, np.int64), np.empty(0), 9, 1))
    assert nothing(pixie.recommend(np.array([0]), np.zeros(1), 9, 1))
    assert nothing(pixie.recommend(np.array([0]), ONE, 0, 1))
    assert pixie.neighbours(np.empty(0, np.int64), 3, 100, 1)[0].shape == (0, 3)
    with pytest.raises(InputError, match="weight"):
        pixie.recommend(np.array([0, 1]), ONE, 9, 1)


def test_a_graph_without_edges_brings_nothing():
    pixie = Pixie(graph_of(items=3))
    assert nothing(pixie.recommend(np.array([0]), ONE, 9, 1))
    assert nothing(pixie.recommend(np.array([0]), ONE, 9, 1, boards=True))
    assert pixie.neighbours(np.arange(3), 2, 10, 1)[0].tolist() == [[-1, -1]] * 3
    assert pixie.packed.nbytes > 0


def test_a_duplicate_edge_counts_once():
    once, twice = graph_of("ab", "ac"), graph_of("abbb", "ac")
    assert twice.edges == 4
    assert np.array_equal(visits_of(Pixie(once), 0), visits_of(Pixie(twice), 0))


def test_a_board_of_a_million_pins_is_not_the_whole_answer():
    """Item 0 lies on a huge board and on nineteen more with one other item each: through any one comes a twentieth at most."""
    million, few = 1_000_000, 19
    left = np.concatenate([np.arange(million), np.zeros(few), million + np.arange(few)]).astype(np.int32)
    right = np.concatenate([np.zeros(million), 1 + np.arange(few), 1 + np.arange(few)]).astype(np.int32)
    graph = BipartiteGraph.of_pairs("board", left, right, range(million + few), range(few + 1))
    pixie = Pixie(graph, WalkConfig(visits=20_000, board_share=0.02))
    rows, scores = pixie.recommend(np.array([0]), ONE, 100_000, 1)
    assert scores[(rows > 0) & (rows < million)].sum() <= max(0.02, 1 / 20) * 20_000 + 1
    assert set(rows[:few].tolist()) == set(range(million, million + few))
    from_huge, _ = Pixie(graph, whole(20_000)).recommend(np.array([5]), ONE, 10**6, 1)
    assert len(from_huge) > 9_000, "its items are all as near"
    assert len(np.unique(from_huge // 100_000)) == 10, "and drawn from the whole board"
    assert pixie.recommend(np.array([5]), ONE, 10, 1)[0].size == 10, "an item of one board has all its visits through it"


def test_visits_through_one_board_are_capped():
    graph = graph_of("abcdefgh", "ai", "aj", "ak")
    counts, capped = visits_of(Pixie(graph, whole(10_000)), 0), visits_of(Pixie(graph, WalkConfig(visits=10_000, board_share=0.1)), 0)
    assert counts[1:8].sum() > 2_550
    assert 1_500 < capped[1:8].sum() <= 2_500, "a quarter: an item of four boards must not lose more than it would by equal shares"


def test_a_node_of_more_edges_than_a_word_can_say_is_refused():
    class Rows:
        degrees = np.array([1 << DEGREE_BITS])

    class Graph:
        edges, left, right = 1 << DEGREE_BITS, Rows, Rows

    with pytest.raises(InputError, match="too many edges"):
        PackedGraph.of(Graph)


def test_many_may_ask_at_once():
    pixie = Pixie(random_graph(300, 80, 2_000), threads=2)
    wanted = [visits_of(pixie, row) for row in range(8)]
    found: dict[int, np.ndarray] = {}
    askers = [threading.Thread(target=lambda row=row: found.update({row: visits_of(pixie, row)})) for row in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert all(np.array_equal(found[row], wanted[row]) for row in range(8))

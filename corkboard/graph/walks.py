"""The inner loop of Pixie: biased random walks with restart on a bipartite graph (Eksombatchai et al., WWW 2018).

A *visit* is two hops, item to board to item. What matters is memory: a hop is a gather at a random place of an array far larger than
the caches, and everything else hides behind it. What makes it fast:

- An edge is one 8-byte word that holds where the neighbour's own list lies and how long it is. So a hop is one gather, not three, and
  a node is known by the *place* of its list until the counts are told. The lists of both sides lie in one array.
- :data:`WALKERS` walkers take turns, :data:`BLOCK` at a time. Each says what it will read (a prefetch), the others go on, and when its
  turn comes the word is there. What is not a gather is done for a block at once, by vector instructions.
- One 64-bit draw is two hops and a restart, by multiplying and shifting: a modulo takes as long as the gather.
- Visits are counted in a hash table of 8-byte words, place and count together, that begins small enough for the
  cache and grows where most visits find something new.

A task (one query item, or one node whose neighbours are wanted) is done by one thread from a seed of its own, in rounds of fixed
size, and each walker is seeded by a hash of its own: the answer does not depend on the number of threads, and walkers do not follow each
other. Where walkers were seeded side by side in one sequence, they met, and the same few words from the cache looked like speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

WALKERS = 64
"""Walkers of a task that take turns: enough that a word has come from memory when its walker's turn comes again."""
BLOCK = 16
"""Walkers that move at once. A small task has one block of them: a walker should make several walks, or the first ones weigh too much."""
VISITS_A_WALKER = 16
"""A task has so few walkers that each makes at least so many visits, where one block does not already make fewer."""
ROUND = 64 * WALKERS
"""Visits between two looks at whether enough was seen."""
DEGREE_BITS = 26
PLACE_BITS = 64 - DEGREE_BITS
SMALLEST_TABLE = 10
"""Log2 of the slots that a table of counts begins with."""
_DEGREE = np.uint64((1 << DEGREE_BITS) - 1)
_KEY = ~_DEGREE
_SHIFT = np.uint64(DEGREE_BITS)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_U6, _U27, _U30, _U31, _U32, _U64 = (np.uint64(n) for n in (6, 27, 30, 31, 32, 64))
_LOW, _LOW_6 = np.uint64(0xFFFFFFFF), np.uint64(63)
_ZERO, _ONE, _TWO = (np.uint64(n) for n in (0, 1, 2))
NOBODY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""No node: an empty slot of the overlay."""
_TO_BOARD, _TO_ITEM = np.uint64(1), np.uint64(2)


class Fresh(NamedTuple):
    """Edges that are newer than the graph: a hash table from the places of nodes to spans of ``words``.

    ``bits`` uint64 tell of most nodes with one look, in the nearest cache, that nothing is known of them here; place p has the bit
    ``p * golden >> shift``. ``keys`` uint64 ``(slots,)`` are places or :data:`NOBODY`, ``begins`` and ``lengths`` int64 ``(slots,)``.
    """

    bits: np.ndarray
    shift: np.uint64
    keys: np.ndarray
    begins: np.ndarray
    lengths: np.ndarray
    words: np.ndarray


class Ground(NamedTuple):
    """What is walked on: ``words`` uint64 ``(2 * edges,)``, ``place of the neighbour's list << 26 | its length``; ``labels`` uint16 of the
    neighbours, by which each list is sorted, or empty; and newer edges in two tables, the last few in a small one of their own."""

    words: np.ndarray
    labels: np.ndarray
    older: Fresh
    newer: Fresh


class Wish(NamedTuple):
    """How to walk. Shares are in 2^32ths: ``restart`` the chance to begin anew after a visit, ``keep`` of the hops that keep to
    ``label``, where that is not 0. With ``boards`` they are counted, not items. ``enough_items`` places with ``enough_visits`` end a task;
    0: never."""

    restart: np.uint64
    keep: np.uint64
    label: np.uint16
    boards: bool
    enough_items: int
    enough_visits: int


class Tasks(NamedTuple):
    """One task an entry: the word of the node to walk from, ``begins`` ``(n + 1,)`` of its list in the answer (their differences are the
    visits), a seed, and how many visits through one board count (0: all)."""

    words: np.ndarray
    begins: np.ndarray
    seeds: np.ndarray
    most: np.ndarray


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for ``array[index]`` to be brought near; nothing waits for it, and an index outside does no harm."""

    def build(context, builder, signature, args):
        values = context.make_array(signature.args[0])(context, builder, args[0])
        i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(builder.gep(values.data, [args[1]]), pointer), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), build


@njit(inline="always")
def mix(value):
    """The finaliser of SplitMix64: a word whose bits look drawn, for every word."""
    value = (value ^ (value >> _U30)) * _MIX_1
    value = (value ^ (value >> _U27)) * _MIX_2
    return value ^ (value >> _U31)


# ------------------------------------------------------------------------------------------------------------------------ hops


@njit(inline="always")
def pick(word, draw):
    """A place within the list of ``word`` by 32 drawn bits."""
    return np.int64((word >> _SHIFT) + ((draw * (word & _DEGREE)) >> _U32))


@njit(inline="always")
def begin(start, seed, state, draw, here, walkers):
    """Place every walker at ``start`` with a state of its own, and make its first draw."""
    for w in range(walkers):
        state[w] = mix(seed + _GOLDEN * np.uint64(w + 1))
        draw[w] = mix(state[w])
        here[w] = start


@njit(inline="always")
def to_board(here, draw, at, first):
    """``at`` is where the walkers of a block will read which board they come to."""
    for w in range(first, first + BLOCK):
        at[w] = pick(here[w], draw[w] & _LOW)


@njit(inline="always")
def to_item(board, draw, at, first):
    """``at`` is where the walkers of a block will read which item they come to."""
    for w in range(first, first + BLOCK):
        at[w] = pick(board[w], draw[w] >> _U32)


@njit(inline="always")
def draw_again(start, restart, word, state, draw, here, first):
    """A new draw for the walkers of a block, and where each goes on from: the item it has come to, or ``start``."""
    for w in range(first, first + BLOCK):
        state[w] += _GOLDEN
        draw[w] = mix(state[w])
        here[w] = start if ((draw[w] * _MIX_1) >> _U32) < restart else word[w]


@njit(inline="always")
def ask(words, at, first):
    """Prefetch what the walkers of a block will read."""
    for w in range(first, first + BLOCK):
        prefetch(words, at[w])


@njit(inline="always")
def read(words, at, word, first):
    """What the walkers of a block have come to."""
    for w in range(first, first + BLOCK):
        word[w] = words[at[w]]


@njit
def _read_fresh(words, older, newer, at, word, first):
    """The same where some of them have taken a newer edge."""
    split = len(older.words)
    for w in range(first, first + BLOCK):
        if at[w] >= 0:
            word[w] = words[at[w]]
        else:
            place = -1 - at[w]
            word[w] = older.words[place] if place < split else newer.words[place - split]


@njit
def _keep_to_label(labels, wish, word, draw, at, first, hop):
    """Let a share of the walkers choose among edges of the wanted label, where their node has any. Lists are sorted by label."""
    for w in range(first, first + BLOCK):
        drawn = mix(draw[w] + _GOLDEN * hop)
        if (drawn >> _U32) < wish.keep:
            low = np.int64(word[w] >> _SHIFT)
            end = low + np.int64(word[w] & _DEGREE)
            least = low + np.searchsorted(labels[low:end], wish.label)
            most = low + np.searchsorted(labels[low:end], wish.label, side="right")
            if most > least:
                at[w] = least + np.int64(((drawn & _LOW) * np.uint64(most - least)) >> _U32)


@njit(inline="always")
def _span(fresh, place):
    """(begin, length) of the newer edges of the node at ``place``."""
    bit = (place * _GOLDEN) >> fresh.shift
    if (fresh.bits[bit >> _U6] >> (bit & _LOW_6)) & _ONE == _ZERO:
        return 0, 0
    mask = np.uint64(len(fresh.keys) - 1)
    slot = mix(place) & mask
    while fresh.keys[slot] != place:
        if fresh.keys[slot] == NOBODY:
            return 0, 0
        slot = (slot + _ONE) & mask
    return fresh.begins[slot], fresh.lengths[slot]


@njit
def _take_fresh(older, newer, word, draw, at, first, hop):
    """Let walkers choose among the newer edges of their node as well: ``at`` becomes -1 - i for word i of the two tables."""
    for w in range(first, first + BLOCK):
        place, degree = word[w] >> _SHIFT, np.int64(word[w] & _DEGREE)
        old_begin, old = _span(older, place)
        new_begin, new = _span(newer, place)
        if old + new:
            drawn = mix(draw[w] + _GOLDEN * (hop + _TWO)) & _LOW
            chosen = np.int64((drawn * np.uint64(degree + old + new)) >> _U32) - degree
            if chosen >= old:
                at[w] = -1 - (len(older.words) + new_begin + chosen - old)
            elif chosen >= 0:
                at[w] = -1 - (old_begin + chosen)


# ---------------------------------------------------------------------------------------------------------------------- counts


@njit(inline="always")
def _ask_slots(slots, bits, word, slot, first):
    """Where the places of the words of a block are counted, prefetched."""
    shift = np.uint64(64 - bits)
    for w in range(first, first + BLOCK):
        slot[w] = np.int64(((word[w] >> _SHIFT) * _GOLDEN) >> shift)
    for w in range(first, first + BLOCK):
        prefetch(slots, slot[w])


@njit
def _count(slots, seen, bits, word, slot, active, distinct, enough):
    """Add one to the count of the place of each word; returns (distinct places so far, how many have just reached ``enough``)."""
    mask, high = (1 << bits) - 1, 0
    for w in range(active):
        key, at = word[w] & _KEY, slot[w]
        value = slots[at]
        while value != _ZERO and (value & _KEY) != key:
            at = (at + 1) & mask
            value = slots[at]
        seen[distinct] = at  # kept where the slot was empty; without a branch, which would be guessed wrong too often
        distinct += value == _ZERO
        slots[at] = (key | (value & _DEGREE)) + _ONE
        high += (value & _DEGREE) + _ONE == enough
    return distinct, high


@njit
def _cap(slots, seen, bits, board, told, slot, active, distinct, most):
    """Leave only those in ``told`` whose board has not brought ``most`` already; returns (distinct boards so far, how many are left)."""
    mask, shift, left = (1 << bits) - 1, np.uint64(64 - bits), 0
    for w in range(active):
        prefetch(slots, np.int64(((board[w] >> _SHIFT) * _GOLDEN) >> shift))
    for w in range(active):
        key = board[w] & _KEY
        at = np.int64(((board[w] >> _SHIFT) * _GOLDEN) >> shift)
        value = slots[at]
        while value != _ZERO and (value & _KEY) != key:
            at = (at + 1) & mask
            value = slots[at]
        seen[distinct] = at
        distinct += value == _ZERO
        may = (value & _DEGREE) < most
        slots[at] = (key | (value & _DEGREE)) + np.uint64(may)
        told[left], slot[left] = told[w], slot[w]
        left += may
    return distinct, left


@njit
def _grown(slots, seen, bits, distinct, more):
    """Double a table until ``more`` places find room; returns its new ``bits``."""
    needed = bits
    while 4 * (distinct + more) > 3 * (1 << needed):
        needed += 1
    if needed > bits:
        values = take(slots, seen, distinct, np.empty(distinct, np.uint64))
        mask = (1 << needed) - 1
        for n in range(distinct):
            slot = np.int64(((values[n] >> _SHIFT) * _GOLDEN) >> np.uint64(64 - needed))
            while slots[slot] != _ZERO:
                slot = (slot + 1) & mask
            slots[slot], seen[n] = values[n], slot
    return needed


@njit
def take(slots, seen, distinct, into):
    """Empty a table into ``into``: ``place << 26 | count`` in the order of first visits."""
    for n in range(distinct):
        into[n] = slots[seen[n]]
        slots[seen[n]] = _ZERO
    return into


@njit
def _bits_for(visits):
    """Log2 of slots enough for so many distinct places."""
    bits = SMALLEST_TABLE
    while 4 * (visits + WALKERS) > 3 * (1 << bits):
        bits += 1
    return bits


@njit
def _table_for(visits):
    """An empty table for at most so many places: slots uint64, and int32 for those that were filled."""
    return np.zeros(1 << _bits_for(visits), np.uint64), np.empty(visits + WALKERS, np.int32)


@njit
def walk(ground, wish, start, seed, visits, limit, table, boards):
    """One task: at most ``visits`` visits from the node of word ``start``; returns (distinct places in ``table``, visits made).

    ``limit`` visits through each board count, which ``boards``, a table like that of the counts, keeps account of; 0: all do.
    """
    words, labels, older, newer = ground
    (slots, seen), (board_slots, board_seen) = table, boards
    state, draw, here, board, word = words_of_walkers(), words_of_walkers(), words_of_walkers(), words_of_walkers(), words_of_walkers()
    at, slot = np.empty(WALKERS, np.int64), np.empty(WALKERS, np.int64)
    walkers = WALKERS
    while walkers > BLOCK and walkers * VISITS_A_WALKER > visits:
        walkers //= 2
    told = board if wish.boards else word
    most, enough = np.uint64(limit), np.uint64(wish.enough_visits)
    label, fresh, restart = wish.label, len(older.words) + len(newer.words) > 0, wish.restart
    distinct, done, high, bits, boards_seen, board_bits = 0, 0, 0, max(SMALLEST_TABLE, _bits_for(visits) - 2), 0, SMALLEST_TABLE
    begin(start, seed, state, draw, here, walkers)
    for first in range(0, walkers, BLOCK):
        to_board(here, draw, at, first)
        if label:
            _keep_to_label(labels, wish, here, draw, at, first, _TO_BOARD)
        if fresh:
            _take_fresh(older, newer, here, draw, at, first, _TO_BOARD)
    while done < visits:
        active = min(walkers, visits - done)
        bits = _grown(slots, seen, bits, distinct, active)
        for first in range(0, walkers, BLOCK):
            if fresh:
                _read_fresh(words, older, newer, at, board, first)
            else:
                read(words, at, board, first)
            to_item(board, draw, at, first)
            if label:
                _keep_to_label(labels, wish, board, draw, at, first, _TO_ITEM)
            if fresh:
                _take_fresh(older, newer, board, draw, at, first, _TO_ITEM)
            ask(words, at, first)
        for first in range(0, walkers, BLOCK):
            if fresh:
                _read_fresh(words, older, newer, at, word, first)
            else:
                read(words, at, word, first)
            draw_again(start, restart, word, state, draw, here, first)
            to_board(here, draw, at, first)
            if label:
                _keep_to_label(labels, wish, here, draw, at, first, _TO_BOARD)
            if fresh:
                _take_fresh(older, newer, here, draw, at, first, _TO_BOARD)
            ask(words, at, first)
            _ask_slots(slots, bits, told, slot, first)
        done += active
        if most:
            board_bits = _grown(board_slots, board_seen, board_bits, boards_seen, active)
            boards_seen, active = _cap(board_slots, board_seen, board_bits, board, told, slot, active, boards_seen, most)
        distinct, more = _count(slots, seen, bits, told, slot, active, distinct, enough)
        high += more
        if wish.enough_items and done % ROUND == 0 and high >= wish.enough_items:
            break
    for n in range(boards_seen):
        board_slots[board_seen[n]] = _ZERO
    return distinct, done


@njit(inline="always")
def words_of_walkers():
    """A word for every walker."""
    return np.empty(WALKERS, np.uint64)


@njit(cache=True, nogil=True, boundscheck=False)
def walk_some(first, last, ground, wish, tasks, found, ends, made):
    """Tasks ``first`` to ``last``, in one thread: into ``found`` what each has visited, from ``tasks.begins`` to ``ends``, as
    ``place << 26 | count`` in the order of first visits, and into ``made`` how many visits it made."""
    largest, caps = 0, 0
    for task in range(first, last):
        visits = tasks.begins[task + 1] - tasks.begins[task]
        largest = max(largest, visits)
        if tasks.most[task]:
            caps = max(caps, visits)
    table, boards = _table_for(largest), _table_for(caps)
    for task in range(first, last):
        begins = tasks.begins[task]
        visits = tasks.begins[task + 1] - begins
        distinct, made[task] = walk(ground, wish, tasks.words[task], tasks.seeds[task], visits, tasks.most[task], table, boards)
        take(table[0], table[1], distinct, found[begins : begins + distinct])
        ends[task] = begins + distinct

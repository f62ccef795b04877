"""Rows that begin alike, computed once: all ids of some rows as one tree, of which each branch goes
through the model a single time, many of them side by side and without padding.

    the cat sat ─┬─ on ─ the ─ mat      first  the cat sat on the mat
                 └─ down                then   down, whose keys and values go on from "the cat sat"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..blocks import BlockStore, Packed
from .rows import LOGITS, NEAR, Row, Scored, of_targets

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["KEYS", "by_branches"]

KEYS = 1 << 25  # numbers of keys and values that are held


def by_branches(
    gpt: GPT, rows: Iterator[tuple[int, Row]], batch: int | None = None
) -> Iterator[Scored]:
    """rows: numbered. batch: rows of a tree (None: as many as its keys and values have room)."""
    hparams, backend = gpt.hparams, gpt.model.backend
    each = 2 * hparams.n_layer * hparams.n_kv_head * hparams.d_k
    room = max(hparams.n_ctx + 1, KEYS // each)
    store = BlockStore(hparams, backend, n_blocks=room, block_size=1)
    positions = max(1, min(NEAR, LOGITS // hparams.n_vocab))
    left: list[tuple[int, Row]] = []
    while True:
        tree = _Tree()
        while batch is None or len(tree.rows) < batch:
            left = left or list(islice(rows, 1))
            if not left or len(tree.tokens) + len(left[0][1].ids) > room:
                break
            tree.add(*left.pop())
        if not tree.rows:
            return
        yield from _computed(gpt, tree, store, positions)


class _Branch(NamedTuple):
    """path: nodes from the root on. n_known: how many of them other branches compute, before."""

    path: list[int]
    n_known: int


class _Tree:
    """A node is an id after certain others. tokens, parents: of each node, -1 where there is none.
    rows: their numbers, and their nodes. turns: the branches, those first that others need."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.scored: list[bool] = []  # of each node, whether it is asked for
        self.rows: list[tuple[int, list[int], int]] = []  # number, nodes, how many are scored
        self.turns: list[list[_Branch]] = []
        self._nodes: dict[tuple[int, int], int] = {}  # by what stands before, and the id
        self._turn: list[int] = []  # of each node that goes through the model, its turn; else -1

    def add(self, number: int, row: Row) -> None:
        node, path = -1, []
        for token in row.ids:
            known = self._nodes.get((node, token))
            if known is None:
                known = self._nodes[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.scored.append(False)
                self._turn.append(-1)
            node = known
            path.append(node)
        for node in path[-row.n_scored :]:
            self.scored[node] = True
        self.rows.append((number, path, row.n_scored))
        fed = path[:-1]  # what follows the last id is not asked for
        n_known = len(fed)
        while n_known and self._turn[fed[n_known - 1]] < 0:
            n_known -= 1
        if n_known == len(fed):
            return
        turn = self._turn[fed[n_known - 1]] + 1 if n_known else 0
        for node in fed[n_known:]:
            self._turn[node] = turn
        if turn == len(self.turns):
            self.turns.append([])
        self.turns[turn].append(_Branch(fed, n_known))


def _computed(gpt: GPT, tree: _Tree, store: BlockStore, positions: int) -> Iterator[Scored]:
    """A row as soon as its last branch went through the model. positions: of a pass, unless a
    branch alone has more."""
    tokens, parents = np.asarray(tree.tokens), np.asarray(tree.parents)
    asked = np.flatnonzero(tree.scored)
    logprobs, greedy = np.empty(len(tokens)), np.empty(len(tokens), bool)
    ending: dict[int, list[tuple[int, list[int], int]]] = {}
    for row in tree.rows:
        ending.setdefault(row[1][-2], []).append(row)
    for branches in _passes(tree.turns, positions):
        fed = [node for path, n_known in branches for node in path[n_known:]]
        place = np.full(len(tokens) + 1, -1)  # the last one for those without a parent
        place[fed] = np.arange(len(fed))
        mine = asked[place[parents[asked]] >= 0]
        mine = mine[np.argsort(place[parents[mine]], kind="stable")]
        only, at = np.unique(place[parents[mine]], return_inverse=True)
        texts = [(path, n_known, len(path) - n_known) for path, n_known in branches]
        only = only if only.size else np.zeros(1, np.int64)
        logits = gpt.model.forward(tokens[fed], Packed(store, texts), only=only.tolist())
        logprobs[mine], greedy[mine] = of_targets(gpt, logits, tokens[mine], at)
        for node in fed:
            for number, path, n_scored in ending.get(node, ()):
                own = path[-n_scored:]
                yield Scored(number, logprobs[own], greedy[own])


def _passes(turns: Iterable[list[_Branch]], positions: int) -> Iterator[list[_Branch]]:
    """What goes through the model together."""
    for branches in turns:
        some: list[_Branch] = []
        n = 0
        for branch in branches:
            new = len(branch.path) - branch.n_known
            if some and n + new > positions:
                yield some
                some, n = [], 0
            some.append(branch)
            n += new
        yield some

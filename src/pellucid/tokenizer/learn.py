"""Learning a vocabulary: the most frequent pair of neighbours becomes a token, again and again.

Source: Sennrich et al. (arXiv 1508.07909), algorithm 1, with an index of where each pair stands,
so that a text costs n·log n, one without spaces too.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from .bpe import Pair, byte_symbols, split

__all__ = ["learn_merges"]

_NONE = -1  # no token: the end of a word, or a place whose token went into the one before it


def learn_merges(texts: Iterable[str], n: int) -> list[Pair]:
    """Texts -> at most n merges, in the order learned; fewer when no pair occurs twice.

    Of pairs that are as frequent, the one goes first whose tokens are older; bytes count in the
    order of their symbols. That is how `tokenizers` decides, and the merges are the same.
    """
    words: Counter[str] = Counter()
    for text in texts:
        words.update(split(text))
    symbols = byte_symbols()
    order = sorted(range(256), key=lambda byte: symbols[byte])
    tokens = [bytes([byte]) for byte in order]
    row, weights = _lay_out(words, {byte: token for token, byte in enumerate(order)})
    after = array("i", range(1, len(row) + 1))
    before = array("i", range(-1, len(row) - 1))
    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    places: defaultdict[tuple[int, int], array[int]] = defaultdict(lambda: array("i"))
    for at in range(len(row) - 1):
        if row[at] != _NONE and row[at + 1] != _NONE:
            counts[row[at], row[at + 1]] += weights[at]
            places[row[at], row[at + 1]].append(at)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < n:
        negative, pair = heapq.heappop(heap)
        count = counts[pair]
        if count != -negative:  # some of its places have been merged with others since
            heapq.heappush(heap, (-count, pair))
            continue
        if count < 2:
            break
        left, right = pair
        product = len(tokens)
        tokens.append(tokens[left] + tokens[right])
        merges.append((tokens[left], tokens[right]))
        grown: set[tuple[int, int]] = set()
        for at in places.pop(pair):
            second = after[at]
            if row[at] != left or row[second] != right:
                continue  # merged with others since
            third, weight = after[second], weights[at]
            row[at], row[second] = product, _NONE
            after[at], before[third] = third, at
            if (neighbour := row[before[at]]) != _NONE:
                counts[neighbour, left] -= weight
                counts[neighbour, product] += weight
                places[neighbour, product].append(before[at])
                grown.add((neighbour, product))
            if (neighbour := row[third]) != _NONE:
                counts[right, neighbour] -= weight
                counts[product, neighbour] += weight
                places[product, neighbour].append(at)
                grown.add((product, neighbour))
        del counts[pair]
        for pair in grown:
            heapq.heappush(heap, (-counts[pair], pair))
    return merges


def _lay_out(
    words: Mapping[str, int], token_of: Mapping[int, int]
) -> tuple[array[int], array[int]]:
    """-> the tokens of all words in one row, divided by _NONE; how often each one's word is."""
    row, weights = array("i", [_NONE]), array("q", [0])
    for word, count in words.items():
        value = word.encode()
        row.extend(token_of[byte] for byte in value)
        row.append(_NONE)
        weights.extend([count] * (len(value) + 1))
    return row, weights

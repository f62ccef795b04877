"""softmax(q · kᵀ) · v on numpy, over keys and values where they lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .protocol import Segment

__all__ = ["one_query", "queries"]

_QUERY_BLOCK = 128  # queries per block: later keys are masked, so never computed


def one_query(q: np.ndarray, segment: Segment) -> np.ndarray:
    """q [head, 1, d_k], scaled, the segment's last -> [head, 1, d_k]: it sees every key. Heads that
    share one of keys are the rows of one product."""
    shape = q.shape
    q = q.reshape(len(segment.stretches[0][0]), -1, shape[-1])  # [kv_head, heads of each, d_k]
    scores = [q @ keys.swapaxes(-1, -2) for keys, _ in segment.stretches]
    pattern = scores[0] if len(scores) == 1 else np.concatenate(scores, -1)
    pattern -= pattern.max(-1, keepdims=True)
    np.exp(pattern, out=pattern)
    pattern /= pattern.sum(-1, keepdims=True)
    return _weighted(pattern, [values for _, values in segment.stretches]).reshape(shape)


def queries(q: np.ndarray, segment: Segment, head: int, out: np.ndarray, reach: int | None) -> None:
    """q [query, d_k], scaled, the segment's last ones -> out [query, d_k], of one head. head: of
    the keys."""
    n_query, n_key = len(q), segment.n_key
    reach = n_key if reach is None else reach
    side = min(n_query, _QUERY_BLOCK)
    triangle = np.triu(np.full((side, side), -np.inf, q.dtype), 1)  # later keys: -∞
    for low in range(0, n_query, _QUERY_BLOCK):
        high = min(low + _QUERY_BLOCK, n_query)
        n_seen = n_key - n_query + high
        begin = max(0, n_seen - (high - low) + 1 - reach)  # what the first of them sees
        seen = list(_between(segment, head, begin, n_seen))
        parts = [q[low:high] @ keys.T for keys, _ in seen]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts, -1)
        scores[:, n_seen - begin - (high - low) :] += triangle[: high - low, : high - low]
        if n_seen - begin > reach:  # what the others see no more
            _hide_before(scores, reach)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        total = scores.sum(-1, keepdims=True)
        np.divide(_weighted(scores, [values for _, values in seen]), total, out=out[low:high])


def _hide_before(scores: np.ndarray, reach: int) -> None:
    """scores [query, key], the last query's own key the last: -∞ before each query's band."""
    n_query, n_key = scores.shape
    own = np.arange(n_key - n_query, n_key)[:, None]
    scores[np.arange(n_key) <= own - reach] = -np.inf


def _between(
    segment: Segment, head: int, begin: int, end: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One head's keys and values begin…end, [key, d_k] each."""
    for keys, values in segment.stretches:
        if end <= 0:
            return
        if begin < keys.shape[1]:
            part = slice(max(begin, 0), end)
            yield keys[head, part], values[head, part]
        begin, end = begin - keys.shape[1], end - keys.shape[1]


def _weighted(pattern: np.ndarray, stretches: list[np.ndarray]) -> np.ndarray:
    """pattern [..., query, key] · values, in stretches [..., key, d_k] -> [..., query, d_k]"""
    if len(stretches) == 1:
        return np.asarray(pattern @ stretches[0])
    begin, total = 0, 0
    for values in stretches:
        end = begin + values.shape[-2]
        total = total + pattern[..., begin:end] @ values
        begin = end
    return np.asarray(total)

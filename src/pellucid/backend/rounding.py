"""Weights as few bits, and what is multiplied with them as bytes: plainly, to hold kernels against.

A group of neighbours along the inputs of a product shares one scale: 64 of 8 bits, 32 of 4. A
number is code · scale. Scales are float16, each to be multiplied by one power of two of the whole
weight, so that they come to stand where float16 is at its best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

__all__ = ["FORMATS", "Codes", "own_scales", "quantise", "rounded_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """group: numbers that share a scale. low, high: the codes there are."""

    group: int
    low: int
    high: int


FORMATS = {
    "int8": Format(group=64, low=-127, high=127),
    "int4": Format(group=32, low=-8, high=7),
}
# Where a group's largest number comes to stand, of 4 bits: at -8, or beyond, cut off.
_CANDIDATES = -8.5 + 0.25 * np.arange(9, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """codes [row, group, number], int8. scales [row, group], float16, each to be multiplied by
    `unit`. n: numbers of a row; the last group is filled up with zeros."""

    codes: np.ndarray
    scales: np.ndarray
    unit: float
    n: int

    def numbers(self) -> np.ndarray:
        """[row, n], float32"""
        steps = self.scales.astype(np.float32) * np.float32(self.unit)
        full = self.codes.astype(np.float32) * steps[..., None]
        return np.ascontiguousarray(full.reshape(len(full), -1)[:, : self.n])


def quantise(rows: np.ndarray, format: str) -> Codes:
    """rows [row, n] of numbers that are summed over n -> their codes.

    int8: the largest number of a group is 127. int4: of nine scales the one with the least square
    error; what was rounded to 4 bits before keeps its numbers (`own_scales`). Raises InputError for
    another format.
    """
    if format not in FORMATS:
        raise InputError(f"weights are rounded to {' or '.join(FORMATS)}, not {format!r}")
    kind = FORMATS[format]
    grouped = _grouped(np.asarray(rows, np.float32), kind.group)
    largest = float(np.abs(grouped).max(initial=0.0)) / max(kind.high, -kind.low)
    unit = 2.0 ** (np.ceil(np.log2(largest)) - 10) if largest > 0 else 1.0
    if format == "int8":
        wanted = _scales_of_8_bits(grouped)
    else:
        own = own_scales(grouped, float(unit))
        wanted = np.where(own != 0, own, _scales_of_4_bits(grouped))
    scales = (wanted / np.float32(unit)).astype(np.float16)
    steps = scales.astype(np.float32) * np.float32(unit)
    codes = _nearest(grouped, steps, kind.low, kind.high).astype(np.int8)
    return Codes(codes=codes, scales=scales, unit=float(unit), n=rows.shape[1])


def own_scales(grouped: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """grouped [..., number], float32 -> [...], float32: the scale, a float16 times `unit`, of which
    all numbers of a group are whole multiples from -8 to 7 already; 0 where there is none.

    The largest number stands at one of -8, -7, ... -1. So what was rounded to 4 bits is not rounded
    a second time.
    """
    far, found = _furthest(grouped), np.zeros(grouped.shape[:-1], np.float32)
    for code in range(-8, 0):
        with np.errstate(over="ignore"):
            stored = (far / np.float32(code * unit)).astype(np.float16)
        scales = np.where(np.isfinite(stored), stored.astype(np.float32) * np.float32(unit), 0)
        left = (found == 0) & (scales != 0)
        for first in (slice(4), slice(None)):  # nearly all groups are out after a few numbers
            some, steps = grouped[left][..., first], scales[left]
            left[left] = (_nearest(some, steps, -8, 7) * steps[..., None] == some).all(-1)
        found[left] = scales[left]
    return found


def rounded_inputs(x: np.ndarray, format: str) -> np.ndarray:
    """x [..., n] -> the same as bytes would have it that share a scale by the weights' groups: what
    is multiplied with weights of a format."""
    grouped = _grouped(x.reshape(-1, x.shape[-1]), FORMATS[format].group)
    most = np.abs(grouped).max(-1, keepdims=True)
    steps = most / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint(grouped * np.where(most > 0, np.float32(127) / most, 0))
    return np.ascontiguousarray(
        (codes * steps).reshape(len(grouped), -1)[:, : x.shape[-1]]
    ).reshape(x.shape)


def _grouped(rows: np.ndarray, group: int) -> np.ndarray:
    """[row, n] -> [row, group, number], filled up with zeros"""
    missing = -rows.shape[1] % group
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    return rows.reshape(len(rows), -1, group)


def _scales_of_8_bits(grouped: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(grouped).max(-1) / np.float32(127))


def _scales_of_4_bits(grouped: np.ndarray) -> np.ndarray:
    far = _furthest(grouped)
    best, least = np.zeros_like(far), np.full(far.shape, np.inf, np.float32)
    for candidate in _CANDIDATES:
        scales = far / candidate
        error = np.square(grouped - _nearest(grouped, scales, -8, 7) * scales[..., None]).sum(-1)
        better = error < least
        best[better], least[better] = scales[better], error[better]
    return best


def _furthest(grouped: np.ndarray) -> np.ndarray:
    """[..., number] -> [...]: the largest number, with its sign"""
    at = np.abs(grouped).argmax(-1)[..., None]
    return np.asarray(np.take_along_axis(grouped, at, -1)[..., 0])


def _nearest(grouped: np.ndarray, scales: np.ndarray, low: int, high: int) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(scales != 0, np.float32(1) / scales, np.float32(0))
    return np.asarray(np.clip(np.rint(grouped * inverse[..., None]), low, high))

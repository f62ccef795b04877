"""How numbers are written in a terminal and within a sentence; heads and layers by their names.

web/picture/notation.js is its counterpart on a page: percents are the same there, by a test.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Literal

__all__ = ["Form", "ended", "head_name", "percent", "size", "written"]

Form = Literal["number", "signed", "percent", "bytes"]

_MINUS = "−"


def ended(reason: str) -> str:
    """Why a text ended, as a person reads it: "length" is OpenAI's word."""
    return "as many tokens as asked for" if reason == "length" else reason


def head_name(layer: int, head: int) -> str:
    """L0H1: layers and heads count from 0."""
    return f"L{layer}H{head}"


def written(value: float, form: Form = "number", digits: int = 2) -> str:
    """value -> as it is shown. digits: decimals of plain and signed numbers.

    "number" and "signed" (+ before what is above 0): what rounds to 0 has no sign. "percent":
    of 1, as `percent` writes it. "bytes": 1.5 MiB.
    """
    if math.isnan(value):
        return "·"
    if math.isinf(value):
        return f"{_MINUS}∞" if value < 0 else "∞"
    if form == "percent":
        return percent(value)
    if form == "bytes":
        return size(value)
    text = f"{value:+.{digits}f}" if form == "signed" else f"{value:.{digits}f}"
    return text.replace("-", _MINUS) if float(text) else text.lstrip("+-")


def percent(share: float, *, whole: bool = False) -> str:
    """0.1234 -> 12.3%; near 0 and 100 as many decimals, up to four, as it takes to tell it from
    them: 0.0004%, 99.998%, <0.0001%, >99.9999%. Only what is 0 is 0%, only what is 1 is 100%.

    whole: 12%, <1%, >99%, where there is little room.
    """
    if math.isnan(share):
        return "·"
    size = abs(share)
    text = f"{size:.0%}" if size in (0, 1) else _between(size, whole)
    return text if share >= 0 or text.startswith("<") else _MINUS + text


def _between(size: float, whole: bool) -> str:
    """Of what is neither 0 nor 1."""
    left = 100 * min(size, 1 - size) if size < 1 else 100.0  # how far it is from 0% or 100%
    if left < (0.5 if whole else 0.0001):
        low, high = ("<1%", ">99%") if whole else ("<0.0001%", ">99.9999%")
        return low if size < 0.5 else high
    digits = 0 if whole else 1 + sum(left < bound for bound in (0.095, 0.0095, 0.00095))
    # Half of the last digit goes up, as in JavaScript's toFixed.
    step = Decimal(1).scaleb(-digits)
    return f"{Decimal(100 * size).quantize(step, ROUND_HALF_UP, Context(prec=400)):f}%"


def size(n_bytes: float) -> str:
    """1536 -> 1.5 KiB"""
    n, unit = float(n_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if n < 1024:
            break
        n, unit = n / 1024, larger
    return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"

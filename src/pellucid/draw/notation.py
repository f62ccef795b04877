"""How numbers are written in a terminal and within a sentence; heads and layers by their names.

web/picture/notation.js is its counterpart on a page.
"""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Form", "head_name", "percent", "size", "written"]

Form = Literal["number", "signed", "percent", "bytes"]

_MINUS = "−"


def head_name(layer: int, head: int) -> str:
    """L0H1: layers and heads count from 0."""
    return f"L{layer}H{head}"


def written(value: float, form: Form = "number", digits: int = 2) -> str:
    """value -> as it is shown. digits: decimals of plain and signed numbers.

    "number" and "signed" (+ before what is above 0): what rounds to 0 has no sign. "percent":
    of 1, one decimal, and never 0 or 100 for what is not quite that. "bytes": 1.5 MiB.
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
    """0.123 -> 12.3%, or 12% where there is little room (`whole`)."""
    if math.isnan(share):
        return "·"
    if whole:
        return f"{share:.0%}".replace("-", _MINUS) if abs(share) >= 0.005 else "0%"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    text = f"{share:.1%}"
    return text.replace("-", _MINUS) if float(text[:-1]) else "0.0%"


def size(n_bytes: float) -> str:
    """1536 -> 1.5 KiB"""
    n, unit = float(n_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if n < 1024:
            break
        n, unit = n / 1024, larger
    return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.1f} {unit}"

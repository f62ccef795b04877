"""What becomes of a picture's arrays: nested lists for JSON, or base64 within a page's budget."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

__all__ = ["Budget", "Pack", "form", "forms", "plain"]


class Pack(Protocol):
    """array -> what stands for it. room: bytes of arrays that there is still room for."""

    room: float

    def __call__(self, array: np.ndarray) -> Any: ...


class _Plain:
    room = math.inf

    def __call__(self, array: np.ndarray) -> Any:
        """Nested lists; what JSON lacks (infinite, not a number) becomes None."""
        if array.dtype.kind != "f" or np.isfinite(array).all():
            return array.tolist()
        listed = array.astype(object)
        listed[~np.isfinite(array)] = None
        return listed.tolist()


plain: Pack = _Plain()


class Budget:
    """Arrays as base64, and how many bytes of them (before base64) there is still room for.

    A browser reads them at once, where a list would be parsed number by number.
    """

    def __init__(self, n_bytes: float) -> None:
        self.room: float = n_bytes

    def __call__(self, array: np.ndarray) -> dict[str, Any]:
        if array.dtype.kind == "f":
            # Long ones rounded to 7 digits: nobody reads more, and they are half as large.
            wide = array.dtype.itemsize == 8 and array.nbytes <= 1 << 20
            values = array.astype("<f8" if wide else "<f4")
        else:
            values = array.astype("<u2" if array.dtype == np.uint16 else "<i4")
        self.room -= values.nbytes
        return {
            "shape": list(values.shape),
            "type": values.dtype.str[1:],
            "base64": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
        }


def forms(thing: Any, pack: Pack) -> dict[str, Any]:
    """Every field of a dataclass in its form."""
    return {each.name: form(getattr(thing, each.name), pack) for each in fields(thing)}


def form(value: Any, pack: Pack) -> Any:
    """Plain numbers, texts, lists and dicts; arrays as `pack` makes them."""
    if isinstance(value, np.ndarray):
        return pack(value)
    if hasattr(value, "to_dict"):
        return value.to_dict(pack)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): form(item, pack) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [form(item, pack) for item in value]
    return value

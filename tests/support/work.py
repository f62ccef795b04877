"""Work that is counted, where seconds would depend on the machine; and a guard against hanging."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

__all__ = ["Looks", "calls", "finishes", "steps", "until"]


class Looks(dict[Any, Any]):
    """A dict that counts how often something is looked up in it."""

    n = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.n += 1
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        self.n += 1
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.n += 1
        return super().__contains__(key)


def calls(function: Callable[[], object]) -> int:
    """How many functions it calls in this thread, Python's and C's, all the way down."""
    n = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal n
        n += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return n


def steps(function: Callable[[], object], code: CodeType) -> int:
    """How many lines of `code` it runs in this thread, every turn of a loop counted."""
    n = 0

    def lines(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal n
        n += event == "line"
        return lines

    def entered(frame: FrameType, event: str, argument: object) -> Any:
        return lines if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        function()
    finally:
        sys.settrace(before)
    return n


def finishes(function: Callable[[], Any], within: float = 120) -> Any:
    """Its result. A guard, not a measure: fails where it would take minutes, or never end."""
    result: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            result.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(within)
    assert not thread.is_alive(), f"not done after {within} seconds"
    if errors:
        raise errors[0]
    return result[0]


def until(holds: Callable[[], object], what: str = "it") -> None:
    """Waits for what another thread does."""
    pause = threading.Event()
    for _ in range(90_000):
        if holds():
            return
        pause.wait(0.001)
    raise AssertionError(f"{what} never came about")

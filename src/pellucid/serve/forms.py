"""Findings and traces in the forms in which they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..draw.document import content
from ..draw.packing import plain
from ..errors import InputError
from ..inspect import Finding, OverBudget, Trace, WalkPass
from ..taps import canonical_name
from ..tokenizer.spelled import spelled
from ..visible import text_of
from .sliced_json import to_json_in_turns

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer
    from .inquiries import Inquiry
    from .schema.inspection import Tokens, TraceInfo
    from .turns import Turns

__all__ = [
    "IN_JSON",
    "PAGE",
    "page_of",
    "picture_data",
    "result",
    "tokens",
    "trace_bytes",
    "trace_info",
]

PAGE = 1 << 16  # numbers on a page of JSON
IN_JSON = 1 << 20  # numbers of a finding, some 20 MB as JSON


def result(inquiry: Inquiry, turns: Turns) -> bytes:
    """What was found, as JSON; of a trace only what it holds. Raises OverBudget where that is too
    much for JSON."""
    finding = inquiry.finding
    assert finding is not None
    if isinstance(finding, Trace):
        info = trace_info(inquiry.trace or "", finding)
        return to_json_in_turns(lambda: {"kind": "Trace", **info}, turns)
    n = sum(array.size for array in finding.each_array())
    if n > IN_JSON and not isinstance(finding, WalkPass):  # whose arrays are base64
        raise OverBudget(
            f"the answer has {n:,} numbers, too many for JSON: take its pictures, or ask about a "
            "shorter text, or about fewer layers, heads or positions"
        )
    return to_json_in_turns(finding.to_dict, turns)


def picture_data(finding: Finding, turns: Turns) -> bytes:
    """What a page draws of it."""
    title = type(finding).__name__
    return to_json_in_turns(lambda: content(finding.sections(), title=title), turns)


def tokens(tokenizer: Tokenizer, ids: Sequence[int], merged: str | None) -> Tokens:
    """merged: the text whose merges are to be shown too."""
    pieces = tokenizer.pieces(ids)
    text = text_of(tokenizer.decode_bytes(ids)) if merged is None else merged
    words = None if merged is None else tokenizer.merges(merged)
    shown: Tokens = spelled(text, pieces, words)  # type: ignore[assignment]
    return shown


def trace_info(name: str, trace: Trace) -> TraceInfo:
    return {
        "id": name,
        "object": "inspect.trace",
        "ids": list(trace.ids),
        "tokens": list(trace.tokens),
        "text": trace.text,
        "positions": list(trace.positions),
        "heads": list(trace.heads),
        "n_bytes": trace.n_bytes,
        "values": [
            {
                "name": each,
                "axes": list(trace.axes(each)),
                "shape": list(array.shape),
                "formula": trace.formula(each),
            }
            for each, array in trace.arrays.items()
        ],
    }


def page_of(
    name: str, trace: Trace, value: str, start: int, stop: int | None, turns: Turns
) -> bytes:
    """Rows start … stop of a value, as many as a page holds, as JSON. Raises InputError where the
    trace has no such value or row."""
    value = canonical_name(value)
    if value not in trace.arrays:
        raise InputError(f"no value is called {value!r} here; there are {', '.join(trace)}")
    axes, array = trace.axes(value), trace.arrays[value]
    axis = axes.index("query" if "query" in axes else "position")
    n = array.shape[axis]
    last = n if stop is None else min(stop, n)
    if not start < last:
        raise InputError(f"{value} has {n} rows: there is none from {start} to {last}")
    end = min(last, start + max(1, PAGE // max(1, array.size // n)))
    page = array.take(range(start, end), axis)
    first = len(trace.positions) - n  # of a generation's logits: one row for each step
    known = {
        "object": "inspect.values",
        "trace": name,
        "name": value,
        "axes": list(axes),
        "shape": list(page.shape),
        "positions": list(trace.positions[first + start : first + end]),
        "start": start,
        "next": end if end < last else None,
    }
    return to_json_in_turns(lambda: known | {"values": plain(page)}, turns)


def trace_bytes(trace: Trace, names: Sequence[str] | None, start: int, stop: int | None) -> bytes:
    """A safetensors file of the values named, all where none is, of some positions. Raises
    InputError where there are none."""
    if names is not None:
        trace = trace.narrowed(names)
    if start or stop is not None:
        positions = trace.positions[start:stop]
        if not positions:
            raise InputError(
                f"the trace has {len(trace.positions)} positions: none from {start} on"
            )
        trace = trace.narrowed(["*", "*result"], positions=positions)
    return trace.to_bytes()

"""What a completion's choices say of what was watched and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .events import WatchedStep
from .schema.declared import Record, SeenTrace, WithWatched

if TYPE_CHECKING:
    from ..sequence import Step
    from .runs import Piece, Run

__all__ = ["seen"]


def seen(run: Run, piece: Piece, step: Step | None = None, *, whole: bool = False) -> WithWatched:
    """The field "pellucid" of a choice, where the request had one. step: of a stream, the record
    that comes with this token. whole: all records."""
    if run.watch is None:
        return {}
    trace: SeenTrace | None = None
    if piece.trace is not None:
        trace = {"id": piece.trace}
        if step is not None:
            trace["record"] = _record(step)
        elif whole:
            trace["records"] = [_record(each) for each in piece.steps]
    return {"pellucid": {"trace": trace, "interventions": len(run.watch.interventions)}}


def _record(step: Step) -> Record | None:
    if not isinstance(step, WatchedStep) or step.seen is None:
        return None
    return cast("Record", step.seen)

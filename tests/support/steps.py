"""Two generations of one text, token by token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["same_steps"]


def same_steps(ours: Iterable[Any], theirs: Iterable[Any], within: float = 1e-9) -> None:
    """The same tokens at the same places, for the same reasons, with the same alternatives; their
    log-probabilities within so much."""
    ours, theirs = list(ours), list(theirs)
    seen, wanted = (
        [(s.position, s.token, s.text, s.reason) for s in steps] for steps in (ours, theirs)
    )
    assert seen == wanted
    for one, other in zip(ours, theirs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=within)
        assert [a.token for a in one.alternatives] == [a.token for a in other.alternatives]

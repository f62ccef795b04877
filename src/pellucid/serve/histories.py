"""How the model that is served learned, for the page: found anew only where a run has gone on."""

from __future__ import annotations

import threading

from ..errors import PellucidError
from ..history import Course, data_of, open_course
from ..visible import as_seen
from .answers import to_json

__all__ = ["Histories"]

_OTHER = "talk"  # whose training is shown where the model came without its own


class Histories:
    """source: what the model was loaded as."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, ...], bytes] | None = None

    def answer(self) -> bytes:
        """What the page draws, as JSON. note: said where it is the model `talk`'s."""
        with self._lock:
            training, note = self._training()
            if self._known is None or self._known[0] != training.moments:
                known = data_of(training, None, layer=None, head=None, seen={})
                body = to_json({"glyphs": as_seen(), "learned": known, "note": note})
                self._known = training.moments, body
            return self._known[1]

    def _training(self) -> tuple[Course, str]:
        try:
            return open_course(self.source), ""
        except (PellucidError, OSError):
            name = self.source.rpartition("/")[2] or "this model"
            note = f"{name} came without the moments of its training: here is that of {_OTHER}"
            return open_course(_OTHER), note

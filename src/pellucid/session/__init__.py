"""A conversation in a terminal: a line editor, slash commands, replies as they come."""

from __future__ import annotations

from .session import Session

__all__ = ["Session"]

"""Errors a person can act on: each says what is wrong and what to do."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CheckpointWarning",
    "ContextError",
    "InputError",
    "PellucidError",
    "StoreError",
    "TokenizerError",
    "TrainingError",
]


class PellucidError(Exception):
    """Base of every error that Pellucid raises on purpose; the CLI prints it and exits with 2."""


class InputError(PellucidError, ValueError):
    """An argument is out of its range or of the wrong kind."""


class ContextError(InputError):
    """More tokens than the context window (n_ctx) holds."""


class TokenizerError(PellucidError, ValueError):
    """A vocabulary is malformed, or a text holds a special token that was not allowed."""


class CheckpointError(PellucidError, ValueError):
    """A model file or folder cannot be trusted, read, or written."""


class CheckpointWarning(UserWarning):
    """A model file says something that Pellucid does not know and passes over."""


class StoreError(PellucidError, RuntimeError):
    """The store of conversations cannot be read or written: locked, full, damaged, too new."""


class TrainingError(PellucidError, RuntimeError):
    """Training cannot go on; what was learned before is saved."""

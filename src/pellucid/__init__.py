"""Pellucid: a GPT you can see through.

    >>> import pellucid
    >>> gpt = pellucid.load("talk")
    >>> gpt.generate("The power clapper", max_tokens=4, greedy=True).text
    ' went straight to jail'

Importing this package does nothing else: what a name needs is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import Cache
    from .errors import (
        CheckpointError,
        ContextError,
        InputError,
        PellucidError,
        TokenizerError,
    )
    from .generate import Generation
    from .gpt import GPT, load
    from .hparams import SIZES, HParams
    from .model import Model
    from .sampling import Sampling
    from .sequence import Settings, Step
    from .taps import TAPS
    from .tokenizer import Tokenizer
    from .translate import Translation, Translator, load_translator

__all__ = [
    "GPT",
    "SIZES",
    "TAPS",
    "Cache",
    "CheckpointError",
    "ContextError",
    "Generation",
    "HParams",
    "InputError",
    "Model",
    "PellucidError",
    "Sampling",
    "Settings",
    "Step",
    "Tokenizer",
    "TokenizerError",
    "Translation",
    "Translator",
    "__version__",
    "load",
    "load_translator",
]

__version__ = "0.1.0"

_ROOMS = {
    "GPT": "gpt",
    "SIZES": "families",
    "TAPS": "taps",
    "Cache": "cache",
    "CheckpointError": "errors",
    "ContextError": "errors",
    "Generation": "generate",
    "HParams": "hparams",
    "InputError": "errors",
    "Model": "model",
    "PellucidError": "errors",
    "Sampling": "sampling",
    "Settings": "sequence",
    "Step": "sequence",
    "Tokenizer": "tokenizer",
    "TokenizerError": "errors",
    "Translation": "translate",
    "Translator": "translate",
    "load": "gpt",
    "load_translator": "translate",
}
_PACKAGES = ("checkpoint", "evaluate", "inspect")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _ROOMS:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    return getattr(import_module(f".{_ROOMS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted((*__all__, *_PACKAGES))

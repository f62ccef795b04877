"""The public surface as text: what people may rely on. Written anew by

PYTHONPATH=tests python -m support.surface
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "surface.txt"
MODULES = (
    "pellucid", "pellucid.batch", "pellucid.checkpoint", "pellucid.draw", "pellucid.evaluate",
    "pellucid.inspect",
)  # fmt: skip


def surface() -> str:
    return "\n".join(line for name in MODULES for line in _module(name)) + "\n"


def _module(name: str) -> Iterator[str]:
    module = import_module(name)
    for public in sorted(module.__all__):
        thing = getattr(module, public)
        full = f"{name}.{public}"
        if inspect.isclass(thing):
            yield f"{full}{_parameters(thing)}"
            yield from (f"    {line}" for line in _members(thing))
        elif callable(thing):
            yield f"{full}{_parameters(thing)}"
        else:
            yield f"{full}: {type(thing).__name__}"


def _members(cls: type) -> Iterator[str]:
    for name, thing in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(thing, property):
            yield name
        elif isinstance(thing, classmethod | staticmethod):
            yield f"{name}{_parameters(thing.__func__)}"
        elif inspect.isfunction(thing):
            yield f"{name}{_parameters(thing)}"


def _parameters(thing: object) -> str:
    """Names and kinds, with = where there is a default; no types, no values."""
    try:
        signature = inspect.signature(thing)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    parts, keyword = [], False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not keyword:
            parts.append("*")
        keyword = keyword or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        parts.append(f"{stars}{p.name}{'' if p.default is p.empty else '='}")
    return f"({', '.join(parts)})"


if __name__ == "__main__":
    GOLDEN.write_text(surface(), encoding="utf-8")
    print(f"wrote {GOLDEN.name}")

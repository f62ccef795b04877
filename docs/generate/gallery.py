"""Write the page's gallery of known circuits: python docs/generate/gallery.py

Each example is an address of the page's place "change". What it claims is computed by
tests/test_gallery.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "src" / "pellucid" / "web" / "change" / "examples.js"
_CLAIMS = ("looks", "before", "after")


@dataclass(frozen=True, kw_only=True)
class Example:
    """name: in short. look: what to look for, in one sentence. changes: interventions, as they
    are declared over HTTP. stop: where the pass is stopped: value, layer, head, position. length:
    tokens generated. What is claimed: looks: (layer, head, query, key), where most of a head's
    attention goes; before, after: the continuations, greedily, as it is and changed."""

    name: str
    title: str
    look: str
    model: str
    text: str
    changes: tuple[dict[str, Any], ...]
    length: int
    before: str
    after: str
    stop: str | None = None
    looks: tuple[int, int, int, int] | None = None


def _off(layer: int, head: int) -> tuple[dict[str, Any], ...]:
    return ({"name": "attn.z", "layer": layer, "head": head, "op": "suppress"},)


EXAMPLES = (
    Example(
        name="king",
        title="One head sends the king to jail",
        look="Head 0 of layer 1 is off: the king went home to “␣court” instead of “␣jail”. Press "
        "L1H0 to switch it on again.",
        model="talk",
        text="The king went home to",
        changes=_off(1, 0),
        length=3,
        before=" jail",
        after=" court",
    ),
    Example(
        name="induction",
        title="Induction: it has seen this before",
        look="At the second c the induction head L1H0 looks at d, which followed the first c, and "
        "writes it; off, as here, nothing is repeated.",
        model="induction",
        text="abcdeabc",
        changes=_off(1, 0),
        length=3,
        stop="attn.pattern,1,0,7",
        looks=(1, 0, 7, 3),
        before="dea",
        after="ccc",
    ),
    Example(
        name="previous-token",
        title="Previous token: the other half of induction",
        look="L0H0 looks one token back and notes what it finds; without it the induction head has "
        "nothing to find, although nothing was done to that one.",
        model="induction",
        text="abcdeabc",
        changes=_off(0, 0),
        length=3,
        stop="attn.pattern,0,0,7",
        looks=(0, 0, 7, 6),
        before="dea",
        after="ccc",
    ),
    Example(
        name="duplicate-token",
        title="Duplicate token: where it stood before",
        look="L1H1 looks at the same letter, earlier: the c at 7 at the c at 2. It writes nothing: "
        "switching it off changes no word.",
        model="induction",
        text="abcdeabc",
        changes=_off(1, 1),
        length=3,
        stop="attn.pattern,1,1,7",
        looks=(1, 1, 7, 2),
        before="dea",
        after="dea",
    ),
)


def script() -> str:
    """The module that the page reads."""
    known = [
        {name: value for name, value in asdict(each).items() if name not in _CLAIMS}
        for each in EXAMPLES
    ]
    lines = ",\n".join(f"  {json.dumps(each, ensure_ascii=False)}" for each in known)
    return (
        "/* Known circuits, prepared; written by docs/generate/gallery.py. */\n\n"
        f"/* prettier-ignore */\nexport const EXAMPLES = [\n{lines},\n];\n"
    )


if __name__ == "__main__":
    SCRIPT.write_text(script(), encoding="utf-8")
    print(f"wrote {SCRIPT.name}")

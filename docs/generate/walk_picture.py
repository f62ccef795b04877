"""Draw the README's picture from the live program: python docs/generate/walk_picture.py"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

import pellucid
from pellucid import inspect

PICTURE = Path(__file__).parents[1] / "walk.svg"


def screen() -> Console:
    return Console(
        record=True,
        width=84,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )


def picture() -> str:
    whole = screen()
    whole.print(inspect.walk(pellucid.load("talk"), "The power clapper"))
    lines = whole.export_text(styles=True).split("\n")
    first = next(i for i, line in enumerate(lines) if "/ √d_k, √" in line)
    last = next(i for i, line in enumerate(lines) if "7. concat" in line)
    part = screen()
    for line in lines[first : last - 1]:
        part.print(Text.from_ansi(line))
    svg = part.export_svg(title='pellucid walk "The power clapper"', unique_id="walk")
    # No font from elsewhere: the reader's own monospace does.
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, monospace")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"wrote {PICTURE.name}")

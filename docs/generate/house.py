"""Draw the house, rooms and arrows as the imports stand: python docs/generate/house.py

Writes docs/house.svg and the list of rooms in CONTRIBUTING.md. An arrow that follows from others
is left out (transitive reduction).
"""

from __future__ import annotations

import ast
import re
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pellucid"
PICTURE = ROOT / "docs" / "house.svg"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- rooms: docs/generate/house.py -->\n", "<!-- end of rooms -->\n"

sys.path.insert(0, str(ROOT / "tests"))
from support.rooms import lines_of, used  # noqa: E402

WIDTH, BOX, HIGH, GAP = 1000, 118, 44, 34
ROW = HIGH + GAP


def depths(rooms: dict[str, set[str]]) -> dict[str, int]:
    """Room -> how many rooms stand below it, at most, one on another."""
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            known[name] = max((depth(below) + 1 for below in rooms[name]), default=0)
        return known[name]

    return {name: depth(name) for name in rooms}


def reduced(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """Only the arrows that do not follow from others."""

    def reach(name: str) -> set[str]:
        return set(rooms[name]).union(*(reach(below) for below in rooms[name]))

    return {
        name: {b for b in below if not any(b in reach(other) for other in below - {b})}
        for name, below in rooms.items()
    }


def place(rooms: dict[str, set[str]]) -> dict[str, tuple[float, float]]:
    """Room -> the middle of its box: a row a depth, each room above what it stands on."""
    at = depths(rooms)
    top = max(at.values())
    places: dict[str, tuple[float, float]] = {}
    arrows = reduced(rooms)
    for level in range(top + 1):
        row = [name for name in rooms if at[name] == level]
        middle = {
            name: sum(places[b][0] for b in arrows[name]) / len(arrows[name]) if arrows[name] else 0
            for name in row
        }
        row.sort(key=lambda name: (middle[name], name))
        for i, name in enumerate(row):
            places[name] = (WIDTH * (i + 1) / (len(row) + 1), 30 + HIGH / 2 + (top - level) * ROW)
    return places


def picture(rooms: dict[str, set[str]]) -> str:
    places, arrows = place(rooms), reduced(rooms)
    height = max(y for _, y in places.values()) + HIGH / 2 + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        "<title>The rooms of Pellucid and which imports which</title>",
        '<rect width="100%" height="100%" fill="#fbfaf7"/>',
    ]
    for name, below in arrows.items():
        x, y = places[name]
        for other in sorted(below):
            u, v = places[other]
            bend = (y + v) / 2
            parts.append(
                f'<path d="M{x:.0f} {y + HIGH / 2:.0f} C{x:.0f} {bend:.0f} {u:.0f} {bend:.0f} '
                f'{u:.0f} {v - HIGH / 2:.0f}" fill="none" stroke="#8a94a6" stroke-width="1.2"/>'
            )
    for name, (x, y) in places.items():
        parts.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - HIGH / 2:.0f}" width="{BOX}" height="{HIGH}" '
            'rx="6" fill="#e6eef9" stroke="#34568b"/>'
            f'<text x="{x:.0f}" y="{y - 2:.0f}" text-anchor="middle" fill="#14284b" '
            f'font-weight="600">{escape(name)}</text>'
            f'<text x="{x:.0f}" y="{y + 15:.0f}" text-anchor="middle" fill="#4a5b78" '
            f'font-size="12">{lines_of(name):,} lines</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def about(name: str) -> str:
    """The first sentence of a room's docstring."""
    file = SOURCE / f"{name}.py"
    file = file if file.is_file() else SOURCE / name / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s", paragraph)[0].rstrip(".")


def listed(rooms: dict[str, set[str]]) -> str:
    """The rooms, highest first, each with what it is."""
    at = depths(rooms)
    names = sorted(rooms, key=lambda name: (-at[name], name))
    return "".join(f"- `{name}` {about(name)}\n" for name in names)


def page(text: str) -> str:
    """CONTRIBUTING.md with the list as the sources stand."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + listed(used()) + END + rest.split(END)[1]


if __name__ == "__main__":
    PICTURE.write_text(picture(used()), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PICTURE.name} and {PAGE.name}")

"""The rooms of the package (a file or a folder of src/pellucid each) and their imports."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "pellucid"
FILES = sorted(
    path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or "__" not in path.name
)


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> frozenset[Path]:
    """The files of the package that a file imports, also inside functions and for types only."""
    package = path.relative_to(SOURCE).parent.parts  # of the folder that holds the file
    files: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            dotted = [alias.name.split(".") for alias in node.names]
            names = [tuple(parts[1:]) for parts in dotted if parts[0] == "pellucid"]
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = package[: len(package) - node.level + 1] + module
            elif module[:1] == ("pellucid",):
                base = module[1:]
            else:
                continue
            names = [(*base, alias.name) for alias in node.names]
        files |= {file for parts in names if (file := _file(parts)) is not None}
    return frozenset(files - {path})


def _file(parts: tuple[str, ...]) -> Path | None:
    """The file that defines a dotted name: the module, or the one that holds the name."""
    for size in range(len(parts), 0, -1):
        stem = SOURCE.joinpath(*parts[:size])
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def used() -> dict[str, set[str]]:
    """Room -> the rooms it imports, as the sources stand."""
    rooms: dict[str, set[str]] = {room(path): set() for path in FILES}
    for path in FILES:
        rooms[room(path)] |= {room(file) for file in imported(path)} - {room(path), "__init__"}
    return rooms


def lines_of(name: str) -> int:
    """Lines of Python in a room."""
    return sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if room(path) == name
    )

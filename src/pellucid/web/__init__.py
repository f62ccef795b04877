"""What a browser gets: picture/ draws primitives, machine/ runs a small model, page/ and walk/ are
documents around them, app/ is the page that `pellucid serve` shows.

ECMAScript modules, as they stand in their files; `joined` makes one script of them for a document
that may fetch nothing. Each keeps a scope of its own there, so two may use the same private names.
They have no // comments, and end every statement with a semicolon: marimo joins lines. No template
literal runs over lines: `joined` leaves out comments and indentation.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["imports", "joined", "names", "text"]

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_COMMENT = re.compile(r"^ */\*.*?\*/\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)


@cache
def text(name: str, folder: Path | None = None) -> str:
    """A file by its path within this folder, such as "page/page.css"."""
    return (folder or files(__package__)).joinpath(name).read_text(encoding="utf-8")


@cache
def names() -> frozenset[str]:
    """Every file within this folder, by its path."""
    root = files(__package__)

    def below(folder: Traversable, path: str) -> Iterator[str]:
        for each in folder.iterdir():
            if each.is_dir():
                yield from below(each, f"{path}{each.name}/")
            else:
                yield path + each.name

    return frozenset(below(root, ""))


def imports(name: str, folder: Path | None = None) -> dict[str, list[str]]:
    """The modules that a module imports, by their paths, and the names that it takes from each."""
    start = posixpath.dirname(name)
    return {
        posixpath.normpath(posixpath.join(start, source)): [
            word.strip() for word in names.split(",") if word.strip()
        ]
        for names, source in _IMPORT.findall(text(name, folder))
    }


@cache
def joined(name: str, folder: Path | None = None) -> str:
    """A module and all that it imports as one script: each in a function of its own, which takes
    its imports from those before it and returns its exports.

    Raises ValueError for modules that import each other, and for other forms of import and export
    than `import { a, b } from "./x.js";` and `export function|class|const`.
    """
    order: list[str] = []
    _visit(name, folder, (), order)
    scopes = "\n".join(_scope(each, folder) for each in order)
    return f"const modules = {{}};\n{scopes}"


def _visit(name: str, folder: Path | None, above: tuple[str, ...], order: list[str]) -> None:
    """Adds the module to `order`, after all that it needs."""
    if name in above:
        raise ValueError(f"modules import each other: {' → '.join((*above, name))}")
    if name not in order:
        for each in imports(name, folder):
            _visit(each, folder, (*above, name), order)
        order.append(name)


def _scope(name: str, folder: Path | None) -> str:
    body = _COMMENT.sub("", _IMPORT.sub("", text(name, folder)))
    body = re.sub(r"^ +", "", body, flags=re.MULTILINE)
    exported = [match[2] for match in _EXPORT.finditer(body)]
    body = _EXPORT.sub(r"\1 \2", body)
    if wrong := re.search(r"^(import|export)\b.*$", body, re.MULTILINE):
        raise ValueError(f"{name}: cannot be joined: {wrong[0]}")
    taken = "".join(
        f'const {{ {", ".join(names).replace(" as ", ": ")} }} = modules["{source}"];\n'
        for source, names in imports(name, folder).items()
    )
    return (
        f'modules["{name}"] = (() => {{\n{taken}{body}return {{ {", ".join(exported)} }};\n}})();'
    )

"""Which room may import which, and what may be imported at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pellucid

SOURCE = Path(pellucid.__file__).parent

# Room -> the rooms it may import. Arrows point down this list only.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "visible": set(),
    "hparams": {"errors"},
    "tokenizer": {"errors"},
    "weights": {"errors", "hparams"},
    "backend": {"errors"},
    "cache": {"backend", "errors", "hparams"},
    "taps": {"backend", "hparams"},
    "model": {"backend", "cache", "errors", "hparams", "taps"},
    "sampling": {"errors"},
    "generate": {"backend", "cache", "errors", "hparams", "model", "sampling", "taps", "tokenizer"},
    "checkpoint": {"backend", "errors", "hparams", "model", "tokenizer", "weights"},
    "gpt": {
        "backend", "cache", "checkpoint", "errors", "generate", "hparams", "sampling", "taps",
        "tokenizer", "weights",
    },
    "chat": {"errors", "generate", "gpt", "taps", "tokenizer"},
    "data": {"chat", "checkpoint", "errors", "tokenizer"},
    "evaluate": {
        "backend", "cache", "chat", "checkpoint", "data", "errors", "generate", "gpt", "hparams", "model",
        "sampling", "tokenizer", "weights",
    },
    "inspect": {
        "backend", "cache", "errors", "generate", "gpt", "hparams", "model", "sampling", "taps",
        "weights",
    },
    "train": {
        "backend", "chat", "checkpoint", "data", "errors", "generate", "gpt", "hparams", "model",
        "taps", "tokenizer", "visible", "weights",
    },
}  # fmt: skip
ROOMS["cli"] = set(ROOMS)


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, also inside functions and for types only."""
    package = ["pellucid", *path.relative_to(SOURCE).with_suffix("").parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else []
            parts = [*base, *(node.module.split(".") if node.module else [])]
            modules = [".".join([*parts, alias.name]) for alias in node.names]
        for module in modules:
            steps = module.split(".")
            if steps[0] == "pellucid" and len(steps) > 1:
                found.add(steps[1])
    return found


FILES = [
    path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE or room(path) in ROOMS
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    own = room(path)
    allowed = ROOMS[own] | {own}
    assert imported_rooms(path) & set(ROOMS) <= allowed


def test_every_room_is_in_the_table() -> None:
    there = {room(path) for path in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert there == set(ROOMS)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_does_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import pellucid;"
        "print([m for m in set(sys.modules) - before if not m.startswith('pellucid')])"
    )
    heavy = {"numpy", "torch", "tiktoken", "regex", "rich", "click", "safetensors"}
    assert not heavy & set(ast.literal_eval(run(code)))


def test_the_numpy_path_imports_no_torch() -> None:
    code = (
        "import sys, pellucid; g = pellucid.load('talk');"
        "print(g.generate('The power clapper', greedy=True).text);"
        "g.forward([1, 2], tap=lambda n, v: v);"
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    text, modules = run(code).splitlines()
    assert text == " went straight to jail"
    assert not {"torch", "transformers", "tiktoken", "huggingface_hub"} & set(
        ast.literal_eval(modules)
    )


def test_nothing_is_evaluated_or_unpickled() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, path
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill", "joblib", "marshal"} & {a.name for a in node.names}

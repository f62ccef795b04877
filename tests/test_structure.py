"""Which room may import which: what is allowed is exactly what is used, and nothing goes round."""

from __future__ import annotations

import ast
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from importlib import import_module

import pytest

from support.program import python
from support.rooms import FILES, SOURCE, imported, room, used

# Room -> the rooms it imports, inside functions and for types too. Arrows point down this list.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "embedded": set(),
    "visible": set(),
    "web": set(),
    "backend": {"errors"},
    "files": {"errors"},
    "hparams": {"errors"},
    "families": {"errors", "hparams"},
    "row": set(),
    "sampling": {"errors", "row"},
    "beam": {"errors"},
    "draw": {"errors", "visible", "web"},
    "tokenizer": {"errors", "files", "visible"},
    "cache": {"backend", "errors", "hparams"},
    "taps": {"backend", "families", "hparams"},
    "weights": {"backend", "errors", "families", "hparams"},
    "sequence": {"errors", "hparams", "row", "sampling", "tokenizer", "visible"},
    "template": {"errors", "tokenizer"},
    "checkpoint": {
        "backend", "embedded", "errors", "families", "files", "hparams", "sampling", "template",
        "tokenizer", "weights",
    },
    "model": {"backend", "cache", "errors", "families", "hparams", "taps", "weights"},
    "blocks": {"backend", "errors", "hparams"},
    "data": {"checkpoint", "errors", "files", "template", "tokenizer"},
    "speculate": {"cache", "errors", "model", "sequence"},
    "generate": {
        "backend", "cache", "errors", "model", "sampling", "sequence", "speculate", "taps",
        "tokenizer",
    },
    "keeping": {"backend", "checkpoint", "model", "weights"},
    "gpt": {
        "backend", "cache", "checkpoint", "embedded", "errors", "generate", "hparams", "keeping",
        "model", "sampling", "sequence", "speculate", "taps", "tokenizer",
    },
    "translate": {
        "backend", "beam", "checkpoint", "errors", "families", "hparams", "model", "sampling",
        "taps", "tokenizer",
    },
    "transcript": {"errors", "files", "sequence", "tokenizer"},
    "chat": {
        "errors", "generate", "gpt", "sampling", "sequence", "speculate", "taps", "template",
        "tokenizer", "transcript",
    },
    "conversations": {"chat", "errors", "files", "tokenizer", "transcript"},
    "inspect": {
        "backend", "draw", "errors", "families", "generate", "gpt", "hparams", "model", "sampling",
        "sequence", "taps", "tokenizer", "translate", "visible", "weights",
    },
    "train": {
        "backend", "checkpoint", "data", "errors", "families", "files", "gpt", "hparams", "model",
        "template", "tokenizer", "translate", "visible", "weights",
    },
    "history": {
        "backend", "checkpoint", "draw", "embedded", "errors", "files", "gpt", "inspect", "model",
        "sampling", "tokenizer", "train", "visible", "web", "weights",
    },
    "evaluate": {
        "backend", "blocks", "chat", "data", "errors", "gpt", "model", "sampling", "template",
    },
    "calibrate": {"backend", "errors", "evaluate", "families", "gpt", "hparams"},
    "session": {
        "chat", "conversations", "draw", "errors", "files", "generate", "gpt", "inspect",
        "sampling", "sequence", "tokenizer", "visible",
    },
    "serve": {
        "backend", "blocks", "chat", "checkpoint", "conversations", "draw", "errors", "files",
        "generate", "gpt", "history", "inspect", "model", "sampling", "sequence", "speculate",
        "taps", "template", "tokenizer", "visible", "web",
    },
    "batch": {
        "chat", "data", "errors", "evaluate", "files", "gpt", "inspect", "sequence", "serve",
        "template", "weights",
    },
    "bench": {"backend", "checkpoint", "data", "errors", "families", "files", "hparams"},
    "cli": {
        "batch", "bench", "calibrate", "chat", "checkpoint", "conversations", "data", "draw",
        "embedded", "errors", "evaluate", "families", "files", "generate", "gpt", "history",
        "hparams", "inspect", "sampling", "sequence", "serve", "session", "speculate", "tokenizer",
        "train", "transcript", "translate", "visible",
    },
}  # fmt: skip

# Files of more than 400 lines, each with its reason.
LONG: dict[str, str] = {}


@pytest.mark.parametrize("name", sorted({room(path) for path in FILES}))
def test_what_is_allowed_is_exactly_what_is_used(name: str) -> None:
    assert used()[name] == ROOMS.get(name), f"{name} imports {sorted(used()[name])}"


def test_every_room_is_in_the_table() -> None:
    assert set(used()) == set(ROOMS)


def test_no_circle_between_rooms() -> None:
    try:
        tuple(TopologicalSorter(ROOMS).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_circle_between_files() -> None:
    """Inside a room neither. A room's own __init__ only gathers names: no file of it asks it."""
    graph = {path: set(imported(path)) for path in SOURCE.rglob("*.py")}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(str(path.relative_to(SOURCE)) for path in error.args[1]))


def test_http_touches_no_arrays() -> None:
    """What speaks HTTP knows texts and ids; arrays are the engine's."""
    for path in FILES:
        if path.parent.name in ("routes", "schema") and room(path) == "serve":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {m.split(".")[0] for m in modules} & {"numpy", "torch"}, path


def test_no_file_is_long_without_a_reason() -> None:
    long = {
        str(path.relative_to(SOURCE)): n
        for path in FILES
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert set(long) == set(LONG), long
    gpt2 = (SOURCE / "model" / "gpt2.py").read_text(encoding="utf-8")
    assert len(gpt2.splitlines()) <= 200
    verbs = {
        path.name: len(path.read_text("utf-8").splitlines())
        for path in FILES
        if room(path) == "cli"
    }
    assert {name: n for name, n in verbs.items() if n > 120} == {}


def run(code: str) -> str:
    return python(code, check=True).stdout


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


def test_no_function_hides_the_module_it_lives_in() -> None:
    """`pellucid.model.gpt2` is the file, whatever its package exports."""
    hidden = []
    for path in SOURCE.rglob("*.py"):
        package = ".".join(("pellucid", *path.parent.relative_to(SOURCE).parts))
        if path.parent != SOURCE and not path.stem.startswith("__") and "torch" not in path.stem:
            module = None
            with suppress(ModuleNotFoundError):  # an extra is not installed
                module = import_module(f"{package}.{path.stem}")
            if module and getattr(import_module(package), path.stem) is not module:
                hidden.append(f"{package}.{path.stem}")
    assert not hidden

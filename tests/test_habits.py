"""The tests' own habits, read from their sources: what they share, and what they do not rely on."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.program import captured
from support.skips import NEEDS, needs

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILES = sorted(path for path in TESTS.rglob("*.py") if path.name != Path(__file__).name)

# Names with an underscore that a library's manual tells us to call or to offer.
PUBLIC = {"_asdict", "_replace", "_repr_html_", "_mime_"}
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}
DEADLINES = {"support/browser.py"}  # its waiting loop ends, for a page that is never drawn
LONGEST_SLEEP = 0.05
SKIPPING = {"importorskip", "skip", "skipif", "skipUnless", "xfail"}
SKIPS = "support/skips.py"


@cache
def trees() -> dict[str, ast.Module]:
    return {str(p.relative_to(TESTS)): ast.parse(p.read_text(encoding="utf-8")) for p in FILES}


@cache
def every_node() -> dict[type[ast.AST], list[tuple[str, ast.AST]]]:
    """By its class; walked once for all tests."""
    found = defaultdict(list)
    for name, tree in trees().items():
        for node in ast.walk(tree):
            found[type(node)].append((name, node))
    return found


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for kind in kinds:
        yield from every_node()[kind]


def at(name: str, node: ast.AST) -> str:
    return f"{name}:{node.lineno}: {ast.unparse(node)[:80]}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def programs() -> Iterator[tuple[str, ast.Constant]]:
    """Those that are written in strings."""
    for name, node in nodes(ast.Constant):
        if isinstance(node.value, str) and re.search(r"\bimport \w", node.value):
            yield name, node


def test_no_private_name_is_read_or_patched() -> None:
    """Of whatever object: a test's own may go without. `self` is a test's own class."""
    found = []
    for name, node in nodes(ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if is_private(node.attr) and not own:
            found.append(at(name, node))
    for name, node in nodes(ast.ImportFrom):
        parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        found += [at(name, node) for part in parts if is_private(part)]
    for name, node in nodes(ast.Call):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("setattr", "getattr", "delattr", "hasattr"):
            values = [a.value for a in node.args if isinstance(a, ast.Constant)]
            names = [part for v in values if isinstance(v, str) for part in v.split(".")]
            found += [at(name, node) for part in names if is_private(part)]
    for name, node in programs():
        found += [at(name, node) for n in re.findall(r"\.(_\w+)", node.value) if is_private(n)]
    assert not found, "\n".join(found)


def test_no_seconds_are_measured() -> None:
    """A test that measures them says something about the machine; `support.work` counts."""
    found = []
    for name, node in nodes(ast.Attribute, ast.Name):
        clock = node.attr if isinstance(node, ast.Attribute) else node.id
        clock = clock.removesuffix("_ns")
        of_time = isinstance(node, ast.Name) or ast.unparse(node).startswith("time.")
        if clock in CLOCKS - {"time"} or (clock == "time" and ast.unparse(node) == "time.time"):
            found += [at(name, node)] if of_time and name not in DEADLINES else []
    for name, node in nodes(ast.ImportFrom):
        if node.module == "time":
            found.append(at(name, node))
    for name, node in programs():
        if re.search(r"\b(perf_counter|process_time|monotonic|time\.time)\b", node.value):
            found.append(at(name, node))
    assert not found, "\n".join(found)


def test_no_sleep_is_long() -> None:
    found = []
    for name, node in nodes(ast.Call):
        if ast.unparse(node.func).rpartition(".")[2] == "sleep":
            numbers = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            if not numbers or max(numbers) > LONGEST_SLEEP:
                found.append(at(name, node))
    for name, node in programs():
        seconds = re.findall(r"\bsleep\(([\d.]+)\)", node.value)
        found += [at(name, node) for each in seconds if float(each) > LONGEST_SLEEP]
    assert not found, "\n".join(found)


def test_no_client_gives_up_in_five_seconds() -> None:
    """As httpx does of itself, where a machine is busy."""
    asking = {"get", "post", "put", "delete", "request", "stream", "Client", "AsyncClient"}
    found = []
    for name, node in nodes(ast.Call):
        module, _, called = ast.unparse(node.func).rpartition(".")
        if module == "httpx" and called in asking:
            found += [at(name, node)] * all(word.arg != "timeout" for word in node.keywords)
    assert not found, "\n".join(found)


def test_every_skip_is_in_the_table() -> None:
    found, used = [], set()
    for name, node in nodes(ast.Attribute, ast.Name):
        called = node.attr if isinstance(node, ast.Attribute) else node.id
        if called in SKIPPING and name != SKIPS:
            found.append(at(name, node))
    assert not found, "\n".join(found)
    for name, node in nodes(ast.Call):
        if ast.unparse(node.func) in ("needs", "only_with") and name != SKIPS:
            assert all(isinstance(a, ast.Constant) and a.value in NEEDS for a in node.args), at(
                name, node
            )
            used |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    assert used == set(NEEDS), "a row that no test needs"
    for row in NEEDS.values():
        assert min(len(row.what), len(row.why), len(row.unskip)) > 3
        assert row.unskip in row.reason


def test_what_is_collected_is_the_same_everywhere() -> None:
    """A case that a file leaves out where something is missing is a skip that nobody sees."""
    found = [
        at(name, node)
        for name, tree in trees().items()
        for node in tree.body
        if isinstance(node, ast.If | ast.Try) and "__name__ ==" not in ast.unparse(node)
    ]
    assert not found, "\n".join(found)


def test_a_run_says_what_it_skipped_and_when_it_will_not() -> None:
    needs("node")
    done = captured(
        [sys.executable, "-m", "pytest", "tests/test_draw.py", "-k", "same_private_names"],
        env={**os.environ, "PATH": "", "PYTHONPATH": str(ROOT / "src")},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"1 skipped, {NEEDS['node'].reason}" in done.stdout


def test_tests_share_support_and_not_each_other() -> None:
    found = []
    for name, node in nodes(ast.Import, ast.ImportFrom):
        module = node.module if isinstance(node, ast.ImportFrom) else None
        modules = [module or ""] if module else [alias.name for alias in node.names]
        found += [at(name, node) for m in modules if m.startswith(("test_", "conftest", "tests"))]
    assert not found, "\n".join(found)


def test_no_helper_is_written_twice() -> None:
    """The same body, of three lines or more, at the top of two files."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees().items():
        for node in tree.body:
            own = isinstance(node, ast.FunctionDef | ast.ClassDef)
            if own and not node.name.startswith("test_"):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and body[-1].end_lineno - body[0].lineno >= 2:
                    places["\n".join(map(ast.dump, body))].append(at(name, node))
    twice = [where for where in places.values() if len({w.split(":")[0] for w in where}) > 1]
    assert not twice, twice


def test_every_warning_is_an_error_but_those_named() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    first, *others = tomllib.loads(text)["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert first == "error"
    lines = text.splitlines()
    for other in others:
        assert other.count(":") >= 2, f"{other}: name the message and its category"
        (line,) = (i for i, each in enumerate(lines) if other in each.replace("\\\\", "\\"))
        assert lines[line - 1].lstrip().startswith("#"), f"{other}: no reason beside it"
    with pytest.raises(DeprecationWarning):
        warnings.warn("as any other", DeprecationWarning, stacklevel=1)

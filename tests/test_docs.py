"""What is written down must still be true."""

from __future__ import annotations

import doctest
import re
import runpy
from pathlib import Path

import pytest

import pellucid

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", ["cli", "taps"])
def test_a_page_is_what_its_generator_writes(name: str) -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate" / f"{name}.py"))["page"]()
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == made


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/change.md",
        "docs/conversations.md",
        "docs/inspect.md",
        "docs/learned.md",
        "docs/taps.md",
        "docs/transformer.md",
    ],
)
def test_python_examples_run_and_say_what_they_claim(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert blocks(page)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks(page):
        for line in re.finditer(r"^(?!\s)(.+?)\s+# => (.+)$", block, flags=re.MULTILINE):
            block = block.replace(line[0], f"assert repr({line[1]}) == {line[2]!r}, ({line[1]})")
        exec(compile(block, page, "exec"), scope)


def test_the_package_docstring_holds() -> None:
    found = doctest.testmod(pellucid)
    assert found.attempted
    assert not found.failed


def test_the_house_is_drawn_as_the_imports_stand() -> None:
    """But for the numbers of lines, which change with every day's work."""
    house = runpy.run_path(str(ROOT / "docs" / "generate" / "house.py"))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert house["page"](contributing) == contributing

    def without_counts(svg: str) -> str:
        return re.sub(r"[\d,]+ lines", "", svg)

    picture = (ROOT / "docs" / "house.svg").read_text(encoding="utf-8")
    assert without_counts(picture) == without_counts(house["picture"](house["used"]()))

"""The page's gallery: what each example claims is computed here, as the page would."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import pellucid
from pellucid import inspect

ROOT = Path(__file__).parents[1]
GALLERY = runpy.run_path(str(ROOT / "docs" / "generate" / "gallery.py"))
EXAMPLES = {example.name: example for example in GALLERY["EXAMPLES"]}


def test_the_page_reads_what_is_written_here() -> None:
    script = (ROOT / "src" / "pellucid" / "web" / "change" / "examples.js").read_text("utf-8")
    assert script == GALLERY["script"]()
    known = json.loads(
        script.partition("export const EXAMPLES = ")[2].rstrip(";\n").replace(",\n]", "\n]")
    )
    assert [each["name"] for each in known] == list(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_it_claims_is_so(name: str) -> None:
    example = EXAMPLES[name]
    gpt = pellucid.load(example.model)
    changes = [inspect.Intervention(**change) for change in example.changes]
    found = inspect.compare(gpt, example.text, changes, greedy=True, max_tokens=example.length)
    assert (found.before.text, found.after.text) == (example.before, example.after)
    if example.looks is not None:
        layer, head, query, key = example.looks
        pattern = inspect.attention(gpt, example.text, layers=layer, heads=head).pattern[0, 0]
        assert pattern[query, key] > 0.9
        assert example.stop == f"attn.pattern,{layer},{head},{query}"


def test_known_kinds_are_all_shown() -> None:
    heads = {tuple(at): kind for kind, at in pellucid.load("induction").card["heads"].items()}
    shown = {heads[example.looks[:2]] for example in EXAMPLES.values() if example.looks}
    assert shown == {"previous token", "induction", "duplicate token"}

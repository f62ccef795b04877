"""The walk's words and numbers are one thing: in the terminal, on the page and in docs/tour.md.

After a meant change of either: python tests/test_walk_golden.py writes the golden file anew.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import inspect
from pellucid.draw.notation import written
from pellucid.draw.pictures import Picture
from pellucid.draw.slides import Matrix, Table
from support import screen

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "walk.json"
TEXT = "The power clapper"


def the_walk() -> inspect.Walk:
    return inspect.walk(pellucid.load("talk", dtype="float64"), TEXT)


def as_golden(way: inspect.Walk) -> list[dict[str, Any]]:
    """Words as they are, numbers to six decimals; -∞ is null."""
    return [
        {
            **{name: getattr(step, name) for name in ("number", "title", "talk", "formula")},
            "words": list(step.words),
            "values": {name: rounded(array) for name, array in step.values.items()},
            "pictures": [picture_of(picture) for picture in step.pictures],
        }
        for step in way.steps
    ]


def picture_of(picture: Picture) -> dict[str, Any]:
    known: dict[str, Any] = {"type": type(picture).__name__, "caption": picture.caption}
    if isinstance(picture, Matrix):
        known |= {"rows": list(picture.rows), "values": rounded(picture.values)}
    if isinstance(picture, Table):
        known |= {"rows": [list(row) for row in picture.rows]}
    return known


def rounded(array: np.ndarray) -> Any:
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array.tolist()
    return np.where(np.isfinite(array), (array.round(6) + 0.0).astype(object), None).tolist()


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def way() -> inspect.Walk:
    return the_walk()


def flat(text: str) -> str:
    return " ".join(text.split())


def same(one: Any, other: Any) -> None:
    """The same words, and numbers that differ by rounding at most."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    elif isinstance(one, float):
        assert abs(one - other) < 2e-6
    else:
        assert one == other


def test_the_walk(way, golden) -> None:
    same(as_golden(way), golden)
    assert [step["number"] for step in golden] == list(range(1, 13))


def matrices(golden: list[dict[str, Any]]) -> list[np.ndarray]:
    pictures = (picture for step in golden for picture in step["pictures"])
    values = (picture["values"] for picture in pictures if picture["type"] == "Matrix")
    return [np.array(rows, float) for rows in values]


def tables(golden: list[dict[str, Any]]) -> list[list[str]]:
    pictures = (picture for step in golden for picture in step["pictures"])
    return [row for picture in pictures if picture["type"] == "Table" for row in picture["rows"]]


def test_the_terminal(way, golden) -> None:
    text = screen.printed(way, 240)
    printed = flat(text)
    for step in golden:
        assert f"{step['number']}. {step['title']} “{step['talk']}”" in printed
        assert all(flat(words) in printed for words in [*step["words"], step["formula"]])
        for picture in step["pictures"]:
            if picture["type"] in ("Matrix", "Table"):
                assert picture["caption"] in printed
    lines = [line.split() for line in text.splitlines()]
    numbers = [line[-n:] for line in lines for n in range(1, len(line))]
    for row in (row for values in matrices(golden) for row in values):
        texts = [written(-np.inf if np.isnan(v) else float(v), digits=3) for v in row]
        assert texts in numbers
    for row in tables(golden):
        assert flat(" ".join(row)) in printed


def test_the_tour(golden) -> None:
    page = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    words = flat(re.sub(r"^> ", "", page, flags=re.MULTILINE))
    for step in golden:
        assert f"## {step['number']}. {step['title']} {step['talk']}" in words
        assert all(flat(text) in words for text in [*step["words"], step["formula"]])
    arrays = [row.split(",") for row in re.findall(r"\[ ([-\d., ]+) \]", page)]
    cells = [line.split("|")[2:-1] for line in page.splitlines() if line.startswith("| `")]
    known = [[0.0 if "·" in x else float(x) for x in row] for row in arrays + cells if number(row)]
    for row in (row for values in matrices(golden) for row in values):
        row = np.nan_to_num(row)
        assert any(len(row) == len(own) and np.allclose(row, own, atol=0.00501) for own in known)
    plain = page.replace("\\|", "|").replace("&lt;", "<")
    for row in tables(golden):
        assert f"| {' | '.join(row)} |" in plain


def number(row: list[str]) -> bool:
    return all(re.fullmatch(r" *-?\d+\.\d\d *| *· *", text) for text in row)


def test_the_page(way, golden) -> None:
    html = inspect.page(way, title=TEXT)
    content = json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])
    assert len(content["sections"]) == len(golden)
    for section, step in zip(content["sections"], golden, strict=True):
        assert section["title"] == f"{step['number']}. {step['title']}"
        assert section["how"] == f"“{step['talk']}”"
        pictures = section["pictures"]
        assert pictures.pop(0)["lines"] == step["words"]
        if step["formula"]:
            assert pictures.pop(0)["text"] == step["formula"]
        assert [p["type"] for p in pictures] == [p["type"].lower() for p in step["pictures"]]
        for drawn, picture in zip(pictures, step["pictures"], strict=True):
            assert drawn["caption"] == picture["caption"]
            if picture["type"] == "Table":
                assert drawn["rows"] == picture["rows"]
            if picture["type"] == "Matrix":
                packed = drawn["values"]
                raw = np.frombuffer(base64.b64decode(packed["base64"]), f"<{packed['type']}")
                raw = np.where(np.isinf(raw), np.nan, raw).reshape(packed["shape"])
                np.testing.assert_allclose(raw, np.array(picture["values"], float), atol=2e-6)


if __name__ == "__main__":
    text = json.dumps(as_golden(the_walk()), ensure_ascii=False, indent=1)
    number_ = r"(?:-?[\d.e-]+|null)"
    row = re.compile(rf"\[\s+({number_}(?:,\s+{number_})*)\s+\]")
    text = row.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN.name}")

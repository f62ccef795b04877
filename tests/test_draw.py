"""Pictures as data, drawn in a terminal and on a page: the same numbers, and nothing of inspect."""

from __future__ import annotations

import ast
import base64
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from rich.cells import cell_len

import pellucid.draw
from pellucid import web
from pellucid.draw import (
    Bars,
    Compare,
    Distribution,
    Formula,
    Heads,
    Heat,
    Lens,
    Lines,
    Matrix,
    Section,
    Table,
    Tabs,
    Tokens,
    Value,
    Values,
)
from pellucid.draw.document import document, fragment
from pellucid.draw.notation import percent, written
from pellucid.draw.slides import Role
from pellucid.draw.terminal import Drawing, palette
from pellucid.draw.terminal.canvas import Canvas
from pellucid.draw.terminal.sections import drawn
from pellucid.errors import InputError
from pellucid.visible import as_seen, harmless, on_one_line, visible
from support import screen
from support.program import captured, python
from support.screen import bare
from support.skips import needs

ODD = ("The", " \x1b[31mred", "\u202e\u200b", "字字", "🎉", "\n", "\t", "", "</script>", " end")
N = len(ODD)
RNG = np.random.default_rng(3)
PATTERN = np.tril(RNG.random((2, 3, N, N)))
PATTERN /= PATTERN.sum(-1, keepdims=True)
LOGPROBS = np.sort(np.log(RNG.dirichlet(np.ones(4), (3, N))))[..., ::-1]
HEAT = Heat(
    values=RNG.normal(size=(3, N)),
    rows=("embed", "L0", "L1"),
    columns=ODD,
    scale="diverging",
    tokens=True,
    caption="A caption.",
)
PICTURES = {
    "lines": Lines(lines=(f"A sentence with {ODD[1]} in it, long enough to be wrapped.", "b")),
    "listed": Lines(lines=("a", "b"), listed=True),
    "formula": Formula(text="x = wte[id] + wpe[position], and so on to the end of a line"),
    "table": Table(columns=("a", ODD[1], "c"), rows=(ODD[:3], ODD[3:6]), caption="A table."),
    "arrays": Matrix(values=RNG.normal(size=(N, 40)), rows=ODD, followed=N - 1),
    "matrix": Matrix(
        values=np.where(np.triu(np.ones((N, N)), 1), -np.inf, PATTERN[0, 0]),
        rows=ODD,
        columns=ODD,
        corner="query \\ key",
        ground=True,
    ),
    "bars": Bars(labels=ODD, values=RNG.normal(size=N), form="signed", tokens=True, total=1.5),
    "noted": Bars(
        labels=("a", "b"), values=np.array([0.2, 0.9]), form="percent", notes=("", "→ x")
    ),
    "compared": Bars(labels=ODD, values=RNG.random(N), after=RNG.random(N), tokens=True, high=1.0),
    "beside": Compare(
        names=("as it is", ODD[1]),
        before=ODD,
        after=(*ODD[:3], " other", *ODD[4:], " more"),
        shares_before=RNG.random(N),
        shares_after=RNG.random(N + 1),
        first=7,
        ends=("ends here", ""),
    ),
    "heat": HEAT,
    "cells": Heat(
        values=np.array([[0.1, np.nan]]), rows=("L0",), columns=("H0", "H1"), cells=("P 10", "·")
    ),
    "tokens": Tokens(tokens=ODD, values=RNG.normal(size=N), notes=("→ x",) * N),
    "heads": Heads(
        tokens=ODD,
        layers=(0, 4),
        heads=(0, 1, 5),
        pattern=PATTERN,
        entropy=RNG.random((2, 3)),
        distance=RNG.random((2, 3)),
        position=N - 2,
        labels={(4, 5): ("induction", "self")},
        more="Ask for fewer.",
    ),
    "one head": Heads(
        tokens=ODD,
        layers=(1,),
        heads=(2,),
        pattern=PATTERN[:1, :1],
        entropy=np.zeros((1, 1)),
        distance=np.zeros((1, 1)),
        position=0,
    ),
    "lens": Lens(
        layers=("embed", "0", "1"),
        positions=tuple(range(N)),
        tokens=ODD,
        targets=ODD,
        top=RNG.integers(0, N, (3, N, 4)),
        logprobs=LOGPROBS,
        target_logprobs=LOGPROBS[..., 0],
        target_ranks=np.zeros((3, N), int),
        entropy=RNG.random((3, N)),
        divergence=RNG.random((3, N)),
        texts=dict(enumerate(ODD)),
    ),
    "distribution": Distribution(
        logits=RNG.normal(size=N), ids=tuple(range(N))[::-1], texts=ODD[::-1]
    ),
    "values": Values(
        rows=(
            Value(
                name="q", axes=("position", "head", "d_k"), formula="", array=RNG.random((N, 3, 4))
            ),
            Value(
                name="scores",
                axes=("head", "query", "key"),
                formula="q · k",
                array=np.where(PATTERN[0] > 0, PATTERN[0], -np.inf),
            ),
        ),
        tokens=ODD,
        keys=ODD,
        heads=(0, 1, 5),
        more="Trace fewer.",
    ),
    "tabs": Tabs(pictures={"one": HEAT, "two": Lines(lines=("second",))}, caption="Show"),
}
SECTIONS = [
    Section(
        kind=name, title=f"A {name}", how="How to read it.", about="".join(ODD), pictures=(each,)
    )
    for name, each in PICTURES.items()
]


def printed(content, width=80, colour=False):
    return screen.printed(Drawing(content), width, colour=colour)


def test_every_primitive_is_here():
    kinds = {type(each) for each in PICTURES.values()}
    named = [getattr(pellucid.draw, name) for name in pellucid.draw.__all__]
    assert kinds == {*named} - {pellucid.draw.Picture, Section, Value}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", PICTURES)
def test_no_line_is_wider_than_the_terminal_and_nothing_acts_on_it(name, width, colour):
    (section,) = (each for each in SECTIONS if each.kind == name)
    for content in (PICTURES[name], [section]):
        out = printed(content, width, colour)
        assert colour or "\x1b" not in out
        shown = bare(out)
        assert shown.strip()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", shown)
        assert max(map(cell_len, shown.splitlines())) <= width
    # Nothing had to be cropped: marks count their cells, prose is wrapped.
    marks = list(drawn(PICTURES[name], Canvas(width=width, colour=colour)))
    assert all(line.no_wrap is False or line.cell_len <= width for line in marks)


def test_a_section_says_everything_but_what_is_aside():
    first = replace(SECTIONS[0], title="First", notes=("Something was left out.",))
    out = " ".join(printed([first, replace(SECTIONS[5], title="More of it", aside=True)]).split())
    for text in ("First", "How to read it.", "Something was left out.", on_one_line(ODD[1])):
        assert text in out
    assert "On a page also: More of it." in out
    assert "A caption." not in out


def test_tabs_show_what_is_unfolded():
    tabs = PICTURES["tabs"]
    assert "A caption." in printed(tabs)
    assert "second" not in printed(tabs)
    assert "second" in printed(replace(tabs, unfolded=("one", "two")))


# As data


def arrays_of(form, of):
    """Every array of a picture beside its form: (the dict or list, the array)."""
    if isinstance(of, np.ndarray):
        yield form, of
    elif isinstance(of, dict):
        for key, each in of.items():
            yield from arrays_of(form[str(key)], each)
    elif isinstance(of, tuple) and of and hasattr(of[0], "to_dict"):
        for part, each in zip(form, of, strict=True):
            yield from arrays_of(part, each)
    elif hasattr(of, "to_dict"):
        for key, each in vars(of).items():
            if isinstance(of, Heads) and key == "pattern":
                each = each[..., *np.tril_indices(N)]
            key = "values" if isinstance(of, Value) and key == "array" else key
            if key in form and key != "labels":
                yield from arrays_of(form[key], each)


@pytest.mark.parametrize("name", PICTURES)
def test_json_holds_every_number(name):
    picture = PICTURES[name]
    form = picture.to_dict()
    assert form["type"] == type(picture).__name__.lower()
    again = json.loads(json.dumps(form, allow_nan=False))
    assert again == form
    for part, array in arrays_of(again, picture):
        finite = np.where(np.isfinite(array), array, np.nan)
        np.testing.assert_allclose(np.array(part, float), finite, rtol=1e-6)


def content_of(html: str):
    return json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])


def unpacked(form):
    flat = np.frombuffer(base64.b64decode(form["base64"]), f"<{form['type']}")
    return flat.reshape(form["shape"])


def test_the_document_holds_every_number():
    content = content_of(document(SECTIONS, title="All"))
    assert [each["title"] for each in content["sections"]] == [each.title for each in SECTIONS]
    n = 0
    for form, section in zip(content["sections"], SECTIONS, strict=True):
        for part, array in arrays_of(form["pictures"], section.pictures):
            np.testing.assert_allclose(unpacked(part), array, rtol=1e-6)
            n += 1
    assert n > 20
    assert content["glyphs"] == as_seen()
    assert fragment(SECTIONS, title="x").count("\n") == 0


def test_what_has_no_room_is_left_out_and_said():
    class Little:
        room = 600.0

        def __call__(self, array):
            return array.tolist()

    heads = PICTURES["heads"].to_dict(Little())
    assert "pattern" not in heads
    assert "Ask for fewer." in heads["left_out"]
    weights = np.array(heads["weights"])
    expected = np.sort(PATTERN, -1)[..., ::-1][..., : weights.shape[-1]]
    np.testing.assert_allclose(np.sort(weights, -1)[..., ::-1], expected, rtol=1e-6)
    values = PICTURES["values"].to_dict(Little())
    assert ["values" in row for row in values["rows"]] == [True, False]
    assert "such as scores" in values["left_out"]
    for name in ("heads", "values"):
        assert "left_out" not in PICTURES[name].to_dict()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Bars(labels=("a",), values=np.zeros(2)),
        lambda: Bars(labels=("a",), values=np.zeros(1), after=np.zeros(2)),
        lambda: Heat(values=np.zeros((2, 2)), rows=("a",), columns=("b", "c")),
        lambda: replace(HEAT, cells=("x",)),
        lambda: Tokens(tokens=("a",), values=np.zeros(3)),
        lambda: replace(PICTURES["heads"], position=N),
        lambda: replace(PICTURES["heads"], layers=(0,)),
        lambda: replace(PICTURES["lens"], entropy=np.zeros((1, 1))),
        lambda: replace(PICTURES["lens"], tokens=("a",)),
        lambda: Distribution(logits=np.zeros(3), ids=(1,), texts=()),
        lambda: Value(name="q", axes=("position",), formula="", array=np.zeros((2, 2))),
        lambda: Tabs(pictures={}),
        lambda: replace(PICTURES["tabs"], unfolded=("three",)),
        lambda: replace(SECTIONS[0], title=""),
    ],
)
def test_a_picture_is_checked_when_it_is_made(wrong):
    with pytest.raises(InputError):
        wrong()


def test_numbers_in_words():
    assert " ".join(map(written, (0.0, -0.001, -2.5, np.nan, -np.inf))) == "0.00 0.00 −2.50 · −∞"
    assert [written(x, "signed", 1) for x in (3.0, -3.0, 0.0)] == ["+3.0", "−3.0", "0.0"]
    assert [written(n, "bytes") for n in (12, 1536)] == ["12 bytes", "1.5 KiB"]


@pytest.mark.parametrize(
    ("share", "text", "whole"),
    [
        (0, "0%", "0%"),
        (1e-9, "<0.0001%", "<1%"),
        (4.2e-6, "0.0004%", "<1%"),
        (0.0003, "0.03%", "<1%"),
        (0.00096, "0.1%", "<1%"),
        (0.0051, "0.5%", "1%"),
        (0.125, "12.5%", "13%"),
        (0.0625, "6.3%", "6%"),
        (0.5, "50.0%", "50%"),
        (0.9951, "99.5%", ">99%"),
        (0.9994, "99.94%", ">99%"),
        (0.999989, "99.999%", ">99%"),
        (1 - 1e-12, ">99.9999%", ">99%"),
        (1, "100%", "100%"),
        (-0.2, "−20.0%", "−20%"),
        (-1e-9, "<0.0001%", "<1%"),
        (2.5, "250.0%", "250%"),
        (np.nan, "·", "·"),
    ],
)
def test_percents(share, text, whole):
    assert percent(share) == text
    assert percent(share, whole=True) == whole


SHARES = sorted(
    {
        0.0, 1.0, 0.125, 0.0625, 1.5, 12.25,
        *(float(x) for x in 10.0 ** RNG.uniform(-9, 0, 400)),
        *(float(1 - x) for x in 10.0 ** RNG.uniform(-9, 0, 400)),
        *(float(np.float32(x)) for x in RNG.uniform(0, 3, 400)),
        *(n / 1000 for n in range(1001)),
        *(bound + step for bound in (0.00095, 0.000095, 0.0000095, 0.000001, 0.5, 0.999)
          for step in (-1e-12, 0.0, 1e-12)),
    }
)  # fmt: skip


def test_a_percent_is_near_what_it_says_and_never_all_or_nothing():
    for share in SHARES:
        text = percent(share)
        bound, digits = text.lstrip("<>").rstrip("%"), text.partition(".")[2].rstrip("%")
        assert "e" not in text
        if text[0] == "<":
            assert 0 < share < 1.0001e-6
        elif text[0] == ">":
            assert 1 - 1.0001e-6 < share < 1
        else:
            assert float(bound) == pytest.approx(100 * share, abs=0.51 * 10 ** -len(digits))
            assert (float(bound) in (0, 100)) == (share in (0, 1)), text
        assert percent(-share) == (text if share == 0 or text[0] == "<" else f"−{text}")
    assert percent(1e30)[:2] == "10"  # of any size


def test_a_page_writes_the_same_percents():
    shares = [sign * share for share in SHARES for sign in (1, -1)]
    script = web.joined("picture/notation.js") + (
        '\nconst { written } = modules["picture/notation.js"];'
        f"\nconsole.log(JSON.stringify({json.dumps(shares)}.map((x) => written(x, 'percent'))));"
    )
    assert json.loads(node(script)) == [percent(share) for share in shares]


# Marks in a terminal


def test_bars_are_as_long_as_their_values():
    values = [10.0, 5.0, -5.0, 0.0, 2.5]
    lines = printed(Bars(labels=("a",) * 5, values=np.array(values)), 60).splitlines()
    lengths = [line.count("█") + line.count("▐") / 2 for line in lines]
    longest = lengths[0]
    for value, length in zip(values, lengths, strict=True):
        assert length == pytest.approx(abs(value) / 10 * longest, abs=1)
    axis = lines[0].index("█")
    assert lines[2].rindex("█") == axis - 1  # negative ones end where the others begin
    assert printed(Bars(labels=(), values=np.zeros(0))) == ""
    assert "·" in printed(Bars(labels=("x",), values=np.array([np.nan])))


def test_numbers_of_a_table_stand_to_the_right():
    table = Table(
        columns=("word", "n", "share"), rows=(("a", "1,024", "<0.0001%"), ("b", "8", "−3%"))
    )
    assert table.numbers == (False, True, True)
    assert table.to_dict()["numbers"] == [False, True, True]
    assert printed(table, 40).splitlines() == [
        "word      n     share",
        "a     1,024  <0.0001%",
        "b         8       −3%",
    ]
    assert replace(table, rows=()).numbers == (False, False, False)
    assert replace(table, rows=(("1", "#7", "-"),)).numbers == (True, False, False)


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_a_table_too_wide_goes_on_below_itself(width):
    """Nothing is cut as long as the numbers and headings leave some room."""
    words = "once upon a time there was a 字 and a supercalifragilistic"
    table = Table(columns=("text", "n", "what"), rows=((words, "99.9992%", "x y"), ("a", "8", "b")))
    lines = printed(table, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    told = "".join("".join(lines).split())
    assert all(character in told for character in words if character != " ")
    assert "99.9992%" in told
    if width >= 40:
        assert {*words.split()[:9]} <= set(" ".join(lines).split())


def test_heat_colours_follow_the_values():
    heat = Heat(
        values=np.array([[-4.0, 0.0, 4.0]]), rows=("r",), columns=("a", "b", "c"), scale="diverging"
    )
    header, first, legend = printed(heat, 60, True).splitlines()
    grounds = re.findall(r"48;2;(\d+);(\d+);(\d+)", first)
    assert [tuple(map(int, ground)) for ground in grounds] == [
        palette.signed(v) for v in (-1, 0, 1)
    ]
    assert "a" in bare(header)
    assert "4.00" in bare(legend)


@pytest.mark.parametrize(("width", "colour"), [(30, True), (30, False), (80, True)])
def test_a_heat_map_too_wide_says_what_it_leaves_out(width, colour):
    names = tuple(str(i) for i in range(200))
    heat = Heat(values=np.arange(400.0).reshape(2, 200), rows=("first", "second"), columns=names)
    out = bare(printed(heat, width, colour))
    assert re.search(r"columns \d+ to 199 of 200", " ".join(out.split()))
    assert all(cell_len(line) <= width for line in out.splitlines())


def luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb(text):
    return tuple(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_colours_can_be_read_and_told_apart():
    steps = np.linspace(0, 1, 101)
    for ramp in (palette.magnitude, palette.signed, lambda t: palette.signed(-t)):
        grounds = [tuple(c / 255 for c in ramp(float(t))) for t in steps]
        light = [luminance(each) for each in grounds]
        assert all(b >= a for a, b in pairwise(light))  # brighter is stronger
        for t, ground in zip(steps, grounds, strict=True):
            text = rgb(palette.on(ramp(float(t))).split()[0])
            assert contrast(text, ground) >= 4.0, t
    for colour in (palette.MORE, palette.LESS):
        assert contrast(rgb(colour), (0, 0, 0)) >= 3
        assert contrast(rgb(colour), (1, 1, 1)) >= 3
    # Blue and orange differ where red and green cones say the same: in the blue channel.
    for t in (0.4, 0.7, 1.0):
        assert palette.signed(t)[2] - palette.signed(-t)[2] > 80


# Modules of a page


def node(script: str) -> str:
    needs("node")
    done = captured(["node", "--input-type=module"], input=script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(folder: Path, **files: str) -> Path:
    for name, body in files.items():
        (folder / f"{name}.js").write_text(body, encoding="utf-8")
    return folder


def test_two_modules_may_have_the_same_private_names(tmp_path):
    private = 'const secret = "{0}";\nfunction help() {{\n  return secret;\n}}\nclass Thing {{}}\n'
    folder = modules(
        tmp_path,
        one=private.format("one") + "export function ask() {\n  return help();\n}\n",
        two=private.format("two") + "export const ask = () => help();\n",
        main='import { ask } from "./one.js";\nimport { ask as other } from "./two.js";\n'
        'const secret = "main";\nconsole.log(ask(), other(), secret);\n',
    )
    script = web.joined("main.js", folder)
    assert node(script).split() == ["one", "two", "main"]
    assert node(script.replace("\n", " ")).split() == ["one", "two", "main"]  # as marimo has it
    # Nothing but the registry is to be seen from outside.
    outside = node(f"{script}\nconsole.log(typeof secret, typeof help);").split()
    assert outside[3:] == ["undefined", "undefined"]


def test_modules_that_cannot_be_joined_are_refused(tmp_path):
    folder = modules(
        tmp_path,
        a='import { b } from "./b.js";\nexport const a = 1;\n',
        b='import { a } from "./a.js";\nexport const b = 1;\n',
        c="export let counter = 0;\n",
        d='import everything from "./c.js";\n',
    )
    with pytest.raises(ValueError, match="import each other"):
        web.joined("a.js", folder)
    for name in "cd":
        with pytest.raises(ValueError, match="cannot be joined"):
            web.joined(f"{name}.js", folder)


# Folder of web/ -> those whose modules it takes, beside its own.
WEB = {
    "picture": set(),
    "page": {"picture"},
    "machine": {"picture"},
    "walk": {"machine", "picture"},
    "app": {"machine", "picture", "walk"},
    "change": {"app", "picture", "walk"},
    "learn": {"machine", "picture", "walk"},
    "talk": {"machine", "picture", "walk"},
}


def test_modules_import_what_there_is_and_only_downwards():
    folder = Path(web.__file__).parent
    names = [each.relative_to(folder).as_posix() for each in folder.rglob("*.js")]
    assert {name.split("/")[0] for name in names} == set(WEB)
    for name in names:
        room = name.split("/")[0]
        for source, taken in web.imports(name).items():
            assert source.split("/")[0] in {room} | WEB[room], f"{name} imports {source}"
            exported = re.findall(
                r"^export (?:(?:async )?function\*?|class|const) (\w+)", web.text(source), re.M
            )
            taken = {name.split(" as ")[0] for name in taken}
            assert taken <= set(exported), f"{name} from {source}"


def test_a_page_writes_tokens_as_the_terminal_does():
    texts = [*ODD, "\u00a0", "\x7f", "a b\n", "क्\u200dष", "👩\u200d🍳"]
    script = (
        web.joined("picture/notation.js")
        + '\nconst { harmless, onOneLine, useGlyphs, visible } = modules["picture/notation.js"];\n'
        + f"useGlyphs({json.dumps(as_seen())});\n"
        + f"const texts = {json.dumps(texts)};\n"
        + "console.log(JSON.stringify([visible, onOneLine, harmless].map((f) => texts.map(f))));"
    )
    seen, lines, plain = json.loads(node(script))
    assert seen == [visible(text) for text in texts]
    assert lines == [on_one_line(text) for text in texts]
    assert plain == [harmless(text) for text in texts]


def test_a_page_reads_arrays_from_json_too():
    array = [[1.5, None], [2.0, -3.0]]
    script = (
        web.joined("picture/numbers.js")
        + '\nconst { numbers } = modules["picture/numbers.js"];\n'
        + f"const n = numbers({json.dumps(array)});\n"
        + "console.log(n.shape.join(), n.at(1, 1), n.at(0, 1), [...n.below(1)].join());"
    )
    assert node(script).split() == ["2,2", "-3", "NaN", "2,-3"]


@pytest.mark.parametrize("role", get_args(Role)[1:])
def test_a_role_has_one_colour_that_can_be_read(role):
    """On a terminal of either ground; on the page's paper and raised ground, light and dark."""
    for ground in ((0, 0, 0), (1, 1, 1)):
        assert contrast(rgb(palette.ROLES[role]), ground) >= 3
    sheet = web.text("page/page.css")
    names = (role, "paper", "raised")
    found = [re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", sheet) for name in names]
    for theme in (1, 2):
        own, *grounds = (rgb(match[theme]) for match in found if match)
        assert min(contrast(own, ground) for ground in grounds) >= 4.5


def test_a_matrix_is_named_in_its_role_s_colour(browser):
    matrix = Matrix(values=np.eye(2), rows=("a", "b"), role="key", caption="the keys")
    red, green, blue = (round(255 * c) for c in rgb(palette.ROLES["key"]))
    shown = screen.printed(Drawing(matrix), 60, colour=True)
    assert f"\x1b[38;2;{red};{green};{blue}mthe keys" in shown
    section = Section(kind="K", title="T", how="", pictures=(matrix,))
    driver = browser.show(document([section]))
    role = driver.execute_script("return document.querySelector('.caption').dataset.role")
    assert role == "key"


# What it knows


def test_draw_knows_no_finding():
    for room in ("draw", "web"):
        for path in (Path(pellucid.__file__).parent / room).rglob("*.py"):
            for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(statement, ast.ImportFrom):
                    assert "inspect" not in (statement.module or ""), path
    code = (
        "import sys, pellucid.draw.document, pellucid.draw.terminal\n"
        "print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('pellucid.')}))"
    )
    done = python(code, check=True)
    assert set(ast.literal_eval(done.stdout)) == {"draw", "errors", "visible", "web"}

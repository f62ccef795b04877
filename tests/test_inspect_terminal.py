"""Pictures in a terminal: the findings' own numbers, no line too wide, nothing that acts on it."""

from __future__ import annotations

import io
import math
import re
from contextlib import nullcontext

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from pellucid import inspect
from pellucid.draw.notation import percent
from pellucid.draw.terminal import Drawing
from pellucid.draw.terminal.waiting import waiting
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.weights import initialise
from support import screen
from support.models import model
from support.program import run
from support.screen import bare

TEXT = "The power clapper went straight to"


@pytest.fixture(scope="module")
def wide(talk):
    """Four layers of twelve heads, and texts with what a terminal could trip over."""
    hparams = HParams(talk.hparams.n_vocab, 128, 24, 12, 4)
    tensors = initialise(hparams, 0, "float32")
    tensors = {n: v * (9 if v.ndim == 2 else 1) for n, v in tensors.items()}
    return GPT(model(hparams, tensors, threads=1), talk.tokenizer)


def printed(finding, width=80, colour=False, **place):
    return screen.printed(Drawing(finding.sections(**place)), width, colour=colour)


def questions(gpt, text):
    found = [
        inspect.why(gpt, text),
        inspect.trace(gpt, text),
        inspect.estimate(gpt, text),
        inspect.logit_lens(gpt, text),
        inspect.logit_lens(gpt, text, positions=0),
        inspect.attribute(gpt, text, versus=3),
        inspect.attention(gpt, text),
        inspect.attention(gpt, text, layers=1),
        inspect.attention(gpt, text, layers=0, heads=1),
        inspect.head_labels(gpt, n_texts=1),
        inspect.HeadLabel(layer=0, head=1, label="self", score=0.5),
        inspect.ablate(gpt, text, heads=[(0, 1), (1, 0)], mlps=[0], positions=[0]),
        inspect.patch_each(gpt, text, gpt.encode(text)[::-1]),
        inspect.patch_each(gpt, text, text, "heads"),
        inspect.neighbours(gpt, 3),
        inspect.steered(gpt, gpt.encode(text)[:3], towards=text, max_tokens=3),
        inspect.compare(
            gpt,
            gpt.encode(text)[:3],
            [inspect.Intervention(name="attn.z", layer=0, head=0, op="suppress")],
            max_tokens=3,
        ),
        inspect.walk_pass(gpt, text),
    ]
    way = inspect.walk(gpt, text, layer=1, head=2, position=1, max_tokens=2)
    found += [way, way.steps[4]]
    seen = inspect.view(gpt, text, labels=False)
    found += [seen, seen.prediction, seen.norms]
    found += [inspect.ablate_each(gpt, text, over) for over in ("heads", "mlps", "positions")]
    for name in ("attn.pattern", "attn.z", "mlp.post", "resid_post", "ln1.scale"):
        found.append(inspect.trace(gpt, text, f"blocks.1.{name}"))
        found.append(inspect.trace(gpt, text, f"blocks.1.{name}", heads=0, positions=[-1]))
    return found


ODD = "The \x1b[31mred\x1b]0;x\x07 \u202e\u200b字字🎉\ttab\n\nline" + " power" * 3


@pytest.fixture(scope="module")
def findings(talk, wide):
    return [*questions(talk, TEXT), *questions(wide, ODD)]


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal_and_nothing_acts_on_it(findings, width):
    for finding in findings:
        for colour in (False, True):
            out = printed(finding, width, colour)
            if not colour:
                assert "\x1b" not in out
            shown = bare(out)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", shown)
            for line in shown.splitlines():
                assert cell_len(line) <= width, (type(finding), line)


def test_every_finding_has_a_picture(talk):
    kinds = {type(each) for each in questions(talk, TEXT)}
    named = [getattr(inspect, name) for name in inspect.__all__]
    findings = {
        each for each in named if isinstance(each, type) and issubclass(each, inspect.Finding)
    }
    own = {inspect.Finding, inspect.TokenGradients, inspect.Lineage, inspect.TranslationWalk}
    assert findings - own == kinds
    for each in findings - {inspect.Finding, inspect.WalkPass}:  # a page draws that one itself
        assert "sections" in vars(each), each


def test_rich_prints_a_finding_as_its_picture(talk):
    for finding in (
        inspect.attention(talk, TEXT),
        inspect.HeadLabel(layer=0, head=1, label="self", score=0.5),
    ):
        screen = Console(file=io.StringIO(), width=80, legacy_windows=False)
        screen.print(finding)
        assert screen.file.getvalue() == printed(finding)


def numbers(text):
    return [float(n.replace("−", "-")) for n in re.findall(r"[+−]?\d+\.\d+", text)]


def rows(text, start):
    return [line for line in text.splitlines() if re.match(start, line)]


def test_attribution_prints_its_shares(talk):
    found = inspect.attribute(talk, TEXT, " jail", versus=" court")
    out = printed(found, 120)
    table = np.column_stack([found.heads, found.mlps, found.attention_biases])
    assert " ".join(f"H{i}" for i in range(3)) + " MLP bias" in " ".join(out.split())
    for layer, line in enumerate(rows(out, r"L\d  ")):
        np.testing.assert_allclose(numbers(line), table[layer], atol=0.051)
    assert numbers(rows(out, "sum ")[0]) == [round(found.total, 2)]
    parts = dict(found.parts())
    for line in rows(out, r"(L\dH\d|L\d MLP|embed|pos_embed) "):
        name, value = re.match(r"(.*?) +([+−][\d.]+)", line).groups()
        assert float(value.replace("−", "-")) == pytest.approx(parts[name], abs=0.051)


@pytest.mark.parametrize("width", [40, 80])
def test_sweep_prints_every_change_without_colour(wide, width):
    found = inspect.ablate_each(wide, TEXT, "heads", how="mean")
    out = printed(found, width).split("The heads it needs most")[0]
    got = {layer: [] for layer in range(4)}
    for line in rows(out, r"L\d+ "):
        layer, *values = line.split()
        got[int(layer[1:])] += [float(v.replace("−", "-")) for v in values]
    for layer, values in got.items():
        np.testing.assert_allclose(values, found.logprob_change[layer], atol=0.051)


def test_attention_prints_the_pattern(talk):
    found = inspect.attention(talk, TEXT, layers=1, heads=0)
    lines = rows(printed(found, 100), r"\d ")
    assert len(lines) == len(found.tokens)
    for query, line in enumerate(lines):
        expected = found.pattern[0, 0, query, : query + 1]
        np.testing.assert_allclose(numbers(line), expected, atol=0.0051)
    some = printed(inspect.attention(talk, TEXT), position=1)
    assert "“␣power” at 1 looks most at" in some


def test_lens_prints_tokens_with_their_probabilities(talk):
    found = inspect.logit_lens(talk, TEXT, positions=[4, 6])
    for layer, line in enumerate(rows(printed(found), r"(embed|L\d)")):
        for at in range(2):
            assert found.top_tokens[layer][at][0].strip()[:5] in line
            assert percent(math.exp(found.top_logprobs[layer, at, 0]), whole=True) in line


def test_why_begins_with_its_sentences(talk):
    found = inspect.why(talk, TEXT, " jail")
    assert (
        " ".join(printed(found, 40).split())
        .partition("follow. ")[2]
        .startswith(" ".join(found.text.split()))
    )


def test_colour_only_where_there_is_colour(talk, monkeypatch):
    found = inspect.ablate_each(talk, TEXT, "positions", how="mean")
    assert "48;2;" in printed(found, colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "48;2;" not in printed(found, colour=True)
    assert bare(printed(found, colour=True)) == printed(found)
    monkeypatch.delenv("NO_COLOR")
    sixteen = Console(file=io.StringIO(), width=80, color_system="standard", force_terminal=True)
    sixteen.print(found)
    assert bare(sixteen.file.getvalue()) == printed(found)


# While it is asked


def test_what_takes_a_while_is_counted_and_then_gone():
    console = screen.screen(60, colour=True)
    with waiting(console, "switching heads off", patience=0) as tell:
        tell(1, 4)
        tell(3, 4)
    shown = screen.text_of(console)
    assert "switching heads off" in shown
    assert "3/4" in bare(shown)
    assert shown.endswith("\x1b[2K")  # the line is cleared
    for quiet, patience in ((screen.screen(60), 0), (screen.screen(60, colour=True), 99)):
        with waiting(quiet, "x", patience=patience) as tell:
            tell(1, 4)
        assert screen.text_of(quiet) == ""


@pytest.mark.parametrize(
    "arguments",
    [("why", TEXT), ("sweep", TEXT), ("patch", "The king went", "The judge went")],
    ids=lambda arguments: arguments[0],
)
def test_whoever_waits_is_told_how_far_it_is(monkeypatch, arguments):
    told = []
    monkeypatch.setattr(
        "pellucid.draw.terminal.waiting.waiting",
        lambda console, what: nullcontext(lambda done, of: told.append((done, of))),
    )
    run(*arguments, "--model", "talk")
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]

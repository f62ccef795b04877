"""Two continuations side by side: the finding by hand, and how their tokens are aligned."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import inspect
from pellucid.draw.compare import Compare, aligned
from pellucid.draw.terminal import Drawing
from pellucid.errors import ContextError, InputError
from pellucid.hparams import HParams
from pellucid.inspect import MEET, Direction, Intervention, compare, intervene
from pellucid.weights import shapes
from support import screen
from support.circuits import LETTERS, build, random_gpt
from support.program import captured
from support.skips import needs

WEB = Path(__file__).parents[1] / "src" / "pellucid" / "web"
KING = "The king went home to"
OFF = [Intervention(name="attn.z", layer=0, head=1, op="suppress")]
TOKENS = st.lists(st.sampled_from("abc"), max_size=8)


# The finding


def by_hand(gpt, text, interventions, **settings):
    """Both continuations by `generate`, and each head's looks by whole passes, number by number."""
    taps = (None, intervene(gpt, interventions))
    both = [gpt.generate(text, tap=tap, seed=0, **settings) for tap in taps]
    ids = [[step.token for step in one.steps] for one in both]
    n = min(map(len, ids))
    parted = next((i for i in range(n) if ids[0][i] != ids[1][i]), None)
    first = len(gpt.encode(text)) - 1 + (parted or 0)
    last = len(gpt.encode(text)) - 1 + n
    looks = []
    for tap, one in zip(taps, both, strict=True):
        recorder = inspect.Recorder(gpt, "attn.pattern")
        own = recorder if tap is None else inspect.compose(tap, recorder)
        gpt.forward([one.tokens[:last]], tap=own)
        looks.append([np.asarray(v)[0] for v in recorder.passes[0].values()])
    heads = np.zeros((gpt.hparams.n_layer, gpt.hparams.n_head))
    for layer, head in np.ndindex(heads.shape):
        rows = [
            sum(abs(x - y) for x, y in zip(*(look[layer][head, q] for look in looks), strict=True))
            for q in range(first, last)
        ]
        heads[layer, head] = sum(rows) / len(rows) / 2
    return both, parted, heads


@pytest.mark.parametrize(
    "declared",
    [
        OFF,
        [Intervention(name="mlp_out", layer=1, op="scale", value=0.25)],
        [Intervention(name="attn.z", op="scale", value=-3.0, position=[2, 9, 11])],
        [Intervention(name="resid_pre", layer=2, op="patch", source="dbeahcfp")],
        [],
    ],
)
@pytest.mark.parametrize("settings", [{"greedy": True}, {"temperature": 1.5}])
def test_it_is_two_generations_and_their_patterns(declared, settings) -> None:
    gpt, text = random_gpt("float64"), "abcahgfa"
    found = compare(gpt, text, declared, max_tokens=7, **settings)
    (one, other), parted, heads = by_hand(gpt, text, declared, max_tokens=7, **settings)
    assert found.parted == parted
    for side, own in ((found.before, one), (found.after, other)):
        assert side.text == own.text
        assert side.ids == tuple(step.token for step in own.steps)
        assert side.tokens == tuple(LETTERS[i] for i in side.ids)
        assert side.logprobs == pytest.approx([step.logprob for step in own.steps], abs=1e-9)
        assert side.reason == "length"
    np.testing.assert_allclose(found.heads, heads, atol=1e-9)
    at = (6 if parted is None else parted) + len(text)
    before = gpt.logits(one.tokens[:at])[-1]
    np.testing.assert_allclose(found.logits_before, before, atol=1e-9)
    after = gpt.forward(other.tokens[:at], tap=intervene(gpt, declared))[-1]
    np.testing.assert_allclose(found.logits_after, after, atol=1e-9)
    assert (found.heads > 1e-9).any() == bool(declared)
    assert [at for at, _ in found.strongest(2)] == (
        [divmod(int(i), 3) for i in np.argsort(-heads, axis=None)[:2]] if declared else []
    )


def test_they_stop_where_they_have_met() -> None:
    """A model that knows nothing but the position says the same again after any token."""
    hparams = HParams(n_vocab=16, n_ctx=24, n_embd=24, n_head=3, n_layer=1)
    rng = np.random.default_rng(0)
    tensors = {name: np.zeros(shape) for name, shape in shapes(hparams).items()}
    tensors["wte.weight"] = rng.normal(size=(16, 24)) * 1e-3
    tensors["wpe.weight"] = rng.normal(size=(24, 24))
    tensors["ln_f.weight"][:] = 1
    gpt = build(hparams, tensors, "float64")
    plain = gpt.generate("ab", greedy=True)
    other = (plain.steps[3].token + 1) % 16
    force = Intervention(name="logits", op="add", position=4, value=9.0 * np.eye(16)[other])
    found = compare(gpt, "ab", [force], greedy=True)
    assert found.parted == 3
    assert found.after.ids[3] == other
    assert found.before.reason == found.after.reason == "met"
    n = 4 + MEET
    assert found.before.ids == plain.tokens[2 : 2 + n]
    assert found.after.ids[4:] == found.before.ids[4:]
    assert len(found.after.ids) == n
    assert found.prompt_ids == (0, 1)


def test_one_that_ends_earlier_does_not_stop_the_other(talk) -> None:
    off = [Intervention(name="attn.z", layer=1, op="suppress")]
    found = compare(talk, "The power clapper", off, greedy=True)
    own = talk.generate("The power clapper", greedy=True, tap=intervene(talk, off))
    assert (found.before.text, found.after.text) == (" went straight to jail", own.text)
    assert len(found.before.ids) == len(talk.generate("The power clapper", greedy=True).steps)


def test_mistakes_are_named(talk) -> None:
    for text, more, error, says in (
        (KING, {"max_tokens": 0}, InputError, "max_tokens is 0"),
        ("The power clapper went straight to jail", {}, InputError, "window is full"),
        ("The power clapper went straight to jail and home", {}, ContextError, "n_ctx = 8"),
        ("", {}, InputError, "empty"),
        (KING, {"temprature": 1}, InputError, "temprature"),
        (KING, {"budget_bytes": 10}, InputError, "budget"),
    ):
        with pytest.raises(error, match=says):
            compare(talk, text, OFF, **more)
    with pytest.raises(InputError, match="layer 9"):
        compare(talk, KING, [Intervention(name="attn.z", layer=9, op="suppress")])


def test_what_is_shown_of_it(talk) -> None:
    off = [Intervention(name="attn.z", layer=0, op="suppress")]
    found = compare(talk, KING, off, greedy=True)
    (section,) = found.sections()
    assert "with L0H* off" in section.how
    columns, lines, bars, heat = section.pictures
    assert columns.before[0] == " jail"
    assert columns.first == 5
    assert "position 5" in lines.lines[0]
    (layer, head), _ = found.strongest(1)[0]
    assert f"heads that look most differently: L{layer}H{head} (" in lines.lines[1]
    assert bars.names == columns.names
    assert heat.values.shape == (2, 3)
    late = [Intervention(name="ln_final.out", op="scale", value=0.0)]
    (section,) = compare(talk, KING, late, greedy=True, max_tokens=1).sections()
    assert "No head looks at anything else" in section.pictures[1].lines[1]


def test_a_row_is_numbered_by_the_first_text_alone() -> None:
    """Past a token that only one of them has, the other's positions are others."""
    said = Compare(
        names=("as it is", "changed"),
        before=("a", "b", "x", "c"),
        after=("a", "c", "d"),
        shares_before=np.full(4, 0.5),
        shares_after=np.full(3, 0.5),
        first=7,
    )
    lines = [line.split() for line in screen.printed(Drawing(said), 60).splitlines()[1:5]]
    assert [line[:2] for line in lines] == [["7", "a"], ["8", "b"], ["9", "x"], ["10", "c"]]
    last = screen.printed(Drawing(said), 60).splitlines()[5]
    assert last.split() == ["≠", "d", "50.0%"]


# Labels


@pytest.mark.parametrize(
    ("declared", "label"),
    [
        ({"name": "attn.z", "layer": 1, "head": 0, "op": "suppress"}, "L1H0 off"),
        ({"name": "blocks.1.attn.hook_z", "op": "scale", "value": 0.5}, "L1H* × 0.5"),
        ({"name": "attn.z", "head": [0, 2], "op": "suppress", "position": 4}, "L*H0,2 at 4 off"),
        ({"name": "mlp_out", "layer": 3, "op": "scale", "value": 0.5}, "MLP 3 × 0.5"),
        ({"name": "attn_out", "layer": [0, 1], "op": "suppress"}, "attention 0,1 off"),
        (
            {"name": "embed", "op": "patch", "position": 2, "source": "The queen\nwent home to do"},
            "position 2 from “The queen⏎went home to d…”",
        ),
        ({"name": "embed", "op": "patch", "source": [1, 2]}, "embed from “ids”"),
        ({"name": "resid_pre", "layer": 4, "op": "add", "value": ("happy", "sad")},
         "resid_pre L4 + happy"),
        ({"name": "attn.q", "layer": 0, "head": 1, "op": "set", "value": [0.5]},
         "attn.q L0H1 = edited"),
        ({"name": "logits", "op": "add", "value": -2}, "logits + -2"),
        ({"name": "resid_mid", "op": "set", "value": 1e-7, "position": range(1, 3)},
         "resid_mid at 1,2 = 1e-07"),
    ],
)  # fmt: skip
def test_each_change_in_a_few_words(declared, label) -> None:
    value = declared.get("value")
    if isinstance(value, tuple):
        value = Direction(towards=f" {value[0]}", away=value[1])
    assert Intervention(**declared | ({} if value is None else {"value": value})).label == label


# The columns


@cache
def longest(before: str, after: str) -> int:
    """Of the common subsequences."""
    if not (before and after):
        return 0
    if before[0] == after[0]:
        return 1 + longest(before[1:], after[1:])
    return max(longest(before[1:], after), longest(before, after[1:]))


@given(TOKENS, TOKENS)
def test_columns_hold_every_token_once_and_as_many_pairs_as_can_be(before, after) -> None:
    rows = aligned(before, after)
    assert [i for i, _ in rows if i is not None] == list(range(len(before)))
    assert [j for _, j in rows if j is not None] == list(range(len(after)))
    assert (None, None) not in rows
    pairs = [(i, j) for i, j in rows if i is not None and j is not None]
    assert sum(before[i] == after[j] for i, j in pairs) == longest("".join(before), "".join(after))


def test_the_page_aligns_as_python_does() -> None:
    needs("node")
    rng = np.random.default_rng(1)
    pairs = [
        [rng.choice(list("abcd"), rng.integers(0, 12)).tolist() for _ in range(2)]
        for _ in range(300)
    ]
    script = (
        f"import {{ aligned }} from '{WEB.as_posix()}/picture/compare.js';"
        "const pairs = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(pairs.map(([one, other]) => aligned(one, other))));"
    )
    command = ["node", "--input-type=module", "-e", script, json.dumps(pairs)]
    done = captured(command)
    assert done.returncode == 0, done.stderr
    expected = [[list(row) for row in aligned(*pair)] for pair in pairs]
    assert json.loads(done.stdout) == expected

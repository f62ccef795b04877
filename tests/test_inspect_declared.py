"""Declared interventions against taps written by hand, one number at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import taps
from pellucid.errors import InputError
from pellucid.gpt import GPT
from pellucid.inspect import (
    Direction,
    Intervention,
    Recorder,
    compose,
    direction,
    intervene,
    trace,
)
from pellucid.inspect.interventions import check
from support.models import lively_gpt
from support.skips import BACKENDS, only_with

GPTS = {"numpy": lively_gpt(n_ctx=12)[0]}
TINY = GPTS["numpy"]
H = TINY.hparams
PROMPT = [5, 9, 17, 40]
LENGTHS = {"n_embd": H.n_embd, "d_k": H.d_k, "4 · n_embd": 4 * H.n_embd, "n_vocab": H.n_vocab}
NAMES = [name.removeprefix("blocks.{i}.") for name in taps.TAPS]
IN_LAYERS = [name for name in taps.TAPS if "{i}" in name]


def of(backend: str) -> GPT:
    if backend not in GPTS:
        GPTS[backend] = lively_gpt(n_ctx=12, backend=backend)[0]
    return GPTS[backend]


class ByHand:
    """The same, over whole texts, in the plainest way: every number by itself."""

    def __init__(self, gpt: GPT, declared: list[Intervention]) -> None:
        self.gpt, self.declared = gpt, declared
        self.sources = [
            None if each.source is None else trace(gpt, each.source, ["*", "*result"])
            for each in declared
        ]

    def __call__(self, name, value):
        array = np.array(self.gpt.model.backend.to_numpy(value))
        for each, source in zip(self.declared, self.sources, strict=True):
            if self.is_meant(each, name):
                for index in np.ndindex(array.shape):
                    self.change(array, index, name, each, source)
        return self.gpt.model.backend.asarray(array)

    @staticmethod
    def is_meant(each: Intervention, name: str) -> bool:
        layer = taps.layer_of(name)
        if taps.table_name(name).removeprefix("blocks.{i}.") != each.name:
            return False
        return each.layer is None or layer == each.layer

    def change(self, array, index, name, each, source) -> None:
        at = dict(zip(taps.axes(name, self.gpt.hparams), index, strict=True))
        position = at.get("query", at.get("position"))
        if each.position is not None and position not in each.position:
            return
        if each.head is not None and at["head"] != each.head:
            return
        if at.get("key", 0) > position:
            return
        own = each.value
        if isinstance(own, list):
            own = own[index[-1]]
        if each.op == "suppress":
            array[index] = 0
        elif each.op == "scale":
            array[index] *= own
        elif each.op == "add":
            array[index] += own
        elif each.op == "set":
            array[index] = own
        elif position < len(each.source):
            array[index] = source[name][index[1:]]


NUMBERS = st.floats(-2, 2, width=16)


@st.composite
def interventions(draw) -> Intervention:
    name = draw(st.sampled_from(NAMES))
    full = next(each for each in taps.TAPS if each.removeprefix("blocks.{i}.") == name)
    ops = ["suppress", "scale", "add", "set", "patch"]
    if name.endswith(("qk", "scores")):
        ops.remove("suppress")
    if name.endswith("scale"):
        ops.remove("suppress")  # nothing can be divided by 0
    op = draw(st.sampled_from(ops))
    own = taps.TAPS[full].axes
    positions = st.lists(st.integers(0, H.n_ctx - 1), min_size=1, max_size=4)
    known = {"name": name, "op": op}
    if "{i}" in full:
        known["layer"] = draw(st.none() | st.integers(0, H.n_layer - 1))
    if "head" in own:
        known["head"] = draw(st.none() | st.integers(0, H.n_head - 1))
    if op == "patch":
        ids = draw(st.lists(st.integers(0, H.n_vocab - 1), min_size=1, max_size=H.n_ctx))
        known["source"] = ids
        positions = st.lists(st.integers(0, len(ids) - 1), min_size=1, max_size=4)
    elif op != "suppress":
        value = NUMBERS.filter(bool) if name.endswith("scale") else NUMBERS
        if own[-1] in LENGTHS:
            n = LENGTHS[own[-1]]
            value |= st.lists(NUMBERS, min_size=n, max_size=n)
        known["value"] = draw(value)
    known["position"] = draw(st.none() | positions)
    return Intervention(**known)


@given(declared=st.lists(interventions(), min_size=1, max_size=3))
def test_they_do_what_the_same_by_hand_does(declared: list[Intervention]) -> None:
    check_against_by_hand(TINY, declared)


@only_with("torch")
@settings(max_examples=6)
@given(declared=st.lists(interventions(), min_size=3, max_size=3))
def test_they_do_so_over_torch(declared: list[Intervention]) -> None:
    check_against_by_hand(of("torch"), declared)


def check_against_by_hand(gpt: GPT, declared: list[Intervention]) -> None:
    """Step by step with a cache: what whole passes do, position by position."""
    generation = gpt.generate(PROMPT, greedy=True, max_tokens=4, tap=intervene(gpt, declared))
    by_hand = ByHand(gpt, declared)
    to_numpy = gpt.model.backend.to_numpy
    with np.errstate(all="ignore"):
        for n, step in enumerate(generation, len(PROMPT)):
            logits = to_numpy(gpt.forward(generation.tokens[:n], tap=by_hand))[-1]
            logprobs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            assert step.logprob == pytest.approx(logprobs[step.token], abs=1e-7)
            assert step.logprob == pytest.approx(logprobs.max(), abs=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_value_can_be_changed_and_the_change_is_recorded(name: str, backend: str) -> None:
    """At one position of the prompt and one that is generated; nothing else at them changes."""
    gpt = of(backend)
    here = [2, len(PROMPT) + 1]
    tap = intervene(gpt, [Intervention(name=name, op="set", value=0.25, position=here)])
    before, after = Recorder(gpt, [name, "resid_pre"]), Recorder(gpt, [name, "resid_pre"])
    plain = gpt.generate(PROMPT, greedy=True, max_tokens=4, record=before)
    edited = gpt.generate(PROMPT, greedy=True, max_tokens=4, tap=tap, record=after)
    was, now = (
        recorder.trace(generation)
        for recorder, generation in ((before, plain), (after, edited))
        if generation.steps
    )
    first = next(each for each in now if each.endswith(name))
    rows = dict(enumerate(now.positions))
    axis = max(now.axes(first).index(a) for a in ("position", "query") if a in now.axes(first))
    changed = np.moveaxis(now[first], axis, 0)
    plain_rows = np.moveaxis(was[first], axis, 0)
    if name == "logits":  # one row for each step
        rows = dict(enumerate(range(len(PROMPT) - 1, len(PROMPT) + 3)))
    same = plain.tokens == edited.tokens
    for row, position in rows.items():
        if position in here:
            seen = changed[row][..., : position + 1] if axis == 1 else changed[row]
            assert (seen == 0.25).all()
        elif position < 2 or (same and position < here[1]):
            np.testing.assert_allclose(changed[row], plain_rows[row], atol=1e-9)


def test_a_direction_is_what_steering_adds() -> None:
    gpt = TINY
    way = Direction(towards="ab", away="the", strength=0.5)
    layer = 1
    tap = intervene(
        gpt, [Intervention(name="resid_pre", layer=layer, op="add", value=way, position=[1])]
    )
    vector = direction(gpt, " ab", " the", layer)

    def by_hand(name, value):
        if name != f"blocks.{layer}.resid_pre":
            return value
        value = value.copy()
        x = value[0, 1]
        value[0, 1] = x + 0.5 * np.linalg.norm(x) * vector / np.linalg.norm(vector)
        return value

    np.testing.assert_allclose(
        gpt.forward(PROMPT, tap=tap), gpt.forward(PROMPT, tap=by_hand), atol=1e-12
    )


def test_each_sees_what_the_one_before_left() -> None:
    gpt = TINY
    both = [
        Intervention(name="mlp_out", layer=0, op="set", value=1.0),
        Intervention(name="mlp_out", layer=0, op="scale", value=3.0),
    ]
    for declared, expected in ((both, 3.0), (both[::-1], 1.0)):
        recorder = Recorder(gpt, "blocks.0.mlp_out")
        gpt.forward(PROMPT, tap=compose(intervene(gpt, declared), recorder))
        assert (recorder.passes[0]["blocks.0.mlp_out"] == expected).all()


def test_a_batch_of_texts_is_changed_row_by_row() -> None:
    gpt = TINY
    tap = intervene(gpt, [Intervention(name="attn.z", op="scale", value=-1, position=[0, 2])])
    texts = np.array([PROMPT, PROMPT[::-1]])
    together = gpt.forward(texts, tap=tap)
    for text, logits in zip(texts, together, strict=True):
        np.testing.assert_allclose(logits, gpt.forward(text, tap=tap), atol=1e-12)


def test_nothing_is_left_in_the_model() -> None:
    plain = TINY.logits(PROMPT)
    tap = intervene(TINY, [Intervention(name="embed", op="set", value=1.0)])
    assert np.abs(np.asarray(TINY.forward(PROMPT, tap=tap)) - plain).max() > 0.1
    assert (TINY.logits(PROMPT) == plain).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "attn.z"}, "needs a value"),
        ({"name": "attn.z", "op": "remove"}, "op must be one of suppress"),
        ({"name": "attn.z", "value": 1.0, "source": "a"}, "takes no source"),
        ({"name": "attn.z", "op": "suppress", "value": 1.0}, "takes no value"),
        ({"name": "attn.z", "op": "patch", "value": 1.0}, "takes no value"),
        ({"name": "attn.z", "op": "patch"}, "needs a source"),
        ({"name": "attn.y", "value": 1.0}, "no value is called 'attn.y'"),
        ({"name": "attn.*", "value": 1.0}, "is a pattern"),
        ({"name": "", "value": 1.0}, "no value is called ''"),
        ({"name": "attn.z", "layer": 2, "value": 1.0}, "no layer 2"),
        ({"name": "blocks.0.attn.z", "layer": 1, "value": 1.0}, "not a value of the layers"),
        ({"name": "embed", "layer": 0, "value": 1.0}, "outside the layers"),
        ({"name": "attn.z", "head": 2, "value": 1.0}, "no head 2"),
        ({"name": "mlp_out", "head": 0, "value": 1.0}, "not divided among heads"),
        ({"name": "attn.z", "position": -1, "value": 1.0}, "from the window's beginning"),
        ({"name": "attn.z", "position": 12, "value": 1.0}, "no position 12"),
        ({"name": "attn.z", "value": float("nan")}, "finite"),
        ({"name": "attn.z", "value": 1e999}, "finite"),
        ({"name": "attn.z", "value": 10**400}, "a number, or a list"),
        ({"name": "attn.z", "value": "1"}, "a number, or a list"),
        ({"name": "attn.z", "value": [1.0, 2.0]}, "8 \\(d_k\\)"),
        ({"name": "attn.z", "value": [[1.0] * 8]}, "shape \\[1, 8\\]"),
        ({"name": "attn.z", "value": [[1.0], [1.0, 2.0]]}, "a number, or a list"),
        ({"name": "attn.pattern", "value": [1.0] * 12}, "takes one number"),
        ({"name": "attn.scores", "op": "suppress"}, "suppress attn.pattern"),
        ({"name": "attn.z", "op": "patch", "source": ""}, "the text is empty"),
        ({"name": "attn.z", "op": "patch", "source": [999]}, "not in the vocabulary"),
        ({"name": "attn.z", "op": "patch", "source": [1] * 13}, "exceed the context"),
        ({"name": "attn.z", "op": "patch", "source": [1], "position": [0, 1]}, "has 1 tokens"),
        ({"name": "attn.z", "value": Direction(towards="a", away="b")}, "to resid_pre"),
        ({"name": "resid_pre", "value": Direction(towards="", away="b")}, "towards is an empty"),
        (
            {"name": "resid_pre", "value": Direction(towards="a", away="b", strength=np.inf)},
            "strength must be a finite",
        ),
        ({"name": "resid_pre", "op": "set", "value": Direction(towards="a", away="b")}, "added"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(wrong, says) -> None:
    with pytest.raises(InputError, match=says):
        check(TINY, [Intervention(**{"op": "add"} | wrong)])


def test_sources_have_a_budget() -> None:
    each = Intervention(name="attn.pattern", op="patch", source=PROMPT)
    n_bytes = 2 * 2 * 4 * 4 * 8  # layers, heads, queries, keys
    check(TINY, [each], budget_bytes=n_bytes)
    with pytest.raises(InputError, match="more than the budget"):
        check(TINY, [each, each], budget_bytes=2 * n_bytes - 1)


def test_float32_has_its_own_largest_number() -> None:
    gpt = lively_gpt(dtype="float32")[0]
    each = Intervention(name="attn.z", op="set", value=1e39)
    check(TINY, [each])
    with pytest.raises(InputError, match=r"finite in this model's numbers \(float32\)"):
        check(gpt, [each])


def test_a_row_of_a_pattern_is_set_key_by_key() -> None:
    """Of one position: as many numbers as it sees keys, wherever the text ends."""
    shares = [0.25, 0.0, 0.75]
    declared = Intervention(
        name="attn.pattern", layer=1, head=1, position=2, op="set", value=shares
    )
    for ids in (PROMPT, PROMPT[:3]):
        recorder = Recorder(TINY, ["attn.pattern", "attn.z", "attn.v"], layers=1)
        plain = Recorder(TINY, "attn.pattern", layers=1)
        TINY.forward([ids], tap=plain)
        TINY.forward([ids], tap=compose(intervene(TINY, [declared]), recorder))
        pattern, z, v = (
            np.asarray(recorder.passes[0][f"blocks.1.attn.{name}"])[0]
            for name in ("pattern", "z", "v")
        )
        expected = np.array(plain.passes[0]["blocks.1.attn.pattern"])[0]
        expected[1, 2, :3] = shares
        np.testing.assert_array_equal(pattern, expected)
        np.testing.assert_allclose(z[2, 1], 0.25 * v[0, 1] + 0.75 * v[2, 1], atol=1e-12)
    for more, says in (
        ({"position": None}, "single position"),
        ({"position": [1, 2]}, "single position"),
        ({"value": [0.5, 0.5]}, "3 \\(key\\)"),
    ):
        known = {"position": 2, "value": shares} | more
        with pytest.raises(InputError, match=says):
            check(TINY, [Intervention(name="attn.pattern", op="set", **known)])

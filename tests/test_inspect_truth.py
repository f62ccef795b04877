"""What every finding owes: what follows the position asked about does not matter, the same question
asked in two ways has one answer, and a text is shown whole."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid import inspect
from pellucid.draw.notation import percent
from pellucid.draw.terminal import Drawing
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.inspect.finding import shortened
from pellucid.tokenizer import Tokenizer
from pellucid.visible import quoted, text_of, token_text, visible_bytes
from support import screen
from support.circuits import LETTERS, random_gpt
from support.models import lively, model
from support.skips import only_with

texts = st.text(st.sampled_from(LETTERS), min_size=2, max_size=8)
suffixes = st.text(st.sampled_from(LETTERS), min_size=1, max_size=8)
KINDS = ("zero", "mean", "resample")


def numbers(finding, n):
    """Everything that was computed, of the first n positions; not the text itself."""
    flat = {}

    def collect(name, value):
        if isinstance(value, dict):
            for key, item in value.items():
                collect(f"{name}.{key}", item)
        elif name.rsplit(".", 1)[-1] not in ("ids", "tokens", "prompt_ids", "prompt_tokens"):
            flat[name] = value

    known = finding.to_dict()
    if known["kind"] == "Trace":
        del known["text"]  # which holds all of it
    for name in ("scores", "gradient"):
        if name in known and isinstance(known[name], list):
            assert not np.any(known[name][n:])
            known[name] = known[name][:n]
    if "sources" in known:
        assert not np.any(np.asarray(known["sources"])[..., n:])
        known["sources"] = np.asarray(known["sources"])[..., :n].tolist()
    collect("", known)
    return flat


def nearly(value):
    """For what torch computes: its products round by where in memory an array happens to lie."""
    if isinstance(value, dict):
        return {name: nearly(each) for name, each in value.items()}
    numeric = isinstance(value, float) or (
        isinstance(value, list) and np.asarray(value).dtype == float
    )
    return pytest.approx(np.asarray(value), rel=1e-9, abs=1e-12) if numeric else value


# Every finding that is asked about a position, with all its defaults that could look further.
ASKED = {
    **{
        f"ablate {part} {how}": lambda g, t, p, part=part, how=how: inspect.ablate(
            g, t, **{part: {"heads": [(1, 0), (2, 1)], "mlps": [1], "positions": [0]}[part]},
            how=how, position=p,
        )
        for part in ("heads", "mlps", "positions") for how in KINDS
    },
    **{
        f"sweep {over} {how}": lambda g, t, p, over=over, how=how: inspect.ablate_each(
            g, t, over, how=how, position=p
        )
        for over in ("heads", "mlps", "positions") for how in KINDS
    },
    "attribute": lambda g, t, p: inspect.attribute(g, t, position=p),
    "attribute versus": lambda g, t, p: inspect.attribute(g, t, versus="c", position=p),
    "lens": lambda g, t, p: inspect.logit_lens(g, t, positions=p, keep_logits=True),
    "lens of some": lambda g, t, p: inspect.logit_lens(g, t, positions=range(p + 1)),
    "trace": lambda g, t, p: inspect.trace(g, t, "*", positions=p),
    "trace of some": lambda g, t, p: inspect.trace(g, t, "*", positions=[0, p]),
    "cost": lambda g, t, p: inspect.estimate(g, t, "*", positions=p),
    "prediction": lambda g, t, p: inspect.prediction(g, t, position=p),
}  # fmt: skip
WITH_TORCH = {
    "gradient × input": lambda g, t, p: inspect.gradient_times_input(g, t, position=p),
    "integrated gradients": lambda g, t, p: inspect.integrated_gradients(
        g, t, position=p, steps=3
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "question", [*ASKED, *(pytest.param(each, marks=only_with("torch")) for each in WITH_TORCH)]
)
@given(text=texts, suffix=suffixes, seed=st.integers(0, 3))
@settings(max_examples=8)
def test_what_follows_the_position_changes_no_number(question, text, suffix, seed):
    gpt = random_gpt(seed=seed, dtype="float64")
    last = len(text) - 1
    ask = (ASKED | WITH_TORCH)[question]
    alone = numbers(ask(gpt, text, last), len(text))
    longer = numbers(ask(gpt, text + suffix, last), len(text))
    if question in WITH_TORCH:
        assert longer == nearly(alone)
    else:
        assert json.dumps(longer) == json.dumps(alone)


def test_a_mean_over_later_tokens_would_be_seen():
    """The other way round: a reference that is longer does change the mean."""
    gpt = random_gpt()
    found, other = (
        inspect.ablate(gpt, "abca", heads=[(0, 0)], how="mean", position=1, reference=reference)
        for reference in ("ab", "abca")
    )
    assert abs(found.logprob_change - other.logprob_change) > 1e-3
    assert inspect.ablate(
        gpt, "abca", heads=[(0, 0)], how="mean", position=1
    ).logprob_change == pytest.approx(found.logprob_change)


# One question, one answer


@given(text=texts, seed=st.integers(0, 5), data=st.data())
@settings(max_examples=20)
def test_ablate_sweep_and_why_say_the_same(text, seed, data):
    gpt = random_gpt(seed=seed, dtype="float64")
    explained = inspect.why(gpt, text, labels=False)
    last = len(text) - 1
    longer = text + data.draw(suffixes)
    layer, head = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    place = data.draw(st.integers(0, last))
    for over, at, part, whys in (
        ("heads", (layer, head), {"heads": [(layer, head)]}, explained.heads_ablated),
        ("mlps", (layer,), {"mlps": [layer]}, explained.mlps_ablated),
        ("positions", (place,), {"positions": [place]}, explained.tokens_ablated),
    ):
        alone = inspect.ablate(gpt, longer, **part, how="mean", position=last)
        swept = inspect.ablate_each(gpt, longer, over, how="mean", position=last)
        for found in (swept, whys):
            assert found.target_id == alone.target_id
            assert found.target_logprob == pytest.approx(alone.target_logprob, abs=1e-9)
            for name in ("divergence", "logit_change", "logprob_change"):
                assert getattr(found, name)[at] == pytest.approx(getattr(alone, name), abs=1e-9)
            assert found.top_ids[at] == alone.after[0].token


@given(text=texts, seed=st.integers(0, 5), data=st.data())
@settings(max_examples=20)
def test_lens_attribution_trace_and_prediction_say_the_same(text, seed, data):
    gpt = random_gpt(seed=seed, dtype="float64")
    longer, last = text + data.draw(suffixes), len(text) - 1
    logits = gpt.logits(text)[-1]
    target = int(logits.argmax())
    logprobs = logits - np.logaddexp.reduce(logits)
    lens = inspect.logit_lens(gpt, longer, positions=last, keep_logits=True)
    shares = inspect.attribute(gpt, longer, position=last)
    traced = inspect.trace(gpt, longer, "logits", positions=last)
    ablated = inspect.ablate(gpt, longer, position=last)
    predicted = inspect.prediction(gpt, longer, position=last)
    ids = (lens.target_ids[0], shares.target_id, ablated.target_id, predicted.top_ids[0])
    assert ids == (target,) * 4
    for values in (lens.logits[-1, 0], traced["logits"][0], ablated.logits_before):
        np.testing.assert_allclose(values, logits, atol=1e-9)
    np.testing.assert_allclose(predicted.logits, logits, atol=1e-9)
    assert shares.logit == pytest.approx(logits[target], abs=1e-9)
    assert shares.total == pytest.approx(logits[target], abs=1e-9)
    assert lens.target_logprobs[-1, 0] == pytest.approx(logprobs[target], abs=1e-9)
    assert ablated.target_logprob == pytest.approx(logprobs[target], abs=1e-9)
    explained = inspect.why(gpt, text, labels=False)
    assert explained.probability == pytest.approx(math.exp(logprobs[target]))
    best, second = np.sort(logits)[[-1, -2]]
    assert explained.attribution.logit == pytest.approx(best - second, abs=1e-9)


def test_a_lens_watches_the_token_that_it_is_asked_about():
    gpt = random_gpt(dtype="float64")
    logits = gpt.logits("abc")
    logprobs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    for name, token in (("p", 15), (7, 7)):
        lens = inspect.logit_lens(gpt, "abc", name)
        assert lens.target_ids == (token,) * 3
        np.testing.assert_allclose(lens.target_logprobs[-1], logprobs[:, token], atol=1e-9)
        ranks = [(row > row[token]).sum() for row in logits]
        assert lens.target_ranks[-1].tolist() == ranks
        explained = inspect.why(gpt, "abc", [token], labels=False)
        assert explained.lens.target_ids == (token,)
        assert explained.lens.target_logprobs[-1, 0] == pytest.approx(logprobs[-1, token])
    text = printed(inspect.logit_lens(gpt, "abc", "p"))
    assert "really follows" not in text
    assert "really follows" in printed(inspect.logit_lens(gpt, "abc"))


@pytest.mark.parametrize("continuation", ["bcd", [1, 2, 3]])
def test_why_explains_any_token_of_a_continuation(continuation):
    gpt = random_gpt(dtype="float64")
    for n, letter in enumerate("bcd", start=1):
        found = inspect.why(gpt, "aa", continuation, token=n, labels=False)
        other = inspect.why(gpt, "aa" + "bcd"[: n - 1], letter, labels=False)
        assert (found.prompt, found.target) == ("aa" + "bcd"[: n - 1], letter)
        assert f"token {n} of 3" in found.text
        np.testing.assert_array_equal(
            found.heads_ablated.logprob_change, other.heads_ablated.logprob_change
        )
    for n in (0, 4, -1):
        with pytest.raises(pellucid.InputError, match=f"has 3 tokens: there is no token {n}"):
            inspect.why(gpt, "aa", continuation, token=n)
    with pytest.raises(pellucid.InputError, match="has 1 token"):
        inspect.why(gpt, "aa", token=2)


# Where a probability is all but 1


def log_odds(gpt, ids, target, tap=None):
    """log(p / (1 - p)) from sums of exponentials, in float64."""
    logits = np.asarray(gpt.forward(ids, tap=tap), np.float64)[-1]
    others = [math.exp(x - logits[target]) for i, x in enumerate(logits) if i != target]
    return -math.log(sum(others))


@pytest.mark.parametrize("text", ["The power clapper", "The judge went home to"])
def test_a_saturated_probability_is_shown_as_a_lead(text):
    gpt = pellucid.load("talk", dtype="float64")
    swept = inspect.ablate_each(gpt, text)
    ids, target = gpt.encode(text), swept.target_id
    before = log_odds(gpt, ids, target)
    assert swept.saturated
    assert swept.target_lead == pytest.approx(before)
    for at in np.ndindex(2, 3):
        after = log_odds(gpt, ids, target, inspect.ablation(gpt, heads=[at]))
        assert swept.lead_change[at] == pytest.approx(after - before)
        alone = inspect.ablate(gpt, text, heads=[at])
        assert alone.lead_change == pytest.approx(after - before)
        assert alone.target_lead == pytest.approx(before)
    (section,) = swept.sections()
    tabs, needed = section.pictures
    first = next(iter(tabs.pictures.values()))
    np.testing.assert_array_equal(first.values, swept.lead_change)
    assert needed.values[0] == swept.lead_change.min()
    assert "0.00" not in printed(swept)
    assert list(tabs.pictures) == ["lead", "logit", "KL", "log-probability"]


def test_one_that_is_not_is_shown_as_it_is():
    gpt = random_gpt()
    swept = inspect.ablate_each(gpt, "abc")
    assert not swept.saturated
    tabs, needed = swept.sections()[0].pictures
    np.testing.assert_array_equal(tabs.pictures["log-probability"].values, swept.logprob_change)
    assert next(iter(tabs.pictures)) == "log-probability"
    assert needed.values[0] == swept.logprob_change.min()
    (bars,) = inspect.ablate(gpt, "abc", heads=[(0, 0)]).sections()[0].pictures
    assert (bars.form, bars.high) == ("percent", 1.0)


def test_two_saturated_distributions_are_compared_in_logits():
    gpt = pellucid.load("talk")
    found = inspect.ablate(gpt, "The power clapper", heads=[(1, 2)])
    (bars,) = found.sections()[0].pictures
    assert bars.form == "number"
    ids = [gpt.encode(label)[0] for label in bars.labels if label != "<|endoftext|>"]
    for values, logits in ((bars.values, found.logits_before), (bars.after, found.logits_after)):
        shown = [v for v, x in zip(values, bars.labels, strict=True) if x != "<|endoftext|>"]
        np.testing.assert_allclose(shown, logits[ids] - logits.mean(dtype=np.float64), atol=1e-5)


def test_the_pages_example_is_the_sentence_where_one_head_matters_most():
    """Of the sentences that `talk` knows, at any token: without one head impossible, without any
    other as it was."""
    gpt = pellucid.load("talk")
    gaps = {}
    for sentence in gpt.card["sentences"]:
        ids = gpt.encode(sentence)
        for n in range(1, len(ids)):
            changes = np.sort(
                inspect.ablate_each(gpt, ids[:n], target=ids[n]).logprob_change, axis=None
            )
            gaps[gpt.tokenizer.decode(ids[:n])] = changes[1] - changes[0]
    assert max(gaps, key=gaps.get) == "The judge went home to"
    assert gaps["The king went home to"] > 1


# Texts are decoded whole

HARD = ["🎉", "我爱你", "né 👩‍👩‍👧 🎉!", "ก็ดี"]


def printed(finding):
    return screen.printed(Drawing(finding.sections()), 200)


FINDINGS = {
    "why": lambda g, t: inspect.why(g, t, labels=False),
    "ablate": lambda g, t: inspect.ablate(g, t, positions=[0]),
    "sweep": lambda g, t: inspect.ablate_each(g, t, "positions"),
    "attribute": lambda g, t: inspect.attribute(g, t),
    "lens": lambda g, t: inspect.logit_lens(g, t),
    "attention": lambda g, t: inspect.attention(g, t),
    "trace": lambda g, t: inspect.trace(g, t, "resid_post"),
    "prediction": lambda g, t: inspect.prediction(g, t),
    "norms": lambda g, t: inspect.residual_norms(g, t),
    "patch": lambda g, t: inspect.patch_each(g, t, t),
    "steer": lambda g, t: inspect.steered(g, t, towards="x", max_tokens=1),
    "walk": lambda g, t: inspect.walk(g, t, max_tokens=1),
}


@pytest.fixture(scope="module")
def of_bytes():
    """A small model whose tokens are mostly single bytes."""
    tokenizer = Tokenizer.train(["the cat sat on a mat"] * 3, 300, special=("<|endoftext|>",))
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=64, n_embd=16, n_head=2, n_layer=2)
    return GPT(model(hparams, lively(hparams)), tokenizer)


@pytest.mark.parametrize("question", FINDINGS)
@pytest.mark.parametrize("text", HARD)
def test_a_text_is_shown_whole_and_its_tokens_as_tokens_shows_them(chat, of_bytes, question, text):
    gpt = of_bytes if question in ("why", "patch") else chat  # which takes seconds for those
    found = FINDINGS[question](gpt, text)
    assert text in printed(found)
    shown = found.sections()
    assert "\ufffd" not in json.dumps([section.to_dict() for section in shown])
    assert "\ufffd" not in json.dumps(found.to_dict(), ensure_ascii=False)
    names = tuple(piece.shown for piece in gpt.tokenizer.pieces(text))
    assert any("⟨" in name for name in names)
    for field in ("tokens", "prompt_tokens", "base_tokens"):
        if hasattr(found, field):
            assert tuple(map(visible, getattr(found, field))) == names


def visible(text):
    return visible_bytes(text.encode())


@given(st.binary(max_size=12))
def test_bytes_that_are_no_character_stand_as_bytes_in_a_whole_text(value):
    """Held against Python's own decoder with another way to name what it cannot decode."""
    escaped = value.decode("utf-8", "backslashreplace")
    found = text_of(value)
    plain = found.replace("\u00a0", " ")
    for byte in range(0x80, 0x100):
        escaped = escaped.replace(f"\\x{byte:02x}", f"⟨{byte:02X}⟩")
    assert plain.replace("⟩⟨", " ") == escaped.replace("⟩⟨", " ")
    if "\\" not in value.decode("utf-8", "backslashreplace"):
        assert found == value.decode() == token_text(value)


def test_why_says_what_ablate_says_of_a_head_that_always_writes_the_same(talk):
    """Its mean does what the head does; `ablate` sets it to zero, and the king goes elsewhere."""
    found = inspect.why(talk, "The king went home to", labels=False)
    off = inspect.ablate(talk, "The king went home to", heads=[(1, 0)])
    assert found.important_heads == ()
    (sentence,) = [each for each in found.sentences if each.startswith("Set to zero")]
    assert f"would have said {quoted(off.after[0].text)}" in sentence
    assert percent(math.exp(off.after[0].logprob)) in sentence
    assert f"{math.exp(-off.logprob_change):.1f} times less likely" in sentence
    other = inspect.why(talk, "The power clapper went straight to", labels=False)
    assert not any(each.startswith("Set to zero") for each in other.sentences)


@given(
    parts=st.lists(st.sampled_from([*"ab", " ", "word ", "<|user|>", "long" * 9]), max_size=40),
    most=st.integers(8, 60),
)
def test_a_shortened_text_is_its_end_from_a_whole_token_on(parts, most):
    text = "".join(parts)
    short = shortened(text, most)
    if len(text) <= most:
        assert short == text
        return
    assert len(short) <= most
    end = short.removeprefix("…")
    assert short == f"…{end}"
    assert text.endswith(end)
    assert end == end.lstrip()


def test_a_special_token_is_not_cut():
    text = "a b<|end|><|assistant|>Once upon"
    assert shortened(text, 24) == "…<|assistant|>Once upon"
    assert shortened(text, 20) == "…Once upon"

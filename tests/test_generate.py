"""The loop: why it ends, stop texts, branches, reuse of the cache, interruption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid.errors import ContextError, InputError
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from support.models import lively, model


@pytest.fixture(scope="module")
def gpt():
    """The talk's tokenizer with random, lively weights and a longer window."""
    return random_gpt(pellucid.load("talk").tokenizer, seed=1)


def random_gpt(tokenizer, seed):
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=24, n_embd=8, n_head=2, n_layer=2)
    return GPT(model(hparams, lively(hparams, seed), dtype="float64"), tokenizer)


PROMPT = [5, 9, 2]


def ids(generation):
    """The tokens of the whole generation, once it has run to its end."""
    return [step.token for step in generation.steps]


def test_greedy_is_the_argmax_of_the_whole_forward_pass(gpt):
    out = gpt.generate(PROMPT, greedy=True, stop_tokens=())
    so_far = list(PROMPT)
    for step in out:
        logits = gpt.logits(so_far)[-1]
        assert step.token == logits.argmax()
        assert step.position == len(so_far)
        assert step.alternatives[0].token == step.token
        expected = logits - logits.max()
        expected -= np.log(np.exp(expected).sum())
        assert step.logprob == pytest.approx(expected[step.token])
        so_far.append(step.token)
    assert len(so_far) == 24
    assert out.reason == "context window full"


def test_the_talks_window_of_eight():
    out = pellucid.load("talk").generate("The power clapper", greedy=True, n_ctx=8, stop_tokens=())
    assert (out.reason, len(out.tokens)) == ("context window full", 8)


def test_length_and_stop_token(gpt):
    whole = gpt.generate(PROMPT, seed=3, stop_tokens=())
    short = gpt.generate(PROMPT, seed=3, stop_tokens=(), max_tokens=4)
    assert short.reason == "length"
    assert ids(short) == ids(whole)[:4]
    end = whole.steps[5].token
    first = [step.token for step in whole.steps].index(end)
    stopped = gpt.generate(PROMPT, seed=3, stop_tokens=[end])
    assert stopped.reason == "stop token"
    assert len(stopped.steps) == first + 1
    assert stopped.text == gpt.tokenizer.decode(stopped.tokens[len(PROMPT) : -1])
    assert gpt.generate(PROMPT, max_tokens=0).reason == "length"


def test_seed_decides(gpt):
    texts = {
        seed: {tuple(ids(gpt.generate(PROMPT, seed=seed, stop_tokens=()))) for _ in range(2)}
        for seed in range(4)
    }
    assert all(len(made) == 1 for made in texts.values())
    assert len(set.union(*texts.values())) > 1


@settings(max_examples=60)
@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=3))
def test_stop_texts_never_show_and_the_earliest_wins(gpt, seed, cuts):
    whole = gpt.generate(PROMPT, seed=seed, stop_tokens=()).text
    stops = [whole[at : at + n] for at, n in cuts if whole[at : at + n]] + ["§"]
    out = gpt.generate(PROMPT, seed=seed, stop_tokens=(), stop=stops)
    shown = "".join(step.text for step in out)
    assert shown == out.text
    found = [whole.find(stop) for stop in stops if stop in whole]
    assert out.text == whole[: min(found, default=len(whole))]
    assert not any(stop in out.text for stop in stops)
    if not found:
        assert out.reason == "context window full"


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_branch_equals_a_fresh_generation_from_there(gpt, at):
    out = gpt.generate(PROMPT, seed=1, stop_tokens=(), max_tokens=12)
    before = out.steps
    twin = out.branch(at, 11)
    fresh = gpt.generate([*out.tokens[: 3 + at], 11], seed=1, stop_tokens=(), max_tokens=11 - at)
    assert twin.steps[at].token == 11
    assert twin.steps[:at] == before[:at]
    assert len(twin.steps) == 12
    assert [s.token for s in twin.steps[at + 1 :]] == [s.token for s in fresh.steps]
    np.testing.assert_allclose(
        [s.logprob for s in twin.steps[at + 1 :]], [s.logprob for s in fresh.steps], atol=1e-10
    )
    assert out.steps == before


def test_no_branch_beyond_the_end(gpt):
    out = gpt.generate(PROMPT, seed=1, stop_tokens=())
    for at in (-1, len(out.steps), len(out.steps) + 1):
        with pytest.raises(InputError, match="cannot branch"):
            out.branch(at)
    with pytest.raises(InputError, match="vocabulary"):
        out.branch(0, gpt.hparams.n_vocab)


@pytest.mark.parametrize("prompt", [[5, 9, 2, 4, 4], [5, 9, 7], [5], [8, 1]])
def test_taking_over_a_cache_changes_nothing(gpt, prompt):
    first = gpt.generate([5, 9, 2, 4], seed=1, stop_tokens=(), max_tokens=6)
    assert first.text is not None
    again = gpt.generate(prompt, seed=2, stop_tokens=(), follows=first)
    fresh = gpt.generate(prompt, seed=2, stop_tokens=())
    assert [s.token for s in again.steps] == [s.token for s in fresh.steps]


def test_who_is_followed_can_go_on(gpt):
    """The cache has one owner: whoever gave it away computes anew, also in a branch."""
    settings = {"seed": 1, "stop_tokens": (), "max_tokens": 8}
    alone, first = gpt.generate(PROMPT, **settings), gpt.generate(PROMPT, **settings)
    assert alone.text is not None
    steps = iter(first)
    for _ in range(3):
        next(steps)
    second = gpt.generate([*first.tokens, 4], seed=2, stop_tokens=(), follows=first)
    fresh = gpt.generate([*first.tokens, 4], seed=2, stop_tokens=())
    twin = first.branch(1, 11)
    assert ids(second) == ids(fresh)
    assert ids(twin) == ids(alone.branch(1, 11))
    np.testing.assert_allclose(
        [s.logprob for s in twin.steps], [s.logprob for s in alone.branch(1, 11).steps], atol=1e-10
    )
    assert ids(first) == ids(alone)
    assert ids(second) == ids(fresh)


def test_the_cache_of_another_model_is_not_taken_over(gpt):
    other = random_gpt(gpt.tokenizer, seed=2)
    first = gpt.generate(PROMPT, seed=1, stop_tokens=())
    assert first.text is not None
    second = other.generate(PROMPT, seed=1, stop_tokens=(), follows=first)
    assert ids(second) == ids(other.generate(PROMPT, seed=1, stop_tokens=()))


def test_the_prompt_and_the_window(gpt):
    full = gpt.generate([1] * 24)
    assert (full.text, full.reason, full.steps) == ("", "context window full", ())
    with pytest.raises(ContextError, match="shorten the prompt by 1 "):
        gpt.generate([1] * 25)
    with pytest.raises(ContextError):
        gpt.generate([1] * 9, n_ctx=8)
    if gpt.tokenizer.end_of_text is not None:
        assert gpt.generate("").prompt == (gpt.tokenizer.end_of_text,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_ctx": 0},
        {"n_ctx": 25},
        {"max_tokens": -1},
        {"alternatives": -1},
        {"seed": -1},
        {"temperature": -1},
        {"heat": 1},
    ],
)
def test_out_of_range_is_refused_at_once(gpt, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        gpt.generate(PROMPT, **wrong)


@pytest.mark.parametrize("place", ["blocks.0.mlp_out", "blocks.1.attn.k", "logits"])
def test_interrupted_then_continued_is_the_same_text(gpt, place):
    calls = 0

    def tap(name, value):
        nonlocal calls
        if name == place:
            calls += 1
            if calls in (1, 4):
                raise KeyboardInterrupt
        return value

    whole = gpt.generate(PROMPT, seed=5, stop_tokens=())
    out = gpt.generate(PROMPT, seed=5, stop_tokens=(), tap=tap)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            list(out)
        assert whole.text.startswith(out.so_far)
    assert out.text == whole.text
    assert out.tokens == whole.tokens

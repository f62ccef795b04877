"""Speculation: the same tokens as without it, whoever drafts; what it counts; when it rests."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid import inspect
from pellucid.chat import Conversation
from pellucid.errors import CheckpointError, InputError
from pellucid.generate import Generation
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.sampling import softmax
from pellucid.sequence import Sequence, Settings
from pellucid.speculate import DraftModel, Lookup, Pace, Speculated, Speculation
from support.models import lively, lively_gpt, model
from support.program import invoke, run
from support.skips import BACKENDS, needs
from support.steps import same_steps

PROMPT = [5, 9, 2, 5, 9]


@pytest.fixture(scope="module")
def gpt():
    """The talk's tokenizer with random, lively weights and a longer window."""
    tokenizer = pellucid.load("talk").tokenizer
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=24, n_embd=8, n_head=2, n_layer=2)
    return GPT(model(hparams, lively(hparams, 1), dtype="float64"), tokenizer)


class Told:
    """A drafter that knows how it goes on, and errs where it is told to."""

    def __init__(self, tokens, wrong=()):
        self.tokens, self.wrong = tuple(tokens), set(wrong)

    def kind(self, sequence):
        return "told" if len(sequence.tokens) < len(self.tokens) else None

    def draft(self, sequence, n):
        at = len(sequence.tokens)
        return tuple(
            token + 1 if i in self.wrong else token
            for i, token in enumerate(self.tokens[at : at + n], at)
        )


def same(ours, plain, within=1e-9):
    same_steps(ours.steps, plain.steps, within)
    assert (ours.text, ours.reason) == (plain.text, plain.reason)


SETTINGS = [
    {"greedy": True},
    {"greedy": True, "max_tokens": 7},
    {"greedy": True, "n_ctx": 13},
    {"seed": 3},
    {"seed": 4, "temperature": 0.5, "top_k": 4},
    {"seed": 5, "top_p": 0.7, "repetition_penalty": 1.4},
    {"seed": 6, "presence_penalty": 1.0, "frequency_penalty": 0.7, "min_p": 0.01},
    {"greedy": True, "repetition_penalty": 1.3, "frequency_penalty": 0.5},
    {"seed": 7, "alternatives": 0},
    {"seed": 8, "max_tokens": 1},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
@pytest.mark.parametrize("most", [1, 3, 8])
def test_the_same_tokens_whoever_drafts(gpt, values, most):
    values = {"stop_tokens": (), **values}
    plain = gpt.generate(PROMPT, **values)
    other = lively(replace(gpt.hparams, n_layer=1), 2)
    small = model(replace(gpt.hparams, n_layer=1), other, dtype="float64")
    assert plain.text is not None
    told = [Told(plain.tokens, wrong) for wrong in ((), range(0, 99, 3), range(99))]
    for drafter in (*told, Lookup(1, 3), DraftModel(gpt.model), DraftModel(small)):
        ours = gpt.generate(PROMPT, **values, speculate=Speculation(drafter, most, adaptive=False))
        same(ours, plain)
        done, n = ours.speculated, len(ours.steps)
        assert done.passes + done.accepted in (n, n + 1)  # the last may be a draft
        assert done.accepted <= done.drafted <= done.passes * most


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 999),
    wrong=st.sets(st.integers(5, 24)),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=2),
    stop=st.none() | st.integers(0, 18),
    most=st.integers(1, 20),
)
def test_stops_inside_a_draft(gpt, seed, wrong, cuts, stop, most):
    whole = gpt.generate(PROMPT, seed=seed, stop_tokens=())
    texts = [whole.text[at : at + n] for at, n in cuts if whole.text[at : at + n]]
    tokens = () if stop is None else (whole.steps[stop].token,)
    values = {"seed": seed, "stop": texts, "stop_tokens": tokens}
    drafter = Told(whole.tokens, wrong)
    ours = gpt.generate(PROMPT, **values, speculate=Speculation(drafter, most, adaptive=False))
    same(ours, gpt.generate(PROMPT, **values))


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_every_backend(backend):
    tiny, _ = lively_gpt(n_ctx=32, backend=backend)
    plain = tiny.generate("the", greedy=True, stop_tokens=())
    for source in ("lookup", tiny):
        drafted = tiny.generate("the", greedy=True, stop_tokens=(), speculate=source)
        same(drafted, plain, within=1e-5 if backend == "native" else 1e-9)  # it has float32 alone


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
def test_rounded_models_say_the_same_too(dtype):
    """Drafts are as short as one pass over them gives the very numbers of passes over each: what
    is summed in another order, rounding to integers makes a tenth of a logit of."""
    needs("pellucid_native")
    chat = pellucid.load("chat", backend="native", dtype=dtype)
    most = chat.speculation("lookup").most
    assert most == (2 if dtype == "bfloat16" else 8)
    ids = chat.encode("The king said to the queen, and the queen said to the king, that the king")
    alone, together = chat.model.new_cache(), chat.model.new_cache()
    for cache in (alone, together):
        chat.forward([ids[:5]], cache)
    for at in range(5, len(ids) - most, most + 1):
        each = [chat.forward([[token]], alone)[0, 0] for token in ids[at : at + most + 1]]
        np.testing.assert_array_equal(chat.forward([ids[at : at + most + 1]], together)[0], each)
    for text in ("I don't know what the matter is. I don't know", "The king said, "):
        plain = chat.generate(text, greedy=True, max_tokens=80, stop_tokens=())
        eager = Speculation(Lookup(), most, adaptive=False)
        ours = chat.generate(text, greedy=True, max_tokens=80, stop_tokens=(), speculate=eager)
        same(ours, plain, within=0)
        assert ours.speculated.accepted


def test_a_good_draft_saves_passes(gpt):
    values = {"greedy": True, "stop_tokens": ()}
    plain = gpt.generate(PROMPT, **values)
    assert plain.text is not None
    ours = gpt.generate(
        PROMPT, **values, speculate=Speculation(Told(plain.tokens), 8, adaptive=False)
    )
    assert ours.text == plain.text
    # 19 tokens: the prompt's, 1 + 8, 1 + 8, of which the window takes no more.
    assert ours.speculated == Speculated(passes=3, drafted=16, accepted=16)
    assert plain.speculated == Speculated()


# --- the distribution -----------------------------------------------------------------------------


def exactly(gpt, prompt, sampling, n):
    """Every continuation of n tokens -> its probability, by the product over its tokens."""
    table = {(): 1.0}
    for _ in range(n):
        longer = {}
        for ids, probability in table.items():
            row = gpt.logits([*prompt, *ids])[-1]
            last = softmax(sampling.stages(row, prompt, ids)[-1].logits)
            for token in np.flatnonzero(last):
                longer[(*ids, int(token))] = probability * last[token]
        table = longer
    return table


def test_the_distribution_is_exact():
    """Pearson's test of 600 texts of three tokens, drafted, against all 27 there may be."""
    tiny, _ = lively_gpt()
    values = Settings.of(top_k=3, temperature=1.3, max_tokens=3, stop_tokens=())
    wanted = exactly(tiny, [7, 3], values.sampling, 3)
    assert len(wanted) == 27
    assert sum(wanted.values()) == pytest.approx(1)
    likeliest = max(wanted, key=wanted.get)
    drafter = Told((7, 3, *likeliest))
    counts = dict.fromkeys(wanted, 0)
    n = 600
    accepted = 0
    for seed in range(n):
        speculation = Speculation(drafter, 2, adaptive=False)
        ours = Generation(
            tiny.model, tiny.tokenizer, [7, 3], values.changed(seed=seed), speculation=speculation
        )
        counts[tuple(step.token for step in ours.steps)] += 1
        accepted += ours.speculated.accepted
    chi2 = sum((counts[ids] - n * p) ** 2 / (n * p) for ids, p in wanted.items())
    assert chi2 < 54  # 26 degrees of freedom: exceeded once in 1,000
    # One token is drafted, the second, and accepted as often as the model gives it.
    rate = sum(p for ids, p in wanted.items() if ids[1] == likeliest[1])
    assert accepted == pytest.approx(n * rate, abs=4 * np.sqrt(n * rate * (1 - rate)))


def test_the_same_dice_agree_where_distributions_do(gpt):
    """A draft model that is the model itself is always right, drawn too."""
    for seed in range(5):
        ours = gpt.generate(PROMPT, seed=seed, stop_tokens=(), speculate=gpt)
        assert ours.text is not None
        assert ours.speculated.accepted == ours.speculated.drafted > 0


# --- the cache, and going on ----------------------------------------------------------------------


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("wrong", [(), range(0, 99, 2), range(99)])
def test_what_follows_takes_over_only_what_is_true(gpt, wrong, stops):
    """Also where a stop token leaves refused drafts behind it."""
    values = {"seed": 2, "stop_tokens": (), "max_tokens": 9}
    plain = gpt.generate(PROMPT, **values)
    whole = (*PROMPT, *(step.token for step in plain.steps))
    if stops:
        values["stop_tokens"] = (plain.steps[4].token,)
        plain = gpt.generate(PROMPT, **values)

    def drafted():
        speculation = Speculation(Told(whole, wrong), 5, adaptive=False)
        generation = gpt.generate(PROMPT, **values, speculate=speculation)
        assert generation.text == plain.text
        return generation

    first = drafted()
    same(first, plain)
    same(first.branch(3, 11), plain.branch(3, 11))
    for prompt in (first.tokens, [*first.tokens, 4], [*first.tokens[:-1], 4, 5]):
        again = gpt.generate(prompt, seed=3, stop_tokens=(), follows=drafted())
        same(again, gpt.generate(prompt, seed=3, stop_tokens=()))


def test_broken_off_anywhere_and_gone_on(gpt, monkeypatch):
    values = {"seed": 2, "stop_tokens": ()}
    plain = gpt.generate(PROMPT, **values)
    assert plain.text is not None
    take = Sequence.take
    for at in range(1, 15):
        calls = itertools.count()

        def broken(self, row, calls=calls, at=at):
            if next(calls) == at:
                raise KeyboardInterrupt
            return take(self, row)

        drafter = Told(plain.tokens, wrong=(9, 16))
        ours = gpt.generate(PROMPT, **values, speculate=Speculation(drafter, 4, adaptive=False))
        with monkeypatch.context() as patch:
            patch.setattr(Sequence, "take", broken)
            with pytest.raises(KeyboardInterrupt):
                assert ours.text is None
        assert len(ours.steps_so_far) == at
        same(ours, plain)


# --- who drafts -----------------------------------------------------------------------------------


def sequence(gpt, tokens):
    return Sequence(tokens, gpt.tokenizer, gpt.hparams, Settings())


def test_lookup_takes_the_longest_ending_and_goes_in_circles(gpt):
    look = Lookup(2, 3)
    tokens = [1, 2, 3, 4, 8, 2, 3, 5, 1, 2, 3]
    assert look.kind(sequence(gpt, tokens)) == "ending of 3"
    assert look.draft(sequence(gpt, tokens), 3) == (4, 8, 2)
    assert look.kind(sequence(gpt, [9, 2, 3])) is None  # another text: the first is forgotten
    assert look.kind(sequence(gpt, [9, 2, 3, 6, 2, 3])) == "ending of 2"
    assert look.draft(sequence(gpt, [9, 2, 3, 6, 2, 3]), 5) == (6, 2, 3, 6, 2)
    assert look.kind(sequence(gpt, [4, 4, 4])) == "ending of 2"
    assert look.draft(sequence(gpt, [4, 4, 4]), 3) == (4, 4, 4)
    assert look.kind(sequence(gpt, [7])) is None


def test_a_draft_model_with_a_smaller_window_stops_drafting(gpt):
    hparams = replace(gpt.hparams, n_ctx=10)
    tensors = lively(hparams, 1)
    drafter = DraftModel(model(hparams, tensors, dtype="float64"))
    values = {"greedy": True, "stop_tokens": ()}
    ours = gpt.generate(PROMPT, **values, speculate=Speculation(drafter, 4, adaptive=False))
    same(ours, gpt.generate(PROMPT, **values))
    assert 0 < ours.speculated.drafted <= 4 + 3 + 2 + 1  # tokens 5 to 9 have room in it


# --- the pace -------------------------------------------------------------------------------------


def rounds(pace, n, accepts, row=0.1, kind="x"):
    """n passes of a model for which one more row costs `row` of a pass -> the drafts' lengths."""
    lengths = []
    for _ in range(n):
        length = pace.length(kind)
        pace.passed(1 + length, 1 + row * length)
        if length:
            pace.judged(kind, length, min(length, accepts))
        lengths.append(length)
    return lengths


def test_it_drafts_as_far_as_it_pays():
    assert np.mean(rounds(Pace(8), 60, accepts=8)[20:]) > 6
    some = rounds(Pace(8), 200, accepts=2)[50:]
    assert 1 <= np.median(some) <= 4


def test_it_rests_where_drafts_are_refused_and_tries_again():
    pace = Pace(8)
    lengths = rounds(pace, 400, accepts=0)
    assert sum(length > 0 for length in lengths[100:]) <= 12
    assert any(lengths[100:])
    assert np.mean([n > 0 for n in rounds(pace, 200, accepts=8)[100:]]) > 0.8


def test_it_rests_where_rows_cost_as_much_as_passes():
    lengths = rounds(Pace(8), 200, accepts=8, row=1.0)
    assert np.mean(lengths[50:]) < 1


def test_a_slow_drafter_does_not_pay():
    pace = Pace(4)
    for _ in range(50):
        pace.drafted(2, 4.0)
    assert np.mean([n > 0 for n in rounds(pace, 100, accepts=4)[40:]]) < 0.2


def test_kinds_are_weighed_apart():
    pace = Pace(8)
    for _ in range(60):
        rounds(pace, 1, accepts=8, kind="good")
        rounds(pace, 1, accepts=0, kind="bad")
    assert np.mean(rounds(pace, 20, accepts=8, kind="good")) > 4
    assert np.mean(rounds(pace, 20, accepts=0, kind="bad")) < 1


# --- where people meet it -------------------------------------------------------------------------


def test_refused_by_name(gpt):
    tap = lambda name, value: value  # noqa: E731
    for watching in ({"tap": tap}, {"record": inspect.Recorder(gpt, "attn.pattern")}):
        with pytest.raises(InputError, match="leave speculation out"):
            gpt.generate(PROMPT, speculate="lookup", **watching)
    with pytest.raises(InputError, match="has other tokens"):
        gpt.generate(PROMPT, speculate=lively_gpt()[0])
    with pytest.raises(InputError, match='"lookup" or a GPT'):
        gpt.generate(PROMPT, speculate=3)
    with pytest.raises(CheckpointError, match="no folder or file 'magic'"):
        gpt.generate(PROMPT, speculate="magic")
    with pytest.raises(InputError, match="1 to 64 tokens"):
        Speculation(Lookup(), 0)
    with pytest.raises(InputError, match="endings"):
        Lookup(3, 2)


def test_a_conversation_rests_where_somebody_watches():
    chat = pellucid.load("chat")
    values = {"greedy": True, "max_tokens": 12}
    plain, ours = Conversation(chat, **values), Conversation(chat, **values)
    ours.speculation = chat.speculation("lookup")
    for message in ("Hello.", "Hello."):
        assert ours.say(message).text == plain.say(message).text
        assert ours.last.speculated.passes > 0
    ours.tap = lambda name, value: value
    assert ours.say("And now?").text == plain.say("And now?").text
    assert ours.last.speculated.passes == 0


def test_the_command_line():
    asked = ("generate", "One two three. One two three. One", "--greedy", "--max-tokens", "12")
    plain = run(*asked)
    for source in ("lookup", "chat"):
        assert run(*asked, "--speculate", source) == plain
    end = json.loads(run(*asked, "--speculate", "chat", "--json").splitlines()[-1])
    done = end["speculated"]
    assert done["passes"] + done["accepted"] in (12, 13)
    assert "speculated" not in json.loads(run(*asked, "--json").splitlines()[-1])
    assert "drafted tokens kept" in invoke(*asked, "--speculate", "lookup").stderr
    said = run("chat", "--greedy", "--speculate", "lookup", text="Hello\nHello\n")
    assert said == run("chat", "--greedy", text="Hello\nHello\n")
    with pytest.raises(InputError, match="talk has other tokens"):
        run("generate", "x", "--speculate", "talk")

"""One sequence without a model: a list of logits stands in for it, as it will for an engine."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid.errors import ContextError, InputError
from pellucid.hparams import HParams
from pellucid.sampling import Sampling
from pellucid.sequence import Sequence, Settings

TOKENIZER = pellucid.load("talk").tokenizer
HPARAMS = HParams(n_vocab=TOKENIZER.n_vocab, n_ctx=8, n_embd=4, n_head=2, n_layer=1)


class MockModel:
    """Says the tokens of a text, one after another, whatever it is asked."""

    def __init__(self, text: str) -> None:
        self.ids = TOKENIZER.encode(text)

    def logits(self, sequence: Sequence) -> np.ndarray:
        row = np.zeros(HPARAMS.n_vocab)
        row[self.ids[len(sequence.steps) % len(self.ids)]] = 20.0
        return row


def run(text: str, prompt: str = "The", **settings) -> Sequence:
    sequence = Sequence(TOKENIZER.encode(prompt), TOKENIZER, HPARAMS, Settings.of(**settings))
    mock = MockModel(text)
    while sequence.reason is None:
        sequence.take(mock.logits(sequence))
    return sequence


def test_a_sequence_runs_without_a_model_or_a_cache() -> None:
    sequence = run(" power clapper went straight to jail", greedy=True)
    assert sequence.text == " power clapper went straight to jail"
    assert (sequence.reason, len(sequence.tokens)) == ("context window full", 8)
    assert [step.position for step in sequence.steps] == list(range(1, 8))
    assert sequence.steps[0].alternatives[0].text == " power"
    assert sequence.steps[0].logprob == pytest.approx(
        20 - np.log(np.exp(20) + HPARAMS.n_vocab - 1), abs=1e-12
    )


def test_many_sequences_in_turns_are_each_as_if_alone() -> None:
    """What an engine does: one row of logits to each, in any order."""
    texts = [" went straight to jail", " power", " crowd will clap at the show"]
    settings = [{"seed": 1}, {"max_tokens": 3, "seed": 2}, {"stop": " at", "greedy": True}]
    alone = [run(text, **kw) for text, kw in zip(texts, settings, strict=True)]
    together = [
        Sequence(TOKENIZER.encode("The"), TOKENIZER, HPARAMS, Settings.of(**kw)) for kw in settings
    ]
    mocks = [MockModel(text) for text in texts]
    while any(sequence.reason is None for sequence in together):
        for sequence, mock in reversed(list(zip(together, mocks, strict=True))):
            if sequence.reason is None:
                sequence.take(mock.logits(sequence))
    for one, other in zip(alone, together, strict=True):
        assert (one.tokens, one.text, one.reason) == (other.tokens, other.text, other.reason)
        assert one.steps == other.steps


def test_a_sequence_keeps_no_arrays() -> None:
    sequence = run(" power", greedy=True)
    for name, value in vars(sequence).items():
        assert not isinstance(value, np.ndarray), name


def test_settings_are_one_flat_set_of_names() -> None:
    settings = Settings.of(greedy=True, max_tokens=3, stop="x", stop_tokens=[1], top_k=4)
    assert settings.sampling == Sampling(greedy=True, top_k=4)
    assert (settings.stop, settings.stop_tokens) == (("x",), frozenset([1]))
    changed = settings.changed(temperature=0.5, stop=["", "y"])
    assert changed.sampling == Sampling(greedy=True, top_k=4, temperature=0.5)
    assert (changed.stop, changed.max_tokens) == (("y",), 3)
    with pytest.raises(InputError, match="no such setting: heat"):
        Settings.of(heat=1)
    for wrong in ({"max_tokens": -1}, {"alternatives": -1}, {"seed": -1}, {"n_ctx": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Settings.of(**wrong)
    with pytest.raises(InputError, match="the model's 8"):
        Settings.of(n_ctx=9).window(HPARAMS)


def test_the_prompt_must_fit() -> None:
    with pytest.raises(ContextError, match="shorten the prompt by 1 "):
        Sequence([1] * 9, TOKENIZER, HPARAMS, Settings())
    assert Sequence([1] * 8, TOKENIZER, HPARAMS, Settings()).reason == "context window full"

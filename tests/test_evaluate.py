"""Perplexity beside transformers, token by token, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pellucid
from pellucid.errors import InputError
from pellucid.evaluate import conversation_perplexity, perplexity
from pellucid.sampling import log_softmax
from support.models import lively_gpt, near
from support.skips import BACKENDS, needs

ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


TEXT = "The power clapper went straight to jail. Übel!"


def by_hand(gpt, ids, window):
    """Each id but the first, from the `window` ids before it."""
    total = 0.0
    for at in range(1, len(ids)):
        logits = gpt.logits(ids[max(0, at - window) : at])[-1]
        total -= log_softmax(logits)[ids[at]]
    return total


@pytest.mark.parametrize("window", [1, 5, 12])
def test_stride_one_is_token_by_token(window):
    gpt, _ = lively_gpt()
    score = perplexity(gpt, TEXT, stride=1, window=window)
    ids = gpt.encode(TEXT)
    assert score.nats == pytest.approx(by_hand(gpt, [257, *ids], window), rel=1e-12)
    assert (score.n_tokens, score.n_bytes) == (len(ids), len(TEXT.encode()))
    assert score.perplexity == pytest.approx(math.exp(score.nats / len(ids)))
    assert score.bits_per_byte == pytest.approx(score.nats / math.log(2) / len(TEXT.encode()))


@pytest.mark.parametrize(("window", "stride"), [(11, 11), (11, 4), (7, 1), (5, 2)])
def test_equals_the_sliding_window_of_transformers(window, stride):
    """The procedure of Hugging Face's page on perplexity; a window of theirs reads one token
    more than ours, as the last is only predicted."""
    torch = needs("torch")
    transformers = needs("transformers")
    gpt, tensors = lively_gpt()
    config = transformers.GPT2Config(
        vocab_size=258, n_positions=12, n_embd=16, n_head=2, n_layer=2, attn_implementation="eager"
    )
    reference = transformers.GPT2LMHeadModel(config).double().eval()
    state = {f"transformer.{name}": torch.tensor(value) for name, value in tensors.items()}
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    rng = np.random.default_rng(0)
    n = window + 6 * stride  # the last window is full
    ids = [257, *rng.integers(0, 257, n).tolist()]
    nats, count, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window + 1, len(ids))
        inputs = torch.tensor([ids[begin:end]])
        labels = inputs.clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = reference(inputs, labels=labels).loss.double().item()
        scored = int((labels[:, 1:] != -100).sum())
        nats, count, before = nats + loss * scored, count + scored, end
        if end == len(ids):
            break
    score = perplexity(gpt, [ids[1:]], stride=stride, window=window)
    assert score.n_tokens == count == n
    assert score.nats == pytest.approx(nats, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_and_backends_agree(backend):
    gpt, _ = lively_gpt(backend=backend)
    alone, _ = lively_gpt()
    texts = [TEXT, "a", "", "the " * 30]
    expected = sum(perplexity(alone, text, stride=3).nats for text in texts if text)
    for batch in (1, 3, None):
        score = perplexity(gpt, texts, stride=3, batch=batch)
        assert score.nats == pytest.approx(expected, rel=near(backend, 1e-9))
        assert score.n_documents == 4


def test_words_are_counted_as_said():
    gpt, _ = lively_gpt()
    text = " = A = \n one two\n"
    score = perplexity(gpt, text, words="spaces")
    assert score.n_words == 5
    assert score.word_perplexity == pytest.approx(math.exp(score.nats / 5))
    assert perplexity(gpt, text, words="spaces and line ends").n_words == 7
    assert "line ends" in perplexity(gpt, text, words="spaces and line ends").protocol


def test_without_end_of_text_the_first_token_is_given():
    gpt, _ = lively_gpt(special={})
    score = perplexity(gpt, "abc")
    assert (score.n_tokens, score.n_bytes) == (2, 2)
    assert "first token given" in score.protocol


def test_conversations_score_replies_and_everything():
    special = {"<|endoftext|>": 257, **{role: 258 + i for i, role in enumerate(ROLES)}}
    gpt, _ = lively_gpt(n_ctx=40, special=special)
    gpt.template = "roles"
    turns = [("user", "Hi<|end|>"), ("assistant", "Yo"), ("user", "B"), ("assistant", "No")]
    score = conversation_perplexity(gpt, [turns])
    assert score.replies.n_tokens == 6  # two letters and <|end|>, twice
    assert score.replies.n_bytes == 4
    n_typed = len(gpt.encode("Hi<|end|>"))
    assert score.everything.n_tokens == 6 + n_typed + 1 + 2
    ids, own, other = [257], [], []
    for role, text in turns:
        ids.append(special[f"<|{role}|>"])
        for token in [*gpt.encode(text), special["<|end|>"]]:
            logprob = log_softmax(gpt.logits(ids)[-1])[token]
            (own if role == "assistant" else other).append(logprob)
            ids.append(token)
    assert score.replies.nats == pytest.approx(-sum(own))
    assert score.everything.nats == pytest.approx(-sum(own) - sum(other))


def test_progress_ends_at_the_score():
    gpt, _ = lively_gpt()
    seen = []
    score = perplexity(gpt, TEXT, stride=2, on_progress=lambda part, _: seen.append(part))
    assert seen[-1].nats == score.nats
    assert score.complete
    assert not seen[-1].complete
    assert [part.n_tokens for part in seen] == sorted(part.n_tokens for part in seen)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"stride": 0}, "stride"), ({"stride": 13}, "stride"), ({"window": 13}, "window")],
)
def test_settings_out_of_range(settings, said):
    gpt, _ = lively_gpt()
    with pytest.raises(InputError, match=said):
        perplexity(gpt, TEXT, **settings)
    with pytest.raises(InputError, match="empty"):
        perplexity(gpt, "")


def test_the_embedded_model_knows_its_sentence():
    score = perplexity(pellucid.load("talk"), "The power clapper went straight to jail")
    assert score.n_tokens > 0

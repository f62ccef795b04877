"""Scores of a model whose tokenizer puts ids before and after every text, by hand: what stands
before is given, what stands after is neither appended to what goes on nor scored."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from pellucid import inspect
from pellucid.checkpoint import Roles
from pellucid.evaluate import blimp, conversation_perplexity, hellaswag, lambada, perplexity
from pellucid.gpt import GPT
from pellucid.tokenizer import Rules, Tokenizer
from support.models import lively_gpt, log_likelihood
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

END_OF_TEXT, BEGIN, BEGIN_2, END = 257, 258, 259, 260
NAMES = {"<|endoftext|>": END_OF_TEXT, "<s>": BEGIN, "<t>": BEGIN_2, "</s>": END}
FRAMES = {
    "<s> … </s>": Rules(begin=(BEGIN,), end=(END,)),
    "two … </s>": Rules(begin=(BEGIN, BEGIN_2), end=(END,)),
    "… </s>": Rules(end=(END,)),
}


def framed_gpt(rules: Rules, roles: Roles | None = None) -> GPT:
    gpt, _ = lively_gpt(n_ctx=40, special=NAMES)
    return GPT(gpt.model, Tokenizer(VOCAB, MERGES, NAMES, rules), template="plain", roles=roles)


@pytest.fixture(params=FRAMES)
def gpt(request) -> GPT:
    return framed_gpt(FRAMES[request.param])


def test_a_text_that_goes_on_has_no_end(gpt):
    begin = list(gpt.tokenizer.rules.begin)
    assert gpt.encode("the") == [*begin, *gpt.tokenizer.encode("the")]
    assert gpt.generate("the", max_tokens=1).prompt == tuple(gpt.encode("the"))
    assert inspect.trace(gpt, "the").ids == tuple(gpt.encode("the"))
    assert gpt.tokenizer.framed(gpt.tokenizer.encode("the"))[-1] == END  # a whole one has


def test_documents(gpt):
    begin = list(gpt.tokenizer.rules.begin) or [END_OF_TEXT]
    ids = gpt.tokenizer.encode("the cat")
    expected = -log_likelihood(gpt, begin, ids)
    score = perplexity(gpt, "the cat")
    assert score.nats == pytest.approx(expected, rel=1e-9)
    assert score.n_tokens == len(ids)
    assert gpt.tokenizer.decode(begin) in score.protocol or begin == [END_OF_TEXT]
    assert perplexity(gpt, [ids]).nats == pytest.approx(expected, rel=1e-9)
    if gpt.tokenizer.rules.begin:  # ids that begin so already
        assert perplexity(gpt, [[*begin, *ids]]).nats == pytest.approx(expected, rel=1e-9)
    turns = [("user", "a"), ("assistant", "b")]
    letters = [*gpt.tokenizer.encode("a"), *gpt.tokenizer.encode("b\n")]
    whole = conversation_perplexity(gpt, [turns]).everything
    assert whole.nats == pytest.approx(-log_likelihood(gpt, begin, letters), rel=1e-9)


def test_continuations(gpt):
    begin = list(gpt.tokenizer.rules.begin)
    text = gpt.tokenizer.encode

    def after(context: str, continuation: str) -> float:
        return log_likelihood(gpt, [*begin, *text(context)], text(continuation))

    score = lambada(gpt, ["the cat"])
    assert score.metrics["perplexity"] == pytest.approx(math.exp(-after("the", " cat")))
    assert score.n_tokens == len(text(" cat"))
    endings = ["cat", "th"]
    sums = [after("a", f" {ending}") for ending in endings]
    for label in (0, 1):
        example = {"ctx": "a", "endings": endings, "label": label}
        right = hellaswag(gpt, [example]).metrics["acc"]
        assert right == (max(sums) == sums[label])
    opening = begin or [END_OF_TEXT]
    sums = [log_likelihood(gpt, opening, text(sentence)) for sentence in ("a b", "b a")]
    pair = {"sentence_good": "a b", "sentence_bad": "b a"}
    score = blimp(gpt, [pair])
    assert score.metrics["accuracy"] == (sums[0] > sums[1])
    assert score.n_tokens == sum(len(text(sentence)) for sentence in ("a b", "b a"))


def test_through_lm_eval(gpt):
    needs("lm_eval")
    from pellucid.evaluate.lm import PellucidLM

    begin, text = list(gpt.tokenizer.rules.begin), gpt.tokenizer.encode
    requests = [SimpleNamespace(args=args) for args in (("the", " cat"), ("", "cat"))]
    (one, _), (other, _) = PellucidLM(gpt).loglikelihood(requests)
    assert one == pytest.approx(log_likelihood(gpt, [*begin, *text("the")], text(" cat")), rel=1e-9)
    opening = begin or [END_OF_TEXT]
    assert other == pytest.approx(log_likelihood(gpt, opening, text("cat")), rel=1e-9)
    wanted = gpt.generate([*begin, *text("the")], greedy=True, max_tokens=3).text
    asked = [SimpleNamespace(args=("the", {"max_gen_toks": 3}))]
    assert PellucidLM(gpt).generate_until(asked) == [wanted]


def test_the_models_bos_stands_where_nothing_does():
    """As in lm_eval, whose prefix is the bos."""
    gpt = framed_gpt(Rules(), Roles(bos=BEGIN))
    expected = -log_likelihood(gpt, [BEGIN], gpt.tokenizer.encode("the cat"))
    score = perplexity(gpt, "the cat")
    assert score.nats == pytest.approx(expected, rel=1e-9)
    assert "after <s>, not scored" in score.protocol

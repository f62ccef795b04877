"""Lens, attribution, attention summaries and neighbours against independent computations."""

import json

import numpy as np
import pytest

from pellucid.errors import InputError
from pellucid.inspect import attention, attribute, head_labels, logit_lens, neighbours, trace
from support.circuits import random_gpt
from support.skips import BACKENDS

TEXT = "abcahgfa"
N = len(TEXT)


@pytest.fixture(scope="module")
def gpt():
    return random_gpt()


@pytest.fixture(scope="module")
def exact():
    return random_gpt("float64")


def normed(x, gpt):
    w = gpt.model.weights.ln_f
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w.weight + w.bias


# Logit lens


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_layer_of_the_lens_is_the_output_exactly(backend):
    gpt = random_gpt(backend=backend)
    lens = logit_lens(gpt, TEXT, keep_logits=True)
    output = trace(gpt, TEXT, "logits")["logits"]
    np.testing.assert_array_equal(lens.logits[-1], output)
    assert (lens.divergence[-1] == 0).all()
    assert [p[0] for p in lens.top_tokens[-1]] == [
        gpt.tokenizer.decode([i.argmax()]) for i in output
    ]


def test_the_lens_reads_every_layer(exact):
    lens = logit_lens(exact, TEXT, k=16, keep_logits=True)
    assert lens.layers == ("embed", "0", "1", "2")
    found = trace(exact, TEXT)
    streams = [found["blocks.0.resid_pre"], *(found[f"blocks.{i}.resid_post"] for i in range(3))]
    follow = [*exact.encode(TEXT)[1:], int(found["logits"][-1].argmax())]
    final = np.exp(found["logits"]) / np.exp(found["logits"]).sum(-1, keepdims=True)
    for layer, x in enumerate(streams):
        logits = normed(x, exact) @ exact.model.weights.wte.weight.T
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(lens.logits[layer], logits, atol=1e-9)
        np.testing.assert_array_equal(lens.top_ids[layer], np.argsort(-logits))
        np.testing.assert_allclose(lens.top_logprobs[layer], -np.sort(-np.log(p)), atol=1e-9)
        own = p[np.arange(N), follow]
        np.testing.assert_allclose(lens.target_logprobs[layer], np.log(own), atol=1e-9)
        np.testing.assert_array_equal(lens.target_ranks[layer], (p > own[:, None]).sum(-1))
        np.testing.assert_allclose(lens.entropy[layer], -(p * np.log(p)).sum(-1), atol=1e-9)
        kl = (final * np.log(final / p)).sum(-1)
        np.testing.assert_allclose(lens.divergence[layer], kl, atol=1e-9)
    assert lens.targets == (*TEXT[1:], lens.top_tokens[-1][-1][0])


def test_the_lens_at_some_positions(exact):
    whole, some = logit_lens(exact, TEXT), logit_lens(exact, TEXT, positions=[-1, 2])
    assert some.positions == (7, 2)
    np.testing.assert_allclose(some.target_logprobs, whole.target_logprobs[:, [7, 2]])
    assert some.targets == (whole.targets[7], whole.targets[2])
    assert some.logits is None


# Direct logit attribution


@pytest.mark.parametrize("versus", [None, "c"])
@pytest.mark.parametrize("position", [-1, 0, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_shares_sum_to_the_logit(dtype, tolerance, position, versus):
    gpt = random_gpt(dtype)
    logits = gpt.logits(TEXT)[position]
    for token in range(16):
        found = attribute(gpt, TEXT, token, versus=versus, position=position)
        expected = logits[token] - (0 if versus is None else logits[2])
        size = max(abs(expected), np.abs(logits).max())  # a difference may be close to nothing
        assert abs(found.total - expected) <= tolerance * size
        assert abs(found.logit - expected) <= tolerance * size


def test_each_share_is_what_the_logit_loses_without_that_part(exact):
    """Take the part out of the final residual stream, the norm's scale held: independent of how
    the shares are computed."""
    t = trace(exact, TEXT, ["*", "attn.result"])
    weights = exact.model.weights
    final, scale = t["blocks.2.resid_post"][-1], t["ln_final.scale"][-1]

    def logit(x):
        return ((x - x.mean()) / scale * weights.ln_f.weight + weights.ln_f.bias) @ (
            weights.wte.weight[5]
        )

    found = attribute(exact, TEXT, 5)
    base = logit(final)
    assert base == pytest.approx(found.logit)

    def share(part):
        return pytest.approx(base - logit(final - part), abs=1e-9)

    assert found.embed == share(t["embed"][-1])
    assert found.pos_embed == share(t["pos_embed"][-1])
    for i, w in enumerate(weights.h):
        assert found.mlps[i] == share(t[f"blocks.{i}.mlp_out"][-1])
        assert found.attention_biases[i] == share(w.attn.c_proj.bias)
        for head in range(3):
            assert found.heads[i, head] == share(t[f"blocks.{i}.attn.result"][-1, head])
            for key in range(N):
                pattern = t[f"blocks.{i}.attn.pattern"][head, -1, key]
                v = t[f"blocks.{i}.attn.v"][key, head]
                w_output = w.attn.c_proj.weight[head * 8 : head * 8 + 8]
                assert found.sources[i, head, key] == share(pattern * v @ w_output)
    assert found.norm_bias == pytest.approx(weights.ln_f.bias @ weights.wte.weight[5])
    np.testing.assert_allclose(found.sources.sum(-1), found.heads)
    np.testing.assert_allclose(found.by_token.sum(), found.heads.sum())
    rest = found.embed + found.pos_embed + found.norm_bias
    assert found.by_layer.sum() + rest == pytest.approx(found.logit)
    assert dict(found.parts())["L1H2"] == found.heads[1, 2]


def test_later_tokens_have_no_share(exact):
    found = attribute(exact, TEXT, "b", position=3)
    assert (found.sources[..., 4:] == 0).all()
    np.testing.assert_allclose(found.heads, attribute(exact, TEXT[:4], "b").heads)


def test_the_default_target_is_the_likeliest_token(gpt):
    assert attribute(gpt, TEXT).target_id == gpt.logits(TEXT)[-1].argmax()
    with pytest.raises(InputError, match="2 tokens"):
        attribute(gpt, TEXT, "ab")
    with pytest.raises(InputError, match="vocabulary"):
        attribute(gpt, TEXT, 16)


# Attention


def test_attention_summaries(exact):
    found = attention(exact, TEXT, layers=[2, 0], heads=1)
    t = trace(exact, TEXT)
    for i, layer in enumerate((2, 0)):
        p = t[f"blocks.{layer}.attn.pattern"][1]
        np.testing.assert_allclose(found.pattern[i, 0], p)
        np.testing.assert_array_equal(found.strongest[i, 0], p.argmax(-1))
        entropy = [-sum(x * np.log(x) for x in row if x > 0) for row in p]
        assert found.entropy[i, 0] == pytest.approx(np.mean(entropy))
        far = [sum(p[q, k] * (q - k) for k in range(N)) for q in range(N)]
        assert found.distance[i, 0] == pytest.approx(np.mean(far))
    with pytest.raises(InputError, match="budget"):
        attention(exact, TEXT, budget_bytes=100)


def test_head_scores_of_random_weights_earn_no_label():
    flat = random_gpt()
    for w in flat.model.weights.h:
        w.attn.c_attn.weight[:] = 0
        w.attn.c_attn.bias[:] = 0
    found = head_labels(flat)
    assert found.labels == ()
    # equal attention to every key seen: 1 / (q + 1)
    expected = np.mean(1 / np.arange(found.period + 1, 2 * found.period + 1))
    np.testing.assert_allclose(found.scores["induction"], expected, rtol=1e-5)


def test_labels_need_room_to_repeat():
    with pytest.raises(InputError, match="period"):
        head_labels(random_gpt(n_ctx=3))
    with pytest.raises(InputError, match="period"):
        head_labels(random_gpt(), period=13)


# Neighbours


@pytest.mark.parametrize("by", ["cosine", "dot"])
def test_neighbours(exact, by):
    table = exact.model.weights.wte.weight
    vector = np.random.default_rng(1).normal(size=24)
    found = neighbours(exact, vector, k=16, by=by)
    expected = [row @ vector for row in table]
    if by == "cosine":
        expected = [
            e / np.linalg.norm(row) / np.linalg.norm(vector)
            for e, row in zip(expected, table, strict=True)
        ]
    assert list(found.ids) == sorted(range(16), key=lambda i: -expected[i])
    np.testing.assert_allclose(found.similarity, sorted(expected, reverse=True))


def test_a_token_is_its_own_nearest_neighbour(gpt):
    for question in ("c", 2, np.int64(2), gpt.model.weights.wte.weight[2] * 7):
        found = neighbours(gpt, question, 3)
        assert found.tokens[0] == "c"
        assert found.similarity[0] == pytest.approx(1)
    assert len(neighbours(gpt, "c", 100).ids) == 16
    for wrong in (np.zeros(3), np.zeros((24, 1))):
        with pytest.raises(InputError, match="n_embd = 24"):
            neighbours(gpt, wrong)
    with pytest.raises(InputError, match="k must"):
        neighbours(gpt, "c", 0)


def test_answers_become_json(gpt):
    for found in (
        logit_lens(gpt, TEXT),
        attribute(gpt, TEXT),
        attention(gpt, TEXT),
        head_labels(gpt),
        neighbours(gpt, "c"),
        trace(gpt, "ab", "attn.scores"),
    ):
        kind = json.loads(json.dumps(found.to_dict(), allow_nan=False))["kind"]
        assert kind == type(found).__name__
    scores = trace(gpt, "ab", "attn.scores").to_dict()["arrays"]["blocks.0.attn.scores"]
    assert scores[0][0][1] is None

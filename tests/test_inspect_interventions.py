"""Ablation, patching and steering against independent computations."""

import json
import math

import numpy as np
import pytest

import pellucid
from pellucid.chat import Conversation
from pellucid.errors import InputError
from pellucid.inspect import (
    STRENGTH,
    Edits,
    ablate,
    ablate_each,
    ablation,
    compose,
    direction,
    patch,
    patch_each,
    steer,
    steered,
    trace,
    why,
)
from pellucid.weights import flatten
from support.circuits import build, random_gpt
from support.skips import needs

TEXT, OTHER = "abcahgfa", "dbeahcfp"
N = len(TEXT)
ALL_HEADS = [(layer, head) for layer in range(3) for head in range(3)]


@pytest.fixture(scope="module")
def gpt():
    return random_gpt("float64")


def changed(gpt, edit):
    """The same model with other weights."""
    tensors = {k: v.copy() for k, v in flatten(gpt.model.weights, gpt.hparams).items()}
    edit(tensors)
    return build(gpt.hparams, tensors, "float64")


def without_attention(gpt, text):
    """GPT-2 without attention: each token goes its way alone. Only the bias of W_Output stays."""

    def norm(x, w):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w.weight + w.bias

    weights, ids = gpt.model.weights, gpt.encode(text)
    x = weights.wte.weight[ids] + weights.wpe.weight[: len(ids)]
    for w in weights.h:
        x = x + w.attn.c_proj.bias
        pre = norm(x, w.ln_2) @ w.mlp.c_fc.weight + w.mlp.c_fc.bias
        post = pre / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (pre + 0.044715 * pre**3)))
        x = x + post @ w.mlp.c_proj.weight + w.mlp.c_proj.bias
    return norm(x, weights.ln_f) @ weights.wte.weight.T


def kl(before, after):
    p, q = (np.exp(x - np.logaddexp.reduce(x)) for x in (before, after))
    return (p * np.log(p / q)).sum()


# Ablation


def test_without_any_head_it_is_the_model_without_attention(gpt):
    expected = without_attention(gpt, TEXT)
    tap = ablation(gpt, heads=ALL_HEADS)
    np.testing.assert_allclose(gpt.forward(gpt.encode(TEXT), tap=tap), expected, atol=1e-10)
    found = ablate(gpt, TEXT, heads=ALL_HEADS, position=4)
    np.testing.assert_allclose(found.logits_after, expected[4], atol=1e-10)
    np.testing.assert_allclose(found.logits_before, gpt.logits(TEXT)[4], atol=1e-10)
    assert found.divergence == pytest.approx(kl(found.logits_before, found.logits_after))
    assert found.before[0].token == found.target_id == gpt.logits(TEXT)[4].argmax()
    assert found.after[0].token == expected[4].argmax()


def test_zeroing_a_head_is_zeroing_its_rows_of_w_output(gpt):
    sweep = ablate_each(gpt, TEXT, "heads", target="d")
    before = gpt.logits(TEXT)[-1]
    for layer, head in ALL_HEADS:

        def edit(t, layer=layer, head=head):
            t[f"h.{layer}.attn.c_proj.weight"][head * 8 : head * 8 + 8] = 0

        after = changed(gpt, edit).logits(TEXT)[-1]
        assert sweep.logit_change[layer, head] == pytest.approx(after[3] - before[3], abs=1e-9)
        assert sweep.divergence[layer, head] == pytest.approx(kl(before, after), abs=1e-9)
        assert sweep.top_ids[layer, head] == after.argmax()
        alone = ablate(gpt, TEXT, heads=[(layer, head)], target="d")
        np.testing.assert_allclose(alone.logits_after, after, atol=1e-10)
        assert alone.logprob_change == pytest.approx(sweep.logprob_change[layer, head], abs=1e-9)


def test_zeroing_an_mlp_is_zeroing_its_last_weights(gpt):
    sweep = ablate_each(gpt, TEXT, "mlps")
    for layer in range(3):

        def edit(t, layer=layer):
            t[f"h.{layer}.mlp.c_proj.weight"][:] = 0
            t[f"h.{layer}.mlp.c_proj.bias"][:] = 0

        after = changed(gpt, edit).logits(TEXT)[-1]
        assert sweep.divergence[layer] == pytest.approx(kl(gpt.logits(TEXT)[-1], after), abs=1e-9)
        found = ablate(gpt, TEXT, mlps=[layer])
        np.testing.assert_allclose(found.logits_after, after, atol=1e-10)


@pytest.mark.parametrize(("how", "row"), [("zero", 0), ("mean", None), ("resample", 15)])
def test_replacing_a_token(gpt, how, row):
    """The letter p stands nowhere in TEXT: its row of the table can be replaced instead."""
    text = "abcphgfa"
    table = gpt.model.weights.wte.weight
    new = {"zero": table[0] * 0, "mean": table.mean(0), "resample": table[9]}[how]
    reference = "jjjjjjjj" if how == "resample" else None

    def logits(ids):  # with `new` in place of p's embedding at the input only
        seen = gpt.forward(
            ids, tap=lambda name, x: np.where(mask, new, x) if name == "embed" else x
        )
        return seen[-1]

    mask = (np.arange(8) == 3)[None, :, None]
    expected = logits(gpt.encode(text))
    found = ablate(gpt, text, positions=[3], how=how, reference=reference)
    np.testing.assert_allclose(found.logits_after, expected, atol=1e-10)
    sweep = ablate_each(gpt, text, "positions", how=how, reference=reference)
    assert sweep.divergence[3] == pytest.approx(found.divergence, abs=1e-9)
    assert sweep.divergence.shape == (8,)


def test_resampling_a_token_is_reading_the_other_token(gpt):
    found = ablate(gpt, TEXT, positions=[2, 5], how="resample", reference=OTHER)
    mixed = "".join(OTHER[i] if i in (2, 5) else TEXT[i] for i in range(N))
    np.testing.assert_allclose(found.logits_after, gpt.logits(mixed)[-1], atol=1e-10)


def test_mean_and_resample_put_in_the_references_values(gpt):
    given = trace(gpt, OTHER)["blocks.1.attn.z"]
    for how, expected in (
        ("mean", np.broadcast_to(given.mean(0), given.shape)),
        ("resample", given),
    ):
        seen = {}

        def look(name, value, seen=seen):
            seen[name] = value
            return value

        tap = ablation(gpt, heads=[(1, 0), (1, 2)], how=how, reference=OTHER)
        gpt.forward(gpt.encode(TEXT), tap=compose(tap, look))
        z = seen["blocks.1.attn.z"][0]
        np.testing.assert_allclose(z[:, [0, 2]], expected[:, [0, 2]], atol=1e-10)
        np.testing.assert_allclose(z[:, 1], trace(gpt, TEXT)["blocks.1.attn.z"][:, 1], atol=1e-10)


def test_resampling_from_the_text_itself_changes_nothing(gpt):
    for how in ("heads", "mlps", "positions"):
        sweep = ablate_each(gpt, TEXT, how, how="resample", reference=TEXT)
        assert abs(sweep.divergence).max() < 1e-12
        shuffled = ablate_each(gpt, TEXT, how, how="resample", seed=3)
        assert shuffled.divergence.max() > 1e-6


def test_sweeps_agree_with_single_ablations_for_every_kind(gpt):
    for how in ("zero", "mean", "resample"):
        sweep = ablate_each(gpt, TEXT, "heads", how=how, position=5)
        alone = ablate(gpt, TEXT[:6], heads=[(2, 1)], how=how)
        assert sweep.divergence[2, 1] == pytest.approx(alone.divergence, abs=1e-9)
        where = sweep.strongest(1)[0][0]
        assert sweep.logprob_change[where] == sweep.logprob_change.min()


def test_large_sweeps_are_divided_into_batches(gpt, monkeypatch):
    from pellucid.inspect import edits

    whole = ablate_each(gpt, TEXT, "positions")
    monkeypatch.setattr(edits, "TOKENS_AT_ONCE", 20)  # two copies at a time
    np.testing.assert_allclose(ablate_each(gpt, TEXT, "positions").divergence, whole.divergence)


def test_ablating_while_generating(gpt):
    tap = ablation(gpt, heads=ALL_HEADS)
    text = gpt.generate("abc", max_tokens=5, greedy=True, tap=tap).text
    expected = "abc"
    for _ in range(5):
        expected += "abcdefghijklmnop"[without_attention(gpt, expected)[-1].argmax()]
    assert "abc" + text == expected
    assert gpt.generate("abc", max_tokens=5, greedy=True).text != text  # and nothing is left behind


def test_mistakes_in_ablations_are_named(gpt):
    for arguments, message in (
        ({"heads": [(3, 0)]}, "layer 3"),
        ({"heads": [(0, 3)]}, "head 3"),
        ({"positions": [8]}, "position 8"),
        ({"how": "none", "mlps": [0]}, "how must be"),
    ):
        with pytest.raises(InputError, match=message):
            ablate(gpt, TEXT, **arguments)
    with pytest.raises(InputError, match="over must be"):
        ablate_each(gpt, TEXT, "neurons")
    with pytest.raises(InputError, match="reference"):
        ablation(gpt, mlps=[0], how="mean")


# Patching


def test_everything_of_a_put_into_b_gives_a(gpt):
    expected = gpt.logits(TEXT)
    assert abs(gpt.logits(OTHER) - expected).max() > 0.1
    for names in ("*", "resid_pre", "blocks.2.resid_post", ["embed"]):
        np.testing.assert_allclose(patch(gpt, TEXT, OTHER, names), expected, atol=1e-10)


def test_patching_a_part(gpt):
    """Against the oracle that an input token is a whole column of the residual stream."""
    found = patch(gpt, TEXT, OTHER, "blocks.0.resid_pre", positions=[2, -1])
    mixed = "".join(TEXT[i] if i in (2, 7) else OTHER[i] for i in range(N))
    np.testing.assert_allclose(found, gpt.logits(mixed), atol=1e-10)
    a, b = trace(gpt, TEXT), trace(gpt, OTHER)
    for name, at in (("blocks.1.attn.pattern", np.s_[1, [4]]), ("blocks.1.attn.v", np.s_[[4], 1])):
        new = b[name].copy()
        new[at] = a[name][at]
        expected = gpt.forward(
            gpt.encode(OTHER), tap=Edits(gpt, {name: lambda value, new=new: new[None]})
        )
        found = patch(gpt, TEXT, OTHER, name, heads=1, positions=4)
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("over", ["positions", "heads"])
def test_the_sweep_agrees_with_single_patches(gpt, over):
    found = patch_each(gpt, TEXT, OTHER, over, target="d", versus="e")
    assert found.metric.shape == ((3, N) if over == "positions" else (3, 3))
    for layer in range(3):
        for i in range(found.metric.shape[1]):
            if over == "positions":
                logits = patch(gpt, TEXT, OTHER, "resid_pre", layers=layer, positions=i)
            else:
                logits = patch(gpt, TEXT, OTHER, "attn.z", layers=layer, heads=i)
            expected = logits[-1, 3] - logits[-1, 4]
            assert found.metric[layer, i] == pytest.approx(expected, abs=1e-9)
    logits = gpt.logits(TEXT)[-1]
    assert found.source_metric == pytest.approx(logits[3] - logits[4])
    gap = found.source_metric - found.base_metric
    np.testing.assert_allclose(found.recovered * gap + found.base_metric, found.metric)
    assert found.recovered[found.strongest(1)[0][0]] == found.recovered.max()


def test_patching_between_equal_prompts_recovers_nothing_to_recover(gpt):
    found = patch_each(gpt, TEXT, TEXT)
    assert np.isnan(found.recovered).all()
    np.testing.assert_allclose(found.metric, found.source_metric, atol=1e-9)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_prompts_of_other_lengths_are_refused(gpt):
    with pytest.raises(InputError, match="8 and 3 tokens"):
        patch_each(gpt, TEXT, "abc")
    with pytest.raises(InputError, match="8 and 3 tokens"):
        patch(gpt, TEXT, "abc")


# Steering


def test_strength_0_changes_nothing(gpt):
    vector = np.random.default_rng(0).normal(size=24)
    tap = steer(gpt, vector, 1, strength=0)
    ids = gpt.encode(TEXT)
    np.testing.assert_array_equal(gpt.forward(ids, tap=tap), gpt.logits(TEXT))


def test_steering_is_adding_to_the_embeddings_below(gpt):
    """Adding to the stream that enters layer 0 is adding to the position embeddings: at 2.5, in the
    vector's direction, 2.5 times as long as what is there."""
    vector = np.random.default_rng(0).normal(size=24) * 7  # its own length does not matter
    ids = gpt.encode(TEXT)
    weights = gpt.model.weights

    def edit(t, ids):
        for i, token in enumerate(ids):
            x = t["wte.weight"][token] + t["wpe.weight"][i]
            longer = 2.5 * math.sqrt(sum(x**2)) * vector / math.sqrt(sum(vector**2))
            t["wpe.weight"][i] += longer

    tap = steer(gpt, vector, 0, strength=2.5)
    other = changed(gpt, lambda t: edit(t, ids))
    np.testing.assert_allclose(gpt.forward(ids, tap=tap), other.logits(TEXT), atol=1e-10)
    tokens = gpt.encode("abc")
    for _ in range(6):  # each token alone: a generation's steps are steered too
        other = changed(gpt, lambda t: edit(t, tokens))
        tokens.append(int(other.logits(tokens)[-1].argmax()))
    text = gpt.generate("abc", max_tokens=6, greedy=True, tap=tap).text
    assert gpt.encode("abc" + text) == tokens
    assert gpt.generate("abc", max_tokens=6, greedy=True).text != text
    assert gpt.model.weights is weights


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
def test_strength_is_in_lengths_of_the_residual(gpt, layer, strength):
    """What is added is as long as what was there, at every position of every layer."""
    vector = np.random.default_rng(layer).normal(size=24)
    seen = {}

    def look(name, value):
        seen[name] = value[0]
        return value

    name = f"blocks.{layer}.resid_pre"
    tap = compose(look, steer(gpt, vector, layer, strength=strength))
    gpt.forward([gpt.encode(TEXT)], tap=tap)
    before = seen[name]
    gpt.forward([gpt.encode(TEXT)], tap=compose(steer(gpt, vector, layer, strength=strength), look))
    added = seen[name] - before
    lengths = [np.sqrt((row**2).sum()) for row in before]
    np.testing.assert_allclose(
        added @ vector / np.sqrt((vector**2).sum()), strength * np.asarray(lengths)
    )
    np.testing.assert_allclose(
        np.sqrt((added**2).sum(-1)), abs(strength) * np.asarray(lengths), rtol=1e-9
    )


def test_a_direction_is_the_difference_of_the_means(gpt):
    a, b = (trace(gpt, text, "resid_pre", layers=2)["blocks.2.resid_pre"] for text in (TEXT, "kl"))
    expected = [sum(a[:, i]) / N - sum(b[:, i]) / 2 for i in range(24)]
    np.testing.assert_allclose(direction(gpt, TEXT, "kl", 2), expected, atol=1e-12)


def test_texts_begin_a_document_that_is_not_counted():
    talk = pellucid.load("talk", dtype="float64")
    end = talk.tokenizer.end_of_text
    means = []
    for text in (" king", " jail"):
        ids = [end, *talk.encode(text)]
        means.append(trace(talk, ids, "resid_pre", layers=1)["blocks.1.resid_pre"][1:].mean(0))
    expected = means[0] - means[1]
    np.testing.assert_allclose(direction(talk, " king", " jail", 1), expected, atol=1e-12)
    found = steered(talk, "The power", towards="king", away=" jail", layer=1, greedy=True)
    np.testing.assert_allclose(found.direction, expected, atol=1e-12)  # with its space


def test_steering_holds_one_text_beside_the_other_with_the_same_seed():
    chat = pellucid.load("chat")
    prompt = Conversation(chat).prompt_ids("Tell me a story.")
    found = steered(chat, prompt, towards="the sea", seed=3, max_tokens=12)
    assert found.text_without == chat.generate(prompt, seed=3, max_tokens=12).text
    assert found.layer == 8
    assert found.strength == STRENGTH == 0.3
    assert found.away == "Tell me a story."  # without the template's tokens
    tap = steer(chat, direction(chat, " the sea", "Tell me a story.", 8), 8)
    assert found.text == chat.generate(prompt, seed=3, max_tokens=12, tap=tap).text
    assert found.text != found.text_without
    logits = chat.model.backend.to_numpy(chat.forward(prompt, tap=tap))[-1]
    np.testing.assert_allclose(found.logits_after, logits, atol=1e-4)


def test_the_whole_difference_carries_one_text_to_the_other(gpt):
    """Of texts of one token, adding all of the difference to one gives the other."""
    vector = direction(gpt, "p", "d", 2)
    length = np.linalg.norm(trace(gpt, "d", "resid_pre", layers=2)["blocks.2.resid_pre"])
    tap = steer(gpt, vector, 2, strength=np.linalg.norm(vector) / length)
    np.testing.assert_allclose(gpt.forward(gpt.encode("d"), tap=tap), gpt.logits("p"), atol=1e-10)


def test_taps_compose_in_order(gpt):
    one = Edits(gpt, {"blocks.1.mlp_out": lambda x: x * 0 + 1})
    two = Edits(gpt, {"blocks.1.mlp_out": lambda x: x * 3})
    name, value = "blocks.1.mlp_out", np.ones(2) * 5
    assert compose(one, two)(name, value).tolist() == [3, 3]
    assert compose(two, one)(name, value).tolist() == [1, 1]
    assert compose(one, two)("embed", value) is value
    halves = compose(steer(gpt, np.ones(24), 1, strength=0.5), steer(gpt, np.arange(24.0), 2))
    ids = gpt.encode(TEXT)
    once = steer(gpt, np.ones(24), 1, strength=0.5)
    assert halves.wants("blocks.1.resid_pre")
    assert not halves.wants("blocks.1.attn.pattern")
    assert abs(gpt.forward(ids, tap=halves) - gpt.forward(ids, tap=once)).max() > 0.01


def test_edits_take_transformer_lens_names(gpt):
    ids = gpt.encode(TEXT)
    ours, theirs = (
        gpt.forward(ids, tap=Edits(gpt, {name: lambda x: x / 2}))
        for name in ("blocks.1.attn.scores", "blocks.1.attn.hook_attn_scores")
    )
    np.testing.assert_array_equal(ours, theirs)
    assert abs(ours - gpt.logits(TEXT)).max() > 1e-3


def test_mistakes_in_steering_are_named(gpt):
    with pytest.raises(InputError, match="n_embd = 24"):
        steer(gpt, np.zeros(23), 0)
    with pytest.raises(InputError, match="has no length"):
        steer(gpt, np.zeros(24), 0)
    with pytest.raises(InputError, match="finite"):
        steer(gpt, np.full(24, np.nan), 0)
    with pytest.raises(InputError, match="layer 3"):
        steer(gpt, np.zeros(24), 3)
    with pytest.raises(InputError, match="no value"):
        Edits(gpt, {"blocks.9.mlp_out": lambda x: x})


def test_torch_gives_the_same_answers(gpt):
    needs("torch")
    other = random_gpt("float64", backend="torch")
    for over in ("heads", "mlps", "positions"):
        for how in ("zero", "mean", "resample"):
            a = ablate_each(gpt, TEXT, over, how=how)
            b = ablate_each(other, TEXT, over, how=how)
            np.testing.assert_allclose(b.divergence, a.divergence, atol=1e-9)
            parts = {"heads": [(1, 2)], "mlps": [1], "positions": [1]}[over]
            a = ablate(gpt, TEXT, how=how, **{over: parts})
            b = ablate(other, TEXT, how=how, **{over: parts})
            np.testing.assert_allclose(b.logits_after, a.logits_after, atol=1e-9)
    for over in ("positions", "heads"):
        a, b = (patch_each(each, TEXT, OTHER, over) for each in (gpt, other))
        np.testing.assert_allclose(b.metric, a.metric, atol=1e-9)
    np.testing.assert_allclose(patch(other, TEXT, OTHER, "*"), gpt.logits(TEXT), atol=1e-9)
    tap = steer(other, direction(other, TEXT, OTHER, 1), 1)
    expected = gpt.forward(gpt.encode(TEXT), tap=steer(gpt, direction(gpt, TEXT, OTHER, 1), 1))
    found = other.model.backend.to_numpy(other.forward(other.encode(TEXT), tap=tap))
    np.testing.assert_allclose(found, expected, atol=1e-9)


# Progress


@pytest.mark.parametrize("over", ["heads", "mlps", "positions"])
def test_a_sweep_tells_how_far_it_is(gpt, over, monkeypatch):
    monkeypatch.setattr("pellucid.inspect.edits.TOKENS_AT_ONCE", 2 * N)
    told = []
    swept = ablate_each(gpt, TEXT, over, progress=lambda *counts: told.append(counts))
    total = swept.divergence.size
    assert told[-1] == (total, total)
    done = [each for each, _ in told]
    assert done == sorted(set(done))
    assert max(np.diff([0, *done])) <= 2
    again = ablate_each(gpt, TEXT, over)
    np.testing.assert_array_equal(again.divergence, swept.divergence)


@pytest.mark.parametrize("over", ["heads", "positions"])
def test_patching_tells_how_far_it_is(gpt, over):
    told = []
    patched = patch_each(gpt, TEXT, OTHER, over, progress=lambda *counts: told.append(counts))
    n_layer, n = patched.metric.shape
    assert told == [(n * layer, n * n_layer) for layer in range(1, n_layer + 1)]


def test_why_counts_all_its_sweeps_as_one(gpt):
    told = []
    why(gpt, TEXT, labels=False, progress=lambda *counts: told.append(counts))
    total = N + 3 * 3 + 3  # tokens, heads, MLPs
    assert told[-1] == (total, total)
    assert [each for each, _ in told] == sorted({each for each, _ in told})


def test_what_progress_raises_ends_the_sweep(gpt):
    def enough(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate_each(gpt, TEXT, progress=enough)

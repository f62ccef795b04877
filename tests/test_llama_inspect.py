"""What is asked about a GPT-2 is asked about a Llama: the same questions, the same exactness."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import inspect
from pellucid.gpt import GPT
from support.models import lively, llama_gpt
from support.skips import needs

TEXT = "the cat sat"


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return llama_gpt(qk_norm=True)


def test_the_shares_of_a_logit_sum_to_it(gpt: GPT) -> None:
    """Under an RMS norm, with grouped values, of an output layer of its own; each head's share is
    what the logit loses where the norm's scale is held and the head's result taken away."""
    found = inspect.attribute(gpt, TEXT)
    np.testing.assert_allclose(found.total, found.logit, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.sources.sum(-1), found.heads, rtol=0, atol=1e-10)
    assert found.pos_embed is None
    assert "pos_embed" not in dict(found.parts())
    seen = inspect.trace(gpt, TEXT, ["*", "*result"])
    direction = gpt.model.tensors()["lm_head.weight"][found.target_id]
    direction = direction * gpt.model.tensors()["ln_f.weight"] / seen["ln_final.scale"][-1]
    for layer, head in np.ndindex(2, 4):
        result = seen[f"blocks.{layer}.attn.result"][-1, head]
        np.testing.assert_allclose(found.heads[layer, head], result @ direction, atol=1e-10)


def test_patterns_from_queries_and_keys_are_those_of_the_pass(gpt: GPT) -> None:
    view = inspect.view(gpt, TEXT)
    for layer in range(2):
        pattern = inspect.trace(gpt, TEXT)[f"blocks.{layer}.attn.pattern"]
        np.testing.assert_allclose(view.attention.pattern[layer], pattern, rtol=0, atol=1e-12)
    np.testing.assert_allclose(view.attribution.total, view.attribution.logit, atol=1e-10)


def test_every_question_has_an_answer(gpt: GPT) -> None:
    why = inspect.why(gpt, TEXT)
    assert len(why.sentences) >= 4
    ids = gpt.encode(TEXT)
    swept = inspect.ablate_each(gpt, TEXT, "positions", how="mean")
    alone = inspect.ablate(gpt, TEXT, positions=[3], how="mean", target=swept.target_id)
    np.testing.assert_allclose(swept.logprob_change[3], alone.logprob_change, atol=1e-10)
    heads = inspect.ablate_each(gpt, TEXT, "heads")
    alone = inspect.ablate(gpt, TEXT, heads=[(1, 2)], target=heads.target_id)
    np.testing.assert_allclose(heads.logprob_change[1, 2], alone.logprob_change, atol=1e-10)
    patched = inspect.patch_each(gpt, TEXT, "the cat set")
    assert all(np.isfinite(each).all() for each in patched.each_array())
    vector = inspect.direction(gpt, "good", "bad", 1)
    before, after = (
        gpt.forward([ids], tap=tap)[0, -1] for tap in (None, inspect.steer(gpt, vector, 1))
    )
    assert np.abs(before - after).max() > 1e-3
    found = inspect.neighbours(gpt, 5)
    assert found.ids[0] == 5
    assert inspect.head_labels(gpt).scores["self"].shape == (2, 4)


def test_declared_changes_reach_a_key_that_several_heads_share(gpt: GPT) -> None:
    """Of grouped values "head" counts the heads of keys."""
    off = [inspect.Intervention(name="attn.v", op="suppress", layer=1, head=1)]
    seen = inspect.Recorder(gpt, "blocks.1.attn.z")
    gpt.forward([gpt.encode(TEXT)], tap=inspect.compose(inspect.intervene(gpt, off), seen))
    z = seen.passes[0]["blocks.1.attn.z"][0]
    assert (z[:, 2:] == 0).all()
    assert (np.abs(z[:, :2]).max(0) > 0).all()
    with pytest.raises(inspect.OverBudget):
        inspect.trace(gpt, TEXT, budget_bytes=100)
    cost = inspect.estimate(gpt, TEXT)
    trace = inspect.trace(gpt, TEXT)
    assert cost.n_bytes == trace.n_bytes
    assert trace["attn.hook_rot_q".replace("attn", "blocks.0.attn")].shape == (10, 4, 6)
    assert (
        inspect.transformer_lens_name("blocks.0.mlp.pre_linear") == "blocks.0.mlp.hook_pre_linear"
    )


def test_the_walk_says_what_is_computed(gpt: GPT) -> None:
    way = inspect.walk(gpt, TEXT, layer=1, head=3)
    values, words = way.values, " ".join(word for step in way.steps for word in step.words)
    q, k = values["blocks.1.attn.rot_q"][:, 3], values["blocks.1.attn.rot_k"][:, 1]
    np.testing.assert_allclose(q @ k.T / np.sqrt(6), values["blocks.1.attn.qk"][3], atol=1e-10)
    assert "turn" in words
    assert "4 heads of queries share 2" in words
    assert "GPT-2 norms" not in words
    assert "pos_embed" not in values
    assert way.steps[8].formula == "logits = norm(x) · headᵀ"


def test_gradients_and_an_adapter(tmp_path) -> None:
    """Through the page itself: torch differentiates what chats."""
    torch = needs("torch")
    from pellucid.backend.torch import TorchBackend
    from pellucid.train.module import GPTModule

    gpt = llama_gpt("torch", qkv_bias=True, tied=True)
    found = inspect.integrated_gradients(gpt, TEXT, steps=64)
    assert np.isfinite(found.scores).all()
    module = GPTModule(gpt.hparams, lively(gpt.hparams), TorchBackend(training=True))
    ids = torch.tensor([gpt.encode(TEXT)])
    loss = module(ids[:, :-1], ids[:, 1:])
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    plain = gpt.logits(TEXT)
    np.testing.assert_allclose(module(ids)[0].detach().numpy(), plain, rtol=0, atol=1e-4)


def test_the_weights_of_one_layer_alone(gpt: GPT) -> None:
    every, one = gpt.model.tensors(), gpt.model.tensors("h.1.")
    assert list(one) == [name for name in every if name.startswith("h.1.")]
    for name, array in one.items():
        np.testing.assert_array_equal(array, every[name])

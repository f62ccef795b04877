"""Recording: what is kept, under which names, at what cost."""

import json

import numpy as np
import pytest

from pellucid.errors import ContextError, InputError
from pellucid.families.transformer import TransformerHParams
from pellucid.inspect import (
    Recorder,
    Trace,
    canonical_name,
    compose,
    estimate,
    select,
    trace,
    transformer_lens_name,
)
from pellucid.taps import tap_names
from pellucid.weights import flatten
from support.circuits import random_gpt
from support.models import llama_gpt
from support.skips import needs

TEXT = "abcahgfa"
N = len(TEXT)


@pytest.fixture(scope="module")
def gpt():
    return random_gpt()


def test_every_value_is_there_in_order_with_the_shape_the_table_says(gpt):
    found = trace(gpt, TEXT)
    expected = [name for name in tap_names(gpt.hparams) if not name.endswith("attn.result")]
    assert list(found) == expected
    size = {"position": N, "query": N, "key": N, "head": 3, "d_k": 8, "n_embd": 24, "1": 1}
    size |= {"4 · n_embd": 96, "n_vocab": 16}
    for name in found:
        assert found[name].shape == tuple(size[axis] for axis in found.axes(name)), name
    assert found.tokens == tuple(TEXT)


def test_the_values_are_the_models(gpt):
    """Against the equations, written out here."""
    t = trace(gpt, TEXT, ["*", "attn.result"])
    tensors = gpt.model.weights
    x = t["embed"] + t["pos_embed"]
    for i, w in enumerate(tensors.h):
        at = f"blocks.{i}"
        np.testing.assert_allclose(t[f"{at}.resid_pre"], x, atol=1e-5)
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(t[f"{at}.ln1.scale"], scale, rtol=1e-4)
        q, k = t[f"{at}.attn.q"], t[f"{at}.attn.k"]
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(8)
        np.testing.assert_allclose(t[f"{at}.attn.qk"], scores, rtol=1e-3, atol=1e-4)
        future = np.triu(np.ones((N, N), bool), 1)
        assert (t[f"{at}.attn.scores"][:, future] == -np.inf).all()
        pattern = t[f"{at}.attn.pattern"]
        assert (pattern[:, future] == 0).all()
        np.testing.assert_allclose(pattern.sum(-1), 1, atol=1e-5)
        z = np.einsum("hqk,khd->qhd", pattern, t[f"{at}.attn.v"])
        np.testing.assert_allclose(t[f"{at}.attn.z"], z, atol=1e-4)
        total = t[f"{at}.attn.result"].sum(1) + w.attn.c_proj.bias
        np.testing.assert_allclose(t[f"{at}.attn_out"], total, atol=1e-4)
        x = t[f"{at}.resid_mid"] + t[f"{at}.mlp_out"]
        np.testing.assert_allclose(t[f"{at}.resid_post"], x, atol=1e-5)
    np.testing.assert_allclose(t["logits"], gpt.logits(TEXT), atol=1e-3)


def test_hidden_states_and_attentions_are_hugging_faces(gpt):
    torch = needs("torch")
    transformers = needs("transformers")
    from pellucid.weights import flatten

    exact = random_gpt("float64")
    config = transformers.GPT2Config(
        vocab_size=16, n_positions=24, n_embd=24, n_layer=3, n_head=3, attn_implementation="eager"
    )
    peer = transformers.GPT2LMHeadModel(config).double().eval()
    named = flatten(exact.model.weights, exact.hparams)
    peer.transformer.load_state_dict({k: torch.tensor(v) for k, v in named.items()}, strict=False)
    with torch.no_grad():
        out = peer(
            torch.tensor([exact.encode(TEXT)]), output_hidden_states=True, output_attentions=True
        )
    found = trace(exact, TEXT)
    for i in range(3):
        pre = out.hidden_states[i][0].numpy()
        np.testing.assert_allclose(found[f"blocks.{i}.resid_pre"], pre, atol=1e-9)
        pattern = out.attentions[i][0].numpy()
        np.testing.assert_allclose(found[f"blocks.{i}.attn.pattern"], pattern, atol=1e-9)
    np.testing.assert_allclose(found["logits"], out.logits[0].numpy(), atol=1e-9)


def test_transformer_lens_names(gpt):
    found = trace(gpt, TEXT)
    pairs = {
        "blocks.0.attn.hook_q": "blocks.0.attn.q",
        "blocks.1.attn.hook_attn_scores": "blocks.1.attn.scores",
        "blocks.0.hook_resid_pre": "blocks.0.resid_pre",
        "blocks.2.ln1.hook_scale": "blocks.2.ln1.scale",
        "ln_final.hook_scale": "ln_final.scale",
        "blocks.0.ln1.hook_normalized": "blocks.0.ln1.normalized",
        "blocks.0.ln1.hook_out": "blocks.0.ln1.out",
        "hook_embed": "embed",
        "blocks.0.hook_attn_out": "blocks.0.attn_out",
    }
    for theirs, ours in pairs.items():
        assert found[theirs] is found[ours]
        assert theirs in found
        assert transformer_lens_name(ours) == theirs
    for name in tap_names(gpt.hparams):
        theirs = transformer_lens_name(name)
        assert canonical_name(theirs or name) == name
        assert theirs is None or select(gpt.hparams, theirs) == [name]


def test_transformer_lens_names_of_other_families():
    """As in its components: abstract_attention, gated_mlp, and t5_block of HookedEncoderDecoder."""
    llama, digits = llama_gpt(qk_norm=True).hparams, TransformerHParams(20, 8, 16, 2, 2)
    pairs = {
        "blocks.1.attn.rot_q": "blocks.1.attn.hook_rot_q",
        "blocks.1.attn.rot_k": "blocks.1.attn.hook_rot_k",
        "blocks.1.mlp.pre": "blocks.1.mlp.hook_pre",
        "blocks.1.mlp.pre_linear": "blocks.1.mlp.hook_pre_linear",
        "blocks.1.attn.q_norm.scale": "blocks.1.attn.q_norm.hook_scale",
        "encoder.blocks.1.attn.scores": "encoder.1.attn.hook_attn_scores",
        "decoder.blocks.1.cross.q": "decoder.1.cross_attn.hook_q",
        "decoder.blocks.1.cross.scores": "decoder.1.cross_attn.hook_attn_scores",
        "decoder.blocks.1.cross_out": "decoder.1.hook_cross_attn_out",
        "decoder.blocks.1.resid_mid_cross": "decoder.1.hook_resid_mid_cross",
        "encoder.pos_embed": None,
    }
    known = {*tap_names(llama), *tap_names(digits)}
    for ours, theirs in pairs.items():
        assert ours in known
        assert transformer_lens_name(ours) == theirs
    for name in known:
        assert canonical_name(transformer_lens_name(name) or name) == name


def test_choosing_by_pattern_layer_head_and_position(gpt):
    whole = trace(gpt, TEXT)
    assert list(trace(gpt, TEXT, "attn.pattern", layers=[0, -1])) == [
        "blocks.0.attn.pattern",
        "blocks.2.attn.pattern",
    ]
    assert list(trace(gpt, TEXT, ["blocks.1.*", "logits"], layers=1))[-1] == "logits"
    some = trace(gpt, TEXT, heads=[2, 0], positions=[np.int64(-1), 3])
    assert (some.heads, some.positions) == ((2, 0), (7, 3))
    np.testing.assert_array_equal(
        some["blocks.1.attn.pattern"], whole["blocks.1.attn.pattern"][[2, 0]][:, [7, 3]]
    )
    np.testing.assert_array_equal(
        some["blocks.1.attn.z"], whole["blocks.1.attn.z"][[7, 3]][:, [2, 0]]
    )
    np.testing.assert_array_equal(some["blocks.1.mlp.post"], whole["blocks.1.mlp.post"][[7, 3]])
    np.testing.assert_array_equal(some["logits"], whole["logits"][[7, 3]])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"names": "attn.*"},
        {"names": "attn.result", "heads": 1},
        {"layers": 1, "positions": [0, 2]},
        {"names": ["logits", "*.scale"], "positions": -1},
    ],
)
def test_the_estimate_is_what_it_takes_and_the_budget_holds(gpt, arguments):
    cost = estimate(gpt, TEXT, **arguments)
    found = trace(gpt, TEXT, budget_bytes=cost.n_bytes, **arguments)
    assert (found.n_bytes, len(found)) == (cost.n_bytes, cost.n_values)
    assert estimate(gpt, N, **arguments) == cost
    assert json.dumps(cost.to_dict())
    with pytest.raises(InputError, match="names, layers, heads or positions"):
        trace(gpt, TEXT, budget_bytes=cost.n_bytes - 1, **arguments)


def test_over_budget_nothing_runs(gpt):
    ran = []

    class Spy:
        hparams, model, tokenizer, encode = gpt.hparams, gpt.model, gpt.tokenizer, gpt.encode

        def forward(self, *arguments, **more):
            ran.append(1)

    with pytest.raises(InputError):
        trace(Spy(), TEXT, budget_bytes=10)
    assert not ran


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": "attn.patern"}, "attn.pattern"),
        ({"layers": 3}, "layer 3"),
        ({"heads": [0, 7]}, "head 7"),
        ({"positions": 8}, "position 8"),
        ({"positions": -9}, "position -9"),
    ],
)
def test_mistakes_are_named(gpt, arguments, message):
    with pytest.raises(InputError, match=message):
        trace(gpt, TEXT, **arguments)


def test_empty_long_and_unknown_texts(gpt):
    with pytest.raises(InputError, match="empty"):
        trace(gpt, "")
    with pytest.raises(ContextError):
        trace(gpt, "a" * 25)
    for wrong in (-1, 16):
        with pytest.raises(InputError, match="vocabulary"):
            trace(gpt, [0, wrong])


def test_recording_changes_nothing(gpt):
    plain = gpt.logits(TEXT)
    recorder = Recorder(gpt, ["resid_post", "mlp.post"])
    np.testing.assert_array_equal(gpt.forward(gpt.encode(TEXT), tap=recorder), plain)


def test_what_is_not_wanted_is_not_made(gpt):
    assert not Recorder(gpt).wants("blocks.0.attn.result")
    assert Recorder(gpt, "*result").wants("blocks.0.attn.result")
    assert not Recorder(gpt, "resid_pre").wants("blocks.0.attn.pattern")
    both = compose(Recorder(gpt, "resid_pre"), Recorder(gpt, "attn.pattern"))
    assert both.wants("blocks.0.attn.pattern")
    assert not both.wants("blocks.0.attn.qk")


def test_save_and_load(gpt, tmp_path):
    found = trace(gpt, TEXT, heads=[1, 2], positions=[1, 5])
    path = tmp_path / "values.safetensors"
    found.save(path)
    back = Trace.load(path)
    assert list(back) == list(found)
    for name in found:
        np.testing.assert_array_equal(back[name], found[name])
    for what in ("ids", "tokens", "positions", "heads", "hparams"):
        assert getattr(back, what) == getattr(found, what)


def test_traces_are_compared_by_identity(gpt):
    one, other = trace(gpt, TEXT, "resid_pre"), trace(gpt, TEXT, "resid_pre")
    assert one == one
    assert one != other
    assert len({one, other}) == 2
    assert "resid_pre" not in repr(one)  # nor its numbers


def test_other_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(InputError, match="cannot be read"):
        Trace.load(tmp_path / "absent")
    path = tmp_path / "other.safetensors"
    save_file({"x": np.ones(2)}, path)
    with pytest.raises(InputError, match="not a trace"):
        Trace.load(path)
    save_file({"x": np.ones(2)}, path, metadata={"format": "pellucid trace 1", "ids": "[1"})
    with pytest.raises(InputError, match="damaged"):
        Trace.load(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        Trace.load(path)


def test_a_generation_recorded_step_by_step_equals_its_text_traced_at_once():
    gpt = random_gpt("float64")
    recorder = Recorder(gpt)
    generation = gpt.generate("abca", max_tokens=6, greedy=True, tap=recorder)
    assert generation.text == gpt.generate("abca", max_tokens=6, greedy=True).text
    found = recorder.trace(generation)
    assert len(recorder.passes) == 6
    whole = trace(gpt, generation.tokens[:-1])
    assert found.positions == whole.positions
    assert found.ids == generation.tokens
    for name in whole:
        expected = whole[name][3:] if name == "logits" else whole[name]
        if name.endswith("qk"):  # a step never computes what its keys do not reach
            later = np.arange(9) > np.maximum(np.arange(9), 3)[:, None]
            assert np.isnan(found[name][:, later]).all()
            expected = np.where(later, np.nan, expected)
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_generation_that_follows_another_is_placed_behind_it(gpt):
    first = gpt.generate("abca", max_tokens=3, greedy=True)
    list(first)
    recorder = Recorder(gpt, ["resid_post", "attn.pattern"], layers=2)
    second = gpt.generate(
        [*first.tokens, 4, 5], max_tokens=2, greedy=True, tap=recorder, follows=first
    )
    with pytest.raises(InputError, match="no pass"):
        recorder.trace(second)
    list(second)
    found = recorder.trace(second)
    assert found.positions == (6, 7, 8, 9)
    whole = trace(gpt, second.tokens[:-1])
    for name in found:
        rows = whole[name][:, 6:] if "pattern" in name else whole[name][6:]
        np.testing.assert_allclose(found[name], rows, atol=1e-4)
    list(gpt.generate("abcabcabc", max_tokens=6, greedy=True, tap=recorder))
    with pytest.raises(InputError, match="more than this generation"):
        recorder.trace(second)
    recorder.clear()
    assert recorder.n_bytes == 0


def test_newest_position_of_each_step(gpt):
    recorder = Recorder(gpt, "resid_post", positions=-1)
    generation = gpt.generate("abca", max_tokens=3, greedy=True, tap=recorder)
    list(generation)
    assert recorder.trace(generation).positions == (3, 4, 5)


def test_a_recorder_stops_at_its_budget_and_loses_nothing(gpt):
    recorder = Recorder(gpt, "resid_post", budget_bytes=3 * 24 * 4 * 5)
    generation = gpt.generate("abca", max_tokens=6, greedy=True, tap=recorder)
    with pytest.raises(InputError, match="budget"):
        list(generation)
    assert recorder.n_bytes == recorder.budget_bytes
    assert len(generation.tokens) == 6


def test_torch_records_the_same(gpt):
    needs("torch")
    found, other = trace(gpt, TEXT), trace(random_gpt(backend="torch"), TEXT)
    for name in found:
        np.testing.assert_allclose(other[name], found[name], rtol=1e-3, atol=1e-3, err_msg=name)
    some = trace(random_gpt(backend="torch"), TEXT, heads=1, positions=[0, -1])
    np.testing.assert_allclose(
        some["blocks.0.attn.q"], found["blocks.0.attn.q"][[0, 7]][:, [1]], atol=1e-4
    )


def test_activation_cache_needs_transformer_lens(gpt):
    found = trace(gpt, TEXT, "resid_pre")
    try:
        import transformer_lens  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install transformer-lens"):
            found.to_activation_cache()
    else:
        cache = found.to_activation_cache()
        np.testing.assert_array_equal(cache["resid_pre", 0].numpy(), found["blocks.0.resid_pre"])


def test_the_values_are_those_of_transformer_lens(tmp_path):
    """By hand, in an environment with transformer-lens 4.x; see CONTRIBUTING.md."""
    needs("transformer_lens")
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2LMHeadModel, GPT2TokenizerFast

    import pellucid
    from pellucid import checkpoint

    ours = pellucid.load("talk")
    tensors = flatten(ours.model.weights, ours.hparams)
    checkpoint.save(tmp_path / "m", ours.hparams, tensors, ours.tokenizer, format="hf")
    hf = GPT2LMHeadModel.from_pretrained(tmp_path / "m", attn_implementation="eager").eval()
    bridge = TransformerBridge.boot_transformers(
        str(tmp_path / "m"),
        hf_model=hf,
        tokenizer=GPT2TokenizerFast.from_pretrained(tmp_path / "m"),
    )
    ids = ours.encode("The power clapper")
    with torch.no_grad():
        theirs = bridge.run_with_cache(torch.tensor([ids]))[1]
    found = trace(pellucid.load(tmp_path / "m"), ids)
    cache = found.to_activation_cache(bridge)
    assert set(cache.keys()) <= set(theirs.keys())
    for name in cache.keys():  # noqa: SIM118
        seen = torch.isfinite(cache[name])  # of scores, their mask is float32's lowest number
        value = theirs[name].reshape(seen.shape)
        torch.testing.assert_close(cache[name][seen], value[seen], atol=1e-4, rtol=1e-4, msg=name)
    stacked = cache.accumulated_resid()
    torch.testing.assert_close(stacked, theirs.accumulated_resid()[:, 0], atol=1e-4, rtol=1e-4)


# What is read of a recording


@pytest.mark.parametrize("positions", [None, -1, [0, 1, 4]])
def test_the_newest_row_is_the_last_of_the_trace(positions):
    gpt = random_gpt("float64")
    recorder = Recorder(gpt, ["attn.pattern", "attn.q", "pos_embed", "logits"], positions=positions)
    generation = gpt.generate("abca", greedy=True, max_tokens=3, record=recorder)
    rows = [recorder.newest() for _ in generation]
    found = recorder.trace(generation)
    kept = [at for at in (3, 4, 5) if at in found.positions]
    assert [bool(row) for row in rows] == [at in kept for at in (3, 4, 5)]
    for name, array in found.items():
        axis = found.axes(name).index("query" if "pattern" in name else "position")
        by_row = np.moveaxis(array, axis, 0)[-len(kept) :]
        for own, whole in zip([row for row in rows if row], by_row, strict=True):
            n = own[name].shape[-1]
            np.testing.assert_array_equal(own[name], whole[..., :n])


def test_some_positions_of_a_trace():
    gpt = random_gpt("float64")
    recorder = Recorder(gpt, ["attn.pattern", "mlp_out", "logits"])
    generation = gpt.generate("abca", greedy=True, max_tokens=4, record=recorder)
    assert generation.steps
    found = recorder.trace(generation)
    some = found.narrowed("*", positions=[5, 1, -4])
    assert some.positions == (5, 1, 4)
    np.testing.assert_array_equal(
        some["blocks.1.attn.pattern"], found["blocks.1.attn.pattern"][:, [5, 1, 4]]
    )
    np.testing.assert_array_equal(some["blocks.0.mlp_out"], found["blocks.0.mlp_out"][[5, 1, 4]])
    # A generation's logits are those that a token was chosen from: of positions 3 to 6.
    np.testing.assert_array_equal(some["logits"], found["logits"][[2, 1]])
    with pytest.raises(InputError, match="position 1 was not recorded"):
        found.narrowed(positions=[2]).narrowed(positions=[1])
    with pytest.raises(InputError, match="no position 9"):
        found.narrowed(positions=[9])


def test_a_traces_bytes_are_its_file(tmp_path):
    found = trace(random_gpt("float64"), "abca", "attn.q")
    found.save(tmp_path / "one.safetensors")
    (tmp_path / "two.safetensors").write_bytes(found.to_bytes())
    one, two = (Trace.load(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert list(one) == list(two) == list(found)
    assert (one.ids, one.positions, one.text) == (two.ids, two.positions, two.text)
    for name, array in found.items():
        np.testing.assert_array_equal(one[name], array)
        np.testing.assert_array_equal(two[name], array)

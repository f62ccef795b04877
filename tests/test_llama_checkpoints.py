"""Llama's relatives from Hugging Face's files and llama.cpp's: logits beside transformers, what
changes the maths computed or refused by name, the same tensors through every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.errors import CheckpointError
from pellucid.families.llama import LlamaHParams
from support.models import model, parameters, run
from support.skips import BACKENDS, needs
from support.write_gguf import edited

SHAPE = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager",
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
# Our name → the class of transformers' config, and what is set in it.
KINDS = {
    "llama": ("LlamaConfig", {}),
    "smollm2": ("LlamaConfig", {"tie_word_embeddings": True, "num_key_value_heads": 3}),
    "llama 3": ("LlamaConfig", {"rope_parameters": LLAMA3, "head_dim": 12}),
    "linear": ("LlamaConfig", {"rope_parameters": {
        "rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
    "dynamic": ("LlamaConfig", {"rope_parameters": {
        "rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}),
    "mistral": ("MistralConfig", {"sliding_window": 40}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "yarn": ("Qwen3Config", {"head_dim": 16, "rope_parameters": YARN}),
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def theirs(request, tmp_path_factory):
    """transformers' model with random weights, and the folder that it was saved in."""
    folder = tmp_path_factory.mktemp("theirs")
    return saved(request.param, folder), folder


def saved(kind: str, folder: Path):
    """transformers' model of one of KINDS with random weights, written into a folder."""
    torch, transformers = needs("torch"), needs("transformers")
    name, changes = KINDS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, name)(**{**SHAPE, **changes})
    made = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # biases and gains too
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1) * 0.7)
    made.save_pretrained(folder)
    return made


def logits_of(theirs, tokens: np.ndarray) -> np.ndarray:
    torch = needs("torch")
    with torch.no_grad():
        return theirs(torch.tensor(tokens)).logits.numpy()


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_equal_transformers(backend: str, theirs) -> None:
    made, folder = theirs
    loaded = checkpoint.load(folder)
    # Within its window a token sees all: beyond it transformers' Mistral does not.
    assert loaded.hparams.n_ctx == (getattr(made.config, "sliding_window", None) or 64)
    tokens = np.random.default_rng(2).integers(0, 97, (2, loaded.hparams.n_ctx))
    expected = logits_of(made, tokens)
    got = run(model(loaded.hparams, loaded.tensors, backend), tokens)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    assert (got.argmax(-1) == expected.argmax(-1)).all()


def test_what_is_saved_is_what_transformers_loads(tmp_path: Path, theirs) -> None:
    """And what Pellucid's own folder gives back."""
    transformers = needs("transformers")
    made, folder = theirs
    loaded = checkpoint.load(folder)
    for format in ("hf", "pellucid"):
        out = checkpoint.save(tmp_path / format, loaded.hparams, loaded.tensors, format=format)
        again = checkpoint.load(out)
        assert again.hparams == loaded.hparams
        assert all((again.tensors[name] == value).all() for name, value in loaded.tensors.items())
    back, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "hf", output_loading_info=True, attn_implementation="eager"
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    tokens = np.arange(30)[None]
    np.testing.assert_allclose(logits_of(back, tokens), logits_of(made, tokens), atol=1e-5)


GOOD = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 97,
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 1, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "hidden_act": "silu", "rope_theta": 1e4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_scaling": {"type": "su", "factor": 2.0}}, "scaled by 'su'"),
        ({"rope_scaling": {"type": "longrope", "long_factor": []}}, "longrope"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "lacks low_freq_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "mscale"),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "whole heads",
        ),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu; it must be silu"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"num_experts": 8}, "num_experts"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "must be LlamaForCausalLM"),
        ({"num_key_value_heads": 4}, "multiple of n_kv_head"),
        ({"head_dim": 7}, "must be even"),
        ({"hidden_size": None}, "hidden_size"),
        ({"auto_map": {}}, "auto_map is refused"),
        ({"model_type": "mixtral"}, "must be gpt2, llama, mistral, qwen2, qwen3"),
        ({"layer_types": ["chunked_attention"]}, "layer_types"),
        (
            {"model_type": "mistral", "architectures": None, "sliding_window": "all"},
            "sliding_window",
        ),
    ],
)
def test_what_would_change_the_maths_is_refused_by_name(tmp_path: Path, change, said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GOOD | change))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(tmp_path)


def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    hparams = LlamaHParams(
        n_vocab=97, n_ctx=64, n_embd=48, n_head=6, n_layer=1, n_kv_head=2, d_head=8, n_inner=80
    )
    folder = checkpoint.save(tmp_path / "whole", hparams, parameters(hparams), format="hf")
    path = folder / "model.safetensors"
    whole = load_file(path)
    key = "model.layers.0.self_attn.k_proj.weight"
    for damaged, said in (
        ({n: v for n, v in whole.items() if n != key}, f"missing tensors: {key}"),
        (whole | {"model.layers.0.q.bias": whole["model.norm.weight"]}, "q.bias"),
        (
            whole | {key: whole[key][1:].copy()},
            r"\[15, 48\]; the hyperparameters ask for \[16, 48\]",
        ),
        (whole | {key: whole[key] * np.float32("nan")}, "holds nan"),
    ):
        save_file(damaged, path)
        with pytest.raises(CheckpointError, match=said):
            checkpoint.load(folder)
    # Saved without a head, by torch.compile, with an old table of frequencies: the same model.
    save_file(
        {f"_orig_mod.{n}": v for n, v in whole.items()}
        | {"_orig_mod.model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)},
        path,
    )
    again = checkpoint.load(folder).tensors
    assert (again["lm_head.weight"] == whole["lm_head.weight"]).all()


@pytest.mark.parametrize("kind", ["smollm2", "llama 3", "linear", "qwen2", "qwen3"])
def test_gguf_as_others_read_it(tmp_path: Path, kind: str) -> None:
    """What we write transformers' own reader of GGUF turns back into the same tensors, and so do
    we; each has a name that llama.cpp's package knows."""
    needs("torch")
    needs("transformers")
    gguf = needs("gguf")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint as theirs

    made = saved(kind, tmp_path)
    loaded = checkpoint.load(tmp_path)
    path = tmp_path / "model.gguf"
    checkpoint.save(path, loaded.hparams, loaded.tensors, format="gguf")
    header = gguf.GGUFReader(path)
    architecture = header.fields["general.architecture"].contents()
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], 2)
    for tensor in header.tensors:
        base = tensor.name.rsplit(".", 1)[0]
        assert known.get_name(base) == base, tensor.name
    again = checkpoint.load(path)
    tokens = np.arange(20, 50)[None]
    got = run(model(again.hparams, again.tensors), tokens)
    expected = run(model(loaded.hparams, loaded.tensors), tokens)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    own = made.state_dict()
    for name, value in theirs(str(path), return_tensors=True, model_to_load=made)[
        "tensors"
    ].items():
        np.testing.assert_allclose(np.asarray(value), own[name].numpy(), atol=1e-6, err_msg=name)


def test_quantised_files_and_what_they_say_is_not_computed(tmp_path: Path) -> None:
    needs("gguf")
    hparams = LlamaHParams(
        n_vocab=97, n_ctx=64, n_embd=64, n_head=4, n_layer=1, n_kv_head=2, d_head=16, n_inner=96,
        tied=True,
    )  # fmt: skip
    tensors = {name: value.astype(np.float32) for name, value in parameters(hparams).items()}
    for dtype, most in (("q8_0", 0.02), ("q4_0", 0.25)):
        path = checkpoint.save(tmp_path / dtype, hparams, tensors, format="gguf", dtype=dtype)
        for name, value in checkpoint.load(path).tensors.items():
            assert np.abs(value - tensors[name]).max() <= most * np.abs(tensors[name]).max(), name
    for key, value, said in (
        ("expert_count", 8, "expert_count is 8"),
        ("rope.scaling.type", "longrope", "scaled by 'longrope'"),
        ("rope.dimension_count", 8, "rope.dimension_count is 8"),
        ("attention.head_count_kv", 3, "multiple of n_kv_head"),
    ):
        bent = tmp_path / "bent.gguf"
        edited(tmp_path / "q8_0", bent, f"llama.{key}", value)
        with pytest.raises(CheckpointError, match=said):
            checkpoint.load(bent)

"""Model files as people have them: what other programs write that is still GPT-2 is read, and a
refusal says what the file is (the trials of 2026-11-25, rows W4 to P11)."""

from __future__ import annotations

import importlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import pellucid
from pellucid import checkpoint
from pellucid.backend import get_backend
from pellucid.checkpoint.contents import READER
from pellucid.checkpoint.huggingface_config import read_config
from pellucid.errors import CheckpointError, PellucidError
from pellucid.hparams import HParams
from pellucid.model import Pass, forward
from pellucid.tokenizer import Tokenizer
from pellucid.weights import unflatten
from support.checkpoints import normal_tensors, reconfigure
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

HPARAMS = HParams(n_vocab=258, n_ctx=8, n_embd=32, n_head=4, n_layer=2)
IDS = [5, 250, 257, 0, 31]


def logits(loaded: checkpoint.Checkpoint) -> np.ndarray:
    backend = get_backend("numpy")
    weights = unflatten({n: backend.asarray(t) for n, t in loaded.tensors.items()}, loaded.hparams)
    return backend.to_numpy(forward(np.array([IDS]), weights, Pass(loaded.hparams, backend)))


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(VOCAB, MERGES, {"<|endoftext|>": VOCAB["<|endoftext|>"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "model", HPARAMS, normal_tensors(HPARAMS), format="hf")


def rewrite(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(change(tensors) or tensors, path, metadata={"format": "pt"})


# --- config.json ---------------------------------------------------------------------------------

# What transformers 4.17 and 4.48 write of PretrainedConfig beyond what a GPT-2 has by itself.
WRITTEN_BY_4 = {
    "_attn_implementation_autoset": True, "_commit_hash": None, "add_cross_attention": False,
    "bad_words_ids": None, "begin_suppress_tokens": None, "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None, "decoder_start_token_id": None, "diversity_penalty": 0.0,
    "do_sample": None, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "exponential_decay_length_penalty": None, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "is_decoder": False,
    "is_encoder_decoder": False, "length_penalty": 1.0, "max_length": 20, "min_length": 0,
    "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False,
    "pad_token_id": None, "prefix": None, "problem_type": None, "pruned_heads": {},
    "remove_invalid_values": False, "repetition_penalty": 1.0, "return_dict": True,
    "return_dict_in_generate": False, "sep_token_id": None, "suppress_tokens": None,
    "temperature": 1.0, "tf_legacy_loss": False, "tie_encoder_decoder": False,
    "tie_word_embeddings": True, "tokenizer_class": None, "top_k": 50, "top_p": 1.0,
    "torch_dtype": "float32", "torchscript": False, "typical_p": 1.0, "use_bfloat16": False,
}  # fmt: skip


def test_all_that_transformers_4_writes_is_read(folder: Path) -> None:
    reconfigure(folder, **WRITTEN_BY_4)
    assert checkpoint.load(folder).hparams == HPARAMS
    reconfigure(folder, eos_token_id=[257, 198], do_sample=True, sep_token_id=3)
    assert checkpoint.load(folder).hparams == HPARAMS


@pytest.mark.parametrize(
    "values",
    [
        {"pad_token_id": -1}, {"eos_token_id": -1}, {"eos_token_id": [198, -1]}, {"n_ctx": None},
        {"architectures": []}, {"_attn_implementation": "sdpa"}, {"auto_map": None},
        {"attn_implementation": None}, {"attn_implementation": "flash_attention_2"},
        {"activation_function": "gelu_fast"}, {"activation_function": "gelu_accurate"},
        {"activation_function": "gelu_python_tanh"}, {"quantization_config": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_nothing_for_transformers_changes_nothing_here(
    folder: Path, values: dict[str, Any]
) -> None:
    before = checkpoint.load(folder)
    reconfigure(folder, **values)
    loaded = checkpoint.load(folder)
    np.testing.assert_array_equal(logits(loaded), logits(before))
    roles = {role for role in values if role.endswith("_token_id")}
    assert loaded.roles.eos == (before.roles.eos if not roles & {"eos_token_id"} else
                                tuple(i for i in [*np.ravel(values["eos_token_id"])] if i >= 0)
                                or before.roles.eos)  # fmt: skip
    assert loaded.roles.pad == before.roles.pad


def test_the_names_of_gelu_are_those_of_one_function(folder: Path) -> None:
    """Held against each activation that transformers knows."""
    torch = needs("torch")
    needs("transformers")
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    wanted = ACT2FN["gelu_new"](x)
    accepted = set()
    for name in ACT2FN:
        reconfigure(folder, activation_function=name)
        with suppress(CheckpointError):
            checkpoint.load(folder)
            accepted.add(name)
    for name in accepted:
        torch.testing.assert_close(ACT2FN[name](x), wanted, atol=1e-9, rtol=0)
    assert {"gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"} <= accepted


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"attn_implementation": "kernels-community/x"}, "names code to download"),
        ({"cross_attention_hidden_size": 32}, "cross_attention_hidden_size is 32; it must be null"),
        ({"tie_encoder_decoder": True}, "tie_encoder_decoder"),
        ({"eos_token_id": ["a"]}, "a token id, or a list of them"),
        ({"hidden_size": 16}, r"'n_embd': 32, 'hidden_size': 16.* must be equal"),
    ],
)
def test_what_changes_the_maths_is_refused_by_name(
    folder: Path, values: dict[str, Any], message: str
) -> None:
    reconfigure(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_sizes_by_the_names_that_other_models_use(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for ours, theirs in {
        "n_positions": "max_position_embeddings",
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_layer": "num_hidden_layers",
    }.items():
        config[theirs] = config.pop(ours)
    del config["n_ctx"]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    path = folder / "config.json"
    hparams, _, _ = read_config(READER.read_object(path), path)
    assert hparams == HPARAMS
    transformers = needs("transformers")
    theirs = transformers.GPT2Config.from_pretrained(folder)
    assert (theirs.n_embd, theirs.n_head, theirs.n_layer, theirs.n_positions) == (32, 4, 2, 8)


def test_a_model_type_that_is_no_name(folder: Path) -> None:
    reconfigure(folder, model_type=["gpt2"])
    with pytest.raises(CheckpointError, match="it must be gpt2, llama"):
        checkpoint.load(folder)


@pytest.mark.parametrize("kind", ["gpt_neo", "opt", "GPT2"])
def test_another_model_is_named(folder: Path, kind: str) -> None:
    reconfigure(folder, model_type=kind, attention_layers=["global"])
    with pytest.raises(CheckpointError, match=f"it holds a '{kind}'; it must be gpt2"):
        checkpoint.load(folder)


# --- tensors -------------------------------------------------------------------------------------


def test_one_of_two_tied_tensors_is_enough(tmp_path: Path) -> None:
    """safetensors' save_model keeps one name of shared weights: here lm_head.weight."""
    torch = needs("torch")
    transformers = needs("transformers")
    from safetensors.torch import save_model

    config = transformers.GPT2Config(
        vocab_size=258, n_positions=8, n_embd=32, n_head=4, n_layer=2, bos_token_id=257
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.config.save_pretrained(tmp_path)
    save_model(model, str(tmp_path / "model.safetensors"))
    assert "transformer.wte.weight" not in load_file(tmp_path / "model.safetensors")
    with torch.no_grad():
        wanted = model(torch.tensor([IDS])).logits.numpy()
    np.testing.assert_allclose(logits(checkpoint.load(tmp_path)), wanted, atol=1e-4)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("head", [True, False])
def test_untied_in_name_only(folder: Path, tie: bool, head: bool) -> None:
    reconfigure(folder, tie_word_embeddings=tie)
    wte = "transformer.wte.weight"
    if head:
        rewrite(folder, lambda t: t | {"lm_head.weight": t[wte].copy()})
    np.testing.assert_array_equal(
        checkpoint.load(folder).tensors["wte.weight"], normal_tensors(HPARAMS)["wte.weight"]
    )
    if head:
        rewrite(folder, lambda t: t | {"lm_head.weight": t[wte] + np.float32(0.1)})
        with pytest.raises(CheckpointError, match=r"lm_head\.weight differs"):
            checkpoint.load(folder)


@pytest.mark.parametrize("coarse", ["wte", "head"])
def test_tied_in_two_dtypes(folder: Path, coarse: str) -> None:
    wte = normal_tensors(HPARAMS)["wte.weight"]
    names = ("transformer.wte.weight", "lm_head.weight")
    narrow, wide = names if coarse == "wte" else names[::-1]
    rewrite(folder, lambda t: t | {narrow: wte.astype(np.float16), wide: wte.copy()})
    np.testing.assert_array_equal(checkpoint.load(folder).tensors["wte.weight"], wte)
    other = wte.copy()
    other[200, 3] *= 1.01
    rewrite(folder, lambda t: t | {narrow: other.astype(np.float16)})
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs"):
        checkpoint.load(folder)
    other[200, 3] = np.nan
    rewrite(folder, lambda t: t | {narrow: other.astype(np.float16)})
    with pytest.raises(CheckpointError, match=r"differs|nan at index \[200, 3\]"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.", "module.", "module._orig_mod.", "base_model.model.", "model.", "gpt.",
        "policy.net.", "_forward_module.", "_fsdp_wrapped_module.", "pretrained_model.",
    ],
)  # fmt: skip
def test_a_common_prefix_is_taken_off_and_said(folder: Path, prefix: str) -> None:
    wanted = logits(checkpoint.load(folder))
    rewrite(folder, lambda t: {prefix + name: tensor for name, tensor in t.items()})
    loaded = checkpoint.load(folder)
    np.testing.assert_array_equal(logits(loaded), wanted)
    assert repr(prefix) in loaded.card["prefix"]
    if prefix in ("_orig_mod.", "_fsdp_wrapped_module."):  # PyTorch's own, wherever they stand
        return
    rewrite(folder, lambda t: t | {"ln_f.bias": t.pop(f"{prefix}transformer.ln_f.bias")})
    with pytest.raises(CheckpointError, match="missing tensors"):  # not all: not a wrapper's
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "inner", ["_orig_mod.", "_fsdp_wrapped_module.", "_fsdp_wrapped_module._orig_mod."]
)
def test_wrapped_blocks_are_the_same_blocks(folder: Path, inner: str) -> None:
    """torch.compile, FSDP and gradient checkpointing of single blocks."""
    wanted = logits(checkpoint.load(folder))
    rewrite(folder, lambda t: {re.sub(r"(h\.\d+\.)", rf"\1{inner}", n): x for n, x in t.items()})
    loaded = checkpoint.load(folder)
    np.testing.assert_array_equal(logits(loaded), wanted)
    assert inner.split(".")[0] in loaded.card["prefix"]


def test_an_adapter_that_was_not_merged(folder: Path) -> None:
    name = "transformer.h.0.attn.c_attn"
    added = {f"{name}.lora_A.default.weight": np.ones((4, 32), np.float32)}
    rewrite(folder, lambda t: t | added | {f"{name}.base_layer.weight": t.pop(f"{name}.weight")})
    with pytest.raises(CheckpointError, match=r"LoRA adapter that is not merged.*merge_and_unload"):
        checkpoint.load(folder)


# --- vocabularies --------------------------------------------------------------------------------


@pytest.mark.parametrize(("multiple", "rows"), [(8, 264), (64, 320), (128, 384)])
def test_a_padded_vocabulary(
    tmp_path: Path, tokenizer: Tokenizer, multiple: int, rows: int
) -> None:
    """transformers' resize_token_embeddings(pad_to_multiple_of=…): no token stands for the rest."""
    torch = needs("torch")
    transformers = needs("transformers")
    config = transformers.GPT2Config(
        vocab_size=258, n_positions=8, n_embd=32, n_head=4, n_layer=2, bos_token_id=257
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    model.resize_token_embeddings(258, pad_to_multiple_of=multiple)
    model.save_pretrained(tmp_path)
    padded = checkpoint.load(tmp_path)
    assert padded.hparams.n_vocab == rows  # without a tokenizer nothing tells what is padding
    tokenizer.save(tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert loaded.hparams == HPARAMS
    assert f"{rows} embeddings for 258 tokens" in loaded.card["padding"]
    with torch.no_grad():
        wanted = model(torch.tensor([IDS])).logits.numpy()[..., :258]
    np.testing.assert_allclose(logits(loaded), wanted, atol=1e-4)


@pytest.mark.parametrize("rows", [257, 259, 272, 288, 2048])
def test_other_sizes_are_another_models(tmp_path: Path, tokenizer: Tokenizer, rows: int) -> None:
    hparams = HParams(n_vocab=rows, n_ctx=8, n_embd=32, n_head=4, n_layer=2)
    checkpoint.save(tmp_path / "model", hparams, normal_tensors(hparams), format="hf")
    tokenizer.save(tmp_path / "model")
    if rows in (272, 288):  # multiples of 16 and 32: such is padding
        assert checkpoint.load(tmp_path / "model").hparams.n_vocab == 258
        return
    with pytest.raises(CheckpointError, match="do not belong together"):
        checkpoint.load(tmp_path / "model")


def test_a_token_that_came_later_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """[PAD] added to the tokenizer, and resize_token_embeddings forgotten."""
    checkpoint.save(tmp_path / "model", HPARAMS, normal_tensors(HPARAMS), format="hf")
    tokenizer.save(tmp_path / "model")
    (tmp_path / "model" / "added_tokens.json").write_text('{"[PAD]": 258}')
    with pytest.raises(CheckpointError, match=r"\[PAD\] came later.*resize_token_embeddings"):
        checkpoint.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["vocab.txt", "spiece.model", "tokenizer.model"])
def test_a_tokenizer_of_another_kind_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("[PAD]\n[UNK]\n")
    gpt = pellucid.load(folder)
    assert gpt.generate([1, 2], max_tokens=1, stop_tokens=()).tokens[:2] == (1, 2)
    with pytest.raises(PellucidError, match=name):
        gpt.encode("the")


def test_a_tokenizer_needs_no_weights(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path)
    assert checkpoint.load_tokenizer(tmp_path).encode("the") == tokenizer.encode("the")
    with pytest.raises(CheckpointError, match="a tokenizer and no weights"):
        checkpoint.load(tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match="holds no model"):
        checkpoint.load_tokenizer(tmp_path)


CORPUS = ["the clapper went straight to jail", "the power went out", "the king went home"]
ROLES = {
    "texts": {"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": ["EXTRA"]},
    "tables": {
        "bos_token": {"content": "<s>", "lstrip": False, "special": True},
        "eos_token": {"content": "</s>", "lstrip": False},
        "additional_special_tokens": [{"content": "EXTRA"}],
    },
}


@pytest.mark.parametrize("file", ["special_tokens_map.json", "tokenizer_config.json"])
@pytest.mark.parametrize("roles", ROLES)
def test_special_tokens_that_are_named_by_their_role_only(
    tmp_path: Path, file: str, roles: str
) -> None:
    """ByteLevelBPETokenizer.save_model lists special tokens in vocab.json and nowhere else."""
    tokenizers = needs("tokenizers")
    special = ["<s>", "</s>", "EXTRA"]
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator(CORPUS, vocab_size=300, special_tokens=special, show_progress=False)
    theirs.save_model(str(tmp_path))
    unnamed = Tokenizer.from_folder(tmp_path)  # EXTRA can only be decoded
    assert unnamed.special_tokens == {text: theirs.token_to_id(text) for text in special[:2]}
    assert unnamed.encode("the EXTRA") != theirs.encode("the EXTRA").ids
    assert unnamed.decode([theirs.token_to_id("EXTRA")]) == "EXTRA"
    (tmp_path / file).write_text(json.dumps(ROLES[roles]), "utf-8")
    ours = Tokenizer.from_folder(tmp_path)
    assert ours.special_tokens == {text: theirs.token_to_id(text) for text in special}
    for text in (*CORPUS, " a king\n  home"):
        assert ours.encode(text) == theirs.encode(text).ids
    ids = theirs.encode("the king</s>").ids
    assert ours.encode("the king</s>", allowed_special={"</s>"}) == ids
    assert ours.decode(ids) == "the king</s>"
    (tmp_path / file).write_text(json.dumps({"bos_token": 7}), "utf-8")
    with pytest.raises(Exception, match=f"{file}: bos_token must be a text"):
        Tokenizer.from_folder(tmp_path)


# --- files that are something else ---------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 548105171\n"


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "vocab.json", "merges.txt", "tokenizer_config.json"],
)
def test_git_lfs_pointers_in_a_folder(folder: Path, tokenizer: Tokenizer, name: str) -> None:
    tokenizer.save(folder)
    checkpoint.load(folder)
    (folder / name).write_bytes(POINTER)
    with pytest.raises(Exception, match=rf"{name} is a Git LFS pointer.*`git lfs pull`") as caught:
        checkpoint.load(folder)
    assert type(caught.value).__module__ == "pellucid.errors"


@pytest.mark.parametrize("name", ["x.gguf", "x.safetensors", "pytorch_model.bin"])
def test_git_lfs_pointers_as_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=r"Git LFS pointer"):
        checkpoint.load(tmp_path / name)


def test_adapters_and_variants_are_named(folder: Path, tmp_path: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    config = (folder / "config.json").read_bytes()
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    for source in (adapter, adapter / "adapter_model.safetensors"):
        with pytest.raises(CheckpointError, match=r"LoRA adapter.*merge_and_unload"):
            checkpoint.load(source)
    variant = tmp_path / "variant"
    variant.mkdir()
    (variant / "config.json").write_bytes(config)
    (variant / "model.fp16.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"give the file: .*model\.fp16\.safetensors"):
        checkpoint.load(variant)
    assert checkpoint.load(variant / "model.fp16.safetensors").hparams == HPARAMS


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tf_model.h5", r"its weights in tf_model\.h5, TensorFlow's format"),
        ("flax_model.msgpack", "Flax's format; Pellucid reads safetensors and GGUF"),
        ("model.onnx", "ONNX's format"),
        ("model-00001-of-00002.safetensors", r"shards .*lacks model\.safetensors\.index\.json"),
        ("checkpoint-1000/model.safetensors", "but .*checkpoint-1000 does: give that folder"),
    ],
)
def test_weights_that_are_not_where_they_are_looked_for(
    folder: Path, tokenizer: Tokenizer, file: str, message: str
) -> None:
    tokenizer.save(folder)
    (folder / "model.safetensors").unlink()
    for name in ("checkpoint-1000", "checkpoint-500") if "/" in file else ():
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"x")
    (folder / file).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_a_web_page_in_the_weights_place(folder: Path) -> None:
    for page in (b"<!DOCTYPE html><html>", b"<html lang=en>", b"\n<!doctype html>"):
        (folder / "model.safetensors").write_bytes(page + bytes(100))
        with pytest.raises(CheckpointError, match=r"model\.safetensors is a web page"):
            checkpoint.load(folder)


def test_files_of_other_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "ggml-model.bin").write_bytes(b"lmgg" + bytes(300))
    with pytest.raises(CheckpointError, match=r"GGML file.*convert_hf_to_gguf"):
        checkpoint.load(tmp_path / "ggml-model.bin")
    (tmp_path / "ckpt.pt").write_bytes(b"PK\x03\x04" + bytes(300))
    with pytest.raises(CheckpointError, match="nanoGPT"):
        checkpoint.load(tmp_path / "ckpt.pt")


def test_a_mistyped_file_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny-q4.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"no file or folder.*is models/tiny-q4\.gguf meant"):
        checkpoint.load("models/tiny_q4.gguf")
    with pytest.raises(CheckpointError, match=r"no file or folder 'other/x\.safetensors'$"):
        checkpoint.load("other/x.safetensors")


# --- GGUF ----------------------------------------------------------------------------------------

WIDE = HParams(n_vocab=258, n_ctx=8, n_embd=256, n_head=4, n_layer=1)


def written(path: Path, kinds: dict[str, tuple[np.ndarray, Any]], **options: Any) -> Path:
    """A GGUF file with some tensors in other bytes and kinds than the writer gives them."""
    gguf = needs("gguf")
    writer = importlib.import_module("support.write_gguf")
    plain = gguf.GGUFWriter.add_tensor

    def add(self: Any, name: str, stored: np.ndarray, raw_dtype: Any = None) -> None:
        if name in kinds:
            stored, raw_dtype = kinds[name]
        plain(self, name, stored, raw_dtype=raw_dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_tensor", add)
        writer.write(path, WIDE, normal_tensors(WIDE), VOCAB, MERGES, **options)
    return path


def blocks(rng: np.random.Generator, kind: Any, n_rows: int) -> np.ndarray:
    """Random blocks of any kind; where a scale would come out as no number, the block is zeros."""
    gguf = needs("gguf")
    per_block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (n_rows * 256 // per_block, n_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        numbers = gguf.quants.dequantize(raw, kind)
    raw[~(np.abs(numbers) < 1e30).all(axis=1)] = 0
    return raw.reshape(n_rows, -1)


def test_every_kind_that_the_package_dequantises(tmp_path: Path) -> None:
    """What it can turn into numbers is read, to the last bit; another kind is named."""
    gguf = needs("gguf")
    n_read, named = 0, set()
    for kind in gguf.GGMLQuantizationType:
        n_bytes = 256 // gguf.GGML_QUANT_SIZES[kind][0] * gguf.GGML_QUANT_SIZES[kind][1]
        try:
            raw = blocks(np.random.default_rng(3), kind, 3 * 256)
        except NotImplementedError:
            raw = np.zeros((768, n_bytes), np.uint8)
            path = written(tmp_path / "k.gguf", {"blk.0.attn_qkv.weight": (raw, kind)})
            message = rf"attn_qkv.weight' holds {kind.name} numbers.*F16 or Q8_0"
            with pytest.raises(CheckpointError, match=message):
                checkpoint.load(path)
            named.add(kind.name)
            continue
        path = written(tmp_path / "k.gguf", {"blk.0.attn_qkv.weight": (raw, kind)})
        wanted = gguf.quants.dequantize(raw, kind).reshape(768, 256)
        found = checkpoint.load(path).tensors["h.0.attn.c_attn.weight"]
        np.testing.assert_array_equal(found, wanted.T, err_msg=kind.name)
        n_read += 1
    assert n_read >= 20
    assert "Q8_K" in named


def test_an_output_layer_in_a_finer_kind_is_taken(tmp_path: Path) -> None:
    """A Q4_0 file of llama-quantize's before March 2025 has output.weight in Q6_K (here Q8_0)."""
    gguf = needs("gguf")
    kinds = gguf.GGMLQuantizationType
    wte = normal_tensors(WIDE)["wte.weight"]
    stored = {
        "token_embd.weight": (gguf.quants.quantize(wte, kinds.Q4_0), kinds.Q4_0),
        "output.weight": (gguf.quants.quantize(wte, kinds.Q8_0), kinds.Q8_0),
    }
    path = written(tmp_path / "q4.gguf", stored, output=True)
    finer = gguf.quants.dequantize(stored["output.weight"][0], kinds.Q8_0)
    np.testing.assert_array_equal(checkpoint.load(path).tensors["wte.weight"], finer)
    swapped = {"token_embd.weight": stored["output.weight"], "output.weight": stored[
        "token_embd.weight"]}  # fmt: skip
    path = written(tmp_path / "q8.gguf", swapped, output=True)
    np.testing.assert_array_equal(checkpoint.load(path).tensors["wte.weight"], finer)
    other = wte.copy()
    other[7] = other[8]
    stored["output.weight"] = (gguf.quants.quantize(other, kinds.Q8_0), kinds.Q8_0)
    path = written(tmp_path / "other.gguf", stored, output=True)
    with pytest.raises(CheckpointError, match=r"output\.weight differs from token_embd"):
        checkpoint.load(path)

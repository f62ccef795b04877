"""GGUF as Pellucid writes it: as llama.cpp's own converter does, read back whole, or refused.

tests/golden/llama_cpp_gguf.json is what convert_hf_to_gguf.py (llama.cpp of 2026-11, in
llama-cpp-python 0.3.36) made of the tiny model here, saved in Hugging Face's format, with
--outtype f32, f16, bf16 and q8_0: its metadata, and of each tensor the type, the shape and the
sha256 of the bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import pellucid
from pellucid import checkpoint
from pellucid.checkpoint import Roles
from pellucid.checkpoint.gguf_file import GgufFile
from pellucid.errors import CheckpointError, InputError
from pellucid.hparams import HParams
from pellucid.tokenizer import Added, Rules, Tokenizer
from support.checkpoints import normal_tensors
from support.disk import FullDisk
from support.program import invoke, run
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

gguf = needs("gguf")

TINY = HParams(n_vocab=258, n_ctx=8, n_embd=32, n_head=4, n_layer=2)
END = {"<|endoftext|>": 257}
DTYPES = ("float32", "float16", "bfloat16", "q8_0", "q4_0")
GOLDEN = json.loads((Path(__file__).parent / "golden/llama_cpp_gguf.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tensors():
    return normal_tensors(TINY, 7)


def tokenizer(rules=None, special=END):
    return Tokenizer({t: i for t, i in VOCAB.items() if t not in END} | special, MERGES, special,
                     rules)  # fmt: skip


def save(path, tensors, tokenizer=tokenizer(), hparams=TINY, dtype="float32", **rest):  # noqa: B008
    return checkpoint.save(path, hparams, tensors, tokenizer, format="gguf", dtype=dtype, **rest)


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.mark.parametrize("dtype", GOLDEN["tensors"])
def test_as_llama_cpps_own_converter(tmp_path, tensors, dtype):
    found = gguf.GGUFReader(save(tmp_path / "tiny.gguf", tensors, dtype=dtype))
    metadata = {key: field.contents() for key, field in found.fields.items()}
    for key, wanted in GOLDEN["metadata"].items():
        value = metadata[key]
        if isinstance(wanted, str) and wanted.startswith("sha256 "):
            value = f"sha256 {digest(json.dumps(value).encode())}"
        assert value == wanted, key
    assert metadata["general.file_type"] == GOLDEN["file_type"][dtype]
    ours = {"general.name", "general.file_type", "pellucid.checkpoint"}
    ours |= {f"tokenizer.ggml.add_{side}_token" for side in ("bos", "eos")}
    assert {key for key in metadata if not key.startswith("GGUF.")} - ours == set(
        GOLDEN["metadata"]
    )
    assert {
        each.name: [each.tensor_type.name, each.shape.tolist(), digest(each.data.tobytes())]
        for each in found.tensors
    } == GOLDEN["tensors"][dtype]


def test_q4_0_is_of_the_linear_maps_and_the_embeddings_keep_8_bits(tmp_path, tensors):
    path = save(tmp_path / "tiny.gguf", tensors, dtype="q4_0")
    found = {each.name: each for each in gguf.GGUFReader(path).tensors}
    kinds = gguf.GGMLQuantizationType
    for name, wanted, kind in (
        ("token_embd.weight", tensors["wte.weight"], kinds.Q8_0),
        ("blk.1.ffn_down.weight", tensors["h.1.mlp.c_proj.weight"].T, kinds.Q4_0),
        ("blk.0.attn_qkv.weight", tensors["h.0.attn.c_attn.weight"].T, kinds.Q4_0),
    ):
        assert found[name].tensor_type == kind
        stored = gguf.quants.quantize(np.ascontiguousarray(wanted), kind)
        np.testing.assert_array_equal(found[name].data, stored)
    types = {name: each.tensor_type.name for name, each in found.items()}
    assert {types[name] for name in types if name.endswith(("bias", "norm.weight"))} == {"F32"}
    assert types["position_embd.weight"] == "F32"


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_back_whole(tmp_path, tensors, dtype):
    card = {"name": "tiny", "sampling": {"temperature": 0.5, "top_k": 7}}
    roles = Roles(eos=(257, 5), pad=3)
    path = save(tmp_path / "tiny.gguf", tensors, dtype=dtype, card=card, template="dialogpt",
                roles=roles)  # fmt: skip
    found = checkpoint.load(path)
    assert (found.hparams, found.card, found.template, found.roles) == (
        TINY, card, "dialogpt", roles,
    )  # fmt: skip
    assert found.tokenizer.fingerprint() == tokenizer().fingerprint()
    steps = {"float32": 0, "float16": 2**-10, "bfloat16": 2**-7, "q8_0": 2**-5, "q4_0": 0.6}
    for name, tensor in tensors.items():
        np.testing.assert_allclose(found.tensors[name], tensor, atol=steps[dtype], rtol=2**-8)
    again = checkpoint.save(
        tmp_path / "again.gguf", found.hparams, found.tensors, found.tokenizer, format="gguf",
        dtype=dtype, card=found.card, template=found.template, roles=found.roles,
    )  # fmt: skip
    assert again.read_bytes() == path.read_bytes()


def values(path):
    return GgufFile(path).header.metadata


def test_the_chat_model_from_the_command_line(tmp_path):
    """Its turn ends at <|end|>, which llama.cpp calls eot; it is talked to as before."""
    target = tmp_path / "chat.gguf"
    assert "Wrote" in run("convert", "chat", target, "--dtype", "q8_0")
    chat, metadata = pellucid.load("chat"), values(target)
    special = chat.tokenizer.special_tokens
    assert metadata["tokenizer.ggml.eos_token_id"] == special["<|endoftext|>"]
    assert metadata["tokenizer.ggml.eot_token_id"] == special["<|end|>"]
    assert b"opens[message['role']]" in metadata["tokenizer.chat_template"]
    sampling = {key for key in metadata if key.startswith("general.sampling.")}
    assert sampling == {f"general.sampling.{name}" for name in ("temp", "top_k", "top_p")}
    found = pellucid.load(target)
    assert (found.template, found.card, found.stop_tokens) == (
        chat.template, chat.card, chat.stop_tokens,
    )  # fmt: skip
    ids = chat.encode("Once upon a time")
    assert found.encode("Once upon a time") == ids
    assert found.logits(ids)[-1].argmax() == chat.logits(ids)[-1].argmax()
    refused = invoke("convert", "chat", target)
    assert (refused.exit_code, "--force" in refused.output) == (2, True)


def test_tokens_of_every_kind(tmp_path, tensors):
    special = {"<|endoftext|>": 257, "<|x|>": 259}
    added = {"@@": Added(id=260, special=False)}
    vocab = {t: i for t, i in VOCAB.items() if t not in END} | {"[PAD258]": 258}
    wide = Tokenizer(vocab, MERGES, special, Rules(begin=(257,), added=added))
    hparams = HParams(n_vocab=261, n_ctx=8, n_embd=32, n_head=4, n_layer=1)
    path = save(tmp_path / "wide.gguf", normal_tensors(hparams, 1), wide, hparams)
    metadata = values(path)
    assert metadata["tokenizer.ggml.token_type"][-5:].tolist() == [1, 3, 5, 3, 4]
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.add_eos_token"] is False
    found = checkpoint.load(path).tokenizer
    assert found.rules.begin == (257,)
    assert found.encode("a@@<|x|>", {"<|x|>"}) == wide.encode("a@@<|x|>", {"<|x|>"})
    assert found.unused == {258}


def test_without_a_tokenizer(tmp_path, tensors):
    path = save(tmp_path / "bare.gguf", tensors, None)
    assert values(path)["tokenizer.ggml.model"] == b"none"
    found = checkpoint.load(path)
    assert (found.hparams, found.tokenizer) == (TINY, None)


ODD = HParams(n_vocab=258, n_ctx=8, n_embd=36, n_head=4, n_layer=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hparams": ODD, "dtype": "q8_0"}, "rows of 36, as .* are no whole number of blocks"),
        ({"hparams": ODD, "dtype": "q4_0"}, "take float16"),
        ({"tokenizer": tokenizer(Rules(steps=("space", "gpt2")))}, "cuts texts by space and gpt2"),
        ({"tokenizer": tokenizer(Rules(begin=(257, 3)))}, "texts begin with 2 tokens"),
        ({"tokenizer": tokenizer(Rules(begin=(3,))), "roles": Roles(bos=257)}, "one for both"),
        (
            {"tokenizer": tokenizer(Rules(added={"<|endoftext|>": Added(id=257, lstrip=True)}))},
            "white space beside '<|endoftext|>'",
        ),
        ({"tokenizer": tokenizer(special={"<|x|>": 257}), "roles": Roles(eos=(1, 2, 3, 4))},
         "4 tokens end this model's texts, and llama.cpp holds 3"),
        ({"tokenizer": Tokenizer(VOCAB, MERGES, {})}, "takes token 11 where none is named"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_hold(tmp_path, change, match):
    hparams = change.get("hparams", TINY)
    with pytest.raises(CheckpointError, match=match.replace("|", r"\|")):
        save(tmp_path / "no.gguf", **{"tensors": normal_tensors(hparams, 1), **change})
    assert not list(tmp_path.iterdir())


def test_numbers_that_a_kind_cannot_hold(tmp_path, tensors):
    large = tensors | {"h.0.mlp.c_fc.weight": tensors["h.0.mlp.c_fc.weight"] * 1e6}
    for dtype in ("float16", "q4_0"):
        with pytest.raises(CheckpointError, match=r"c_fc\.weight holds a number"):
            save(tmp_path / "no.gguf", large, dtype=dtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room", [0, 7, 100])
def test_a_full_disk_leaves_the_previous_file(tmp_path, tensors, room, monkeypatch):
    path = save(tmp_path / "tiny.gguf", tensors)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        FullDisk(room, patch)
        for name in ("tiny.gguf", "another.gguf"):
            with pytest.raises(CheckpointError, match="No space left"):
                save(tmp_path / name, tensors, dtype="float16")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.gguf"]
    save(path, tensors, dtype="float16")
    assert path.read_bytes() != before


def test_without_the_package(tmp_path, tensors, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r'pip install "pellucid\[gguf\]"'):
        save(tmp_path / "no.gguf", tensors)


def test_mistakes(tmp_path, tensors):
    with pytest.raises(InputError, match="dtype of pellucid must be one of float32"):
        checkpoint.save(tmp_path / "m", TINY, tensors, dtype="q8_0")
    with pytest.raises(InputError, match=r"dtype of gguf must be one of float32.*q4_0"):
        save(tmp_path / "m.gguf", tensors, dtype="q5_0")
    for target, form in (("m.gguf", "hf"), ("folder", "gguf")):
        refused = invoke("convert", "talk", tmp_path / target, "--format", form)
        assert (refused.exit_code, "GGUF is one file" in refused.output) == (2, True)
    with pytest.raises(InputError, match="dtype of pellucid"):
        run("convert", "talk", tmp_path / "m", "--dtype", "q4_0")


@pytest.mark.parametrize("dtype", DTYPES)
def test_llama_cpp_gives_the_same_logits(tmp_path, dtype):
    """Of the chat model, within its rounding: it also rounds activations to 8 bits, and keys and
    values to float16."""
    llama_cpp = needs("llama_cpp")
    chat = pellucid.load("chat")
    path = tmp_path / "chat.gguf"
    run("convert", "chat", path, "--dtype", dtype)
    ids = chat.encode("Once upon a time there was a little girl who lived in a")
    theirs = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, n_threads=2, verbose=False)
    assert theirs.tokenize(b"Once upon a time, it's 12 o'clock", add_bos=False) == chat.encode(
        "Once upon a time, it's 12 o'clock"
    )
    assert theirs.tokenize(b"<|user|>Hi<|end|>", add_bos=False, special=True) == (
        chat.tokenizer.encode("<|user|>Hi<|end|>", ("<|user|>", "<|end|>"))
    )
    theirs.eval(ids)
    logits = np.array(theirs.scores[: len(ids)])
    ours = pellucid.load(path).logits(ids)
    furthest = {"float32": 0.1, "float16": 0.1, "bfloat16": 0.2, "q8_0": 0.8, "q4_0": 0.8}
    assert np.abs(logits - ours).max() < furthest[dtype]
    assert (logits.argmax(-1) == ours.argmax(-1)).mean() >= 0.9

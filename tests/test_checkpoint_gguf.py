"""GGUF files of GPT-2: round trips in every kind of number, and what must be refused (row A9)."""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid.checkpoint import gguf as reader
from pellucid.checkpoint.gguf_file import GgufFile, tensor_type
from pellucid.checkpoint.gguf_gpt2 import gguf_names
from pellucid.errors import CheckpointError, TokenizerError
from pellucid.hparams import HParams
from pellucid.weights import shapes
from support.checkpoints import normal_tensors, read_as_written
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

gguf = needs("gguf")
writer = importlib.import_module("support.write_gguf")

TINY = HParams(n_vocab=258, n_ctx=8, n_embd=32, n_head=4, n_layer=2)


@pytest.fixture(scope="module")
def tensors():
    return normal_tensors(TINY, 7)


@pytest.fixture(scope="module")
def f32_file(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer.write(path, TINY, tensors, VOCAB, MERGES)
    return path


def read_header(path):
    return GgufFile(path).header


def refused(path, match, read=reader.read):
    with pytest.raises(CheckpointError, match=match):
        read(path)


# --- round trips -------------------------------------------------------------------------------


def test_f32_is_exact_and_mapped(f32_file, tensors):
    found = reader.read(f32_file)
    read_as_written(found, f32_file, TINY, tensors)
    assert found.card["name"] == "gpt2"
    assert found.tokenizer.end_of_text == VOCAB["<|endoftext|>"]


def test_f32_needs_no_gguf_package(f32_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert reader.read(f32_file).hparams == TINY


def test_quantised_without_the_package_says_what_to_install(tmp_path, tensors, monkeypatch):
    writer.write(tmp_path / "q.gguf", TINY, tensors, VOCAB, MERGES, "q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(tmp_path / "q.gguf", r'pip install "pellucid\[gguf\]"')


def in_blocks(tensor, transposed):
    """[block, 32] in the order of the file."""
    return (tensor.T if transposed else tensor).reshape(-1, 32).astype(np.float64)


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
def test_narrow_kinds_within_their_bounds(tmp_path, tensors, kind):
    path = tmp_path / "narrow.gguf"
    writer.write(path, TINY, tensors, VOCAB, MERGES, kind)
    header = read_header(path)
    found = reader.read(path).tensors
    for name, (other, transposed) in gguf_names(TINY).items():
        assert found[name].dtype == np.float32
        if tensors[name].ndim == 1 or name == "wpe.weight":
            assert header.tensors[other].type == "F32"
            np.testing.assert_array_equal(found[name], tensors[name])
            continue
        assert header.tensors[other].type == kind.upper()
        before, after = in_blocks(tensors[name], transposed), in_blocks(found[name], transposed)
        largest = np.abs(before).max(1, keepdims=True)
        # Half a step of rounding (Q4_0 reaches 7 steps up, 8 down: a whole step at that end), and
        # the step itself rounded to f16.
        bound = {
            "f16": np.abs(before) * 2.0**-11 + 2.0**-25,
            "q8_0": largest / 127 * 0.5 + largest * 2.0**-11,
            "q4_0": largest / 8 + largest * 2.0**-11,
        }[kind]
        assert (np.abs(before - after) <= bound).all(), name
        assert (before != after).any()  # it was indeed narrowed


def test_dequantised_by_the_formula(tmp_path, tensors):
    """Q8_0: a block is an f16 step and 32 signed bytes. Read by the other reader, computed here."""
    path = tmp_path / "q8.gguf"
    writer.write(path, TINY, tensors, VOCAB, MERGES, "q8_0")
    raw = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    found = reader.read(path).tensors
    for name, other in (
        ("wte.weight", "token_embd.weight"),
        ("h.1.mlp.c_proj.weight", "blk.1.ffn_down.weight"),
    ):
        blocks = raw[other].reshape(-1, 34)
        step = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        numbers = step * blocks[:, 2:].copy().view(np.int8)
        stored = found[name].T if name.startswith("h") else found[name]
        np.testing.assert_array_equal(stored.reshape(-1, 32), numbers)


def test_mixed_kinds_as_llama_quantize_writes_them(tmp_path):
    """Its Q4_0 files have Q6_K embeddings; BF16 and the other kinds come from converters."""
    hparams = HParams(n_vocab=258, n_ctx=8, n_embd=256, n_head=4, n_layer=1)
    rng = np.random.default_rng(5)
    numbers = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes(hparams).items()}
    kinds = gguf.GGMLQuantizationType
    mixed = {
        "blk.0.attn_qkv.weight": kinds.Q4_1,
        "blk.0.attn_output.weight": kinds.Q5_0,
        "blk.0.ffn_up.weight": kinds.Q5_1,
        "blk.0.ffn_down.weight": kinds.BF16,
    }
    blocks = rng.integers(0, 256, (258, 210), dtype=np.uint8)
    blocks[:, 208:] = np.full((258, 1), 0.01, np.float16).view(np.uint8)  # a finite step
    path = tmp_path / "mixed.gguf"
    plain = writer.gguf.GGUFWriter.add_tensor

    def add(self, name, stored, raw_dtype):
        if name == "token_embd.weight":
            stored, raw_dtype = blocks, kinds.Q6_K
        elif name in mixed:
            stored, raw_dtype = gguf.quants.quantize(stored, mixed[name]), mixed[name]
        plain(self, name, stored, raw_dtype=raw_dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.gguf.GGUFWriter, "add_tensor", add)
        writer.write(path, hparams, numbers, VOCAB, MERGES)
    found = reader.read(path).tensors
    np.testing.assert_array_equal(
        found["wte.weight"], gguf.quants.dequantize(blocks, kinds.Q6_K).reshape(258, 256)
    )
    for name, limit in {
        "h.0.attn.c_attn.weight": 0.3,
        "h.0.attn.c_proj.weight": 0.3,
        "h.0.mlp.c_fc.weight": 0.2,
        "h.0.mlp.c_proj.weight": 0.02,
    }.items():
        assert 0 < np.abs(found[name] - numbers[name]).max() < limit, name


def test_header_agrees_with_the_other_reader(f32_file):
    other = gguf.GGUFReader(f32_file)
    header = read_header(f32_file)
    assert header.alignment == other.alignment
    assert set(header.metadata) == {key for key in other.fields if not key.startswith("GGUF.")}
    for key, value in header.metadata.items():
        wanted = other.fields[key].contents()
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list):
            value = [item.decode() for item in value]
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        assert value == wanted, key
    assert {
        name: (t.type, t.shape[::-1], t.offset, t.size) for name, t in header.tensors.items()
    } == {
        t.name: (t.tensor_type.name, tuple(t.shape.tolist()), t.data_offset, t.n_bytes)
        for t in other.tensors
    }


def test_the_types_are_the_package_s():
    for kind, sizes in gguf.GGML_QUANT_SIZES.items():
        assert tensor_type(kind.value) == (kind.name, *sizes)


def test_names():
    names = gguf_names(TINY)
    assert names["wte.weight"] == ("token_embd.weight", False)
    assert names["wpe.weight"] == ("position_embd.weight", False)
    assert names["h.1.attn.c_attn.weight"] == ("blk.1.attn_qkv.weight", True)
    assert names["h.1.attn.c_attn.bias"] == ("blk.1.attn_qkv.bias", False)
    assert names["h.0.attn.c_proj.weight"] == ("blk.0.attn_output.weight", True)
    assert names["h.0.mlp.c_fc.weight"] == ("blk.0.ffn_up.weight", True)
    assert names["h.0.mlp.c_proj.weight"] == ("blk.0.ffn_down.weight", True)
    assert names["h.0.ln_1.weight"] == ("blk.0.attn_norm.weight", False)
    assert names["h.0.ln_2.bias"] == ("blk.0.ffn_norm.bias", False)
    assert names["ln_f.weight"] == ("output_norm.weight", False)
    mapped = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, TINY.n_layer)
    for name, (other, _) in names.items():
        assert mapped.get_name(f"transformer.{name}", try_suffixes=(".weight", ".bias")) == other


# --- handcrafted files, after llama.cpp's tests/test-gguf.cpp ------------------------------------

U32, I32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9
F32, Q8_0 = 0, 8
MINUS_ONE = (1 << 64) - 1


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def key_value(key, kind, payload):
    return string(key) + struct.pack("<I", kind) + payload


def every_kind():
    """One metadata value of each type, and an array of each."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    found = [key_value(f"one.{kind}", kind, bytes(range(3, 3 + n))) for kind, n in sizes.items()]
    for kind, n in sizes.items():
        payload = struct.pack("<IQ", kind, 3) + bytes(range(3 * n))
        found.append(key_value(f"array.{kind}", ARRAY, payload))
    found.append(key_value("one.string", STRING, string(b"\xffnot UTF-8")))
    found.append(key_value("array.strings", ARRAY, struct.pack("<IQ", STRING, 2) + string("a") * 2))
    return found


def tensor(name, dims, kind=F32, offset=0, n_dims=None):
    packed = struct.pack(f"<I{len(dims)}Q", len(dims) if n_dims is None else n_dims, *dims)
    return string(name) + packed + struct.pack("<IQ", kind, offset)


TWO = [tensor("a", [8, 3]), tensor("b", [64], Q8_0, 96)]  # 96 bytes, then 68: padded to 96


def crafted(
    metadata=(), tensors=(), data=b"", *, magic=b"GGUF", version=3, counts=None, alignment=32
):
    n_tensors, n_metadata = counts or (len(tensors), len(metadata))
    head = magic + struct.pack("<IQQ", version, n_tensors, n_metadata)
    head += b"".join(metadata) + b"".join(tensors)
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + data


def align_to(value, kind=U32):
    return key_value("general.alignment", kind, struct.pack("<I", value))


BAD = {
    "header: magic": (crafted(magic=b"FUGG"), "not a GGUF file"),
    "header: version 0": (crafted(version=0), "version 0"),
    "header: version 1": (crafted(version=1), "version 1"),
    "header: version of the future": (crafted(version=4), "version 4"),
    "header: big-endian": (crafted(version=3 << 24), "big-endian"),
    "header: number of keys": (crafted(counts=(0, MINUS_ONE)), "metadata keys"),
    "header: number of tensors": (crafted(counts=(MINUS_ONE, 0)), "tensors"),
    "header: one key too many": (crafted(every_kind(), counts=(0, 26)), "metadata key"),
    "header: nothing": (b"", "empty"),
    "header: too short": (b"GGUF\3\0\0", "cut short"),
    "key: size": (
        crafted([struct.pack("<Q", MINUS_ONE) + b"k" * 40]),
        "metadata key of 18446744073709551615 bytes",
    ),
    "key: size beyond the file": (crafted([struct.pack("<Q", 60000) + b"k" * 40]), "cut short"),
    "key: empty": (crafted([key_value("", U32, bytes(4))]), "metadata key of 0 bytes"),
    "key: not UTF-8": (crafted([key_value(b"\xff", U32, bytes(4))]), "not UTF-8"),
    "key: type": (crafted([key_value("k", 13, bytes(4))]), "unknown type 13"),
    "key: type of an array": (
        crafted([key_value("k", ARRAY, struct.pack("<IQ", 13, 1) + bytes(8))]),
        "unknown type 13",
    ),
    "key: array of arrays": (
        crafted([key_value("k", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(32))]),
        "unknown type 9",
    ),
    "key: size of a string": (
        crafted([key_value("k", STRING, struct.pack("<Q", MINUS_ONE) + bytes(8))]),
        "cut short",
    ),
    "key: size of an array": (
        crafted([key_value("k", ARRAY, struct.pack("<IQ", U32, MINUS_ONE // 4 + 2) + bytes(8))]),
        "more than fit",
    ),
    "key: size of an array of strings": (
        crafted([key_value("k", ARRAY, struct.pack("<IQ", STRING, 1 << 61) + bytes(8))]),
        "more than fit",
    ),
    "key: twice": (crafted([key_value("k", U32, bytes(4))] * 2), "'k' occurs twice"),
    "align: 13": (crafted([align_to(13)]), "not a power of two"),
    "align: 0": (crafted([align_to(0)]), "not a power of two"),
    "align: of another type": (crafted([align_to(32, I32)]), "not a power of two"),
    "align: a string": (
        crafted([key_value("general.alignment", STRING, string("32"))]),
        "not a power of two",
    ),
    "align: too large for the file": (
        crafted([align_to(1 << 31)], TWO, bytes(200)),
        "offset 96; 2147483648 is next",
    ),
    "tensor: name's size": (crafted([], [tensor("n" * 64, [8])], bytes(32)), "name of 64 bytes"),
    "tensor: no name": (crafted([], [tensor("", [8])], bytes(32)), "name of 0 bytes"),
    "tensor: dimensions": (crafted([], [tensor("a", [1] * 5)], bytes(32)), "has 5 dimensions"),
    "tensor: dimensions beyond the file": (
        crafted([], [tensor("a", [1], n_dims=MINUS_ONE >> 32)], bytes(32)),
        "has 4294967295 dimensions",
    ),
    "tensor: shape": (crafted([], [tensor("a", [MINUS_ONE])], bytes(32)), "negative size"),
    "tensor: too many numbers": (
        crafted([], [tensor("a", [4 * (2**31 - 1)] * 2)], bytes(32)),
        "cut short",
    ),
    "tensor: product is 0 in 64 bits": (
        crafted([], [tensor("a", [1 << 32, 1 << 32])], bytes(32)),
        "cut short: tensor 'a'",
    ),
    "tensor: bytes are 0 in 64 bits": (
        crafted([], [tensor("a", [1 << 31, 1 << 31])], bytes(32)),
        "cut short: tensor 'a'",
    ),
    "tensor: type": (crafted([], [tensor("a", [8], 99)], bytes(32)), "of type 99"),
    "tensor: type that was removed": (crafted([], [tensor("a", [8], 4)], bytes(32)), "of type 4"),
    "tensor: rows are no blocks": (crafted([], [tensor("a", [33], Q8_0)], bytes(64)), "rows of 33"),
    "tensor: offset": (
        crafted([], [tensor("a", [8], offset=MINUS_ONE)], bytes(32)),
        "offset 18446744073709551615; 0 is next",
    ),
    "tensor: twice": (
        crafted([], [tensor("a", [8]), tensor("a", [8], offset=32)], bytes(64)),
        "'a' occurs twice",
    ),
    "tensor: over another": (
        crafted([], [tensor("a", [8]), tensor("b", [8], offset=0)], bytes(64)),
        "offset 0; 32 is next",
    ),
    "tensor: packed closer than the alignment": (
        crafted([], [tensor("a", [1]), tensor("b", [1], offset=4)], bytes(64)),
        "offset 4; 32 is next",
    ),
    "data: none": (crafted([], TWO), "cut short: tensor 'a'"),
    "data: one byte short": (crafted([], TWO, bytes(191)), "cut short: its padding"),
    "data: a tensor cut": (crafted([], TWO, bytes(163)), "cut short: tensor 'b'"),
    "data: sum overflows": (
        crafted(
            [],
            [
                tensor("a", [(1 << 63) - 64], 0),
                tensor("b", [(1 << 63) - 64], 0, 4 * ((1 << 63) - 64) & MINUS_ONE),
            ],
            bytes(32),
        ),
        "is next",
    ),
}

GOOD = {
    "header: empty": crafted(),
    "header: version 2": crafted(version=2),
    "header: trailing bytes": crafted(data=bytes(11)),
    "keys: every kind": crafted(every_kind()),
    "align: 1": crafted([align_to(1)], [TWO[0]], bytes(96), alignment=1),
    "align: 64": crafted([align_to(64)], [tensor("a", [8])], bytes(64), alignment=64),
    "tensors": crafted(every_kind(), TWO, bytes(192)),
    "tensors: trailing bytes": crafted([], TWO, bytes(193)),
    "tensor: a dimension of 0": crafted([], [tensor("a", [8, 0])]),
    "tensor: four dimensions": crafted([], [tensor("a", [2, 3, 4, 5])], bytes(480)),
    "tensor: the longest name": crafted([], [tensor("n" * 63, [8])], bytes(32)),
}


@pytest.mark.parametrize("name", BAD)
def test_handcrafted_bad(tmp_path, name):
    contents, match = BAD[name]
    (tmp_path / "bad.gguf").write_bytes(contents)
    refused(tmp_path / "bad.gguf", match, read_header)
    refused(tmp_path / "bad.gguf", match)


@pytest.mark.parametrize("name", GOOD)
def test_handcrafted_good(tmp_path, name):
    (tmp_path / "good.gguf").write_bytes(GOOD[name])
    header = read_header(tmp_path / "good.gguf")
    n_tensors, n_metadata = struct.unpack_from("<QQ", GOOD[name], 8)
    assert (len(header.tensors), len(header.metadata)) == (n_tensors, n_metadata)
    refused(tmp_path / "good.gguf", "'general.architecture' is missing")  # but no GPT-2


def test_values_of_every_kind(tmp_path):
    (tmp_path / "good.gguf").write_bytes(crafted(every_kind()))
    values = read_header(tmp_path / "good.gguf").metadata
    assert values["one.4"] == 0x06050403
    assert values["one.7"] is True
    assert values["one.10"] == 0x0A09080706050403
    assert values["array.2"].tolist() == [0x0100, 0x0302, 0x0504]
    assert values["array.7"].tolist() == [False, True, True]
    assert values["one.string"] == b"\xffnot UTF-8"
    assert values["array.strings"] == [b"a", b"a"]


# --- good GGUF, but not such a GPT-2 -----------------------------------------------------------


def written(path, tensors, change=None, **options):
    """A file written with one key or tensor of the writer changed."""
    change = change or {}
    with pytest.MonkeyPatch.context() as patch:
        for method, replacement in change.items():
            patch.setattr(writer.gguf.GGUFWriter, method, replacement)
        writer.write(path, TINY, tensors, VOCAB, MERGES, **options)
    return path


def nothing(self, *values):
    pass


def otherwise(method, value):
    plain = getattr(gguf.GGUFWriter, method)
    return {method: lambda self, _: plain(self, value)}


TOKENS = list(VOCAB)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"add_context_length": nothing}, "'gpt2.context_length' is missing"),
        (otherwise("add_context_length", 9), "wpe.weight has shape"),
        (otherwise("add_context_length", 0), "n_ctx must be between"),
        (otherwise("add_embedding_length", 36), "shape"),
        (otherwise("add_block_count", 3), "missing tensors: h.2"),
        (otherwise("add_block_count", 1), "no GPT-2 of this shape has: blk.1"),
        (otherwise("add_block_count", 10**9), "n_layer must be between"),
        (otherwise("add_head_count", 5), "multiple of n_head"),
        (otherwise("add_head_count", [4, 4]), "'gpt2.attention.head_count' is not an integer"),
        (otherwise("add_feed_forward_length", 64), "feed_forward_length is 64"),
        ({"add_feed_forward_length": nothing}, "feed_forward_length' is missing"),
        (otherwise("add_layer_norm_eps", 1e-6), "layer_norm_epsilon is 1e-06"),
        ({"add_tokenizer_model": nothing}, "'tokenizer.ggml.model' is missing"),
        (otherwise("add_token_list", TOKENS[:-1]), "one number for each token"),
        (otherwise("add_token_list", [*TOKENS[:-1], "th"]), "occurs twice"),
        (otherwise("add_token_list", [1, 2, 3]), "not a list of strings"),
        (otherwise("add_token_list", [*TOKENS[:-1], b"\xff"]), "not UTF-8"),
        (otherwise("add_token_types", [1, 3]), "one number for each token"),
        (otherwise("add_token_merges", ["th"]), "'th' is not a merge"),
        (otherwise("add_token_merges", ["t h e"]), "'t h e' is not a merge"),
        (otherwise("add_eos_token_id", 258), "there are 258 tokens"),
    ],
)
def test_metadata_of_no_gpt2(tmp_path, tensors, change, match):
    refused(written(tmp_path / "other.gguf", tensors, change), match)


def test_vocabulary_of_another_model(tmp_path, tensors):
    change = otherwise("add_token_list", TOKENS[:-1]) | otherwise("add_token_types", [1] * 257)
    change |= {"add_eos_token_id": nothing}
    refused(written(tmp_path / "other.gguf", tensors, change), "257 tokens")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (otherwise("add_tokenizer_model", "llama"), r"SentencePiece's \(kind 'llama'\)"),
        (otherwise("add_tokenizer_model", "plamo2"), "of the kind 'plamo2'"),
        (otherwise("add_tokenizer_pre", "tekken"), "by the rule 'tekken'; Pellucid knows gpt-2, "),
        (otherwise("add_tokenizer_pre", "default"), "by the rule 'default'"),
    ],
)
def test_a_tokenizer_that_is_not_computed_leaves_ids_and_says_why(tmp_path, tensors, change, why):
    gpt = pellucid.load(written(tmp_path / "other.gguf", tensors, change))
    assert gpt.generate([5, 7], greedy=True, max_tokens=2).text.startswith(" #")
    with pytest.raises(TokenizerError, match=f"{why}.*`tokenizers` and give ids"):
        gpt.encode("a")


def test_a_file_without_a_tokenizer_serves_ids(tmp_path, tensors):
    silent = [f"add_tokenizer_{part}" for part in ("model", "pre")]
    silent += [f"add_{part}" for part in ("token_list", "token_types", "token_merges",
                                          "bos_token_id", "eos_token_id")]  # fmt: skip
    path = written(tmp_path / "bare.gguf", tensors, dict.fromkeys(silent, nothing))
    assert reader.read(path).tokenizer is None
    assert reader.read(path).hparams == TINY


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("general.type", "adapter", "holds 'adapter', no model"),
        ("split.count", 3, "is one of 3 parts: .*llama-gguf-split --merge"),
    ],
)
def test_a_part_of_a_model_is_named(tmp_path, tensors, key, value, match):
    add = "add_string" if isinstance(value, str) else "add_uint16"
    plain = gguf.GGUFWriter.add_layer_norm_eps
    change = lambda self, x: (plain(self, x), getattr(self, add)(key, value))  # noqa: E731
    refused(written(tmp_path / "part.gguf", tensors, {"add_layer_norm_eps": change}), match)


def test_old_files_do_not_name_the_rule(tmp_path, tensors):
    path = written(tmp_path / "old.gguf", tensors, {"add_tokenizer_pre": nothing})
    assert reader.read(path).tokenizer.n_vocab == TINY.n_vocab


def test_other_architecture_is_refused_by_name(tmp_path):
    other = gguf.GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    other.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    other.write_header_to_file()
    other.write_kv_data_to_file()
    other.write_tensors_to_file()
    other.close()
    refused(tmp_path / "mamba.gguf", "architecture 'mamba'")


def changed_tensor(of, to):
    """`of` written as `to` (name, numbers) makes it, or not at all."""
    plain = gguf.GGUFWriter.add_tensor

    def add(self, name, stored, raw_dtype=None):
        name, stored = to(name, stored) if name == of else (name, stored)
        if name:
            plain(self, name, stored, raw_dtype=raw_dtype)

    return {"add_tensor": add}


QKV = "blk.1.attn_qkv.weight"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (changed_tensor(QKV, lambda n, x: ("", x)), "missing tensors: h.1.attn.c_attn.weight"),
        (changed_tensor(QKV, lambda n, x: ("blk.1.attn_q.weight", x)), "missing tensors: h.1"),
        (changed_tensor(QKV, lambda n, x: (n, x.T.copy())), "c_attn.weight has shape"),
        (changed_tensor("token_embd.weight", lambda n, x: ("", x)), "'token_embd.weight' is miss"),
        (changed_tensor("token_embd.weight", lambda n, x: (n, x[0])), "'token_embd.weight' is"),
        (
            changed_tensor("output.weight", lambda n, x: (n, x + np.float32(1))),
            "output.weight differs from token_embd.weight",
        ),
        (
            changed_tensor("output.weight", lambda n, x: ("rope_freqs.weight", x)),
            "no GPT-2 of this shape has: rope_freqs.weight",
        ),
    ],
)
def test_tensors_of_no_gpt2(tmp_path, tensors, change, match):
    refused(written(tmp_path / "other.gguf", tensors, change, output=True), match)


def test_vocabulary_from_files(tmp_path, tensors):
    encoder, bpe = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    encoder.write_text(json.dumps(VOCAB))
    bpe.write_text("#version: 0.2\nt h\n")
    writer.write(tmp_path / "files.gguf", TINY, tensors, encoder, bpe)
    assert reader.read(tmp_path / "files.gguf").tokenizer.encode("the") == [VOCAB["th"], VOCAB["e"]]


def test_tied_output_written_twice(tmp_path, tensors):
    path = written(tmp_path / "tied.gguf", tensors, output=True)
    assert "output.weight" in read_header(path).tensors
    assert list(reader.read(path).tensors) == list(shapes(TINY))


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_numbers_that_are_none(tmp_path, tensors, kind):
    changed = {name: tensor.copy() for name, tensor in tensors.items()}
    changed["wte.weight"][3, 5] = np.inf
    with np.errstate(all="ignore"):
        writer.write(tmp_path / "bad.gguf", TINY, changed, VOCAB, MERGES, kind)
    refused(tmp_path / "bad.gguf", r"token_embd.weight holds (inf|nan) at index \[3, ")


def test_pipes_folders_and_nothing(tmp_path):
    refused(tmp_path, "not a regular file")
    refused(tmp_path / "absent.gguf", "absent.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")
    refused(tmp_path / "pipe.gguf", "not a regular file")


# --- cut short and mutated ---------------------------------------------------------------------


def test_cut_short_anywhere(f32_file, tmp_path):
    whole = f32_file.read_bytes()
    path = tmp_path / "cut.gguf"
    for size in [*range(0, 12000, 61), *range(12000, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(path, "cut short|fit into|empty|damaged")


@pytest.fixture(scope="module")
def header_bytes(f32_file):
    return min(info.offset for info in read_header(f32_file).tensors.values())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_headers(f32_file, header_bytes, tmp_path_factory, data):
    """Only CheckpointError escapes, and what loads is whole."""
    contents = bytearray(f32_file.read_bytes())
    interesting = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header_bytes - 1))
        kind = data.draw(st.sampled_from(["byte", "eight bytes", "insert", "delete"]))
        if kind == "byte":
            contents[at] = data.draw(interesting)
        elif kind == "eight bytes":
            contents[at : at + 8] = bytes([data.draw(interesting)]) * 8
        elif kind == "insert":
            contents[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            del contents[at : at + data.draw(st.integers(1, 8))]
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(contents)
    try:
        found = reader.read(path)
    except CheckpointError:
        return
    assert {name: tensor.shape for name, tensor in found.tensors.items()} == shapes(found.hparams)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_after_a_header(tmp_path_factory, contents):
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + contents)
    with pytest.raises(CheckpointError):
        reader.read(path)

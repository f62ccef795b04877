"""OpenAI's TensorFlow bundle: the genuine files, exact round trips, and what must be refused."""

from __future__ import annotations

import importlib
import json
import lzma
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.checkpoint import openai
from pellucid.checkpoint.bundle import TABLE_MAGIC, Entry, read_index
from pellucid.checkpoint.checksum import crc32c, masked_crc32c
from pellucid.errors import CheckpointError
from pellucid.hparams import SIZES, HParams
from support.checkpoints import normal_tensors, read_as_written
from support.skips import GENUINE, only_with
from support.vocabulary import MERGES, VOCAB

ROOT = Path(__file__).parents[1]
bundle = importlib.import_module("support.write_openai")

genuine = only_with("OpenAI's files")

TINY = HParams(n_vocab=258, n_ctx=8, n_embd=12, n_head=3, n_layer=2)
INDEX, DATA = "model.ckpt.index", "model.ckpt.data-00000-of-00001"


@pytest.fixture(scope="module")
def tensors():
    return normal_tensors(TINY, 7)


@pytest.fixture
def folder(tmp_path, tensors):
    bundle.write(tmp_path / "model", TINY, tensors, VOCAB, MERGES)
    return tmp_path / "model"


def rewrite_index(folder, change):
    """Write the index again with its entries changed: checksums are right, contents are not."""
    entries = change(read_index(folder / INDEX))
    (folder / INDEX).write_bytes(bundle.table(bundle.index_pairs(entries)))


def refused(folder, match, **options):
    with pytest.raises(CheckpointError, match=match):
        openai.read(folder, **options)


# --- checksums and names -----------------------------------------------------------------------


def bytewise(data):
    """CRC-32C bit by bit, from its definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720, appendix B.4, and the customary check value
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_known(data, crc):
    assert crc32c(data) == crc


@pytest.mark.parametrize("size", [1, 511, 512, 513, 519, 4096, 4097, 4103, 65537, 70001])
def test_crc32c_of_every_fold(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(data) == bytewise(data.tobytes())


def test_crc32c_of_a_large_array():
    data = np.random.default_rng(1).integers(0, 256, 3_333_331, dtype=np.uint8)
    table = [bytewise([byte ^ 0xFF]) ^ 0xFF000000 for byte in range(256)]
    crc = 0xFFFFFFFF
    for byte in data.tobytes():
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    assert crc32c(data) == crc ^ 0xFFFFFFFF


def test_names_both_ways():
    names = openai.openai_names(SIZES["gpt2"])
    assert names["wte.weight"] == "model/wte"
    assert names["wpe.weight"] == "model/wpe"
    assert names["h.0.attn.c_attn.weight"] == "model/h0/attn/c_attn/w"
    assert names["h.11.mlp.c_proj.bias"] == "model/h11/mlp/c_proj/b"
    assert names["h.3.ln_2.weight"] == "model/h3/ln_2/g"
    assert names["ln_f.weight"] == "model/ln_f/g"
    assert names["ln_f.bias"] == "model/ln_f/b"
    assert len(names) == len(set(names.values())) == 148


# --- the genuine files -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def genuine_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genuine")
    for name in ("hparams.json", "encoder.json", "vocab.bpe", "checkpoint", INDEX):
        shutil.copyfile(GENUINE / name, folder / name)
    (folder / DATA).write_bytes(lzma.decompress((GENUINE / f"{DATA}.first3MiB.xz").read_bytes()))
    return folder


@genuine
def test_genuine_index_names_every_tensor():
    entries = read_index(GENUINE / INDEX)
    assert {name: entry.shape for name, entry in entries.items()} == openai.openai_shapes(
        SIZES["gpt2"]
    )
    assert {entry.dtype for entry in entries.values()} == {"float32"}
    ends = [0, *(entry.end for entry in entries.values())]
    assert [entry.offset for entry in entries.values()] == ends[:-1]
    assert ends[-1] == 4 * SIZES["gpt2"].n_params


@genuine
def test_our_writer_writes_the_genuine_index_byte_for_byte():
    entries = read_index(GENUINE / INDEX)
    assert bundle.table(bundle.index_pairs(entries)) == (GENUINE / INDEX).read_bytes()


@genuine
def test_genuine_values(genuine_folder):
    bias = openai.read_tensor(genuine_folder, "model/h0/attn/c_attn/b")  # checksum verified
    assert bias.shape == (2304,)
    np.testing.assert_allclose(bias[:3], [0.48034, -0.52543, -0.42926], atol=5e-6)


@genuine
def test_genuine_folder_is_cut_short(genuine_folder):
    refused(
        genuine_folder,
        r"cut short: tensor model/h0/attn/c_attn/w needs bytes 9216\.\.7087104 but the file has "
        r"3145728",
    )


# --- our own -----------------------------------------------------------------------------------


def test_round_trip_is_exact_and_mapped(folder, tensors):
    read_as_written(openai.read(folder), folder, TINY, tensors)


def test_several_data_files(tmp_path, tensors):
    bundle.write(tmp_path, TINY, tensors, VOCAB, MERGES, n_shards=3)
    found = openai.read(tmp_path)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    (tmp_path / "model.ckpt.data-00002-of-00003").unlink()
    refused(tmp_path, "data-00002-of-00003")


@pytest.mark.parametrize("per_block", [1, 5, 16, 17])
def test_index_of_many_blocks(folder, per_block):
    entries = read_index(folder / INDEX)
    (folder / INDEX).write_bytes(bundle.table(bundle.index_pairs(entries), per_block))
    assert read_index(folder / INDEX) == entries


def test_other_prefix_with_and_without_the_file_that_names_it(folder):
    for name in (INDEX, DATA):
        (folder / name).rename(folder / name.replace("model.ckpt", "model-1000"))
    refused(folder, "model.ckpt.index")
    (folder / "checkpoint").write_text('model_checkpoint_path: "model-1000"\n')
    assert openai.read(folder).hparams == TINY
    (folder / "checkpoint").unlink()
    assert openai.read(folder).hparams == TINY
    (folder / "other.index").write_bytes(b"")
    refused(folder, "exactly one .index file, has 2")


def test_misaligned_data(folder, tensors):
    def move(entries):
        return {name: replace(entry, offset=entry.offset + 1) for name, entry in entries.items()}

    rewrite_index(folder, move)
    (folder / DATA).write_bytes(b"\0" + (folder / DATA).read_bytes())
    found = openai.read(folder)
    np.testing.assert_array_equal(found.tensors["wte.weight"], tensors["wte.weight"])
    assert found.tensors["wte.weight"].flags.aligned


# --- refusals ----------------------------------------------------------------------------------

C_ATTN = "model/h1/attn/c_attn/w"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda e: {n: x for n, x in e.items() if n != C_ATTN},
            "missing tensors: h.1.attn.c_attn.weight",
        ),
        (
            lambda e: {**e, "model/h9/ln_1/b": replace(e["model/ln_f/b"], offset=1 << 20)},
            "no GPT-2 of 2 layers has: 'model/h9/ln_1/b'",
        ),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], shape=(1, 36, 12))},
            "h.1.attn.c_attn.weight has shape",
        ),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], shape=(12, 1, 36))},
            "h.1.attn.c_attn.weight has shape",
        ),
        (lambda e: {**e, C_ATTN: replace(e[C_ATTN], shape=(1, 12, 35))}, "bytes cannot be"),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], shape=(1, 1 << 40, 1 << 39))},
            "no GPT-2 has a tensor of that shape",
        ),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], shape=(1, 1 << 39, 1 << 39))},
            "bytes cannot be",
        ),
        (lambda e: {**e, C_ATTN: replace(e[C_ATTN], dtype="int32")}, "is int32"),
        (lambda e: {**e, C_ATTN: replace(e[C_ATTN], shard=1)}, "file 1 of 1"),
        (lambda e: {**e, C_ATTN: replace(e[C_ATTN], offset=1 << 62)}, "cut short: tensor model/h1"),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], offset=e[C_ATTN].offset - 4)},
            "'model/h1/attn/c_attn/b' and 'model/h1/attn/c_attn/w' overlap",
        ),
        (
            lambda e: {**e, C_ATTN: replace(e[C_ATTN], crc32c=1)},
            "c_attn/w does not match its check",
        ),
        (lambda e: {**e, "x" * 300: e[C_ATTN]}, "a name of 300 bytes"),
        (lambda e: {**e, "mödel": e[C_ATTN]}, "not ASCII"),
    ],
)
def test_index_with_wrong_contents(folder, change, match):
    rewrite_index(folder, change)
    refused(folder, match)


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        ([], "is empty"),
        ([(b"a", b"")], "has no header"),
        ([(b"", b"")], "claims 0 data files"),
        ([(b"", b"\x08\x80\x80\x80\x01")], "data files"),
        ([(b"", b"\x08\x01\x10\x01")], "big-endian"),
        ([(b"", b"\x08\x01\x1a\x02\x10\x02")], "reader of version 2"),
        ([(b"", b"\x08\x01\x08\x01")], "repeated"),
        ([(b"", b"\x08\x01\x22\x00")], "unknown"),
        ([(b"", b"\x08" + b"\xff" * 10 + b"\x01")], "beyond 64 bits"),
        ([(b"", b"\x08\x01"), (b"a", b"\x08\x01")], "no checksum"),
        ([(b"", b"\x08\x01"), (b"a", b"\x08\x63\x35\0\0\0\0")], "number 99 is no known type"),
        ([(b"", b"\x08\x01"), (b"a", b"\x08\x01\x35\0\0\0\0\x3a\0")], "slices"),
        ([(b"", b"\x08\x01"), (b"a", b"\x08\x01\x12\x02\x18\x01\x35\0\0\0\0")], "not fully known"),
        ([(b"", b"\x08\x01"), (b"a", b"\x12\x7f")], "runs past its record"),
        ([(b"", b"\x08\x01"), (b"a", b"\x09")], "wire type 1"),
        ([(b"", b"\x08\x01"), (b"b", b""), (b"a", b"")], "no known type|not sorted"),
    ],
)
def test_malformed_records(tmp_path, pairs, match):
    (tmp_path / INDEX).write_bytes(bundle.table(pairs))
    with pytest.raises(CheckpointError, match=match):
        read_index(tmp_path / INDEX)


def good_entry(shape=(3,), offset=0):
    return bundle.entry_record(Entry("float32", shape, 0, offset, 12, 0))


@pytest.mark.parametrize("per_block", [None, 1])
def test_unsorted_or_repeated_keys(tmp_path, per_block):
    header = (b"", b"\x08\x01")
    for keys in ((b"b", b"a"), (b"a", b"a")):
        pairs = [header, *((key, good_entry(offset=12 * i)) for i, key in enumerate(keys))]
        (tmp_path / INDEX).write_bytes(bundle.table(pairs, per_block))
        with pytest.raises(CheckpointError, match="not sorted or not unique"):
            read_index(tmp_path / INDEX)


def varints(*numbers):
    return b"".join(bundle.varint(number) for number in numbers)


def stored(block, kind=b"\0"):
    return bytes(block) + kind + struct.pack("<I", masked_crc32c(bytes(block) + kind))


def assembled(contents, index=None, meta=None):
    """An index file of one data block, with right checksums. index: (key, handle) pairs."""
    first, meta = stored(contents), stored(bundle.block([]) if meta is None else meta)
    index = bundle.block([(b"b", varints(0, len(contents)))] if index is None else index)
    footer = varints(len(first), len(meta) - 5, len(first) + len(meta), len(index))
    footer = footer.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    return first + meta + stored(index) + footer


ONE = bundle.block([(b"", b"\x08\x01"), (b"a", good_entry())])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (assembled(ONE, [(b"a", varints(0, len(ONE)) + b"\0")]), "extra bytes"),
        (assembled(ONE, [(b"a", varints(0))]), "runs past its end"),
        (assembled(ONE, [(b"a", varints(1 << 63, 1 << 63))]), "a block needs bytes"),
        (assembled(ONE, [(b"Z", varints(0, len(ONE)))]), "not sorted"),  # "a" is beyond "Z"
        (assembled(ONE, [(b"a", varints(0, len(ONE))), (b"a", b"")]), "not sorted"),
        (assembled(ONE, [(b"a", varints(0, len(ONE))), (b"b", varints(0, len(ONE)))]), "not sort"),
        (assembled(ONE, meta=ONE), "a meta block"),
        (assembled(ONE[:-8] + struct.pack("<II", 1, 1)), "restart point 1 is not the start"),
        (assembled(ONE[:-4] + struct.pack("<I", 1 << 31)), "claims 2147483648 restart points"),
        (assembled(ONE[:-4] + bytes(4)), "claims 0 restart points"),
        (assembled(b"\0\0"), "too short"),
        (assembled(b"\1\1\0a" + struct.pack("<II", 0, 1)), "runs past its block"),
        (assembled(b"\0\x09\0a" + struct.pack("<II", 0, 1)), "runs past its block"),
        (assembled(b"\0\1\x09a" + struct.pack("<II", 0, 1)), "runs past its block"),
        (assembled(b"\xff" * 9 + b"\x02\0\0" + struct.pack("<II", 0, 1)), "beyond 64 bits"),
    ],
)
def test_malformed_tables(tmp_path, data, match):
    (tmp_path / INDEX).write_bytes(assembled(ONE))
    assert list(read_index(tmp_path / INDEX)) == ["a"]
    (tmp_path / INDEX).write_bytes(data)
    with pytest.raises(CheckpointError, match=match):
        read_index(tmp_path / INDEX)


def test_snappy_is_refused_by_name(folder):
    data = bytearray((folder / INDEX).read_bytes())
    # The only data block begins at 0; its handle is the last value of the index block.
    size = len(bundle.block(bundle.index_pairs(read_index(folder / INDEX))))
    data[size] = 1
    data[size + 1 : size + 5] = struct.pack("<I", masked_crc32c(data[: size + 1]))
    (folder / INDEX).write_bytes(data)
    refused(folder, "compressed with Snappy")


def test_index_cut_short_anywhere(folder):
    whole = (folder / INDEX).read_bytes()
    for size in range(0, len(whole), 7):
        (folder / INDEX).write_bytes(whole[:size])
        refused(folder, "too short for an index|does not end as a TensorFlow index")


def test_every_byte_of_the_index_counts(folder):
    whole = (folder / INDEX).read_bytes()
    before = read_index(folder / INDEX)
    rng = np.random.default_rng(3)
    footer = range(len(whole) - 48, len(whole))
    for at in [*rng.integers(0, len(whole) - 48, 150).tolist(), *footer]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        (folder / INDEX).write_bytes(changed)
        try:
            found = read_index(folder / INDEX)
        except CheckpointError:
            continue
        assert at in footer  # only the zeros that fill the footer up may differ
        assert found == before


def test_data_cut_short_and_damaged(folder):
    whole = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(whole[:-1])
    refused(folder, f"cut short: tensor model/wte needs bytes .*the file has {len(whole) - 1};")
    (folder / DATA).write_bytes(b"")
    refused(folder, "cut short: tensor model/h0/attn/c_attn/b needs bytes 0..144 but .* has 0;")
    rng = np.random.default_rng(4)
    for at in rng.integers(0, len(whole), 20):
        changed = bytearray(whole)
        changed[at] ^= 1  # the least bit of some byte
        (folder / DATA).write_bytes(changed)
        refused(folder, "does not match its checksum")
    openai.read(folder, verify=False)  # still numbers, if wrong ones
    (folder / DATA).unlink()
    refused(folder, "data-00000-of-00001")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tmp_path, tensors, bad):
    changed = {name: tensor.copy() for name, tensor in tensors.items()}
    changed["h.1.mlp.c_fc.weight"][3, 5] = bad
    bundle.write(tmp_path, TINY, changed, VOCAB, MERGES)
    refused(tmp_path, r"h.1.mlp.c_fc.weight holds -?(nan|inf) at index \[3, 5\]")


@pytest.mark.parametrize(
    "text", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "", "C:x", "..", ".hidden", "a\tb"]
)
def test_checkpoint_names_no_other_place(folder, text):
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{text}"\n')
    refused(folder, "plain file name")
    (folder / "checkpoint").write_text(text)
    refused(folder, "does not name a model_checkpoint_path")


@pytest.mark.parametrize("home", ["/home/me/models/run1/", "C:\\\\run1\\\\", "D:/x/"])
def test_where_it_was_saved_once(folder, home):
    """P8: TensorFlow writes an absolute path; the file of that name in this folder is meant."""
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{home}model.ckpt"\n')
    assert openai.read(folder).hparams == TINY
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{home}other.ckpt"\n')
    refused(folder, "plain file name")


def test_links_out_of_the_folder(folder, tmp_path):
    for name in (INDEX, DATA, "hparams.json", "encoder.json", "vocab.bpe"):
        away = tmp_path / f"away-{name}"
        (folder / name).rename(away)
        (folder / name).symlink_to(away)
        refused(folder, "leads out of the model's folder")
        (folder / name).unlink()
        away.rename(folder / name)
    openai.read(folder)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{}", "missing"),
        ("[]", "object"),
        ("{", "JSON"),
        ("\xff", "hparams.json"),
        ("[" * 40000, "hparams.json"),
        (json.dumps({**TINY.to_dict(), "auto_map": {}}), "auto_map"),
        (json.dumps({**TINY.to_dict(), "n_layer": 10**9}), "n_layer"),
        (json.dumps({**TINY.to_dict(), "n_head": "3"}), "n_head"),
        (json.dumps({**TINY.to_dict(), "n_layer": 3}), "missing tensors: h.2"),
        (json.dumps({**TINY.to_dict(), "n_layer": 1}), "no GPT-2 of 1 layers"),
        (json.dumps({**TINY.to_dict(), "n_ctx": 9}), "wpe.weight has shape"),
    ],
)
def test_hyperparameters(folder, text, match):
    (folder / "hparams.json").write_text(text, encoding="latin-1")
    refused(folder, match)


@pytest.mark.parametrize("name", ["hparams.json", "encoder.json", "vocab.bpe", INDEX, DATA])
def test_missing_files(folder, name):
    (folder / name).unlink()
    refused(folder, name.replace(".", r"\."))


def test_vocabulary_of_another_model(folder):
    (folder / "encoder.json").write_text(json.dumps({**VOCAB, "Ġ!": len(VOCAB)}))
    (folder / "vocab.bpe").write_text("#version: 0.2\nt h\nĠ !\n", encoding="utf-8")
    refused(folder, "259 tokens")


def test_unknown_tensor_name(folder):
    with pytest.raises(CheckpointError, match="no tensor 'model/h7/ln_1/b'"):
        openai.read_tensor(folder, "model/h7/ln_1/b")


# --- fuzzing -----------------------------------------------------------------------------------

PAIRS = bundle.index_pairs(
    {
        "a/b": Entry("float32", (1, 3), 0, 0, 12, 9),
        "a/w": Entry("float32", (), 0, 12, 4, 8),
    }
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutations_under_right_checksums(tmp_path_factory, data):
    """Only CheckpointError escapes, whatever a block holds: its checksum is made to fit."""
    contents = bytearray(bundle.block(PAIRS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(contents) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "delete"]))
        if kind == "set":
            contents[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            contents[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        elif len(contents) > 1:
            del contents[at]

    path = tmp_path_factory.getbasetemp() / "fuzz.index"
    path.write_bytes(assembled(contents))
    try:
        for entry in read_index(path).values():
            assert entry.size >= 0
            assert len(entry.shape) <= 8
    except CheckpointError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_before_a_footer(tmp_path_factory, contents):
    path = tmp_path_factory.getbasetemp() / "noise.index"
    path.write_bytes(contents.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC))
    with pytest.raises(CheckpointError):
        read_index(path)

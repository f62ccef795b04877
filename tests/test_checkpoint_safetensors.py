"""RELIABILITY A2, A3: a stranger's safetensors file is refused by name, fast, in little memory."""

from __future__ import annotations

import json
import resource
import struct
import tracemalloc
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from pellucid.checkpoint.contents import check_finite
from pellucid.checkpoint.safetensors_file import SafetensorsFile, write
from pellucid.errors import CheckpointError
from pellucid.files import MOST_BYTES
from pellucid.hparams import SIZES
from pellucid.weights import shapes
from support.program import python
from support.skips import needs
from support.work import calls

GOOD = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]},
    "c": {"dtype": "U8", "shape": [], "data_offsets": [32, 33]},
}
N_DATA = 33


def file_of(header: bytes | dict, data: bytes = bytes(N_DATA), n: int | None = None) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if n is None else n) + header + data


def changed(name: str, **entry: object) -> dict:
    return {**GOOD, name: {**GOOD[name], **entry}}


def only(shape: list, offsets: list, dtype: object = "F32") -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


DEEP = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

ATTACKS = {
    "empty": (b"", "too short"),
    "seven bytes": (b"\1" * 7, "too short"),
    "header longer than the file": (file_of(GOOD, n=10_000), "cut short"),
    "header of 2**63": (file_of(GOOD, n=1 << 63), "more than the format"),
    "header of 2**64-1": (file_of(GOOD, n=(1 << 64) - 1), "more than the format"),
    "header of 100,000,001": (file_of(GOOD, n=100_000_001), "more than the format"),
    "header beyond ours": (file_of(b"{" + b" " * (3 << 20) + b"}", b""), "no GPT-2 needs"),
    "header of nothing": (file_of(b"", b""), "does not begin"),
    "not UTF-8": (file_of(b'{"\xff\xfe":1}'), "not UTF-8"),
    "not JSON": (file_of(b"{nonsense}"), "not JSON"),
    "cut JSON": (file_of(json.dumps(GOOD).encode()[:-9]), "not JSON"),
    "a list": (file_of(b"[1, 2]"), "does not begin"),
    "space before": (file_of(b" {}", b""), "does not begin"),
    "a key twice": (
        file_of(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"\0",
        ),
        "occurs twice",
    ),
    "a field twice": (
        file_of(b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', b"\0"),
        "occurs twice",
    ),
    "nested deeply": (file_of(DEEP), "nested too deeply"),
    "lone surrogate": (file_of(b'{"\\ud800":{}}', b""), "UTF-8"),
    "NaN": (file_of(b'{"a":NaN}', b""), "not a JSON number"),
    "metadata of numbers": (file_of({**GOOD, "__metadata__": {"a": 1}}), "__metadata__"),
    "metadata a list": (file_of({**GOOD, "__metadata__": []}), "__metadata__"),
    "metadata null": (file_of({**GOOD, "__metadata__": None}), "__metadata__"),
    "entry a number": (file_of({"a": 3}), "dtype, shape"),
    "entry without shape": (file_of({"a": {"dtype": "F32", "data_offsets": [0, 4]}}), "dtype, sh"),
    "entry with more": (file_of(changed("a", extra=1)), "dtype, shape"),
    "unknown dtype": (file_of(changed("a", dtype="F33")), "unknown dtype"),
    "dtype a list": (file_of(changed("a", dtype=["F32"])), "unknown dtype"),
    "shape overflows": (file_of(only([1 << 32, 1 << 32], [0, 0])), "can count"),
    "shape overflows, then 0": (file_of(only([1 << 62, 1 << 62, 0], [0, 0]), b""), "can count"),
    "shape negative": (file_of(only([-2, -3], [0, 24])), "shape"),
    "shape minus zero": (
        file_of(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', b""),
        "-0 is not",
    ),
    "shape fractional": (file_of(only([2.0, 3], [0, 24])), "shape"),
    "shape true": (file_of(only([True], [0, 4])), "shape"),
    "shape of 2**64": (file_of(only([1 << 64], [0, 24])), "shape"),
    "shape of 100 digits": (file_of(b'{"a":{"shape":[' + b"9" * 100 + b"]}}"), "too long"),
    "shape of 10**6 sizes": (file_of(only([1] * 200_000, [0, 4])), "shape"),
    "bytes do not fit the shape": (file_of(changed("a", shape=[2, 4])), "needs 32"),
    "more bytes than the shape": (file_of(changed("a", shape=[2, 2])), "needs 16"),
    "offsets negative": (file_of(only([6], [-24, 0])), "data_offsets"),
    "offsets reversed": (file_of(only([6], [24, 0])), "before it starts"),
    "offsets three": (file_of(only([6], [0, 24, 24])), "data_offsets"),
    "a gap": (
        file_of(
            {"a": GOOD["c"] | {"data_offsets": [0, 1]}, "b": GOOD["c"] | {"data_offsets": [2, 3]}},
            bytes(3),
        ),
        "gap",
    ),
    "a gap at the begin": (file_of(only([2], [8, 16]), bytes(16)), "gap"),
    "overlap": (
        file_of(
            {
                "a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
                "b": {"dtype": "U8", "shape": [8], "data_offsets": [4, 12]},
            },
            bytes(12),
        ),
        "overlaps",
    ),
    "the same bytes twice": (
        file_of(
            {
                "a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
                "b": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
            },
            bytes(8),
        ),
        "overlaps",
    ),
    "trailing bytes": (file_of(GOOD, bytes(N_DATA + 1)), "belong to no tensor"),
    "cut data": (file_of(GOOD, bytes(N_DATA - 1)), "cut short"),
    "offsets beyond the file": (file_of(only([1 << 40], [0, 1 << 42])), "cut short"),
}


def refused(path: Path) -> None:
    with suppress(CheckpointError):
        SafetensorsFile(path)


@pytest.mark.parametrize("name", ATTACKS)
def test_header_attacks_are_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = ATTACKS[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=message) as error:
        SafetensorsFile(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 50 * 1024
    assert len(str(error.value)) < 1000 + len(str(path))
    assert calls(lambda: refused(path)) <= 200 + len(content)  # at most one a byte


@pytest.mark.parametrize(
    "filling",
    ["[],", "{},", '"",', "1,", "1.5,", '"%06x",'],
    ids=["lists", "tables", "texts", "ints", "floats", "names"],
)
def test_the_largest_header_costs_little(filling: str, tmp_path: Path) -> None:
    n = MOST_BYTES // len(filling % 1 if "%" in filling else filling) - 10
    body = "".join(filling % i for i in range(n - n // 50)) if "%" in filling else filling * n
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(b'{"a":[' + body[:-1].encode() + b"]}", b""))
    program = """if True:
        import sys
        from pathlib import Path
        from pellucid.checkpoint.safetensors_file import SafetensorsFile
        from pellucid.errors import CheckpointError
        # A forked process inherits its parent's peak: ask for what is held now.
        held = lambda: int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
        before = held()
        try:
            SafetensorsFile(Path(sys.argv[1]))
        except CheckpointError:
            peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
            print(peak - before)
    """
    needs("/proc")
    assert int(python(program, path).stdout) <= 50 * 1024  # kilobytes
    assert calls(lambda: refused(path)) < 1.05 * path.stat().st_size  # about one a byte at most


def test_a_pipe_or_folder_in_the_files_place(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("pipe", "folder", "absent"):
        with pytest.raises(CheckpointError):
            SafetensorsFile(tmp_path / f"{name}.safetensors")


def test_good_files_are_read_without_a_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "x": rng.standard_normal((3, 5), dtype=np.float32),
        "y": rng.standard_normal(7),
        "z": rng.standard_normal((2, 2)).astype(np.float16),
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata={"who": "me"})
    opened = SafetensorsFile(path)
    assert opened.metadata == {"who": "me"}
    for name, tensor in tensors.items():
        found = opened.tensor(name)
        np.testing.assert_array_equal(found, tensor)
        assert not found.flags.writeable or name == "z"
    assert np.shares_memory(opened.tensor("x"), opened.data)
    assert opened.tensor("z").dtype == np.float32
    assert opened.tensor("y").dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_we_write_others_read(dtype: str, tmp_path: Path) -> None:
    torch = needs("torch")
    rng = np.random.default_rng(1)
    tensors = {
        "x": rng.standard_normal((5, 3), dtype=np.float32),
        "ties": (np.arange(512, dtype=np.uint32) * 0x4000 + 0x3F800000).view(np.float32),
        "small": np.array([0.0, -0.0, 1e-45, 6e-8, -1e-40], np.float32),
    }
    path = tmp_path / "model.safetensors"
    write(path, tensors, dtype=dtype, metadata={"format": "pt"})
    opened = SafetensorsFile(path)
    with safe_open(path, "pt") as file:
        for name, tensor in tensors.items():
            wanted = torch.from_numpy(tensor).to(getattr(torch, dtype))
            assert torch.equal(file.get_tensor(name), wanted), name
            np.testing.assert_array_equal(opened.tensor(name), wanted.float().numpy())


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520.0), ("bfloat16", 3.4e38)])
def test_a_number_that_the_dtype_cannot_hold(dtype: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tensor big"):
        write(tmp_path / "x", {"big": np.array([1, value], np.float32)}, dtype=dtype)


def test_scan_of_gpt2_is_one_pass() -> None:
    """A few calls for each chunk, and no array as large as one."""
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes(SIZES["gpt2"]).items()}
    for tensor in tensors.values():
        tensor.fill(0.5)
    tracemalloc.start()
    try:
        n = calls(lambda: check_finite(tensors, Path("gpt2")))
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()
    assert n < 10 * sum(-(-tensor.size // (1 << 18)) for tensor in tensors.values())
    tensors["h.7.mlp.c_fc.weight"][701, 3001] = np.inf
    with pytest.raises(CheckpointError, match=r"h\.7\.mlp\.c_fc\.weight .* \[701, 3001\]"):
        check_finite(tensors, Path("gpt2"))


def test_scan_is_not_fooled_by_large_or_cancelling_numbers() -> None:
    highest = np.finfo(np.float32).max
    check_finite({"a": np.full(1000, highest, np.float32)}, Path("x"))
    check_finite({"a": np.full(1000, 60000, np.float16)}, Path("x"))
    for bad in (np.nan, np.inf, -np.inf):
        tensor = np.full(1_000_000, -highest, np.float32)
        tensor[[5, 999_999]] = bad
        with pytest.raises(CheckpointError, match=r"index \[5\]"):
            check_finite({"a": tensor}, Path("x"))
    with pytest.raises(CheckpointError, match=r"index \[0\]"):
        check_finite({"a": np.array([np.inf, -np.inf], np.float32)}, Path("x"))


# --- A3: mutated headers -------------------------------------------------------------------------

SEED = json.dumps(GOOD, separators=(",", ":")).encode()
WORDS = [
    *(b'"a"', b'"b"', b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"F32"'),
    *(b"[", b"]", b"{", b"}", b",", b":", b"null", b"true", b"NaN", b"-0", b"-1", b"1e400", b"0.0"),
    *(b"[0,0]", b"[24,32]", b"18446744073709551616", b"9223372036854775807", b"\\ud800", b"\0"),
    *(b'"BF16"', b'"F4"', b'"BOOL"', b" ", b"\n", b"\xff", b"\xc3\xa9", b"0", b"24", b"32", b"33"),
]
EDIT = st.tuples(
    st.integers(0, len(SEED) + 8),
    st.integers(0, 12),
    st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)),
)
SHAPE = st.lists(st.one_of(st.integers(0, 4), st.integers(-1, 1 << 65)), max_size=4)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "F16", "BF16", "U8", "BOOL", "I64", "F4", "x", 3]),
        "shape": SHAPE,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=1, max_size=3),
    }
)
TABLE = st.dictionaries(st.sampled_from(["a", "b", "c", "__metadata__", "é", ""]), ENTRY)


WIDTHS = {"F32": 4, "F64": 8, "F16": 2, "BF16": 2, "U8": 1, "BOOL": 1, "I64": 8, "F8_E4M3": 1}
SOUND = st.dictionaries(
    st.text(max_size=4),
    st.tuples(st.sampled_from(sorted(WIDTHS)), st.lists(st.integers(0, 3), max_size=3)),
    max_size=3,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    kind, data = draw(st.integers(0, 4)), None
    if kind == 0:
        header = json.dumps(draw(TABLE)).encode()
    elif kind == 1:  # whole and sound but for at most one edit
        table, end = {}, 0
        for name, (dtype, shape) in draw(SOUND).items():
            start, end = end, end + WIDTHS[dtype] * prod(shape)
            table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        header, data = json.dumps(table).encode(), bytes(end)
        for at, cut, put in draw(st.lists(EDIT, max_size=1)):
            header = header[:at] + put + header[at + cut :]
    else:
        header = SEED
        for at, cut, put in draw(st.lists(EDIT, min_size=1, max_size=4)):
            header = header[:at] + put + header[at + cut :]
    n = len(header) + draw(st.sampled_from([0] * 12 + [-1, 1, 8, N_DATA, 1 << 40]))
    if data is None:
        data = bytes(draw(st.sampled_from([N_DATA] * 6 + [0, 8, N_DATA - 1, N_DATA + 1])))
    return file_of(header, data, max(n, 0))


def fuzz(path: Path, count: int) -> int:
    """Each is refused with CheckpointError, or taken by the format's own reader too.

    Returns how many were taken.
    """
    taken = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count < 10_000,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated())
    def run(content: bytes) -> None:
        nonlocal taken
        path.write_bytes(content)
        try:
            opened = SafetensorsFile(path)
            for name, place in opened.places.items():
                if place.dtype in ("F32", "F64", "F16", "BF16"):
                    opened.tensor(name)
        except CheckpointError:
            return
        taken += 1
        try:
            with safe_open(path, "np") as file:
                assert set(file.keys()) == set(opened.places)
        except SafetensorError as error:
            pytest.fail(f"we take what the format's reader refuses ({error}): {content!r}")

    run()
    return taken


def test_mutated_headers(tmp_path: Path) -> None:
    assert fuzz(tmp_path / "model.safetensors", 600) > 5  # what is drawn changes with the sources


@pytest.mark.slow
def test_mutated_headers_in_full(tmp_path: Path) -> None:
    assert fuzz(tmp_path / "model.safetensors", 10_000) > 250


def test_the_seed_itself_is_good(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(GOOD))
    assert set(SafetensorsFile(path).places) == {"a", "b", "c"} == set(load_file(path))

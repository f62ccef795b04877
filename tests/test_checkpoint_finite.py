"""The scan for NaN and infinity: what lies side by side in a file is summed at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pellucid.checkpoint.contents import check_finite, checking_finite, stretches
from pellucid.checkpoint.safetensors_file import SafetensorsFile, write
from pellucid.errors import CheckpointError, TokenizerError

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 2, 2), "d": (0,), "e": (7, 1)}


def tensors_of(file: SafetensorsFile) -> dict[str, np.ndarray]:
    return {name: file.tensor(name) for name in file.places}


def written(folder: Path, **values: np.ndarray) -> dict[str, np.ndarray]:
    write(folder / "x.safetensors", {name: value.astype("f4") for name, value in values.items()})
    return tensors_of(SafetensorsFile(folder / "x.safetensors"))


def test_a_files_numbers_are_one_stretch(tmp_path) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(shape).astype("f4") for name, shape in SHAPES.items()}
    (whole,) = stretches(written(tmp_path, **values).values())
    np.testing.assert_array_equal(whole, np.concatenate([v.reshape(-1) for v in values.values()]))


def test_every_number_is_in_a_stretch_once() -> None:
    """Gaps, transposed tensors, other types, the same memory twice."""
    rng = np.random.default_rng(1)
    block = rng.standard_normal(60).astype("f4")
    apart = [block[:10], block[10:30].reshape(4, 5), block[31:40], block[40:60].reshape(5, 4).T]
    for tensors in (
        apart,
        [*apart, block[:10]],
        [block[::2], block[1::2]],
        [block[:30], block[30:].view("i4")],
    ):
        joined = stretches(tensors)
        assert sum(each.size for each in joined) == sum(each.size for each in tensors)
        for kind in ("f4", "i4"):
            ours = [each for each in joined if each.dtype == kind]
            theirs = [each.reshape(-1) for each in tensors if each.dtype == kind]
            if theirs:
                np.testing.assert_array_equal(
                    np.sort(np.concatenate(ours)), np.sort(np.concatenate(theirs))
                )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "index"), [("a", (0, 0)), ("a", (2, 3)), ("b", (4,)), ("e", (6, 0))]
)
def test_each_place_is_seen_and_named(name: str, index: tuple[int, ...], bad: float) -> None:
    tensors = {each: np.ones(shape, "f4") for each, shape in SHAPES.items()}
    check_finite(tensors, Path("x"))
    tensors[name][index] = bad
    with pytest.raises(CheckpointError, match=rf"tensor {name} holds .* at index \[{index[0]}"):
        check_finite(tensors, Path("x"))


def test_large_sums_of_a_whole_file_are_no_infinity(tmp_path) -> None:
    high = np.full(1000, np.finfo("f4").max, "f4")
    check_finite(written(tmp_path, a=high, b=high, c=-high), Path("x"))


def test_the_scan_ends_with_the_block_and_its_error_goes_first() -> None:
    bad = {"a": np.array([1.0, np.nan], "f4")}
    with checking_finite({"a": np.ones(3, "f4")}, Path("x")):
        pass
    with (
        pytest.raises(CheckpointError, match="tensor a holds nan"),
        checking_finite(bad, Path("x")),
    ):
        pass
    with (
        pytest.raises(CheckpointError, match="tensor a holds nan"),
        checking_finite(bad, Path("x")),
    ):
        raise TokenizerError("and the tokenizer is broken, too")
    with pytest.raises(TokenizerError), checking_finite({}, Path("x")):
        raise TokenizerError("only the tokenizer is broken")
    assert not [each for each in threading.enumerate() if each.name == "check_finite"]

"""Our own folder: RELIABILITY A8, every flipped bit is found; writes that cannot half-happen."""

from __future__ import annotations

import ctypes
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.errors import CheckpointError, PellucidError
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from support.checkpoints import byte_vocabulary, normal_tensors
from support.disk import FullDisk, kill_often
from support.skips import only_with

HPARAMS = HParams(n_vocab=260, n_ctx=8, n_embd=12, n_head=3, n_layer=2)


@pytest.fixture
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_folder(byte_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    return checkpoint.save(
        tmp_path / "model", HPARAMS, normal_tensors(HPARAMS), tokenizer, card={"loss": 1.5}
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_round_trip(dtype: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    tensors = normal_tensors(HPARAMS)
    checkpoint.save(tmp_path / "a", HPARAMS, tensors, tokenizer, dtype=dtype, template="roles")
    found = checkpoint.load(tmp_path / "a")
    assert (found.hparams, found.template) == (HPARAMS, "roles")
    step = {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_allclose(found.tensors[name], tensor, rtol=step, atol=1e-7 * bool(step))
    # What was rounded once stays: saved again in the same way, the files are the same.
    checkpoint.save(
        tmp_path / "b", HPARAMS, found.tensors, tokenizer, dtype=dtype, template="roles"
    )
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_without_tokenizer(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a", HPARAMS, normal_tensors(HPARAMS))
    assert checkpoint.load(tmp_path / "a").tokenizer is None


def refuses(folder: Path) -> bool:
    try:
        checkpoint.load(folder)
    except PellucidError:
        return True
    return False


def test_one_flipped_bit_is_always_found(folder: Path) -> None:
    rng = random.Random(8)
    files = sorted(folder.iterdir())
    assert {"config.json", "manifest.json", "model.safetensors", "vocab.json", "merges.txt"} <= {
        path.name for path in files
    }
    for path in files:
        content = path.read_bytes()
        for _ in range(200):
            offset, bit = rng.randrange(len(content)), rng.randrange(8)
            with open(path, "r+b") as file:  # in place, as a failing disk would
                file.seek(offset)
                file.write(bytes([content[offset] ^ 1 << bit]))
            assert refuses(folder), f"{path.name}: bit {bit} of byte {offset} flipped unseen"
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(content[offset : offset + 1])
    checkpoint.load(folder)


def test_the_error_names_the_file(folder: Path) -> None:
    for name in ("model.safetensors", "config.json", "vocab.json", "merges.txt"):
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        with pytest.raises(CheckpointError, match=rf"{name} is not the file that was saved"):
            checkpoint.load(folder)
        path.unlink()
        with pytest.raises(CheckpointError, match=rf"{name} is missing"):
            checkpoint.load(folder)
        path.write_bytes(content)
    checkpoint.load(folder)


def test_a_swapped_tokenizer_is_found(folder: Path, tmp_path: Path) -> None:
    """Two tokens exchanged: as many as before, a sound vocabulary, other words."""
    path = folder / "vocab.json"
    vocab = json.loads(path.read_text("utf-8"))
    vocab["A"], vocab["B"] = vocab["B"], vocab["A"]
    path.write_text(json.dumps(vocab), "utf-8")
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        checkpoint.load(folder)


def test_a_file_added_later_is_found(folder: Path) -> None:
    for name in ("tokenizer.json", "encoder.json", "vocab.bpe", "model-00001.safetensors"):
        (folder / name).write_text("{}")
        with pytest.raises(CheckpointError, match="was added later"):
            checkpoint.load(folder)
        (folder / name).unlink()
    (folder / "README.md").write_text("notes are welcome")
    checkpoint.load(folder)


def rehash(folder: Path, change: Any = None) -> None:
    """Write the manifest anew, as someone would who wants to deceive."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    found = digests(folder)
    manifest["files"] = {name: found.get(name, "0" * 64) for name in manifest["files"]}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(manifest["files"].items()))
    manifest["together"] = hashlib.sha256(lines.encode()).hexdigest()
    if change is not None:
        change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(more=1), "no more"),
        (lambda m: m.pop("together"), "no more"),
        (lambda m: m.update(together="0" * 64), "does not agree with itself"),
        (lambda m: m.update(version=2), "newer"),
        (lambda m: m.update(version=True), "newer"),
        (lambda m: m.update(format="x"), "format"),
        (lambda m: m.update(files=[]), "must list"),
        (lambda m: m["files"].pop("config.json"), "must list"),
        (lambda m: m["files"].update({"../x.json": "0" * 64}), "plain file name"),
        (lambda m: m["files"].update({"/etc/passwd": "0" * 64}), "plain file name"),
        (lambda m: m["files"].update({"a\\b": "0" * 64}), "plain file name"),
        (lambda m: m["files"].update({"vocab.json": 7}), "not a sha256"),
        (lambda m: m["files"].update({"vocab.json": "0" * 63}), "not a sha256"),
    ],
)
def test_malformed_manifests(folder: Path, change: Any, message: str) -> None:
    rehash(folder)
    checkpoint.load(folder)
    rehash(folder, change)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"version": 2},
        {"format": "hf"},
        {"hparams": {"n_layer": 10**9}},
        {"hparams": []},
        {"hparams": HPARAMS.to_dict() | {"n_layer": 3}},
        {"hparams": HPARAMS.to_dict() | {"n_embd": "12"}},
        {"hparams": HPARAMS.to_dict() | {"n_embd": 12 * 4096, "n_layer": 1000}},
        {"hparams": HPARAMS.to_dict() | {"auto_map": {}}},
        {"template": 3},
        {"card": "text"},
    ],
    ids=str,
)
def test_configuration_is_closed_even_with_right_hashes(
    folder: Path, change: dict[str, Any]
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    rehash(folder)
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


# --- writes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["pellucid", "hf"])
@pytest.mark.parametrize("room", [0, 7, 100, 20_000, 28_000])
def test_a_full_disk_leaves_the_previous_checkpoint(
    folder: Path, format: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = ".gguf" if format == "gguf" else ""
    there, tensors = folder.with_name(f"model{end}"), normal_tensors(HPARAMS, 1)
    if end:  # a file, beside the folder
        checkpoint.save(there, HPARAMS, normal_tensors(HPARAMS), format=format)
    before = digests(folder.parent)
    with monkeypatch.context() as patch:
        FullDisk(min(room, 100) if end else room, patch)
        for path in (there, folder.with_name(f"another{end}")):
            with pytest.raises(CheckpointError, match="No space left"):
                checkpoint.save(path, HPARAMS, tensors, format=format)
    assert digests(folder.parent) == before
    assert {path.name for path in folder.parent.iterdir()} == {"model", there.name}
    checkpoint.save(there, HPARAMS, tensors, format=format)
    assert digests(folder.parent) != before


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two steps"])
def test_replacing(folder: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    new = normal_tensors(HPARAMS, 1)
    checkpoint.save(folder, HPARAMS, new)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert "vocab.json" not in digests(folder)
    np.testing.assert_array_equal(checkpoint.load(folder).tensors["wte.weight"], new["wte.weight"])


@only_with("POSIX")
def test_the_name_is_never_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new change places in one step: nothing is renamed, nothing removed before it."""
    removed = []
    really_remove = shutil.rmtree

    def remove(path: Path, ignore_errors: bool) -> None:
        removed.append(path)
        assert checkpoint.load(folder).hparams == HPARAMS
        really_remove(path, ignore_errors)

    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("took two steps"))
    monkeypatch.setattr(shutil, "rmtree", remove)
    checkpoint.save(folder, HPARAMS, normal_tensors(HPARAMS, 1))
    assert len(removed) == 1
    assert folder not in removed


def test_killed_while_writing(folder: Path) -> None:
    """kill -9 at random moments: the name always holds a whole checkpoint; leftovers are swept."""
    program = """if True:
        import sys
        from pellucid import checkpoint
        found = checkpoint.load(sys.argv[1])
        tensors = {name: tensor.copy() for name, tensor in found.tensors.items()}
        print("ready", flush=True)
        while True:
            checkpoint.save(sys.argv[1], found.hparams, tensors, found.tokenizer)
    """
    kill_often(program, folder, 6, lambda: checkpoint.load(folder))
    checkpoint.save(folder, HPARAMS, normal_tensors(HPARAMS))
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_foreign_folders_are_not_written_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    for target in (home, tmp_path / "file"):
        with pytest.raises(CheckpointError, match=r"choose another|is a file"):
            checkpoint.save(target, HPARAMS, normal_tensors(HPARAMS))
    assert (home / "thesis.tex").read_text() == "years of work"
    (home / "thesis.tex").unlink()
    checkpoint.save(home, HPARAMS, normal_tensors(HPARAMS))  # an empty folder may be used
    (home / "thesis.tex").write_text("again")
    with pytest.raises(CheckpointError, match=r"thesis\.tex"):
        checkpoint.save(home, HPARAMS, normal_tensors(HPARAMS))


def test_parents_are_made_and_links_stay_links(tmp_path: Path) -> None:
    target = checkpoint.save(tmp_path / "a" / "b" / "model", HPARAMS, normal_tensors(HPARAMS))
    (tmp_path / "latest").symlink_to(target)
    checkpoint.save(tmp_path / "latest", HPARAMS, normal_tensors(HPARAMS, 1), format="hf")
    assert (tmp_path / "latest").is_symlink()
    assert checkpoint.detect(target) == "hf"


@only_with("a user's rights")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="cannot write"):
            checkpoint.save(tmp_path / "model", HPARAMS, normal_tensors(HPARAMS))
    finally:
        tmp_path.chmod(0o700)


def test_the_target_may_move(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert checkpoint.load(tmp_path / "elsewhere").card == {"loss": 1.5}

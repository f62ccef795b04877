"""Models by hub name, from a cache made here; no test asks the network."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from pellucid import checkpoint
from pellucid.checkpoint import hub
from pellucid.errors import CheckpointError
from pellucid.hparams import HParams
from support.checkpoints import byte_vocabulary, normal_tensors

HPARAMS = HParams(n_vocab=260, n_ctx=8, n_embd=12, n_head=3, n_layer=2)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def files_of_a_model(folder: Path) -> Path:
    checkpoint.save(folder, HPARAMS, normal_tensors(HPARAMS), format="hf")
    return byte_vocabulary(folder, "vocab.json", "merges.txt")


def put_in_cache(
    cache: Path, model: str, files: Path, *, shared: bool = False, revision: str = "main"
) -> Path:
    """As huggingface_hub lays it out: a snapshot of links to blobs, which `shared` links again."""
    home = cache / f"models--{model.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(COMMIT)
    for path in files.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        blob = home / "blobs" / digest
        if shared and path.suffix == ".safetensors":
            store = cache / "blobs" / digest[:2] / digest
            store.parent.mkdir(parents=True)
            store.write_bytes(path.read_bytes())
            blob.symlink_to(os.path.relpath(store, blob.parent))
        else:
            blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{digest}")
    return snapshot


@pytest.mark.parametrize("shared", [False, True], ids=["blobs", "blobs shared between models"])
@pytest.mark.parametrize(
    ("asked", "cached"),
    [
        ("gpt2", "openai-community/gpt2"),
        ("gpt2", "gpt2"),
        ("gpt2-medium", "openai-community/gpt2-medium"),
        ("openai-community/gpt2", "openai-community/gpt2"),
        ("distilgpt2", "distilbert/distilgpt2"),
        ("microsoft/DialoGPT-small", "microsoft/DialoGPT-small"),
        (f"openai-community/gpt2@{COMMIT}", "openai-community/gpt2"),
    ],
)
def test_from_the_cache(asked: str, cached: str, shared: bool, cache: Path, tmp_path: Path) -> None:
    put_in_cache(cache, cached, files_of_a_model(tmp_path / "files"), shared=shared)
    found = checkpoint.load(asked)
    assert found.hparams == HPARAMS
    assert found.tokenizer is not None
    assert found.tensors["wte.weight"].shape == (260, 12)


def test_a_revision(cache: Path, tmp_path: Path) -> None:
    files = files_of_a_model(tmp_path / "files")
    put_in_cache(cache, "microsoft/DialoGPT-small", files, revision="refs/pr/1")
    assert checkpoint.load("microsoft/DialoGPT-small@refs/pr/1").hparams == HPARAMS
    with pytest.raises(CheckpointError, match="hf download"):
        checkpoint.load("microsoft/DialoGPT-small")


def test_offline_says_what_to_do(cache: Path) -> None:
    for name in ("gpt2", "openai-community/gpt2", "some/model@v1"):
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(name)
        for remedy in ("HF_HUB_OFFLINE", "hf download", "huggingface-cli", "HF_HOME", "folder"):
            assert remedy in str(error.value)


def test_half_a_download_is_not_taken_for_a_model(cache: Path, tmp_path: Path) -> None:
    files = files_of_a_model(tmp_path / "files")
    for name in ("model.safetensors", "config.json"):
        snapshot = put_in_cache(cache, f"half/{name[:5]}", files)
        (snapshot / name).unlink()
        with pytest.raises(CheckpointError):
            checkpoint.load(f"half/{name[:5]}")


def test_only_pickles(cache: Path, tmp_path: Path) -> None:
    files = files_of_a_model(tmp_path / "files")
    (files / "model.safetensors").rename(files / "pytorch_model.bin")
    put_in_cache(cache, "microsoft/DialoGPT-small", files)
    with pytest.raises(CheckpointError, match=r"pickle.*save_pretrained.*@refs/pr/1"):
        checkpoint.load("microsoft/DialoGPT-small")


def test_links_in_a_snapshot_lead_to_its_blobs_only(cache: Path, tmp_path: Path) -> None:
    files = files_of_a_model(tmp_path / "files")
    other = put_in_cache(cache, "other/model", files_of_a_model(tmp_path / "again"))
    for number, target in enumerate(
        (
            files / "model.safetensors",
            other / "model.safetensors",
            cache / "models--other--model" / "refs" / "main",
        )
    ):
        snapshot = put_in_cache(cache, f"evil/m{number}", files)
        (snapshot / "model.safetensors").unlink()
        (snapshot / "model.safetensors").symlink_to(target)
        with pytest.raises(CheckpointError, match="link that leads out"):
            checkpoint.load(f"evil/m{number}")


def test_nothing_but_what_is_read_is_asked_for(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    asked: list[tuple[str, str]] = []
    files = files_of_a_model(tmp_path / "files")

    def download(model: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((model, revision))
        kept = filter_repo_objects(
            [
                *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
                *("vocab.json", "merges.txt", "tokenizer.json", "pytorch_model.bin", "rust.ot"),
                *("model.fp16.safetensors", "onnx/model.safetensors", "modeling.py", "a.pkl"),
                *("flax_model.msgpack", "tf_model.h5", "README.md", "pytorch_model.bin.index.json"),
            ],
            allow_patterns=allow_patterns,
        )
        assert list(kept) == [
            *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
            *("vocab.json", "merges.txt", "tokenizer.json"),
        ]
        return str(files)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert checkpoint.load("distilgpt2@v2").hparams == HPARAMS
    assert asked == [("distilbert/distilgpt2", "v2")]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "accept its terms"),
        ("RepositoryNotFoundError", "there is no model some/model"),
        ("RevisionNotFoundError", "no revision main"),
        ("LocalEntryNotFoundError", "hf download"),
        ("", "hf download"),
    ],
)
def test_the_hubs_errors(
    error: str, message: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def download(*_: object, **__: object) -> str:
        kind = getattr(huggingface_hub.errors, error) if error else RuntimeError
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load("some/model")


@pytest.mark.parametrize(
    "name",
    [
        *("gpt3", "a/b/c", "../x", "a/..", "/a/b", "a/b@", "a/b@../x", "a/b@-x", "a b/c", "a/b\n"),
        *("a--b/c", "models--a--b", "a/b@x//y", "-a/b", "a/", "/b", "a/b@@c", "http://a/b", "é/b"),
        *("a" * 200 + "/b", ".", "..", "~", "C:/x", "a\\b"),
    ],
)
def test_what_is_no_hub_name(name: str, cache: Path) -> None:
    assert not hub.is_hub_name(name)
    with pytest.raises(CheckpointError):
        checkpoint.load(name)


def test_a_folder_of_that_name_comes_first(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files_of_a_model(tmp_path / "gpt2")
    assert checkpoint.load("gpt2").path == Path("gpt2")


def test_what_is_in_the_cache(cache: Path, tmp_path: Path) -> None:
    """`pellucid models`: whole models of GPT-2's kind, sorted; the rest is passed over."""
    assert hub.cached() == []  # no cache is no mistake
    files = files_of_a_model(tmp_path / "files")
    put_in_cache(cache, "some/model", files)
    put_in_cache(cache, "gpt2", files)
    put_in_cache(cache, "another/model", files, shared=True)
    (put_in_cache(cache, "half/model", files) / "model.safetensors").unlink()
    (put_in_cache(cache, "broken/model", files) / "config.json").unlink()
    other = json.loads((files / "config.json").read_text("utf-8")) | {"model_type": "llama"}
    (files / "config.json").write_text(json.dumps(other), "utf-8")
    put_in_cache(cache, "some/llama", files)
    (cache / "datasets--some--data" / "snapshots").mkdir(parents=True)
    (cache / "models--x" / "refs").mkdir(parents=True)
    assert hub.cached() == ["another/model", "gpt2", "some/model"]

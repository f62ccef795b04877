"""The models that come with the package, and the one rule of what a name means."""

from __future__ import annotations

import json
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pellucid
from pellucid import checkpoint, embedded, inspect
from pellucid.checkpoint.source import find
from pellucid.errors import CheckpointError
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise
from support.program import run

ROOT = Path(__file__).parents[1]


def test_names() -> None:
    assert embedded.names() == ["chat", "digits", "induction", "talk"]
    assert embedded.DEFAULT in embedded.names()
    for name in embedded.names():
        assert checkpoint.load(name).path == embedded.FOLDER / name
        assert checkpoint.detect(embedded.FOLDER / name) == "pellucid"


def test_the_wheel_takes_them_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert embedded.FOLDER.is_relative_to(ROOT / package)


def test_the_model_of_known_circuits_is_what_its_recipe_writes(tmp_path: Path) -> None:
    """To the byte, but for a file's time; and small."""
    recipe = runpy.run_path(str(ROOT / "recipes" / "induction" / "make.py"))
    shipped = embedded.FOLDER / "induction"
    assert recipe["EMBEDDED"] == shipped
    recipe["make"](tmp_path / "made")
    files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert files == {path.name: path.read_bytes() for path in shipped.iterdir()}
    assert sum(map(len, files.values())) <= 200_000


def test_every_head_of_it_does_what_its_card_says() -> None:
    gpt = pellucid.load("induction")
    known = inspect.head_labels(gpt, period=5)
    assert {kind: [list(at) for at in known.of(kind)] for kind in gpt.card["heads"]} == {
        kind: [at] for kind, at in gpt.card["heads"].items()
    }
    assert gpt.generate("abcdeabc", greedy=True, max_tokens=4).text == "deab"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HParams:
    """A current folder with another model in the folders chat and gpt2."""
    monkeypatch.chdir(tmp_path)
    tokenizer = Tokenizer.train(["a b"], 257, ["<|endoftext|>"])
    hparams = HParams(n_vocab=257, n_ctx=8, n_embd=12, n_head=3, n_layer=1)
    for name in ("chat", "gpt2"):
        checkpoint.save(tmp_path / name, hparams, initialise(hparams, 0), tokenizer)
    return hparams


def by_command(*arguments: str) -> Any:
    return json.loads(run(*arguments))


READERS: dict[str, Callable[[str | Path], int]] = {
    "pellucid.load": lambda name: pellucid.load(name).hparams.n_vocab,
    "checkpoint.load": lambda name: checkpoint.load(name).hparams.n_vocab,
    "checkpoint.load_tokenizer": lambda name: checkpoint.load_tokenizer(name).n_vocab,
    "pellucid models": lambda name: by_command("models", str(name), "--json")["n_vocab"],
}


@pytest.mark.parametrize("reader", READERS)
def test_a_bare_name_is_the_embedded_model_and_a_path_the_folder(
    reader: str, here: HParams
) -> None:
    """Trial R3: a folder named chat where one stands meant the folder to some and not to others."""
    read, chat = READERS[reader], checkpoint.load(embedded.FOLDER / "chat").hparams.n_vocab
    assert chat != here.n_vocab
    assert read("chat") == chat
    for name in ("./chat", str(Path("chat").resolve()), "chat/", "../" + Path.cwd().name + "/chat"):
        assert read(name) == here.n_vocab
    if reader != "pellucid models":
        assert read(Path("chat")) == here.n_vocab
    assert read("gpt2") == here.n_vocab  # hub names: what is here comes first


def test_the_verbs_agree(here: HParams) -> None:
    """Ids by `pellucid tokens` are those of the model that `pellucid generate` runs."""
    text = "The crowd"
    wanted = {"chat": pellucid.load("chat").encode(text), "./chat": list(text.encode())}
    assert wanted["chat"] != wanted["./chat"]
    for name, ids in wanted.items():
        tokens = by_command("tokens", text, "--model", name, "--json")["tokens"]
        assert [token["id"] for token in tokens] == ids


def test_what_means_nothing_says_what_would() -> None:
    for name in ("chatt", "no/such/thing/here", "", "a\0b"):
        with pytest.raises(CheckpointError, match="hub name"):
            find(name)
    with pytest.raises(CheckpointError, match="chat, digits, induction, talk"):
        find("chatt")

"""The embedded chatbot: what is shipped, what its card says, and how it answers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import pellucid
from pellucid import embedded
from pellucid.gpt import DEFAULT
from support.program import run

ROOT = Path(__file__).parents[1]
CHATBOT = ROOT / "recipes" / "chatbot"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("report", CHATBOT / "report.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["report"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["report"]


def test_what_is_shipped(chat):
    assert DEFAULT == "chat"
    assert pellucid.load().name == chat.name == "chat"
    assert sum(path.stat().st_size for path in (embedded.FOLDER / "chat").iterdir()) <= 20e6
    assert chat.hparams.n_ctx >= 512
    assert chat.template == "roles"


def test_its_card_says_what_it_is_and_how_good(chat):
    card = chat.card
    assert {"about", "command", "data", "licence", "limits", "sampling", "training"} <= set(card)
    assert all(source["licence"] for source in card["data"].values())
    assert len(card["data"]) > 10
    for step in ("pretrain", "chat"):
        losses = list(card["training"][step]["validation_loss"].values())
        assert losses[-1] < losses[0]
    for stage, kinds in (("pretrained", ("stories", "dialogues")), ("finetuned", ("chat",))):
        for kind in kinds:
            found = card["evaluation"][stage][kind]
            ours, *others = (x["bits_per_byte"] for x in found.values() if isinstance(x, dict))
            assert others
            assert ours < min(others), (stage, kind)
    shown = run("models", "chat")
    assert "limits: " in shown


def test_the_talks_example(chat):
    assert chat.generate("The power clapper", greedy=True).text.startswith(" went straight to jail")


def test_it_answers_200_openings(chat, report):
    """Here none is empty, looping or broken; where a machine rounds otherwise, a few may be."""
    assert len(report.lines("openings.txt")) == 200
    assert len(report.openings(chat)) <= 3


@pytest.mark.parametrize(
    ("text", "reason", "wrong"),
    [
        ("Hello! How are you?", "stop token", None),
        ("The cat and the dog and the cat and the dog sat.", "stop token", None),
        (" ...", "stop token", "empty"),
        ("Hello", "length", "broken"),
        ("Hel\ufffdlo", "stop token", "broken"),
        ("Hello <|user|> you", "stop token", "broken"),
        ("It was big. It was big. Yes.", "stop token", "looping"),
        ("he ran to it " * 3, "stop token", "looping"),
    ],
)
def test_what_counts_as_wrong(report, text, reason, wrong):
    assert report.wrong_with(text, reason) == wrong


def test_the_samples_are_all_there(report):
    page = report.SAMPLES.read_text(encoding="utf-8")
    prompts = report.lines("prompts.txt")
    conversations = [json.loads(line) for line in report.lines("conversations.jsonl")]
    assert (len(prompts), len(conversations)) == (50, 20)
    for number, prompt in enumerate(prompts, 1):
        assert f"{number}. > {prompt}**" in page
    for turns in conversations:
        for text in turns:
            assert f"- {text}\n- **" in page
    assert "- ****" not in page

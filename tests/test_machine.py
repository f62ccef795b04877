"""The small model that runs in a page is the one that runs in Python: ids, values, tokens."""

from __future__ import annotations

import base64
import json
import random

import numpy as np
import pytest

from pellucid import inspect, web
from pellucid.errors import ContextError, InputError
from pellucid.families.gpt3 import GPT3HParams
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.taps import tap_names
from pellucid.tokenizer import IdsOnly
from pellucid.weights import initialise

N_TEXTS = 200
WORDS = [
    "The", "power", "clapper", "went", "straight", "to", "jail", "king", "court", "home", "at",
    "dinner", "my", "head", "night", "company", "paper", "piper", "rolled", "crowd", "will", "show",
]  # fmt: skip
ODD = [
    "", " ", "\n\n", "\t x", "a\u00a0b", "\u2003\u2003", "x\x1cy", "\x85 z", "\ufeff!", "café",
    "naïve", "Ω≈ç√", "日本語", "🐈\u200d⬛", "e\u0301", "\U0001f600😀", "١٢٣", "IV Ⅳ ½",
    "it's we'll I'D", "don't 'tis", "<|endoftext|>", "The <|endoftext|> power", "</script><b>",
    "0123456789", "a  b   c", "…—«»", "The power clapper went straight to jail and home",
    " power" * 9, "clap" * 4, "İstanbul ß ﬁ", "\ud83d", "x\udc00y", "\u0000", "زبان", "हिन्दी",
    "한글",
]  # fmt: skip


def texts() -> list[str]:
    """Words of the model, whatever else a person may type, and both mixed."""
    chance = random.Random(7)
    made = list(ODD)
    while len(made) < N_TEXTS:
        words = [chance.choice(WORDS) for _ in range(chance.randint(1, 7))]
        if chance.random() < 0.25:
            words.insert(chance.randrange(len(words) + 1), chance.choice(ODD))
        made.append(chance.choice(["", " "]) + " ".join(words))
    return made


PAGE = """<!DOCTYPE html><meta charset="utf-8"><title>machine</title><link rel="icon" href="data:,">
<script type="application/json" id="data">%s</script><script type="module">%s
const machine = new (modules["machine/machine.js"].Machine)(
  JSON.parse(document.getElementById("data").textContent));
globalThis.pellucid = machine;
globalThis.answers = (texts, names) => texts.map((text) => {
  const { ids, all, note } = machine.read(text);
  const values = machine.forward(ids);
  const flat = Float64Array.from(names.flatMap((name) => [...values.get(name).flat]));
  const bytes = new Uint8Array(flat.buffer);
  let binary = "";
  for (let i = 0; i < bytes.length; i += 4096) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 4096));
  }
  const { steps, reason } = machine.greedy(ids);
  return { ids, all, note, reason, tokens: steps.map((step) => step.token),
    logprobs: steps.map((step) => step.logprob), values: btoa(binary),
    words: machine.tokenizer.words(text) };
});
</script>"""


def opened(browser, gpt):
    data = json.dumps(inspect.machine(gpt)).replace("<", "\\u003c")
    return browser.show(PAGE % (data, web.joined("machine/machine.js")))


def test_the_page_s_machine_is_python_s(browser, talk) -> None:
    """ids and greedy tokens exactly; every value within 1e-5 of the largest of its kind."""
    driver = opened(browser, talk)
    names = [name for name in tap_names(talk.hparams) if not name.endswith("attn.result")]
    ours = texts()
    found = []
    for low in range(0, len(ours), 50):
        # As JSON in the script: a lone surrogate would not survive the way to the browser.
        asked = json.dumps(ours[low : low + 50])
        found += driver.execute_script(f"return answers({asked}, arguments[0])", names)
    worst = 0.0
    for text, answer in zip(ours, found, strict=True):
        assert answer["all"] == talk.encode(text), text
        too_many = len(answer["all"]) - talk.hparams.n_ctx
        if too_many > 0:
            with pytest.raises(ContextError) as refused:
                talk.generate(text)
            assert f"by {too_many} tokens or more" in str(refused.value)
            assert f"by {too_many} token" in answer["note"]
        ids = (answer["all"] or [talk.tokenizer.end_of_text])[: talk.hparams.n_ctx]
        assert answer["ids"] == ids
        assert bool(answer["note"]) == (not text or too_many > 0)
        seen: dict[str, np.ndarray] = {}
        talk.forward(ids, tap=lambda name, value, seen=seen: seen.setdefault(name, value))
        flat = np.frombuffer(base64.b64decode(answer["values"]), "<f8")
        start = 0
        for name in names:
            own = np.asarray(seen[name][0], np.float64)
            part = flat[start : start + own.size].reshape(own.shape)
            start += own.size
            finite = np.isfinite(own)
            np.testing.assert_array_equal(part[~finite], own[~finite])
            error = np.abs(part[finite] - own[finite]).max() / max(np.abs(own[finite]).max(), 1)
            worst = max(worst, float(error))
        assert start == flat.size
        out = talk.generate(ids, greedy=True)
        assert answer["tokens"] == [step.token for step in out.steps or list(out)]
        assert answer["reason"] == out.reason
        expected = [step.logprob for step in out.steps]
        assert answer["logprobs"] == pytest.approx(expected, abs=1e-4)
        words = [
            {"start": [b.decode("latin-1") for b in word.start],
             "merges": [[m.rank, *(b.decode("latin-1") for b in m.parts)] for m in word.merges]}
            for word in talk.tokenizer.merges(text)
        ]  # fmt: skip
        shown = [
            {"start": word["start"], "merges": [[m["rank"], *m["parts"]] for m in word["merges"]]}
            for word in answer["words"]
        ]
        assert shown == words
    assert worst < 1e-5
    browser.check()


def test_what_is_too_large_or_another_tokenizer_s_is_refused(talk, chat) -> None:
    with pytest.raises(InputError, match=r"too many for a page.*at most 262,144"):
        inspect.machine(chat)
    hparams = HParams(5, 4, 4, 2, 1)
    backend = talk.model.backend
    bare = GPT(Model.of(hparams, initialise(hparams), backend), IdsOnly(5, "bare"))
    with pytest.raises(InputError, match="GPT-2's own tokenizer only"):
        inspect.machine(bare)


def test_a_banded_layer_in_the_page(browser, talk) -> None:
    """GPT-3's: the machine in the page hides what Python hides, and says so."""
    hparams = GPT3HParams(**talk.hparams.to_dict(), band=2)
    banded = GPT(Model.of(hparams, talk.model.tensors(), talk.model.backend), talk.tokenizer)
    driver = opened(browser, banded)
    names = ["blocks.1.attn.scores", "blocks.1.attn.pattern", "logits"]
    text = "The power clapper went"
    (answer,) = driver.execute_script("return answers(arguments[0], arguments[1])", [text], names)
    seen: dict[str, np.ndarray] = {}
    banded.forward(answer["ids"], tap=lambda name, value: seen.setdefault(name, value))
    expected = np.concatenate([np.asarray(seen[name][0], np.float64).ravel() for name in names])
    got = np.frombuffer(base64.b64decode(answer["values"]), "<f8")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    n = len(answer["ids"])
    assert np.isneginf(seen[names[0]][0, 0]).sum() == n * n - (2 * n - 1)
    browser.check()
    step = inspect.walk(banded, text, layer=1).steps[4]
    assert "mask: each token sees the last 2, its own among them" in str(step.sections())

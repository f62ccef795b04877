"""A Llama behind the HTTP server: it streams, and is asked, as it is in Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.skips import needs

needs("fastapi")

from pellucid.serve.questions import QUESTIONS  # noqa: E402
from support.app_page import Page  # noqa: E402
from support.models import llama_gpt  # noqa: E402
from support.server import Served, serving, talker  # noqa: E402

GPT = llama_gpt(
    dtype="float32", tokenizer=talker().tokenizer, template="roles", n_ctx=64, qk_norm=True
)
TEXT = "the cat sat on a mat"
CHAT = [{"role": "user", "content": "the cat sat"}]
NAMES = ["attn.rot_q", "attn.rot_k", "attn.v", "mlp.pre_linear"]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(GPT) as server:
        yield server


def test_a_stream_is_what_python_writes_and_each_token_has_its_values(served) -> None:
    asked: dict[str, Any] = {"messages": CHAT, "temperature": 0, "max_tokens": 5, "stream": True}
    asked["pellucid"] = {"trace": {"names": NAMES, "layers": 1, "positions": "all"}}
    with served.client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: {")]
    parts = [json.loads(line)["choices"][0] for line in lines]
    ids = served.post("/tokenize", messages=CHAT).json()["tokens"]
    own = GPT.generate(ids, greedy=True, max_tokens=5)
    assert "".join(part["delta"].get("content") or "" for part in parts) == own.text
    (name,) = {part["pellucid"]["trace"]["id"] for part in parts}
    seen = QUESTIONS["trace"].function(GPT, own.tokens[:-1], [f"blocks.1.{x}" for x in NAMES])
    for each in NAMES:
        path = f"/v1/inspect/traces/{name}/values"
        page = served.client.get(path, params={"name": f"blocks.1.{each}"}).json()
        exact = seen[f"blocks.1.{each}"]
        found = np.array(page["values"], float).reshape(page["shape"])
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5, err_msg=each)


@pytest.mark.parametrize(
    ("kind", "texts", "arguments"),
    [
        ("why", {"text": TEXT}, {}),
        ("lens", {"text": TEXT}, {"k": 3}),
        ("ablate", {"text": TEXT}, {"heads": [[0, 3]], "how": "mean"}),
        ("patch", {"source": "the cat sat", "base": "the mat sat"}, {"over": "heads"}),
        ("steer", {"text": TEXT}, {"towards": "king", "layer": 1, "max_tokens": 4, "greedy": True}),
        ("pass", {"text": TEXT}, {"layer": 1, "head": 3}),
    ],
)
def test_what_is_asked_is_answered_as_in_python(served, kind, texts, arguments) -> None:
    begun = served.post(f"/v1/inspect/{kind}", **texts, **arguments)
    assert begun.status_code == 202, begun.text
    answer = served.client.get(f"/v1/inspect/jobs/{begun.json()['id']}/result")
    assert answer.status_code == 200, answer.text
    exact = QUESTIONS[kind].function(GPT, *texts.values(), **arguments)
    assert answer.json() == json.loads(json.dumps(exact.to_dict()))


def test_it_says_what_it_is(served) -> None:
    (card,) = served.client.get("/v1/models").json()["data"]
    assert card["hparams"] == json.loads(json.dumps(GPT.hparams.to_dict()))


def test_the_page_walks_it_layer_by_layer(browser, served) -> None:
    """The words are this family's, though the page began with the model `talk`."""
    query = f"text={TEXT.replace(' ', '+')}&model={GPT.name}&layer=0&head=1&step=attention"
    page = Page(browser, served, f"#/walk?{query}")
    page.wait("document.querySelector('#step-attention[data-drawn] [data-symbol^=turn]')")
    assert "4 heads of queries share 2" in " ".join(page.texts("#step-attention .words"))
    page.js("pellucid.mounted.walk.choose({layer: 1, head: 2})")
    page.js("pellucid.mounted.walk.section('attention')")
    page.wait("pellucid.mounted.walk.pass.get('blocks.1.attn.rot_k')")
    seen = QUESTIONS["trace"].function(GPT, TEXT, [f"blocks.1.{x}" for x in NAMES])
    for name, array in seen.items():
        flat = page.js("return [...pellucid.mounted.walk.pass.get(arguments[0]).flat]", name)
        assert flat == pytest.approx(array.ravel().tolist(), abs=1e-5)
    browser.check_served()

"""Inspection over HTTP: what comes back is what Python finds, and nothing of it stays."""

from __future__ import annotations

import io
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.skips import needs

needs("fastapi")
openai = needs("openai")

import httpx  # noqa: E402

from pellucid import inspect  # noqa: E402
from pellucid.draw.document import content  # noqa: E402
from pellucid.errors import InputError  # noqa: E402
from pellucid.inspect import Intervention, Recorder, Trace, intervene  # noqa: E402
from pellucid.serve import inquiries, watched  # noqa: E402
from pellucid.serve.questions import QUESTIONS  # noqa: E402
from pellucid.serve.schema.inspection import REQUESTS  # noqa: E402
from pellucid.taps import TAPS  # noqa: E402
from support.server import Served, eventually, serving, talker  # noqa: E402

GPT = talker()
TEXT = "the cat sat on a mat"
CHAT = [{"role": "user", "content": "the cat sat"}]
GREEDY = {"messages": CHAT, "temperature": 0, "max_tokens": 5}
DECLARED = [
    {"name": "attn.z", "layer": 0, "head": 1, "op": "scale", "value": -2.5},
    {"name": "resid_post", "layer": 1, "op": "add", "value": [0.5] * 16, "position": [3, 6, 7]},
    {"name": "attn.pattern", "op": "suppress", "position": {"start": 5, "stop": 7}},
]
SAME = [
    Intervention(name="attn.z", layer=0, head=1, op="scale", value=-2.5),
    Intervention(name="resid_post", layer=1, op="add", value=[0.5] * 16, position=[3, 6, 7]),
    Intervention(name="attn.pattern", op="suppress", position=range(5, 7)),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(GPT) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def chatted(served: Served, **more: Any) -> dict[str, Any]:
    answer = served.post("/v1/chat/completions", **(GREEDY | more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def prompt_of(served: Served) -> list[int]:
    return served.post("/tokenize", messages=CHAT).json()["tokens"]


def trace_of(served: Served, name: str, /, **params: Any) -> Trace:
    """From its safetensors file."""
    params |= {"format": "safetensors"}
    answer = served.client.get(f"/v1/inspect/traces/{name}/values", params=params)
    assert answer.status_code == 200, answer.text
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer.content)
        file.flush()
        return Trace.load(file.name)


def finished(served: Served, kind: str, body: dict[str, Any]) -> tuple[Any, Any]:
    """(the result, the picture data)"""
    begun = served.post(f"/v1/inspect/{kind}", **body)
    assert begun.status_code == 202, begun.text
    path = f"/v1/inspect/jobs/{begun.json()['id']}"
    answers = [served.client.get(f"{path}/{each}") for each in ("result", "pictures")]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    return answers[0].json(), answers[1].json()


# Completions that are watched and changed


@pytest.mark.parametrize("interventions", [None, DECLARED])
def test_what_a_chat_computed_is_what_python_records(served, interventions) -> None:
    """With interventions the values really are other ones, and the very same as in Python."""
    names = ["embed", "attn.*", "resid_post", "mlp.post", "ln_final.*", "logits"]
    asked = {"trace": {"names": names, "positions": "all"}, "interventions": interventions}
    (choice,) = chatted(served, pellucid=asked)["choices"]
    assert choice["pellucid"]["interventions"] == len(interventions or ())
    recorder = Recorder(GPT, names)
    tap = intervene(GPT, SAME if interventions else [])
    own = GPT.generate(prompt_of(served), greedy=True, max_tokens=5, tap=tap, record=recorder)
    expected = own.text and recorder.trace(own)
    found = trace_of(served, choice["pellucid"]["trace"]["id"])
    assert found.ids == expected.ids
    assert found.tokens == expected.tokens
    assert found.positions == expected.positions == tuple(range(len(own.tokens) - 1))
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    plain = Recorder(GPT, names)
    GPT.forward([own.tokens[:5]], tap=plain)
    first = plain.passes[0]["blocks.0.attn.z"][0]
    same = np.array_equal(found["blocks.0.attn.z"][:5], first)
    assert same == (interventions is None)


def test_the_next_request_is_clean(served) -> None:
    before = chatted(served, logprobs=True)["choices"]
    changed = chatted(served, logprobs=True, pellucid={"interventions": DECLARED})["choices"]
    assert changed[0]["logprobs"] != before[0]["logprobs"]
    assert chatted(served, logprobs=True)["choices"] == before
    watched_only = chatted(served, logprobs=True, pellucid={"trace": {"names": "embed"}})["choices"]
    assert watched_only[0].pop("pellucid")
    assert watched_only[0]["message"] == before[0]["message"]
    logprobs = [
        [token["logprob"] for token in choices[0]["logprobs"]["content"]]
        for choices in (before, watched_only)
    ]
    assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-5)
    assert chatted(served, logprobs=True)["choices"] == before


def test_a_stream_has_a_record_with_each_token(served) -> None:
    trace = {"names": ["attn.pattern", "resid_post", "logits"], "layers": 1, "heads": 0, "top_k": 3}
    trace["names"].append("blocks.1.mlp_out")
    asked = GREEDY | {"stream": True, "pellucid": {"trace": trace}}
    with served.client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: {")]
    parts = [json.loads(line)["choices"][0] for line in lines]
    names = {part["pellucid"]["trace"]["id"] for part in parts}
    records = [r for part in parts if (r := part["pellucid"]["trace"].get("record"))]
    (name,) = names
    prompt = prompt_of(served)
    n = len(prompt)
    assert [record["position"] for record in records] == list(range(n - 1, n + 4))
    whole = trace_of(served, name)
    assert whole.positions == tuple(range(n - 1, n + 4))
    for row, record in enumerate(records):
        assert list(record["values"]) == list(whole)
        pattern = record["values"]["blocks.1.attn.pattern"]
        exact = whole["blocks.1.attn.pattern"][0, row, : n + row]
        assert pattern["shape"] == [1, n + row]
        order = np.argsort(-exact, kind="stable")[:3]
        assert pattern["indices"] == [order.tolist()]
        assert pattern["values"] == [exact[order].tolist()]
        own = record["values"]["blocks.1.mlp_out"]
        exact = whole["blocks.1.mlp_out"][row]
        order = np.argsort(-np.abs(exact), kind="stable")[:3]
        assert own == {
            "axes": ["n_embd"],
            "shape": [16],
            "indices": order.tolist(),
            "values": exact[order].tolist(),
        }
    whole_answer = chatted(served, pellucid={"trace": trace})["choices"][0]
    assert whole_answer["pellucid"]["trace"]["records"] == records


def test_what_has_no_room_beside_a_token_is_named(served) -> None:
    trace = {"names": ["logits", "attn.z"]}
    prompt = [5] * 30
    many = {"prompt": prompt, "max_tokens": 200, "pellucid": {"trace": trace}, "temperature": 0}
    many |= {"stop_token_ids": []}
    answer = served.post("/v1/completions", **many).json()
    records = answer["choices"][0]["pellucid"]["trace"]["records"]
    n = GPT.hparams.n_vocab + 2 * GPT.hparams.n_embd
    assert all("left_out" not in record for record in records[: 65536 // n])
    trace = {"names": "*"}
    record = chatted(served, pellucid={"trace": trace})["choices"][0]["pellucid"]["trace"][
        "records"
    ][0]
    numbers = sum(int(np.prod(each["shape"])) for each in record["values"].values())
    assert numbers <= 1024
    assert not set(record["left_out"]) & set(record["values"])


def test_openais_own_client_sends_and_reads_it(client) -> None:
    asked = {"pellucid": {"trace": {"names": "attn.pattern"}, "interventions": DECLARED}}
    answer = client.chat.completions.create(model="talker", **GREEDY, extra_body=asked)
    assert answer.choices[0].pellucid["interventions"] == 3
    assert answer.choices[0].pellucid["trace"]["id"].startswith("trace-")
    chunks = list(
        client.completions.create(
            model="talker",
            prompt=TEXT,
            temperature=0,
            max_tokens=3,
            stream=True,
            extra_body=asked,
        )
    )
    records = [c.choices[0].pellucid["trace"].get("record") for c in chunks]
    assert len([record for record in records if record]) == 3


def test_n_texts_of_several_prompts_each_have_a_trace(served) -> None:
    asked = {"prompt": ["the", "a mat"], "n": 2, "max_tokens": 3, "seed": 4}
    plain = served.post("/v1/completions", **asked).json()["choices"]
    asked["pellucid"] = {"trace": {"names": "resid_post"}}
    choices = served.post("/v1/completions", **asked).json()["choices"]
    assert [choice["text"] for choice in choices] == [choice["text"] for choice in plain]
    names = [choice["pellucid"]["trace"]["id"] for choice in choices]
    assert len(set(names)) == 4
    for name, choice in zip(names, choices, strict=True):
        found = trace_of(served, name)
        assert found.text.endswith(choice["text"]) or "\ufffd" in choice["text"]


def test_the_prompt_is_scored_by_the_changed_model(served) -> None:
    asked = {"prompt": TEXT, "max_tokens": 2, "echo": True, "logprobs": 2, "temperature": 0}
    changed = served.post("/v1/completions", **asked, pellucid={"interventions": DECLARED}).json()
    scores = changed["choices"][0]["logprobs"]["token_logprobs"]
    ids = GPT.encode(TEXT)
    logits = np.asarray(GPT.forward(ids, tap=intervene(GPT, SAME)), np.float64)
    exact = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert scores[0] is None
    expected = [exact[i, token] for i, token in enumerate(ids[1:])]
    assert scores[1 : len(ids)] == pytest.approx(expected, abs=1e-5)


def test_a_value_is_patched_from_a_conversation(served) -> None:
    other = [{"role": "user", "content": "a king went"}]
    source = served.post("/tokenize", messages=other).json()["tokens"]
    declared = [{"name": "resid_pre", "layer": 1, "op": "patch", "position": [0, 1, 2]}]
    declared[0]["source"] = {"messages": other}
    asked = {"trace": {"names": "resid_pre", "positions": "all"}, "interventions": declared}
    name = chatted(served, pellucid=asked)["choices"][0]["pellucid"]["trace"]["id"]
    found = trace_of(served, name)["blocks.1.resid_pre"]
    exact = inspect.trace(GPT, source, "resid_pre")["blocks.1.resid_pre"]
    np.testing.assert_array_equal(found[:3], exact[:3])
    assert not np.array_equal(found[3], exact[3])


# Findings


ASKED: dict[str, tuple[dict[str, Any], Any]] = {
    "ablate": ({"heads": [[0, 1]], "mlps": [1], "positions": [2], "how": "mean"}, None),
    "attention": ({"layers": {"start": 1, "stop": 2}, "heads": [0]}, {"layers": [1], "heads": [0]}),
    "attribute": ({"target": " mat", "versus": 7, "position": -2}, None),
    "compare": (
        {"interventions": DECLARED, "greedy": True, "max_tokens": 6},
        {"interventions": SAME, "greedy": True, "max_tokens": 6},
    ),
    "heads": ({"period": 4, "seed": 3}, None),
    "lens": ({"positions": [1, -1], "k": 3}, None),
    "neighbours": ({"vector": [0.25] * 16, "k": 4, "by": "dot"}, None),
    "norms": ({}, None),
    "pass": ({"layer": 1, "head": 0, "position": 2}, None),
    "patch": ({"over": "heads", "target": 7}, None),
    "prediction": ({"position": 2, "k": 9}, None),
    "steer": ({"towards": "king", "layer": 1, "max_tokens": 4, "greedy": True}, None),
    "sweep": ({"over": "positions", "how": "resample", "seed": 2}, None),
    "view": ({"target": 9, "labels": False}, None),
    "walk": ({"layer": 1, "head": -1, "max_tokens": 2}, None),
    "why": ({"continuation": " on a", "token": 2}, None),
}


@pytest.mark.parametrize("kind", sorted(QUESTIONS))
@pytest.mark.parametrize("said", [False, True])
def test_a_finding_is_the_same_as_in_python(served, kind: str, said: bool) -> None:
    """Its numbers, to the digit, and what is drawn of it."""
    if kind == "trace":
        return  # its values are paged: see below
    arguments, in_python = ASKED[kind]
    in_python = in_python or arguments
    if not said:
        needed = {
            "compare": {"interventions": []},
            "neighbours": {"vector": " cat"},
            "steer": {"towards": "king"},
        }.get(kind, {})
        arguments = in_python = needed
    texts: list[str] = []
    body = dict(arguments)
    if kind == "patch":
        texts = ["the cat sat", "the mat sat"]
        body |= {"source": texts[0], "base": texts[1]}
    elif kind not in ("heads", "neighbours"):
        texts = [TEXT]
        body["text"] = TEXT
    found, pictures = finished(served, kind, body)
    exact = QUESTIONS[kind].function(GPT, *texts, **in_python)
    assert found == json.loads(json.dumps(exact.to_dict()))
    drawn = content(exact.sections(), title=type(exact).__name__)
    assert pictures == json.loads(json.dumps(drawn))


def test_a_text_is_ids_and_a_conversation_too(served) -> None:
    by_text, _ = finished(served, "prediction", {"text": TEXT})
    by_ids, _ = finished(served, "prediction", {"text": GPT.encode(TEXT)})
    assert by_text == by_ids
    of_chat, _ = finished(served, "prediction", {"messages": CHAT})
    assert of_chat["ids"] == prompt_of(served)


def test_each_question_has_a_request_and_an_answer() -> None:
    assert set(QUESTIONS) == set(REQUESTS) == {*ASKED, "trace"}


def test_the_values_of_a_text_come_by_page(served, monkeypatch) -> None:
    monkeypatch.setattr("pellucid.serve.forms.PAGE", 40)
    exact = inspect.trace(GPT, TEXT, ["attn.*", "resid_post"])
    found, _ = finished(served, "trace", {"text": TEXT, "names": ["attn.*", "resid_post"]})
    path = f"/v1/inspect/traces/{found['id']}"
    info = served.client.get(path).json()
    assert found == {"kind": "Trace", **info}
    assert [value["name"] for value in info["values"]] == list(exact)
    for value in info["values"]:
        array = exact[value["name"]]
        assert value["shape"] == list(array.shape)
        axis = 1 if "query" in value["axes"] else 0
        parts, start = [], 0
        while start is not None:
            query = {"name": value["name"], "start": start}
            page = served.client.get(f"{path}/values", params=query).json()
            assert page["start"] == start
            parts.append(np.array(page["values"], np.float32))
            n = parts[-1].shape[axis]
            assert parts[-1].size <= 40 or n == 1
            assert page["positions"] == list(range(start, start + n))
            start = page["next"]
        assert len(parts) > 1
        together = np.concatenate(parts, axis)
        finite = np.isfinite(array)  # later keys' scores are null
        np.testing.assert_array_equal(together[finite], array[finite])
        assert np.isnan(together[~finite]).all()
    some = trace_of(served, found["id"], name=["blocks.1.attn.q", "resid_post"], start=1, stop=3)
    assert list(some) == ["blocks.0.resid_post", "blocks.1.attn.q", "blocks.1.resid_post"]
    assert some.positions == (1, 2)
    np.testing.assert_array_equal(some["blocks.1.attn.q"], exact["blocks.1.attn.q"][1:3])
    pictures = served.client.get(f"{path}/pictures").json()
    assert pictures == json.loads(json.dumps(content(exact.sections(), title="Trace")))
    assert served.client.delete(path).json()["id"] == found["id"]
    assert served.client.get(path).status_code == 404


def test_tokens_come_with_their_merges(served) -> None:
    answer = served.post("/v1/inspect/tokens", text=TEXT, merges=True).json()
    pieces = GPT.tokenizer.pieces(GPT.encode(TEXT))
    assert [token["id"] for token in answer["tokens"]] == [piece.id for piece in pieces]
    words = GPT.tokenizer.merges(TEXT)
    assert [word["text"] for word in answer["words"]] == [word.text for word in words]
    ranks = [[merge["rank"] for merge in word["merges"]] for word in answer["words"]]
    assert ranks == [[merge.rank for merge in word.merges] for word in words]
    of_chat = served.post("/v1/inspect/tokens", messages=CHAT).json()
    assert [token["id"] for token in of_chat["tokens"]] == prompt_of(served)
    assert "words" not in of_chat


# Jobs


@pytest.fixture
def gate(monkeypatch) -> Iterator[threading.Semaphore]:
    """Holds a sweep back, step by step."""
    gate = threading.Semaphore(0)
    plain = inspect.ablations.edited_copies

    def held(*arguments: Any) -> Any:
        assert gate.acquire(timeout=90)
        return plain(*arguments)

    monkeypatch.setattr("pellucid.inspect.ablations.edited_copies", held)
    yield gate
    for _ in range(100):
        gate.release()


def lines_of(served: Served, job: str) -> Iterator[dict[str, Any]]:
    with served.client.stream("GET", f"/v1/inspect/jobs/{job}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def test_a_job_tells_how_far_it_is(served, gate) -> None:
    job = served.post("/v1/inspect/sweep", text=TEXT).json()
    assert job["status"] in ("queued", "running")
    events = lines_of(served, job["id"])
    seen = [next(events)]
    for _ in range(GPT.hparams.n_layer):
        gate.release()
        seen.append(next(events))
    seen += events
    running = [(each["done"], each["total"]) for each in seen if each["type"] == "job.running"]
    assert (2, 4) in running
    assert seen[-1]["type"] == "job.done"
    assert (seen[-1]["done"], seen[-1]["total"]) == (4, 4)
    again = list(lines_of(served, job["id"]))
    assert again == seen[-1:]


def test_a_job_that_waits_tells_how_many_come_before_it(served, gate) -> None:
    first, second, third = [served.post("/v1/inspect/sweep", text=TEXT).json() for _ in range(3)]
    assert [each["ahead"] for each in (first, second, third)] == [0, 1, 2]
    events = lines_of(served, third["id"])
    seen = [next(events)]
    served.client.delete(f"/v1/inspect/jobs/{second['id']}")
    seen.append(next(events))
    assert [(each["type"], each["ahead"]) for each in seen] == [
        ("job.queued", 2),
        ("job.queued", 1),
    ]
    for _ in range(2 * GPT.hparams.n_layer):
        gate.release()
    seen += events
    assert {each["ahead"] for each in seen if each["type"] != "job.queued"} == {0}
    assert seen[-1]["type"] == "job.done"


def test_a_watched_completion_that_waits_tells_it_too(served, gate) -> None:
    job = served.post("/v1/inspect/sweep", text=TEXT).json()["id"]
    asked = {
        "prompt": TEXT,
        "max_tokens": 2,
        "stream": True,
        "pellucid": {"trace": {"names": "embed"}},
    }
    with served.client.stream("POST", "/v1/completions", json=asked) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": 1 ahead"
        served.client.delete(f"/v1/inspect/jobs/{job}")
        gate.release()
        assert [line for line in lines if line][-1] == "data: [DONE]"


def test_a_cancelled_sweep_leaves_nothing(served, gate) -> None:
    inspection = served.service.inspection
    before = len(inspection.inquiries.kept), len(inspection.traces), inspection.traces.n_bytes
    job = served.post("/v1/inspect/sweep", text=TEXT).json()["id"]
    waiting = served.post("/v1/inspect/trace", text=TEXT, names="*").json()["id"]
    events = lines_of(served, job)
    assert next(events)["type"] in ("job.queued", "job.running")
    gone = served.client.delete(f"/v1/inspect/jobs/{waiting}").json()
    assert gone["status"] == "cancelled"
    assert served.client.delete(f"/v1/inspect/jobs/{job}").status_code == 200
    gate.release()
    assert list(events)[-1]["type"] == "job.cancelled"
    for each in (job, waiting):
        for path in ("", "/result", "/events", "/pictures"):
            answer = served.client.get(f"/v1/inspect/jobs/{each}{path}")
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "not_found"
    eventually(lambda: not inspection.beside.busy)
    assert not inspection.beside.n_waiting
    after = len(inspection.inquiries.kept), len(inspection.traces), inspection.traces.n_bytes
    assert after == before
    gate.release()
    found, _ = finished(served, "sweep", {"text": TEXT, "over": "positions"})
    assert found["kind"] == "Sweep"


def test_a_watched_completion_whose_client_leaves_leaves_nothing(served, monkeypatch) -> None:
    inspection = served.service.inspection
    began, go_on = threading.Event(), threading.Event()

    def held(self, position: int) -> dict[str, Any]:
        began.set()
        assert go_on.wait(90)
        return {"position": position, "values": {}}

    monkeypatch.setattr("pellucid.serve.records.Records.take", held)
    before = len(inspection.traces)
    asked = GREEDY | {"max_tokens": 200, "pellucid": {"trace": {"names": "embed"}}}
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{served.url}/v1/chat/completions", json=asked, timeout=0.2)
    assert began.wait(90)
    go_on.set()
    eventually(lambda: not inspection.beside.busy)
    assert len(inspection.traces) == before


def test_too_many_jobs_are_told_to_come_back(served, gate) -> None:
    jobs = []
    while (answer := served.post("/v1/inspect/sweep", text=TEXT)).status_code == 202:
        jobs.append(answer.json()["id"])
        assert len(jobs) < 40
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    for job in jobs:
        served.client.delete(f"/v1/inspect/jobs/{job}")
    gate.release()
    eventually(lambda: not served.service.inspection.beside.busy)


# Limits


def test_more_than_the_budget_is_refused_before_it_runs(served, monkeypatch) -> None:
    monkeypatch.setattr(watched, "BUDGET", 200_000)
    monkeypatch.setattr(inquiries, "BUDGET", 200_000)
    monkeypatch.setattr("pellucid.serve.inspection.BUDGET", 200_000)
    everything = {"trace": {"names": "*", "positions": "all"}}
    answer = served.post("/v1/chat/completions", **(GREEDY | {"pellucid": everything}))
    assert answer.status_code == 200
    large = GREEDY | {"pellucid": everything, "max_tokens": 200}
    for _ in range(8):
        answer = served.post("/v1/chat/completions", **large)
        assert answer.status_code == 413
        error = answer.json()["error"]
        assert error["code"] == "over_budget"
        assert "choose fewer with names, layers, heads or positions" in error["message"]
        assert "budget_bytes" not in error["message"]
    for kind, more in (("trace", {"names": "*"}), ("attention", {}), ("prediction", {})):
        text = [5] * 250
        job = served.post(f"/v1/inspect/{kind}", text=text, **more).json()["id"]
        answer = served.client.get(f"/v1/inspect/jobs/{job}/result")
        assert answer.status_code == (200 if kind == "prediction" else 413), kind
        status = served.client.get(f"/v1/inspect/jobs/{job}").json()
        assert (status["error"] is None) == (kind == "prediction")
    monkeypatch.setattr("pellucid.serve.forms.IN_JSON", 100)
    job = served.post("/v1/inspect/prediction", text=TEXT).json()["id"]
    answer = served.client.get(f"/v1/inspect/jobs/{job}/result")
    assert answer.status_code == 413
    assert "take its pictures" in answer.json()["error"]["message"]
    assert served.client.get(f"/v1/inspect/jobs/{job}/pictures").status_code == 200


def test_what_one_client_left_another_does_not_see(served) -> None:
    with serving(GPT, key="a-key-of-ours") as server:
        url = server.url
        body = GREEDY | {"pellucid": {"trace": {"names": "embed"}}}
        answer = server.post("/v1/chat/completions", **body).json()
        name = answer["choices"][0]["pellucid"]["trace"]["id"]
        path = f"/v1/inspect/traces/{name}"
        assert httpx.get(f"{url}{path}", timeout=60).status_code == 401
        assert server.client.get(path).status_code == 200
    mine = httpx.Client(base_url=served.url, headers={"authorization": "Bearer a"}, timeout=60)
    other = httpx.Client(base_url=served.url, headers={"authorization": "Bearer b"}, timeout=60)
    with mine, other:
        job = mine.post("/v1/inspect/trace", json={"text": TEXT, "names": "embed"}).json()["id"]
        name = mine.get(f"/v1/inspect/jobs/{job}/result").json()["id"]
        for path in (
            f"traces/{name}",
            f"traces/{name}/values",
            f"jobs/{job}",
            f"jobs/{job}/result",
        ):
            assert other.get(f"/v1/inspect/{path}?name=embed").status_code == 404
            assert mine.get(f"/v1/inspect/{path}?name=embed").status_code == 200
        assert other.delete(f"/v1/inspect/traces/{name}").status_code == 404
        assert other.delete(f"/v1/inspect/jobs/{job}").status_code == 404


# Hostile input


def one(**more: Any) -> dict[str, Any]:
    return {"interventions": [{"name": "attn.z", "op": "set", "value": 1.0} | more]}


@pytest.mark.parametrize(
    "pellucid",
    [
        5,
        [],
        {"traces": {}},
        {"trace": {}},
        {"trace": {"names": []}},
        {"trace": {"names": "attn.y"}},
        {"trace": {"names": ["embed", 5]}},
        {"trace": {"names": "[" * 100}},
        {"trace": {"names": "embed" * 1000}},
        {"trace": {"names": "attn.z", "layers": 9}},
        {"trace": {"names": "attn.z", "heads": [0, 9]}},
        {"trace": {"names": "attn.z", "positions": "old"}},
        {"trace": {"names": "attn.z", "positions": -1}},
        {"trace": {"names": "attn.z", "positions": [99999]}},
        {"trace": {"names": "attn.z", "positions": {"start": 3, "stop": 2}}},
        {"trace": {"names": "attn.z", "positions": {"start": 0, "stop": 10**18}}},
        {"trace": {"names": "attn.z", "top_k": 0}},
        {"trace": {"names": "attn.z", "top_k": 10**9}},
        one(name="attn.y"),
        one(name="attn.*"),
        one(name="blocks.0.attn.z\u0000"),
        one(name=None),
        one(layer=2),
        one(layer="all"),
        one(layer=True),
        one(layer=0.5),
        one(head=[]),
        one(head=[2]),
        one(position=-1),
        one(position=256),
        one(position=[0] * 5000),
        one(position=10**30),
        one(position={"start": 0, "stop": 16384}),
        one(op="eval"),
        one(value=None),
        one(value="1"),
        one(value=True),
        one(value=10**400),
        one(value=1e300),
        one(value=[1.0] * 7),
        one(value=[]),
        one(value=[[1.0] * 8]),
        one(value=["1.0"] * 8),
        one(value={"towards": "a", "away": "b"}),
        one(value={"towards": "a"}),
        one(value=1.0, source="the"),
        one(op="patch", value=None, source=""),
        one(op="patch", value=None, source=[9999]),
        one(op="patch", value=None, source=[5] * 300),
        one(op="patch", value=None, source="the " * 9000),
        one(op="patch", value=None, source={"messages": []}),
        one(op="patch", value=None, source="the", position=40),
        one(op="suppress"),
        one(code="import os"),
        {"interventions": one()["interventions"] * 65},
        one(name="ln1.scale", value=0.0),
        one(name="resid_post", op="scale", value=3e38),
    ],
)
def test_what_cannot_be_is_refused_as_openai_does(served, pellucid) -> None:
    answer = served.post("/v1/chat/completions", **GREEDY, pellucid=pellucid)
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert len(error["message"]) <= 500


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-9999999"]
)
def test_what_is_no_number_is_refused(served, number) -> None:
    body = json.dumps(GREEDY | {"pellucid": one(value=12345.5)}).replace("12345.5", number)
    head = {"content-type": "application/json"}
    answer = served.client.post("/v1/chat/completions", content=body, headers=head)
    assert answer.status_code == (200 if number == "1e-9999999" else 400)  # which is 0
    neighbours = f'{{"vector": [{", ".join([number] * 16)}]}}'
    answer = served.client.post("/v1/inspect/neighbours", content=neighbours, headers=head)
    assert answer.status_code == (202 if number == "1e-9999999" else 400)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("lens", {}),
        ("lens", {"text": ""}),
        ("lens", {"text": TEXT, "messages": CHAT}),
        ("lens", {"text": [5] * 257}),
        ("lens", {"text": [295]}),
        ("lens", {"text": [-1]}),
        ("lens", {"text": TEXT, "k": 0}),
        ("lens", {"text": TEXT, "keep_logits": True}),
        ("lens", {"text": TEXT, "positions": [99]}),
        ("lens", {"text": TEXT, "positions": {"start": 2, "stop": 2}}),
        ("lens", {"text": TEXT, "target": "no single token, this"}),
        ("why", {"text": TEXT, "token": 7}),
        ("why", {"text": TEXT, "continuation": [9999]}),
        ("ablate", {"text": TEXT, "heads": [[0]]}),
        ("ablate", {"text": TEXT, "heads": [[0, 9]]}),
        ("ablate", {"text": TEXT, "how": "remove"}),
        ("sweep", {"text": TEXT, "over": "everything"}),
        ("patch", {"source": "the cat", "base": "the"}),
        ("patch", {"source": "the cat"}),
        ("neighbours", {"vector": [0.5]}),
        ("neighbours", {"vector": 10**30}),
        ("steer", {"text": TEXT}),
        ("steer", {"text": TEXT, "towards": "a", "strength": 1e999}),
        ("heads", {"period": 1000}),
        ("walk", {"text": TEXT, "layer": 2}),
        ("trace", {"text": TEXT}),
        ("trace", {"text": TEXT, "names": "attn.y"}),
        ("tokens", {"text": [5], "merges": True}),
        ("nothing", {}),
        ("lens", {"text": TEXT, "budget_bytes": 1 << 40}),
        ("lens", {"text": TEXT, "progress": "x"}),
    ],
)
def test_questions_that_cannot_be_asked(served, kind, body) -> None:
    """At once, or where it takes the model to find out, as the job's own error."""
    text = json.dumps(body).replace("Infinity", "1e999")
    head = {"content-type": "application/json"}
    answer = served.client.post(f"/v1/inspect/{kind}", content=text, headers=head)
    if answer.status_code == 202:
        job = answer.json()["id"]
        answer = served.client.get(f"/v1/inspect/jobs/{job}/result")
        status = served.client.get(f"/v1/inspect/jobs/{job}").json()
        assert (status["status"], status["error"]) == ("failed", answer.json()["error"])
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "name=attn.y",
        "name=embed&name=logits",
        "name=embed&start=9999",
        "name=embed&start=-1",
        "name=embed&start=2&stop=2",
        "name=embed&stop=99999999999999999999",
        "name=embed&format=pickle",
        "name=attn.y&format=safetensors",
        "format=safetensors&start=9999",
        "format=safetensors&" + "&".join(["name=embed"] * 65),
    ],
)
def test_pages_that_are_not_there(served, query) -> None:
    found, _ = finished(served, "trace", {"text": TEXT, "names": "embed"})
    answer = served.client.get(f"/v1/inspect/traces/{found['id']}/values?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert served.client.get(f"/v1/inspect/traces/x{found['id']}/values?{query}").status_code in (
        400,
        404,
    )


NAMES = st.sampled_from([name.removeprefix("blocks.{i}.") for name in TAPS]) | st.text(max_size=9)
PLACES = st.none() | st.integers(-3, 300) | st.lists(st.integers(-1, 9), max_size=3)
VALUES = st.none() | st.floats(width=16, allow_nan=False, allow_infinity=False)
VALUES |= st.lists(st.floats(-9, 9), min_size=8, max_size=16) | st.booleans() | st.text(max_size=3)


@settings(max_examples=40)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": NAMES, "op": st.sampled_from(["suppress", "scale", "add", "set", "patch"])},
            optional={
                "layer": PLACES,
                "head": PLACES,
                "position": PLACES,
                "value": VALUES,
                "source": st.text(max_size=5) | st.lists(st.integers(0, 300), max_size=9),
            },
        ),
        max_size=3,
    )
)
def test_whatever_is_declared_is_done_or_refused(served, declared) -> None:
    """What Python takes and computes, HTTP does, with the same tokens; what it refuses, too."""
    answer = served.post("/v1/chat/completions", **GREEDY, pellucid={"interventions": declared})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]
        return
    try:
        tap = intervene(GPT, [Intervention(**each) for each in declared])
    except InputError:
        pytest.fail("Python refuses what HTTP does")
    with np.errstate(all="ignore"):
        own = GPT.generate(prompt_of(served), greedy=True, max_tokens=5, tap=tap)
        assert answer.json()["choices"][0]["message"]["content"] == own.text


def test_answers_are_json_that_everyone_reads(served) -> None:
    def no(name: str) -> None:
        raise AssertionError(name)

    trace = {"names": ["attn.scores", "attn.qk"], "positions": "all"}
    name = chatted(served, pellucid={"trace": trace})["choices"][0]["pellucid"]["trace"]["id"]
    query = {"name": "blocks.0.attn.scores"}
    page = served.client.get(f"/v1/inspect/traces/{name}/values", params=query)
    values = json.load(io.BytesIO(page.content), parse_constant=no)["values"]
    assert values[0][0][-1] is None


# The page


PAGE = (Path(__file__).parents[1] / "docs" / "inspect_http.md").read_text(encoding="utf-8")


def test_every_request_of_the_page_is_answered(chat) -> None:
    requests = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(requests) == PAGE.count("```http") > 8
    seen = {"JOB": "", "TRACE": ""}
    with serving(chat) as server:
        for method, path, body in requests:
            for name, known in seen.items():
                path = path.replace(name, known)
            content = {"json": json.loads(body)} if body.strip() else {}
            answer = server.client.request(method, path, **content)
            assert answer.status_code in (200, 202), (path, answer.text)
            if answer.headers["content-type"] != "application/json":
                continue
            found = answer.json()
            if found.get("object") == "inspect.job":
                seen["JOB"] = found["id"]
            for choice in found.get("choices", ()):
                seen["TRACE"] = choice["pellucid"]["trace"]["id"]
        (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
        block = block.replace("http://127.0.0.1:8000", server.url)
        scope: dict[str, Any] = {}
        exec(compile(block, "inspect_http.md", "exec"), scope)
        indices = scope["seen"]["records"][0]["values"]["blocks.5.attn.pattern"]["indices"]
        assert [len(row) for row in indices] == [3] * chat.hparams.n_head
        scope["client"].close()


def test_the_page_names_every_question_and_what_it_takes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*)\|$", PAGE, flags=re.MULTILINE)
    said = {kind: set(re.findall(r"`(\w+)`", takes)) for kind, takes in rows if kind in REQUESTS}
    assert set(said) == set(REQUESTS)
    for kind, form in REQUESTS.items():
        fields = set(form.model_fields) - {"text", "messages", "reply", "source", "base"}
        known = said[kind] - {"ablate"}
        if kind == "sweep":
            known |= said["ablate"] - {"heads", "mlps", "positions"}
        assert known == fields, kind

"""What a request may hold, what is said of one that may not, and what ends a text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.skips import needs

needs("fastapi")

from pellucid.gpt import GPT  # noqa: E402
from pellucid.serve.access import Access  # noqa: E402
from pellucid.serve.app import new_app  # noqa: E402
from pellucid.serve.events import EngineLimits  # noqa: E402
from pellucid.serve.service import Service  # noqa: E402
from support.server import WORDS, Served, babbler, serving, talker  # noqa: E402
from support.work import calls  # noqa: E402

CHAT = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2}
TEXT = {"prompt": "the cat", "max_tokens": 2}
V1 = {"/v1/completions": TEXT, "/v1/chat/completions": CHAT}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(talker()) as server:
        yield server


def refused(answer: Any, status: int = 400) -> dict[str, Any]:
    """The error, in OpenAI's form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["message"]
    assert error["code"]
    return error


BOTH = [
    *(("temperature", value) for value in (-0.01, 2.01, 1e6, "1", True, [1])),
    *(("top_p", value) for value in (-0.01, 1.01, "1")),
    *((f"{name}_penalty", value) for name in ("presence", "frequency") for value in (-2.1, 2.1)),
    *(("n", value) for value in (0, -1, 9, 2**64, 1.5, "2", True)),
    *(("stop", value) for value in (["a"] * 5, "", [""], [1], 5, {"a": 1})),
    *(("seed", value) for value in (2**64, 0.5, "1")),
    *(("max_tokens", value) for value in (-1, 2**64, 1.5, "5")),
    ("top_k", 0),
    ("min_p", 2),
    ("repetition_penalty", 0),
    ("stop_token_ids", [-1]),
    ("stop_token_ids", [10**6]),
    ("stream", "yes"),
    ("stream_options", {"usage": True}),
    ("model", 5),
    ("logit_bias", {"5": 100}),
    ("tools", [{"type": "function"}]),
    ("pellucid", {"trace": {}}),
    ("no_such_field", 1),
]
BAD = [(path, {name: value}) for path in V1 for name, value in BOTH]
BAD += [
    ("/v1/completions", more)
    for more in (
        {"logprobs": 6}, {"logprobs": True}, {"suffix": "end"}, {"best_of": 2}, {"echo": 1},
        {"prompt": []}, {"prompt": [[]]}, {"prompt": None}, {"prompt": [5, "a"]}, {"prompt": [-1]},
        {"prompt": [10**6]}, {"prompt": [2**64]}, {"prompt": [["a"]]}, {"prompt": ["a"] * 129},
        {"prompt": [[5, 10**6]]}, {"prompt": {"a": 1}}, {"prompt": ["a"] * 100, "n": 8},
    )
]  # fmt: skip
BAD += [
    ("/v1/chat/completions", more)
    for more in (
        {"top_logprobs": 21, "logprobs": True}, {"top_logprobs": 2}, {"max_tokens": 0},
        {"max_completion_tokens": 2}, {"messages": []}, {"messages": "hi"}, {"messages": None},
        {"messages": [{"role": "tool", "content": "a"}]}, {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": None}]}, {"functions": [{}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"response_format": {"type": "json_object"}}, {"tool_choice": "required"},
        {"modalities": ["audio"]}, {"truncation": "middle"}, {"reasoning_effort": "high"},
    )
]  # fmt: skip


@pytest.mark.parametrize(("path", "more"), BAD)
def test_what_is_out_of_bounds_is_said(served, path, more) -> None:
    """E2: 400 with all four fields, the field's name among them; the next request is fine."""
    error = refused(served.post(path, **{**V1[path], **more}))
    assert error["type"] == "invalid_request_error"
    first = next(iter(more))
    assert first in (error["param"] or error["message"]) or first == "max_completion_tokens"
    assert served.post(path, **V1[path]).status_code == 200


@pytest.mark.parametrize("path", V1)
@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "5", '"a"', "null", "[" * 100_000, '{"a":' * 100_000, "{}" * 2,
        '{"prompt": NaN}', '{"temperature": Infinity, "prompt": "a"}',
        '{"prompt": "a", "temperature": 1e999}', '{"prompt": "a", "seed": ' + "9" * 5000 + "}",
        '{"prompt": "a", "prompt": "b"}', '{"prompt": "\\ud800"}', '{"\\ud800": 1}',
        b"\xff\xfe{}", b'{"prompt": "\xc3("}', '{"prompt": "a", "\x00": 1}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_said(served, path, text) -> None:
    body = text.encode() if isinstance(text, str) else text
    headers = {"content-type": "application/json"}
    refused(served.client.post(path, content=body, headers=headers))
    assert served.post(path, **V1[path]).status_code == 200


def test_numbers_of_jsons_are_read_as_its_schemas_mean_them(served) -> None:
    body = '{"prompt": [5.0, 1e1], "max_tokens": 2.0, "temperature": 0, "n": 1.0}'
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = served.client.post("/v1/completions", content=body, headers=headers)
    assert answer.json()["usage"]["prompt_tokens"] == 2


def test_what_clients_send_without_a_meaning_here_is_taken(served) -> None:
    more = {
        "user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto",
        "safety_identifier": "x", "tools": [], "logit_bias": {}, "stop": None, "seed": None,
        "temperature": None, "stream": False, "max_tokens": None, "n": None,
    }  # fmt: skip
    assert served.post("/v1/completions", **{**TEXT, **more, "suffix": ""}).status_code == 200
    chat = {"response_format": {"type": "text"}, "tool_choice": "none", "modalities": ["text"]}
    more["max_tokens"] = 2
    assert served.post("/v1/chat/completions", **{**CHAT, **more, **chat}).status_code == 200


def test_an_unknown_model_is_not_found(served) -> None:
    for path, body in V1.items():
        error = refused(served.post(path, **body, model="gpt-4"), 404)
        assert error["code"] == "model_not_found"
        assert "talker" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 404), ("POST", "/v1/nothing", 404),
        ("GET", "/v1/completions", 405), ("PUT", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405), ("OPTIONS", "/v1/completions", 405),
        ("PUT", "/v1/inspect/traces/a", 405), ("GET", "/docs", 404), ("GET", "/v1/models/", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_in_the_same_form(served, method, path, status) -> None:
    answer = served.client.request(method, path, **({"json": {}} if method == "POST" else {}))
    error = refused(answer, status)
    assert status == 404 or answer.headers["allow"] in ("POST", "GET", "DELETE, GET")
    assert error["type"] == "invalid_request_error"


def test_everything_is_built_before_the_first_request(served) -> None:
    """What FastAPI builds while it answers one, no stream goes on beside."""
    app, answers = new_app(served.service, Access()), []

    def no_body() -> Callable[[], Any]:
        received = []

        async def receive() -> dict[str, Any]:
            if received:
                await asyncio.Future()  # nobody leaves
            received.append({"type": "http.request"})
            return received[0]

        return receive

    async def told(message: Any) -> None:
        answers.append(message.get("status"))

    def ask(path: str) -> int:
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "headers": [(b"host", b"localhost")], "query_string": b"", "root_path": "",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http",
            "http_version": "1.1",
        }  # fmt: skip
        return calls(lambda: asyncio.run(app(scope, no_body(), told)))

    ask("/health")
    first, second = ask("/v1/nothing"), ask("/v1/nothing")
    assert answers[::2] == [200, 404, 404]
    assert first < 2 * second


def test_a_long_list_of_mistakes_is_answered_briefly(served) -> None:
    """Each element is wrong; the first is said, and none of the others looked at."""
    for prompt in ([1, "a"] * 100_000, [["a"]] * 100, ["a", 1] * 60, [[1] * 50_000 + ["a"]]):
        error = refused(served.post("/v1/completions", prompt=prompt))
        assert len(error["message"]) <= 500


@pytest.fixture(scope="module")
def babbling() -> Iterator[Served]:
    with serving(babbler(64)) as server:
        yield server


@pytest.fixture(scope="module")
def unstopped(babbling) -> dict[int, list[str]]:
    """What each token adds where nothing ends the text, by seed."""
    asked = {"prompt": WORDS[:9], "max_tokens": 30, "stream": True}
    answers = {s: babbling.post("/v1/completions", **asked, seed=s).text for s in range(8)}
    return {s: [c["choices"][0]["text"] for c in events(text)] for s, text in answers.items()}


def stopped(parts: list[str], stops: list[str]) -> tuple[str, str]:
    """Token by token: as soon as a stop text is whole, the text ends where it begins; of several
    that are whole at once, where the first of them begins."""
    text = ""
    for part in parts:
        text += part
        if begins := [at for stop in stops if (at := text.find(stop)) >= 0]:
            return text[: min(begins)], "stop"
    return text, "length"


@settings(max_examples=60)
@given(data=st.data())
def test_a_stop_text_is_never_seen(babbling, unstopped, data) -> None:
    """E4: across tokens and chunks, streamed as whole, what was held given out at the end."""
    seed = data.draw(st.sampled_from(sorted(unstopped)))
    text = "".join(unstopped[seed])
    within = st.builds(
        lambda at, n: text[at : at + n], st.integers(0, len(text) - 1), st.integers(1, 9)
    )
    begun = within.map(lambda stop: stop + "§")  # what begins as one, and is none
    any_text = st.text("at l", min_size=1, max_size=4)
    stops = data.draw(st.lists(within | begun | any_text, max_size=4))
    body = {"prompt": WORDS[:9], "max_tokens": 30, "seed": seed, "stop": stops}
    whole = babbling.post("/v1/completions", **body).json()["choices"][0]
    assert (whole["text"], whole["finish_reason"]) == stopped(unstopped[seed], stops)
    chunks = events(babbling.post("/v1/completions", **body, stream=True).text)
    assert "".join(c["choices"][0]["text"] for c in chunks) == whole["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]


def events(text: str) -> list[dict[str, Any]]:
    *parts, done, end = text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(part.removeprefix("data: ")) for part in parts if part[0] != ":"]


@pytest.mark.parametrize(
    ("loaded", "called"),
    [
        ("small/model", "small"),  # a run's own models
        ("runs/small/best", "small"),
        ("some/folder", "folder"),
        ("model", "model"),
        ("/model", "model"),
        ("", "model"),
        ("gpt2", "gpt2"),
    ],
)
def test_a_model_is_called_as_a_person_would_call_it(talk, loaded, called) -> None:
    gpt = GPT(talk.model, talk.tokenizer, name=loaded)
    assert Service.of(gpt, EngineLimits(max_running=1)).model == called

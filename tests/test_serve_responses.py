"""/v1/responses by OpenAI's client; /tokenize and /detokenize."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.skips import needs

needs("fastapi")
openai = needs("openai")

from pellucid.chat import Conversation  # noqa: E402
from support.server import Served, serving, talker  # noqa: E402


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(talker()) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


ASKED = {"model": "talker", "temperature": 0, "max_output_tokens": 9}


def test_a_response_is_the_chats_reply(client) -> None:
    messages = [{"role": "system", "content": "a mat"}, {"role": "user", "content": "the cat"}]
    reply = client.chat.completions.create(
        model="talker", messages=messages, max_tokens=9, temperature=0
    )
    for said in ("the cat", [{"role": "user", "content": "the cat"}]):
        response = client.responses.create(**ASKED, instructions="a mat", input=said)
        assert response.output_text == reply.choices[0].message.content
        assert response.usage.input_tokens == reply.usage.prompt_tokens
        assert response.usage.output_tokens == reply.usage.completion_tokens == 9
        assert response.status == "incomplete"
        assert response.incomplete_details.reason == "max_output_tokens"
    items = [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]
    again = [*items, *(item.model_dump(exclude_none=True) for item in response.output), *items]
    assert client.responses.create(**ASKED, input=again).output_text


def test_a_stream_tells_the_same_in_its_order(client) -> None:
    whole = client.responses.create(**ASKED, input="the cat")
    events = list(client.responses.create(**ASKED, input="the cat", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert [kind for kind in kinds if kind != "output_text.delta"] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.done",
        "content_part.done", "output_item.done", "incomplete",
    ]  # fmt: skip
    assert "".join(deltas) == whole.output_text == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens
    assert len({e.response.id for e in events if hasattr(e, "response")}) == 1


def test_the_clients_own_helper_reads_a_stream_that_ends_by_itself(client, served) -> None:
    gpt = served.service.gpt
    said, reply = next(
        (said, reply)
        for said in map(str, range(1000))
        if (reply := Conversation(gpt, greedy=True, max_tokens=24).say(said)).reason == "stop token"
    )
    with client.responses.stream(model="talker", temperature=0, input=said) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    assert response.status == "completed"
    assert response.output_text == reply.text


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"}, {"tools": [{"type": "web_search"}]}, {"input": []},
        {"background": True}, {"text": {"format": {"type": "json_object"}}}, {"include": ["x"]},
        {"max_output_tokens": 0}, {"input": [{"type": "item_reference", "id": "a"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, {"pellucid": {"a": 1}},
    ],
)  # fmt: skip
def test_what_it_has_not_is_refused(served, more) -> None:
    answer = served.post("/v1/responses", **{"input": "the cat", **more})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_prompt_beyond_the_window_is_an_error(client) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(**ASKED, input="a " * 300)
    assert error.value.code == "context_length_exceeded"
    assert error.value.param == "input"


def test_tokens_there_and_back(served) -> None:
    tokenizer = served.service.gpt.tokenizer
    for text in ("the cat sat", "é \U0001f600", "", "a " * 2000, "say <|end|> and"):
        answer = served.post("/tokenize", prompt=text, return_token_strs=True).json()
        assert answer["tokens"] == tokenizer.encode(text)
        assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
        assert answer["max_model_len"] == 256
        back = served.post("/detokenize", tokens=answer["tokens"]).json()
        assert back == {"prompt": text}
    end = tokenizer.special_tokens["<|end|>"]
    assert served.post("/tokenize", prompt="<|end|>").json()["tokens"] == [end]


def test_a_conversations_tokens_are_those_of_its_prompt(served) -> None:
    messages = [{"role": "user", "content": "the cat"}]
    answer = served.post("/tokenize", messages=messages).json()
    reply = served.post("/v1/chat/completions", messages=messages, max_tokens=1).json()
    assert answer["count"] == reply["usage"]["prompt_tokens"]


def test_what_is_no_token_is_refused(served) -> None:
    for path, body in (
        ("/detokenize", {"tokens": [295]}), ("/detokenize", {"tokens": [-1]}), ("/tokenize", {}),
        ("/detokenize", {"tokens": "a"}), ("/tokenize", {"prompt": "a", "messages": []}),
        ("/tokenize", {"prompt": "a", "model": "b"}),
    ):  # fmt: skip
        answer = served.post(path, **body)
        assert answer.status_code == (404 if "model" in body else 400)
        assert answer.json()["error"]["code"]


def test_the_tokenizer_says_how_a_text_ends(served) -> None:
    answer = served.client.get("/tokenizer_info").json()
    assert answer["eos_token"] == "<|endoftext|>"
    assert answer["n_vocab"] == served.service.gpt.hparams.n_vocab

"""The server by OpenAI's own client: completions and chat, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.skips import needs

needs("fastapi")
openai = needs("openai")

from pellucid.chat import Conversation  # noqa: E402
from pellucid.sampling import log_softmax  # noqa: E402
from pellucid.template import Exchange, fit, look_up  # noqa: E402
from support.server import Served, serving, talker  # noqa: E402


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(talker()) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


HELLO = [{"role": "user", "content": "the cat sat"}]


def test_models(client, served) -> None:
    (model,) = client.models.list().data
    assert model.id == served.service.model == client.models.retrieve(model.id).id
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("gpt-4")
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize("prompt", ["the cat", [5, 6, 7], ["the cat", "a mat"], [[5], [6, 7]]])
def test_a_completion_is_what_the_model_generates(client, served, prompt) -> None:
    asked = {"model": "talker", "prompt": prompt, "max_tokens": 7, "seed": 3}
    answer = client.completions.create(**asked)
    several = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
    gpt = served.service.gpt
    own = [gpt.generate(p, max_tokens=7, seed=3) for p in several]
    assert [choice.text for choice in answer.choices] == [generation.text for generation in own]
    assert [choice.index for choice in answer.choices] == list(range(len(several)))
    assert answer.usage.prompt_tokens == sum(len(g.prompt) for g in own)
    assert answer.usage.completion_tokens == sum(len(g.steps) for g in own)
    assert answer.usage.total_tokens == sum(len(g.tokens) for g in own)


def test_a_stream_says_what_the_whole_answer_says(client) -> None:
    asked = {"model": "talker", "prompt": ["the", "a"], "max_tokens": 9, "n": 2, "seed": 5}
    asked |= {"echo": True, "logprobs": 3, "temperature": 1.5}
    whole = client.completions.create(**asked)
    chunks = list(
        client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    for choice in whole.choices:
        own = [c for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert "".join(c.text for c in own) == choice.text
        assert [c.finish_reason for c in own if c.finish_reason] == [choice.finish_reason]
        assert own[-1].finish_reason
        parts = [c.logprobs for c in own if c.logprobs]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            joined = [each for part in parts for each in getattr(part, name)]
            assert joined == getattr(choice.logprobs, name)


def test_ids_come_where_they_are_asked_for(client, served) -> None:
    """As vLLM names them; whole and streamed, of the likeliest too."""
    asked = {"prompt": "the cat", "max_tokens": 6, "seed": 4, "logprobs": 3}
    bare = client.completions.create(model="talker", **asked).choices[0]
    assert "token_ids" not in bare.model_extra
    more = {"return_token_ids": True}
    whole = client.completions.create(model="talker", **asked, extra_body=more).choices[0]
    ids = whole.token_ids
    gpt = served.service.gpt
    own = gpt.generate("the cat", max_tokens=6, seed=4, alternatives=3)
    assert ids == [step.token for step in own.steps]
    texts = [gpt.tokenizer.bytes_of(i) for i in ids]
    assert [each.decode("utf-8", "ignore") for each in texts] == [
        "" if text.startswith("bytes:") else text for text in whole.logprobs.tokens
    ]
    likely = [[other.token for other in step.alternatives] for step in own.steps]
    assert whole.logprobs.top_token_ids == likely
    parts = client.completions.create(model="talker", **asked, stream=True, extra_body=more)
    choices = [part.choices[0] for part in parts]
    streamed = [i for each in choices for i in getattr(each, "token_ids", None) or []]
    assert streamed == ids
    tops = [
        top
        for each in choices
        if each.logprobs
        for top in each.logprobs.model_extra["top_token_ids"]
    ]
    assert tops == whole.logprobs.top_token_ids
    echoed = client.completions.create(
        model="talker", prompt=ids, max_tokens=1, echo=True, logprobs=2, extra_body=more
    ).choices[0]
    assert len(echoed.token_ids) == 1
    # Of the token that ends it too.
    ended = client.completions.create(
        model="talker", **asked, extra_body={**more, "stop_token_ids": ids[2:3]}
    ).choices[0]
    assert (ended.finish_reason, ended.token_ids) == ("stop", ids[:3])
    assert ended.logprobs.token_logprobs == whole.logprobs.token_logprobs[:3]
    assert ended.logprobs.top_token_ids == likely[:3]
    assert echoed.logprobs.top_token_ids[0] is None


def test_logprobs_are_the_models_own(client, served) -> None:
    """Of the prompt and of what was generated, before temperature, to float32's rounding."""
    gpt = served.service.gpt
    ids = gpt.encode("the cat sat on")
    answer = client.completions.create(
        model="talker", prompt=ids, max_tokens=4, echo=True, logprobs=2, seed=1, temperature=0.5
    )
    (choice,) = answer.choices
    generation = gpt.generate(ids, max_tokens=4, seed=1, temperature=0.5)
    assert choice.text.endswith(generation.text)
    logprobs = log_softmax(gpt.logits(generation.tokens).astype("float64"))
    own = [logprobs[at - 1, token] for at, token in enumerate(generation.tokens) if at]
    given = choice.logprobs
    assert given.token_logprobs[0] is given.top_logprobs[0] is None
    assert given.token_logprobs[1:] == pytest.approx(own, abs=1e-4)
    assert choice.text == gpt.tokenizer.decode(generation.tokens)
    for at, token in enumerate(generation.tokens):
        text = gpt.tokenizer.bytes_of(token).decode("utf-8", "replace")
        if "�" not in text:
            assert given.tokens[at] == text
            assert choice.text[given.text_offset[at] :].startswith(text)
        if at:
            best = sorted(logprobs[at - 1])[-2:][::-1]
            listed = given.top_logprobs[at]
            assert len(listed) in (2, 3)
            assert sorted(listed.values())[-2:][::-1] == pytest.approx(best, abs=1e-4)
            assert listed[given.tokens[at]] == given.token_logprobs[at]


def test_a_prompt_alone_can_be_scored(client) -> None:
    answer = client.completions.create(
        model="talker", prompt="the cat", max_tokens=0, echo=True, logprobs=0
    )
    assert answer.choices[0].text == "the cat"
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.prompt_tokens == 2
    assert answer.usage.completion_tokens == 0


def test_a_reply_is_what_chat_says(client, served) -> None:
    conversation = Conversation(served.service.gpt, system="a mat", greedy=True, max_tokens=12)
    reply = conversation.say("the cat")
    answer = client.chat.completions.create(
        model="talker",
        messages=[
            {"role": "developer", "content": "a mat"},
            {"role": "user", "content": [{"type": "text", "text": "the cat"}]},
        ],
        max_completion_tokens=12,
        temperature=0,
    )
    assert answer.choices[0].message.content == reply.text
    assert answer.usage.prompt_tokens == len(reply.prompt)
    again = [*HELLO, answer.choices[0].message, *HELLO]
    assert client.chat.completions.create(model="talker", messages=again, max_tokens=1).id


@pytest.mark.parametrize("n", [1, 3])
def test_a_streamed_reply_is_the_whole_one(client, n) -> None:
    asked = {"model": "talker", "messages": HELLO, "max_tokens": 9, "seed": 7, "n": n}
    asked |= {"logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert len({chunk.id for chunk in chunks}) == 1
    *parts, last = chunks
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in parts)
    assert len({choice.message.content for choice in whole.choices}) == n
    for choice in whole.choices:
        first, *rest = [c.choices[0] for c in parts if c.choices[0].index == choice.index]
        assert first.delta.role == "assistant"
        assert all(each.delta.role is None for each in rest)
        assert "".join(c.delta.content or "" for c in rest) == choice.message.content
        assert [c.finish_reason for c in rest if c.finish_reason] == [choice.finish_reason]
        tokens = [token for c in rest if c.logprobs for token in c.logprobs.content]
        assert tokens == choice.logprobs.content
    assert whole.usage.completion_tokens > 9 * (n - 1)


def test_a_stream_ends_as_it_should(served) -> None:
    body = {"messages": HELLO, "max_tokens": 3, "stream": True}
    with served.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    assert text.endswith("\n\ndata: [DONE]\n\n")
    assert '"usage"' not in text


def test_a_prompt_is_counted_once(client) -> None:
    asked = {"model": "talker", "max_tokens": 3, "seed": 7}
    one, many = (client.completions.create(prompt=["the cat", "a"], **asked, n=n) for n in (1, 4))
    assert many.usage.prompt_tokens == one.usage.prompt_tokens == 3
    assert many.usage.completion_tokens > one.usage.completion_tokens
    assert len(many.choices) == 8
    one, many = (client.chat.completions.create(messages=HELLO, **asked, n=n) for n in (1, 4))
    assert many.usage.prompt_tokens == one.usage.prompt_tokens


def test_a_seed_repeats_and_others_differ(client) -> None:
    def say(**more: Any) -> list[str]:
        answer = client.chat.completions.create(
            model="talker", messages=HELLO, max_tokens=12, **more
        )
        return [choice.message.content for choice in answer.choices]

    assert say(seed=4) == say(seed=4) == say(seed=4, n=2)[:1]
    assert say(seed=4) != say(seed=5)
    assert say(seed=-4) == say(seed=-4)
    assert say() != say()


def test_a_stop_token_ends_a_reply_and_is_not_shown(client, served) -> None:
    """Counted, as it was generated; the text and its tokens are without it."""
    asked = {"model": "talker", "messages": HELLO, "max_tokens": 20, "temperature": 0}
    first = client.chat.completions.create(**asked, logprobs=True)
    tokens = first.choices[0].logprobs.content
    spelled = [token.bytes for token in tokens]
    end = next(token for token in tokens if spelled.index(token.bytes) >= 3)
    (token,) = (
        i
        for i in range(served.service.gpt.hparams.n_vocab)
        if list(served.service.gpt.tokenizer.bytes_of(i)) == end.bytes
    )
    answer = client.chat.completions.create(
        **asked, logprobs=True, extra_body={"stop_token_ids": [token]}
    )
    assert answer.choices[0].finish_reason == "stop"
    at = spelled.index(end.bytes)
    assert answer.choices[0].logprobs.content == tokens[:at]
    assert answer.usage.completion_tokens == at + 1


def test_a_window_ends_a_text(client, served) -> None:
    """E3: at exactly n_ctx tokens; a prompt that is longer is an error with both numbers."""
    n_ctx = served.service.gpt.hparams.n_ctx
    for n in (n_ctx - 1, n_ctx):
        answer = client.completions.create(
            model="talker", prompt=[5] * n, max_tokens=50, extra_body={"stop_token_ids": []}
        )
        assert answer.choices[0].finish_reason in ("length", "stop")
        assert answer.usage.total_tokens == n_ctx
    for prompt in ([5] * (n_ctx + 1), "a " * n_ctx):
        with pytest.raises(openai.BadRequestError) as error:
            client.completions.create(model="talker", prompt=prompt)
        assert error.value.code == "context_length_exceeded"
        assert error.value.param == "prompt"
        assert str(n_ctx) in error.value.message
        assert str(n_ctx + 1) in error.value.message
    long = [{"role": "user", "content": "a " * n_ctx}]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="talker", messages=long)
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize("system", [None, "on a mat"])
@pytest.mark.parametrize("n", [1, 3, 30])
def test_old_turns_are_left_out_where_that_is_asked(served, system, n) -> None:
    """As `pellucid chat` leaves them out."""
    gpt = served.service.gpt
    past = [Exchange(f"the king {number}", f"went home to {number}") for number in range(n)]
    messages = [{"role": "system", "content": system}] if system else []
    for said, reply in past:
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": reply})
    messages.append({"role": "user", "content": "the cat"})
    template = look_up("roles")
    fitted = fit(template, gpt.tokenizer, "the cat", past, system=system, window=256, reply=40)
    assert bool(fitted.n_dropped) is (n == 30)
    body = {"messages": messages, "max_tokens": 40}
    answer = served.post("/v1/chat/completions", **body, truncation="auto")
    assert answer.json()["usage"]["prompt_tokens"] == len(fitted.ids)
    assert served.post("/v1/chat/completions", **body).status_code == (400 if n == 30 else 200)


def test_the_next_turn_is_not_computed_anew(client) -> None:
    messages = [{"role": "user", "content": "the king went home to dinner " * 4}]
    asked = {"model": "talker", "max_tokens": 20, "seed": 1}
    first = client.chat.completions.create(messages=messages, **asked)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    messages += [first.choices[0].message, *HELLO]
    second = client.chat.completions.create(messages=messages, **asked)
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 16

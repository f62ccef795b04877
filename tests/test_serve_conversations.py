"""Conversations over HTTP: said as the terminal's chat says it, and kept as it keeps it."""

from __future__ import annotations

import json
import logging
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.skips import needs

needs("fastapi")
needs("openai")

import httpx  # noqa: E402
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402

from pellucid.chat import Conversation  # noqa: E402
from pellucid.conversations import Store, line, markdown  # noqa: E402
from pellucid.conversations.keeper import Keeper, transcript_of  # noqa: E402
from pellucid.errors import StoreError  # noqa: E402
from pellucid.serve import archive  # noqa: E402
from pellucid.serve.access import Access  # noqa: E402
from pellucid.serve.errors import of  # noqa: E402
from pellucid.serve.events import EngineLimits  # noqa: E402
from support.server import Served, babbler, eventually, serving, started, talker  # noqa: E402

GPT = talker()
GREEDY = {"temperature": 0, "max_tokens": 6}
LONG = {"temperature": 0, "max_tokens": 3000}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept") / "a.db"


@pytest.fixture(scope="module")
def served(store: Path) -> Iterator[Served]:
    with serving(GPT, store=store) as server:
        yield server


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Iterator[Served]:
    """Whose replies end when they are told to."""
    with serving(babbler(), store=tmp_path_factory.mktemp("kept") / "b.db") as server:
        yield server


def begun(served: Served, **body: Any) -> str:
    answer = served.post("/v1/conversations", **{"settings": GREEDY, **body})
    assert answer.status_code == 201, answer.text
    return f"/v1/conversations/{answer.json()['id']}"


def test_what_a_conversation_begins_with_is_said_with_the_model(served) -> None:
    (model,) = served.client.get("/v1/models").json()["data"]
    head = served.client.get(begun(served, settings={})).json()
    assert model["settings"] == head["settings"]
    gpt = served.service.gpt
    assert set(model["settings"]["stop_tokens"]) >= gpt.stop_tokens
    assert model["n_params"] == gpt.hparams.n_params


def told(served: Served, path: str, **body: Any) -> dict[str, Any]:
    answer = served.post(path, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(served: Served, path: str, text: str, **body: Any) -> dict[str, Any]:
    return told(served, f"{path}/messages", text=text, **body)


def tree(served: Served, path: str, **params: Any) -> dict[str, Any]:
    answer = served.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(reply: dict[str, Any]) -> list[int]:
    return [token["id"] for token in reply["tokens"]]


@contextmanager
def stream(served: Served, path: str, **body: Any) -> Iterator[Iterator[dict[str, Any]]]:
    with served.client.stream("POST", path, json={"stream": True, **body}) as answer:
        assert answer.status_code == 200, answer.read()
        lines = (each[6:] for each in answer.iter_lines() if each.startswith("data: {"))
        yield map(json.loads, lines)


# What is said


def test_it_says_what_the_terminals_chat_says(served, store) -> None:
    """Turn by turn, on the very ids, until the window is too full for all of them."""
    path = begun(served, system="the king", title="")
    chat = Conversation(GPT, system="the king", greedy=False, **GREEDY)
    notices = []
    for text in ("the cat", *(f"{n} the king went home to dinner" * 8 for n in range(4))):
        reply = say(served, path, text)
        own = chat.say(text)
        assert ids(reply) == [step.token for step in own.steps]
        assert reply["choices"][0]["message"]["content"] == own.text
        assert reply["conversation"]["notice"] == chat.notice
        notices.append(chat.notice)
        for token, step in zip(reply["tokens"], own.steps, strict=True):
            assert token["text"] == step.text
            assert token["bytes"] == list(GPT.tokenizer.bytes_of(step.token))
            assert token["logprob"] == pytest.approx(step.logprob, abs=1e-4)
            likely = [each.token for each in step.alternatives]
            assert [each["id"] for each in token["alternatives"]] == likely
        kept = served.client.get(f"{path}/messages/{reply['conversation']['reply']}").json()
        assert kept["generated"]["tokens"] == reply["tokens"]
        assert kept["generated"]["prompt"] == list(own.prompt)
        assert kept["generated"]["reason"] == own.reason == reply["kept"]["reason"]
    assert notices[0] is None
    assert "no longer sees" in notices[-1]
    with Store.open(store) as opened:  # and the terminal goes on from there
        whole = opened.tree(path.rpartition("/")[2])
    again = Conversation.of(GPT, transcript_of(whole, GPT.tokenizer))
    assert again.messages == chat.messages
    assert whole.head.title == "the cat"


def test_what_the_terminal_keeps_goes_on_here(served, store) -> None:
    chat = Conversation(GPT, system="the", seed=3, max_tokens=5)
    keeper = Keeper(chat, lambda: Store.open(store))
    assert chat.say("the cat").text
    keeper.close()
    path = f"/v1/conversations/{keeper.id}"
    assert tree(served, path)["messages"][1]["text"] == chat.messages[-1].text
    reply = say(served, path, "sat on")
    own = chat.say("sat on")
    assert ids(reply) == [step.token for step in own.steps]
    assert reply["conversation"]["reply"] == tree(served, path)["leaf"]


@pytest.mark.parametrize("kind", ["say", "edit", "retry", "branch"])
def test_streamed_is_whole(served, kind) -> None:
    path = begun(served, settings={"max_tokens": 8, "seed": 5})
    first = say(served, path, "the cat")["conversation"]
    where, body = {
        "say": ("messages", {"text": "sat"}),
        "edit": (f"messages/{first['message']}/edit", {"text": "sat"}),
        "retry": (f"messages/{first['reply']}/retry", {"seed": 9}),
        "branch": (f"messages/{first['reply']}/branch", {"step": 1, "seed": 8}),
    }[kind]
    if kind == "say":
        body["parent"] = first["reply"]
    whole = told(served, f"{path}/{where}", **body)
    with stream(served, f"{path}/{where}", **body) as parts:
        chunks = list(parts)
    texts = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(texts) == whole["choices"][0]["message"]["content"]
    tokens = [token for chunk in chunks for token in chunk.get("tokens", ())]
    assert [token["id"] for token in tokens] == ids(whole)
    assert "".join(token["text"] for token in tokens) == "".join(texts)
    assert [t["alternatives"][0]["id"] for t in tokens] == [
        t["alternatives"][0]["id"] for t in whole["tokens"]
    ]
    assert chunks[-1]["kept"] == whole["kept"] == {
        "kept": True, "problem": None, "reason": whole["kept"]["reason"]
    }  # fmt: skip
    same = {"source", "step", "notice"}
    assert {n: chunks[0]["conversation"][n] for n in same} == {
        n: whole["conversation"][n] for n in same
    }
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    for name in ("prompt_tokens", "completion_tokens"):
        assert chunks[-1]["usage"][name] == whole["usage"][name]
    ChatCompletion.model_validate(whole, strict=True)  # as OpenAI's client reads them
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    stays = {message["id"] for message in tree(served, path)["messages"]}
    assert {first["reply"], whole["conversation"]["reply"]} <= stays


@settings(max_examples=12)
@given(st.integers(0, 5), st.integers(0, GPT.hparams.n_vocab - 1) | st.none())
def test_a_branch_is_the_continuation_of_its_prefix(served, step, token) -> None:
    """Computed by `Generation` from the prompt and the tokens up to there; greedy."""
    path = begun(served, settings=GREEDY | {"max_tokens": 9})
    first = say(served, path, "the king")
    step = min(step, len(first["tokens"]) - 1)
    place, body = first["conversation"], {"step": step}
    body |= {} if token is None else {"token": token}
    other = told(served, f"{path}/messages/{place['reply']}/branch", **body)
    kept = served.client.get(f"{path}/messages/{place['reply']}").json()["generated"]
    prefix = ids(first)[:step] + ([] if token is None else [token])
    stops = GPT.stop_tokens | {*kept["settings"]["stop_tokens"]}
    expected = prefix
    if token not in stops and len(prefix) < 9:
        n = 9 - len(prefix)
        prompt = [*kept["prompt"], *prefix]
        own = GPT.generate(prompt, greedy=True, max_tokens=n, stop_tokens=stops)
        expected = [*prefix, *(each.token for each in own.steps)]
    assert ids(other) == expected
    assert other["tokens"][:step] == first["tokens"][:step] or step == 0
    assert (other["conversation"]["source"], other["conversation"]["step"]) == (
        place["reply"], step
    )  # fmt: skip


def test_edited_taken_again_and_branched_are_siblings(served) -> None:
    path = begun(served, settings={"temperature": 2, "max_tokens": 4, "seed": 1})
    first = say(served, path, "the cat")["conversation"]
    question, reply = first["message"], first["reply"]
    again = told(served, f"{path}/messages/{reply}/retry")["conversation"]
    third = told(served, f"{path}/messages/{question}/retry")["conversation"]
    other = told(served, f"{path}/messages/{reply}/branch", step=0, token=7)["conversation"]
    edited = told(served, f"{path}/messages/{question}/edit", text="the mat")["conversation"]
    whole = tree(served, path, tokens=True)
    found = {each["id"]: each for each in whole["messages"]}
    shape = {n: (m["parent"], m["source"], m["step"]) for n, m in found.items()}
    assert shape == {
        question: (None, None, None),
        reply: (question, None, None),
        again["reply"]: (question, reply, None),
        third["reply"]: (question, again["reply"], None),
        other["reply"]: (question, reply, 0),
        edited["message"]: (None, question, None),
        edited["reply"]: (edited["message"], None, None),
    }
    replies = [found[each["reply"]]["generated"] for each in (first, again, third)]
    assert [each["seed"] for each in replies] == [1, 2, 3]  # another one each time, as /retry's
    assert whole["leaf"] == edited["reply"]
    after = say(served, path, "and", parent=other["reply"])["conversation"]
    assert tree(served, path)["messages"][-1]["id"] == after["reply"]
    begin = say(served, path, "home", parent=None)["conversation"]["message"]
    assert next(m for m in tree(served, path)["messages"] if m["id"] == begin)["parent"] is None


def test_a_message_without_a_reply_is_answered_by_retry(served, store) -> None:
    path = begun(served)
    with Store.open(store) as opened:
        said = opened.add_message(path.rpartition("/")[2], "the cat")
    place = told(served, f"{path}/messages/{said.id}/retry")["conversation"]
    assert (place["message"], place["source"]) == (said.id, None)


# What is kept


def test_pages_exports_and_changes(served, store) -> None:
    path = begun(served, title="A title")
    places = [say(served, path, f"the cat {n}")["conversation"] for n in range(3)]
    expected = [each for place in places for each in (place["message"], place["reply"])]
    for params in ({"limit": 2}, {"limit": 4, "tokens": True}, {}):
        listed, after = [], None
        while True:
            page = tree(served, path, **params, **({"after": after} if after else {}))
            listed += page["messages"]
            after = page["next"]
            if after is None:
                break
        assert [message["id"] for message in listed] == expected
        for message in listed:
            assert ("tokens" in (message["generated"] or {})) == (
                message["role"] == "assistant" and "tokens" in params
            )
    with Store.open(store) as opened:
        whole = opened.tree(path.rpartition("/")[2])
    assert json.loads(served.client.get(f"{path}/export").text) == json.loads(
        json.dumps(line(whole))
    )
    read = served.client.get(f"{path}/export", params={"format": "markdown"})
    assert read.text == markdown(whole)
    assert read.headers["content-type"] == "text/markdown; charset=utf-8"
    changed = served.client.patch(
        path,
        json={
            "leaf": places[0]["reply"],
            "system": "home",
            "title": "Another",
            "settings": {"top_k": 3, "stop": ["dinner"]},
        },
    ).json()
    assert (changed["leaf"], changed["system"], changed["title"]) == (
        places[0]["reply"], "home", "Another",
    )  # fmt: skip
    assert changed["settings"]["top_k"] == 3
    assert changed["settings"]["temperature"] == 0
    on = say(served, path, "on")["conversation"]
    found = {each["id"]: each for each in tree(served, path)["messages"]}
    assert found[on["message"]]["parent"] == places[0]["reply"]
    cleared = served.client.patch(path, json={"leaf": None, "system": None}).json()
    assert (cleared["leaf"], cleared["system"], cleared["title"]) == (None, None, "Another")
    assert served.client.patch(path, json={"leaf": "0"}).status_code == 404
    assert served.client.delete(path).json()["deleted"] is True
    assert served.client.get(path).status_code == 404


def test_the_list_and_the_search(tmp_path) -> None:
    with serving(GPT, store=tmp_path / "a.db") as served:
        paths = [begun(served, title=f"number {n}") for n in range(5)]
        say(served, paths[1], "The Cat sat")
        first = served.client.get("/v1/conversations", params={"limit": 3}).json()
        rest = served.client.get("/v1/conversations", params={"before": first["next"]}).json()
        titles = [each["title"] for each in first["data"] + rest["data"]]
        assert titles == [f"number {n}" for n in (1, 4, 3, 2, 0)]
        assert rest["next"] is None
        (hit,) = served.client.get("/v1/conversations", params={"search": "cat the"}).json()["data"]
        assert [message["text"] for message in hit["found"]] == ["The Cat sat"]
        params = {"search": "cat", "before": hit["id"]}
        assert served.client.get("/v1/conversations", params=params).json()["data"] == []


def test_a_store_is_opened_when_it_is_first_used(tmp_path) -> None:
    path = tmp_path / "new" / "a.db"
    with serving(GPT, store=path) as served:
        assert served.post("/v1/completions", prompt="the", max_tokens=1).status_code == 200
        assert not path.parent.exists()
        assert served.client.get("/v1/conversations").json()["data"] == []
        assert path.exists()


def test_who_leaves_stops_the_reply_and_it_is_kept_as_far_as_it_came(endless) -> None:
    path = begun(endless, settings=LONG)
    with stream(endless, f"{path}/messages", text="the cat") as parts:
        place, *some = islice(parts, 8)
        sent = [token["id"] for chunk in some for token in chunk["tokens"]]
        place = place["conversation"]
        before = tree(endless, path)["messages"]  # on disk before the reply begins
        assert [message["id"] for message in before] == [place["message"]]
    where = f"{path}/messages/{place['reply']}"
    eventually(lambda: endless.client.get(where).status_code == 200)
    reply = endless.client.get(where).json()["generated"]
    assert reply["reason"] is None
    assert len(sent) <= len(reply["tokens"]) < LONG["max_tokens"]
    assert ids(reply)[: len(sent)] == sent
    eventually(lambda: endless.idle)
    n = len(reply["tokens"])
    endless.client.patch(path, json={"settings": {"max_tokens": n + 3}})
    longer = told(endless, f"{where}/branch", step=n)  # goes on at its end
    assert ids(longer)[:n] == ids(reply)
    assert len(longer["tokens"]) == n + 3
    prompt = [*reply["prompt"], *ids(reply)]
    own = endless.service.gpt.generate(prompt, greedy=True, max_tokens=3)
    assert ids(longer)[n:] == [step.token for step in own.steps]


def test_who_leaves_a_whole_answer_stops_it_too(endless) -> None:
    path = begun(endless, settings=LONG)
    with endless.connect() as bare:
        body = json.dumps({"text": "the cat"})
        head = f"POST {path}/messages HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        before = endless.service.engine.stats().generated_tokens
        bare.sendall((head + body).encode())
        eventually(lambda: endless.service.engine.stats().generated_tokens > before + 3)
        eventually(lambda: len(tree(endless, path)["messages"]) == 1)
    eventually(lambda: len(tree(endless, path)["messages"]) == 2)
    eventually(lambda: endless.idle)
    reply = tree(endless, path, tokens=True)["messages"][1]["generated"]
    assert reply["reason"] is None
    assert 0 < len(reply["tokens"]) < LONG["max_tokens"]


def test_a_killed_server_loses_no_finished_message(tmp_path) -> None:
    """kill -9 in the middle of a reply."""
    needs("POSIX")
    file = tmp_path / "a.db"
    with (
        started("--model", "chat", "--store", file) as program,
        httpx.Client(base_url=program.url, timeout=60) as client,
    ):
        made = client.post("/v1/conversations", json={"settings": {"max_tokens": 400}}).json()
        path = f"/v1/conversations/{made['id']}/messages"
        first = client.post(path, json={"text": "Hello!", "seed": 1}).json()
        assert first["kept"]["kept"]
        asked = {"text": "Tell me a long story.", "stream": True, "seed": 1}
        with client.stream("POST", path, json=asked) as answer:
            next(each for each in answer.iter_lines() if '"tokens":[{' in each)
            program.end(signal.SIGKILL)
    with Store.open(file) as opened:
        (head,) = opened.list()
        whole = opened.tree(head.id)
    kept = whole.messages
    assert [message.role for message in kept[:3]] == ["user", "assistant", "user"]
    assert kept[1].text == first["choices"][0]["message"]["content"]
    assert kept[2].text == "Tell me a long story."
    assert all(message.finished for message in kept)  # a fourth only where its end came first


def test_many_write_at_once(served, store) -> None:
    """Into one conversation and into their own, beside another program."""
    shared = begun(served)
    root = say(served, shared, "the king")["conversation"]["reply"]

    def write(number: int) -> list[tuple[str, str]]:
        own = begun(served, title=f"own {number}")
        said = []
        for turn in range(2):
            text = f"the cat {number} {turn}"
            place = say(served, shared, text, parent=root)["conversation"]
            said.append((place["message"], place["reply"]))
            say(served, own, text)
        assert len(tree(served, own)["messages"]) == 4
        return said

    def beside() -> None:
        with Store.open(store) as opened:
            for number in range(10):
                opened.add_message(shared.rpartition("/")[2], f"home {number}", parent=root)

    with ThreadPoolExecutor(8) as threads:
        other = threads.submit(beside)
        said = [each for some in threads.map(write, range(6)) for each in some]
        other.result()
    found = {each["id"]: each for each in tree(served, shared)["messages"]}
    assert len(found) == 2 + 2 * len(said) + 10
    for message, reply in said:
        assert found[message]["parent"] == root
        assert found[reply]["parent"] == message


# What cannot be


def test_what_is_not_there_or_not_allowed(served, store, tmp_path) -> None:
    path = begun(served)
    place = say(served, path, "the cat")["conversation"]
    other = begun(served)
    for wrong in (
        "/v1/conversations/0",
        f"{path}/messages/0",
        f"{other}/messages/{place['reply']}",
    ):
        answer = served.client.get(wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    wrongs = [
        ("messages", {"text": "the", "parent": "0"}, 404),
        (f"messages/{place['reply']}/branch", {"step": 1000}, 404),
        (f"messages/{place['reply']}/branch", {"step": 0, "token": 10**6}, 400),
        (f"messages/{place['message']}/branch", {"step": 0}, 409),
        (f"messages/{place['reply']}/edit", {"text": "the"}, 409),
        ("messages", {"text": ""}, 400),
        ("messages", {"text": "the", "model": "another"}, 404),
        ("messages", {"text": "x" * (1 << 20)}, 413),
    ]
    before = tree(served, path)
    for where, body, status in wrongs:
        answer = served.post(f"{path}/{where}", **body)
        assert answer.status_code == status, (where, answer.text)
    assert tree(served, path) == before  # nothing of it is kept
    with serving(GPT, store=store, key="a-long-enough-key") as locked:
        assert locked.client.get(path).status_code == 200
        with httpx.Client(base_url=locked.url, timeout=60) as client:
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"host": "evil.example"}).status_code == 403
    with serving(GPT) as without:
        answer = without.client.get("/v1/conversations")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_store")
    page = Access(origins=frozenset({"https://chat.example"}))
    with serving(GPT, access=page) as allowing:
        asked = {"origin": "https://chat.example", "access-control-request-method": "PATCH"}
        answer = allowing.client.options(path, headers=asked)
        assert {"PATCH", "DELETE"} <= {*answer.headers["access-control-allow-methods"].split(", ")}


def test_another_models_conversation_is_read_and_does_not_go_on(served, store) -> None:
    with Store.open(store) as opened:
        head = opened.new(
            model="gpt2", tokenizer="f" * 64, template="plain", settings={"max_tokens": 3}
        )
        said = opened.add_message(head.id, "Hello")
    path = f"/v1/conversations/{head.id}"
    whole = tree(served, path)
    assert whole["goes_on"] is False
    assert [message["text"] for message in whole["messages"]] == ["Hello"]
    assert served.client.get(f"{path}/export").status_code == 200
    for where, body in (("messages", {"text": "the"}), (f"messages/{said.id}/retry", {})):
        answer = served.post(f"{path}/{where}", **body)
        assert answer.status_code == 409
        assert "gpt2" in answer.json()["error"]["message"]
        assert "serve that model" in answer.json()["error"]["message"]
    assert served.client.patch(path, json={"title": "Old"}).json()["title"] == "Old"


def test_who_is_told_to_come_back_has_said_nothing(tmp_path) -> None:
    limits = EngineLimits(max_running=1, max_waiting=0)
    with serving(babbler(), engine_limits=limits, store=tmp_path / "a.db") as served:
        path = begun(served, settings=LONG)
        with stream(served, f"{path}/messages", text="the cat") as parts:
            next(parts)
            answer = served.post(f"{path}/messages", text="sat", parent=None)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
        assert "sat" not in {message["text"] for message in tree(served, path)["messages"]}


@pytest.mark.parametrize(
    ("content", "said"), [(b"no database" * 100, "no database"), (None, "another program")]
)
def test_a_store_that_cannot_be_used(tmp_path, content, said) -> None:
    """It says what to do; the chat beside it is answered."""
    file = tmp_path / "a.db"
    if content is None:
        with closing(sqlite3.connect(file)) as other, other:
            other.execute("CREATE TABLE theirs (number)")
    else:
        file.write_bytes(content)
    with serving(GPT, store=file) as served:
        answer = served.client.get("/v1/conversations")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "store_unavailable")
        assert said in error["message"]
        assert "name another store" in error["message"]
        chat = served.post(
            "/v1/chat/completions", messages=[{"role": "user", "content": "the"}], max_tokens=2
        )
        assert chat.status_code == 200


def test_a_full_disk_is_507() -> None:
    with closing(sqlite3.connect(":memory:")) as small:
        small.execute("PRAGMA max_page_count = 1")
        try:
            small.execute("CREATE TABLE some (number)")
            raise AssertionError("it was not full")
        except sqlite3.OperationalError as error:
            full = StoreError("the disk is full: make room")
            full.__cause__ = error
    assert (of(full).status, of(full).code) == (507, "store_full")


def test_a_store_that_is_locked_meanwhile(tmp_path, monkeypatch) -> None:
    """The stream goes on and says that the reply is not kept; it is, as soon as it can be. What
    cannot be kept before it begins is refused, and nothing of it runs."""
    monkeypatch.setattr(archive, "WAIT", 0.05)
    file = tmp_path / "a.db"
    with serving(babbler(), store=file) as served:
        path = begun(served, settings=LONG | {"max_tokens": 400})
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            with stream(served, f"{path}/messages", text="the cat") as parts:
                first = next(parts)
                other.execute("BEGIN IMMEDIATE")
                *_, last = parts
            assert last["choices"][0]["finish_reason"] == "length"
            assert last["kept"]["kept"] is False
            assert "another program holds it" in last["kept"]["problem"]
            answer = served.post(f"{path}/messages", text="the mat")
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                503, "store_unavailable",
            )  # fmt: skip
            eventually(lambda: served.idle)
            assert len(tree(served, path)["messages"]) == 1
            other.execute("ROLLBACK")
        messages = tree(served, path)["messages"]
        assert [each["id"] for each in messages] == [
            first["conversation"]["message"], first["conversation"]["reply"],
        ]  # fmt: skip
        assert say(served, path, "the mat", parent=messages[1]["id"])["kept"]["kept"]


def test_what_waits_is_written_when_the_server_ends(tmp_path) -> None:
    """And a conversation that was deleted meanwhile takes nothing more."""
    kept = archive.Archive(tmp_path / "a.db")
    with Store.open(tmp_path / "a.db") as opened:
        head = opened.new(model="m", tokenizer="t", template="plain", settings={})
        gone = opened.new(model="m", tokenizer="t", template="plain", settings={})
        opened.delete(gone.id)
    assert kept.keep(lambda store: store.add_message(head.id, "the cat")).result(10) is None
    problem = kept.keep(lambda store: store.add_message(gone.id, "the cat")).result(10)
    assert "there is no conversation" in problem
    assert kept.n_waiting == 0
    kept.close()
    kept.keep(lambda store: store.add_message(head.id, "after")).result(10)
    assert not kept.is_open
    with Store.open(tmp_path / "a.db") as opened:
        assert [m.text for m in opened.tree(head.id).messages] == ["the cat", "after"]


def test_no_text_is_in_the_log(served, caplog) -> None:
    caplog.set_level(logging.INFO, logger="pellucid.serve")
    path = begun(served, title="secret words", system="secret words")
    say(served, path, "secret words")
    served.client.get("/v1/conversations/secret%20words")
    served.client.get("/v1/conversations", params={"search": "secret words"})
    known = caplog.text.replace("/v1/conversations/secret words", "")
    assert "/messages 200" in known
    assert "secret" not in known


# What was computed


@pytest.fixture(scope="module")
def replied(served: Served) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(its path, where it stands, what it was generated from and its tokens)"""
    path = begun(served, settings=GREEDY | {"max_tokens": 5})
    place = say(served, path, "the cat sat")["conversation"]
    return path, place, served.client.get(f"{path}/messages/{place['reply']}").json()["generated"]


def found(served: Served, kind: str, **body: Any) -> Any:
    begun = served.post(f"/v1/inspect/{kind}", **body)
    assert begun.status_code == 202, begun.text
    return served.client.get(f"/v1/inspect/jobs/{begun.json()['id']}/result").json()


@pytest.mark.parametrize("token", [0, 2, 4])
@pytest.mark.parametrize("kind", ["why", "lens", "attribute", "sweep", "walk", "prediction"])
def test_the_very_ids_are_asked_about(served, replied, kind, token) -> None:
    _, place, made = replied
    said = [each["id"] for each in made["tokens"]]
    reply = {"conversation": place["id"], "message": place["reply"], "token": token}
    by_ids: dict[str, Any] = {"text": [*made["prompt"], *said[:token]]}
    more: dict[str, Any] = {}
    if kind == "why":
        more = {"labels": False}
        by_ids = {"text": made["prompt"], "continuation": said, "token": token + 1}
    elif kind == "walk":
        more = {"max_tokens": 1}
    elif kind != "prediction":
        by_ids["target"] = said[token]
    assert found(served, kind, reply=reply, **more) == found(served, kind, **by_ids, **more)


def test_ids_of_a_reply_stand_wherever_a_text_does(served, replied) -> None:
    _, place, made = replied
    said = [each["id"] for each in made["tokens"]]
    reply = {"conversation": place["id"], "message": place["reply"], "token": len(said)}
    whole = [*made["prompt"], *said]
    shown = served.post("/v1/inspect/tokens", reply=reply).json()
    assert shown == served.post("/v1/inspect/tokens", text=whole).json()
    named = found(served, "lens", reply=reply, target=7, positions=-1)
    assert named == found(served, "lens", text=whole, target=7, positions=-1)
    assert found(served, "patch", source={"reply": reply}, base=whole) == found(
        served, "patch", source=whole, base=whole
    )
    wrong = served.post("/v1/inspect/lens", reply=reply | {"token": 99})
    assert wrong.status_code == 404
    assert served.post("/v1/inspect/lens", reply=reply, text="the").status_code == 400
    asked = reply | {"message": place["message"]}
    assert served.post("/v1/inspect/lens", reply=asked).status_code == 409


def test_a_reply_is_watched_and_changed_as_a_chat_is(served, replied) -> None:
    """Also one that goes another way: of what it keeps nothing is new."""
    path, place, made = replied
    seen = {"trace": {"names": "attn.pattern", "layers": 1}}
    change = {"interventions": [{"name": "mlp_out", "op": "scale", "value": -3}]}
    where = f"{path}/messages/{place['reply']}"
    again = told(served, f"{where}/retry", pellucid=seen)
    assert ids(again) == [each["id"] for each in made["tokens"]]
    trace = again["choices"][0]["pellucid"]["trace"]
    n = len(made["prompt"])
    assert [each["position"] for each in trace["records"]] == list(range(n - 1, n + 4))
    other = told(served, f"{where}/branch", step=2, token=7, pellucid=seen)
    plain = told(served, f"{where}/branch", step=2, token=7)
    assert ids(other) == ids(plain)
    trace = other["choices"][0]["pellucid"]["trace"]
    assert [each["position"] for each in trace["records"]] == list(
        range(n + 1, n - 1 + len(ids(other)))
    )
    info = served.client.get(f"/v1/inspect/traces/{trace['id']}").json()
    assert info["ids"] == [*made["prompt"], *ids(other)]
    changed = told(served, f"{where}/retry", pellucid=change)
    assert ids(changed) != ids(again)
    assert changed["choices"][0]["pellucid"]["interventions"] == 1

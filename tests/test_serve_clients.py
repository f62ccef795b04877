"""Clients that send too much, too slowly, or leave; and more of them than there is room for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from support.skips import needs

needs("fastapi")

from pellucid.serve.events import EngineLimits  # noqa: E402
from pellucid.serve.server import ServerLimits  # noqa: E402
from support.server import Served, babbler, eventually, serving, talker  # noqa: E402

LONG = {"prompt": "the cat", "max_tokens": 10_000}
SHORT = {"prompt": "the cat", "max_tokens": 2}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    deadlines = {"head": 0.5, "body": 0.7, "write": 0.5}
    with serving(
        babbler(),
        engine_limits=EngineLimits(max_running=2, max_waiting=2),
        server_limits=ServerLimits(grace=0, deadlines=deadlines),
    ) as server:
        yield server
        eventually(lambda: server.idle)


def until_closed(client: socket.socket) -> bytes:
    """All that comes; what was reset is closed too."""
    client.settimeout(20)
    text = b""
    try:
        while part := client.recv(65536):
            text += part
    except ConnectionError:
        pass
    return text


def head(*lines: str, path: str = "/v1/completions") -> bytes:
    own = ("POST " + path + " HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join([*own, *lines, "", ""]).encode()


def test_a_body_that_is_declared_too_long_is_not_read(served) -> None:
    with served.connect() as client:
        client.sendall(head("Content-Length: 10000000000") + b"{")
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer
    assert b"connection: close" in answer.lower()


def test_a_body_that_becomes_too_long_is_not_held(served) -> None:
    with served.connect() as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        sent = 0
        try:
            for _ in range(1000):
                client.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
        except ConnectionError:
            pass
        assert sent < 20 << 20
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 413 ") or not answer
    body = iter([b" " * 1024] * 1100)
    headers = {"content-type": "application/json"}
    answer = served.client.post("/v1/completions", content=body, headers=headers)
    assert answer.status_code == 413


def test_a_body_of_the_longest_length_is_read(served) -> None:
    text = b'{"prompt": "the", "max_tokens": 1}'
    headers = {"content-type": "application/json"}
    for n, status in ((1 << 20, 200), ((1 << 20) + 1, 413)):
        body = text + b" " * (n - len(text))
        answer = served.client.post("/v1/completions", content=body, headers=headers)
        assert answer.status_code == status


def test_a_refused_request_gets_its_answer_though_it_still_sends(served) -> None:
    """Its body is read on for a moment: closed at once, the client's writing would fail first."""
    for path, status in (("/v1/nothing", b"404"), ("/v1/models", b"405")):
        with served.connect() as client:
            client.sendall(head("Content-Length: 500000", path=path))
            begin = client.recv(12)
            for _ in range(10):
                client.sendall(b" " * 50_000)
                time.sleep(0.01)
            answer = begin + until_closed(client)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.endswith(b"}}")


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n\r\n\r\nnonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=" + b"0-1," * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)  # fmt: skip
def test_what_is_no_http_is_said_and_closed(served, text) -> None:
    with served.connect() as client:
        client.sendall(text)
        answer = until_closed(client)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")) or not answer
    assert served.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "begin",
    [
        b"", b"POST /v1/comp", head()[:-2], head("Content-Length: 50"),
        head("Content-Length: 50") + b'{"prompt"', head("Transfer-Encoding: chunked") + b"5\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
    ],
)  # fmt: skip
def test_who_does_not_finish_is_cut_off(served, begin) -> None:
    """E7: slowloris, in every phase. Drops of more change nothing."""
    clients = [served.connect() for _ in range(5)]
    for client in clients:
        client.sendall(begin)
    dripping = clients[0]

    def drip() -> bool:
        try:
            dripping.sendall(b"a")
        except ConnectionError:
            return True
        return False

    eventually(drip)
    for client in clients[1:]:
        until_closed(client)
        client.close()
    dripping.close()
    eventually(lambda: len(served.server.server_state.connections) <= 1)


def test_an_honest_client_may_wait_between_requests(served) -> None:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        for _ in range(3):
            assert client.get("/health").status_code == 200


def leaving(served: Served, body: dict[str, Any]) -> socket.socket:
    """A client that asks, and then neither reads nor stays."""
    client = served.connect()
    text = httpx.Request("POST", "http://localhost/v1/completions", json=body).content
    client.sendall(head(f"Content-Length: {len(text)}") + text)
    return client


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_frees_his_place_at_once(served, stream) -> None:
    """E8: while it runs, while it waits, streamed or not."""
    engine = served.service.engine
    clients = [leaving(served, {**LONG, "stream": stream}) for _ in range(4)]
    eventually(lambda: engine.stats().running == 2 and engine.stats().waiting == 2)
    clients[3].close()
    eventually(lambda: engine.stats().waiting == 1)
    clients[0].close()
    eventually(lambda: engine.stats().waiting == 0)
    assert engine.stats().running == 2
    for client in clients[1:3]:
        client.close()
    eventually(lambda: served.idle)
    assert served.post("/v1/completions", **SHORT).status_code == 200
    left = f'status="{200 if stream else 499}"}}'
    assert f'pellucid_http_requests_total{{route="/v1/completions",{left} ' in served.metrics()
    assert 'status="500"' not in served.metrics()


def test_many_who_give_up_leave_nothing_behind(served) -> None:
    with httpx.Client(base_url=served.url, timeout=0.1) as client:
        for number in range(12):
            if number % 2:
                with pytest.raises(httpx.TimeoutException):
                    client.post("/v1/completions", json=LONG)
                continue
            streamed = {**LONG, "stream": True}
            with (
                suppress(httpx.TimeoutException),
                client.stream("POST", "/v1/completions", json=streamed) as answer,
            ):
                next(answer.iter_raw())
    eventually(lambda: served.idle)
    answer = served.post("/v1/completions", **SHORT)
    assert answer.json()["usage"]["completion_tokens"] == 2
    text = served.metrics()
    for gauge in ("running", "waiting", "blocks_used"):
        assert f"\npellucid_{gauge} 0.0\n" in text
    assert "\npellucid_http_requests_in_flight 1.0\n" in text  # this one


def test_who_does_not_read_frees_his_place(served) -> None:
    """E7: a stream whose client has stopped reading, once nothing more fits between them."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.connect(("127.0.0.1", served.port))
    body = {**LONG, "prompt": ["the"] * 2, "logprobs": 5, "stream": True}
    text = httpx.Request("POST", "http://localhost", json=body).content
    client.sendall(head(f"Content-Length: {len(text)}") + text)
    engine = served.service.engine
    before = engine.stats().generated_tokens
    eventually(lambda: engine.stats().running == 2)
    eventually(lambda: served.idle, 60)
    client.close()
    assert engine.stats().generated_tokens - before < 2 * 4000  # cut off before their end


def test_who_is_accepted_at_once_is_not_turned_away_later(served) -> None:
    """As many as run and wait, before the first of them has joined."""
    answer = served.post("/v1/completions", prompt=["a"] * 4, max_tokens=2)
    assert answer.status_code == 200


def test_more_than_there_is_room_for_are_told_to_come_back(served) -> None:
    """E9: two run, two wait; of ten more each is told so at once, and no connection is reset."""
    clients = [leaving(served, {**LONG, "stream": True}) for _ in range(4)]
    engine = served.service.engine
    eventually(lambda: engine.stats().running == 2 and engine.stats().waiting == 2)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{served.url}/v1/completions", json=SHORT, timeout=90))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert [answer.status_code for answer in answers] == [429] * 10
    for answer in answers:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "overloaded"
    assert served.client.get("/health").status_code == 200
    many = served.post("/v1/completions", prompt=["a"] * 3)
    assert many.status_code == 429  # none of the three is left in the queue
    assert engine.stats().waiting == 2
    for client in clients:
        client.close()
    eventually(lambda: served.idle)


def test_who_leaves_while_sending_is_no_failure(served, caplog) -> None:
    caplog.set_level("INFO", "pellucid.serve")
    client = served.connect()
    client.sendall(head("Content-Length: 50") + b'{"prompt"')
    client.close()
    eventually(lambda: " 499 " in caplog.text)
    assert "Traceback" not in caplog.text


def test_who_waits_hears_that_the_stream_lives(served, monkeypatch) -> None:
    monkeypatch.setattr("pellucid.serve.answers.KEEP_ALIVE", 0.02)
    clients = [leaving(served, LONG) for _ in range(2)]
    eventually(lambda: served.service.engine.stats().running == 2)
    body = {**SHORT, "stream": True}
    with served.client.stream("POST", "/v1/completions", json=body) as answer:
        parts = answer.iter_text()
        assert next(parts) in (": still at work\n\n", ": 0 ahead\n\n")
        for client in clients:
            client.close()
        assert "".join(parts).endswith("data: [DONE]\n\n")


def test_everyone_who_is_accepted_is_answered(served) -> None:
    answers: list[int] = []

    def ask() -> None:
        body = {"prompt": "the cat", "max_tokens": 30}
        answers.append(
            httpx.post(f"{served.url}/v1/completions", json=body, timeout=60).status_code
        )

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 12
    assert set(answers) <= {200, 429}
    assert answers.count(200) >= 4


def test_more_at_once_than_ever_fit_is_no_reason_to_come_back(served) -> None:
    answer = served.post("/v1/completions", prompt=["a"] * 5)
    assert answer.status_code == 400
    assert "at most 4" in answer.json()["error"]["message"]


def test_a_dead_engine_is_told(monkeypatch, caplog) -> None:
    """E10: an error, and no hang; /health says so."""
    with serving(talker()) as server:
        engine = server.service.engine

        def broken(*arguments: object, **options: object) -> None:
            raise MemoryError("as a machine may say")

        monkeypatch.setattr(type(server.service.gpt.model), "forward", broken)
        asked = {"messages": [{"role": "user", "content": "the cat"}]}
        answer = server.post("/v1/chat/completions", **asked)
        assert answer.status_code == 503
        assert isinstance(engine.failure, MemoryError)
        eventually(lambda: "as a machine may say" in caplog.text)
        health = server.client.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "failed"})
        assert server.post("/v1/chat/completions", **asked).status_code == 503
        assert "\npellucid_engine_alive 0.0\n" in server.metrics()


def test_a_stream_that_fails_says_so() -> None:
    with serving(babbler()) as server:
        body = {**LONG, "stream": True}
        with server.client.stream("POST", "/v1/completions", json=body) as answer:
            parts = answer.iter_text()
            assert next(parts).startswith("data: ")
            server.service.engine.stop()
            rest = "".join(parts)
        assert rest.rstrip().endswith('"code":"unavailable"}}')
        assert "[DONE]" not in rest

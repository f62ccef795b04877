"""A real `pellucid serve` for half an hour, with clients that chat and clients that misbehave.

    python benchmarks/soak.py [--minutes 30] [--model chat] [--every 10] [--clients 6] [--json FILE]

Faults, drawn at random: a client that leaves before its answer, in the middle of a stream, while
it waits, or having sent half a request; a request that is huge, malformed, or asks for the
impossible; a stream that is read slowly; a sweep or a trace that is given up. Beside them chats,
whole and streamed, that must be answered in full. Every so many seconds: memory, open files and
threads of the server, and what /metrics says of its blocks and requests.

At the end nothing runs, and every block is free or remembered. Exit code 1 where memory grew by
more than 1 MB a minute (least squares, without the first fifth), files or threads grew, blocks are
still in use, an answer was a 5xx, a chat failed, or there were fewer than 1,000 faults in a run
of 30 minutes or more.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

MOST_GROWTH = 1.0  # MB a minute
LEAST_FAULTS = 1000
TEXT = "why is the sky blue and what does a cat think of when it sleeps by the sea"


class Failed(Exception):
    """What must have been answered was not."""


class Client:
    """One that misbehaves in every way, and in between does not. counts: of what was done."""

    def __init__(self, url: str, seed: int, counts: collections.Counter[str]) -> None:
        self.url = url
        self.counts = counts
        self.problems: list[str] = []
        self._random = random.Random(seed)
        where = httpx.URL(url)
        self._address = (where.host, where.port or 80)
        self._http = httpx.Client(base_url=url, timeout=120)

    def run(self, until: float) -> None:
        faults: list[Callable[[], None]] = [
            self.leaves_at_once,
            self.leaves_a_stream,
            self.leaves_half_a_request,
            self.leaves_while_waiting,
            self.sends_much,
            self.sends_nonsense,
            self.asks_the_impossible,
            self.reads_slowly,
            self.gives_up_a_sweep,
            self.gives_up_a_trace,
        ]
        while time.monotonic() < until:
            work = self.chats if self._random.random() < 0.3 else self._random.choice(faults)
            try:
                work()
                self.counts[work.__name__] += 1
            except Failed as error:
                self.problems.append(f"{work.__name__}: {error}")
            except (httpx.HTTPError, OSError) as error:  # who misbehaves may be cut off
                self.counts["cut off"] += 1
                if work == self.chats:
                    self.problems.append(f"chats: {error!r}")
        self._http.close()

    # Requests

    def _text(self, n: int = 12) -> str:
        return " ".join(self._random.choices(TEXT.split(), k=n))

    def _chat(self, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": self._text()}]
        return {"messages": messages, "max_tokens": 24, **more}

    def _raw(self, path: str, body: dict[str, Any]) -> bytes:
        sent = json.dumps(body).encode()
        host = "{}:{}".format(*self._address)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=60)

    def _check(self, response: httpx.Response, *allowed: int) -> None:
        self.counts[f"status {response.status_code}"] += 1
        if response.status_code not in (*allowed, 429):
            raise Failed(f"{response.status_code}: {response.text[:300]}")

    # What is done

    def chats(self) -> None:
        if self._random.random() < 0.5:
            response = self._http.post("/v1/chat/completions", json=self._chat())
            self._check(response, 200)
            if response.status_code == 200 and not response.json()["choices"]:
                raise Failed("no choice")
            return
        with self._http.stream("POST", "/v1/chat/completions", json=self._chat(stream=True)) as s:
            lines = [line for line in s.iter_lines() if line]
        if s.status_code != 429 and lines[-1:] != ["data: [DONE]"]:
            raise Failed(f"{s.status_code}: a stream ended with {lines[-1:]}")

    def leaves_at_once(self) -> None:
        with self._connect() as each:
            each.sendall(self._raw("/v1/chat/completions", self._chat()))

    def leaves_a_stream(self) -> None:
        with self._connect() as each:
            each.sendall(self._raw("/v1/chat/completions", self._chat(stream=True, n=2)))
            for _ in range(self._random.randrange(1, 6)):
                if not each.recv(200):
                    break
            if self._random.random() < 0.5:  # a reset instead of a farewell
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def leaves_half_a_request(self) -> None:
        sent = self._raw("/v1/completions", {"prompt": self._text(200)})
        with self._connect() as each:
            each.sendall(sent[: self._random.randrange(1, len(sent))])
            time.sleep(self._random.random() / 10)

    def leaves_while_waiting(self) -> None:
        """More than run together, so that some are given up in the queue."""
        sent = self._raw("/v1/completions", {"prompt": self._text(), "max_tokens": 500, "n": 8})
        connections = [self._connect() for _ in range(4)]
        for each in connections:
            each.sendall(sent)
        time.sleep(self._random.random() / 5)
        for each in connections:
            each.close()

    def sends_much(self) -> None:
        kind = self._random.randrange(3)
        if kind == 0:
            body: Any = self._chat()
            body["messages"][0]["content"] = "sea " * 500_000
            response = self._http.post("/v1/chat/completions", json=body)
        elif kind == 1:
            response = self._http.post(
                "/v1/completions", json={"prompt": "sea " * 20_000, "max_tokens": 1}
            )
        else:
            with self._connect() as each:
                head = self._raw("/v1/completions", {}).replace(
                    b"Content-Length: 2", b"Content-Length: 10000000000"
                )
                each.sendall(head)
                each.recv(1000)
            return
        self._check(response, 400, 413)

    def sends_nonsense(self) -> None:
        kind = self._random.randrange(4)
        if kind == 0:
            bad = self._random.choice([b"{", b"[" * 100_000, b"\xff\xfe", b'{"a":1,"a":2}', b"NaN"])
            headers = {"content-type": "application/json"}
            response = self._http.post("/v1/completions", content=bad, headers=headers)
            self._check(response, 400, 422)
        elif kind == 1:
            self._check(self._http.post("/v1/completions", data={"prompt": "a"}), 415)
        elif kind == 2:
            self._check(self._http.get(f"/v1/{self._random.randrange(10**6)}"), 404, 405)
        else:
            with self._connect() as each:
                each.sendall(self._random.randbytes(500) + b"\r\n\r\n")
                each.settimeout(15)
                each.recv(1000)

    def asks_the_impossible(self) -> None:
        bad: dict[str, Any] = self._random.choice(
            [
                {"temperature": -1},
                {"n": 10**6},
                {"max_tokens": -3},
                {"top_p": 7},
                {"logprobs": True, "top_logprobs": 99},
                {"messages": "hello"},
                {"seed": "x"},
                {"response_format": {"type": "json_object"}},
                {"model": "another"},
            ]
        )
        response = self._http.post("/v1/chat/completions", json=self._chat() | bad)
        self._check(response, 400, 404, 422)

    def reads_slowly(self) -> None:
        with self._connect() as each:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            each.sendall(self._raw("/v1/chat/completions", self._chat(stream=True, logprobs=True)))
            for _ in range(30):
                time.sleep(0.1)
                if select.select([each], [], [], 0)[0] and not each.recv(64):
                    return

    def gives_up_a_sweep(self) -> None:
        kind = self._random.choice(["lens", "sweep", "attribute", "view"])
        response = self._http.post(f"/v1/inspect/{kind}", json={"text": self._text()})
        self._check(response, 202)
        if response.status_code == 202:
            time.sleep(self._random.random() / 4)
            response = self._http.delete(f"/v1/inspect/jobs/{response.json()['id']}")
            self._check(response, 200)

    def gives_up_a_trace(self) -> None:
        watch = {"trace": {"names": ["attn.pattern"], "top_k": 3}}
        body = self._chat(stream=True, max_tokens=200, pellucid=watch)
        with self._connect() as each:
            each.sendall(self._raw("/v1/chat/completions", body))
            for _ in range(self._random.randrange(1, 20)):
                if not each.recv(500):
                    break


def metrics(url: str) -> dict[str, float]:
    text = httpx.get(url + "/metrics", timeout=60).text
    found = re.findall(r"^(pellucid_\w+?)(?:\{[^}]*\})? (\S+)$", text, re.M)
    return {name.removeprefix("pellucid_"): float(value) for name, value in found}


def failures(url: str) -> dict[str, float]:
    """Answers with a 5xx, by route and status."""
    text = httpx.get(url + "/metrics", timeout=60).text
    pattern = r'^pellucid_http_requests_total\{(.*status="5\d\d".*)\} (\S+)$'
    return {labels: float(count) for labels, count in re.findall(pattern, text, re.M)}


def sample(process: psutil.Process, url: str, begin: float) -> dict[str, float]:
    with process.oneshot():
        found = {
            "minute": (time.monotonic() - begin) / 60,
            "rss": process.memory_info().rss / 1e6,
            "files": process.num_fds(),
            "threads": process.num_threads(),
        }
    told = metrics(url)
    names = ("running", "waiting", "blocks_used", "blocks_cached", "blocks_total")
    return found | {name: told[name] for name in names}


def slope(samples: list[dict[str, float]], name: str) -> float:
    """A minute, least squares, without the first fifth."""
    late = samples[len(samples) // 5 :]
    if len(late) < 3:
        return 0.0
    return float(np.polyfit([s["minute"] for s in late], [s[name] for s in late], 1)[0])


def settled(process: psutil.Process, url: str, begin: float) -> dict[str, float]:
    """Once nobody asks any more: within half a minute all is free."""
    for _ in range(60):
        last = sample(process, url, begin)
        if not (last["running"] or last["waiting"] or last["blocks_used"]):
            break
        time.sleep(0.5)
    time.sleep(2)  # connections that are just being closed
    return sample(process, url, begin)


def soak(url: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    process, begin = psutil.Process(pid), time.monotonic()
    at_rest = sample(process, url, begin)
    counts: collections.Counter[str] = collections.Counter()
    clients = [Client(url, seed, counts) for seed in range(options.clients)]
    until = begin + 60 * options.minutes
    threads = [threading.Thread(target=each.run, args=(until,)) for each in clients]
    for thread in threads:
        thread.start()
    samples = []
    while time.monotonic() < until:
        time.sleep(min(options.every, max(0.1, until - time.monotonic())))
        samples.append(sample(process, url, begin))
        print({key: round(value, 1) for key, value in samples[-1].items()}, flush=True)
    for thread in threads:
        thread.join()
    return {
        "at_rest": at_rest,
        "samples": samples,
        "end": settled(process, url, begin),
        "counts": dict(counts),
        "problems": [each for client in clients for each in client.problems],
        "5xx": failures(url),
    }


def verdict(found: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """What is beyond the bounds."""
    samples, end, before = found["samples"], found["end"], found["at_rest"]
    done = {name: n for name, n in found["counts"].items() if not name.startswith("status")}
    faults = sum(done.values()) - done.get("chats", 0) - done.get("cut off", 0)
    growth = slope(samples, "rss")
    print(f"\n{faults} faults, {done.get('chats', 0)} chats: {json.dumps(found['counts'])}")
    print(f"memory: {growth:+.2f} MB a minute, {before['rss']:.0f} before, {end['rss']:.0f} after")
    for name in ("files", "threads"):
        print(f"{name}: {before[name]:.0f} before, {end[name]:.0f} after")
    print(f"blocks in use: {end['blocks_used']:.0f} of {end['blocks_total']:.0f}")
    wrong = []
    if growth > MOST_GROWTH and options.minutes >= 5:
        wrong.append(f"memory grew by {growth:.2f} MB a minute")
    # At rest a server may hold what its first requests opened, and no more with each.
    first = statistics.median(s["files"] for s in samples[: max(1, len(samples) // 5)])
    if end["files"] > max(before["files"] + 3, first):
        wrong.append(
            f"{end['files']:.0f} files are open; before the first request {before['files']:.0f}"
        )
    if slope(samples, "threads") > 0.2 and options.minutes >= 5:
        wrong.append("threads grow")
    if end["blocks_used"] or end["running"] or end["waiting"]:
        wrong.append(f"not all is free: {end}")
    if found["5xx"]:
        wrong.append(f"5xx: {found['5xx']}")
    if found["problems"]:
        wrong.append(f"{len(found['problems'])} problems, such as {found['problems'][:5]}")
    if options.minutes >= 30 and faults < LEAST_FAULTS:
        wrong.append(f"only {faults} faults")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", default="chat")
    parser.add_argument("--every", type=float, default=10, help="seconds between two samples")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    command = [sys.executable, "-m", "pellucid", "serve", "--model", options.model, "--port", "0"]
    with subprocess.Popen(
        [*command, "--max-running", "8", "--max-waiting", "32"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            match = re.search(r"http://\S+?:\d+", server.stdout.readline())
            if match is None:
                sys.exit("the server did not begin")
            found = soak(match[0], server.pid, options)
        finally:
            server.terminate()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), "utf-8")
    wrong = verdict(found, options)
    if server.returncode:
        wrong.append(f"the server ended with {server.returncode}")
    print("\n".join(wrong) if wrong else "All within the bounds.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

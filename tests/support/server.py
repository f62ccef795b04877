"""The HTTP server as its clients meet it: on a port of this machine, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pellucid.chat import choose_template
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.serve.access import Access
from pellucid.serve.app import new_app
from pellucid.serve.archive import Archive
from pellucid.serve.engine import Engine
from pellucid.serve.events import EngineLimits
from pellucid.serve.metrics import Metrics
from pellucid.serve.server import HttpServer, ServerLimits, bind
from pellucid.serve.service import Service
from pellucid.speculate import Speculation
from pellucid.tokenizer import Tokenizer
from support.models import lively, model
from support.program import PROGRAM

__all__ = [
    "WORDS",
    "Program",
    "Served",
    "asked_by_curl",
    "babbler",
    "eventually",
    "free_port",
    "in_turn_by_curl",
    "serving",
    "started",
    "talker",
]

WORDS = "the cat sat on a mat and the king went home to dinner"


ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def talker(n_ctx: int = 256) -> GPT:
    """A small model with a chat template, whose replies say little and differ."""
    return _random(n_ctx, ROLES, "talker", "roles")


def babbler(n_ctx: int = 4096) -> GPT:
    """One that has no token to end with: only the window, a limit or the client ends a text."""
    return _random(n_ctx, (), "babbler", None)


def _random(n_ctx: int, special: tuple[str, ...], name: str, template: str | None) -> GPT:
    tokenizer = Tokenizer.train([WORDS] * 3, 300, special=special)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=n_ctx, n_embd=16, n_head=2, n_layer=2)
    return GPT(model(hparams, lively(hparams)), tokenizer, name=name, template=template)


def asked_by_curl(line: str) -> httpx.Response:
    """What curl would send, and gets."""
    words = shlex.split(line)
    assert words[0] == "curl"
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None else "POST"
    (url,) = [word for word in words if word.startswith("http")]
    return httpx.request(method, url, content=body, headers=headers, timeout=60)


def in_turn_by_curl(lines: list[str]) -> list[httpx.Response]:
    """Lines about one conversation: ID, MESSAGE and REPLY stand for what came back before."""
    known: dict[str, str] = {}
    answers = []
    for line in lines:
        for name, value in known.items():
            line = re.sub(rf"\b{name}\b", value, line)
        answers.append(asked_by_curl(line))
        if answers[-1].headers["content-type"] != "application/json":
            continue
        found = answers[-1].json()
        if found.get("object") == "conversation":
            known["ID"] = found["id"]
        if found.get("object") == "chat.completion" and "conversation" in found:
            known["MESSAGE"] = found["conversation"]["message"]
            known["REPLY"] = found["conversation"]["reply"]
    return answers


def free_port() -> int:
    """One that nobody listened on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until it holds; a guard, no measurement."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} seconds")


@dataclass(kw_only=True)
class Served:
    """url: where it is. service, server: to look into."""

    url: str
    service: Service
    server: HttpServer
    thread: threading.Thread
    client: httpx.Client = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits, and every block is free."""
        stats = self.service.engine.stats()
        return not (stats.running or stats.waiting or stats.blocks_used)

    def connect(self) -> socket.socket:
        """A client without manners."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=90)

    def metrics(self) -> str:
        return self.client.get("/metrics").text

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(path, json=body)


@contextmanager
def serving(
    gpt: GPT,
    *,
    access: Access | None = None,
    engine_limits: EngineLimits | None = None,
    server_limits: ServerLimits | None = None,
    key: str | None = None,
    store: Path | None = None,
    speculation: Speculation | None = None,
) -> Iterator[Served]:
    """key: what its `client` shows. store: of conversations; None is none."""
    limits = engine_limits or EngineLimits(max_running=8, max_waiting=32)
    engine = Engine(gpt, limits, speculation=speculation)
    service = Service(
        gpt,
        engine,
        choose_template(gpt, None),
        Metrics(engine),
        model=gpt.name,
        archive=Archive(store, off=store is None),
    )
    service.start()
    app = new_app(service, access or Access(keys=(key,) if key else ()))
    server = HttpServer(app, service, server_limits or ServerLimits(grace=5))
    listening = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        try:
            yield Served(url=url, service=service, server=server, thread=thread, client=client)
        finally:
            server.should_exit = True
            thread.join(90)
            assert not thread.is_alive()


@dataclass(kw_only=True)
class Program:
    child: subprocess.Popen[str]
    url: str = ""
    curl: str = ""
    errors: list[str] = field(default_factory=list)

    def end(self, sent: signal.Signals = signal.SIGTERM) -> int:
        self.child.send_signal(sent)
        return self.child.wait(90)


@contextmanager
def started(*arguments: object, code: str | None = None, **environment: str) -> Iterator[Program]:
    """Up to where it has said where it is. code: what starts it."""
    begin = PROGRAM if code is None else (sys.executable, "-c", code)
    command = [*begin, "serve", "--port", "0", *map(str, arguments)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error", **environment},
    )
    program = Program(child=child)

    def read() -> None:
        assert child.stderr is not None
        program.errors.extend(child.stderr)

    thread = threading.Thread(target=read)
    thread.start()
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.startswith("curl "):
                program.curl = line
                program.url = line.split()[1].partition("/v1/")[0]
            if line.startswith("The page: "):
                program.url = line.split()[2].rstrip("/")
            if line.startswith(("Point ", "The page: ")):
                break
        yield program
    finally:
        child.kill()
        child.wait(90)
        thread.join(90)
        child.stdout.close()
        assert child.stderr is not None
        child.stderr.close()

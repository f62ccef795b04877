"""A client of many streams, as light as it goes: plain sockets, one process, JSON read at the end.

    python benchmarks/load.py URL [--path /v1/completions] [--model M] [--streams 8] [--requests 16]
        [--prompt 128] [--tokens 64] [--seed 0] [--body JSON] --words VOCAB.JSON [--as text]
        [--json FILE]

Each of the streams sends one request after another, every prompt another one. Names and formulas
are those of vLLM's `bench serve`: TTFT, the time to the first token; TPOT = (E2E - TTFT) / (n - 1)
of a request; ITL, between two tokens of one. Goodput: requests a second whose TTFT and TPOT both
keep their bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from peers import words

TTFT, TPOT = 2.0, 0.1  # seconds, the bounds of goodput


@dataclass(kw_only=True)
class Answer:
    """begin: when it was sent. times: when each part with text came. tokens: how many the server
    says there were, else what was asked for. error: what came instead of an answer."""

    begin: float
    times: list[float] = field(default_factory=list)
    end: float = 0.0
    tokens: int = 0
    text: str = ""
    error: str | None = None

    @property
    def ttft(self) -> float:
        return self.times[0] - self.begin

    @property
    def tpot(self) -> float:
        return (self.times[-1] - self.times[0]) / max(1, self.tokens - 1)


def prompts(seed: int, n_tokens: int, words: dict[int, str], as_text: bool) -> Iterator[Any]:
    """Distinct ones, the same for every server; no two begin alike. As ids, or as the texts that
    are read as these ids."""
    ids = sorted(words)
    for number in itertools.count():
        chosen = np.random.default_rng([seed, number]).choice(ids, n_tokens)
        found = [int(i) for i in chosen]
        yield "".join(words[i] for i in found) if as_text else found


async def ask(url: str, path: str, body: dict[str, Any]) -> Answer:
    """One request, its answer a stream of server-sent events."""
    where = urlsplit(url)
    sent = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(sent)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    answer = Answer(begin=time.perf_counter(), tokens=int(body["max_tokens"]))
    lines: list[tuple[float, bytes]] = []
    try:
        writer.write(head.encode() + sent)
        status = await reader.readline()
        if b" 200 " not in status:
            answer.error = (status + await reader.read(2000)).decode("utf-8", "replace")
            return answer
        async for line in reader:  # the sizes of chunks are lines too, and mean nothing here
            if line.startswith(b"data:"):
                lines.append((time.perf_counter(), line[5:].strip()))
                if lines[-1][1] == b"[DONE]":
                    break
    finally:
        answer.end = time.perf_counter()
        writer.close()
    for at, line in lines:
        if line == b"[DONE]":
            continue
        event = json.loads(line)
        if "error" in event:
            answer.error = line.decode()
        for choice in event.get("choices") or ():
            if text := choice.get("text"):
                answer.times.append(at)
                answer.text += text
        if event.get("usage"):
            answer.tokens = event["usage"]["completion_tokens"]
    if not answer.times and answer.error is None:
        answer.error = "no token came"
    return answer


async def run(
    url: str,
    path: str,
    body: dict[str, Any],
    *,
    streams: int,
    requests: int,
    all_prompts: Iterator[Any],
) -> tuple[list[Answer], float]:
    """-> (the answers in the order of the prompts, seconds for all)"""
    answers: dict[int, Answer] = {}
    numbers = iter(range(requests))

    async def stream() -> None:
        for number in numbers:
            answers[number] = await ask(url, path, body | {"prompt": next(all_prompts)})

    begin = time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(streams)))
    return [answers[number] for number in range(requests)], time.perf_counter() - begin


def figures(answers: list[Answer], seconds: float) -> dict[str, float]:
    """Milliseconds, and per second."""
    good = [each for each in answers if each.error is None]
    if not good:
        return {"failed": len(answers), "seconds": seconds}
    gaps = [b - a for each in good for a, b in itertools.pairwise(each.times)]
    kept = sum(each.ttft <= TTFT and each.tpot <= TPOT for each in good)
    found = {
        "failed": len(answers) - len(good),
        "seconds": seconds,
        "tokens_per_s": sum(each.tokens for each in good) / seconds,
        "requests_per_s": len(good) / seconds,
        "goodput_per_s": kept / seconds,
        "goodput_share": kept / len(answers),
    }
    for name, values in (
        ("ttft", [each.ttft for each in good]),
        ("tpot", [each.tpot for each in good]),
        ("itl", gaps or [0.0]),
        ("e2e", [each.times[-1] - each.begin for each in good]),
    ):
        for p in (50, 99):
            found[f"{name}_p{p}"] = 1e3 * float(np.percentile(values, p))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="such as http://127.0.0.1:8000")
    parser.add_argument("--path", default="/v1/completions")
    parser.add_argument("--model")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=128, help="tokens in")
    parser.add_argument("--tokens", type=int, default=64, help="tokens out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--body", type=json.loads, default={}, help="more fields, as JSON")
    parser.add_argument("--words", type=Path, required=True, help="the model's vocab.json")
    parser.add_argument("--as", dest="form", choices=["ids", "text"], default="ids")
    parser.add_argument("--json", type=Path, help="also write every answer here")
    options = parser.parse_args()
    body = {"max_tokens": options.tokens, "temperature": 0, "stream": True} | options.body
    if options.model:
        body["model"] = options.model
    vocabulary = words(options.words)
    made = prompts(options.seed, options.prompt, vocabulary, options.form == "text")
    answers, seconds = asyncio.run(
        run(
            options.url,
            options.path,
            body,
            streams=options.streams,
            requests=options.requests,
            all_prompts=made,
        )
    )
    found: dict[str, Any] = dict(figures(answers, seconds))
    errors = [each.error for each in answers if each.error is not None]
    print(json.dumps(found | {"errors": errors[:3]}))
    if options.json:
        everything = {"figures": found, "answers": [asdict(each) for each in answers]}
        options.json.write_text(json.dumps(everything), "utf-8")


if __name__ == "__main__":
    main()

"""Python's share of a step: what is not the model's pass, at 8 streams over HTTP.

    python benchmarks/step.py [--size gpt2] [--streams 8] [--tokens 96] [--rounds 3] [--threads 2]
        [--kinds greedy top-k …] [--json FILE]

The whole server in this process, its clients in another (`load.py`). Milliseconds a step of the
engine's thread, by its own clocks: plan (the scheduler), model (the pass), choose (sampling, text,
log-probability), deliver (handing events to HTTP; a part of choose); and http: processor time of
the event loop's thread (JSON, server-sent events, sockets), beside the next step.

share: (plan + choose) / (plan + model + choose): by so much a step is longer than its pass. whole:
the processor time of plan, choose and http, of all that the process takes. Measured from the
16th token of each stream to the 16th from its end, so that all of them run. Random weights say
almost nothing about the next token, the worst case for top-p, whose nucleus is then most of the
vocabulary; "peaked" are the same with the last layer norm scaled until the entropy is 3 nats, about
a trained GPT-2's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.backend import get_backend
from pellucid.chat import choose_template
from pellucid.cli.memory import keep_freed_memory
from pellucid.gpt import GPT
from pellucid.hparams import SIZES
from pellucid.model import Model
from pellucid.sampling import log_softmax
from pellucid.serve.access import Access
from pellucid.serve.app import new_app
from pellucid.serve.engine import Engine
from pellucid.serve.events import EngineLimits
from pellucid.serve.metrics import Metrics
from pellucid.serve.server import HttpServer, bind
from pellucid.serve.service import Service
from pellucid.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.random_checkpoint import random_tensors, vocabulary_files

HERE = Path(__file__).parent
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "temperature": {"temperature": 0.8},
    "top-k": {"temperature": 0.8, "top_k": 40},
    "top-p": {"temperature": 0.8, "top_p": 0.95},
}
LEFT_OUT = 16  # tokens at each end of a stream
NATS = 3.0


def entropy(model: Model) -> float:
    """Nats, the mean over a few positions."""
    ids = [int(i) for i in np.random.default_rng(5).integers(0, 50_000, 12)]
    logprobs = log_softmax(np.asarray(model.forward([ids])[0], np.float64))
    return float(-(np.exp(logprobs) * logprobs).sum(-1).mean())


def made(size: str, threads: int, peaked: bool) -> Model:
    hparams, tensors = SIZES[size], random_tensors(SIZES[size], seed=1)
    low, high = 1.0, 64.0
    model = Model.of(hparams, tensors, get_backend("numpy", threads=threads))
    gain, bias = tensors["ln_f.weight"], tensors["ln_f.bias"]
    for _ in range(8 if peaked else 0):
        scale = np.float32((low * high) ** 0.5)
        changed = tensors | {"ln_f.weight": gain * scale, "ln_f.bias": bias * scale}
        model = Model.of(hparams, changed, get_backend("numpy", threads=threads))
        low, high = (float(scale), high) if entropy(model) > NATS else (low, float(scale))
    return model


class Measured:
    """A server in this process. loop: its thread."""

    def __init__(self, gpt: GPT, streams: int) -> None:
        self.engine = Engine(gpt, EngineLimits(max_running=streams))
        template = choose_template(gpt, None)
        service = Service(gpt, self.engine, template, Metrics(self.engine), model="gpt2")
        service.start()
        self._server = HttpServer(new_app(service, Access()), service)
        listening = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.loop = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[listening]))
        )
        self.loop.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self.loop.join()

    def now(self) -> dict[str, float]:
        """Seconds up to now, and steps."""
        stats = self.engine.stats()
        assert self.loop.ident is not None
        http = time.clock_gettime(time.pthread_getcpuclockid(self.loop.ident))
        own = {"http": http, "process": time.process_time(), "steps": float(stats.steps)}
        return stats.seconds | own | {"generated": float(stats.generated_tokens)}

    def after(self, generated: float) -> dict[str, float]:
        while (now := self.now())["generated"] < generated:
            time.sleep(0.005)
        return now


def one(server: Measured, body: dict[str, Any], words: Path, streams: int, tokens: int) -> Any:
    """Milliseconds a step, while all streams run."""
    before = server.now()["generated"]
    command = [sys.executable, HERE / "load.py", server.url, "--streams", streams]
    command += ["--requests", streams, "--prompt", 32, "--tokens", tokens, "--words", words]
    command += ["--seed", int(before), "--body", json.dumps(body)]
    client = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    begin = server.after(before + streams * LEFT_OUT)
    end = server.after(before + streams * (tokens - LEFT_OUT))
    assert client.wait() == 0
    steps = end["steps"] - begin["steps"]
    ms = {key: 1e3 * (end[key] - begin[key]) / steps for key in begin}
    python = ms["plan"] + ms["choose"]
    ms["share"] = python / (python + ms["model"])
    ms["whole"] = (python + ms["http"]) / ms["process"]
    return ms


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="gpt2", choices=sorted(SIZES))
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96, help="of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = vocabulary_files(Path(folder), SIZES[options.size].n_vocab)
        tokenizer = Tokenizer.from_files(*files)
        for peaked in (False, True):
            model = made(options.size, options.threads, peaked)
            name = "peaked" if peaked else "flat"
            print(f"{name}: {entropy(model):.1f} nats", file=sys.stderr)
            server = Measured(GPT(model, tokenizer, name="gpt2"), options.streams)
            try:
                one(server, {}, files[0], options.streams, 2 * LEFT_OUT + 2)  # warm up
                for _ in range(options.rounds):
                    for kind in options.kinds:
                        row = one(server, KINDS[kind], files[0], options.streams, options.tokens)
                        found.setdefault(f"{kind}, {name}", []).append(row)
            finally:
                server.stop()
    columns = ("plan", "model", "choose", "deliver", "http")
    print(
        f"{options.size}, {options.streams} streams, ms a step, median of {options.rounds} rounds"
    )
    print(f"{'':22}" + "".join(f"{each:>9}" for each in (*columns, "share", "whole")))
    for name, rows in found.items():
        median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        print(
            f"{name:22}"
            + "".join(f"{median[key]:9.2f}" for key in columns)
            + "".join(f"{median[key]:9.1%}" for key in ("share", "whole"))
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()

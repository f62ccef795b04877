"""Pellucid beside transformers on GPT-2's 124M shape: one stream, fp32, the same machine, one run.

    python benchmarks/bench.py [--rounds 3] [--size gpt2] [--threads 2] [--json FILE]

Each measurement is a fresh process, the peers take turns, medians are printed with the ratio
transformers / Pellucid (above 1: Pellucid is faster or smaller). Weights are random: speed
does not depend on them. Cold start is measured from outside, from process start to the first
predicted token. transformers runs its own generate(), greedy, no end-of-text token.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

PEERS = ("pellucid", "transformers")
ROWS = (
    ("decode_32", "decode, context 32", "ms/token"),
    ("decode_896", "decode, context 896", "ms/token"),
    ("prefill_512", "first token of 512", "ms"),
    ("prefill_1023", "first token of 1023", "ms"),
    ("cold", "cold start to first token", "s"),
    ("peak", "peak memory", "MiB"),
)


class Peer(Protocol):
    def generate(self, ids: list[int], n: int, ticks: list[float] | None = None) -> list[int]:
        """n greedy tokens; ticks receives the time at which each was there."""


class Pellucid:
    def __init__(self, folder: str, threads: int) -> None:
        from pellucid import checkpoint
        from pellucid.backend import get_backend
        from pellucid.model import Model
        from pellucid.weights import unflatten

        found = checkpoint.load(folder)
        backend = get_backend("numpy", threads=threads)
        tensors = {name: backend.asarray(value) for name, value in found.tensors.items()}
        self.model = Model(found.hparams, unflatten(tensors, found.hparams), backend)

    def generate(self, ids: list[int], n: int, ticks: list[float] | None = None) -> list[int]:
        cache, out = self.model.new_cache(), list[int]()
        fed = ids
        while len(out) < n:
            fed = [int(self.model.forward(fed, cache, last_only=True)[-1].argmax())]
            out += fed
            if ticks is not None:
                ticks.append(time.perf_counter())
        return out


class Transformers:
    def __init__(self, folder: str, threads: int) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.eos_token_id = None
        self.model.generation_config.pad_token_id = 0

    def generate(self, ids: list[int], n: int, ticks: list[float] | None = None) -> list[int]:
        x = self.torch.tensor([ids])
        mask = self.torch.ones_like(x)
        streamer = None if ticks is None else _Clock(ticks)
        out = self.model.generate(
            x, attention_mask=mask, max_new_tokens=n, do_sample=False, streamer=streamer
        )
        return [int(token) for token in out[0, len(ids) :]]


class _Clock:
    """A streamer of transformers that only looks at the clock; the prompt comes first."""

    def __init__(self, ticks: list[float]) -> None:
        self.ticks, self.prompted = ticks, False

    def put(self, value: object) -> None:
        if self.prompted:
            self.ticks.append(time.perf_counter())
        self.prompted = True

    def end(self) -> None: ...


def prompt(n: int, seed: int) -> list[int]:
    import random

    return [random.Random(seed * 10007 + i).randrange(50000) for i in range(n)]


def timed(peer: Peer, ids: list[int]) -> float:
    start = time.perf_counter()
    peer.generate(ids, 1)
    return time.perf_counter() - start


def worker(name: str, folder: str, threads: int, cold: bool) -> None:
    peer: Peer = Pellucid(folder, threads) if name == "pellucid" else Transformers(folder, threads)
    if cold:
        print(json.dumps({"token": peer.generate([101, 2002, 30003, 404], 1)[0]}))
        return
    peer.generate(prompt(32, 0), 8)  # warm up
    figures: dict[str, Any] = {}
    for context, n in ((32, 65), (896, 33)):
        ticks: list[float] = []
        figures[f"tokens_{context}"] = peer.generate(prompt(context, 1), n, ticks)
        gaps = [after - before for before, after in pairwise(ticks)]
        figures[f"decode_{context}"] = statistics.median(gaps) * 1e3
    for context in (512, 1023):
        figures[f"prefill_{context}"] = (
            min(timed(peer, prompt(context, seed)) for seed in (2, 3, 4)) * 1e3
        )
    figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures))


def run(name: str, folder: str, threads: int, cold: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", name, "--folder", folder]
    command += ["--threads", str(threads)] + (["--cold"] if cold else [])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if cold:
        figures["cold"] = wall
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write every figure here")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.folder, args.threads, args.cold)
        return

    from pellucid import checkpoint
    from pellucid.hparams import SIZES
    from pellucid.weights import initialise

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        where = str(Path(folder) / "model")
        hparams = SIZES[args.size]
        checkpoint.save(where, hparams, initialise(hparams, seed=1), None, format="hf")
        for number in range(args.rounds):
            for name in PEERS if number % 2 == 0 else PEERS[::-1]:
                figures = run(name, where, args.threads, False)
                figures.update(run(name, where, args.threads, True))
                found[name].append(figures)
            print(f"round {number + 1} of {args.rounds} done", file=sys.stderr)

    same = all(
        a[f"tokens_{n}"] == b[f"tokens_{n}"]
        for a, b in zip(found["pellucid"], found["transformers"], strict=True)
        for n in (32, 896)
    )
    print(
        f"{args.size}, fp32, {args.threads} threads, median of {args.rounds} rounds; greedy ids "
        + ("equal" if same else "DIFFER")
    )
    print(f"{'':28}{'Pellucid':>12}{'transformers':>14}{'ratio':>8}")
    for key, title, unit in ROWS:
        ours, theirs = (statistics.median(r[key] for r in found[name]) for name in PEERS)
        print(f"{title + ', ' + unit:36}{ours:>8.2f}{theirs:>10.2f}{theirs / ours:>8.2f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""This checkout beside another one, so that a change of the code can be seen in its speed.

    python benchmarks/against.py OTHER [--rounds 5] [--view]

OTHER: the root of another checkout of Pellucid. Fresh processes in turns, medians; the spread is
(largest - smallest) / median over this checkout's rounds. GPT-2's 124M shape with random weights,
float32, and a small training run; only what both checkouts offer is called.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / "tests"))

RUN = """
import json, resource, sys, time
start = time.perf_counter()
import numpy as np
import pellucid
gpt = pellucid.load(sys.argv[1])
ids = [i * 7919 % 50257 for i in range(1, 1001)]
list(gpt.generate(ids[:16], max_tokens=1, greedy=True, stop_tokens=()))
cold = time.perf_counter() - start
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def timed(work, times):
    best = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        best.append(time.perf_counter() - begin)
    return sorted(best)[len(best) // 2] * 1e3

def decode(n):
    steps = iter(gpt.generate(ids[:n], max_tokens=33, greedy=True, stop_tokens=()))
    next(steps)
    begin = time.perf_counter()
    made = sum(1 for _ in steps)
    return (time.perf_counter() - begin) / made * 1e3

def first(n):
    return timed(lambda: next(iter(gpt.generate(ids[:n], max_tokens=1, greedy=True))), 3)

from pellucid import inspect
timed(lambda: gpt.forward([ids[:128]]), 1)
print(json.dumps({
    "cold start, s": cold,
    "peak memory after it, MiB": memory,
    "decode at 32, ms/token": decode(32),
    "decode at 512, ms/token": decode(512),
    "first token of 512, ms": first(512),
    "plain pass of 128, ms": timed(lambda: gpt.forward([ids[:128]]), 5),
    "recording of 128, ms": timed(lambda: inspect.trace(gpt, ids[:128]), 5),
}))
"""


def model(checkout: Path, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        env=environment(checkout), capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def page(checkout: Path, folder: Path) -> dict[str, float]:
    """`pellucid view` of 1,024 tokens, the whole command: until its page can be opened."""
    words = ["of", "and", "to", "in", "is", "that", "for", "it", "was", "on", "as"]
    text = "the" + "".join(f" {words[i * 7919 % len(words)]}" for i in range(1023))
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "pellucid", "view", "-", "--model", str(folder)]
        begin, before = time.perf_counter(), os.times()
        subprocess.run(
            [*command, "--html", f"{out}/page.html"],
            env=environment(checkout), input=text, capture_output=True, text=True, check=True,
        )  # fmt: skip
        whole, after = time.perf_counter() - begin, os.times()
    work = sum(after[2:4]) - sum(before[2:4])  # of the processor, whoever else uses it
    return {"view of 1,024, s": whole, "view of 1,024, s of a core": work}


def training(checkout: Path, texts: Path, steps: int = 25) -> dict[str, float]:
    """Milliseconds of a step, from the run's own log; the first five are left out."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "pellucid", "train", str(texts), "--out", f"{out}/run",
            "--steps", str(steps), "--n-vocab", "1024", "--n-ctx", "128", "--n-embd", "256",
            "--n-head", "4", "--n-layer", "4", "--batch", "8", "--eval-every", "0",
            "--sample-every", "0", "--save-every", "0", "--precision", "float32",
        ]  # fmt: skip
        begin = time.perf_counter()
        subprocess.run(command, env=environment(checkout), capture_output=True, check=True)
        whole = time.perf_counter() - begin
        log = [json.loads(line) for line in (Path(out) / "run/log.jsonl").read_text().splitlines()]
        times = [step["seconds"] for step in log]
    if times[-1] > 5 * times[0]:  # since the run began, in one of the two
        times = [b - a for a, b in pairwise(times)]
    step = statistics.median(times[5:]) * 1e3
    return {"training step, ms": step, "train, whole command, s": whole}


def environment(checkout: Path) -> dict[str, str]:
    """Of a process that runs a checkout, from compiled modules as an installed package has them."""
    table = {**os.environ, "PYTHONPATH": str(checkout / "src"), "HF_HUB_OFFLINE": "1"}
    table.pop("PYTHONDONTWRITEBYTECODE", None)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--view", action="store_true", help="also `pellucid view`: a minute or so")
    args = parser.parse_args()
    from pellucid.hparams import SIZES
    from support.random_checkpoint import make

    figures: dict[str, dict[str, list[float]]] = {"this": {}, "other": {}}
    checkouts = {"this": HERE, "other": args.other.resolve()}
    with tempfile.TemporaryDirectory() as work:
        folder = make(Path(work) / "model", SIZES["gpt2"], "hf")
        texts = Path(work) / "text.txt"
        texts.write_text("\n\n".join(f"The {i} clap and {i * 7} more." for i in range(20_000)))
        for number in range(args.rounds):
            names = list(checkouts)
            for name in names if number % 2 else reversed(names):
                all_measured = [model(checkouts[name], folder), training(checkouts[name], texts)]
                if args.view:
                    all_measured.append(page(checkouts[name], folder))
                for measured in all_measured:
                    for what, value in measured.items():
                        figures[name].setdefault(what, []).append(value)
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    print("| | this | other | this / other | spread |\n|---|---|---|---|---|")
    for what, mine in figures["this"].items():
        ours, theirs = statistics.median(mine), statistics.median(figures["other"][what])
        spread = (max(mine) - min(mine)) / ours
        print(f"| {what} | {ours:.4g} | {theirs:.4g} | {ours / theirs:.3f} | {spread:.2f} |")


if __name__ == "__main__":
    main()

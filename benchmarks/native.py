"""The compiled backend beside llama.cpp and CTranslate2, on the same random weights, in one run.

    python benchmarks/native.py PEERS [--rounds 5] [--threads 2] [--kernels AVX2] [--json FILE]

PEERS is what benchmarks/peers.py made. Each measurement is a fresh process, the peers take turns,
and medians are printed. decode: milliseconds a token, one stream, after so many tokens; first: to
the first token of a prompt of so many, in milliseconds; streams: tokens a second of 8 streams
together, each with 32 tokens before; recorded: decode with every value kept; cold: seconds from the
start of the process to the first token of 4, and the most memory that process held, in MiB. memory:
what so many threads read, in the same run, which bounds decode: a step reads 494 MB in float32, 128
in int8, 87 in int4 with its output layer in int8.

Take a quiet machine: another program on one of two cores halves everything.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

DTYPES = ("float32", "bfloat16", "int8", "int4")
GGUF = {"f32": "f32", "bf16": "bf16", "Q8_0": "q8_0", "Q4_0": "q4_0"}
ROWS = (
    "decode 32", "decode 896", "first 512", "first 1023", "streams", "recorded", "cold", "peak",
)  # fmt: skip


def prompt(n: int, seed: int = 1) -> list[int]:
    import random

    return [random.Random(seed * 10007 + i).randrange(50000) for i in range(n)]


# --- Pellucid, in a process of its own ------------------------------------------------------------


def pellucid(folder: str, dtype: str, threads: int, kernels: str | None, cold: bool) -> None:
    if kernels:
        import pellucid_native

        pellucid_native.choose(kernels)
    import pellucid as package

    gpt = package.load(folder, backend="native", dtype=dtype, threads=threads)
    model, figures = gpt.model, {}

    def step(ids: Any, cache: Any, tap: Any = None) -> int:
        return int(model.forward(ids, cache, tap, last_only=True)[-1].argmax())

    def gaps(context: int, n: int, recorded: bool = False) -> float:
        from pellucid.inspect import Recorder

        cache, ticks = model.new_cache(), []
        token = step(prompt(context), cache)
        for _ in range(n):
            token = step([token], cache, Recorder(gpt, "*") if recorded else None)
            ticks.append(time.perf_counter())
        return statistics.median(b - a for a, b in pairwise(ticks)) * 1e3

    def first(context: int) -> float:
        took = []
        for seed in (2, 3, 4):
            begin = time.perf_counter()
            step(prompt(context, seed), model.new_cache())
            took.append(time.perf_counter() - begin)
        return min(took) * 1e3

    def streams(n: int, steps: int) -> float:
        cache = model.new_cache(n)
        model.forward([prompt(32, seed) for seed in range(n)], cache, last_only=True)
        begin = time.perf_counter()
        for _ in range(steps):
            model.forward([[5]] * n, cache, last_only=True).argmax(-1)
        return n * steps / (time.perf_counter() - begin)

    if cold:
        step(prompt(4), model.new_cache())
        figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    else:
        gaps(32, 8)  # warm up
        figures = {
            "decode 32": gaps(32, 65),
            "decode 896": gaps(896, 33),
            "recorded": gaps(32, 33, recorded=True),
            "first 512": first(512),
            "first 1023": first(1023),
            "streams": streams(8, 32),
        }
    print(json.dumps(figures))


# --- the others -----------------------------------------------------------------------------------

CTRANSLATE2 = """
import json, sys, time, ctranslate2
folder, threads, vocabulary, cold = sys.argv[1:]
names = {i: t for t, i in json.load(open(vocabulary)).items()}
generator = ctranslate2.Generator(folder, intra_threads=int(threads))
def run(prompts, n):
    begin = time.perf_counter()
    texts = [[names[i] for i in ids] for ids in prompts]
    generator.generate_batch(texts, max_length=n, min_length=n, sampling_topk=1,
                             include_prompt_in_result=False, end_token=[])
    return time.perf_counter() - begin
prompts = json.load(sys.stdin)
if cold == "cold":
    run(prompts["4"], 1); print("{}"); sys.exit()
run(prompts["32"], 8)
f = {}
for context, n in (("32", 64), ("896", 32)):
    f["decode " + context] = (run(prompts[context], n + 1) - run(prompts[context], 1)) / n * 1e3
for context in ("512", "1023"):
    f["first " + context] = min(run(prompts[context], 1) for _ in range(3)) * 1e3
f["streams"] = 8 * 32 / (run(prompts["streams"], 33) - run(prompts["streams"], 1))
print(json.dumps(f))
"""


def ctranslate2(peers: Path, kind: str, threads: int, cold: bool) -> dict[str, float]:
    given = {str(n): [prompt(n)] for n in (4, 32, 512, 896, 1023)}
    given["streams"] = [prompt(32, seed) for seed in range(8)]
    command = [peers / "torch/bin/python", "-c", CTRANSLATE2, peers / f"models/ct2-{kind}"]
    command += [threads, peers / "models/hf/vocab.json", "cold" if cold else "warm"]
    return answer(command, json.dumps(given))


def llama(peers: Path, kind: str, threads: int) -> dict[str, float]:
    model, programs = peers / f"models/{GGUF[kind]}.gguf", peers / "llama/bin"
    bench = [programs / "llama-bench", "-m", model, "-t", threads, "-r", 3, "-o", "json"]
    figures: dict[str, float] = {}
    for context in (32, 896):
        (found,) = output([*bench, "-p", 0, "-n", 32, "-d", context])
        figures[f"decode {context}"] = 1e3 / found["avg_ts"]
    for context in (512, 1023):
        (found,) = output([*bench, "-p", context, "-n", 0])
        figures[f"first {context}"] = context * 1e3 / found["avg_ts"]
    batched = [programs / "llama-batched-bench", "-m", model, "-t", threads, "-tb", threads]
    batched += ["-c", 2048, "-npp", 32, "-ntg", 32, "-npl", 8, "--output-format", "jsonl"]
    text = run(batched)
    figures["streams"] = float(re.findall(r'"speed_tg": ([\d.]+)', text)[-1])
    return figures


def memory(threads: int) -> float:
    """GB/s that so many threads read of half a gigabyte."""
    import numpy as np

    numbers, best = np.ones(1 << 27, np.float32), 0.0
    parts = np.array_split(numbers.view(np.uint64), threads * 8)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(9):
            begin = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))
            best = max(best, numbers.nbytes / (time.perf_counter() - begin) / 1e9)
    return best


# --- taking turns ---------------------------------------------------------------------------------


def run(command: list[Any], given: str = "") -> str:
    done = subprocess.run(
        [str(each) for each in command], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def answer(command: list[Any], given: str = "") -> Any:
    return json.loads(run(command, given).strip().splitlines()[-1])


def output(command: list[Any]) -> Any:
    return json.loads(run(command))


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    program, kind = name.split(" ", 1)
    if program == "llama.cpp":
        return llama(options.peers, kind, options.threads)
    figures = {}
    for cold in (False, True):
        begin = time.perf_counter()
        if program == "CTranslate2":
            figures |= ctranslate2(options.peers, kind, options.threads, cold)
        else:
            command = [sys.executable, __file__, options.peers, "--worker", kind]
            command += ["--threads", options.threads] + (["--cold"] if cold else [])
            command += ["--kernels", options.kernels] if options.kernels else []
            figures |= answer(command)
        if cold:
            figures["cold"] = time.perf_counter() - begin
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peers", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kernels", help='of Pellucid: "AVX2" or "portable", whatever is here')
    parser.add_argument("--without", nargs="*", default=[], choices=["llama.cpp", "CTranslate2"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.peers = options.peers.resolve()
    if options.worker:
        hf = str(options.peers / "models/hf")
        pellucid(hf, options.worker, options.threads, options.kernels, options.cold)
        return
    names = [f"Pellucid {dtype}" for dtype in DTYPES]
    names += [f"llama.cpp {kind}" for kind in GGUF] + ["CTranslate2 float32", "CTranslate2 int8"]
    names = [name for name in names if name.split()[0] not in options.without]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    reads = []
    for number in range(options.rounds):
        reads.append(memory(options.threads))
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(measured(name, options))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    print(f"memory {statistics.median(reads):.1f} GB/s, {options.threads} threads; medians of "
          f"{options.rounds} rounds")  # fmt: skip
    print(f"{'':22}" + "".join(f"{row:>11}" for row in ROWS))
    for name in names:
        cells = []
        for row in ROWS:
            values = [each[row] for each in found[name] if row in each]
            cells.append(f"{statistics.median(values):>11.2f}" if values else f"{'-':>11}")
        print(f"{name:22}" + "".join(cells))
    if options.json:
        options.json.write_text(json.dumps({"memory": reads, "found": found}, indent=1))


if __name__ == "__main__":
    main()

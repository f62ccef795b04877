"""SmolLM2-135M beside llama.cpp: decoding and first tokens, in fresh processes and in turns.

    python benchmarks/smollm2.py PEERS [--rounds 3] [--threads 2] [--model smollm2]

PEERS: a folder in which benchmarks/peers.py made llama.cpp's environment (`--without llama torch
openvino` is enough). The package's weights, 4 bits each, are written there once as float32, for
Pellucid in its own format and for llama.cpp as GGUF, and llama.cpp's own quantiser makes Q8_0 and
Q4_0 of them: each engine rounds the same numbers in its own way. Prints medians, the ratio of
theirs to ours, and the tokens that came out the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from pellucid import bench, checkpoint

sys.path.insert(0, str(Path(__file__).parent))

from peers import KINDS, QUANTISE, run

WORKER = Path(bench.__file__).parent / "worker.py"
FIGURES = {"decode_32": "ms/token, context 32", "first_512": "first token of 512, ms"}
PAIRS = (
    ("native float32", "f32", "F32"),
    ("native int8", "q8_0", "Q8_0"),
    ("native int4", "q4_0", "Q4_0"),
)


def written(folder: Path, model: str, python: Path) -> Path:
    """The model in every kind -> the folder that has them."""
    target = folder / "models" / "smollm2"
    own, plain = target / "own", target / "f32.gguf"
    target.mkdir(parents=True, exist_ok=True)
    if not (own.exists() and plain.exists()):
        read = checkpoint.load(model)
        told: dict[str, Any] = {"card": read.card, "template": read.template, "roles": read.roles}
        for path, kind in ((own, "pellucid"), (plain, "gguf")):
            checkpoint.save(path, read.hparams, read.tensors, read.tokenizer, format=kind, **told)
    for kind in ("q8_0", "q4_0"):
        if not (path := target / f"{kind}.gguf").exists():
            run(python, "-c", QUANTISE, plain, path, KINDS[kind])
    return target


def measured(python: Path, engine: str, model: Path, kind: str, threads: int) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [python, WORKER, engine, model, kind, threads, "brief"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("peers", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--model", default="smollm2")
    options = parser.parse_args()
    python = options.peers / "llama-python" / "bin" / "python"
    if not python.exists():
        sys.exit(f"there is no {python}: python benchmarks/peers.py {options.peers} makes it")
    models = written(options.peers, options.model, python)
    numbers: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    tokens: dict[str, list[int]] = {}
    turns = [
        each
        for kind, file, label in PAIRS
        for each in (
            (f"Pellucid {kind}", Path(sys.executable), "pellucid", models / "own", kind),
            (f"llama.cpp {label}", python, "llama.cpp", models / f"{file}.gguf", file),
        )
    ]
    for number in range(options.rounds):
        for name, *how in turns if number % 2 == 0 else turns[::-1]:
            found = measured(how[0], how[1], how[2], how[3], options.threads)
            tokens[name] = found["tokens_32"]
            for figure in FIGURES:
                numbers[name][figure].append(found[figure])
    print(f"{options.threads} threads, medians of {options.rounds} rounds (and their range)\n")
    print(f"| | {' | '.join(FIGURES.values())} |\n|---|---|---|")
    for name, found in numbers.items():
        cells = [f"{median(v):.3g} ({min(v):.3g} to {max(v):.3g})" for v in found.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| theirs / ours | decoding | first token | first tokens the same |\n|---|---|---|---|")
    for kind, _, label in PAIRS:
        ours, theirs = f"Pellucid {kind}", f"llama.cpp {label}"
        ratios = [median(numbers[theirs][f]) / median(numbers[ours][f]) for f in FIGURES]
        pairs = zip(tokens[ours], tokens[theirs], strict=True)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(tokens[ours]))
        said = f"{same} of {len(tokens[ours])}"
        print(f"| {kind} / {label} | {ratios[0]:.2f} | {ratios[1]:.2f} | {said} |")


if __name__ == "__main__":
    main()

"""Pellucid's training beside nanoGPT's own: tokens/s on the same small model, in one run.

    python benchmarks/train.py NANOGPT [--rounds 3] [--threads 2] [--steps 6] [--no-compile]

NANOGPT is a clone of karpathy/nanoGPT; its model.py and its loop are used as they are (forward
under autocast, backward, clipping, its AdamW), on the tokens of the same file. Pellucid runs its
Trainer. 6 layers, 6 heads, 384 wide, n_ctx 256, n_vocab 8192, 16 rows a step, bfloat16 and
float32. Each measurement is a fresh process, the peers take turns, medians over the rounds; a
process's figure is the median of its steps after the first two.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

N_VOCAB, N_CTX, N_EMBD, N_HEAD, N_LAYER, BATCH = 8192, 256, 384, 6, 6, 16
WARM = 2


def make_corpus(folder: Path) -> None:
    """Random tokens: what they are does not change how long a step takes."""
    from pellucid.data.corpus import SPLITS, SplitWriter
    from pellucid.tokenizer import Tokenizer

    named = ["<|endoftext|>", *(f"<|{number}|>" for number in range(N_VOCAB - 257))]
    tokenizer = Tokenizer.train([""], N_VOCAB, special=named)
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer.save(folder / "tokenizer")
    rng, splits = np.random.default_rng(0), {}
    for split in SPLITS:
        with SplitWriter(folder, split, N_VOCAB, masked=False) as writer:
            writer.add(rng.integers(0, N_VOCAB, 500_000))
        splits[split] = writer.counts()
    card = {"n_vocab": N_VOCAB, "masked": False, "splits": splits}
    (folder / "card.json").write_text(json.dumps(card))


def pellucid(folder: Path, precision: str, compiled: bool, threads: int) -> Iterator[float]:
    from pellucid.train.config import TrainConfig
    from pellucid.train.memory import keep_freed
    from pellucid.train.run import trainer_for

    keep_freed()  # as `pellucid train` does
    with tempfile.TemporaryDirectory() as out:
        config = TrainConfig(
            corpus=str(folder), out=out, n_ctx=N_CTX, n_embd=N_EMBD, n_head=N_HEAD,
            n_layer=N_LAYER, batch=BATCH, steps=10_000, eval_every=0, save_every=0,
            precision=precision, compile=compiled, threads=threads,
        )  # fmt: skip
        trainer = trainer_for(config)
        while True:
            begin = time.perf_counter()
            trainer.advance()
            yield time.perf_counter() - begin


def nanogpt(
    folder: Path, precision: str, compiled: bool, threads: int, clone: Path
) -> Iterator[float]:
    """One turn of the loop in nanoGPT's train.py, on one process, without its printing."""
    import torch

    torch.set_num_threads(threads)
    spec = importlib.util.spec_from_file_location("nanogpt_model", clone / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    config = module.GPTConfig(N_CTX, N_VOCAB, N_LAYER, N_HEAD, N_EMBD, dropout=0.0, bias=True)
    model = module.GPT(config)
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    if compiled:
        model = torch.compile(model)
    tokens = np.memmap(folder / "train.ids", np.uint16, "r")

    def get_batch():
        begins = torch.randint(len(tokens) - N_CTX, (BATCH,))
        rows = [tokens[i : i + N_CTX + 1].astype(np.int64) for i in begins.tolist()]
        both = torch.from_numpy(np.stack(rows))
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    x, y = get_batch()
    while True:
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            _, loss = model(x, y)
        x, y = get_batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        yield time.perf_counter() - begin


def measure(given: argparse.Namespace) -> None:
    """In a process of its own: prints tokens/s."""
    peer, precision, compiled, folder = given.measure.split(",")
    more = (Path(folder), precision, compiled == "compile", given.threads)
    steps = pellucid(*more) if peer == "pellucid" else nanogpt(*more, given.nanogpt)
    seconds = [next(steps) for _ in range(WARM + given.steps)][WARM:]
    print(BATCH * N_CTX / statistics.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nanogpt", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given)
        return
    if not (given.nanogpt / "model.py").is_file():
        sys.exit(f"{given.nanogpt} is no clone of nanoGPT: it has no model.py")
    ways = [("bfloat16", "plain"), ("float32", "plain")]
    if not given.no_compile:
        ways += [("bfloat16", "compile"), ("float32", "compile")]
    found: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder) / "corpus")
        for _ in range(given.rounds):
            for precision, compiled in ways:
                for peer in ("pellucid", "nanogpt"):
                    made = subprocess.run(
                        [
                            sys.executable, __file__, str(given.nanogpt),
                            "--threads", str(given.threads), "--steps", str(given.steps),
                            "--measure", f"{peer},{precision},{compiled},{folder}/corpus",
                        ],
                        capture_output=True, text=True, check=True,
                    )  # fmt: skip
                    rate = float(made.stdout.split()[-1])
                    found.setdefault((precision, compiled, peer), []).append(rate)
                    print(f"{peer} {precision} {compiled}: {rate:.0f} tokens/s", flush=True)
    print("\n| | Pellucid | nanoGPT | ratio |\n|---|---|---|---|")
    for precision, compiled in ways:
        ours, theirs = (
            statistics.median(found[precision, compiled, peer]) for peer in ("pellucid", "nanogpt")
        )
        name = precision + (" + compile" if compiled == "compile" else "")
        print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()

"""What it costs to keep every value of a forward pass: Pellucid, TransformerLens, transformers.

    python benchmarks/recording.py [--lens PYTHON] [--rounds 3] [--size gpt2] [--tokens 128]
        [--threads 2] [--repeats 9] [--json FILE]

--lens: the Python of an environment with transformer-lens 4.x (CONTRIBUTING.md says how to make
one); without it that peer is left out. The ratio is recording / plain forward, each program
against its own, in one process, in turns; fresh processes, peers in turns, medians. Plain is what
the program does when nobody asks for more (transformers and TransformerLens choose their
attention; to record, transformers needs "eager"). Weights are random: speed does not depend on
them. Attention patterns, residual streams and the final norm are compared with Pellucid's.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

TOLERANCE = 1e-3  # by which compared values may differ


class Way(NamedTuple):
    """A way to run the model. record: returns what it kept; compared: the values of `compare`."""

    plain: Callable[[], Any]
    record: Callable[[], Any]
    sizes: Callable[[Any], list[int]]
    compared: Callable[[Any], dict[str, Any]]


def pellucid(backend: str, folder: str, ids: list[int], threads: int) -> dict[str, Way]:
    import pellucid
    from pellucid.inspect import trace

    gpt = pellucid.load(folder, backend=backend, threads=threads)

    def compared(found: Any) -> dict[str, Any]:
        layers = range(gpt.hparams.n_layer)
        values = {f"pattern {i}": found[f"blocks.{i}.attn.pattern"] for i in layers}
        values |= {f"resid_post {i}": found[f"blocks.{i}.resid_post"] for i in layers}
        return values | {"ln_final": found["ln_final.out"]}

    return {
        f"Pellucid, {backend}": Way(
            lambda: gpt.forward(ids),
            lambda: trace(gpt, ids),
            lambda found: [value.nbytes for value in found.values()],
            compared,
        )
    }


def transformers(folder: str, ids: list[int], threads: int) -> dict[str, Way]:
    model, eager = (_hugging_face(folder, threads, how) for how in ("sdpa", "eager"))
    x = _tensor(ids)

    def record() -> Any:
        return eager(x, use_cache=False, output_attentions=True, output_hidden_states=True)

    def compared(out: Any) -> dict[str, Any]:
        *resid_post, ln_final = out.hidden_states[1:]  # the last one comes after the final norm
        values = {f"pattern {i}": one for i, one in enumerate(out.attentions)}
        values |= {f"resid_post {i}": one for i, one in enumerate(resid_post)}
        return values | {"ln_final": ln_final}

    def sizes(out: Any) -> list[int]:
        return [each.nbytes for each in (*out.attentions, *out.hidden_states, out.logits)]

    return {
        "transformers": Way(lambda: model(x, use_cache=False), record, sizes, compared),
        "transformers, plain eager too": Way(
            lambda: eager(x, use_cache=False), record, sizes, compared
        ),
    }


def transformer_lens(folder: str, ids: list[int], threads: int) -> dict[str, Way]:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2TokenizerFast

    x = _tensor(ids)
    ways = {}
    for title in ("TransformerLens", "TransformerLens, compatible"):
        bridge = TransformerBridge.boot_transformers(
            folder,
            hf_model=_hugging_face(folder, threads, "eager"),
            tokenizer=GPT2TokenizerFast.from_pretrained(folder),
        )
        if title.endswith("compatible"):
            bridge.enable_compatibility_mode(no_processing=True)
        layers = range(bridge.cfg.n_layers)

        def compared(found: Any, layers: range = layers) -> dict[str, Any]:
            cache = found[1]
            values = {f"pattern {i}": cache["pattern", i] for i in layers}
            values |= {f"resid_post {i}": cache["resid_post", i] for i in layers}
            return values | {"ln_final": cache["ln_final.hook_out"]}

        ways[title] = Way(
            lambda bridge=bridge: bridge(x),
            lambda bridge=bridge: bridge.run_with_cache(x),
            lambda found: [value.nbytes for value in found[1].values()],
            compared,
        )
    return ways


def _hugging_face(folder: str, threads: int, attention: str) -> Any:
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return GPT2LMHeadModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()


def _tensor(ids: list[int]) -> Any:
    import torch

    return torch.tensor([ids])


PEERS: dict[str, Callable[[str, list[int], int], dict[str, Way]]] = {
    "numpy": lambda *given: pellucid("numpy", *given),
    "torch": lambda *given: pellucid("torch", *given),
    "transformers": transformers,
    "transformer_lens": transformer_lens,
}


def prompt(n: int, n_vocab: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(1).integers(n_vocab, size=n)]


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    kept = run()
    seconds = time.perf_counter() - start
    del kept  # freed outside the time, in every program
    return seconds


def worker(name: str, folder: str, ids: list[int], threads: int, repeats: int) -> None:
    """Prints a line of JSON: per way its times in ms and what it kept; writes what is compared."""
    figures = {}
    for title, way in PEERS[name](folder, ids, threads).items():
        kept = way.record()
        sizes = way.sizes(kept)
        values = {key: np.asarray(value).squeeze() for key, value in way.compared(kept).items()}
        np.savez(Path(folder) / f"{title}.npz", **values)
        del kept, values
        for run in (way.plain, way.record, way.plain, way.record):  # warm up
            timed(run)
        times = [(timed(way.plain), timed(way.record)) for _ in range(repeats)]
        plain, recording = (statistics.median(each) * 1e3 for each in zip(*times, strict=True))
        ratio = statistics.median(after / before for before, after in times)
        figures[title] = {
            "plain_ms": plain,
            "recording_ms": recording,
            "ratio": ratio,
            "n_values": len(sizes),
            "n_bytes": sum(sizes),
        }
    print(json.dumps(figures))


def run(python: str, name: str, folder: str, args: argparse.Namespace) -> dict[str, Any]:
    command = [python, __file__, "--worker", name, "--folder", folder]
    for option in ("size", "tokens", "threads", "repeats"):
        command += [f"--{option}", str(getattr(args, option))]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(args.threads),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def farthest(folder: str, title: str) -> float:
    """The largest difference from what Pellucid on numpy recorded."""
    ours = np.load(Path(folder) / "Pellucid, numpy.npz")
    theirs = np.load(Path(folder) / f"{title}.npz")
    return max(float(np.abs(ours[key] - theirs[key]).max()) for key in theirs.files)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lens", help="the Python that has transformer-lens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="gpt2", help='one of GPT-2\'s sizes, or "tiny" to try')
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=9, help="in each process")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        config = json.loads((Path(args.folder) / "config.json").read_text("utf-8"))
        ids = prompt(args.tokens, config["vocab_size"])
        worker(args.worker, args.folder, ids, args.threads, args.repeats)
        return

    from pellucid.hparams import SIZES, HParams
    from support.random_checkpoint import make

    tiny = HParams(n_vocab=300, n_ctx=128, n_embd=32, n_head=4, n_layer=2)
    pythons = dict.fromkeys(PEERS, sys.executable)
    if args.lens:
        pythons["transformer_lens"] = args.lens
    else:
        del pythons["transformer_lens"]
        print("without TransformerLens (--lens)", file=sys.stderr)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = str(
            make(Path(place) / "model", tiny if args.size == "tiny" else SIZES[args.size], "hf")
        )
        for number in range(args.rounds):
            for name in pythons if number % 2 == 0 else reversed(pythons):
                for title, figures in run(pythons[name], name, folder, args).items():
                    found.setdefault(title, []).append(figures)
            print(f"round {number + 1} of {args.rounds} done", file=sys.stderr)
        differences = {title: farthest(folder, title) for title in found}

    print(
        f"{args.size}, {args.tokens} tokens, fp32, {args.threads} threads, "
        f"median of {args.rounds} rounds\n"
        f"{'':32}{'plain, ms':>10}{'recording, ms':>15}{'ratio':>7}{'(of rounds)':>14}"
        f"{'values':>8}{'MiB':>7}{'differs':>10}"
    )
    for title, rounds in found.items():
        plain, recording, ratio = (
            statistics.median(each[key] for each in rounds)
            for key in ("plain_ms", "recording_ms", "ratio")
        )
        ratios = [each["ratio"] for each in rounds]
        print(
            f"{title:32}{plain:>10.1f}{recording:>15.1f}{ratio:>7.3f}"
            f"{f'{min(ratios):.2f}-{max(ratios):.2f}':>14}{rounds[0]['n_values']:>8}"
            f"{rounds[0]['n_bytes'] / 2**20:>7.0f}{differences[title]:>10.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps({"rounds": found, "differs": differences}, indent=1))
    if max(differences.values()) > TOLERANCE:
        sys.exit(f"the values differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main()

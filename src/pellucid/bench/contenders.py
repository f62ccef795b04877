"""Who takes part: Pellucid in every kind that this machine can, and the peers that are at hand.

Peers are what `python benchmarks/peers.py FOLDER` made: environments of their own, and one model
in the format of each. What is missing is said, never silently left out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import checkpoint
from ..backend import get_backend
from ..errors import CheckpointError, InputError, PellucidError
from ..families import family_of
from ..hparams import HParams

__all__ = ["SMALL", "Contender", "find"]

SMALL = "chat"  # the embedded model, where the cost of a call decides
NATIVE = ("float32", "bfloat16", "int8", "int4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """name: as the table has it. engine, kind: of `worker`. python: of its environment. model: its
    file or folder. weights: bytes that one token reads. small: runs SMALL, not the model asked for.
    trained: whether its weights are, so that it says something how it goes on from a text.
    """

    name: str
    engine: str
    kind: str
    python: Path
    model: str
    weights: float | None = None
    small: bool = False
    trained: bool = False


# engine -> where its environment lies, and (kind, the model's name there, as the table has it)
_PEERS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "llama.cpp": (
        "llama-python",
        tuple((kind, f"{kind}.gguf", kind.upper()) for kind in ("f32", "bf16", "q8_0", "q4_0")),
    ),
    "CTranslate2": (
        "torch",
        tuple((kind, f"ct2-{kind}", kind) for kind in ("float32", "int8")),
    ),
    "OpenVINO": (
        "openvino",
        tuple((kind, f"ov-{kind}", kind) for kind in ("fp32", "int8", "int4")),
    ),
    "transformers": (
        "torch",
        (("float32", "hf", "float32"), ("bfloat16", "hf", "bfloat16")),
    ),
}


def find(
    model: str, peers: Path | None, work: Path, kernels: str | None = None
) -> tuple[list[Contender], list[str]]:
    """model: what Pellucid loads. peers: a folder that benchmarks/peers.py made, whose model is
    then `model`. work: an empty folder. kernels: of the compiled backend, in place of the best that
    are here. -> who takes part, and what is missing, a line each.

    Raises InputError for a folder that is none of those, and for kernels that are not here.
    """
    loaded = checkpoint.load(model)
    small = checkpoint.load(SMALL)
    found, missing = [], []
    kinds = ["numpy float32"]
    try:
        get_backend("native")
        kinds += [f"native {dtype}" for dtype in NATIVE]
    except (InputError, ImportError) as error:
        missing.append(f"Pellucid native: {error}")
    else:
        _check(kernels)
    for kind in kinds:
        for each, name, label in ((loaded, model, ""), (small, SMALL, f", {SMALL}")):
            if label == "" and model == SMALL:
                continue  # the same once
            found.append(
                Contender(
                    name=f"Pellucid {kind}{label}",
                    engine="pellucid",
                    kind=f"{kind} {kernels}" if kernels and "native" in kind else kind,
                    python=Path(sys.executable),
                    model=name,
                    weights=_bytes(kind.split()[1], each.hparams),
                    small=bool(label),
                    trained=bool(label) or peers is None,
                )
            )
    if peers is None:
        return found, missing
    if not (peers / "models").is_dir():
        raise InputError(
            f"{peers} has no folder models: python benchmarks/peers.py {peers} makes it"
        )
    return [*found, *_peers(peers, work, missing)], missing


def _check(kernels: str | None) -> None:
    import pellucid_native

    if kernels is not None and kernels not in (here := pellucid_native.kernels()):
        raise InputError(f"there are no kernels {kernels!r} here, but {', '.join(here)}")


def _bytes(dtype: str, hparams: HParams) -> float:
    """Of the weights that one token reads: every linear map, and the output layer; of int8 and
    int4 the scales too."""
    branches = family_of(hparams).branches(hparams).values()
    linear = sum(math.prod(each.shape) for each in branches if each.kind == "linear")
    head = hparams.n_vocab * hparams.n_embd
    eight, four = 1 + 2 / 64, 0.5 + 2 / 32
    each = {"float32": (4.0, 4.0), "bfloat16": (2.0, 2.0)}
    each |= {"int8": (eight, eight), "int4": (four, eight)}
    return linear * each[dtype][0] + head * each[dtype][1]


def _peers(folder: Path, work: Path, missing: list[str]) -> Iterator[Contender]:
    for engine, (environment, models) in _PEERS.items():
        python = folder / environment / "bin" / "python"
        if not python.exists():
            missing.append(f"{engine}: there is no {python}")
            continue
        for kind, name, label in models:
            path = folder / "models" / name
            if not path.exists():
                missing.append(f"{engine} {label}: there is no {path}")
                continue
            yield Contender(
                name=f"{engine} {label}", engine=engine, kind=kind, python=python, model=str(path)
            )
        if engine == "llama.cpp":
            yield from _small(python, work, missing)


def _small(python: Path, work: Path, missing: list[str]) -> Iterator[Contender]:
    """The embedded model in llama.cpp's format."""
    path, small = work / f"{SMALL}.gguf", checkpoint.load(SMALL)
    try:
        checkpoint.save(
            path, small.hparams, small.tensors, small.tokenizer, format="gguf", dtype="q8_0",
            card=small.card, template=small.template, roles=small.roles,
        )  # fmt: skip
    except (CheckpointError, PellucidError) as error:
        missing.append(f"llama.cpp Q8_0, {SMALL}: {error}")
        return
    yield Contender(
        name=f"llama.cpp Q8_0, {SMALL}", engine="llama.cpp", kind="q8_0", python=python,
        model=str(path), small=True,
    )  # fmt: skip

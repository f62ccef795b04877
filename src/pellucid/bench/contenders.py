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
from ..errors import InputError, PellucidError
from ..families import family_of
from ..hparams import HParams

__all__ = ["ALL_INT4", "SMALL", "Contender", "find"]

SMALL = "chat"  # the embedded model, where the cost of a call decides
ALL_INT4 = "Pellucid native int4, table too"  # of embeddings, which is the output layer
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


_EIGHT, _FOUR = 1 + 2 / 64, 0.5 + 2 / 32
# Bytes of a linear map's number, and of the output layer's.
_BYTES = {"float32": (4.0, 4.0), "bfloat16": (2.0, 2.0), "int8": (_EIGHT, _EIGHT),
          "int4": (_FOUR, _EIGHT)}  # fmt: skip

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
    if "native int4" in kinds:
        found += _all_int4(loaded, work, kernels, missing)
    if peers is None:
        return found, missing
    if not (peers / "models").is_dir():
        raise InputError(
            f"{peers} has no folder models: python benchmarks/peers.py {peers} makes it"
        )
    return [*found, *_peers(peers, work, missing)], missing


def _all_int4(
    loaded: checkpoint.Checkpoint, work: Path, kernels: str | None, missing: list[str]
) -> Iterator[Contender]:
    """As `convert --dtype q4_0 --embeddings q4_0` writes it: how fast it is does not depend on how
    well it was rounded."""
    path = work / "q4_0.gguf"
    try:
        _save(path, loaded, dtype="q4_0", embeddings="q4_0")
    except PellucidError as error:
        missing.append(f"{ALL_INT4}: {error}")
        return
    linear, head = _linear_and_head(loaded.hparams)
    yield Contender(
        name=ALL_INT4,
        engine="pellucid",
        kind=f"native int4 {kernels}" if kernels else "native int4",
        python=Path(sys.executable),
        model=str(path),
        weights=_BYTES["int4"][0] * (linear + head),
    )


def _check(kernels: str | None) -> None:
    import pellucid_native

    if kernels is not None and kernels not in (here := pellucid_native.kernels()):
        raise InputError(f"there are no kernels {kernels!r} here, but {', '.join(here)}")


def _bytes(dtype: str, hparams: HParams) -> float:
    """Of the weights that one token reads: every linear map, and the output layer; of int8 and
    int4 the scales too."""
    linear, head = _linear_and_head(hparams)
    return linear * _BYTES[dtype][0] + head * _BYTES[dtype][1]


def _linear_and_head(hparams: HParams) -> tuple[int, int]:
    """Numbers of all linear maps, and of the output layer."""
    branches = family_of(hparams).branches(hparams).values()
    linear = sum(math.prod(each.shape) for each in branches if each.kind == "linear")
    return linear, hparams.n_vocab * hparams.n_embd


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
    path = work / f"{SMALL}.gguf"
    try:
        _save(path, checkpoint.load(SMALL), dtype="q8_0")
    except PellucidError as error:
        missing.append(f"llama.cpp Q8_0, {SMALL}: {error}")
        return
    yield Contender(
        name=f"llama.cpp Q8_0, {SMALL}", engine="llama.cpp", kind="q8_0", python=python,
        model=str(path), small=True,
    )  # fmt: skip


def _save(path: Path, read: checkpoint.Checkpoint, *, dtype: str, **more: str) -> None:
    checkpoint.save(
        path, read.hparams, read.tensors, read.tokenizer, format="gguf", dtype=dtype,
        card=read.card, template=read.template, roles=read.roles, **more,
    )  # fmt: skip

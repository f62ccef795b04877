"""The rounds: each contender in a fresh process, in an order that turns, and the memory's speed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import numpy as np

from ..backend import get_backend
from ..errors import InputError
from .contenders import Contender
from .passages import passages

__all__ = ["Results", "measure"]

HERE = Path(__file__).parent
_BUFFER = 256  # MiB that are read for the memory's speed: no cache holds them
_LONGEST = 1800  # seconds of one process


@dataclass(slots=True, kw_only=True)
class Results:
    """figures: contender -> figure -> one number a round (`worker.figures`; cold_s from outside).
    tokens: contender -> what it predicted. memory: GB/s on all threads, one a round. missing: what
    could not take part or failed, a line each."""

    model: str
    threads: int
    processor: str
    rounds: int = 0
    memory: list[float] = field(default_factory=list)
    memory_by: str = ""
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    tokens: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def middle(self, contender: str, figure: str) -> float | None:
        """The median over the rounds, or None where it was not measured."""
        values = self.figures.get(contender, {}).get(figure)
        return median(values) if values else None

    @property
    def speed(self) -> float:
        """GB/s, the median."""
        return median(self.memory)


def measure(
    contenders: Sequence[Contender],
    *,
    model: str,
    rounds: int,
    threads: int | None,
    work: Path,
    missing: Sequence[str] = (),
    kernels: str | None = None,
    text: Path | None = None,
    on_progress: Callable[[int, str], None] | None = None,
) -> Results:
    """rounds: of all contenders. threads: None is as many as there are cores. work: a folder to
    work in. kernels: those that `find` was told. text: a file that evaluation reads, from whose
    texts speculation goes on.
    on_progress: called with the round and the contender that is about to run.

    A contender that fails is left out from then on, and named in `missing`.
    Raises InputError where there are no rounds, and for a file of texts that cannot be read.
    """
    if rounds < 1:
        raise InputError(f"there must be at least 1 round, not {rounds}")
    threads = get_backend("numpy", threads=threads).threads  # type: ignore[attr-defined]
    processor = _processor() + (f", with the kernels for {kernels}" if kernels else "")
    results = Results(
        model=model, threads=threads, processor=processor, rounds=rounds, missing=list(missing)
    )
    results.weights = {each.name: each.weights for each in contenders if each.weights is not None}
    texts = None
    if text is not None:
        texts = work / "texts.json"
        texts.write_text(json.dumps(passages(text)), "utf-8")
    limits = _limits(work)
    results.memory_by = (
        "read by a C program" if limits is not None else "read by numpy, as there is no C compiler"
    )
    failed: set[str] = set()
    for number in range(rounds):
        results.memory.append(_memory(limits, threads))
        turn = number % max(1, len(contenders))
        for each in [*contenders[turn:], *contenders[:turn]]:
            if each.name in failed:
                continue
            if on_progress is not None:
                on_progress(number, each.name)
            try:
                _one(each, threads, results, texts)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                failed.add(each.name)
                results.missing.append(f"{each.name}: {_why(error)}")
    return results


def _one(each: Contender, threads: int, results: Results, texts: Path | None) -> None:
    words = [str(texts)] if texts is not None and each.trained else []
    found, _ = _run(each, threads, ["all", *words])
    cold, seconds = _run(each, threads, ["cold"])
    table = results.figures.setdefault(each.name, {})
    for name, value in (found | cold | {"cold_s": seconds}).items():
        if isinstance(value, list):
            results.tokens.setdefault(each.name, {})[name] = value
        else:
            table.setdefault(name, []).append(float(value))


def _run(each: Contender, threads: int, part: list[str]) -> tuple[dict[str, Any], float]:
    """-> what it printed, and the seconds from the process's start to its line."""
    command = [each.python, HERE / "worker.py", each.engine, each.model, each.kind, threads, *part]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if each.engine != "pellucid":
        environment.pop("PYTHONPATH", None)
    start = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True, text=True, env=environment, timeout=_LONGEST, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found = json.loads(done.stdout.splitlines()[-1])
    if not isinstance(found, dict):
        raise ValueError(f"printed {done.stdout[-200:]!r}")
    return found, seconds


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    lines = said.strip().splitlines() if isinstance(said, str) else []
    return lines[-1][:300] if lines else str(error)[:300]


def _processor() -> str:
    """Its name, and the wide instructions that it has."""
    path = Path("/proc/cpuinfo")
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    lines = {
        key.strip(): value.strip()
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    }
    flags = set(lines.get("flags", "").split())
    wide = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
            if name in flags]  # fmt: skip
    name = lines.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(wide)})" if wide else name


def _limits(work: Path) -> Path | None:
    """limits.c, compiled, where there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = work / "limits"
    command = [compiler, "-O3", "-march=native", "-pthread", HERE / "limits.c", "-o", program]
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    return program if done.returncode == 0 else None


def _memory(limits: Path | None, threads: int) -> float:
    """GB/s that so many threads read."""
    if limits is not None:
        done = subprocess.run(
            [str(limits), str(threads), str(_BUFFER), "9"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout)
    numbers = np.ones((threads, (_BUFFER << 20) // 8 // threads), np.float64)
    speeds = []
    for _ in range(5):
        readers = [Thread(target=row.sum) for row in numbers]
        start = time.perf_counter()
        for each in readers:
            each.start()
        for each in readers:
            each.join()
        speeds.append(numbers.nbytes / 1e9 / (time.perf_counter() - start))
    return median(speeds)

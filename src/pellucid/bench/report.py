"""The table of a run, what Pellucid reaches in it beside the best peer, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import new_file, write_file
from .contenders import ALL_INT4, SMALL
from .rounds import Results

__all__ = ["Claim", "claims", "markdown", "write"]

# figure -> its column, and whether less is better
COLUMNS = {
    "decode_32": ("ms/token, context 32", True),
    "decode_896": ("ms/token, context 896", True),
    "first_512": ("first token of 512, ms", True),
    "first_1023": ("first token of 1023, ms", True),
    "streams_8": ("8 streams, tokens/s", False),
    "cold_s": ("cold start to first token, s", True),
    "cold_mib": ("memory of that, MiB", True),
    "peak_mib": ("peak memory, MiB", True),
    "recorded_ms": ("every value recorded, ms/token", True),
    "speculation": ("speculation on text, times as fast", False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One point of the comparison. ours: the best of these that took part. peers: the best of
    those whose names begin so; "itself" is another figure of ours (`than`), "plain" 1, where the
    figure is a ratio already. ratio: what is to be reached."""

    point: str
    figure: str
    ours: tuple[str, ...]
    peers: tuple[str, ...]
    ratio: float
    than: str | None = None


_INT8 = ("Pellucid native int8", "Pellucid numpy float32")
_INT4 = ("Pellucid native int4", ALL_INT4, "Pellucid numpy float32")
_F32 = ("Pellucid native float32", "Pellucid numpy float32")
_BF16 = ("Pellucid native bfloat16", "Pellucid numpy float32")
_EVERY = ("llama.cpp", "CTranslate2", "OpenVINO", "transformers")

CLAIMS = (
    Claim(point="decode int8, context 32", figure="decode_32", ours=_INT8,
          peers=("llama.cpp Q8_0",), ratio=1.5),
    Claim(point="decode int4, context 32", figure="decode_32", ours=_INT4,
          peers=("llama.cpp Q4_0",), ratio=1.4),
    Claim(point="decode float32, context 32", figure="decode_32", ours=_F32,
          peers=("llama.cpp F32",), ratio=1.0),
    Claim(point="decode bfloat16, context 32", figure="decode_32", ours=_BF16,
          peers=("llama.cpp BF16",), ratio=1.1),
    Claim(point="decode int8, context 896", figure="decode_896", ours=_INT8,
          peers=("llama.cpp Q8_0",), ratio=1.4),
    Claim(point="first token of 512", figure="first_512", ours=_INT8, peers=_EVERY, ratio=1.3),
    Claim(point="first token of 1023", figure="first_1023", ours=_INT8, peers=_EVERY, ratio=1.3),
    Claim(point="8 streams", figure="streams_8", ours=(*_INT8, *_INT4), peers=_EVERY, ratio=2.0),
    Claim(point="cold start", figure="cold_s", ours=_INT8, peers=_EVERY, ratio=1.0),
    Claim(point="memory of a cold start", figure="cold_mib", ours=_INT8, peers=_EVERY, ratio=1.0),
    Claim(point="every value recorded, beside plain decode", figure="recorded_ms", ours=_F32,
          peers=("itself",), ratio=1 / 1.5, than="decode_32"),
    Claim(point="every value recorded, beside llama.cpp plain", figure="recorded_ms", ours=_F32,
          peers=("llama.cpp F32",), ratio=1.0, than="decode_32"),
    Claim(point=f"the embedded model {SMALL}", figure="decode_32",
          ours=tuple(f"{name}, {SMALL}" for name in _INT8),
          peers=(f"llama.cpp Q8_0, {SMALL}",), ratio=1.0),
    Claim(point=f"speculation on text, {SMALL}", figure="speculation",
          ours=tuple(f"{name}, {SMALL}" for name in (*_F32, *_INT8)), peers=("plain",), ratio=1.5),
)  # fmt: skip


def claims(results: Results) -> Iterator[dict[str, Any]]:
    """Each point -> ours, its figure, the peer, its figure, the ratio (above 1: ours is better) and
    what is to be reached; None where nobody was there to compare with."""
    for claim in CLAIMS:
        than = claim.than or claim.figure
        less = COLUMNS[claim.figure][1]
        better = min if less else max
        own: dict[str, float] = {}
        for name in claim.ours:
            if value := results.middle(name, claim.figure):
                own[name] = value
        ours = better(own, key=own.__getitem__) if own else None
        mine = None if ours is None else own[ours]
        known: dict[str, float] = {"plain": 1.0} if claim.peers == ("plain",) else {}
        others = [ours] if claim.peers == ("itself",) else _named(results, claim)
        for other in others:
            if other is not None and (value := results.middle(other, than)):
                known[other] = value
        row: dict[str, Any] = {"point": claim.point, "ours": ours, "figure": mine,
                               "peer": None, "theirs": None, "ratio": None,
                               "to reach": claim.ratio}  # fmt: skip
        if known and mine:
            best = better(known, key=known.__getitem__)
            ratio = known[best] / mine if less else mine / known[best]
            row |= {"peer": best, "theirs": known[best], "ratio": ratio}
        yield row


def _named(results: Results, claim: Claim) -> list[str]:
    """Peers of the same model."""
    small = claim.point.endswith(SMALL)
    return [
        name
        for name in results.figures
        if name.startswith(claim.peers) and name.endswith(f", {SMALL}") == small
    ]


def markdown(results: Results) -> str:
    """The run as a page has it."""
    lines = [
        f"{results.processor}, {results.threads} threads, {results.model}; medians of "
        f"{results.rounds} rounds, each engine in a fresh process, in turns. The memory meanwhile: "
        f"{results.speed:.1f} GB/s, {results.memory_by}.",
        "",
    ]
    shown = [name for name in COLUMNS if any(name in each for each in results.figures.values())]
    lines.append("| | " + " | ".join(COLUMNS[name][0] for name in shown) + " |")
    lines.append("|---" * (1 + len(shown)) + "|")
    for contender in results.figures:
        cells = (_number(results.middle(contender, name)) for name in shown)
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    lines += ["", "| point | ours | best peer | ratio | to reach |", "|---|---|---|---|---|"]
    for row in claims(results):
        ratio = "–" if row["ratio"] is None else format(row["ratio"], ".2f")
        lines.append(
            f"| {row['point']} | {row['ours'] or 'not here'}: {_number(row['figure'])} | "
            f"{row['peer'] or 'none here'}: {_number(row['theirs'])} | {ratio} | "
            f"{row['to reach']:.2f} |"
        )
    lines += ["", "| | GB/s of weights read in a token | of the memory's speed |", "|---|---|---|"]
    for contender, n_bytes in results.weights.items():
        if contender.endswith(f", {SMALL}"):
            continue  # it lies in the processor's caches
        if milliseconds := results.middle(contender, "decode_32"):
            speed = n_bytes / 1e6 / milliseconds
            lines.append(f"| {contender} | {speed:.1f} | {speed / results.speed:.0%} |")
    lines += _agreement(results)
    if results.missing:
        lines += ["", "Not in this run:", ""] + [f"- {line}" for line in results.missing]
    return "\n".join(lines) + "\n"


def _agreement(results: Results) -> list[str]:
    """How many of the tokens after context 32 are those of our own plain float32, one by one."""
    plain = results.tokens.get("Pellucid numpy float32", {}).get("tokens_32")
    if plain is None:
        return []
    counts = []
    for contender, tokens in results.tokens.items():
        if contender != "Pellucid numpy float32" and not contender.endswith(f", {SMALL}"):
            pairs = zip(plain, tokens.get("tokens_32", []), strict=False)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(plain))
            counts.append(f"{contender} {same}")
    if not counts:
        return []
    return ["", f"First tokens, of {len(plain)}, as Pellucid numpy float32 has them: "
            f"{', '.join(counts)}."]  # fmt: skip


def write(results: Results, folder: Path) -> list[Path]:
    """speed.json, every number; speed.md, the tables, between marks where a page has them; and
    speed.png where matplotlib is installed -> what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "speed.json", folder / "speed.md"]
    write_file(paths[0], json.dumps(asdict(results), indent=1).encode())
    page = paths[1].read_text("utf-8") if paths[1].exists() else f"# Speed\n\n{BEGIN}\n{END}\n"
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{paths[1]} lacks the lines {BEGIN!r} and {END!r}: its tables go between")
    picture, shown = folder / "speed.png", ""
    if draw(results, picture):
        paths.append(picture)
        shown = "![Milliseconds a token of every engine](speed.png)\n\n"
    text = f"{before}{BEGIN}\n{shown}{markdown(results)}{END}{after}"
    write_file(paths[1], text.encode())
    return paths


BEGIN, END = "<!-- bench: pellucid bench --out docs -->", "<!-- end of bench -->"


def draw(results: Results, path: Path) -> bool:
    """Milliseconds a token of every contender, and the memory's floor -> whether matplotlib is
    there to draw."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = [name for name in results.figures if results.middle(name, "decode_32")
             and not name.endswith(SMALL)]  # fmt: skip
    names.sort(key=lambda name: results.middle(name, "decode_32") or 0.0, reverse=True)
    figure = Figure(figsize=(8, 1.5 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    for at, name in enumerate(names):
        own = name.startswith("Pellucid")
        short, long = (results.middle(name, f"decode_{n}") for n in (32, 896))
        axes.barh(at, short or 0.0, 0.7, color="#0072b2" if own else "#b0b0b0")
        if long is not None:
            axes.plot([long], [at], "|", color="#333333", markersize=12, mew=2)
        if own and name in results.weights:
            floor = results.weights[name] / 1e6 / results.speed
            axes.plot([floor], [at], "D", color="#d55e00", markersize=5)
    axes.plot([], [], "|", color="#333333", markersize=12, mew=2, label="at context 896")
    axes.plot([], [], "D", color="#d55e00", label="its weights, read once as memory allows")
    axes.legend(frameon=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("milliseconds a token, at context 32")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    with new_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    return True


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

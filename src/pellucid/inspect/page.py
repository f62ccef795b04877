"""Findings as one self-contained HTML document, and as rich output in a notebook.

Python says which pictures a finding needs and hands over their numbers; web/ draws them. Nothing
is fetched: scripts and styles stand in the document, and its own policy forbids any request.
A notebook gets the same document in a frame of its own, so that several cannot clash, whether or
not the notebook runs scripts in its outputs.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from functools import cache, singledispatch
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from ..sampling import softmax
from ..taps import TAPS
from .ablation import Ablation, Sweep
from .attention import HEAD_KINDS, AttentionSummary, HeadLabel, HeadLabels
from .attribution import Attribution
from .finding import Finding
from .gradients import TokenGradients
from .lens import LogitLens
from .neighbours import Neighbours
from .patching import Patching
from .steering import Steered
from .trace import Cost, Trace
from .view import Prediction, ResidualNorms, View
from .why import Why

__all__ = ["FRAGMENT_BYTES", "PAGE_BYTES", "fragment", "page"]

PAGE_BYTES = 8 << 20  # of numbers, before base64
FRAGMENT_BYTES = 4 << 20  # marimo shows outputs of up to 8 MB
# In the order in which they need each other; the browser gets them as one module.
_SCRIPTS = (
    "numbers.js", "colour.js", "sampling.js", "elements.js", "heat.js", "bars.js", "heads.js",
    "lens.js", "distribution.js", "values.js", "page.js",
)  # fmt: skip
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_Picture = dict[str, Any]
_Section = dict[str, Any]


def page(findings: Sequence[Finding] | Finding, *, title: str = "Pellucid") -> str:
    """One HTML document that shows the findings, one after another, anywhere and offline.

    Of patterns and traces it holds at most PAGE_BYTES of numbers; what was left out, and how to
    get it, is said on the page.
    """
    shown = [findings] if isinstance(findings, Finding) else list(findings)
    return _document(shown, title, PAGE_BYTES, embedded=False)


def fragment(finding: Finding) -> str:
    """The same for a notebook's output: a frame that holds a whole document.

    Its lines are joined, because marimo joins them (which is why web/ has no // comments).
    """
    document = _document([finding], type(finding).__name__, FRAGMENT_BYTES, embedded=True)
    return (
        f'<iframe title="Pellucid: {type(finding).__name__}" loading="lazy" '
        'style="width:100%;height:420px;border:0;color-scheme:normal" '
        f'srcdoc="{escape(document).replace(chr(10), "&#10;")}"></iframe>'
    )


def _document(findings: list[Finding], title: str, n_bytes: int, *, embedded: bool) -> str:
    numbers = _Numbers(n_bytes)
    sections = [section for finding in findings for section in _sections(finding, numbers)]
    content = {"title": title, "embedded": embedded, "sections": sections}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # A lone surrogate, from half a character, cannot be written as UTF-8.
    text = text.encode("utf-8", "replace").decode()
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_file('page.css')}</style>",
            '<body><main id="main"><noscript>This page draws its pictures with JavaScript, all '
            "of it inside this file: please allow it.</noscript></main>",
            f'<script type="application/json" id="findings">{text}</script>',
            f'<script type="module">{_script()}</script>',
            "</html>",
            "",
        )
    )


@cache
def _file(name: str) -> str:
    return (files(__package__) / "web" / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """The modules as one: their own imports and exports are no longer needed."""
    joined = "\n".join(_file(name) for name in _SCRIPTS)
    joined = re.sub(r"^import [^;]*;\n", "", joined, flags=re.MULTILINE)
    return re.sub(r"^export ", "", joined, flags=re.MULTILINE)


class _Numbers:
    """Arrays for the browser, and how many bytes of them there is still room for."""

    def __init__(self, n_bytes: int) -> None:
        self.room = n_bytes

    def __call__(self, array: Any) -> dict[str, Any]:
        values = np.asarray(array)
        if values.dtype.kind == "f":
            # Long ones rounded to 7 digits: nobody reads more, and they are half as large.
            wide = values.dtype.itemsize == 8 and values.nbytes <= 1 << 20
            values = values.astype("<f8" if wide else "<f4")
        elif values.dtype.kind in "iub":
            values = values.astype("<u2" if values.dtype == np.uint16 else "<i4")
        self.room -= values.nbytes
        return {
            "shape": list(values.shape),
            "type": values.dtype.str[1:],
            "base64": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
        }


# What is shown of each finding


def _section(title: str, how: str, *pictures: _Picture, about: str = "", kind: str) -> _Section:
    """how: one line that says what is seen and how to read it."""
    return {"kind": kind, "title": title, "how": how, "about": about, "pictures": list(pictures)}


def _bars(numbers: _Numbers, labels: Sequence[str], values: Any, **more: Any) -> _Picture:
    """form: "number", "signed", "percent" or "bytes"; tokens: whether the labels are tokens."""
    return {"type": "bars", "labels": list(labels), "values": numbers(values), **more}


def _heat(
    numbers: _Numbers, values: Any, rows: Sequence[str], columns: Sequence[str], **more: Any
) -> _Picture:
    """values [row, column]. scale: "sequential" (from 0) or "diverging" (around 0)."""
    return {
        "type": "heat",
        "values": numbers(values),
        "rows": list(rows),
        "columns": list(columns),
        **more,
    }


def _tabs(caption: str, **pictures: _Picture) -> _Picture:
    return {"type": "tabs", "caption": caption, "pictures": pictures}


def _layers(n: int) -> list[str]:
    return [f"layer {i}" for i in range(n)]


def _heads(n: int) -> list[str]:
    return [f"head {i}" for i in range(n)]


def _after(tokens: Sequence[str], position: int) -> str:
    said = "".join(tokens[: position + 1])
    return said if len(said) <= 160 else f"…{said[-159:]}"


def _quoted(token: str) -> str:
    """As the page shows tokens: “·went”."""
    seen = token.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")
    return f"“{seen}”"


@singledispatch
def _sections(finding: Finding, numbers: _Numbers) -> list[_Section]:
    """Any other finding: its fields as text."""
    known = finding.to_dict()
    kind = known.pop("kind")
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)[:2000]}" for name, value in
             known.items()]  # fmt: skip
    return [_section(kind, "The answer's fields.", {"type": "text", "lines": lines}, kind=kind)]


@_sections.register
def _(finding: AttentionSummary, numbers: _Numbers) -> list[_Section]:
    picture, note = _patterns(finding, numbers)
    how = (
        "Every head as a small map: rows are the tokens that look (queries), columns the tokens "
        "looked at (keys). Choose one to enlarge it."
    )
    about = _after(finding.tokens, len(finding.tokens))
    section = _section("Attention heads", how, picture, about=about, kind="AttentionSummary")
    section["notes"] = [note] if note else []
    return [section]


def _patterns(finding: AttentionSummary, numbers: _Numbers) -> tuple[_Picture, str]:
    """-> (the picture, what was left out of it)"""
    n_layer, n_head, n = finding.pattern.shape[:3]
    itemsize = min(finding.pattern.dtype.itemsize, 4) if n > 64 else finding.pattern.dtype.itemsize
    picture: _Picture = {
        "type": "heads",
        "tokens": list(finding.tokens),
        "layers": list(finding.layers),
        "heads": list(finding.heads),
        "entropy": numbers(finding.entropy),
        "distance": numbers(finding.distance),
        "labels": {},
    }
    if n_layer * n_head * n * (n + 1) // 2 * itemsize <= numbers.room:
        below = np.tril_indices(n)  # keys that come later have no weight
        picture["pattern"] = numbers(finding.pattern[..., below[0], below[1]])
        return picture, ""
    k = min(n, max(1, numbers.room // (6 * n_layer * n_head * n)))
    keys = np.empty((n_layer, n_head, n, k), np.uint16 if n < 1 << 16 else np.int32)
    weights = np.empty(keys.shape, np.float32)
    for layer, head in np.ndindex(n_layer, n_head):
        rows = finding.pattern[layer, head]
        # The other way round, the many zeros of the upper triangle take four times as long.
        largest = np.argpartition(-rows, min(k, n - 1), axis=-1)[:, :k]
        keys[layer, head] = largest
        weights[layer, head] = np.take_along_axis(rows, largest, -1)
    picture["keys"], picture["weights"] = numbers(keys), numbers(weights)
    kept = float(weights.sum(-1, dtype=np.float64).mean())
    return picture, (
        f"{n} tokens in {n_layer * n_head} heads are too many weights for one page: of each query "
        f"only its {k} largest are here ({kept:.0%} of all attention). For every weight of some "
        "heads ask for them alone: attention(gpt, text, layers=3, heads=[0, 5])."
    )


@_sections.register
def _(finding: HeadLabels, numbers: _Numbers) -> list[_Section]:
    n_layer, n_head = next(iter(finding.scores.values())).shape
    pictures = {
        kind: _heat(
            numbers,
            scores,
            _layers(n_layer),
            _heads(n_head),
            scale="sequential",
            high=1,
            form="number",
            caption=f"Share of attention that goes to {HEAD_KINDS.get(kind, kind)}.",
            what="score",
        )
        for kind, scores in finding.scores.items()
    }
    lines = [f"L{x.layer}H{x.head}  {x.label}  {x.score:.3f}" for x in finding.labels]
    named = {"type": "list", "lines": lines or [f"No score reaches {finding.threshold}."]}
    how = (
        f"What each head does on {finding.period} random tokens said twice: the mean attention "
        f"that goes where a head of that kind looks. From {finding.threshold} on it gets the label."
    )
    return [_section("Head labels", how, _tabs("Score", **pictures), named, kind="HeadLabels")]


@_sections.register
def _(finding: HeadLabel, numbers: _Numbers) -> list[_Section]:
    line = f"Head {finding.head} of layer {finding.layer}: {finding.label}, {finding.score:.3f}"
    how = f"Share of attention that goes to {HEAD_KINDS.get(finding.label, finding.label)}."
    return [_section("Head label", how, {"type": "text", "lines": [line]}, kind="HeadLabel")]


@_sections.register
def _(finding: LogitLens, numbers: _Numbers) -> list[_Section]:
    texts = (text for layer in finding.top_tokens for tops in layer for text in tops)
    known = {int(i): text for i, text in zip(finding.top_ids.ravel(), texts, strict=True)}
    picture = {
        "type": "lens",
        "layers": list(finding.layers),
        "positions": list(finding.positions),
        "tokens": [finding.tokens[i] for i in finding.positions],
        "targets": list(finding.targets),
        "top": numbers(finding.top_ids),
        "logprobs": numbers(finding.top_logprobs),
        "target_logprobs": numbers(finding.target_logprobs),
        "target_ranks": numbers(finding.target_ranks),
        "entropy": numbers(finding.entropy),
        "divergence": numbers(finding.divergence),
        "texts": {str(i): text for i, text in known.items()},
    }
    how = (
        "What the model would predict if it ended after each layer. Columns are the tokens read "
        "so far, rows the layers (output on top); colour is probability."
    )
    about = _after(finding.tokens, len(finding.tokens))
    return [_section("Logit lens", how, picture, about=about, kind="LogitLens")]


def _target(target: str, versus: str | None) -> str:
    return _quoted(target) if versus is None else f"{_quoted(target)} over {_quoted(versus)}"


@_sections.register
def _(finding: Attribution, numbers: _Numbers) -> list[_Section]:
    n_layer, n_head = finding.heads.shape
    parts = finding.parts()
    own = {"embed": "embedding", "pos_embed": "position", "final norm bias": "final norm bias"}
    straight = [(own[name], value) for name, value in parts if name in own]
    by_layer = [*straight[:2], *zip(_layers(n_layer), finding.by_layer, strict=True), straight[2]]
    order = np.argsort([-abs(value) for _, value in parts], kind="stable")[:24]
    n = finding.position + 1
    strongest = sorted((parts[i] for i in order), key=lambda part: -part[1])
    signed = {"form": "signed", "signed": True}
    pictures = {
        "layer": _bars(
            numbers,
            [name for name, _ in by_layer],
            [value for _, value in by_layer],
            caption=f"Attention and MLP of each layer together. All bars sum to "
            f"{finding.total:.4f}.",
            **signed,
        ),
        "part": _bars(
            numbers,
            [name for name, _ in strongest],
            [value for _, value in strongest],
            caption=f"The {len(strongest)} largest of {len(parts)} parts, most in favour first.",
            **signed,
        ),
        "head": _heat(
            numbers,
            finding.heads,
            _layers(n_layer),
            _heads(n_head),
            scale="diverging",
            form="signed",
            what="share",
            caption="What each head writes towards it (blue) or against it (orange).",
        ),
        "MLP": _bars(
            numbers,
            _layers(n_layer),
            finding.mlps,
            caption="What each layer's MLP writes towards it or against it.",
            **signed,
        ),
        "token": {
            "type": "tokens",
            "tokens": list(finding.tokens[:n]),
            "values": numbers(finding.by_token[:n]),
            "form": "signed",
            "scale": "diverging",
            "caption": "What all heads together read from each token.",
        },
    }
    how = (
        f"The logit of {_target(finding.target, finding.versus)}, {finding.logit:.4f}, as the sum "
        "of what each part wrote. Blue, to the right: in favour; orange, to the left: against."
    )
    return [
        _section(
            "Direct logit attribution",
            how,
            _tabs("By", **pictures),
            about=_after(finding.tokens, finding.position),
            kind="Attribution",
        )
    ]


def _compared(
    numbers: _Numbers, rows: dict[int, str], finding: Ablation | Steered, *, caption: str
) -> _Picture:
    """rows: token → its text. Their probabilities before and after."""

    def probabilities(logits: np.ndarray) -> np.ndarray:
        return np.asarray(softmax(np.asarray(logits, np.float64))[list(rows)])

    return _bars(
        numbers,
        list(rows.values()),
        probabilities(finding.logits_before),
        after=numbers(probabilities(finding.logits_after)),
        form="percent",
        tokens=True,
        caption=caption,
    )


@_sections.register
def _(finding: Steered, numbers: _Numbers) -> list[_Section]:
    texts = {
        "type": "text",
        "lines": [
            f"As it is: {finding.prompt}{finding.text_without}",
            f"Steered: {finding.prompt}{finding.text}",
        ],
    }
    rows = {x.token: x.text for x in (*finding.before, *finding.after)}
    picture = _compared(
        numbers, rows, finding, caption="The first token. Outlined: as it is. Filled: steered."
    )
    how = (
        f"The way from {finding.away!r} to {finding.towards!r} added to the residual stream at "
        f"layer {finding.layer}, {finding.strength:g} times, beside the same without."
    )
    return [_section("Steering", how, texts, picture, about=finding.prompt, kind="Steered")]


@_sections.register
def _(finding: Ablation, numbers: _Numbers) -> list[_Section]:
    rows = {x.token: x.text for x in (*finding.before, *finding.after)}
    rows.setdefault(finding.target_id, finding.target)
    off = [f"L{layer}H{head}" for layer, head in finding.heads]
    off += [f"MLP {layer}" for layer in finding.mlps]
    off += [f"{_quoted(finding.tokens[i])} at {i}" for i in finding.positions]
    named = f"{', '.join(off[:12])}{' …' if len(off) > 12 else ''}" or "nothing"
    how = (
        f"The prediction with and without {named} ({finding.how} ablation): log-probability of "
        f"{_quoted(finding.target)} {finding.logprob_change:+.4f} nats, KL "
        f"{finding.divergence:.4f} nats."
    )
    picture = _compared(numbers, rows, finding, caption="Outlined: before. Filled: after.")
    about = _after(finding.tokens, finding.position)
    title = f"Without {off[0]}" if len(off) == 1 else f"Without {len(off)} parts"
    return [_section(title, how, picture, about=about, kind="Ablation")]


@_sections.register
def _(finding: Sweep, numbers: _Numbers) -> list[_Section]:
    n = finding.position + 1
    part = {"heads": "head", "mlps": "MLP", "positions": "token"}[finding.over]
    measures = {
        "log-probability": (finding.logprob_change, "diverging", "signed"),
        "logit": (finding.logit_change, "diverging", "signed"),
        "KL": (finding.divergence, "sequential", "number"),
    }
    captions = {
        "log-probability": f"Change of {_quoted(finding.target)}'s log-probability, in nats. "
        "Orange: less likely without it.",
        "logit": f"Change of {_quoted(finding.target)}'s logit. Orange: lower without it.",
        "KL": "How far the whole distribution moves: KL(before ‖ after), in nats.",
    }
    pictures: dict[str, _Picture] = {}
    for name, (values, scale, form) in measures.items():
        more = {"caption": captions[name], "form": form, "what": name}
        top = [f"then {_quoted(token)}" for token in finding.top_tokens]
        if finding.over == "heads":
            n_layer, n_head = values.shape
            pictures[name] = _heat(
                numbers, values, _layers(n_layer), _heads(n_head), scale=scale, texts=top, **more
            )
        elif finding.over == "mlps":
            pictures[name] = _bars(
                numbers,
                _layers(len(values)),
                values,
                signed=scale == "diverging",
                texts=top,
                **more,
            )
        else:
            pictures[name] = {
                "type": "tokens",
                "tokens": list(finding.tokens[:n]),
                "values": numbers(values),
                "scale": scale,
                "texts": top,
                **more,
            }
    how = (
        f"Each {part} ablated alone ({finding.how}): what that does to the prediction of "
        f"{_quoted(finding.target)} ({math.exp(finding.target_logprob):.2%} before)."
    )
    return [
        _section(
            f"Ablation of every {part}",
            how,
            _tabs("Show", **pictures),
            about=_after(finding.tokens, finding.position),
            kind="Sweep",
        )
    ]


@_sections.register
def _(finding: Patching, numbers: _Numbers) -> list[_Section]:
    n_layer, n = finding.metric.shape
    over_heads = finding.over == "heads"
    columns = _heads(n) if over_heads else list(finding.base_tokens)
    texts = None
    if not over_heads:
        pairs = zip(finding.source_tokens, finding.base_tokens, strict=True)
        texts = [
            f"{_quoted(source)} into {_quoted(base)}" if source != base else _quoted(base)
            for source, base in pairs
        ] * n_layer
    common: dict[str, Any] = {"tokens": not over_heads, "form": "number", "texts": texts}
    pictures = {
        "recovered": _heat(
            numbers,
            finding.recovered,
            _layers(n_layer),
            columns,
            scale="diverging",
            what="recovered",
            caption="0: as in the base. 1 (blue): the source's answer is back.",
            **common,
        ),
        "metric": _heat(
            numbers,
            finding.metric,
            _layers(n_layer),
            columns,
            scale="diverging",
            what="metric",
            caption=f"The logit of {_target(finding.target, finding.versus)} itself: "
            f"{finding.base_metric:.4f} in the base, {finding.source_metric:.4f} in the source.",
            **common,
        ),
    }
    if finding.source_metric == finding.base_metric:
        del pictures["recovered"]  # both agree: there is nothing to bring back
    what = "each head's output" if over_heads else "the residual stream at each position"
    how = (
        f"Into the run on the base, {what} is put as it was on the source, one place at a time. "
        "Where that brings the source's answer back, there the model holds it."
    )
    about = f"{''.join(finding.source_tokens)}  →  {''.join(finding.base_tokens)}"
    return [
        _section(
            "Activation patching", how, _tabs("Show", **pictures), about=about, kind="Patching"
        )
    ]


@_sections.register
def _(finding: Neighbours, numbers: _Numbers) -> list[_Section]:
    what = "cosine similarity" if finding.by == "cosine" else "dot product"
    picture = _bars(
        numbers,
        finding.tokens,
        finding.similarity,
        tokens=True,
        form="number",
        signed=bool((finding.similarity < 0).any()),
        caption=f"{what.capitalize()} with each token's embedding.",
    )
    how = "The tokens whose embeddings lie nearest to the vector, nearest first."
    return [_section("Nearest tokens", how, picture, kind="Neighbours")]


@_sections.register
def _(finding: TokenGradients, numbers: _Numbers) -> list[_Section]:
    n = finding.position + 1
    picture = {
        "type": "tokens",
        "tokens": list(finding.tokens[:n]),
        "values": numbers(finding.scores[:n]),
        "form": "signed",
        "scale": "diverging",
        "caption": "Blue: speaks for it. Orange: speaks against it.",
    }
    how = (
        f"Share of each token in the logit of {_target(finding.target, finding.versus)} "
        f"({finding.value:.4f}), by {finding.method}."
    )
    if finding.residue is not None and finding.baseline_value is not None:
        how += (
            f" The shares sum to the difference from the baseline "
            f"({finding.baseline_value:.4f}) up to {finding.residue:+.4f}."
        )
    about = _after(finding.tokens, finding.position)
    return [_section("Token gradients", how, picture, about=about, kind="TokenGradients")]


@_sections.register
def _(finding: Prediction, numbers: _Numbers) -> list[_Section]:
    picture = {
        "type": "distribution",
        "logits": numbers(finding.logits),
        "ids": list(finding.top_ids),
        "texts": list(finding.top_tokens),
    }
    how = (
        "What may follow, and how sampling bends it. Outlined: the model's own probabilities. "
        "Filled: after temperature, top-k and top-p, in this order."
    )
    about = _after(finding.tokens, finding.position)
    return [_section("Next token", how, picture, about=about, kind="Prediction")]


@_sections.register
def _(finding: ResidualNorms, numbers: _Numbers) -> list[_Section]:
    n_layer = len(finding.layers) - 1
    streams = ["embed", *(f"after {i}" for i in range(n_layer))]
    common: dict[str, Any] = {"scale": "sequential", "form": "number", "tokens": True}
    pictures = {
        "stream": _heat(
            numbers, finding.stream, streams, finding.tokens, what="norm", **common,
            caption="The stream as it leaves each layer.",
        ),
        "attention": _heat(
            numbers, finding.attention, _layers(n_layer), finding.tokens, what="norm", **common,
            caption="What each layer's attention adds to it.",
        ),
        "MLP": _heat(
            numbers, finding.mlps, _layers(n_layer), finding.tokens, what="norm", **common,
            caption="What each layer's MLP adds to it.",
        ),
    }  # fmt: skip
    how = (
        "How long each token's vector is at every layer (Euclidean norm). It usually grows; "
        "the first token's is often far longer than the rest."
    )
    about = _after(finding.tokens, len(finding.tokens))
    tabs = _tabs("Of", **pictures)
    return [_section("Residual stream", how, tabs, about=about, kind="ResidualNorms")]


@_sections.register
def _(finding: Cost, numbers: _Numbers) -> list[_Section]:
    picture = _bars(numbers, list(finding.by_value), list(finding.by_value.values()), form="bytes")
    how = f"What recording {finding.n_values} values takes: {finding.n_bytes:,} bytes."
    return [_section("Cost of a trace", how, picture, kind="Cost")]


@_sections.register
def _(finding: Trace, numbers: _Numbers) -> list[_Section]:
    rows, left_out = [], []
    room = numbers.room
    fits: dict[str, bool] = {}
    for name, array in sorted(finding.arrays.items(), key=lambda item: item[1].size):
        fits[name] = 4 * array.size <= room  # the small ones first: most values, fewest bytes
        room -= 4 * array.size if fits[name] else 0
    for name, array in finding.arrays.items():
        finite = array[np.isfinite(array)].astype(np.float64)
        if not finite.size:
            finite = np.zeros(1)
        counts = np.histogram(finite, 24)[0]
        layer = re.match(r"blocks\.(\d+)\.", name)
        info = TAPS.get(name if layer is None else name.replace(layer[0], "blocks.{i}.", 1))
        row = {
            "name": name,
            "axes": list(finding.axes(name)),
            "shape": list(array.shape),
            "formula": info.formula if info else "",
            "statistics": [finite.min(), finite.mean(), finite.max(), finite.std()],
            "histogram": counts.tolist(),
        }
        if fits[name]:
            row["values"] = numbers(array.astype(np.float32))
        else:
            left_out.append(name)
        rows.append(row)
    picture = {
        "type": "values",
        "rows": rows,
        "tokens": [finding.tokens[i] for i in finding.positions],
        "keys": list(finding.tokens),
        "heads": list(finding.heads),
    }
    how = (
        "Every value that was kept, in the order in which the model computes it. Choose one to "
        "look inside."
    )
    about = _after(finding.tokens, len(finding.tokens))
    section = _section("Trace", how, picture, about=about, kind="Trace")
    section["notes"] = [
        f"Statistics are here for all {len(rows)} values, the numbers themselves for "
        f"{len(rows) - len(left_out)}: the rest, such as {left_out[0]}, would make the page too "
        "large. Trace fewer (names, layers, heads, positions), or read them in Python: "
        f"trace[{left_out[0]!r}]."
    ] if left_out else []  # fmt: skip
    return [section]


@_sections.register
def _(finding: Why, numbers: _Numbers) -> list[_Section]:
    lines = {"type": "text", "lines": list(finding.sentences)}
    picture = {
        "type": "tokens",
        "tokens": list(finding.prompt_tokens),
        "values": numbers(finding.tokens_ablated.logprob_change),
        "form": "signed",
        "scale": "diverging",
        "what": "log-probability",
        "caption": "The prompt. Orange: without this token the prediction is less likely (nats).",
    }
    how = (
        f"Why {_quoted(finding.target)} ({finding.probability:.2%}), in sentences; the pictures "
        "behind them follow."
    )
    about = "".join(finding.prompt_tokens)
    found = [_section("Why", how, lines, picture, about=about, kind="Why")]
    behind: list[Finding | None] = [
        finding.heads_ablated, finding.attribution, finding.lens, finding.mlps_ablated,
        finding.without_tokens, finding.without_heads, finding.without_attention, finding.labels,
    ]  # fmt: skip
    for each in behind:
        if each is not None:
            found += _sections(each, numbers)
    return found


@_sections.register
def _(finding: View, numbers: _Numbers) -> list[_Section]:
    found = []
    others: list[Finding | None] = [
        finding.prediction, finding.lens, finding.attribution, finding.norms, finding.labels
    ]  # fmt: skip
    for each in others:
        if each is not None:
            found += _sections(each, numbers)
    # The patterns take what room there is left, but come second.
    heads = _sections(finding.attention, numbers)
    if finding.labels is not None:
        labels: dict[str, list[str]] = {}
        for label in finding.labels.labels:
            labels.setdefault(f"{label.layer},{label.head}", []).append(label.label)
        heads[0]["pictures"][0]["labels"] = labels
    return [found[0], *heads, *found[1:]]

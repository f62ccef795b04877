"""One picture for every kind of finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ..ablation import Ablation, Sweep
from ..attention import HEAD_KINDS, AttentionSummary, HeadLabel, HeadLabels
from ..attribution import Attribution
from ..finding import Finding, chosen
from ..gradients import TokenGradients
from ..lens import LogitLens
from ..neighbours import Neighbours
from ..patching import Patching
from ..steering import Steered
from ..trace import Cost, Trace, size
from ..view import Prediction, ResidualNorms, View
from ..why import Why
from .marks import (
    Page,
    bars,
    coloured,
    fitted,
    heatmap,
    label,
    lines,
    number,
    percent,
    thumbnails,
    whole_percent,
)

__all__ = ["Picture"]

_MOST_BARS = 12
_HEAD_LETTERS = {
    "previous token": "P",
    "duplicate token": "D",
    "induction": "I",
    "first token": "F",
    "self": "S",
}

_Lines = Iterator[Text]


class Picture:
    """A finding that rich can print, as wide as the console.

    position: whose row is shown, where a picture shows one query at a time.
    Raises TypeError for a kind of finding that has no picture.
    """

    def __init__(self, finding: Finding, *, position: int = -1) -> None:
        if type(finding) not in _PICTURES:
            raise TypeError(f"there is no picture of a {type(finding).__name__}")
        self.finding = finding
        self.position = position

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colour = console.color_system in ("256", "truecolor") and not console.no_color
        page = Page(max(20, options.max_width), colour)
        if isinstance(self.finding, AttentionSummary):
            drawn = _attention(self.finding, page, self.position)
        else:
            drawn = _PICTURES[type(self.finding)](self.finding, page)
        for line in drawn:
            line.no_wrap, line.overflow = True, "crop"
            yield line


def _title(text: str, page: Page) -> _Lines:
    yield from lines(text, page, "bold")


def _section(text: str, page: Page) -> _Lines:
    yield Text()
    yield from _title(text, page)


def _quoted(token: str) -> str:
    return f'"{label(token)}"'


def _said(tokens: Sequence[str], page: Page) -> str:
    """The end of a text, as much as reads well in one line."""
    text = "".join(tokens)
    most = max(16, page.width // 2)
    return repr(text if len(text) <= most else f"…{text[-most:]}")


def _place(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def _layers(n: int) -> list[str]:
    return [f"layer {i}" for i in range(n)]


def _numbered(tokens: Sequence[str]) -> list[str]:
    width = len(str(len(tokens) - 1))
    return [f"{i:>{width}} {label(token)}" for i, token in enumerate(tokens)]


def _strongest(values: np.ndarray, most: int) -> list[int]:
    """The places of the largest magnitudes, in their own order."""
    order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:most]
    return sorted(int(i) for i in order)


def _token_bars(
    tokens: Sequence[str], values: np.ndarray, page: Page, notes: Sequence[str] = ()
) -> _Lines:
    """The text on colours, then a bar for each token that has some weight."""
    yield from coloured(tokens, values, page, sign=True)
    shown = _strongest(values, 16)
    names = _numbered(tokens)
    rows = [(names[i], float(values[i])) for i in shown]
    yield from bars(rows, page, notes=[notes[i] for i in shown] if notes else ())
    if len(shown) < len(tokens):
        yield from lines(f"(the {len(shown)} strongest of {len(tokens)})", page, "dim")


# Values


def _cost(cost: Cost, page: Page) -> _Lines:
    yield from _title(f"{cost.n_values} values, {size(cost.n_bytes)}", page)
    rows = [(name, float(n)) for name, n in cost.by_value.items()]
    yield from bars(rows, page, form=lambda n: size(int(n)))


def _trace(trace: Trace, page: Page) -> _Lines:
    n = len(trace.positions)
    yield from _title(f"{len(trace)} values, {size(trace.n_bytes)}", page)
    where = "every position" if n == len(trace.ids) else f"{n} of {len(trace.ids)} positions"
    yield from lines(f"{_said(trace.tokens, page)}: {where}", page)
    if len(trace) == 1:
        ((name, values),) = trace.items()
        yield from _section(f"{name} [{', '.join(trace.axes(name))}]", page)
        yield from _one_value(trace, name, values, page)
        return
    yield Text()
    wide = page.width >= 60
    n_name = min(26, page.width - (27 if wide else 18))
    ends = f"{'lowest':>8} {'mean':>8} {'highest':>8}" if wide else f"{'lowest':>8} {'highest':>8}"
    yield Text(f"{'':{n_name}} {ends}{'  shape' * wide}", style="dim" * page.colour)
    for name, values in trace.items():
        finite = values[np.isfinite(values)].astype(np.float64)
        shown = [finite.min(), finite.mean(), finite.max()] if finite.size else [math.nan] * 3
        if not wide:
            del shown[1]
        line = fitted(name if wide else name.removeprefix("blocks."), n_name)
        line += "".join(f" {_brief(float(v)):>8}" for v in shown)
        if wide:
            line += "  " + fitted(_shape(values, trace.axes(name)), page.width - n_name - 29)
        yield Text(line.rstrip())
    streams = [name for name in trace if name.endswith("resid_post")]
    if streams:
        yield from _section("How long the residual stream is after each layer", page)
        norms = np.stack(
            [np.linalg.norm(trace[name].astype(np.float64), axis=-1) for name in streams]
        )
        tokens = [label(trace.tokens[i]) for i in trace.positions]
        names = [f"layer {name.split('.')[1]}" for name in streams]
        yield from heatmap(norms, names, tokens, page, sign=False)


def _shape(values: np.ndarray, axes: Sequence[str]) -> str:
    """ "7 position × 3 head × 4 d_k" """
    named = ["" if axis == "1" else f" {axis}" for axis in axes]
    sizes = [
        f"{n} ({name[1:]})" if "·" in name else f"{n}{name}"
        for n, name in zip(values.shape, named, strict=True)
    ]
    return " × ".join(sizes)


def _one_value(trace: Trace, name: str, values: np.ndarray, page: Page) -> _Lines:
    axes = trace.axes(name)
    tokens = [label(trace.tokens[i]) for i in trace.positions]
    names = {
        "position": tokens,
        "query": tokens,
        "key": [label(token) for token in trace.tokens[: values.shape[-1]]],
        "head": [f"head {i}" for i in trace.heads],
    }
    if "head" in axes and len(trace.heads) == 1:
        values = values.squeeze(axes.index("head"))
        axes = tuple(axis for axis in axes if axis != "head")
    if values.ndim == 3:
        if axes[-1] == "key" and (values >= 0).all():
            heads = zip(trace.heads, values, strict=True)
            yield from thumbnails([(f"head {i}", pattern) for i, pattern in heads], page)
            return
        yield from lines("(the length of each head's vector; --head opens one)", page, "dim")
        values = np.linalg.norm(values.astype(np.float64), axis=-1)
        axes = axes[:2]
    rows = names.get(axes[0], _place(len(values)))
    if len(rows) != len(values):  # a generation's logits: one row a step
        rows = rows[-len(values) :]
    columns = names.get(axes[1], _place(values.shape[1]))
    shown = np.where(np.isfinite(values), values, np.nan)
    fits = max(1, (page.width - 16) // 6)
    if axes[1] in names or shown.shape[1] <= fits:
        sign = bool((shown < 0).any())
        yield from heatmap(shown, rows, columns, page, sign=sign)
        return
    sign = bool((shown < 0).any())
    yield from heatmap(shown[:, :fits], rows, columns[:fits], page, sign=sign)
    yield from lines(f"(the first {fits} of {shown.shape[1]} numbers)", page, "dim")


def _brief(value: float) -> str:
    if value and not 0.001 <= abs(value) < 10000:
        return f"{value:.1e}"
    return number(value, 3 if abs(value) < 10 else 1)


# Reading out


def _lens(lens: LogitLens, page: Page) -> _Lines:
    n = len(lens.positions)
    yield from _title("What the model would say if it ended after each layer", page)
    if n == 1:
        yield from lines(f"after {_said(lens.tokens[: lens.positions[0] + 1], page)}", page)
        yield from _lens_at(lens, 0, page)
        return
    cell = 8 if page.colour else 12
    room = page.width - 6
    fits = max(1, room // (cell + 1))
    some = list(range(max(0, n - fits), n))
    if len(some) < n:
        yield from lines(f"(the last {len(some)} of {n} positions)", page, "dim")
    cell = max(cell, min(14, room // len(some) - 1))
    dim = "dim" if page.colour else ""

    def across(name: str, words: Sequence[str], style: str) -> Text:
        return Text(f"{name:<6}" + " ".join(fitted(w, cell) for w in words).rstrip(), style=style)

    yield across("reads", [label(lens.tokens[lens.positions[i]]) for i in some], dim)
    texts: list[list[str]] = []
    for layer in range(len(lens.layers)):
        row = []
        for i in some:
            token = label(lens.top_tokens[layer][i][0])
            share = percent(math.exp(lens.top_logprobs[layer, i, 0]))
            row.append(token if page.colour else fitted(token, cell - 6) + f"{share:>6}")
        texts.append(row)
    shares = np.exp(lens.top_logprobs[:, some, 0])
    names = [name if name == "embed" else f"L{name}" for name in lens.layers]
    for layer, name in enumerate(names):
        line = Text(f"{name:<6}")
        for at in range(len(some)):
            style = ""
            if page.colour:
                from . import palette

                style = palette.on(palette.magnitude(float(shares[layer, at])))
            line.append(fitted(texts[layer][at], cell), style=style)
            line.append(" ")
        line.rstrip()
        yield line
    yield across("text", [label(lens.targets[i]) for i in some], dim)
    if page.colour:
        from .marks import legend

        yield legend(1.0, False, True, page)
    yield from lines(
        "text: the token that really follows; at the end the model's own choice.", page, "dim"
    )


def _lens_at(lens: LogitLens, at: int, page: Page) -> _Lines:
    """One position: the likeliest token after each layer, and how the final one rises."""
    rows = []
    notes = []
    for layer, name in enumerate(lens.layers):
        rows.append((f"{name:<5}", math.exp(lens.target_logprobs[layer, at])))
        best = zip(lens.top_tokens[layer][at], lens.top_logprobs[layer, at], strict=True)
        said = [f"{label(token)} {percent(math.exp(p))}" for token, p in best]
        notes.append("  ".join(said[: 1 if page.width < 60 else 2 if page.width < 100 else 3]))
    yield from lines(f"the probability of {_quoted(lens.targets[at])}, and the likeliest", page)
    yield from bars(rows, page, form=percent, notes=notes, ends=(0.0, 1.0))


def _attribution(found: Attribution, page: Page) -> _Lines:
    over = "" if found.versus is None else f" rather than {_quoted(found.versus)}"
    yield from _title(f"Why {_quoted(found.target)}{over}: {found.logit:+.2f} logits", page)
    yield from lines(f"after {_said(found.tokens[: found.position + 1], page)}", page)
    yield from _section("What writes it, in logits", page)
    yield from _parts(found, page, _MOST_BARS)
    yield from _section("By layer: each head, the MLP, the output bias", page)
    table = np.column_stack([found.heads, found.mlps, found.attention_biases])
    columns = [*(f"H{i}" for i in range(found.heads.shape[1])), "MLP", "bias"]
    yield from heatmap(table, [f"L{i}" for i in range(len(table))], columns, page, sign=True)
    yield from _section("What the heads read, by token", page)
    seen = slice(found.position + 1)
    yield from _token_bars(found.tokens[seen], found.by_token[seen], page)


def _parts(found: Attribution, page: Page, most: int) -> _Lines:
    parts = found.parts()
    shown = _strongest(np.asarray([value for _, value in parts]), most)
    rows = [parts[i] for i in shown]
    rest = len(parts) - len(shown)
    if rest:
        rows.append((f"the other {rest}", found.total - sum(value for _, value in rows)))
    yield from bars(rows, page)
    yield Text(f"sum {number(found.total, 2, sign=True)}", style="bold")


def _prediction(found: Prediction, page: Page) -> _Lines:
    from ...sampling import softmax

    yield from _title(f"What comes after {_quoted(found.tokens[found.position])}", page)
    shares = softmax(np.asarray(found.logits, np.float64))
    top = zip(found.top_tokens[:10], found.top_ids[:10], strict=True)
    rows = [(label(token), float(shares[i])) for token, i in top]
    yield from bars(rows, page, form=percent, ends=(0.0, 1.0))


def _norms(found: ResidualNorms, page: Page) -> _Lines:
    yield from _title("How long the residual stream is after each layer", page)
    names = [name if name == "embed" else f"L{name}" for name in found.layers]
    tokens = [label(token) for token in found.tokens]
    yield from heatmap(found.stream, names, tokens, page, sign=False)


def _view(found: View, page: Page) -> _Lines:
    parts = [found.prediction, found.attention, found.lens, found.attribution, found.norms]
    for index, part in enumerate([*parts, *([found.labels] if found.labels else [])]):
        if index:
            yield Text()
        yield from _PICTURES[type(part)](part, page)


# Attention


def _attention(found: AttentionSummary, page: Page, position: int) -> _Lines:
    tokens = [label(token) for token in found.tokens]
    if len(found.layers) == len(found.heads) == 1:
        layer, head = found.layers[0], found.heads[0]
        yield from _title(f"Where head {head} of layer {layer} looks", page)
        yield from lines("Each row is a query; its shares over the keys sum to 1.", page, "dim")
        later = np.triu(np.ones((len(tokens), len(tokens)), bool), 1)
        shares = np.where(later, np.nan, found.pattern[0, 0])
        names = _numbered(found.tokens)
        yield from heatmap(shares, names, tokens, page, sign=False, most=1.0)
        return
    (query,) = chosen(position, len(tokens), "position")
    yield from _title(f"What {_quoted(found.tokens[query])} (position {query}) looks at most", page)
    best = found.strongest[:, :, query]
    short = [fitted(token, 7).rstrip() for token in tokens]
    shares = np.take_along_axis(found.pattern[:, :, query], best[..., None], -1)[..., 0]
    texts = [
        [
            tokens[int(key)] if page.colour else f"{short[int(key)]} {shares[i, j]:.0%}"
            for j, key in enumerate(row)
        ]
        for i, row in enumerate(best)
    ]
    rows = [f"L{i}" for i in found.layers]
    columns = [f"H{i}" for i in found.heads]
    yield from heatmap(
        shares, rows, columns, page, sign=False, most=1.0, texts=texts, percents=True
    )
    if found.pattern.shape[0] * found.pattern.shape[1] <= 24:
        yield from _section("Every query (down) and key (across)", page)
        squares = [
            (f"L{layer}H{head}", found.pattern[i, j])
            for i, layer in enumerate(found.layers)
            for j, head in enumerate(found.heads)
        ]
        yield from thumbnails(squares, page)
    else:
        yield from lines(
            "--layer 0 shows the heads of one layer, --head with it one head.", page, "dim"
        )


def _head_label(found: HeadLabel, page: Page) -> _Lines:
    said = f"Head {found.head} of layer {found.layer}: {found.label} ({found.score:.2f})"
    yield from lines(said, page)


def _head_labels(found: HeadLabels, page: Page) -> _Lines:
    yield from _title(
        f"What the heads do, measured on {found.period} random tokens and their repetition", page
    )
    stacked = np.stack([found.scores[kind] for kind in HEAD_KINDS])  # [kind, layer, head]
    best = stacked.argmax(0)
    letters = [_HEAD_LETTERS[kind] for kind in HEAD_KINDS]
    top = stacked.max(0)
    texts = [
        [
            (letters[best[i, j]] if top[i, j] >= found.threshold else "·")
            + f" {top[i, j] * 100:3.0f}"
            for j in range(top.shape[1])
        ]
        for i in range(top.shape[0])
    ]
    rows, columns = [f"L{i}" for i in range(len(top))], [f"H{i}" for i in range(top.shape[1])]
    yield from heatmap(top, rows, columns, page, sign=False, most=1.0, texts=texts, percents=True)
    yield from lines(
        f"Percent of the attention that goes where such a head looks; · below "
        f"{found.threshold:.0%}.",
        page,
        "dim",
    )
    yield Text()
    for kind, where in HEAD_KINDS.items():
        scored = sorted(
            ((float(s), (int(i), int(j))) for (i, j), s in np.ndenumerate(found.scores[kind])),
            key=lambda each: -each[0],
        )
        named = [f"L{i}H{j} {s:.2f}" for s, (i, j) in scored if s >= found.threshold][:6]
        said = ", ".join(named) or "none; the nearest is L{}H{} {:.2f}".format(
            *scored[0][1], scored[0][0]
        )
        yield from lines(f"{_HEAD_LETTERS[kind]}  {kind} ({where}): {said}", page, indent=3)


# Changing


def _ablation(found: Ablation, page: Page) -> _Lines:
    parts = [f"head {head} of layer {layer}" for layer, head in found.heads]
    parts += [f"the MLP of layer {layer}" for layer in found.mlps]
    parts += [f"{_quoted(found.tokens[i])} (position {i})" for i in found.positions]
    named = ", ".join(parts) or "nothing"
    if len(parts) > 6:
        named = f"{', '.join(parts[:5])} and {len(parts) - 5} more"
    yield from _title(f"Without {named} ({found.how} ablation)", page)
    yield from _before_after(found, page)


def _before_after(found: Ablation, page: Page) -> _Lines:
    yield from lines(f"after {_said(found.tokens[: found.position + 1], page)}", page)
    yield Text()
    yield from _compared(
        [("before", found.logits_before), ("after", found.logits_after)],
        {a.token: a.text for a in (*found.before, *found.after)} | {found.target_id: found.target},
        page,
    )
    after = found.target_logprob + found.logprob_change
    yield from lines(
        f"{_quoted(found.target)}: {percent(math.exp(found.target_logprob))} before, "
        f"{percent(math.exp(after))} after ({found.logprob_change:+.2f} nats, "
        f"{found.logit_change:+.2f} logits). KL {found.divergence:.2f} nats.",
        page,
    )


def _compared(
    columns: Sequence[tuple[str, np.ndarray]], texts: dict[int, str], page: Page
) -> _Lines:
    """Probabilities of some tokens, side by side."""
    from ...sampling import softmax
    from .marks import bar_of

    shares = [softmax(np.asarray(logits, np.float64)) for _, logits in columns]
    tokens = sorted(texts, key=lambda i: -max(float(p[i]) for p in shares))[:8]
    n_label = min(max(len(label(texts[i])) for i in tokens), max(8, page.width // 4), 16)
    room = max(8, (page.width - n_label) // len(columns) - 1)
    header = "".join(" " + fitted(name, room) for name, _ in columns).rstrip()
    yield Text(" " * n_label + header, style="dim" * page.colour)
    for i in tokens:
        line = Text(fitted(label(texts[i]), n_label))
        for p in shares:
            line.append(f" {percent(float(p[i])):>6} ")
            line.append(*bar_of(float(p[i]), min(30, room - 7), page))
            line.append(" " * max(0, room - 7 - min(30, room - 7)))
        line.rstrip()
        yield line


def _sweep(found: Sweep, page: Page) -> _Lines:
    what = {"heads": "each head", "mlps": "each MLP", "positions": "each token"}[found.over]
    share = percent(math.exp(found.target_logprob))
    yield from _title(f"What becomes of {_quoted(found.target)} ({share}) without {what}", page)
    yield from lines(
        f"after {_said(found.tokens[: found.position + 1], page)}; {found.how} ablation; change of "
        "the log-probability, in nats",
        page,
    )
    yield Text()
    says = [f"→ {label(token)}" for token in found.top_tokens]
    changed = [
        said if int(top) != found.target_id else ""
        for said, top in zip(says, found.top_ids.ravel(), strict=True)
    ]
    if found.over == "positions":
        seen = found.tokens[: found.position + 1]
        yield from _token_bars(seen, found.logprob_change, page, changed)
        return
    if found.over == "mlps":
        rows = list(
            zip(_layers(len(found.logprob_change)), found.logprob_change.tolist(), strict=True)
        )
        yield from bars(rows, page, notes=changed)
        return
    yield from _head_grid(found, page)
    yield from _section("The heads it needs most", page)
    n_head = found.divergence.shape[1]
    top = found.strongest(6)
    yield from bars(
        [(f"L{at[0]}H{at[1]}", change) for at, change in top],
        page,
        notes=[changed[at[0] * n_head + at[1]] for at, _ in top],
    )


def _head_grid(found: Sweep, page: Page) -> _Lines:
    n_layer, n_head = found.logprob_change.shape
    rows, columns = [f"L{i}" for i in range(n_layer)], [f"H{i}" for i in range(n_head)]
    yield from heatmap(found.logprob_change, rows, columns, page, sign=True)


def _patching(found: Patching, page: Page) -> _Lines:
    over = "" if found.versus is None else f" - logit({label(found.versus)})"
    yield from _title("Put into the base, how much of the source's answer comes back", page)
    yield from lines(f"source {_said(found.source_tokens, page)}: {found.source_metric:+.2f}", page)
    yield from lines(f"base   {_said(found.base_tokens, page)}: {found.base_metric:+.2f}", page)
    yield from lines(
        f"logit({label(found.target)}){over}; 0 % as the base, 100 % as the source", page
    )
    yield Text()
    recovered = found.recovered
    rows = [f"L{i}" for i in range(len(recovered))]
    if found.over == "heads":
        columns = [f"H{i}" for i in range(recovered.shape[1])]
    else:
        pairs = zip(found.source_tokens, found.base_tokens, strict=True)
        columns = [label(a) if a == b else f"{label(a)}/{label(b)}" for a, b in pairs]
    yield from heatmap(recovered, rows, columns, page, sign=True, most=1.0, percents=True)
    if np.isnan(recovered).all():
        yield from lines(
            "The two prompts give the same answer: there is nothing to bring back.", page
        )
        return
    yield from _section("Strongest", page)
    names = [
        f"L{at[0]}H{at[1]}" if found.over == "heads" else f"L{at[0]} {columns[at[1]]}"
        for at, _ in found.strongest()
    ]
    shares = [share for _, share in found.strongest()]
    yield from bars(list(zip(names, shares, strict=True)), page, form=whole_percent)


def _gradients(found: TokenGradients, page: Page) -> _Lines:
    over = "" if found.versus is None else f" rather than {_quoted(found.versus)}"
    yield from _title(f"{found.method}: which tokens speak for {_quoted(found.target)}{over}", page)
    yield from lines(f"logit {found.value:+.2f}", page)
    yield Text()
    seen = slice(found.position + 1)
    yield from _token_bars(found.tokens[seen], found.scores[seen], page)
    if found.residue is not None and found.baseline_value is not None:
        yield from lines(
            f"The shares sum to {found.scores.sum():+.3f}; the logit moves from "
            f"{found.baseline_value:+.3f} at the baseline to {found.value:+.3f} "
            f"(residue {found.residue:+.1e}: more --steps make it smaller).",
            page,
            "dim",
        )


def _neighbours(found: Neighbours, page: Page) -> _Lines:
    yield from _title(f"The nearest embeddings, by {found.by}", page)
    rows = [(label(t), float(s)) for t, s in zip(found.tokens, found.similarity, strict=True)]
    ends = (min(0.0, *(v for _, v in rows)), 1.0) if found.by == "cosine" else None
    yield from bars(rows, page, form=lambda v: number(v, 3), ends=ends)


def _steered(found: Steered, page: Page) -> _Lines:
    yield from _title(f"Steered at layer {found.layer}, strength {found.strength:g}", page)
    yield from lines(f"towards {found.towards!r}, away from {found.away!r}", page)
    for name, text in (("as it is", found.text_without), ("steered", found.text)):
        yield from _section(name, page)
        yield from lines(found.prompt + text, page)
    yield from _section("The first token", page)
    texts = {a.token: a.text for a in (*found.before, *found.after)}
    columns = [("as it is", found.logits_before), ("steered", found.logits_after)]
    yield from _compared(columns, texts, page)


# All together


def _why(found: Why, page: Page) -> _Lines:
    for sentence in found.sentences:
        yield from lines(sentence, page)
    tokens, sweep = found.prompt_tokens, found.tokens_ablated
    yield from _section("What comes next", page)
    rows = [(label(a.text), math.exp(a.logprob)) for a in found.alternatives]
    if all(a.token != found.target_id for a in found.alternatives):
        rows.append((label(found.target), found.probability))
    yield from bars(rows, page, form=percent, ends=(0.0, 1.0))
    yield from _section("Without each token: change of the log-probability, in nats", page)
    says = [
        f"→ {label(token)}" if int(top) != found.target_id else ""
        for token, top in zip(sweep.top_tokens, sweep.top_ids, strict=True)
    ]
    yield from _token_bars(tokens, sweep.logprob_change, page, says)
    yield from _section("Without each head", page)
    yield from _head_grid(found.heads_ablated, page)
    versus = found.attribution.versus
    over = "" if versus is None else f" rather than {_quoted(versus)}"
    yield from _section(f"What writes {_quoted(found.target)}{over}, in logits", page)
    yield from _parts(found.attribution, page, 6)
    yield from _section("If it ended after each layer", page)
    yield from _lens_at(found.lens, 0, page)


_PICTURES: dict[type[Finding], Callable[[Any, Page], _Lines]] = {
    Ablation: _ablation,
    AttentionSummary: lambda found, page: _attention(found, page, -1),
    Attribution: _attribution,
    Cost: _cost,
    HeadLabel: _head_label,
    HeadLabels: _head_labels,
    LogitLens: _lens,
    Neighbours: _neighbours,
    Patching: _patching,
    Prediction: _prediction,
    ResidualNorms: _norms,
    Steered: _steered,
    Sweep: _sweep,
    TokenGradients: _gradients,
    Trace: _trace,
    View: _view,
    Why: _why,
}

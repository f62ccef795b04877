"""Why did it say that? The questions of this package, asked together and answered in sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..draw.notation import percent, written
from ..draw.pictures import Bars, Lines, Section, Tabs
from ..errors import InputError
from ..sequence import Alternative
from ..visible import on_one_line, quoted
from .ablations import Ablation, Sweep, ablate, ablate_each
from .attribution import Attribution, attribute
from .edits import Counter, Progress
from .finding import Finding, chosen, likeliest, read, shortened, token_name, whole
from .lens import LogitLens, logit_lens
from .patterns import HeadLabels, head_labels

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Why", "why"]

_MATTERS = 0.1  # nats: what changes a probability by less than a tenth is not worth a sentence
_MOST = 3  # tokens and heads named
_DIRECT = 0.1  # of the logit difference: a head that writes less to the output acts otherwise


@dataclass(frozen=True, kw_only=True, eq=False)
class Why(Finding):
    """The answer. sentences: plain English. probability, rank (from 0): of the target.

    tokens_ablated: each prompt token's embedding replaced by the vocabulary's mean, alone.
    heads_ablated, mlps_ablated: each replaced by its mean over the prompt, alone.
    important_positions, important_heads: whose ablation makes the target less likely, most
    first; at most three. without_tokens, without_heads: the most important token, and those
    heads together, ablated (None where none matters). without_attention: all heads together.
    attribution: of the target's lead over its best rival. labels: what the heads do; None where
    the window is too small to measure it.
    """

    prompt_ids: tuple[int, ...]
    prompt_tokens: tuple[str, ...]
    prompt: str
    target_id: int
    target: str
    probability: float
    rank: int
    alternatives: tuple[Alternative, ...]
    sentences: tuple[str, ...]
    attribution: Attribution
    lens: LogitLens
    tokens_ablated: Sweep
    heads_ablated: Sweep
    mlps_ablated: Sweep
    important_positions: tuple[int, ...]
    important_heads: tuple[tuple[int, int], ...]
    without_tokens: Ablation | None
    without_heads: Ablation | None
    without_attention: Ablation
    labels: HeadLabels | None

    @property
    def text(self) -> str:
        return " ".join(self.sentences)

    def sections(self) -> list[Section]:
        next_token = {each.text: math.exp(each.logprob) for each in self.alternatives}
        next_token.setdefault(self.target, self.probability)
        values, what, caption = self.tokens_ablated.shown()
        own = Section(
            kind="Why",
            title=f"Why {quoted(self.target)}",
            how=f"Its probability: {percent(self.probability)}. In sentences; the pictures behind "
            "them follow.",
            about=shortened(self.prompt),
            pictures=(
                Lines(lines=self.sentences),
                Bars(
                    labels=tuple(next_token),
                    values=np.asarray(list(next_token.values())),
                    form="percent",
                    tokens=True,
                    high=1.0,
                    caption="What comes next.",
                ),
                self.tokens_ablated.picture(values, f"Without each token. {caption}", what),
            ),
        )
        brief = [_folded(each) for each in self.attribution.sections()]
        details = [
            self.mlps_ablated, self.without_tokens, self.without_heads, self.without_attention,
            self.labels,
        ]  # fmt: skip
        aside = [
            replace(section, aside=True)
            for each in details
            if each is not None
            for section in each.sections()
        ]
        return [own, *self.heads_ablated.sections(), *brief, *self.lens.sections(), *aside]


def _folded(section: Section) -> Section:
    """Only the first of its tabs, where none can be chosen."""
    pictures = tuple(
        replace(each, unfolded=each.unfolded[:1]) if isinstance(each, Tabs) else each
        for each in section.pictures
    )
    return replace(section, pictures=pictures)


def why(
    gpt: GPT,
    prompt: str | Sequence[int],
    continuation: str | Sequence[int] | None = None,
    *,
    token: int = 1,
    labels: bool = True,
    progress: Progress | None = None,
) -> Why:
    """Which tokens and heads made the model say a token of `continuation` after `prompt`, and
    what it would have said without them.

    continuation: default the likeliest token. token: which of its tokens is explained, the first
    is 1; those before it then belong to the prompt. labels: also measure what the heads do in
    general. progress: told (done, of how many) as the sweeps go on; what it raises ends it all.
    Raises InputError where the continuation has no such token.
    """
    if isinstance(continuation, str):
        following: list[int] | None = gpt.tokenizer.encode(continuation)
    else:
        following = None if continuation is None else gpt.encode(continuation)
    if following == []:
        raise InputError("the continuation is empty: name at least one token, or leave it out")
    n = len(following or [0])
    if not 1 <= token <= n:
        has = "1 token" if n == 1 else f"{n} tokens"
        raise InputError(f"the continuation has {has}: there is no token {token} of it")
    ids, tokens = read(gpt, [*gpt.encode(prompt), *(following or [])[: token - 1]])
    logits = gpt.logits(ids)[-1]
    target_id = int(logits.argmax()) if following is None else following[token - 1]
    chosen(target_id, gpt.hparams.n_vocab, "token")
    target, text = token_name(gpt, target_id), whole(gpt, ids)

    ranked = likeliest(gpt, logits, 6)
    rank = int((logits > logits[target_id]).sum())
    other = next((each.token for each in ranked if each.token != target_id), None)
    attribution = attribute(gpt, ids, target_id, versus=other)
    lens = logit_lens(gpt, ids, target_id, positions=-1)
    h = gpt.hparams
    counter = Counter(progress, len(ids) + h.n_layer * (h.n_head + 1))
    by_token = ablate_each(
        gpt, ids, "positions", how="mean", target=target_id, progress=counter.part
    )
    by_head = ablate_each(gpt, ids, "heads", how="mean", target=target_id, progress=counter.part)
    by_mlp = ablate_each(gpt, ids, "mlps", how="mean", target=target_id, progress=counter.part)
    positions = tuple(at[0] for at, change in by_token.strongest(_MOST) if change < -_MATTERS)
    heads = tuple((at[0], at[1]) for at, change in by_head.strongest(_MOST) if change < -_MATTERS)
    without_tokens = without_heads = at_zero = None
    if positions:
        without_tokens = ablate(gpt, ids, positions=positions[:1], how="mean", target=target_id)
    if heads:
        without_heads = ablate(gpt, ids, heads=heads, how="mean", target=target_id)
    else:  # what a head always writes, its mean has too: `ablate` would find what this does not
        by_zero = ablate_each(gpt, ids, "heads", target=target_id)
        (layer, head), change = by_zero.strongest(1)[0]
        if change < -_MATTERS:
            at_zero = ablate(gpt, ids, heads=[(layer, head)], target=target_id)
    every_head = [(layer, head) for layer, head in np.ndindex(*by_head.divergence.shape)]
    without_attention = ablate(gpt, ids, heads=every_head, how="mean", target=target_id)
    measured = None
    if labels and gpt.hparams.n_ctx >= 5 and gpt.hparams.n_vocab >= 3:
        measured = head_labels(gpt)

    probability = math.exp(by_head.target_logprob)
    sentences = [_prediction(text, target, probability, rank, ranked, target_id)]
    if n > 1:
        sentences.append(f"This is token {token} of {n} of the continuation.")
    sentences.append(_tokens(by_token, tokens, positions, without_tokens))
    sentences.append(
        _heads(by_head, heads, attribution, measured, without_heads or without_attention)
    )
    if at_zero is not None:
        sentences.append(_switched_off(at_zero))
    sentences.append(_parts(attribution))
    sentences.append(_layers(lens, target_id, target))
    return Why(
        prompt_ids=ids,
        prompt_tokens=tokens,
        prompt=text,
        target_id=target_id,
        target=target,
        probability=probability,
        rank=rank,
        alternatives=ranked,
        sentences=tuple(sentence for sentence in sentences if sentence),
        attribution=attribution,
        lens=lens,
        tokens_ablated=by_token,
        heads_ablated=by_head,
        mlps_ablated=by_mlp,
        important_positions=positions,
        important_heads=heads,
        without_tokens=without_tokens,
        without_heads=without_heads,
        without_attention=without_attention,
        labels=measured,
    )


def _prediction(
    text: str,
    target: str,
    probability: float,
    rank: int,
    ranked: Sequence[Alternative],
    target_id: int,
) -> str:
    others = [
        f"{quoted(each.text)} ({percent(math.exp(each.logprob))})"
        for each in ranked
        if each.token != target_id
    ]
    place = "its first choice" if rank == 0 else f"number {rank + 1} on its list"
    end = on_one_line(shortened(text, 60))
    return (
        f"After “{end}” the model gives {quoted(target)} a probability of "
        f"{percent(probability)}, {place}; other candidates are {_listed(others[:_MOST])}."
    )


def _tokens(
    sweep: Sweep, tokens: Sequence[str], positions: Sequence[int], without: Ablation | None
) -> str:
    if not positions or without is None:
        return "No single token of the prompt is needed for it."
    named = [
        f"{quoted(tokens[i])} (position {i}: {_times(float(sweep.logprob_change[i]))})"
        for i in positions
    ]
    first = without.after[0]
    return (
        f"It rests on {_listed(named)}. Without {quoted(tokens[positions[0]])} it would have said "
        f"{quoted(first.text)} ({percent(math.exp(first.logprob))})."
    )


def _heads(
    sweep: Sweep,
    heads: Sequence[tuple[int, int]],
    attribution: Attribution,
    labels: HeadLabels | None,
    without: Ablation,
) -> str:
    """without: those heads ablated together, or all there are where none of them matters alone."""
    first = without.after[0]
    still = "still " if first.token == sweep.target_id else ""
    instead = (
        f"it would {still}have said {quoted(first.text)} ({percent(math.exp(first.logprob))})."
    )
    if not heads:
        return (
            "No single attention head is needed for it, each replaced by its mean over the "
            f"prompt; without any, {instead}"
        )
    named = []
    for layer, head in heads:
        known = [] if labels is None else labels.at(layer, head)
        what = f", {_kind(known[0].label)}" if known else ""
        if abs(attribution.heads[layer, head]) >= _DIRECT * abs(attribution.logit):
            source = int(np.abs(attribution.sources[layer, head]).argmax())
            way = f"reads from {quoted(attribution.tokens[source])}"
        else:
            way = "works through later layers"
        named.append(
            f"head {head} of layer {layer} ({_times(float(sweep.logprob_change[layer, head]))}"
            f"{what}; {way})"
        )
    them = "this head" if len(heads) == 1 else "these heads"
    need = "matters most" if len(heads) == 1 else "matter most"
    return f"Of the attention heads {_listed(named)} {need}. Without {them} {instead}"


def _switched_off(ablation: Ablation) -> str:
    """Of a head whose mean does what it does, and whose absence is felt."""
    (layer, head), first = ablation.heads[0], ablation.after[0]
    return (
        f"Set to zero, head {head} of layer {layer} matters ({_times(ablation.logprob_change)}): "
        f"then it would have said {quoted(first.text)} ({percent(math.exp(first.logprob))})."
    )


def _parts(attribution: Attribution) -> str:
    """What writes most towards the target, in logits."""
    if attribution.versus is None:
        return ""
    ranked = sorted(attribution.parts(), key=lambda part: -part[1])[:_MOST]
    least = max(0.05, ranked[0][1] / 10)
    named = [
        f"{_spoken(name)} ({written(share, 'signed', 1)})"
        for name, share in ranked
        if share >= least
    ]
    lead = attribution.logit
    by = written(abs(lead)) if abs(lead) >= 0.005 else "less than 0.01"
    how = f"{'leads' if lead >= 0 else 'trails'} {quoted(attribution.versus)} by {by}"
    most = f"it owes most to {_listed(named)}" if named else "no part speaks for it"
    return f"In logits {quoted(attribution.target)} {how}; {most}."


def _layers(lens: LogitLens, target_id: int, target: str) -> str:
    first = lens.top_ids[:, 0, 0]  # [layer]
    if first[-1] != target_id:
        return f"Read out after each layer, it ends with {quoted(lens.top_tokens[-1][0][0])}."
    since = len(first) - 1
    while since > 0 and first[since - 1] == target_id:
        since -= 1
    if lens.layers[since] == "embed":
        return f"Read out after each layer, {quoted(target)} leads from the embeddings on."
    return f"Read out after each layer, {quoted(target)} leads from layer {lens.layers[since]} on."


def _spoken(part: str) -> str:
    """ "L1H2" -> "head 2 of layer 1" """
    if match := re.fullmatch(r"L(\d+)H(\d+)", part):
        return f"head {match[2]} of layer {match[1]}"
    if match := re.fullmatch(r"L(\d+) (.+)", part):
        return f"the {match[2]} of layer {match[1]}"
    spoken = {"embed": "the last token's embedding", "pos_embed": "its position's embedding"}
    return spoken.get(part, f"the {part}")


def _kind(label: str) -> str:
    article = "an" if label[0] in "aeiou" else "a"
    return f"{article} {label} head"


def _times(logprob_change: float) -> str:
    """What ablation did to the probability, in words."""
    factor = math.exp(-logprob_change)
    if factor >= 1e6:
        return "all but impossible without it"
    return f"{factor:,.{0 if factor >= 10 else 1}f} times less likely without it"


def _listed(words: Sequence[str]) -> str:
    if not words:
        return "none"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

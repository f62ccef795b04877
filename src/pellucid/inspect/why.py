"""Why did it say that? The questions of this package, asked together and answered in sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..sequence import Alternative
from .ablation import Ablation, Sweep, ablate, ablate_each
from .attention import HeadLabels, head_labels
from .attribution import Attribution, attribute
from .finding import Finding, chosen, likeliest, read
from .lens import LogitLens, logit_lens

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Why", "why"]

_MATTERS = 0.1  # nats: what changes a probability by less than a tenth is not worth a sentence
_MOST = 3  # tokens and heads named
_DIRECT = 0.1  # of the logit difference: a head that writes less to the output acts otherwise


@dataclass(frozen=True, eq=False)
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


def why(
    gpt: GPT,
    prompt: str | Sequence[int],
    continuation: str | Sequence[int] | None = None,
    *,
    labels: bool = True,
) -> Why:
    """Which tokens and heads made the model say `continuation` after `prompt`, and what it would
    have said without them.

    continuation: its first token is what is explained (default: the likeliest token).
    labels: also measure what the heads do in general.
    """
    ids, tokens = read(gpt, prompt)
    logits = gpt.logits(ids)[-1]
    following = None if continuation is None else gpt.encode(continuation)
    if following == []:
        raise InputError("the continuation is empty: name at least one token, or leave it out")
    target_id = int(logits.argmax()) if following is None else following[0]
    chosen(target_id, gpt.hparams.n_vocab, "token")
    target = gpt.tokenizer.decode([target_id])

    ranked = likeliest(gpt, logits, 6)
    rank = int((logits > logits[target_id]).sum())
    other = next((each.token for each in ranked if each.token != target_id), None)
    attribution = attribute(gpt, ids, target_id, versus=other)
    lens = logit_lens(gpt, ids, positions=-1)
    by_token = ablate_each(gpt, ids, "positions", how="mean", target=target_id)
    by_head = ablate_each(gpt, ids, "heads", how="mean", target=target_id)
    by_mlp = ablate_each(gpt, ids, "mlps", how="mean", target=target_id)
    positions = tuple(at[0] for at, change in by_token.strongest(_MOST) if change < -_MATTERS)
    heads = tuple((at[0], at[1]) for at, change in by_head.strongest(_MOST) if change < -_MATTERS)
    without_tokens = without_heads = None
    if positions:
        without_tokens = ablate(gpt, ids, positions=positions[:1], how="mean", target=target_id)
    if heads:
        without_heads = ablate(gpt, ids, heads=heads, how="mean", target=target_id)
    every_head = [(layer, head) for layer, head in np.ndindex(*by_head.divergence.shape)]
    without_attention = ablate(gpt, ids, heads=every_head, how="mean", target=target_id)
    measured = None
    if labels and gpt.hparams.n_ctx >= 5 and gpt.hparams.n_vocab >= 3:
        measured = head_labels(gpt)

    probability = math.exp(by_head.target_logprob)
    sentences = [_prediction(tokens, target, probability, rank, ranked, target_id)]
    if following is not None and len(following) > 1:
        sentences.append(
            f"The continuation has {len(following)} tokens; this is about the first, {target!r}."
        )
    sentences.append(_tokens(by_token, tokens, positions, without_tokens))
    sentences.append(
        _heads(by_head, heads, attribution, measured, without_heads or without_attention)
    )
    sentences.append(_parts(attribution))
    sentences.append(_layers(lens, target_id, target))
    return Why(
        ids,
        tokens,
        target_id,
        target,
        probability,
        rank,
        ranked,
        tuple(sentence for sentence in sentences if sentence),
        attribution,
        lens,
        by_token,
        by_head,
        by_mlp,
        positions,
        heads,
        without_tokens,
        without_heads,
        without_attention,
        measured,
    )


def _prediction(
    tokens: Sequence[str],
    target: str,
    probability: float,
    rank: int,
    ranked: Sequence[Alternative],
    target_id: int,
) -> str:
    others = [
        f"{each.text!r} ({_percent(math.exp(each.logprob))})"
        for each in ranked
        if each.token != target_id
    ]
    place = "its first choice" if rank == 0 else f"number {rank + 1} on its list"
    said = "".join(tokens)
    said = said if len(said) <= 60 else f"…{said[-59:]}"
    return (
        f"After {said!r} the model gives {target!r} a probability of {_percent(probability)}, "
        f"{place}; other candidates are {_listed(others[:_MOST])}."
    )


def _tokens(
    sweep: Sweep, tokens: Sequence[str], positions: Sequence[int], without: Ablation | None
) -> str:
    if not positions or without is None:
        return "No single token of the prompt is needed for it."
    named = [
        f"{tokens[i]!r} (position {i}: {_times(float(sweep.logprob_change[i]))})" for i in positions
    ]
    first = without.after[0]
    return (
        f"It rests on {_listed(named)}. Without {tokens[positions[0]]!r} it would have said "
        f"{first.text!r} ({_percent(math.exp(first.logprob))})."
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
    instead = f"it would {still}have said {first.text!r} ({_percent(math.exp(first.logprob))})."
    if not heads:
        return f"No single attention head is needed for it; without any, {instead}"
    named = []
    for layer, head in heads:
        known = [] if labels is None else labels.at(layer, head)
        what = f", {_kind(known[0].label)}" if known else ""
        if abs(attribution.heads[layer, head]) >= _DIRECT * abs(attribution.logit):
            source = int(np.abs(attribution.sources[layer, head]).argmax())
            way = f"reads from {attribution.tokens[source]!r}"
        else:
            way = "works through later layers"
        named.append(
            f"head {head} of layer {layer} ({_times(float(sweep.logprob_change[layer, head]))}"
            f"{what}; {way})"
        )
    which = "it" if len(heads) == 1 else "these"
    return f"Among the attention heads it needs {_listed(named)}. Without {which} {instead}"


def _parts(attribution: Attribution) -> str:
    """What writes most towards the target, in logits."""
    if attribution.versus is None:
        return ""
    ranked = sorted(attribution.parts(), key=lambda part: -part[1])[:_MOST]
    least = max(0.05, ranked[0][1] / 10)
    named = [f"{_spoken(name)} ({share:+.1f})" for name, share in ranked if share >= least]
    lead = attribution.logit
    how = f"{'leads' if lead >= 0 else 'trails'} {attribution.versus!r} by {abs(lead):.1f}"
    return f"In logits {attribution.target!r} {how}; most in its favour write {_listed(named)}."


def _layers(lens: LogitLens, target_id: int, target: str) -> str:
    first = lens.top_ids[:, 0, 0]  # [layer]
    if first[-1] != target_id:
        return f"Read out after each layer, it ends with {lens.top_tokens[-1][0][0]!r}."
    since = len(first) - 1
    while since > 0 and first[since - 1] == target_id:
        since -= 1
    if lens.layers[since] == "embed":
        return f"Read out after each layer, {target!r} leads from the embeddings on."
    return f"Read out after each layer, {target!r} leads from layer {lens.layers[since]} on."


def _spoken(part: str) -> str:
    """ "L1H2" -> "head 2 of layer 1" """
    if found := re.fullmatch(r"L(\d+)H(\d+)", part):
        return f"head {found[2]} of layer {found[1]}"
    if found := re.fullmatch(r"L(\d+) (.+)", part):
        return f"the {found[2]} of layer {found[1]}"
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


def _percent(probability: float) -> str:
    if probability >= 0.9995:
        return "over 99.9 %"
    return f"{probability:.1%}".replace("%", " %") if probability >= 0.001 else "under 0.1 %"


def _listed(words: Sequence[str]) -> str:
    if not words:
        return "none"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

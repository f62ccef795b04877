"""Ablation: switch parts off, or give them uninformative values, and see what changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..draw.notation import head_name, percent, written
from ..draw.pictures import Section
from ..errors import InputError
from ..sampling import log_softmax
from ..sequence import Alternative
from ..taps import table
from ..visible import quoted
from .edits import Counter, Edits, Progress, edited_copies
from .finding import (
    Finding,
    chosen,
    compared,
    effect,
    lead,
    likeliest,
    read,
    shortened,
    token_id,
    token_name,
    token_names,
    whole,
)
from .recorder import Recorder
from .sweep import Kind, Over, Sweep

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["Ablation", "Kind", "Over", "Sweep", "ablate", "ablate_each", "ablation"]

_KINDS = ("zero", "mean", "resample")
_Head = tuple[int, int]  # layer, head


@dataclass(frozen=True, kw_only=True, eq=False)
class Ablation(Finding):
    """What ablating some parts did to the prediction after `position`.

    text: up to there. before, after: the likeliest tokens. target: the token watched;
    target_logprob and target_lead (how far its logit is above all others' together) are before;
    logit_change, logprob_change (nats) and lead_change are after - before.
    divergence: KL(before ‖ after) in nats. logits_before, logits_after [n_vocab].
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    position: int
    how: Kind
    heads: tuple[_Head, ...]
    mlps: tuple[int, ...]
    positions: tuple[int, ...]
    target_id: int
    target: str
    target_logprob: float
    target_lead: float
    logit_change: float
    logprob_change: float
    lead_change: float
    divergence: float
    before: tuple[Alternative, ...]
    after: tuple[Alternative, ...]
    logits_before: np.ndarray
    logits_after: np.ndarray

    def sections(self) -> list[Section]:
        off = [head_name(layer, head) for layer, head in self.heads]
        off += [f"MLP {layer}" for layer in self.mlps]
        off += [f"{quoted(self.tokens[i])} at {i}" for i in self.positions]
        named = f"{', '.join(off[:12])}{' …' if len(off) > 12 else ''}" or "nothing"
        texts = {each.token: each.text for each in (*self.before, *self.after)}
        texts[self.target_id] = self.target
        was, now = (
            percent(math.exp(logprob))
            for logprob in (self.target_logprob, self.target_logprob + self.logprob_change)
        )
        return [
            Section(
                kind="Ablation",
                title=f"Without {off[0] if len(off) == 1 else f'{len(off)} parts'}",
                how=f"The prediction with and without {named} ({self.how} ablation). "
                f"{quoted(self.target)}: {was} before, {now} after "
                f"({written(self.logprob_change, 'signed')} nats). Its lead over all other tokens: "
                f"{written(self.target_lead, 'signed')} logits before, "
                f"{written(self.target_lead + self.lead_change, 'signed')} after. "
                f"KL {written(self.divergence)} nats.",
                about=shortened(self.text),
                pictures=(compared(texts, self.logits_before, self.logits_after),),
            )
        ]


def ablation(
    gpt: GPT,
    *,
    heads: Iterable[_Head] = (),
    mlps: Iterable[int] = (),
    positions: Iterable[int] = (),
    how: Kind = "zero",
    reference: str | Sequence[int] | None = None,
) -> Edits:
    """The tap that ablates, for one call, for `generate` or beside other taps (`compose`).

    heads: (layer, head) pairs, whose z is replaced. mlps: layers, whose mlp_out is replaced.
    positions: whose token embedding is replaced, from 0 within one pass (so not for `generate`,
    where every later pass begins anew).
    how: "zero"; "mean": by the mean over the reference text's positions; "resample": by the
    reference text's value at the same position, which begins anew when that text is shorter.
    reference: needed for mean and resample.
    """
    hparams, backend = gpt.hparams, gpt.model.backend
    pairs = _pairs(gpt, heads)
    layers = chosen(mlps, hparams.n_layer, "layer")
    at = tuple(positions)
    by_layer: dict[int, list[int]] = {}
    for layer, head in pairs:
        by_layer.setdefault(layer, []).append(head)
    names = [f"blocks.{layer}.attn.z" for layer in by_layer]
    names += [f"blocks.{layer}.mlp_out" for layer in layers] + (["embed"] if at else [])
    pools = _pools(gpt, names, how, reference)

    def all_of(pool: Array) -> Callable[[Array], Array]:
        def change(value: Array) -> Array:
            value = value * 1  # a copy
            value[:] = _rows(gpt, pool, value.shape[1])
            return value

        return change

    def some_heads(pool: Array, some: list[int]) -> Callable[[Array], Array]:
        index = backend.ids(some)

        def change(value: Array) -> Array:
            value = value * 1  # a copy
            value[:, :, index] = _rows(gpt, pool, value.shape[1])[:, index]
            return value

        return change

    def some_positions(pool: Array) -> Callable[[Array], Array]:
        def change(value: Array) -> Array:
            index = backend.ids([i for i in at if i < value.shape[1]])
            value = value * 1  # a copy
            value[:, index] = _rows(gpt, pool, value.shape[1])[index]
            return value

        return change

    functions = {
        f"blocks.{layer}.attn.z": some_heads(pools[f"blocks.{layer}.attn.z"], some)
        for layer, some in by_layer.items()
    }
    functions |= {
        f"blocks.{layer}.mlp_out": all_of(pools[f"blocks.{layer}.mlp_out"]) for layer in layers
    }
    if at:
        functions["embed"] = some_positions(pools["embed"])
    return Edits(gpt, functions)


def ablate(
    gpt: GPT,
    text: str | Sequence[int],
    *,
    heads: Iterable[_Head] = (),
    mlps: Iterable[int] = (),
    positions: Iterable[int] = (),
    how: Kind = "zero",
    reference: str | Sequence[int] | None = None,
    target: str | int | None = None,
    position: int = -1,
    seed: int = 0,
) -> Ablation:
    """Ablate some parts together; see `ablation` for which and how.

    reference: default for "mean" is the text itself up to `position`, and the whole vocabulary for
    positions; for "resample" the text's own tokens up to there in another order (seed).
    target: the token watched (default: the likeliest). position: whose prediction.
    """
    ids, tokens = read(gpt, text)
    (here,) = chosen(position, len(ids), "position")
    seen = ids[: here + 1]  # what comes later cannot matter, and no mean runs over it
    pairs, layers = _pairs(gpt, heads), chosen(mlps, gpt.hparams.n_layer, "layer")
    at = chosen(positions, len(ids), "position")
    functions: dict[str, Callable[[Array], Array]] = {}
    for kinds in ({"heads": pairs, "mlps": layers}, {"positions": at}):
        if any(kinds.values()):
            known = _reference(gpt, seen, how, reference, seed, vocabulary="positions" in kinds)
            functions |= ablation(gpt, how=how, reference=known, **kinds).functions
    to_numpy = gpt.model.backend.to_numpy
    before = to_numpy(gpt.forward([seen], last_only=True))[0, 0]
    after = to_numpy(gpt.forward([seen], tap=Edits(gpt, functions), last_only=True))[0, 0]
    target_id = int(before.argmax()) if target is None else token_id(gpt, target)
    divergence, logit_change, logprob_change = effect(before, after)
    return Ablation(
        ids=ids,
        tokens=tokens,
        text=whole(gpt, seen),
        position=here,
        how=how,
        heads=pairs,
        mlps=layers,
        positions=at,
        target_id=target_id,
        target=token_name(gpt, target_id),
        target_logprob=float(log_softmax(before.astype(np.float64))[target_id]),
        target_lead=float(lead(before, target_id)),
        logit_change=float(logit_change[target_id]),
        logprob_change=float(logprob_change[target_id]),
        lead_change=float(lead(after, target_id) - lead(before, target_id)),
        divergence=float(divergence),
        before=likeliest(gpt, before),
        after=likeliest(gpt, after),
        logits_before=before,
        logits_after=after,
    )


def ablate_each(
    gpt: GPT,
    text: str | Sequence[int],
    over: Over = "heads",
    *,
    how: Kind = "zero",
    reference: str | Sequence[int] | None = None,
    target: str | int | None = None,
    position: int = -1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Ablate every head, MLP or position of the text, each alone, in batches.

    The arguments are those of `ablate`. Positions after `position` are not tried: they cannot
    matter. progress: told (done, of how many) after each batch; what it raises ends the sweep.
    """
    if over not in ("heads", "mlps", "positions"):
        raise InputError(f"over must be heads, mlps or positions, not {over!r}")
    ids, tokens = read(gpt, text)
    (here,) = chosen(position, len(ids), "position")
    seen = ids[: here + 1]
    hparams, backend, model = gpt.hparams, gpt.model.backend, gpt.model
    n = len(seen)
    added = ["pos_embed"] if "pos_embed" in table(hparams) else []
    streams = Recorder(gpt, ["resid_pre", *added], budget_bytes=1 << 62)
    before = backend.to_numpy(gpt.forward([seen], tap=streams, last_only=True))[0, 0]
    stream = streams.passes[0]
    known = _reference(gpt, seen, how, reference, seed, vocabulary=over == "positions")
    after: np.ndarray
    if over == "positions":
        pool = _rows(gpt, _pools(gpt, ["embed"], how, known)["embed"], n)
        replaced = pool + stream["pos_embed"][0] if added else pool  # [position, n_embd]

        def replace(value: Array, rows: Array, places: Array) -> None:
            value[rows, places] = replaced[places]

        first = "blocks.0.resid_pre"
        after = edited_copies(model, stream[first], 0, first, n, replace, Counter(progress, n))
    else:
        what, count = ("attn.z", hparams.n_head) if over == "heads" else ("mlp_out", 1)
        names = [f"blocks.{layer}.{what}" for layer in range(hparams.n_layer)]
        pools = _pools(gpt, names, how, known)
        counter = Counter(progress, len(names) * count)
        logits = []
        for layer, name in enumerate(names):
            pool = _rows(gpt, pools[name], n)

            def change(value: Array, rows: Array, places: Array, pool: Array = pool) -> None:
                if over == "heads":
                    value[rows, :, places] = pool[:, places].swapaxes(0, 1)
                else:
                    value[:] = pool

            x = stream[f"blocks.{layer}.resid_pre"]
            logits.append(edited_copies(model, x, layer, name, count, change, counter))
        after = np.stack(logits) if over == "heads" else np.concatenate(logits)

    target_id = int(before.argmax()) if target is None else token_id(gpt, target)
    divergence, logit_change, logprob_change = effect(before, after)
    top = after.argmax(-1)
    return Sweep(
        ids=ids,
        tokens=tokens,
        text=whole(gpt, seen),
        position=here,
        over=over,
        how=how,
        target_id=target_id,
        target=token_name(gpt, target_id),
        target_logprob=float(log_softmax(before.astype(np.float64))[target_id]),
        target_lead=float(lead(before, target_id)),
        before=likeliest(gpt, before),
        divergence=divergence,
        logit_change=logit_change[..., target_id],
        logprob_change=logprob_change[..., target_id],
        lead_change=lead(after, target_id) - lead(before, target_id),
        top_ids=top,
        top_tokens=token_names(gpt, top.ravel()),
    )


def _pairs(gpt: GPT, heads: Iterable[_Head]) -> tuple[_Head, ...]:
    pairs = []
    for layer, head in heads:
        pairs.append(
            (
                chosen(layer, gpt.hparams.n_layer, "layer")[0],
                chosen(head, gpt.hparams.n_head, "head")[0],
            )
        )
    return tuple(pairs)


def _reference(
    gpt: GPT,
    ids: Sequence[int],
    how: Kind,
    reference: str | Sequence[int] | None,
    seed: int,
    *,
    vocabulary: bool,
) -> Sequence[int] | None:
    """The ids that replacements are taken from; None: the vocabulary, or no need of any."""
    if how not in _KINDS:
        raise InputError(f"how must be one of {', '.join(_KINDS)}, not {how!r}")
    if reference is not None:
        return read(gpt, reference)[0]
    if how == "zero" or (how == "mean" and vocabulary):
        return None
    if how == "mean":
        return ids
    return tuple(int(i) for i in np.random.default_rng(seed).permutation(ids))


def _pools(
    gpt: GPT, names: list[str], how: Kind, reference: str | Sequence[int] | None
) -> dict[str, Array]:
    """Name → what to put in its place, [n, …]: row i is for position i modulo n."""
    hparams, backend = gpt.hparams, gpt.model.backend
    if how not in _KINDS:
        raise InputError(f"how must be one of {', '.join(_KINDS)}, not {how!r}")
    if how == "zero":
        per_head = np.zeros((1, hparams.n_head, hparams.d_k))
        whole = np.zeros((1, hparams.n_embd))
        return {
            name: backend.asarray(per_head if name.endswith("attn.z") else whole) for name in names
        }
    if reference is None:
        if how == "mean" and names == ["embed"]:
            return {"embed": backend.mean(gpt.model.embedding().swapaxes(0, 1)).swapaxes(0, 1)}
        raise InputError(f"how={how!r} needs a reference text to take the values from")
    recorder = Recorder(gpt, names, budget_bytes=1 << 62)
    gpt.forward([read(gpt, reference)[0]], tap=recorder, last_only=True)
    recorded = {name: value[0] for name, value in recorder.passes[0].items()}
    return {
        name: value.mean(0)[None] if how == "mean" else value for name, value in recorded.items()
    }


def _rows(gpt: GPT, pool: Array, n: int) -> Array:
    """pool [m, …] -> [n, …], beginning anew after m"""
    return pool[gpt.model.backend.ids([i % pool.shape[0] for i in range(n)])]

"""Steering: add a direction to the residual stream while the model generates or chats.

A strength is in units of the residual's own length: at 1.0 what is added to a position is as long
as what was there. So it means the same at every layer of every model, where lengths differ much.
Sources: Turner et al., "Activation Addition", arXiv 2308.10248; for means over positions
Panickssery et al., arXiv 2312.06681.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.pictures import Lines, Section
from ..errors import InputError
from ..sequence import Alternative
from ..visible import on_one_line
from .edits import Edits
from .finding import Finding, chosen, compared, likeliest, read, whole
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT
    from ..hparams import HParams

__all__ = ["STRENGTH", "Steered", "direction", "steer", "steered", "usual_layer", "within"]

STRENGTH = 0.3  # at which the chatbot's replies change their subject and stay English: LOG.md


@dataclass(frozen=True, kw_only=True, eq=False)
class Steered(Finding):
    """A text generated with a direction added, beside the same without (the same seed).

    strength: in lengths of the residual stream. direction [n_embd]: towards - away, as long as it
    comes. before, after: the likeliest first tokens; logits_before, logits_after [n_vocab].
    """

    prompt: str
    towards: str
    away: str
    layer: int
    strength: float
    text: str
    text_without: str
    before: tuple[Alternative, ...]
    after: tuple[Alternative, ...]
    direction: np.ndarray
    logits_before: np.ndarray
    logits_after: np.ndarray

    def sections(self) -> list[Section]:
        names = ("as it is", "steered")
        lines = tuple(
            f"{name.capitalize()}: {self.prompt}{text}"
            for name, text in zip(names, (self.text_without, self.text), strict=True)
        )
        texts = {each.token: each.text for each in (*self.before, *self.after)}
        first = compared(texts, self.logits_before, self.logits_after, names=names)
        away, towards = (f"“{on_one_line(text)}”" for text in (self.away, self.towards))
        return [
            Section(
                kind="Steered",
                title="Steering",
                how=f"The way from {away} to {towards} added to the residual stream at layer "
                f"{self.layer}, {self.strength:g} times as long as the stream itself, beside the "
                "same without (same seed).",
                about=self.prompt,
                pictures=(Lines(lines=lines), replace(first, caption="The first token.")),
            )
        ]


def usual_layer(hparams: HParams) -> int:
    """Where two thirds of the layers are passed: there a direction costs least English (LOG.md)."""
    return 2 * hparams.n_layer // 3


def direction(
    gpt: GPT, towards: str | Sequence[int], away: str | Sequence[int], layer: int
) -> np.ndarray:
    """[n_embd]: what sets one text apart from another in the residual stream as it enters `layer`:
    the difference of their means over the positions.

    Each begins a document: behind the model's beginning of texts or <|endoftext|>, which is not
    counted, where there is one.
    """
    (at,) = chosen(layer, gpt.hparams.n_layer, "layer")
    first = gpt.tokenizer.end_of_text if gpt.roles.bos is None else gpt.roles.bos
    start = [] if first is None else [first]
    means = []
    for text in (towards, away):
        ids = read(gpt, gpt.tokenizer.encode(text) if isinstance(text, str) else text)[0][
            -gpt.hparams.n_ctx + len(start) :
        ]
        recorder = Recorder(gpt, f"blocks.{at}.resid_pre", budget_bytes=1 << 62)
        gpt.forward([[*start, *ids]], tap=recorder, last_only=True)
        (value,) = recorder.passes[0].values()
        stream = np.asarray(gpt.model.backend.to_numpy(value)[0], np.float64)
        means.append(stream[len(start) :].mean(0))
    return np.asarray(means[0] - means[1])


def steer(gpt: GPT, vector: Any, layer: int, *, strength: float = STRENGTH) -> Edits:
    """A tap that adds the vector's direction to every position of the residual stream as it enters
    `layer`; for `generate(…, tap=…)` and chat.

    vector [n_embd]: its own length does not matter. strength: how long what is added to a position
    is, in lengths of what is there: x + strength · |x| · vector / |vector|. 0 changes nothing, a
    negative one steers the other way. Raises InputError when the vector has another shape, is not
    finite or has no length.
    """
    (at,) = chosen(layer, gpt.hparams.n_layer, "layer")
    array = np.asarray(vector, np.float64)
    if array.shape != (gpt.hparams.n_embd,):
        raise InputError(
            f"the direction must have n_embd = {gpt.hparams.n_embd} numbers, "
            f"not the shape {list(array.shape)}"
        )
    if not (np.isfinite(array).all() and np.isfinite(strength)):
        raise InputError("the direction and its strength must be finite numbers")
    length = float(np.linalg.norm(array))
    if not length:
        raise InputError(
            "the direction has no length: steer towards a text other than the one away"
        )
    added = gpt.model.backend.asarray(strength / length * array)

    def add(x: Array) -> Array:
        return x + (x * x).sum(-1)[..., None] ** 0.5 * added if strength else x

    return Edits(gpt, {f"blocks.{at}.resid_pre": add})


def steered(
    gpt: GPT,
    prompt: str | Sequence[int],
    *,
    towards: str | None = None,
    away: str | None = None,
    layer: int | None = None,
    strength: float = STRENGTH,
    seed: int = 0,
    **generation: Any,
) -> Steered:
    """Go on from a prompt with a direction added, and without it, with the same seed.

    towards, away: texts, each as it would stand within another: with a space before its first word.
    The one that is missing is the prompt itself, without its special tokens. layer: default
    `usual_layer`. strength: see `steer`. generation: the arguments of `GPT.generate`. Raises
    InputError when both are missing.
    """
    if towards is None and away is None:
        raise InputError("say where to steer: towards a text, away from one, or both")
    ids = read(gpt, prompt)[0]
    usual = usual_layer(gpt.hparams)
    (at,) = chosen(usual if layer is None else layer, gpt.hparams.n_layer, "layer")
    special = set(gpt.tokenizer.special_tokens.values())
    own = [token for token in ids if token not in special] or list(ids)
    ends = [own if text is None else gpt.tokenizer.encode(within(text)) for text in (towards, away)]
    vector = direction(gpt, ends[0], ends[1], at)
    tap = steer(gpt, vector, at, strength=strength)
    plain = gpt.generate(ids, seed=seed, **generation)
    other = gpt.generate(ids, seed=seed, tap=tap, **generation)
    to_numpy = gpt.model.backend.to_numpy
    before = to_numpy(gpt.forward([ids], last_only=True))[0, 0]
    after = to_numpy(gpt.forward([ids], tap=tap, last_only=True))[0, 0]
    return Steered(
        prompt=whole(gpt, ids),
        towards=whole(gpt, own) if towards is None else towards,
        away=whole(gpt, own) if away is None else away,
        layer=at,
        strength=float(strength),
        text=other.text,
        text_without=plain.text,
        before=likeliest(gpt, before),
        after=likeliest(gpt, after),
        direction=vector,
        logits_before=before,
        logits_after=after,
    )


def within(text: str) -> str:
    """A text as it stands within another: its first word begins with a space, as its token does."""
    return f" {text}" if text[:1].isalnum() else text

"""Steering: add a direction to the residual stream while the model generates or chats.

Source: Turner et al., "Activation Addition", arXiv 2308.10248.
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
from .finding import Finding, chosen, compared, likeliest, read
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT

__all__ = ["Steered", "direction", "steer", "steered"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Steered(Finding):
    """A text generated with a direction added, beside the same without (the same seed).

    direction [n_embd]: towards - away, before it is multiplied by the strength. before, after:
    the likeliest first tokens; logits_before, logits_after [n_vocab].
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
                f"{self.layer} with strength {self.strength:g}, beside the same without.",
                about=self.prompt,
                pictures=(Lines(lines=lines), replace(first, caption="The first token.")),
            )
        ]


def direction(
    gpt: GPT, towards: str | Sequence[int], away: str | Sequence[int], layer: int
) -> np.ndarray:
    """[n_embd]: what sets one text apart from another in the residual stream as it enters
    `layer`, at their last positions."""
    (at,) = chosen(layer, gpt.hparams.n_layer, "layer")
    ends = []
    for text in (towards, away):
        recorder = Recorder(gpt, f"blocks.{at}.resid_pre", positions=-1)
        gpt.forward([read(gpt, text)[0]], tap=recorder, last_only=True)
        (value,) = recorder.passes[0].values()
        ends.append(gpt.model.backend.to_numpy(value)[0, 0])
    return np.asarray(ends[0] - ends[1])


def steer(gpt: GPT, vector: Any, layer: int, *, strength: float = 1.0) -> Edits:
    """A tap that adds strength · vector to every position of the residual stream as it enters
    `layer`; for `generate(…, tap=…)` and chat. Strength 0 changes nothing.

    vector [n_embd]. Raises InputError when it has another shape or is not finite.
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
    added = gpt.model.backend.asarray(strength * array)

    def add(x: Array) -> Array:
        return x + added if strength else x

    return Edits(gpt, {f"blocks.{at}.resid_pre": add})


def steered(
    gpt: GPT,
    prompt: str | Sequence[int],
    *,
    towards: str | None = None,
    away: str | None = None,
    layer: int | None = None,
    strength: float = 1.0,
    seed: int = 0,
    **generation: Any,
) -> Steered:
    """Go on from a prompt with a direction added, and without it.

    towards, away: texts; the one that is missing is the prompt itself. layer: default the middle.
    generation: the arguments of `GPT.generate`. Raises InputError when both are missing.
    """
    if towards is None and away is None:
        raise InputError("say where to steer: towards a text, away from one, or both")
    ids = list(read(gpt, prompt)[0])
    middle = gpt.hparams.n_layer // 2
    (at,) = chosen(middle if layer is None else layer, gpt.hparams.n_layer, "layer")
    prompt_text = gpt.tokenizer.decode(ids)
    ends = [prompt_text if text is None else text for text in (towards, away)]
    vector = direction(gpt, ends[0], ends[1], at)
    tap = steer(gpt, vector, at, strength=strength)
    plain = gpt.generate(ids, seed=seed, **generation)
    other = gpt.generate(ids, seed=seed, tap=tap, **generation)
    to_numpy = gpt.model.backend.to_numpy
    before = to_numpy(gpt.forward([ids], last_only=True))[0, 0]
    after = to_numpy(gpt.forward([ids], tap=tap, last_only=True))[0, 0]
    return Steered(
        prompt=prompt_text,
        towards=ends[0],
        away=ends[1],
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

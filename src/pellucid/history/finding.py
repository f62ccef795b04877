"""How a model learned a text: every moment of a training as one answer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..draw.notation import percent, written
from ..draw.pictures import Bars, Heat, Section
from ..draw.slides import Table
from ..errors import InputError
from ..gpt import GPT
from ..inspect.finding import Finding, chosen, highest, read, token_name, whole
from ..train.snapshots import moments
from ..visible import quoted
from .course import Course, open_course
from .looks import Look, flat, look, sharpest

__all__ = ["MOST_TOKENS", "Learned", "found", "learned"]

MOST_TOKENS = 64
_MOST_MOMENTS = 48
_LIKELIEST = 6
_MOST_WORDS = 80  # whose embeddings are shown
_WORD = re.compile(r" [^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned(Finding):
    """A training, moment by moment, on one text.

    name: whose. total: the steps of the whole training. done: whether it has ended. steps
    [moment]. unit, losses, held_out, floor: of its `Curve`. text_losses [moment]: the mean loss
    of this text's own tokens, in nats; not-a-number for a text of one token. pattern [moment,
    layer, head, query, key]. layer, head: the one that is opened. next_ids [token]: the likeliest
    at the end, and whatever was the likeliest once; next_shares [moment, token]: their
    probabilities; first [moment]: which of them was the likeliest. words [token]: ids whose
    embeddings are shown, in `points` [moment, token, 2], the plane of the last moment's two
    principal components; plane_shares [2]: how much of the embeddings' variance they have.
    names: id -> its text. note: of its `Course`.
    """

    name: str
    total: int
    done: bool
    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    layer: int
    head: int
    steps: tuple[int, ...]
    unit: str
    losses: Mapping[int, float]
    held_out: Mapping[int, float]
    floor: float | None
    text_losses: np.ndarray
    pattern: np.ndarray
    next_ids: tuple[int, ...]
    next_shares: np.ndarray
    first: tuple[int, ...]
    words: tuple[int, ...]
    points: np.ndarray
    plane_shares: np.ndarray
    names: Mapping[int, str]
    note: str = ""

    def sections(self) -> list[Section]:
        labels = tuple(f"step {step:,}" for step in self.steps)
        own = self.pattern[:, self.layer, self.head, -1]
        far = np.sqrt(((self.points - self.points[-1]) ** 2).sum(-1)).mean(-1)
        last = quoted(self.tokens[-1])
        return [
            Section(
                kind="learned",
                title="What it would have said",
                how=f"After so many steps of training. Loss: {self.unit}, on what it learned "
                "from; of this text: of its own tokens, in nats.",
                about=self.text,
                pictures=(self._said(),),
                notes=tuple(filter(None, (self.note, self._goes_on()))),
            ),
            Section(
                kind="learned",
                title=f"Where L{self.layer}H{self.head} looked",
                how=f"A row for each moment: how head L{self.layer}H{self.head} at {last} divided "
                "its attention among the tokens so far. Step 0 is chance.",
                pictures=(
                    Heat(
                        values=own,
                        rows=labels,
                        columns=self.tokens,
                        form="percent",
                        tokens=True,
                        high=1.0,
                        what="attention",
                    ),
                ),
            ),
            Section(
                kind="learned",
                title="How far the embeddings were from where they ended",
                how=f"The mean distance of {len(self.words)} tokens in the plane of the last "
                f"moment's two principal components ({percent(float(self.plane_shares.sum()))} of "
                "their variance).",
                pictures=(Bars(labels=labels, values=far),),
            ),
        ]

    def _goes_on(self) -> str:
        return "" if self.done else f"So far: step {self.steps[-1]:,} of {self.total:,}."

    def _said(self) -> Table:
        rows = []
        for moment, step in enumerate(self.steps):
            at = self.first[moment]
            loss, text_loss = self.losses.get(step), float(self.text_losses[moment])
            rows.append(
                (
                    f"{step:,}",
                    "–" if loss is None else written(loss),
                    "–" if np.isnan(text_loss) else written(text_loss),
                    quoted(self.names[self.next_ids[at]]),
                    percent(float(self.next_shares[moment, at])),
                )
            )
        return Table(
            columns=("step", "loss", "of this text", "next token", "probability"), rows=tuple(rows)
        )


def learned(
    source: str | os.PathLike[str],
    text: str | Sequence[int] | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
) -> Learned:
    """How the model `talk`, or a run of `pellucid train` by its folder, came to go on from a text
    as it does: loss, next token, every head's pattern and the embeddings at each moment that was
    kept.

    text: or ids (default: one that the training has). layer, head: the one to open (default: the
    one whose last row changed most). Raises InputError where no moments were kept or the text does
    not fit, CheckpointError where a file was changed.
    """
    return found(open_course(source), text, layer=layer, head=head, seen={})[0]


def found(
    training: Course,
    text: str | Sequence[int] | None,
    *,
    layer: int | None,
    head: int | None,
    seen: dict[tuple[int, tuple[int, ...]], Look],
) -> tuple[Learned, GPT]:
    """The same, with the model of the last moment. seen: looks by step and text, which are not
    taken twice."""
    steps = _thinned(training.moments)
    last = training.gpt(steps[-1])
    ids, tokens = read(last, training.prompt if text is None else text)
    if len(ids) > MOST_TOKENS:
        raise InputError(
            f"{len(ids)} tokens are too many to look at in every moment: at most {MOST_TOKENS}"
        )
    words = _words(last, ids)
    looks = []
    for step in steps:
        if (step, ids) not in seen:
            seen[step, ids] = look(training.gpt(step), ids, words)
        looks.append(seen[step, ids])
    changed = sharpest(looks[0], looks[-1])
    shown = (
        changed[0] if layer is None else chosen(layer, last.hparams.n_layer, "layer")[0],
        changed[1] if head is None else chosen(head, last.hparams.n_head, "head")[0],
    )
    firsts = [int(each.logprobs.argmax()) for each in looks]
    next_ids = tuple(dict.fromkeys([*map(int, highest(looks[-1].logprobs, _LIKELIEST)), *firsts]))
    points, shares = flat([each.dictionary for each in looks])
    finding = Learned(
        name=training.name,
        total=training.steps,
        done=training.done,
        text=whole(last, ids),
        ids=ids,
        tokens=tokens,
        layer=shown[0],
        head=shown[1],
        steps=steps,
        unit=training.curve.unit,
        losses=training.curve.losses,
        held_out=training.curve.held_out,
        floor=training.curve.floor,
        text_losses=np.array([each.text_loss for each in looks], np.float64),
        pattern=np.stack([each.pattern for each in looks]),
        next_ids=next_ids,
        next_shares=np.exp(np.stack([each.logprobs[list(next_ids)] for each in looks])),
        first=tuple(next_ids.index(each) for each in firsts),
        words=words,
        points=points,
        plane_shares=shares,
        names={each: token_name(last, each) for each in sorted({*next_ids, *words})},
        note=training.note,
    )
    return finding, last


def _thinned(steps: tuple[int, ...]) -> tuple[int, ...]:
    """Not more moments than a person can look at."""
    if len(steps) <= _MOST_MOMENTS:
        return steps
    return tuple(steps[i] for i in moments(len(steps) - 1, _MOST_MOMENTS))


def _words(gpt: GPT, ids: Sequence[int]) -> tuple[int, ...]:
    """Tokens whose embeddings are worth looking at: the text's, and those of the sentences that
    the model has learned, where its card names them; else the first words that its tokenizer
    has, which were the most frequent."""
    sentences = gpt.card.get("sentences")
    if isinstance(sentences, list):
        known = [token for each in sentences for token in gpt.encode(str(each))]
    else:
        words = (i for i in range(gpt.hparams.n_vocab) if _WORD.fullmatch(token_name(gpt, i)))
        known = list(islice(words, _MOST_WORDS // 2))
    return tuple(dict.fromkeys([*ids, *known]))[:_MOST_WORDS]

"""The talk's whole way, from a text to the predicted token and round again, as one finding.

Its words stand in `words`, nowhere else: the terminal, the page, the notebook and docs/tour.md
show the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.notation import ended, percent, written
from ..draw.pictures import Distribution, Lines, Section
from ..draw.slides import Matrix, Table
from ..errors import InputError, TokenizerError
from ..hparams import SIZES, HParams
from ..sampling import softmax, without
from ..visible import visible, visible_bytes
from .finding import Finding, highest, read, shortened, token_names, whole
from .step import Seen, Step, added
from .walk_layer import heads, layers, self_attention, synthesis
from .words import said

if TYPE_CHECKING:
    from ..generate import Generation
    from ..gpt import GPT
    from ..sequence import Step as Predicted
    from ..tokenizer import Piece

__all__ = ["Step", "Walk", "sizes", "walk"]

_LIKELIEST = 8
_MOST_STOPS = 12  # stop tokens named
_LARGE_WINDOW = 64  # beyond, _FEW tokens are enough to see the loop
_FEW = 8
_FED_IN = 40  # characters; of a longer text the end, which 80 columns have room for
_FED_IN_PART = 26


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk(Finding):
    """A text's way through a model, in the talk's twelve steps.

    pieces: its tokens. layer, head, position: what was opened and followed. predictions: the
    greedy generation's steps, which ended for `reason`; generated: their text.
    """

    model: str
    hparams: HParams
    text: str
    pieces: tuple[Piece, ...]
    layer: int
    head: int
    position: int
    steps: tuple[Step, ...]
    predictions: tuple[Predicted, ...]
    generated: str
    reason: str

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Every array of the steps, by name."""
        return {name: array for step in self.steps for name, array in step.values.items()}

    def sections(self) -> list[Section]:
        return [section for step in self.steps for section in step.sections()]

    def to_dict(self) -> dict[str, Any]:
        """As of any finding; the steps name the arrays that stand in `values` beside them."""
        steps = [step.to_dict() for step in self.steps]
        values = {name: array for step in steps for name, array in step["values"].items()}
        pieces = [piece._asdict() | {"bytes": list(piece.bytes)} for piece in self.pieces]
        return {
            "kind": "Walk",
            "model": self.model,
            "hparams": self.hparams.to_dict(),
            "text": self.text,
            "tokens": pieces,
            "layer": self.layer,
            "head": self.head,
            "position": self.position,
            "steps": [step | {"values": list(step["values"])} for step in steps],
            "values": values,
            "predictions": [
                asdict(step) | {"alternatives": [other._asdict() for other in step.alternatives]}
                for step in self.predictions
            ],
            "generated": self.generated,
            "reason": self.reason,
        }


def walk(
    gpt: GPT,
    text: str | Sequence[int],
    *,
    layer: int = 0,
    head: int = 0,
    position: int = -1,
    max_tokens: int | None = None,
) -> Walk:
    """Walk a text through the model: one recorded pass and one greedy generation.

    layer, head: which one is opened. position: whose row is followed. Negative ones count from
    the end. max_tokens: predict at most so many (default: until the window is full or a stop
    token comes; 8 where the window is large).
    Raises InputError for a layer, head or position that is not there, before anything runs.
    """
    if max_tokens is None and gpt.hparams.n_ctx > _LARGE_WINDOW:
        max_tokens = _FEW
    generation = gpt.generate(text, greedy=True, max_tokens=max_tokens)
    ids, _ = read(gpt, generation.prompt)
    counts = {"layer": gpt.hparams.n_layer, "head": gpt.hparams.n_head, "position": len(ids)}
    places = {"layer": layer, "head": head, "position": position}
    for name, place in places.items():
        if not -counts[name] <= place < counts[name]:
            raise InputError(
                f"{name} must be between {-counts[name]} and {counts[name] - 1}, not {place}"
            )
    layer, head, position = (place % counts[name] for name, place in places.items())
    seen = Seen(gpt=gpt, ids=ids, layer=layer, head=head, position=position)
    steps = (
        input_text(seen),
        tokenization(seen),
        embeddings(seen),
        look_up(seen),
        self_attention(seen),
        heads(seen),
        synthesis(seen),
        layers(seen),
        output(seen),
        predicted(seen),
        loop(seen, generation),
        ending(seen, generation),
    )
    return Walk(
        model=gpt.name,
        hparams=gpt.hparams,
        text=seen.text,
        pieces=tuple(gpt.tokenizer.pieces(ids)),
        layer=layer,
        head=head,
        position=position,
        steps=steps,
        predictions=generation.steps,
        generated=generation.text,
        reason=generation.reason,
    )


def input_text(seen: Seen) -> Step:
    return Step(
        **said(1, seen.family, model=_model_of(seen.gpt)),
        values={},
        pictures=(
            Lines(lines=(f'"{seen.text}"',)),
            Table(columns=("", "", "GPT-2 (2019)", "this model"), rows=sizes(seen.gpt.hparams)),
        ),
    )


def _model_of(gpt: GPT) -> str:
    """As a sentence names it."""
    return f"the model “{gpt.name}”" if gpt.name else "this model"


def sizes(hparams: HParams) -> tuple[tuple[str, str, str, str], ...]:
    """The hyperparameters line by line: name, what it is, GPT-2's (2019), this model's."""
    about = {
        "n_vocab": "unique tokens",
        "n_ctx": "most tokens in the context window",
        "n_embd": "elements per embedding",
        "n_head": "attention heads in each layer",
        "n_layer": "transformer layers",
        "d_k": "numbers per head: n_embd / n_head",
        "n_params": "parameters in all",
    }
    if hparams.family != "gpt2":
        about |= {
            "n_kv_head": "heads of keys and values in each layer",
            "d_k": "numbers per head",
            "n_inner": "neurons in each layer",
        }
    large = SIZES["gpt2"]
    return tuple(
        (name, words, f"{getattr(large, name):,}", f"{getattr(hparams, name):,}")
        for name, words in about.items()
    )


def tokenization(seen: Seen) -> Step:
    rows = tuple((str(i), seen.names[i], str(seen.ids[i])) for i in seen.shown)
    known = {"n_vocab": f"{seen.gpt.hparams.n_vocab:,}"}
    if len(seen.shown) < len(seen.ids):
        known |= {"n": str(len(seen.ids)), "first": str(seen.shown[0]), "last": str(seen.shown[-1])}
    merges = tuple(_merges(seen))
    return Step(
        **said(2, seen.family, **known),
        values={"ids": np.asarray(seen.ids)},
        pictures=(
            Table(columns=("position", "token", "id"), rows=rows),
            *(
                [Table(columns=("rank", "merged", "parts"), rows=merges, caption="the merges")]
                if merges
                else []
            ),
        ),
    )


def _merges(seen: Seen) -> Iterator[tuple[str, str, str]]:
    """(rank, the pair, the parts after it) of each word that the shown tokens spell."""
    tokenizer = seen.gpt.tokenizer
    special = set(tokenizer.special_tokens.values())
    ids = [seen.ids[i] for i in seen.shown if seen.ids[i] not in special]
    text = tokenizer.decode(ids)
    try:
        if tokenizer.encode(text) != ids:  # tokens that no merge of a text puts there
            return
    except TokenizerError:  # a model that has ids only
        return
    try:
        words = dict.fromkeys(tokenizer.merges(text))
    except InputError as error:  # one word of thousands of letters
        yield "", "", str(error)
        return
    for word in words:
        for merge in word.merges:
            pair, parts = (" ".join(map(visible_bytes, each)) for each in merge[1:])
            yield str(merge.rank), pair, parts


def embeddings(seen: Seen) -> Step:
    return Step(
        **said(3, seen.family, n_embd=str(seen.gpt.hparams.n_embd)),
        values=seen.of("embed"),
        pictures=(seen.rows(seen.values["embed"], "embed"),),
    )


def look_up(seen: Seen) -> Step:
    token = seen.ids[seen.position]
    near = np.arange(
        max(0, min(token - 2, seen.gpt.hparams.n_vocab - 5)),
        min(token + 3, seen.gpt.hparams.n_vocab),
    )
    rows = seen.gpt.model.backend.to_numpy(seen.gpt.model.embedding(map(int, near)))
    labels = (f"{i} {seen.gpt.tokenizer.piece(int(i)).shown}" for i in near)
    return Step(
        **said(
            4, seen.family, n_vocab=f"{seen.gpt.hparams.n_vocab:,}", name=seen.name, id=str(token)
        ),
        values={
            f"wte[{near[0]}:{near[-1] + 1}]": rows,
            **seen.of(*added(seen.gpt.hparams), "blocks.0.resid_pre"),
        },
        pictures=(
            Matrix(
                values=rows,
                rows=tuple(labels),
                followed=int(np.flatnonzero(near == token)[0]),
                caption="wte, the dictionary, around that row",
            ),
            *(seen.rows(seen.values[name], "wpe[position]") for name in added(seen.gpt.hparams)),
            seen.rows(seen.values["blocks.0.resid_pre"], "x"),
        ),
    )


def output(seen: Seen) -> Step:
    logits = seen.values["logits"][seen.position]
    shares = softmax(np.asarray(logits, np.float64))
    top = [int(i) for i in highest(shares, _LIKELIEST)]
    rows = tuple(
        (seen.gpt.tokenizer.piece(i).shown, percent(float(shares[i])), written(float(logits[i])))
        for i in top
    )
    return Step(
        **said(9, seen.family, name=seen.name, n_vocab=f"{seen.gpt.hparams.n_vocab:,}"),
        values=seen.of("ln_final.out", "logits"),
        pictures=(
            seen.rows(seen.values["ln_final.out"], "norm(x)"),
            Table(columns=("token", "probability", "logit"), rows=rows),
            Distribution(
                logits=logits,
                ids=tuple(top),
                texts=token_names(seen.gpt, top),
            ),
        ),
    )


def predicted(seen: Seen) -> Step:
    logits = seen.values["logits"][seen.position]
    token = int(without(logits, seen.gpt.tokenizer.unused).argmax())
    share = softmax(np.asarray(logits, np.float64))[token]
    name = seen.gpt.tokenizer.piece(token).shown
    read = whole(seen.gpt, seen.ids[: seen.position + 1])
    return Step(
        **said(10, seen.family, read=read, token=name, id=str(token), share=percent(float(share))),
        values={"token": np.asarray(token)},
        pictures=(),
    )


def loop(seen: Seen, generation: Generation) -> Step:
    text, rows = seen.text, []
    for step in generation:
        piece = seen.gpt.tokenizer.piece(step.token)
        others = [other for other in step.alternatives if other.token != step.token][:2]
        rows.append(
            (
                text if len(text) <= _FED_IN else shortened(text, _FED_IN_PART),
                piece.shown,
                percent(math.exp(step.logprob)),
                ", ".join(f"{visible(o.text)} {percent(math.exp(o.logprob))}" for o in others),
            )
        )
        text += step.text
    return Step(
        **said(11, seen.family),
        values={"logprobs": np.asarray([step.logprob for step in generation.steps])},
        pictures=(Table(columns=("fed in", "predicted", "probability", "next"), rows=tuple(rows)),),
    )


def ending(seen: Seen, generation: Generation) -> Step:
    used = f"{len(generation.tokens)} of {generation.window} tokens"
    ids = sorted(generation.stop_tokens)
    stops = ", ".join(seen.gpt.tokenizer.piece(token).shown for token in ids[:_MOST_STOPS])
    more = f" and {len(ids) - _MOST_STOPS:,} more" if len(ids) > _MOST_STOPS else ""
    return Step(
        **said(
            12,
            seen.family,
            n_ctx=f"{seen.gpt.hparams.n_ctx:,}",
            stops=stops or "none",
            more=more,
            reason=ended(generation.reason),
            used=used,
        ),
        values={"tokens": np.asarray(generation.tokens)},
        pictures=(Lines(lines=(seen.text + generation.text,)),),
    )

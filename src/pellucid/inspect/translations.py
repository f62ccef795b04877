"""The original Transformer's whole way as one finding: a source read, a text written, and who
looked where in between (arXiv 1706.03762)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.notation import percent, written
from ..draw.pictures import Heat, Lines, Picture, Section, Tabs
from ..draw.slides import Formula, Matrix, Table
from ..hparams import HParams
from ..sampling import softmax
from ..visible import visible
from .finding import Finding, chosen, highest

if TYPE_CHECKING:
    from ..translate import Translation, Translator

__all__ = ["TranslationWalk", "walk_translation"]

_UNFOLDED = 16  # patterns, at most, that a terminal shows of all layers
_STEPS = 12  # of a search that are told
_KEPT = 4  # texts of each of them
_LIKELIEST = 3

# What a reader of GPT-2's page finds otherwise here: value, then, now.
_DIFFERENCES = (
    ("stacks", "an encoder reads, a decoder writes", "one"),
    ("attention", "in each stack, and from one to the other", "in the one stack"),
    ("who is seen", "encoder: all; decoder: itself and before", "itself and before"),
    ("positions", "sinusoids, computed", "a table, learned"),
    ("embeddings", "√d_model · wte[token]", "wte[token]"),
    ("norm", "after each sum: LayerNorm(x + f(x))", "before each step: x + f(LayerNorm(x))"),
    ("neurons", "max(0, x)", "GELU"),
    ("output layer", "the embeddings again", "the embeddings again"),
    ("chosen by", "beam search", "sampling"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TranslationWalk(Finding):
    """A source's way through encoder and decoder to the text that was written for it.

    source_tokens: as the encoder reads them. read_tokens: what the decoder reads, the token that
    begins texts and then what is written but for its last. written_tokens: what follows each.
    values: every value of one pass over these, by its tap's name, without the batch axis. layer,
    head: which ones are opened. steps: of the search, the texts that were kept as
    (text, logprob, score, whether it ended).
    """

    model: str
    hparams: HParams
    source: str
    text: str
    source_tokens: tuple[str, ...]
    read_tokens: tuple[str, ...]
    written_tokens: tuple[str, ...]
    written_ids: tuple[int, ...]
    layer: int
    head: int
    logprob: float
    score: float
    steps: tuple[tuple[tuple[str, float, float, bool], ...], ...]
    likeliest: tuple[tuple[tuple[str, float], ...], ...]
    values: Mapping[str, np.ndarray]

    def sections(self) -> list[Section]:
        return [
            self._section("What is read", "One text, whole: every token at once.", *self._read()),
            self._section(
                "Tokens as arrays",
                "Each token's array times √d_model, plus the sinusoids of its position.",
                *self._embedded(),
            ),
            self._section(
                "The encoder: who looks where",
                "Rows look at columns. Nothing is hidden: a token sees those after it too.",
                Formula(text="softmax(Q·Kᵀ / √d_k) · V"),
                self._patterns("encoder", "attn", self.source_tokens, self.source_tokens),
            ),
            self._section(
                "Sum, then norm",
                "Each step's result is added, and the sum is normed: “post-norm”.",
                Formula(text="LayerNorm(x + Attention(x)), LayerNorm(x + MLP(x))"),
                *self._normed(),
            ),
            self._section(
                "The decoder: what is written looks at itself",
                "As in GPT-2: each token sees itself and those before it.",
                self._patterns("decoder", "attn", self.read_tokens, self.read_tokens),
            ),
            self._section(
                "Cross-attention: what is written looks at what was read",
                "Queries come from the decoder (rows: what was written last), keys and values from "
                "the encoder (columns: the source).",
                self._patterns("decoder", "cross", self.read_tokens, self.source_tokens),
            ),
            self._section(
                "Output layer",
                "How well the decoder's array matches each token's embedding, as probabilities.",
                self._predicted(),
            ),
            self._section(
                "Beam search",
                "Several texts go on at once; each step keeps the likeliest of all of them.",
                Formula(text="score = log P(text) / ((5 + |text|) / 6)^α"),
                *self._searched(),
            ),
            self._section(
                "Beside GPT-2",
                "The same parts, put together otherwise, two years apart.",
                Table(columns=("", "2017", "GPT-2 (2019)"), rows=_DIFFERENCES),
            ),
        ]

    def _section(self, title: str, how: str, *pictures: Picture) -> Section:
        return Section(
            kind="TranslationWalk", title=title, how=how, pictures=pictures, about=self.source
        )

    def _read(self) -> tuple[Picture, ...]:
        rows = tuple((str(i), token) for i, token in enumerate(self.source_tokens))
        h = self.hparams
        sizes = (
            f"{self.model or 'this model'}: {h.n_params:,} parameters; {h.n_layer} layers in the "
            f"encoder and as many in the decoder, {h.n_head} heads, {h.n_embd} numbers per token.",
            f"“{self.source}” → “{self.text}”",
        )
        return Lines(lines=sizes), Table(columns=("position", "token"), rows=rows)

    def _embedded(self) -> tuple[Picture, ...]:
        token, position = (self.values[f"encoder.{name}"] for name in ("embed", "pos_embed"))
        n, width = len(self.source_tokens), min(14, position.shape[1])
        columns = [*range(0, width, 2), *range(1, width, 2)]  # the sines, then the cosines
        return (
            Formula(text="x = √d_model · wte[token] + PE(pos)"),
            Matrix(values=token, rows=self.source_tokens, caption="√d_model · wte[token]"),
            Formula(text="PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos(…)"),
            Heat(
                values=position[:, columns],
                rows=tuple(str(i) for i in range(n)),
                columns=tuple(f"{'cos' if c % 2 else 'sin'}{c // 2}" for c in columns),
                scale="diverging",
                high=1.0,
                what="PE",
                caption=f"the first {width} of {position.shape[1]} numbers of each position",
            ),
        )

    def _patterns(
        self, stack: str, kind: str, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Tabs:
        """Every head of every layer; the terminal shows all where they are few, else one layer."""
        h, pictures = self.hparams, {}
        for layer in range(h.n_layer):
            pattern = self.values[f"{stack}.blocks.{layer}.{kind}.pattern"]  # [head, query, key]
            for head in range(h.n_head):
                pictures[f"layer {layer}, head {head}"] = Heat(
                    values=pattern[head],
                    rows=rows,
                    columns=columns,
                    form="percent",
                    tokens=True,
                    high=1.0,
                    what="attention",
                    caption=f"{stack}, {kind}: layer {layer}, head {head}",
                )
        few = len(pictures) <= _UNFOLDED and kind == "cross"
        opened = [f"layer {self.layer}, head {self.head}"]
        of_layer = [name for name in pictures if name.startswith(f"layer {self.layer},")]
        unfolded = list(pictures) if few else of_layer if kind == "cross" else opened
        return Tabs(pictures=pictures, unfolded=tuple(unfolded), caption="Heads")

    def _normed(self) -> tuple[Picture, ...]:
        at, first = f"encoder.blocks.{self.layer}", self.source_tokens[0]
        rows = []
        for name, what in (
            ("resid_pre", "x, as it enters the layer"),
            ("resid_mid", "x + Attention(x)"),
            ("ln1.normalized", "(sum - mean) / deviation"),
            ("ln1.out", "· gain + bias"),
            ("resid_post", "that + MLP"),
            ("ln2.out", "normed again: what the next layer gets"),
        ):
            x = self.values[f"{at}.{name}"][0]
            rows.append((what, written(float(x.mean())), written(float(x.std()))))
        table = Table(
            columns=("", "mean", "deviation"),
            rows=tuple(rows),
            caption=f"of the array of “{first}” in layer {self.layer} of the encoder",
        )
        return (table,)

    def _predicted(self) -> Table:
        rows = tuple(
            (
                self.read_tokens[i],
                token,
                percent(dict(self.likeliest[i]).get(token, 0.0)),
                ", ".join(f"{t} {percent(p)}" for t, p in self.likeliest[i] if t != token),
            )
            for i, token in enumerate(self.written_tokens)
        )
        return Table(columns=("after", "written", "probability", "next"), rows=rows)

    def _searched(self) -> tuple[Picture, ...]:
        rows = []
        for n, kept in enumerate(self.steps[:_STEPS], 1):
            for place, (text, logprob, score, ended) in enumerate(kept[:_KEPT]):
                state = "ended" if ended else "goes on"
                step = str(n) if place == 0 else ""
                rows.append((step, text, written(logprob), written(score), state))
        left = len(self.steps) - _STEPS
        more = f" {left} more steps are left out." if left > 0 else ""
        best = (
            f"“{self.text}” has log P = {written(self.logprob)}, probability "
            f"{percent(math.exp(self.logprob))}, and the best score, {written(self.score)}.{more}"
        )
        columns = ("step", "text", "log P", "score", "then")
        return Table(columns=columns, rows=tuple(rows)), Lines(lines=(best,))

    def to_dict(self) -> dict[str, Any]:
        """As of any finding; a step's texts with names to their numbers."""
        known = super().to_dict()
        names = ("text", "logprob", "score", "ended")
        known["steps"] = [
            [dict(zip(names, text, strict=True)) for text in step] for step in known["steps"]
        ]
        return known


def walk_translation(
    translator: Translator,
    text: str,
    *,
    layer: int = 0,
    head: int = 0,
    translation: Translation | None = None,
    **search: Any,
) -> TranslationWalk:
    """Watch a text being written as another: the search, and one pass in which every value is kept.

    layer, head: which are opened; negative ones count from the end. translation: of this text by
    this model, where it is there already. search: as for `Translator.translate`.
    Raises InputError for a layer or head that is not there, ContextError beyond n_ctx.
    """
    h = translator.hparams
    (layer,), (head,) = chosen(layer, h.n_layer, "layer"), chosen(head, h.n_head, "head")
    known = translation or translator.translate(text, **search)
    backend, values = translator.model.backend, dict[str, np.ndarray]()

    def keep(name: str, value: Any) -> Any:
        values[name] = np.array(backend.to_numpy(value)[0])
        return value

    logits = translator.logits(known.source_ids, known.ids[:-1], keep)
    shares = softmax(np.asarray(logits, np.float64))

    def name(token: int) -> str:
        return translator.tokenizer.piece(int(token)).shown

    def likeliest(row: np.ndarray, token: int) -> tuple[tuple[str, float], ...]:
        ids = dict.fromkeys([token, *map(int, highest(row, _LIKELIEST))])
        return tuple((name(i), float(row[i])) for i in ids)

    def spelled(tokens: tuple[int, ...], ended: bool) -> str:
        return visible(translator.tokenizer.decode(tokens[:-1] if ended else tokens))

    return TranslationWalk(
        model=translator.name,
        hparams=h,
        source=text,
        text=known.text,
        source_tokens=tuple(map(name, known.source_ids)),
        read_tokens=tuple(map(name, (translator.begin, *known.ids[:-1]))),
        written_tokens=tuple(map(name, known.ids)),
        written_ids=known.ids,
        layer=layer,
        head=head,
        logprob=known.logprob,
        score=known.score,
        steps=tuple(
            tuple((spelled(t.tokens, t.ended), t.logprob, t.score, t.ended) for t in step)
            for step in known.search.steps
        ),
        likeliest=tuple(likeliest(*each) for each in zip(shares, known.ids, strict=True)),
        values=values,
    )

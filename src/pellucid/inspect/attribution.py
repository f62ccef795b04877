"""Direct logit attribution: the logit as a sum of what each part wrote into the residual stream.

The final norm is linear once its scale is held at the value it had:

    logit = Σ_parts (part - mean(part)) / scale · gain · u  +  bias · u

u is the output layer's row of the token, in GPT-2 wte[token]; an RMS norm takes no mean away. So
each part's share is one dot product, and the shares sum to the logit. Source: Elhage et al.,
"A Mathematical Framework for Transformer Circuits" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..draw.notation import head_name, written
from ..draw.pictures import Bars, Heat, Section, Tabs, Tokens
from ..families import family_of
from ..taps import compose, table
from ..visible import quoted
from .finding import (
    Finding,
    chosen,
    head_names,
    layer_names,
    read,
    shortened,
    token_id,
    token_name,
    token_names,
    whole,
)
from .recorder import Recorder

if TYPE_CHECKING:
    from ..backend import Array
    from ..gpt import GPT
    from ..hparams import HParams

__all__ = ["Attribution", "attribute", "attributed", "row_names"]

_ROW = ("embed", "pos_embed", "attn.pattern", "attn.z", "mlp_out", "ln_final.scale", "logits")
_PARTS = 14  # of which each has a bar


def row_names(hparams: HParams) -> list[str]:
    """What is looked at of the position itself, of what such a model has."""
    return [name for name in _ROW if name != "pos_embed" or name in table(hparams)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution(Finding):
    """Shares of one logit, or of the difference of two (`versus`), at one position.

    text: up to there. logit: what the model computed. embed, pos_embed: the position's own
    embeddings, straight to the output; pos_embed is None where positions are not added.
    heads [layer, head]. attention_biases [layer]: of W_Output. mlps [layer]. norm_bias: of the
    final norm. sources [layer, head, position]: each head's share by the position it was read
    from; its sum over positions is `heads`.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    position: int
    target_id: int
    target: str
    versus_id: int | None
    versus: str | None
    logit: float
    embed: float
    pos_embed: float | None
    heads: np.ndarray
    attention_biases: np.ndarray
    mlps: np.ndarray
    norm_bias: float
    sources: np.ndarray

    @property
    def total(self) -> float:
        """The sum of all shares: the logit."""
        return float(sum(value for _, value in self.parts()))

    @property
    def by_layer(self) -> np.ndarray:
        """[layer]: attention and MLP of each layer together."""
        return np.asarray(self.heads.sum(1) + self.attention_biases + self.mlps)

    @property
    def by_token(self) -> np.ndarray:
        """[position]: what all heads together read from each position."""
        return np.asarray(self.sources.sum((0, 1)))

    def parts(self) -> list[tuple[str, float]]:
        """Every share with its name, in the order of the data."""
        parts = self._embeddings()
        for layer, heads in enumerate(self.heads):
            parts += [(head_name(layer, head), float(value)) for head, value in enumerate(heads)]
            parts.append((f"L{layer} attention bias", float(self.attention_biases[layer])))
            parts.append((f"L{layer} MLP", float(self.mlps[layer])))
        return [*parts, ("final norm bias", self.norm_bias)]

    def _embeddings(self) -> list[tuple[str, float]]:
        embeddings = [("embed", self.embed)]
        return (
            embeddings if self.pos_embed is None else [*embeddings, ("pos_embed", self.pos_embed)]
        )

    def sections(self) -> list[Section]:
        n_layer, n_head = self.heads.shape
        n = self.position + 1
        by_layer = dict(self._embeddings())
        by_layer |= dict(zip(layer_names(n_layer), self.by_layer.tolist(), strict=True))
        by_layer |= {"final norm bias": self.norm_bias}
        pictures = {
            "part": self._strongest(),
            "layer": Bars(
                labels=tuple(by_layer),
                values=np.asarray(list(by_layer.values())),
                form="signed",
                total=self.total,
                caption="Attention and MLP of each layer together.",
            ),
            "head": Heat(
                values=np.column_stack([self.heads, self.mlps, self.attention_biases]),
                rows=layer_names(n_layer),
                columns=(*head_names(n_head), "MLP", "bias"),
                scale="diverging",
                form="signed",
                caption="By layer: each head, the MLP, the output bias.",
            ),
            "token": Tokens(
                tokens=self.tokens[:n],
                values=self.by_token[:n],
                caption="What all heads together read from each token.",
            ),
        }
        over = "" if self.versus is None else f" over {quoted(self.versus)}"
        return [
            Section(
                kind="Attribution",
                title="Direct logit attribution",
                how=f"The logit of {quoted(self.target)}{over}, "
                f"{written(self.logit, 'signed', 4)}, as the sum of what each part "
                "wrote. Blue, to the right: in favour; orange, to the left: against.",
                about=shortened(self.text),
                pictures=(
                    Tabs(pictures=pictures, unfolded=("part", "head", "token"), caption="By"),
                ),
            )
        ]

    def _strongest(self) -> Bars:
        """The largest parts, most in favour first, and what the others come to."""
        parts = self.parts()
        order = np.argsort([-abs(value) for _, value in parts], kind="stable")[:_PARTS]
        rows = sorted((parts[i] for i in order), key=lambda part: -part[1])
        caption = "Every part, most in favour first."
        if rest := len(parts) - len(rows):
            caption = f"The {len(rows)} largest of {len(parts)} parts, most in favour first."
            others = self.total - sum(value for _, value in rows)
            rows.append((f"the other {rest}", others))
        return Bars(
            labels=tuple(name for name, _ in rows),
            values=np.asarray([value for _, value in rows]),
            form="signed",
            total=self.total,
            caption=caption,
        )


def attribute(
    gpt: GPT,
    text: str | Sequence[int],
    target: str | int | None = None,
    *,
    versus: str | int | None = None,
    position: int = -1,
) -> Attribution:
    """Shares of the logit of `target` (default: the likeliest token) after `position`.

    versus: another token; the shares are then of the difference logit(target) - logit(versus).
    Computed in float64 from the model's own values: exact for a float64 model.
    """
    ids, _ = read(gpt, text)
    (here,) = chosen(position, len(ids), "position")
    one_row = Recorder(gpt, row_names(gpt.hparams), positions=here, budget_bytes=1 << 62)
    all_rows = Recorder(gpt, "attn.v", budget_bytes=1 << 62)
    # What comes later cannot matter: no token sees it.
    gpt.forward([ids[: here + 1]], tap=compose(one_row, all_rows), last_only=True)
    return attributed(
        gpt, ids, one_row.passes[0], all_rows.passes[0], target, versus=versus, position=here
    )


def attributed(
    gpt: GPT,
    ids: tuple[int, ...],
    one_row: Mapping[str, Array],
    all_rows: Mapping[str, Array],
    target: str | int | None,
    *,
    versus: str | int | None,
    position: int,
) -> Attribution:
    """The same from what a pass over the ids has made, batch axis included: one_row: of the values
    `row_names` the position's row. all_rows: every layer's attn.v up to there."""
    here, hparams, model = position, gpt.hparams, gpt.model

    def exact(x: object) -> np.ndarray:
        return np.asarray(x if isinstance(x, np.ndarray) else model.backend.to_numpy(x), np.float64)

    row = {name: exact(value) for name, value in one_row.items()}
    logits = row["logits"][0, 0]
    target_id = int(logits.argmax()) if target is None else token_id(gpt, target)
    versus_id = None if versus is None else token_id(gpt, versus)
    u = exact(model.unembedding(target_id))
    logit = float(logits[target_id])
    if versus_id is not None:
        u = u - exact(model.unembedding(versus_id))
        logit -= float(logits[versus_id])
    gain, bias = map(exact, model.final_norm())
    direction = gain * u
    if family_of(hparams).centres:
        direction = direction - direction.mean()
    direction = direction / row["ln_final.scale"].item()  # [n_embd]

    shape = (hparams.n_layer, hparams.n_head)
    heads, sources = np.empty(shape), np.zeros((*shape, len(ids)))
    attention_biases, mlps = np.empty(hparams.n_layer), np.empty(hparams.n_layer)
    for layer in range(hparams.n_layer):
        at = f"blocks.{layer}"
        readout = exact(model.w_output(layer)) @ direction  # [head, d_k]
        heads[layer] = (row[f"{at}.attn.z"][0, 0] * readout).sum(-1)
        v = exact(all_rows[f"{at}.attn.v"])[0]  # [key, kv_head, d_k]
        v = v.repeat(hparams.n_head // hparams.n_kv_head, 1)  # [key, head, d_k]
        pattern = row[f"{at}.attn.pattern"][0, :, 0]  # [head, key]
        sources[layer, :, : here + 1] = pattern * (v * readout).sum(-1).T
        attention_biases[layer] = exact(model.b_output(layer)) @ direction
        mlps[layer] = row[f"{at}.mlp_out"][0, 0] @ direction
    return Attribution(
        ids=ids,
        tokens=token_names(gpt, ids),
        text=whole(gpt, ids[: here + 1]),
        position=here,
        target_id=target_id,
        target=token_name(gpt, target_id),
        versus_id=versus_id,
        versus=None if versus_id is None else token_name(gpt, versus_id),
        logit=logit,
        embed=float(row["embed"][0, 0] @ direction),
        pos_embed=float(row["pos_embed"][0, 0] @ direction) if "pos_embed" in row else None,
        heads=heads,
        attention_biases=attention_biases,
        mlps=mlps,
        norm_bias=float(bias @ u),
        sources=sources,
    )

"""Direct logit attribution: the logit as a sum of what each part wrote into the residual stream.

The final norm is linear once its scale is held at the value it had:

    logit = Σ_parts (part - mean(part)) / scale · gain · u  +  bias · u,   u = wte[token]

so each part's share is one dot product, and the shares sum to the logit. Source: Elhage et al.,
"A Mathematical Framework for Transformer Circuits" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..taps import compose
from .finding import Finding, chosen, read, token_id
from .trace import Recorder

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Attribution", "attribute"]


@dataclass(frozen=True, eq=False)
class Attribution(Finding):
    """Shares of one logit, or of the difference of two (`versus`), at one position.

    logit: what the model computed. embed, pos_embed: the position's own embeddings, straight to
    the output. heads [layer, head]. attention_biases [layer]: of W_Output. mlps [layer].
    norm_bias: of the final norm. sources [layer, head, position]: each head's share by the
    position it was read from; its sum over positions is `heads`.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    position: int
    target_id: int
    target: str
    versus_id: int | None
    versus: str | None
    logit: float
    embed: float
    pos_embed: float
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
        found = [("embed", self.embed), ("pos_embed", self.pos_embed)]
        for layer, heads in enumerate(self.heads):
            found += [(f"L{layer}H{head}", float(value)) for head, value in enumerate(heads)]
            found.append((f"L{layer} attention bias", float(self.attention_biases[layer])))
            found.append((f"L{layer} MLP", float(self.mlps[layer])))
        return [*found, ("final norm bias", self.norm_bias)]


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
    ids, tokens = read(gpt, text)
    (here,) = chosen(position, len(ids), "position")
    hparams, model = gpt.hparams, gpt.model
    budget = 1 << 62
    one_row = Recorder(
        gpt,
        ["embed", "pos_embed", "attn.pattern", "attn.z", "mlp_out", "ln_final.scale", "logits"],
        positions=here,
        budget_bytes=budget,
    )
    all_rows = Recorder(gpt, "attn.v", budget_bytes=budget)
    # What comes later cannot matter: no token sees it.
    gpt.forward([ids[: here + 1]], tap=compose(one_row, all_rows))

    def exact(x: object) -> np.ndarray:
        return np.asarray(model.backend.to_numpy(x), np.float64)

    row = {name: exact(value) for name, value in one_row.passes[0].items()}
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
    direction = (direction - direction.mean()) / row["ln_final.scale"].item()  # [n_embd]

    shape = (hparams.n_layer, hparams.n_head)
    heads, sources = np.empty(shape), np.zeros((*shape, len(ids)))
    attention_biases, mlps = np.empty(hparams.n_layer), np.empty(hparams.n_layer)
    for layer in range(hparams.n_layer):
        at = f"blocks.{layer}"
        readout = exact(model.w_output(layer)) @ direction  # [head, d_k]
        heads[layer] = (row[f"{at}.attn.z"][0, 0] * readout).sum(-1)
        v = exact(all_rows.passes[0][f"{at}.attn.v"])[0]  # [key, head, d_k]
        pattern = row[f"{at}.attn.pattern"][0, :, 0]  # [head, key]
        sources[layer, :, : here + 1] = pattern * (v * readout).sum(-1).T
        attention_biases[layer] = exact(model.b_output(layer)) @ direction
        mlps[layer] = row[f"{at}.mlp_out"][0, 0] @ direction
    return Attribution(
        ids,
        tokens,
        here,
        target_id,
        gpt.tokenizer.decode([target_id]),
        versus_id,
        None if versus_id is None else gpt.tokenizer.decode([versus_id]),
        logit,
        float(row["embed"][0, 0] @ direction),
        float(row["pos_embed"][0, 0] @ direction),
        heads,
        attention_biases,
        mlps,
        float(bias @ u),
        sources,
    )

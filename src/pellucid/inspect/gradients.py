"""Which tokens a prediction is sensitive to, by gradients. Needs the extra `[torch]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..backend import Array
from ..draw.notation import written
from ..draw.pictures import Section, Tokens
from ..errors import InputError
from ..model import Model
from ..visible import quoted
from .edits import Edits
from .finding import Finding, chosen, read, shortened, token_id, token_name, whole

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["TokenGradients", "gradient_times_input", "integrated_gradients"]

_PATHS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenGradients(Finding):
    """Shares of logit(target), or of logit(target) - logit(versus), by input token.

    text: up to `position`. scores [position]: each token's share. gradient [position, n_embd]: of
    the logit with respect to the token embeddings (integrated: its mean along the path). value,
    baseline_value: the logit at the text and at the baseline. Integrated gradients sum to value -
    baseline_value up to `residue`, which more steps make smaller; gradient × input promises no such
    sum (None).
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    position: int
    method: Literal["gradient × input", "integrated gradients"]
    target_id: int
    target: str
    versus_id: int | None
    versus: str | None
    value: float
    baseline_value: float | None
    scores: np.ndarray
    gradient: np.ndarray
    residue: float | None

    def sections(self) -> list[Section]:
        n = self.position + 1
        over = "" if self.versus is None else f" over {quoted(self.versus)}"
        how = (
            f"Share of each token in the logit of {quoted(self.target)}{over} "
            f"({written(self.value, 'signed')}), by {self.method}. Blue: speaks for it. Orange: "
            "speaks against it."
        )
        if self.residue is not None and self.baseline_value is not None:
            how += (
                f" The shares sum to {written(float(self.scores.sum()), 'signed', 3)}; the logit "
                f"moves from {written(self.baseline_value, 'signed', 3)} at the baseline to "
                f"{written(self.value, 'signed', 3)} (residue {self.residue:+.1e}: more steps make "
                "it smaller)."
            )
        return [
            Section(
                kind="TokenGradients",
                title="Token gradients",
                how=how,
                about=shortened(self.text),
                pictures=(Tokens(tokens=self.tokens[:n], values=self.scores[:n]),),
            )
        ]


def gradient_times_input(
    gpt: GPT,
    text: str | Sequence[int],
    target: str | int | None = None,
    *,
    versus: str | int | None = None,
    position: int = -1,
    dtype: Literal["float32", "float64"] = "float32",
) -> TokenGradients:
    """∂logit/∂embedding · embedding, for every token up to `position`.

    target: default the likeliest token. dtype: what torch computes in.
    Raises InputError when torch is not installed.
    """
    question = _Question(gpt, text, target, versus, position, dtype)
    x = question.embeddings[None]
    values, gradient = question.differentiate(x)
    return question.answer("gradient × input", float(values[0]), None, gradient[0], x[0], None)


def integrated_gradients(
    gpt: GPT,
    text: str | Sequence[int],
    target: str | int | None = None,
    *,
    versus: str | int | None = None,
    position: int = -1,
    baseline: Literal["zero", "mean"] = "zero",
    steps: int = 64,
    dtype: Literal["float32", "float64"] = "float32",
) -> TokenGradients:
    """Gradients averaged along the straight way from a baseline to the token embeddings
    (Sundararajan et al., arXiv 1703.01365), by the midpoint rule.

    baseline: "zero" embeddings, or the vocabulary's "mean" at every position. steps: points on
    the way. For the rest see `gradient_times_input`.
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")
    if baseline not in ("zero", "mean"):
        raise InputError(f"baseline must be zero or mean, not {baseline!r}")
    question = _Question(gpt, text, target, versus, position, dtype)
    end = question.embeddings
    table = question.model.embedding()
    start = end * 0 + (table.mean(0) if baseline == "mean" else 0)
    ends, _ = question.differentiate(question.stacked([start, end]))
    total = end * 0
    for low in range(0, steps, _PATHS_AT_ONCE):
        some = range(low, min(low + _PATHS_AT_ONCE, steps))
        points = [start + (i + 0.5) / steps * (end - start) for i in some]
        total = total + question.differentiate(question.stacked(points))[1].sum(0)
    gradient = total / steps
    first, last = float(ends[0]), float(ends[1])
    return question.answer("integrated gradients", last, first, gradient, end - start, last - first)


class _Question:
    """One logit of one text as a function of the token embeddings, differentiable."""

    def __init__(
        self,
        gpt: GPT,
        text: str | Sequence[int],
        target: str | int | None,
        versus: str | int | None,
        position: int,
        dtype: str,
    ) -> None:
        self.gpt = gpt
        self.ids, self.tokens = read(gpt, text)
        (self.position,) = chosen(position, len(self.ids), "position")
        self.seen = list(self.ids[: self.position + 1])
        self.versus_id = None if versus is None else token_id(gpt, versus)
        if target is None:
            self.target_id = int(gpt.logits(self.seen)[-1].argmax())
        else:
            self.target_id = token_id(gpt, target)
        self.model = _differentiable(gpt, dtype)
        self.embeddings = self.model.embedding(self.seen)  # [position, n_embd]

    def stacked(self, points: list[Array]) -> Array:
        import torch

        return torch.stack(points)

    def differentiate(self, embeddings: Array) -> tuple[Array, Array]:
        """embeddings [batch, position, n_embd] -> (values [batch], gradients as embeddings)"""
        import torch

        with torch.enable_grad():
            x = embeddings.detach().clone().requires_grad_(True)
            rows = [self.seen] * x.shape[0]
            logits = self.model.forward(
                rows, tap=Edits(self.model, {"embed": lambda _: x}), last_only=True
            )
            values = logits[:, 0, self.target_id]
            if self.versus_id is not None:
                values = values - logits[:, 0, self.versus_id]
            (gradient,) = torch.autograd.grad(values.sum(), x)
        return values.detach(), gradient

    def answer(
        self,
        method: Literal["gradient × input", "integrated gradients"],
        value: float,
        baseline_value: float | None,
        gradient: Array,
        factor: Array,
        expected: float | None,
    ) -> TokenGradients:
        n, n_seen = len(self.ids), len(self.seen)
        slope = np.zeros((n, self.gpt.hparams.n_embd))
        scores = np.zeros(n)
        slope[:n_seen] = gradient.cpu().double().numpy()
        scores[:n_seen] = (slope[:n_seen] * factor.detach().cpu().double().numpy()).sum(-1)
        return TokenGradients(
            ids=self.ids,
            tokens=self.tokens,
            text=whole(self.gpt, self.seen),
            position=self.position,
            method=method,
            target_id=self.target_id,
            target=token_name(self.gpt, self.target_id),
            versus_id=self.versus_id,
            versus=None if self.versus_id is None else token_name(self.gpt, self.versus_id),
            value=value,
            baseline_value=baseline_value,
            scores=scores,
            gradient=slope,
            residue=None if expected is None else float(scores.sum() - expected),
        )


def _differentiable(gpt: GPT, dtype: str) -> Model:
    """The same model on torch, without dropout and with gradients."""
    if dtype not in ("float32", "float64"):
        raise InputError(f"gradients are computed in float32 or float64, not {dtype!r}")
    try:
        from ..backend.torch import TorchBackend
    except ImportError as error:
        raise InputError(
            'gradients need PyTorch: pip install "pellucid[torch]"; '
            "ablate_each(over='positions') answers much the same without it"
        ) from error
    device: Any = getattr(gpt.model.backend, "device", "cpu")
    machine = TorchBackend(str(device), dtype, training=True)
    return Model.of(gpt.hparams, gpt.model.tensors(), machine)

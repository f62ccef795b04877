"""The mean of the weights over a run's last steps: its model, where the configuration asks for it.

Near the end a run's weights wander around the place they seek, and their mean is nearer to it than
the last of them (Polyak and Juditsky 1992; for language models, arXiv 2306.03241).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from .distributed import gathered, like

__all__ = ["Average"]

Tensor = Any

_PREFIX = "average."
_STEPS = "steps"


class Average:
    """parameters: whose values are averaged, after each of the last `share` of `steps` steps."""

    def __init__(self, parameters: Sequence[Tensor], steps: int, share: float) -> None:
        self._parameters = list(parameters)
        self._first = steps + 1 - round(share * steps)
        self._taken = 0
        self._mean: list[Tensor] = []

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def take(self, step: int) -> None:
        """The weights after that step, counted from 1; one before the last share is left out."""
        if step < self._first:
            return
        values = [parameter.detach() for parameter in self._parameters]
        self._taken += 1
        if self._taken == 1:
            self._mean = [value.clone() for value in values]
        else:
            torch._foreach_lerp_(self._mean, values, 1 / self._taken)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters have their means, where there are any."""
        if not self._taken:
            yield
            return
        values = [parameter.detach().clone() for parameter in self._parameters]
        self._set(self._mean)
        try:
            yield
        finally:
            self._set(values)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_([parameter.detach() for parameter in self._parameters], values)

    def kept(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds of it, by name."""
        if not self._taken:
            return {}
        means = {
            f"{_PREFIX}{at}": gathered(mean).cpu().numpy() for at, mean in enumerate(self._mean)
        }
        return {**means, _PREFIX + _STEPS: np.array([self._first, self._taken])}

    def restore(self, kept: Mapping[str, np.ndarray]) -> None:
        """The inverse of `kept`. Of a run that now ends elsewhere the mean begins anew."""
        first, taken = kept.get(_PREFIX + _STEPS, (0, 0))
        if first == self._first:
            self._taken = int(taken)
            self._mean = [
                like(
                    torch.from_numpy(kept[f"{_PREFIX}{at}"].copy()).to(parameter.device), parameter
                )
                for at, parameter in enumerate(self._parameters)
            ]

"""The five numbers that shape a GPT, by the names openai/gpt-2's `model.py` gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from .errors import InputError

__all__ = ["LIMITS", "SIZES", "HParams", "check_counts"]

# Far above any GPT-2; refuses nonsense such as n_layer = 10**9 before anything is allocated.
LIMITS = {
    "n_vocab": 1 << 22,
    "n_ctx": 1 << 20,
    "n_embd": 1 << 16,
    "n_head": 1 << 10,
    "n_layer": 1 << 10,
}


def check_counts(hparams: HParams, limits: Mapping[str, int]) -> None:
    """Raises InputError where one of the fields named is no integer from 1 to its limit."""
    for name, limit in limits.items():
        value = getattr(hparams, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} must be an integer, not {value!r}")
        if not 1 <= value <= limit:
            raise InputError(f"{name} must be between 1 and {limit}, not {value}")


@dataclass(frozen=True, slots=True)
class HParams:
    """The model's own (hyper)parameters.

    n_vocab: unique tokens the model knows. n_ctx: tokens in the context window.
    n_embd: numbers per embedding. n_head: attention heads in each layer.
    n_layer: how often the transformer block is applied.

    Raises InputError when a value is not a positive integer within reason, or when
    n_embd is not a multiple of n_head (each head works on n_embd / n_head numbers).

    Another family's derive from these five and add their own (`families`); what all are asked
    for are the properties below.
    """

    n_vocab: int
    n_ctx: int
    n_embd: int
    n_head: int
    n_layer: int

    def __post_init__(self) -> None:
        check_counts(self, LIMITS)
        if self.n_embd % self.n_head:
            raise InputError(
                f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head}): "
                "each head works on n_embd / n_head numbers"
            )

    @property
    def family(self) -> str:
        """Whose page computes it, and whose record says what it is made of."""
        return "gpt2"

    @property
    def d_k(self) -> int:
        """Width of one head's queries, keys and values (the paper's d_k; here d_v = d_k)."""
        return self.n_embd // self.n_head

    @property
    def n_kv_head(self) -> int:
        """Heads that keys and values have; here each query head has its own."""
        return self.n_head

    def reach(self, layer: int) -> int | None:
        """The keys that a query sees in a layer at most, its own and those before it; None: all."""
        return None

    @property
    def rope(self) -> Any:
        """How positions turn queries and keys (`families.llama.Rope`); None: they are added."""
        return None

    @property
    def n_inner(self) -> int:
        """Neurons of each layer's MLP."""
        return 4 * self.n_embd

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have biases."""
        return True

    @property
    def epsilon(self) -> float:
        """Of every norm: keeps it from dividing by 0."""
        return 1e-5

    @property
    def tied(self) -> bool:
        """Whether the output layer is the table of embeddings (else it has its own, `lm_head`)."""
        return True

    @property
    def n_params(self) -> int:
        """Parameters of the whole model; the output layer shares the token embeddings."""
        block = 12 * self.n_embd**2 + 13 * self.n_embd
        embeddings = (self.n_vocab + self.n_ctx) * self.n_embd
        return embeddings + self.n_layer * block + 2 * self.n_embd

    def to_dict(self) -> dict[str, Any]:
        """The hyperparameters by name; of another family than GPT-2, with its name first."""
        return ({} if self.family == "gpt2" else {"family": self.family}) | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From a mapping with exactly these names; anything missing or extra is an error."""
        names = {each.name for each in fields(cls)}
        if missing := sorted(names - set(values)):
            raise InputError(f"hyperparameters missing: {', '.join(missing)}")
        if extra := sorted(set(values) - names):
            raise InputError(f"unknown hyperparameters: {', '.join(extra)}; known: {sorted(names)}")
        return cls(**values)


SIZES: dict[str, HParams] = {
    "gpt2": HParams(50257, 1024, 768, 12, 12),  # 124M
    "gpt2-medium": HParams(50257, 1024, 1024, 16, 24),  # 355M
    "gpt2-large": HParams(50257, 1024, 1280, 20, 36),  # 774M
    "gpt2-xl": HParams(50257, 1024, 1600, 25, 48),  # 1.5B
    # The talk's window of 8 tokens, with embeddings short enough to read out.
    "talk": HParams(349, 8, 12, 3, 2),
}

"""Llama and its relatives: RMS norms, rotary positions, grouped queries, a gated MLP.

LLaMA (arXiv 2302.13971), Llama 3 (2407.21783), SmolLM2, Mistral, Qwen2.5 and Qwen3 are one page
with other hyperparameters. Parameters have GPT-2's names where they do GPT-2's work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self, get_args

from ..errors import InputError
from ..hparams import LIMITS, HParams, check_counts
from .family import Branch, Family, TapInfo
from .gpt2 import taps as gpt2_taps

__all__ = ["LLAMA", "LlamaHParams", "Rope", "RopeKind"]

RopeKind = Literal["default", "linear", "llama3", "yarn", "factors"]
_MOST = {"n_kv_head": 1 << 10, "d_head": 1 << 12, "n_inner": 1 << 18}


def _share(x: float, low: float, high: float) -> float:
    """How far x is on the way from low to high, from 0 to 1."""
    return min(max((x - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """How fast each pair of numbers turns from one position to the next (RoFormer, arXiv
    2104.09864).

    theta: the base; pair i of d_k/2 turns by theta^(-2i/d_k). kind: how a longer window was made of
    one of n_original tokens, `factor` times as long: "linear" turns all slower (arXiv 2306.15595),
    "llama3" only what turns seldom in the shorter window, with low and high turns as bounds;
    "yarn" (arXiv 2309.00071) likewise, and queries and keys become `scale` times as large;
    "factors" each as many times slower as `factors` says, one of each pair.

    Raises InputError for a kind that is not here and numbers out of range.
    """

    theta: float = 10000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    n_original: int = 0
    low: float = 1.0
    high: float = 4.0
    scale: float = 1.0
    whole: bool = True  # yarn's bounds are rounded to whole pairs
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(RopeKind):
            raise InputError(f"rope must be {', '.join(get_args(RopeKind))}, not {self.kind!r}")
        for name in ("theta", "factor", "low", "high", "scale"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
                raise InputError(f"rope's {name} must be a number above 0, not {value!r}")
            object.__setattr__(self, name, float(value))
        if type(self.n_original) is not int or not 0 <= self.n_original <= LIMITS["n_ctx"]:
            raise InputError(f"rope's n_original must be a length, not {self.n_original!r}")
        if type(self.whole) is not bool:
            raise InputError("rope's whole must be true or false")
        object.__setattr__(self, "factors", tuple(self.factors))
        if (self.kind == "factors") != bool(self.factors) or not all(
            type(each) is float and math.isfinite(each) and each > 0 for each in self.factors
        ):
            raise InputError("rope's factors must be numbers above 0, one of each pair")
        if self.kind in ("llama3", "yarn") and not (self.n_original and self.low < self.high):
            raise InputError(f"rope {self.kind} needs n_original, and low below high")

    def frequencies(self, d_k: int) -> list[float]:
        """[d_k / 2]: by how much, in radians, each pair turns from one position to the next."""
        plain = [self.theta ** (-2 * i / d_k) for i in range(d_k // 2)]
        if self.kind == "linear":
            return [each / self.factor for each in plain]
        if self.kind == "factors":
            return [each / factor for each, factor in zip(plain, self.factors, strict=True)]
        if self.kind == "llama3":
            # Pairs that turn seldom within the shorter window turn slower, those that turn often
            # as before; from low to high the one passes into the other.
            turns = [self.n_original * each / (2 * math.pi) for each in plain]
            kept = [_share(each, self.low, self.high) for each in turns]
            return [(1 - s) * f / self.factor + s * f for f, s in zip(plain, kept, strict=True)]
        if self.kind == "yarn":
            first, last = self._pair(self.high, d_k), self._pair(self.low, d_k)
            if self.whole:
                first, last = math.floor(first), math.ceil(last)
            first, last = max(first, 0), min(last, d_k - 1)
            last = first + 0.001 if first == last else last
            slower = [_share(i, first, last) for i in range(d_k // 2)]
            return [s * f / self.factor + (1 - s) * f for f, s in zip(plain, slower, strict=True)]
        return plain

    def _pair(self, turns: float, d_k: int) -> float:
        """Which pair turns so often within the shorter window."""
        return d_k * math.log(self.n_original / (turns * 2 * math.pi)) / (2 * math.log(self.theta))


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaHParams(HParams):
    """n_kv_head: heads of keys and values, each for n_head / n_kv_head heads of queries. d_head:
    numbers of a head. n_inner: neurons of each MLP. epsilon: of the norms. tied: whether the output
    layer is the table of embeddings. qkv_bias: whether queries, keys and values have biases
    (Qwen2). qk_norm: whether each head's query and key go through a norm (Qwen3).

    Raises InputError as `HParams` does, and where heads cannot be divided into such groups.
    """

    n_kv_head: int
    d_head: int
    n_inner: int
    rope: Rope = Rope()
    epsilon: float = 1e-5
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        check_counts(self, LIMITS | _MOST)
        if self.n_head % self.n_kv_head:
            raise InputError(
                f"n_head ({self.n_head}) must be a multiple of n_kv_head ({self.n_kv_head}): each "
                "head of keys serves as many heads of queries"
            )
        if self.d_head % 2:
            raise InputError(
                f"d_head ({self.d_head}) must be even: positions turn pairs of numbers"
            )
        if type(self.epsilon) not in (int, float) or not 0 < self.epsilon < 1:
            raise InputError(f"epsilon must be a number between 0 and 1, not {self.epsilon!r}")
        for name in ("tied", "qkv_bias", "qk_norm"):
            if type(getattr(self, name)) is not bool:
                raise InputError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if isinstance(self.rope, Rope) and len(self.rope.factors) not in (0, self.d_head // 2):
            raise InputError(f"rope needs {self.d_head // 2} factors, not {len(self.rope.factors)}")
        if not isinstance(self.rope, Rope):
            raise InputError(f"rope must be a table of its numbers, not {self.rope!r}")

    @property
    def family(self) -> str:
        return "llama"

    @property
    def d_k(self) -> int:
        return self.d_head

    @property
    def n_qkv(self) -> int:
        """Numbers of a token's queries, keys and values together."""
        return (self.n_head + 2 * self.n_kv_head) * self.d_head

    @property
    def n_params(self) -> int:
        n, n_z = self.n_embd, self.n_head * self.d_head
        block = n * self.n_qkv + n_z * n + 3 * n * self.n_inner + 2 * n
        block += self.n_qkv * self.qkv_bias + 2 * self.d_head * self.qk_norm
        return self.n_vocab * n * (1 if self.tied else 2) + self.n_layer * block + n

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = dict(values)
        if isinstance(rope := known.get("rope"), Mapping):
            try:
                known["rope"] = Rope(**rope)
            except TypeError as error:
                raise InputError(f"rope: {error}") from error
        return super(LlamaHParams, cls).from_dict(known)


def branches(hparams: HParams) -> Mapping[str, Branch]:
    """The tree that `model/llama.py` reads."""
    assert isinstance(hparams, LlamaHParams)
    h, n = hparams, hparams.n_embd
    n_z, into_stream = h.n_head * h.d_head, 0.02 / math.sqrt(2 * h.n_layer)
    table = {"wte": Branch("table", (h.n_vocab, n))}
    for i in range(h.n_layer):
        table |= {
            f"h.{i}.ln_1": Branch("norm", (n,)),
            # queries of all heads, then keys, then values
            f"h.{i}.attn.c_attn": Branch("linear", (n, h.n_qkv), h.qkv_bias),
        }
        if h.qk_norm:
            table |= {f"h.{i}.attn.{name}_norm": Branch("norm", (h.d_head,)) for name in "qk"}
        table |= {
            f"h.{i}.attn.c_proj": Branch("linear", (n_z, n), False, into_stream),
            f"h.{i}.ln_2": Branch("norm", (n,)),
            # gates, then what they let through
            f"h.{i}.mlp.c_fc": Branch("linear", (n, 2 * h.n_inner)),
            f"h.{i}.mlp.c_proj": Branch("linear", (h.n_inner, n), False, into_stream),
        }
    table["ln_f"] = Branch("norm", (n,))
    return table if h.tied else table | {"lm_head": Branch("table", (h.n_vocab, n))}


_PER_HEAD = ("batch", "position", "head", "d_k")
_PER_KEY_HEAD = ("batch", "position", "kv_head", "d_k")
_NEURONS = ("batch", "position", "n_inner")
_ATTENTION, _MLP = "self-attention", "repeat for each layer"
_OTHERS = {  # GPT-2's values that are something else here
    "ln.scale": "√(mean(x²) + ε)",
    "ln.normalized": "x / scale",
    "ln.out": "normalized · gain",
    "blocks.{i}.attn_out": "concat(z) · W_Output",
    "blocks.{i}.mlp_out": "post · W_down",
    "blocks.{i}.attn.qk": "rot_q · rot_kᵀ / √d_k",
}


@cache
def taps(hparams: HParams) -> Mapping[str, TapInfo]:
    """Every value that can be seen and replaced, in the order in which it is computed."""
    assert isinstance(hparams, LlamaHParams)
    table: dict[str, TapInfo] = {}
    for name, info in gpt2_taps(hparams).items():
        if name == "pos_embed":
            continue
        if name == "blocks.{i}.attn.qk":
            table |= _rotations(hparams)
        if name.endswith(("attn.k", "attn.v")):
            info = TapInfo(_PER_KEY_HEAD, info.formula, info.slide)
        elif name.endswith("mlp.pre"):
            info = TapInfo(_NEURONS, "x · W_gate", info.slide)
        elif name.endswith("mlp.post"):
            table[f"{name[:-4]}pre_linear"] = TapInfo(_NEURONS, "x · W_up", info.slide)
            info = TapInfo(_NEURONS, "pre · sigmoid(pre) · pre_linear", info.slide)
        elif name == "logits" and not hparams.tied:
            info = TapInfo(info.axes, "x · lm_headᵀ", info.slide)
        else:
            norm = name.split(".")[-2:-1] in (["ln1"], ["ln2"], ["ln_final"])
            other = f"ln.{name.split('.')[-1]}" if norm else name
            info = TapInfo(info.axes, _OTHERS.get(other, info.formula), info.slide)
        table[name] = info
    return table


def _rotations(hparams: LlamaHParams) -> dict[str, TapInfo]:
    """What queries and keys go through before they are multiplied."""
    at = "blocks.{i}.attn."
    table: dict[str, TapInfo] = {}
    for name, axes in (("q", _PER_HEAD), ("k", _PER_KEY_HEAD)):
        if hparams.qk_norm:
            one = (*axes[:-1], "1")
            table |= {
                f"{at}{name}_norm.scale": TapInfo(one, f"√(mean({name}²) + ε)", _ATTENTION),
                f"{at}{name}_norm.normalized": TapInfo(axes, f"{name} / scale", _ATTENTION),
                f"{at}{name}_norm.out": TapInfo(axes, "normalized · gain", _ATTENTION),
            }
    for name, axes in (("q", _PER_HEAD), ("k", _PER_KEY_HEAD)):
        turned = f"{name}_norm" if hparams.qk_norm else name
        formula = f"{turned}, each pair turned by position · its frequency"
        table[f"{at}rot_{name}"] = TapInfo(axes, formula, _ATTENTION)
    return table


LLAMA = Family(
    title="Llama",
    hparams=LlamaHParams,
    branches=branches,
    taps=taps,
    centres=False,
    query="attn.rot_q",
    key="attn.rot_k",
)

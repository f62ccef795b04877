"""Operations of a training on a CPU, with gradients of their own: the values of PyTorch's, but for
rounding, in less time.

A part of the rows goes through all steps before the next begins, so that what is between two steps
is still in the cache; and a block of queries meets no key that all of it is blind to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["causal_attention", "gelu", "linear", "pays", "product", "wide"]

Tensor = Any

_PART = 1 << 18  # numbers of a GELU at a time
_BLOCK = 64  # queries of a short text that are attended from together; an eighth of a long one's
_KEPT = 512  # positions up to which attention's pattern is kept for the backward pass
_LINEAR = 2 * math.sqrt(2 / math.pi)  # tanh(u) = 2 σ(2u) - 1, so GELU(x) = x · σ(2u), where
_CUBIC = _LINEAR * 0.044715  # 2u = _LINEAR · x + _CUBIC · x³


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [row, in] · weight [in, out] + bias [out] -> [row, out]"""
    if _by_onednn(x):
        return _Linear.apply(x, weight, bias)
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


def product(x: Tensor, y: Tensor) -> Tensor:
    """x [row, n] · yᵀ [n, column] -> [row, column], without a gradient."""
    return _onednn(x, y) if _by_onednn(x) else x @ y.T


def gelu(x: Tensor) -> Tensor:
    """[...] -> [...]: the tanh form, through σ, which a CPU has in a third of tanh's time."""
    if torch.compiler.is_compiling():  # the compiler keeps the steps together itself
        own = x.to(wide(x.dtype))
        return (own * torch.sigmoid(own * (_LINEAR + _CUBIC * own * own))).to(x.dtype)
    return _Gelu.apply(x)


def pays(q: Tensor) -> bool:
    """Whether `causal_attention` is faster than PyTorch's fused one. In float32 that one is ahead
    where a text is long, and this one would have to make its pattern a second time."""
    short = q.dtype == torch.bfloat16 or q.shape[2] <= _KEPT
    return bool(short and not torch.compiler.is_compiling())


def causal_attention(q: Tensor, k: Tensor, v: Tensor, reach: int | None = None) -> Tensor:
    """q, k, v [batch, head, position, d_k] -> the same shape: softmax(Q·Kᵀ / √d_k) · V, where no
    query sees a later key, or with a reach, one that lies that far behind it or farther."""
    return _Attention.apply(q, k, v, reach)


class _Linear(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight.T, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _onednn(grad, weight) if for_x else None,
            x.T @ grad if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


def _onednn(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [row, n] · yᵀ [n, column] + bias [column] -> [row, column]"""
    return torch.ops.mkldnn._linear_pointwise(x, y, bias, "none", [], "")


def _by_onednn(x: Tensor) -> bool:
    """Whether oneDNN, which comes with PyTorch, multiplies faster than MKL, which PyTorch takes in
    float32: a tenth, where the processor is not of MKL's maker."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
        return False
    return _not_of_intel() and not torch.is_autocast_enabled("cpu")


@cache
def _not_of_intel() -> bool:
    """Whether the processor is AMD's, and this PyTorch lets oneDNN be asked for."""
    try:
        maker = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "AuthenticAMD" in maker and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class _Gelu(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        out, slope = torch.empty_like(x), torch.empty_like(x)
        linear = torch.tensor(_LINEAR, dtype=wide(x.dtype))
        for part, value, derivative in zip(
            *(y.view(-1).split(_PART) for y in (x, out, slope)), strict=True
        ):
            own = part.to(linear.dtype)
            square = own * own
            sigma = torch.add(linear, square, alpha=_CUBIC).mul_(own).sigmoid_()
            scaled = own * sigma
            value.copy_(scaled)
            # σ + x · σ · (1 - σ) · (the derivative of 2u)
            torch.add(linear, square, alpha=3 * _CUBIC, out=square)
            scaled.addcmul_(scaled, sigma, value=-1)
            derivative.copy_(sigma.addcmul_(scaled, square))
        ctx.save_for_backward(slope)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return grad * slope


class _Attention(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, reach: int | None) -> Tensor:
        shape = q.shape
        q, k, v = (x.reshape(-1, *shape[2:]) for x in (q, k, v))  # [row, position, d_k]
        out, patterns = torch.empty_like(q), []
        for queries, keys in _blocks(shape[2], reach):
            pattern = _pattern(q, k, queries, keys, reach)
            out[:, queries] = torch.bmm(pattern, v[:, keys])
            if shape[2] <= _KEPT:
                patterns.append(pattern)
        ctx.reach = reach
        ctx.save_for_backward(q, k, v, *patterns)
        return out.view(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *patterns = ctx.saved_tensors
        shape, n, scale = grad.shape, q.shape[1], q.shape[2] ** -0.5
        grad = grad.reshape(q.shape)
        of_q, of_k, of_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for at, (queries, keys) in enumerate(_blocks(n, ctx.reach)):
            pattern = patterns[at] if patterns else _pattern(q, k, queries, keys, ctx.reach)
            of_pattern = torch.bmm(grad[:, queries], v[:, keys].mT)
            of_scores = torch._softmax_backward_data(of_pattern, pattern, -1, pattern.dtype)
            of_scores.mul_(scale)
            of_q[:, queries] = torch.bmm(of_scores, k[:, keys])
            of_k[:, keys] += torch.bmm(of_scores.mT, q[:, queries])
            of_v[:, keys] += torch.bmm(pattern.mT, grad[:, queries])
        return of_q.view(shape), of_k.view(shape), of_v.view(shape), None


def _blocks(n: int, reach: int | None) -> Iterator[tuple[slice, slice]]:
    """The queries of each block, and the keys that any of them sees."""
    size = max(_BLOCK, -(-n // 8))
    for begin in range(0, n, size):
        end = min(begin + size, n)
        yield slice(begin, end), slice(0 if reach is None else max(0, begin - reach + 1), end)


def _pattern(q: Tensor, k: Tensor, queries: slice, keys: slice, reach: int | None) -> Tensor:
    """q, k [row, position, d_k] -> [row, query, key]: how much each query looks at each key."""
    at = torch.arange(queries.start, queries.stop)[:, None]
    key = torch.arange(keys.start, keys.stop)
    hidden = key > at if reach is None else (key > at) | (key <= at - reach)
    mask = torch.zeros(hidden.shape, dtype=q.dtype).masked_fill(hidden, float("-inf"))
    scores = torch.baddbmm(mask, q[:, queries], k[:, keys].mT, alpha=q.shape[2] ** -0.5)
    return torch.softmax(scores, -1)


def wide(dtype: Any) -> Any:
    """What is computed in, and summed, between values of a dtype."""
    return dtype if dtype == torch.float64 else torch.float32

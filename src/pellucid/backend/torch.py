"""The operations on PyTorch: training, GPUs, bfloat16. Needs the extra `[torch]`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from . import backward
from .protocol import KeyValues, Norm, Segment, Turns, taken_in, turned

__all__ = ["TorchBackend"]

_POSITIONS = 1 << 15  # that a device of its own does best at a time
_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
}

_NOTHING = np.zeros(1, np.int64)  # tokens before a pass without a cache

Tensor = Any  # torch.Tensor; torch is an extra, so the type checker does not follow it


class TorchBackend:
    """training: keep gradients and apply dropout; otherwise a forward pass keeps neither."""

    name = "torch"

    def __init__(
        self,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        *,
        dropout: float = 0.0,
        training: bool = False,
    ) -> None:
        if dtype not in _DTYPES:
            raise InputError(f"the torch backend computes in {', '.join(_DTYPES)}, not {dtype!r}")
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"torch has no device {device!r} here: {error}") from error
        if self.device.type != "cpu":
            self.positions = _POSITIONS
        self.dtype = _DTYPES[dtype]
        self.dropout_rate = dropout
        self.training = training
        if threads is not None:
            torch.set_num_threads(threads)

    # Arrays in and out

    def asarray(self, values: Any) -> Tensor:
        if isinstance(values, np.ndarray) and not values.flags.writeable:
            values = values.copy()  # torch has no read-only tensors
        return torch.as_tensor(values).to(self.device, self.dtype)

    def ids(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.int64, device=self.device)

    def to_numpy(self, x: Tensor) -> np.ndarray:
        x = x.detach().cpu()
        return np.asarray((x.float() if x.dtype == torch.bfloat16 else x).numpy())

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def to_cache(self, k: Tensor) -> Tensor:
        return k

    def from_cache(self, kept: Tensor) -> Tensor:
        return kept

    # Weights: tensors, or while training the parameters of a module

    def prepare(self, w: Any) -> Any:
        return type(w)(*(None if x is None else self.asarray(x) for x in w))

    def dense(self, w: Any) -> Tensor:
        return w.weight

    # The model's operations

    def embedding(self, w: Any, ids: Tensor) -> Tensor:
        return F.embedding(ids, w.weight)

    def linear(
        self,
        x: Tensor,
        w: Any,
        *,
        norm: Norm | None = None,
        gelu: bool = False,
        swiglu: bool = False,
        add: Tensor | None = None,
    ) -> Tensor:
        if norm is not None:
            x = self.layer_norm(x, *norm)
        weight = w.weight  # once: under LoRA it is computed
        rows = x.reshape(-1, weight.shape[0])
        if self._learns(rows):
            rows = backward.linear(rows, weight, w.bias)
        else:
            rows = rows @ weight if w.bias is None else torch.addmm(w.bias, rows, weight)
        out = rows.view(*x.shape[:-1], weight.shape[1])
        if gelu:
            out = self.gelu(out)
        if swiglu:
            out = self.swiglu(*out.chunk(2, -1))
        return out if add is None else add + self.dropout(out)

    def matmul(self, x: Tensor, y: Any) -> Tensor:
        if not isinstance(y, torch.Tensor):
            y = self.dense(y).reshape(x.shape[1], x.shape[3], -1)
        return x @ y

    def unembed(self, x: Tensor, w: Any) -> Tensor:
        return F.linear(x, w.weight)

    def layer_norm(self, x: Tensor, gain: Tensor, bias: Tensor | None, epsilon: float) -> Tensor:
        if bias is None:
            return F.rms_norm(x.to(gain.dtype), x.shape[-1:], gain, epsilon)
        return F.layer_norm(x, x.shape[-1:], gain, bias, epsilon)

    def mean(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)

    def sqrt(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)

    def gelu(self, x: Tensor) -> Tensor:
        return backward.gelu(x) if self._learns(x) else F.gelu(x, approximate="tanh")

    def swiglu(self, gate: Tensor, x: Tensor) -> Tensor:
        return F.silu(gate) * x

    def softmax(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)

    def causal_mask(
        self, past: Tensor, n_query: int, n_key: int, reach: int | None = None
    ) -> Tensor:
        query = torch.arange(n_query, device=self.device)[:, None]
        last, keys = past[:, None, None, None] + query, torch.arange(n_key, device=self.device)
        return keys <= last if reach is None else (keys <= last) & (keys > last - reach)

    def hide(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        return scores.clone() if mask is None else scores.masked_fill(~mask, float("-inf"))

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cache: KeyValues | None,
        layer: int,
        turns: Turns | None = None,
        reach: int | None = None,
    ) -> Tensor:
        if turns is not None:
            # Angles are float32, and so is what they turn, also where values are half as wide.
            q, k = (turned(x, turns).to(v.dtype) for x in (q, k))
        past, n_new = _NOTHING if cache is None else cache.past, k.shape[2]
        if cache is not None and len(past) > cache.batch:  # several texts in one row
            return self._attend_each(q, taken_in(cache, layer, k, v), reach)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # [batch, kv_head, key, d_k]
        k, v = _for_each_head(k, q), _for_each_head(v, q)
        dropout = self.dropout_rate if self.training else 0.0
        if reach is not None and k.shape[2] <= reach:
            reach = None  # all are within it
        if q.shape[2] == k.shape[2]:  # nothing cached
            if not dropout and self._learns(q) and backward.pays(q):
                return backward.causal_attention(q, k, v, reach)
            if self.training and q.device.type == "cpu" and q.dtype == torch.bfloat16:
                return self._explicit(q, k, v, dropout, reach)
            if reach is not None:
                mask = self.causal_mask(self.ids(_NOTHING), q.shape[2], k.shape[2], reach)
                return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        if q.shape[2] == 1 and len(past) == 1:
            some = slice(None if reach is None else -reach, None)
            return F.scaled_dot_product_attention(q, k[:, :, some], v[:, :, some])
        first = self.ids(past) + n_new - q.shape[2]  # fewer queries are the last ones
        mask = self.causal_mask(first, q.shape[2], k.shape[2], reach)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)

    def _attend_each(self, q: Tensor, segments: list[Segment], reach: int | None) -> Tensor:
        """q [batch, head, new, d_k] -> the same shape, one segment after the other."""
        out = torch.empty_like(q)
        for each in segments:
            new = q[each.row, :, each.begin : each.begin + each.n]
            seen = each.last(None if reach is None else reach + each.n - 1).stretches
            k, v = (torch.cat(parts, 1) for parts in zip(*seen, strict=True))
            past = self.ids([k.shape[1] - each.n])
            mask = None if each.n == 1 else self.causal_mask(past, each.n, k.shape[1], reach)[0]
            new, k, v = new[None], k[None], v[None]
            k, v = _for_each_head(k, new), _for_each_head(v, new)
            attended = F.scaled_dot_product_attention(new, k, v, attn_mask=mask)
            out[each.row, :, each.begin : each.begin + each.n] = attended[0]
        return out

    def _explicit(
        self, q: Tensor, k: Tensor, v: Tensor, dropout: float, reach: int | None
    ) -> Tensor:
        """In bfloat16 on a CPU, forward and backward take half the fused operation's time."""
        *rows, n, d_k = q.shape
        seen = self.causal_mask(self.ids(_NOTHING), n, n, reach)[0, 0]
        mask = torch.zeros(n, n, dtype=q.dtype, device=q.device).masked_fill(~seen, float("-inf"))
        with torch.autocast(q.device.type, enabled=False):
            q, k, v = (x.reshape(-1, n, d_k) for x in (q, k, v))
            scores = torch.baddbmm(mask, q, k.swapaxes(1, 2), alpha=d_k**-0.5)
            pattern = F.dropout(torch.softmax(scores, -1), dropout, dropout > 0)
            return torch.bmm(pattern, v).reshape(*rows, n, d_k)

    def dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout_rate, self.training)

    def _learns(self, x: Tensor) -> bool:
        """Whether operations with gradients of our own are the faster ones."""
        return self.training and x.device.type == "cpu"

    def computing(self) -> AbstractContextManager[Any]:
        if self.training:
            return nullcontext()
        return torch.inference_mode()  # type: ignore[no-any-return]


def _for_each_head(k: Tensor, q: Tensor) -> Tensor:
    """k [batch, kv_head, key, d_k] -> as many heads as q has, each as often as it is shared."""
    shared = q.shape[1] // k.shape[1]
    return k if shared == 1 else k.repeat_interleave(shared, 1)

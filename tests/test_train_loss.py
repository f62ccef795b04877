"""What makes a step of training quick gives PyTorch's own numbers: loss, GELU, attention."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from support.skips import needs

torch = needs("torch")

import torch.nn.functional as F  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from pellucid.backend import backward  # noqa: E402
from pellucid.train.batches import IGNORE, LOGITS  # noqa: E402
from pellucid.train.loss import summed_loss  # noqa: E402

N_ROWS, N_EMBD, N_VOCAB = 2_300, 8, 70  # three parts of logits, the last of them short


def problem(dtype, share=0.0, scale=1.0):
    """-> (x, the table, targets, of which that share is not to be learned)"""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_ROWS, N_EMBD, generator=generator, dtype=torch.float64) * scale
    table = torch.randn(N_VOCAB, N_EMBD, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, N_VOCAB, (N_ROWS,), generator=generator)
    targets[torch.rand(N_ROWS, generator=generator) < share] = IGNORE
    return x.to(dtype).requires_grad_(), table.to(dtype).requires_grad_(), targets


def whole(x, table, targets):
    """The reference: all logits, and PyTorch's own loss."""
    return F.cross_entropy((x @ table.T).float() if x.dtype == torch.float32 else x @ table.T,
                           targets, ignore_index=IGNORE, reduction="sum")  # fmt: skip


def graded(function, *inputs):
    """-> (the value, and the gradients of its mean by the inputs that have any)"""
    value = function(*inputs)
    by = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad]
    return value.detach(), *torch.autograd.grad(value.sum() / N_ROWS, by)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("dtype", "within"), [("float64", 1e-12), ("float32", 2e-6)])
def test_the_loss_and_its_gradients_are_those_of_all_logits(dtype, within, share):
    given = problem(getattr(torch, dtype), share)
    for found, expected in zip(graded(summed_loss, *given), graded(whole, *given), strict=True):
        assert found.dtype == expected.dtype
        assert float((found - expected).norm()) <= within * float(expected.norm())


def test_in_bfloat16_the_loss_differs_by_its_rounding():
    given = problem(torch.float32, 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, *gradients = graded(summed_loss, *given)
        expected, *theirs = graded(whole, *given)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for one, other in zip(gradients, theirs, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) <= 2**-7 * float(other.norm())


def test_a_target_that_is_all_but_impossible_has_a_loss_all_the_same():
    """Its probability is too small for float32: only its logarithm is a number."""
    x, table, targets = problem(torch.float32, scale=60.0)
    loss, *gradients = graded(summed_loss, x, table, targets)
    expected, *theirs = graded(whole, x, table, targets)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(gradients, theirs, strict=True)
    )


def test_without_gradients_there_are_none_and_a_frozen_table_has_none():
    x, table, targets = problem(torch.float64)
    with torch.no_grad():
        assert not summed_loss(x, table, targets).requires_grad
    frozen = table.detach()
    (expected,) = graded(whole, x, frozen, targets)[1:]
    (found,) = graded(summed_loss, x, frozen, targets)[1:]
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


class Largest(TorchFunctionMode):
    """How many numbers the largest tensor has that any operation gives back."""

    numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return result


def test_the_logits_are_never_whole():
    given = problem(torch.float32)
    with Largest() as reference:
        graded(whole, *given)
    assert reference.numbers == N_ROWS * N_VOCAB
    with Largest() as parts:
        graded(summed_loss, *given)
    assert parts.numbers <= LOGITS * N_VOCAB


@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_map_and_its_gradients_are_those_of_pytorch(biased):
    """On a processor of Intel's that is PyTorch's own product."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((9, 40), (40, 70), (70,))[: 3 if biased else 2]
    inputs = [torch.randn(each, generator=generator).requires_grad_() for each in shapes]

    def ours(x, weight, bias=None):
        return backward.linear(x, weight, bias)

    exact = [each.detach().double().requires_grad_() for each in inputs]
    expected = graded(lambda x, weight, bias=0: x @ weight + bias, *exact)
    for one, other in zip(graded(ours, *inputs), expected, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) <= 1e-6 * float(other.norm())


@pytest.mark.parametrize(
    ("n", "reach"), [(9, None), (150, None), (150, 40), (600, None), (600, 70)]
)
def test_attention_and_its_gradients_are_those_of_pytorch(n, reach):
    generator = torch.Generator().manual_seed(n)
    shape = (2, 3, n, 4)
    q, k, v = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    )
    sign = torch.randn(shape, generator=generator, dtype=torch.float64)
    at = torch.arange(n)
    seen = at <= at[:, None]
    if reach is not None:
        seen &= at > at[:, None] - reach

    def ours(q, k, v):
        return backward.causal_attention(q, k, v, reach) * sign

    def theirs(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen) * sign

    for found, expected in zip(graded(ours, q, k, v), graded(theirs, q, k, v), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "within"), [("float64", 1e-12), ("float32", 2e-6), ("bfloat16", 2**-7)]
)
def test_gelu_and_its_slope_are_those_of_pytorch(dtype, within):
    x = torch.linspace(-12, 12, 300_000, dtype=torch.float64)  # two parts, the last one short
    x = torch.cat([x, torch.tensor([-1e4, 1e4], dtype=torch.float64)])
    narrow = x.to(getattr(torch, dtype)).requires_grad_()
    exact = narrow.detach().double().requires_grad_()
    found = graded(backward.gelu, narrow)
    expected = graded(lambda x: F.gelu(x, approximate="tanh"), exact)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == narrow.dtype
        assert bool(((one.double() - other).abs() <= within * other.abs().clamp(min=1)).all())


FAULTS = """
import resource, sys
import numpy as np
from pellucid.train.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def step():
    for _ in range(4):
        np.ones(5_000_000)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_is_freed_is_kept():
    """Page faults of the second of two equal steps."""
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"):
        return  # nothing to keep: `keep_freed` leaves other systems alone
    kept, plain = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True,
                           check=True).stdout)
        for how in ("kept", "plain")
    )  # fmt: skip
    assert plain > 1_000
    assert kept < plain / 10

"""The numpy backend's divided work: large enough that threads run, equal to one thread's."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.backend import get_backend


@pytest.mark.parametrize("n_row", [1, 5, 64])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("threads", [2, 3])
def test_products_divided(n_row: int, transposed: bool, threads: int) -> None:
    """One row, few rows and many: each of the ways in which a product is divided."""
    rng = np.random.default_rng(0)
    machine = get_backend("numpy", dtype="float64", threads=threads)
    x, bias = rng.standard_normal((n_row, 1100)), rng.standard_normal(1000)
    if transposed:
        table = rng.standard_normal((1000, 1100))
        got, exact = machine.unembed(x, table), x @ table.T
    else:
        weight = rng.standard_normal((1100, 1000))
        got, exact = machine.linear(x, weight, bias), x @ weight + bias
    assert machine._pool is not None, "the work was not divided: the case is too small"
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-10)


def test_gelu_and_attention_divided() -> None:
    rng = np.random.default_rng(1)
    q, k, v = rng.standard_normal((3, 1, 4, 150, 16))
    x = rng.standard_normal((40, 3000))
    past = np.array([0])
    one = get_backend("numpy", dtype="float64", threads=1)
    for threads in (2, 3):
        for operation in ("gelu", "attention"):
            machine = get_backend("numpy", dtype="float64", threads=threads)
            values = (x,) if operation == "gelu" else (q, k, v, past)
            got = getattr(machine, operation)(*values)
            assert machine._pool is not None, "the work was not divided: the case is too small"
            exact = getattr(one, operation)(*values)
            np.testing.assert_allclose(got, exact, rtol=0, atol=1e-12)

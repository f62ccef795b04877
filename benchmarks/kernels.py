"""What the compiled kernels do by themselves, on one thread, in processor time: the least of many
runs, so that other programs beside it matter little.

    python benchmarks/kernels.py [--kernels AVX2]

Products of m rows with a weight [768, 2304], which the cache holds; attention of 12 heads of 64.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pellucid_native
from threadpoolctl import threadpool_limits

from pellucid.backend import Place, Segment, get_backend
from pellucid.weights import Affine

DTYPES = ("float32", "bfloat16", "int8", "int4")
ROWS = (1, 4, 8, 12, 32, 128, 512)
LENGTHS = ((1, 896), (8, 896), (128, 128), (512, 512))  # queries, keys


def least(work: Callable[[], object]) -> float:
    """Seconds."""
    best, spent = float("inf"), 0.0
    while spent < 0.3:
        begin = time.thread_time()
        work()
        took = time.thread_time() - begin
        best, spent = min(best, took), spent + took
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernels", choices=pellucid_native.kernels())
    options = parser.parse_args()
    if options.kernels:
        pellucid_native.choose(options.kernels)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((768, 2304)).astype(np.float32)
    print(f"{pellucid_native.chosen()}: products, GFLOP/s, of one row also GB/s of weights")
    print(f"{'rows':10}" + "".join(f"{m:>9}" for m in ROWS))
    for dtype in DTYPES:
        machine = get_backend("native", dtype=dtype, threads=1)
        w = machine.prepare(Affine(weight, np.zeros(2304)))
        n_bytes = w.stored.data.nbytes + w.stored.scales.nbytes
        cells = []
        for m in ROWS:
            x = rng.standard_normal((m, 768)).astype(np.float32)
            seconds = least(lambda x=x, w=w, machine=machine: machine.linear(x, w))  # type: ignore[misc]
            cells.append(f"{2e-9 * m * weight.size / seconds:>9.0f}")
            if m == 1:
                cells[0] += f" ({n_bytes / seconds / 1e9:.0f} GB/s)"
        print(f"{dtype:10}" + "".join(cells))
    with threadpool_limits(1, user_api="blas"):
        x = rng.standard_normal((512, 768)).astype(np.float32)
        seconds = least(lambda: x @ weight)
    print(f"numpy's BLAS, float32, 512 rows: {2e-9 * 512 * weight.size / seconds:.0f}")
    print("attention, microseconds, by queries and keys")
    for dtype in ("float32", "int8"):
        machine, cells = get_backend("native", dtype=dtype, threads=1), []
        for n_query, n_key in LENGTHS:
            keys, values = machine.zeros((12, n_key, 64)), machine.zeros((12, n_key, 64))
            q = rng.standard_normal((1, 12, n_query, 64)).astype(np.float32)
            out, text = np.empty_like(q), [Segment(0, 0, n_query, [Place.whole(keys, values)])]

            def work(q: np.ndarray = q, out: np.ndarray = out, text: list[Segment] = text) -> None:
                pellucid_native.attend(1, q, q, q, out, text)

            cells.append(f"{n_query} x {n_key}: {least(work) * 1e6:.0f}")
        print(f"keys in {machine.zeros((1,)).dtype}:  " + "   ".join(cells))


if __name__ == "__main__":
    main()

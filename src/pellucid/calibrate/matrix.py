"""GPTQ (Frantar et al., arXiv 2210.17323): a linear map rounded to 4 bits so that its outputs
change least on the inputs that it meets, rather than each number for itself.

Numbers are rounded one input after another. What rounding a number has changed in the output, the
numbers of the inputs that are not rounded yet make good, as far as these inputs go together with it
in the texts (the paper's equations 2 and 3, with the Cholesky factor of its step 3).
"""

from __future__ import annotations

import numpy as np

from ..backend.rounding import FORMATS

__all__ = ["DAMPING", "GROUP", "gptq"]

GROUP = FORMATS["int4"].group  # inputs that share a scale
DAMPING = 0.01  # of the mean of the products' diagonal, added to it (paper, section 4)
# Where a group's largest number may come to stand, of codes from -8 to 7: within, or cut off.
_CANDIDATES = np.concatenate([sign * (5.5 + 0.25 * np.arange(14)) for sign in (-1, 1)])


def gptq(weight: np.ndarray, products: np.ndarray) -> np.ndarray:
    """weight [in, out], in a multiple of GROUP; products [in, in]: the inputs' XᵀX over many
    tokens -> weight again, float32, rounded: in each group of inputs a code from -8 to 7 times a
    float16.

    Groups of inputs that matter most come first, while much is left to make good, and so do inputs
    within a group ("act-order" in the authors' code, whose groups are not those of a file). A
    group's scale is chosen at its turn. Numbers of an input that was always 0 are rounded to the
    nearest.
    """
    w = np.array(weight, np.float32)
    n_in = len(w)
    order = _order(products)
    w, factor = w[order], _factor(products[np.ix_(order, order)])
    factor = factor.astype(np.float32)
    costs = 1 / np.square(np.diagonal(factor))  # of a square of error, by its input
    for begin in range(0, n_in, GROUP):
        rows = slice(begin, begin + GROUP)
        scales = _scales(w[rows], costs[rows])
        errors = np.empty((GROUP, w.shape[1]), np.float32)
        for i in range(begin, begin + GROUP):
            rounded = _rounded(w[i], scales)
            error = (w[i] - rounded) / factor[i, i]
            w[i] = rounded
            w[i + 1 : rows.stop] -= factor[i, i + 1 : rows.stop, None] * error
            errors[i - begin] = error
        w[rows.stop :] -= factor[rows, rows.stop :].T @ errors
    back: np.ndarray = np.empty_like(w)
    back[order] = w
    return back


def _order(products: np.ndarray) -> np.ndarray:
    """[in]: the inputs in the order in which they are rounded; a group's stay together."""
    squares = np.diagonal(products).reshape(-1, GROUP)
    groups = np.argsort(-squares.sum(1), kind="stable")
    within = np.argsort(-squares, axis=1, kind="stable")[groups]
    return np.asarray((groups[:, None] * GROUP + within).reshape(-1))


def _factor(products: np.ndarray) -> np.ndarray:
    """[in, in] -> the upper triangular U, UᵀU the inverse of the damped products: row i says how
    the inputs after i make good what i has lost."""
    mean = float(np.diagonal(products).mean())
    damped = products.astype(np.float64)
    damped[np.diag_indices_from(damped)] += DAMPING * mean or 1.0
    # From the last input to the first, Cholesky's factor is upper triangular: R·Rᵀ, and U = R⁻¹.
    return _inverse(np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1])


def _inverse(upper: np.ndarray) -> np.ndarray:
    """Of an upper triangular matrix, by its quarters."""
    n = len(upper) // 2
    if n < GROUP:
        return np.triu(np.linalg.inv(upper))
    first, last = _inverse(upper[:n, :n]), _inverse(upper[n:, n:])
    inverse: np.ndarray = np.zeros_like(upper)
    inverse[:n, :n], inverse[n:, n:] = first, last
    inverse[:n, n:] = -first @ upper[:n, n:] @ last
    return inverse


def _scales(group: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """group [GROUP, out], costs [GROUP] -> [out], float16's numbers in float32: of all candidates
    those with the least error."""
    far = np.take_along_axis(group, np.abs(group).argmax(0)[None], 0)[0]
    best: np.ndarray = np.zeros_like(far)
    least = np.full(far.shape, np.inf, np.float32)
    for candidate in _CANDIDATES.astype(np.float32):
        scales = (far / candidate).astype(np.float16).astype(np.float32)
        errors = costs @ np.square(group - _rounded(group, scales))
        better = errors < least
        best[better], least[better] = scales[better], errors[better]
    return best


def _rounded(numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """numbers [..., out], scales [out] -> the nearest of 16 steps"""
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    return np.asarray(np.clip(np.rint(numbers * inverse), -8, 7) * scales)

"""A whole small model as data, for a page that runs it itself (web/machine/)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..draw.packing import Budget
from ..errors import InputError
from ..families import family_of
from ..tokenizer import IdsOnly
from .anatomy import anatomy

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["MOST_PARAMETERS", "fits_a_page", "machine"]

# 1 MiB of float32: what a page still holds lightly, and computes between two keystrokes.
MOST_PARAMETERS = 1 << 18


def fits_a_page(gpt: GPT) -> bool:
    """Whether `machine` would take it."""
    own = not isinstance(gpt.tokenizer, IdsOnly) and gpt.tokenizer.rules.plain
    own = own and family_of(gpt.hparams).in_page
    return own and gpt.hparams.n_params <= MOST_PARAMETERS


def machine(gpt: GPT) -> dict[str, Any]:
    """What a page needs to run a model: sizes, weights (base64 of float32), vocabulary, merges.

    Bytes stand as texts of one character each ("ã" is 0xE3).
    Raises InputError for more than MOST_PARAMETERS parameters, and for a tokenizer whose rules
    are not GPT-2's own.
    """
    if gpt.hparams.n_params > MOST_PARAMETERS:
        raise InputError(
            f"{gpt.hparams.n_params:,} parameters are too many for a page to run: at most "
            f"{MOST_PARAMETERS:,}"
        )
    tokenizer = gpt.tokenizer
    if not family_of(gpt.hparams).in_page:
        raise InputError(f"a page runs GPT-2 itself, not a {family_of(gpt.hparams).title}")
    if not fits_a_page(gpt):
        raise InputError("a page runs GPT-2's own tokenizer only, and this model has another")
    pack = Budget(math.inf)
    made = set(tokenizer.ids.values())
    return {
        "name": gpt.name,
        "hparams": gpt.hparams.to_dict(),
        "anatomy": anatomy(gpt.hparams),
        "weights": {
            name: pack(array.astype("float32")) for name, array in gpt.model.tensors().items()
        },
        "tokenizer": {
            "tokens": [tokenizer.bytes_of(i).decode("latin-1") for i in range(tokenizer.n_vocab)],
            "unmade": [i for i in range(tokenizer.n_vocab) if i not in made],
            "merges": [[side.decode("latin-1") for side in pair] for pair in tokenizer.ranks],
            "endOfText": tokenizer.end_of_text,
        },
        "stops": sorted(gpt.stop_tokens),
        "unused": sorted(tokenizer.unused),
    }

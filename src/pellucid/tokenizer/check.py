"""Whether a vocabulary and its merges belong together, before anything is encoded with them.

Tens of thousands of entries are walked through once (`is_plain`), in the order in which learning
leaves them; where a vocabulary has another order, or something is wrong, `check_each` looks at
everything by itself, and it alone says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from operator import lt

from ..errors import TokenizerError
from .bpe import byte_symbols
from .pairs import ById

__all__ = ["check_each", "check_vocabulary", "is_plain"]

# What a vocabulary may lack, as those do that were learned with no alphabet of 256 (SmolLM2's,
# StarCoder's): control characters, bytes that no UTF-8 has, and those of planes nobody writes in.
_SPARED = frozenset({*range(0x20), 0x7F, 0xC0, 0xC1, *range(0xF1, 0x100)} - set(b"\t\n\r"))

_MOST_UNMADE = 16  # tokens of two others that no merge makes; beyond it merges are missing


def check_vocabulary(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Mapping[str, int],
    *,
    any_order: bool = False,
) -> tuple[frozenset[str], ById]:
    """ids: token -> id, spelled by `byte_symbols`, the special ones among them. any_order: a merge
    may take what only a later one makes, as in lists made of a vocabulary alone (tiktoken's, such
    as Llama 3's). -> the tokens that are neither special nor made by a merge, and the merges

    Raises TokenizerError unless the ids are 0…n-1, each once, every byte that texts are made of is
    a token, and the merges are of tokens and make tokens.
    """
    by_id = ById.of(ids, merges)
    if by_id is not None and any_order:
        if (unmade := _in_any_order(ids, by_id, special)) is not None:
            return unmade, by_id
    elif by_id is not None and is_plain(ids, by_id, special):
        return frozenset(), by_id
    unmade = check_each(ids, merges, special, any_order=any_order)
    if by_id is None:
        raise TokenizerError("the merges are not a list of pairs")
    return unmade, by_id


def is_plain(ids: Mapping[str, int], merges: ById, special: Mapping[str, int]) -> bool:
    """Whether all holds, and the ids are as learning gives them: in the order of the vocabulary,
    first the bytes, then what each merge makes; special ones may stand anywhere between."""
    if set(map(type, ids.values())) != {int} or list(ids.values()) != list(range(len(ids))):
        return False
    tokens, order = list(ids), list(range(len(ids)))  # without the special ones: text, id
    for at in sorted((ids[text] for text in special), reverse=True):
        del tokens[at], order[at]
    n_bytes = len(_bytes(ids, special))
    if set(tokens[:n_bytes]) != _bytes(ids, special) or _missing(ids, special):
        return False
    made, named = order[n_bytes:], {ids[text] for text in special}
    return merges.products == made and all(  # 50,000 merges: each line is one loop in C
        all(map(lt, side, made)) and named.isdisjoint(side)
        for side in (merges.lefts, merges.rights)
    )


def _in_any_order(
    ids: Mapping[str, int], merges: ById, special: Mapping[str, int]
) -> frozenset[str] | None:
    """As `check_each` with any_order, in loops in C; None where anything is wrong."""
    if set(map(type, ids.values())) != {int} or _missing(ids, special):
        return None
    if sorted(ids.values()) != list(range(len(ids))):
        return None
    made, named = set(merges.products), {ids[text] for text in special}
    made_or_byte = made.union(ids[symbol] for symbol in _bytes(ids, special))
    known = made_or_byte.issuperset(merges.lefts) and made_or_byte.issuperset(merges.rights)
    if not (known and made.isdisjoint(named) and len(merges.ranks) == len(merges.lefts)):
        return None
    others = set(range(len(ids))) - made_or_byte - named
    unmade = frozenset(text for text, token in ids.items() if token in others)
    _check_merges_are_all(unmade, ids)
    return unmade


def _bytes(ids: Mapping[str, int], special: Mapping[str, int]) -> set[str]:
    """The bytes that are tokens."""
    return (set(byte_symbols()) & ids.keys()) - special.keys()


def _missing(ids: Mapping[str, int], special: Mapping[str, int]) -> int | None:
    """The first byte that is no token and should be."""
    have = _bytes(ids, special)
    symbols = enumerate(byte_symbols())
    return next((b for b, s in symbols if s not in have and b not in _SPARED), None)


def check_each(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special: Mapping[str, int],
    *,
    any_order: bool = False,
) -> frozenset[str]:
    """As `check_vocabulary`, entry by entry."""
    _check_bijection(ids)
    made = _bytes(ids, special)
    if (byte := _missing(ids, special)) is not None:
        raise TokenizerError(f"byte {byte:#04x} is no token: not every text can be written")
    if any_order:
        made |= _products(merges)
    seen: set[tuple[str, str]] = set()
    for rank, pair in enumerate(merges):
        try:
            left, right = pair
            unmade = next((part for part in pair if part not in made), None)
        except (ValueError, TypeError) as error:
            raise TokenizerError(f"merge {rank} is malformed: {pair!r}") from error
        if unmade is not None:
            raise TokenizerError(
                f"merge {rank}, {left!r} + {right!r}: {unmade!r} is no token that "
                f"{'a' if any_order else 'an earlier'} merge makes"
            )
        product = left + right
        if product not in ids or product in special:
            raise TokenizerError(
                f"merge {rank}, {left!r} + {right!r}: {product!r} is no token, or a special one"
            )
        if (left, right) in seen:
            raise TokenizerError(f"merge {rank}, {left!r} + {right!r}, occurs twice")
        seen.add((left, right))
        made.add(product)
    others = frozenset(text for text in ids if text not in made and text not in special)
    _check_merges_are_all(others, ids)
    return others


def _products(merges: Sequence[tuple[str, str]]) -> set[str]:
    """What the merges make; one that is malformed is named where it is looked at."""
    made = set()
    for pair in merges:
        with suppress(ValueError, TypeError):
            left, right = pair
            made.add(left + right)
    return made


def _check_merges_are_all(unmade: Collection[str], ids: Collection[str]) -> None:
    """A few tokens without a merge are named for other uses; many are merges that got lost."""
    lost = [
        text
        for text in unmade
        if any(text[:at] in ids and text[at:] in ids for at in range(1, len(text)))
    ]
    if len(lost) > max(_MOST_UNMADE, len(ids) // 100):
        raise TokenizerError(
            f"{len(lost)} tokens are made by no merge, {min(lost)!r} among them: the list of "
            "merges is cut short, or another tokenizer's; take a fresh copy"
        )


def _check_bijection(ids: Mapping[str, int]) -> None:
    taken = bytearray(len(ids))
    for text, token in ids.items():
        if type(token) is not int:
            raise TokenizerError(f"token {text!r} has an id that is no number: {token!r}")
        if not 0 <= token < len(ids) or taken[token]:
            raise TokenizerError(
                f"ids must be 0…{len(ids) - 1}, each once; token {text!r} has {token}"
            )
        taken[token] = 1

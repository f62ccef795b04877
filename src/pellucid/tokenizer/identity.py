"""Which tokenizer is which: sha256 of what one does, however its files are written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from .rules import Added, Rules, in_one_pass

__all__ = ["fingerprint"]


def fingerprint(
    tokens: Sequence[bytes],
    merges: Iterable[tuple[bytes, bytes]],
    *,
    special: Collection[int],
    unmade: Collection[int],
    added: Mapping[str, Added],
    rules: Rules,
) -> str:
    """tokens: the bytes of each id. merges: the first learned first. special, unmade: the ids that
    are special, and those that no text becomes. added: every added token, the special ones too.

    Of rules that are GPT-2's own nothing is hashed: so it was from the first version on.
    """
    parts = [b"%d %d %b\n" % (i in special, len(value), value) for i, value in enumerate(tokens)]
    parts += [b"%d %d %b%b\n" % (len(left), len(right), left, right) for left, right in merges]
    own = _own(added, rules)
    counts = Counter(tokens)  # which of two equal ones is written is not to be seen in the bytes
    if twice := [i for i in sorted(unmade) if counts[tokens[i]] > 1]:
        own["unmade"] = twice
    if own:
        parts.append(json.dumps(own, sort_keys=True).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _own(added: Mapping[str, Added], rules: Rules) -> dict[str, object]:
    """The rules that are not GPT-2's, each written in one way only."""
    gpt2 = Rules()
    own: dict[str, object] = {
        name: getattr(rules, name)
        for name in ("begin", "end", "steps", "ignore_merges", "nfc")
        if getattr(rules, name) != getattr(gpt2, name)
    }
    flags = sorted(
        [each.id, each.special, each.lstrip, each.rstrip, each.single_word, each.normalized]
        for each in in_one_pass(added, rules.nfc).values()
        if each != Added(id=each.id)  # no more than a special token's name
    )
    return own | ({"added": flags} if flags else {})

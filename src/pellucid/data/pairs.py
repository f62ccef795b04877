"""Pairs of replies -> ids: what preference finetuning learns from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..template import Template
from ..tokenizer import Tokenizer
from .files import BadDocument, find_files
from .preferences import Preference
from .sources import Sources

__all__ = ["FilePairs", "Pair", "read_pairs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two conversations that differ in their last turn, the assistant's, as ids; the first
    n_prompt ids of both are the same, and given."""

    n_prompt: int
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.chosen[: self.n_prompt]

    @property
    def longest(self) -> int:
        return max(len(self.chosen), len(self.rejected))


class FilePairs(NamedTuple):
    """n_bad: rows that are no pairs. n_equal: pairs of one reply and itself, which teach nothing;
    they are not among the pairs."""

    pairs: list[Pair]
    n_bad: int
    n_equal: int


def read_pairs(
    path: Path, template: Template, tokenizer: Tokenizer, *, skip_bad: bool = False
) -> FilePairs:
    """The pairs of a file of rows, as the template writes them.

    A row has "chosen", "rejected" and mostly "prompt": see `documents.SHAPES`. skip_bad: rows
    that are no pairs are counted. Raises InputError that names the first of them otherwise.
    """
    sources = Sources(files=find_files([path]), skip_bad=True)
    pairs, n_equal = [], 0
    for preference in sources.preferences():
        try:
            pair = _pair(preference, template, tokenizer)
        except BadDocument as error:
            sources.skip(error)
            continue
        if pair.chosen == pair.rejected:
            n_equal += 1
        else:
            pairs.append(pair)
    if sources.n_bad and not skip_bad:
        more = sources.n_bad - len(sources.first_bad)
        listed = "; ".join(sources.first_bad) + (f"; and {more} more rows" if more else "")
        raise InputError(f"{listed} (--skip-bad leaves such rows out)")
    if not pairs:
        equal = f": {n_equal} rows have two equal replies" if n_equal else ""
        raise InputError(f"{path} has no pairs to learn from{equal}")
    return FilePairs(pairs, sources.n_bad, n_equal)


def _pair(preference: Preference, template: Template, tokenizer: Tokenizer) -> Pair:
    prompt = [*tokenizer.rules.begin, *template.render(tokenizer, preference.prompt)]
    n_cue = len(template.cue(tokenizer))
    chosen, rejected = (
        template.turn(tokenizer, "assistant", tokenizer.encode(text))[n_cue:]
        for text in (preference.chosen, preference.rejected)
    )
    n_begin = len(tokenizer.rules.begin)
    replies = preference.chosen.strip(), preference.rejected.strip()
    if len(prompt) == n_begin or not all(replies):
        raise BadDocument(f"{preference.place}: the prompt or a reply is empty")
    return Pair(n_prompt=len(prompt), chosen=(*prompt, *chosen), rejected=(*prompt, *rejected))

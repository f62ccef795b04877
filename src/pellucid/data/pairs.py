"""Pairs of replies -> ids: what preference finetuning learns from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..template import Template
from ..tokenizer import Tokenizer
from .documents import Preference
from .files import BadDocument, find_files
from .sources import Sources

__all__ = ["Pair", "read_pairs"]


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


def read_pairs(
    path: Path, template: Template, tokenizer: Tokenizer, *, skip_bad: bool = False
) -> tuple[list[Pair], int]:
    """-> the pairs of a file of rows, as the template writes them, and how many rows were bad.

    A row has "chosen", "rejected" and mostly "prompt": see `documents.SHAPES`. skip_bad: rows
    that are no pairs are counted. Raises InputError that names the first of them otherwise.
    """
    sources = Sources(files=find_files([path]), skip_bad=True)
    pairs = []
    for preference in sources.preferences():
        try:
            pairs.append(_pair(preference, template, tokenizer))
        except BadDocument as error:
            sources.skip(error)
    if sources.n_bad and not skip_bad:
        more = sources.n_bad - len(sources.first_bad)
        raise InputError("; ".join(sources.first_bad) + (f"; and {more} more rows" if more else ""))
    if not pairs:
        raise InputError(f"{path} has no pairs")
    return pairs, sources.n_bad


def _pair(preference: Preference, template: Template, tokenizer: Tokenizer) -> Pair:
    prompt = template.render(tokenizer, preference.prompt)
    n_cue = len(template.cue(tokenizer))
    chosen, rejected = (
        template.turn(tokenizer, "assistant", text)[n_cue:]
        for text in (preference.chosen, preference.rejected)
    )
    if not prompt or not chosen or not rejected:
        raise BadDocument(f"{preference.place}: the prompt or a reply is empty")
    return Pair(n_prompt=len(prompt), chosen=(*prompt, *chosen), rejected=(*prompt, *rejected))

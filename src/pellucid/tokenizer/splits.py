r"""How a text becomes words before any merge: the known splits, each by its name.

Models that share GPT-2's byte-level merges differ in what a word is: whether numerals stand alone,
what goes with a line break, which sign may stand before a word. A split is a sequence of steps;
each step cuts what the one before left, at the matches of its pattern. Sources: the tokenizer.json
of openai-community/gpt2, HuggingFaceTB/SmolLM2 (and bigcode/starcoder), meta-llama/Meta-Llama-3-8B
and Qwen/Qwen2.5; by which names llama.cpp knows them, its src/llama-vocab.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .bpe import SPLIT, compiled

__all__ = [
    "DIGIT",
    "DIGITS",
    "FAST",
    "GGML",
    "GPT2",
    "LLAMA3",
    "PATTERNS",
    "QWEN2",
    "SPACE",
    "WRITTEN",
    "Fast",
    "Ggml",
    "isolate",
]

GPT2 = "gpt2"  # GPT-2's pattern (`bpe.SPLIT`)
LLAMA3 = "llama3"  # numerals by threes; a word may begin with any one sign, not only a space
QWEN2 = "qwen2"  # the same with every numeral a word of its own
DIGIT = "digit"  # every numeral a word of its own
DIGITS = "digits"  # every run of numerals a word of its own
SPACE = "space"  # a space before each word that does not begin with one


def _modern(numerals: str, *, more: str = "", spaces: str = r"\s+(?!\S)|\s+") -> str:
    """Contractions in either case; letters with one sign before them; numerals; other signs with
    the line breaks after them; line breaks with the space before them; other space. more: "+" for
    the possessive form, which is not gone back into."""
    return (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+{more}|{numerals}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+{more}[\r\n]*{more}|\s*[\r\n]+|{spaces}"
    )


PATTERNS: Mapping[str, str] = {
    GPT2: SPLIT,
    LLAMA3: _modern(r"\p{N}{1,3}"),
    QWEN2: _modern(r"\p{N}"),
    DIGIT: r"\p{N}",
    DIGITS: r"\p{N}+",
}

# The patterns as tokenizer.json has them, where one stands in a Split: GPT-2's as openai/gpt-2
# writes it, and as we do.
WRITTEN: Mapping[str, str] = {
    SPLIT: GPT2,
    "'s|'t|'re|'ve|'m|'ll|'d" + SPLIT[SPLIT.index("| ?") :]: GPT2,
    PATTERNS[LLAMA3]: LLAMA3,
    PATTERNS[QWEN2]: QWEN2,
}


class Fast(NamedTuple):
    r"""A whole split in one pattern. pattern: for `regex`. possessive: the same words for tiktoken,
    whose matcher does not go back into `++`. whole_run: where a run of space ends that gives
    nothing to what follows, so that a long one may be cut behind its last."""

    pattern: str
    possessive: str
    whole_run: str = "(?!)"


# What GPT-2's pattern says of the text up to a numeral, which is cut first: all space before it.
_TO_NUMERAL = r"\s+(?=\p{N})"
_ENDS = r"\s++$|\s+(?!\S)|\s"
_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|"
_AFTER_BREAK = r"(?<=[\r\n])"

FAST: Mapping[tuple[str, ...], Fast] = {
    (GPT2,): Fast(SPLIT, _GPT2 + _ENDS),
    (DIGIT, GPT2): Fast(
        r"\p{N}|" + SPLIT.replace(r" ?\p{N}+", _TO_NUMERAL),
        r"\p{N}|" + _GPT2.replace(r" ?\p{N}++", _TO_NUMERAL) + _ENDS,
        whole_run=r"(?=\p{N})",
    ),
    (LLAMA3,): Fast(
        PATTERNS[LLAMA3], _modern(r"\p{N}{1,3}+", more="+", spaces=_ENDS), _AFTER_BREAK
    ),
    (QWEN2,): Fast(PATTERNS[QWEN2], _modern(r"\p{N}", more="+", spaces=_ENDS), _AFTER_BREAK),
}


class Ggml(NamedTuple):
    """What GGUF's `tokenizer.ggml.pre` stands for: its files hold no more than that name. begins:
    whether texts begin with the bos token where the file does not say."""

    steps: tuple[str, ...]
    ignore_merges: bool = False
    nfc: bool = False
    begins: bool = False


_LLAMA3 = Ggml((LLAMA3,), ignore_merges=True, begins=True)

GGML: Mapping[str, Ggml] = {
    "gpt-2": Ggml((GPT2,)),
    "smollm": Ggml((DIGIT, GPT2)),
    "starcoder": Ggml((DIGIT, GPT2)),
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": Ggml((QWEN2,), nfc=True),
}


def isolate(step: str, text: str) -> Iterator[str]:
    """What the step's pattern matches, and what is between, in their order."""
    done = 0
    for match in compiled(PATTERNS[step]).finditer(text):
        if done < match.start():
            yield text[done : match.start()]
        yield match[0]
        done = match.end()
    if done < len(text):
        yield text[done:]

"""Tokens and their log-probabilities as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .schema.chat import ChatToken, LikelyToken
from .schema.completions import Logprobs

if TYPE_CHECKING:
    from ..sequence import Alternative, Step
    from ..tokenizer import Tokenizer
    from .events import Scored

__all__ = ["TextLogprobs", "chat_tokens", "joined", "shown", "token_text"]


def token_text(value: bytes) -> str:
    """A token's bytes as text; where they are none by themselves as OpenAI writes them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in value)


def shown(steps: Iterable[Step]) -> list[Step]:
    """Those that belong to the text: all but the token that ended it."""
    return [step for step in steps if step.reason != "stop token"]


def chat_tokens(tokenizer: Tokenizer, steps: Iterable[Step]) -> list[ChatToken]:
    return [
        {
            **_likely(tokenizer, step.token, step.logprob),
            "top_logprobs": [
                _likely(tokenizer, each.token, each.logprob) for each in step.alternatives
            ],
        }
        for step in shown(steps)
    ]


def _likely(tokenizer: Tokenizer, token: int, logprob: float) -> LikelyToken:
    value = tokenizer.bytes_of(token)
    return {"token": token_text(value), "logprob": logprob, "bytes": list(value)}


class TextLogprobs:
    """Of one text, part by part: it knows how far the text has come. ids: also those of the
    likeliest tokens, and of the token that ended the text what there is of each."""

    def __init__(self, tokenizer: Tokenizer, *, ids: bool = False) -> None:
        self._tokenizer = tokenizer
        self._ids = ids
        self._decoder = tokenizer.stream()
        self._offset = 0

    def of_prompt(self, prompt: Sequence[int], scored: Scored) -> Logprobs:
        return self._of(prompt, scored.logprobs, scored.alternatives)

    def of_steps(self, steps: Iterable[Step]) -> Logprobs:
        own = list(steps) if self._ids else shown(steps)
        return self._of(
            [step.token for step in own],
            [step.logprob for step in own],
            [step.alternatives for step in own],
        )

    def _of(
        self,
        tokens: Sequence[int],
        logprobs: Sequence[float | None],
        alternatives: Sequence[Sequence[Alternative]],
    ) -> Logprobs:
        texts: list[str] = []
        tops: list[dict[str, float] | None] = []
        offsets: list[int] = []
        for token, logprob, likely in zip(tokens, logprobs, alternatives, strict=True):
            text = token_text(self._tokenizer.bytes_of(token))
            texts.append(text)
            offsets.append(self._offset)
            self._offset += len(self._decoder.push(token))
            if logprob is None:  # nothing stands before it
                tops.append(None)
                continue
            top = {
                token_text(self._tokenizer.bytes_of(each.token)): each.logprob for each in likely
            }
            tops.append(top | {text: logprob})
        written: Logprobs = {
            "tokens": texts,
            "token_logprobs": list(logprobs),
            "top_logprobs": tops,
            "text_offset": offsets,
        }
        if self._ids:
            written["top_token_ids"] = [
                None if logprob is None else [each.token for each in likely]
                for logprob, likely in zip(logprobs, alternatives, strict=True)
            ]
        return written


def joined(parts: Sequence[Logprobs]) -> Logprobs:
    """Parts of one text, one after another."""
    whole: Logprobs = {
        "tokens": [each for part in parts for each in part["tokens"]],
        "token_logprobs": [each for part in parts for each in part["token_logprobs"]],
        "top_logprobs": [each for part in parts for each in part["top_logprobs"]],
        "text_offset": [each for part in parts for each in part["text_offset"]],
    }
    if any("top_token_ids" in part for part in parts):
        whole["top_token_ids"] = [each for part in parts for each in part["top_token_ids"]]
    return whole

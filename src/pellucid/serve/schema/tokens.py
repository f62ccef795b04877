"""/tokenize, /detokenize, /tokenizer_info, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from .fields import Body, ModelName, TokenId
from .messages import Message

__all__ = [
    "DetokenizeRequest",
    "Detokenized",
    "TokenizeChat",
    "TokenizePrompt",
    "Tokenized",
    "TokenizerInfo",
]


class _Tokenize(Body):
    model: ModelName | None = None
    return_token_strs: bool | None = None


class TokenizePrompt(_Tokenize):
    """add_special_tokens: those with which this model's texts begin, such as <s>; they can be left
    out. return_token_strs: each token as text too."""

    prompt: str
    add_special_tokens: bool | None = None


class TokenizeChat(_Tokenize):
    """A conversation, up to where the reply begins."""

    messages: Annotated[list[Message], Field(min_length=1)]


class Tokenized(TypedDict):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(Body):
    model: ModelName | None = None
    tokens: Annotated[list[TokenId], Field(fail_fast=True)]


class Detokenized(TypedDict):
    prompt: str


class TokenizerInfo(TypedDict):
    tokenizer_class: str
    n_vocab: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    chat_template: None

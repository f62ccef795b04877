"""/v1/models, /health."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

__all__ = ["Health", "ModelCard", "ModelList"]


class ModelCard(TypedDict):
    """max_model_len: tokens in the window, the reply's included. hparams: n_vocab, n_ctx, n_embd,
    n_head, n_layer; of another family than GPT-2, its name and what else it has. settings: those
    that a conversation begins with, the ids that end a reply among them."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    n_params: int
    hparams: dict[str, Any]
    settings: dict[str, Any]


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[ModelCard]


class Health(TypedDict):
    status: Literal["ok", "draining", "failed"]

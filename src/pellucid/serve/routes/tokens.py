"""/tokenize, /detokenize, /tokenizer_info"""

from __future__ import annotations

from fastapi import APIRouter

from ..logprobs import token_text
from ..routing import failures, new_router
from ..schema.tokens import (
    Detokenized,
    DetokenizeRequest,
    TokenizeChat,
    Tokenized,
    TokenizePrompt,
    TokenizerInfo,
)
from ..service import Service

__all__ = ["router"]


def router(service: Service) -> APIRouter:
    routes = new_router()
    tokenizer = service.gpt.tokenizer

    @routes.post("/tokenize", responses=failures(400, 401, 403, 404, 413, 415))
    async def tokenize(body: TokenizePrompt | TokenizeChat) -> Tokenized:
        """The ids that a prompt, or a conversation, becomes. A special token within a text is text;
        a prompt that is nothing but one, <|endoftext|>, is that token."""
        service.check_model(body.model)
        if isinstance(body, TokenizeChat):
            ids = await service.prompts.of_messages(body.messages, None, None)
        elif body.prompt in tokenizer.special_tokens:
            ids = [tokenizer.special_tokens[body.prompt]]
        else:
            framed = body.add_special_tokens is not False
            ids = await service.prompts.of_text(body.prompt, framed=framed)
        texts = [token_text(tokenizer.bytes_of(token)) for token in ids]
        return {
            "count": len(ids),
            "max_model_len": service.gpt.hparams.n_ctx,
            "tokens": ids,
            "token_strs": texts if body.return_token_strs else None,
        }

    @routes.post("/detokenize", responses=failures(400, 401, 403, 404, 413, 415))
    async def detokenize(body: DetokenizeRequest) -> Detokenized:
        """The text of ids; bytes that are no character become U+FFFD."""
        service.check_model(body.model)
        return {"prompt": tokenizer.decode(body.tokens)}

    @routes.get("/tokenizer_info", responses=failures(401, 403))
    async def tokenizer_info() -> TokenizerInfo:
        """Which tokens begin and end a text."""
        roles = service.gpt.roles
        end = roles.eos[0] if roles.eos else tokenizer.end_of_text
        names = {
            name: None if token is None else tokenizer.decode([token])
            for name, token in (("bos", roles.bos), ("eos", end), ("pad", roles.pad))
        }
        return {
            "tokenizer_class": type(tokenizer).__name__,
            "n_vocab": tokenizer.n_vocab,
            "bos_token": names["bos"],
            "eos_token": names["eos"],
            "pad_token": names["pad"],
            "chat_template": None,
        }

    return routes

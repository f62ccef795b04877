"""The chat templates by name: a table.

Sources: DialoGPT (arXiv 1911.00536); the `chat_template` of HuggingFaceTB/SmolLM2-135M-Instruct,
Qwen/Qwen1.5- to Qwen3-*, meta-llama/Meta-Llama-3-8B-Instruct to Llama-3.3, HuggingFaceH4/zephyr-7b
and TinyLlama-1.1B-Chat-v1.0, stabilityai/stablelm-zephyr-3b.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import InputError
from ..tokenizer import END_OF_TEXT
from .template import Frame, Role, Special, Template

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

__all__ = ["TEMPLATES", "look_up", "own_name"]

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")


def _frames(before: tuple[str, ...], after: tuple[str, ...]) -> Mapping[Role, Frame]:
    """The same around every role, whose name stands at %s."""
    return {role: Frame(tuple(_named(part, role) for part in before), after) for role in _ROLES}


def _named(part: str, role: Role) -> str:
    named = part.replace("%s", role)
    return Special(named) if isinstance(part, Special) else named


def _special(*names: str) -> tuple[str, ...]:
    return tuple(map(Special, names))


_CHATML = _frames((Special("<|im_start|>"), "%s\n"), (Special("<|im_end|>"), "\n"))
_LLAMA3 = _frames(
    (Special("<|start_header_id|>"), "%s", Special("<|end_header_id|>"), "\n\n"),
    (Special("<|eot_id|>"),),
)
# Llama 3.1 and on say when they are. The day is fixed, as their own templates have it where nobody
# says another: the same conversation is the same tokens tomorrow.
_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

_ENDS = Frame(after=_special(END_OF_TEXT))

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        # A language model without a chat format: the conversation is a text, and it goes on.
        Template(
            "plain",
            {"system": Frame(after=("\n",)), "user": Frame(), "assistant": Frame(after=("\n",))},
        ),
        # DialoGPT (arXiv 1911.00536): every turn ends in <|endoftext|>, nobody is named.
        Template("dialogpt", {"system": _ENDS, "user": _ENDS, "assistant": _ENDS}),
        # Models trained here: each turn opens with its role's token.
        Template(
            "roles",
            {
                "system": Frame(_special("<|system|>"), _special("<|end|>")),
                "user": Frame(_special("<|user|>"), _special("<|end|>")),
                "assistant": Frame(_special("<|assistant|>"), _special("<|end|>")),
            },
        ),
        # ChatML, and what its models begin with where no system text is given.
        Template("chatml", _CHATML),
        Template(
            "smollm2",
            _CHATML,
            system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        ),
        Template("qwen2", _CHATML, system="You are a helpful assistant."),
        Template(
            "qwen2.5",
            _CHATML,
            system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        ),
        Template("qwen3", _CHATML, thinks=True),
        Template("llama3", _LLAMA3, strips=True),
        Template("llama3.1", _LLAMA3, system="", preamble=_DATES, strips=True),
        # Each turn opens with its role in letters and closes with the token that ends a text.
        Template("zephyr", _frames(("<|%s|>\n",), (Special("</s>"), "\n"))),
        Template("zephyr-endoftext", _frames(("<|%s|>\n",), (Special(END_OF_TEXT), "\n"))),
    )
}


def look_up(name: str, tokenizer: Tokenizer | None = None) -> Template:
    """A chat template by its name, checked where a tokenizer is at hand.

    Raises InputError for an unknown name, or when the tokenizer lacks the template's tokens.
    """
    if name not in TEMPLATES:
        raise InputError(f"no chat template {name!r}; there are {', '.join(TEMPLATES)}")
    template = TEMPLATES[name]
    if tokenizer is not None:
        template.check(tokenizer)
    return template


def own_name(template: str | None, model_name: str, tokenizer: Tokenizer) -> str:
    """The template that a model is talked to with: its own; else dialogpt for a DialoGPT; else
    plain."""
    if template is not None:
        return template
    is_dialogpt = "dialogpt" in model_name.lower() and END_OF_TEXT in tokenizer.special_tokens
    return "dialogpt" if is_dialogpt else "plain"

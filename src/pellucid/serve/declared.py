"""From what a client declares to what is run: the field "pellucid", and the questions' texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..inspect import Direction, Intervention, finding
from ..inspect.interventions import check
from .errors import of
from .schema.declared import DirectionRequest, MessagesText, Range, ReplyText
from .schema.inspection import JobRequest
from .watched import BUDGET, TraceAsk, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..gpt import GPT
    from ..inspect.cost import Indices
    from .prompts import Prompts
    from .schema.declared import Inspection, InterventionRequest, TraceRequest
    from .schema.inspection import TextRequest
    from .schema.messages import Message

__all__ = ["arguments", "ids_of", "interventions_of", "read", "text_of", "watch_of"]


async def watch_of(prompts: Prompts, asked: Inspection | None, owner: str) -> Watch | None:
    """None where nothing is to be seen or changed. Raises ApiError for what this model does not
    have, before anything runs."""
    if asked is None or (asked.trace is None and not asked.interventions):
        return None
    declared = await interventions_of(prompts, asked.interventions or (), "pellucid")
    try:
        trace = None if asked.trace is None else _trace(asked.trace)
        if trace is not None:
            trace.recorder(prompts.gpt)
    except Exception as error:
        raise of(error, "pellucid") from error
    return Watch(owner=owner, trace=trace, interventions=declared)


async def interventions_of(
    prompts: Prompts, asked: Sequence[InterventionRequest], field: str = "interventions"
) -> tuple[Intervention, ...]:
    """Raises ApiError, of this field, for those that do not fit the model."""
    try:
        declared = [await _intervention(prompts, each) for each in asked]
        check(prompts.gpt, declared, budget_bytes=BUDGET)
    except Exception as error:
        raise of(error, field) from error
    return tuple(declared)


def _trace(asked: TraceRequest) -> TraceAsk:
    positions: Any = asked.positions
    if not isinstance(positions, str):
        positions = _places(positions)
    elif positions == "all":
        positions = None
    return TraceAsk(
        names=asked.names,
        layers=_places(asked.layers),
        heads=_places(asked.heads),
        positions=positions,
        top_k=asked.top_k,
    )


async def _intervention(prompts: Prompts, asked: InterventionRequest) -> Intervention:
    value: Any = asked.value
    if isinstance(value, DirectionRequest):
        strength = {} if value.strength is None else {"strength": value.strength}
        value = Direction(towards=value.towards, away=value.away, **strength)
    return Intervention(
        name=asked.name,
        op=asked.op,
        layer=_places(asked.layer),
        head=_places(asked.head),
        position=_places(asked.position),
        value=value,
        source=None if asked.source is None else await read(prompts, asked.source),
    )


def _places(asked: int | list[int] | Range | None) -> Indices:
    if not isinstance(asked, Range):
        return asked
    if asked.stop <= asked.start:
        raise InputError(f"the range from {asked.start} to {asked.stop} is empty")
    return range(asked.start, asked.stop)


async def text_of(prompts: Prompts, asked: TextRequest) -> tuple[tuple[int, ...], dict[str, Any]]:
    """-> (the ids of what is asked about, and the arguments that a reply that is kept stands for).
    Raises ApiError where there is no text, or more than one."""
    said = asked.model_fields_set & {"text", "messages", "reply"}
    try:
        # One that is null has been said, and is no text.
        if len(said) != 1 or getattr(asked, next(iter(said))) is None:
            raise InputError("give text, messages or reply: one of them, and not null")
        if asked.reply is None:
            return await ids_of(prompts, asked.text, asked.messages), {}
        prompt, ids = await prompts.of_reply(asked.reply)
        return _about(prompts.gpt, asked, prompt, ids, asked.reply.token)
    except Exception as error:
        raise of(error, next(iter(said), "text")) from error


def _about(
    gpt: GPT, asked: TextRequest, prompt: list[int], ids: list[int], token: int
) -> tuple[tuple[int, ...], dict[str, Any]]:
    fields, known = type(asked).model_fields, asked.model_fields_set
    here = finding.read(gpt, [*prompt, *ids[:token]])[0]
    if token == len(ids):  # nothing was said there yet
        return here, {}
    if "continuation" in fields and not known & {"continuation", "token"}:
        return tuple(prompt), {"continuation": ids, "token": token + 1}
    return here, {"target": ids[token]} if "target" in fields and "target" not in known else {}


async def ids_of(
    prompts: Prompts,
    text: str | list[int] | ReplyText | None,
    messages: Sequence[Message] | None = None,
) -> tuple[int, ...]:
    """Raises InputError and ContextError for what the model cannot read."""
    said = text if messages is None else MessagesText(messages=list(messages))
    assert said is not None
    return finding.read(prompts.gpt, await read(prompts, said))[0]


async def read(prompts: Prompts, text: str | list[int] | MessagesText | ReplyText) -> list[int]:
    """The ids, however many."""
    if isinstance(text, ReplyText):
        prompt, ids = await prompts.of_reply(text.reply)
        return prompt + ids[: text.reply.token]
    if isinstance(text, MessagesText):
        return await prompts.of_messages(text.messages, None, None)
    if isinstance(text, str):
        return await prompts.of_text(text, framed=True)
    return text


def arguments(gpt: GPT, asked: JobRequest, but: frozenset[str]) -> dict[str, Any]:
    """Those that were said, by name. but: the texts, which are read apart. Raises InputError for
    ids that are none."""
    said = {name: getattr(asked, name) for name in asked.model_fields_set - but}
    for name in ("continuation", "reference"):
        if isinstance(said.get(name), list):
            finding.read(gpt, said[name][: gpt.hparams.n_ctx])
    return {
        name: range(value.start, value.stop) if isinstance(value, Range) else value
        for name, value in said.items()
        if value is not None
    }

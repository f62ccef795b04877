"""/v1/conversations: what is kept of them, and what is said in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from .chat import ChatChoice, ChatChunkChoice
from .completions import Usage
from .declared import Inspection
from .fields import Body, ModelName, Penalty, Share, Stop, TokenId

__all__ = [
    "Branch",
    "ChangeConversation",
    "Conversation",
    "ConversationChunk",
    "ConversationDeleted",
    "ConversationList",
    "ConversationReply",
    "ConversationSettings",
    "ConversationTree",
    "Edit",
    "Found",
    "GeneratedReply",
    "Message",
    "NewConversation",
    "Retry",
    "Said",
    "Say",
    "Saying",
    "TokenOfReply",
]

_Title = Annotated[str, StringConstraints(max_length=200)]
_System = Annotated[str, StringConstraints(max_length=2000)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=100)]
_Text = Annotated[str, StringConstraints(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Seed = Annotated[int, Field(ge=0, le=2**53 - 1)]  # as JavaScript reads numbers


class ConversationSettings(Body):
    """How replies are generated, from the next one on. What is not named stays; in a new
    conversation it is what the model's card recommends. alternatives: of the likeliest tokens, kept
    with each. seed: of the first reply to each message. null: no limit, or no effect."""

    greedy: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_k: _Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Share | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    max_tokens: _Count | None = None
    stop: Stop | None = None
    alternatives: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: _Seed | None = None


class NewConversation(Body):
    """title: the first message, where it is empty. system: a text that stays at the beginning."""

    title: _Title = ""
    system: _System | None = None
    settings: ConversationSettings | None = None


class ChangeConversation(Body):
    """system: null takes it away. leaf: the message that it goes on from: another branch, or an
    earlier message; null is the beginning."""

    title: _Title | None = None
    system: _System | None = None
    settings: ConversationSettings | None = None
    leaf: _Id | None = None


class Saying(Body):
    """stream: as server-sent events. seed: of this reply alone. pellucid: what is to be seen and
    changed of it, as in /v1/chat/completions."""

    model: ModelName | None = None
    stream: bool | None = None
    seed: _Seed | None = None
    pellucid: Inspection | None = None


class Say(Saying):
    """parent: the message that this follows; null is the beginning; where it is not named it is
    what the conversation goes on from."""

    text: _Text
    parent: _Id | None = None


class Edit(Saying):
    text: _Text


class Retry(Saying):
    pass


class Branch(Saying):
    """step: of the reply, 0 is its first token; those before it stay. token: is taken there; where
    none is named one is drawn again."""

    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    token: TokenId | None = None


class LikelyInReply(TypedDict):
    id: int
    text: str
    logprob: float


class TokenOfReply(TypedDict):
    """text: what it added to the reply's text. bytes: its own. logprob: null where it is not known.
    alternatives: the likeliest at its step."""

    id: int
    text: str
    bytes: list[int]
    logprob: float | None
    alternatives: list[LikelyInReply]


class GeneratedReply(TypedDict):
    """reason: why it ended; null where it was broken off. prompt: the ids that it was generated
    from, and tokens, where they are asked for."""

    model: str
    seed: int
    reason: str | None
    settings: NotRequired[dict[str, Any]]
    prompt: NotRequired[list[int]]
    tokens: NotRequired[list[TokenOfReply]]


class Message(TypedDict):
    """parent: what it answers. source: the sibling that it was made from, by editing it, taking it
    again, or taking another token at its step `step`. generated: null for what a person said."""

    id: str
    object: Literal["conversation.message"]
    conversation: str
    parent: str | None
    role: Literal["user", "assistant"]
    text: str
    created: str
    source: str | None
    step: int | None
    generated: GeneratedReply | None


class Conversation(TypedDict):
    """leaf: the message that it goes on from. goes_on: whether it can with the model served here,
    whose tokenizer must be the one it was held with."""

    id: str
    object: Literal["conversation"]
    title: str
    created: str
    changed: str
    model: str
    tokenizer: str
    template: str
    settings: dict[str, Any]
    system: str | None
    leaf: str | None
    n_messages: int
    goes_on: bool


class ConversationTree(Conversation):
    """messages: in the order in which they were kept, parents first. next: the `after` of the next
    page, or null."""

    messages: list[Message]
    next: str | None


class Found(Conversation):
    """found: its messages with every word that was searched for."""

    found: NotRequired[list[Message]]


class ConversationList(TypedDict):
    """Those changed last come first. next: the `before` of the next page, or null."""

    object: Literal["list"]
    data: list[Found]
    next: str | None


class ConversationDeleted(TypedDict):
    id: str
    object: Literal["conversation.deleted"]
    deleted: Literal[True]


class Said(TypedDict):
    """message: that the reply answers. reply: the reply's id, by which it is kept, and prompt the
    ids that it is generated from; source, step: as of every message. notice: what of the
    conversation the window has no room for."""

    id: str
    message: str
    reply: str
    prompt: list[int]
    source: str | None
    step: int | None
    notice: str | None


class Kept(TypedDict):
    """kept: whether the reply is on disk. problem: why it is not; it is tried again. reason: why it
    ended."""

    kept: bool
    problem: str | None
    reason: str | None


class ConversationReply(TypedDict):
    """A chat completion, and beside it where it stands in the conversation, all its tokens, and
    whether it is kept."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    conversation: Said
    tokens: list[TokenOfReply]
    kept: Kept


class ConversationChunk(TypedDict):
    """Of a stream: a chat completion's chunk. The first has conversation, and the tokens that stay
    of another reply; each other one its token; the last kept and usage."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage]
    conversation: NotRequired[Said]
    tokens: NotRequired[list[TokenOfReply]]
    kept: NotRequired[Kept]

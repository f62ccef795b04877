"""What a conversation goes on from: whoever says something, edits it, takes a reply again or
another token gets the ids that the terminal's chat would go on from, and a place in the tree."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..chat import Conversation
from ..conversations import Alternative, Generated, Head, Message, Store, Token, Tree, new_id
from ..conversations.keeper import transcript_of
from ..errors import InputError
from ..sequence import Alternative as Likely
from ..sequence import Sequence, Settings, Step
from ..tokenizer import whole_characters
from .errors import ApiError
from .kept import Missing

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["Place", "Prepared", "begin", "branched", "conversation_of", "head_of", "prepared"]
__all__ += ["edited", "message_of", "replied", "retried", "said", "settings_of"]


# From the store, on its own thread


def head_of(store: Store, conversation: str) -> Head:
    """Raises Missing."""
    try:
        return store.head(conversation)
    except InputError as error:
        raise Missing(f"there is no conversation {conversation!r}") from error


def message_of(store: Store, conversation: str, message: str) -> Message:
    """Raises Missing."""
    head_of(store, conversation)
    try:
        found = store.message(message)
    except InputError:
        found = None
    if found is None or found.conversation != conversation:
        raise Missing(f"there is no message {message!r} in the conversation {conversation!r}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a reply will stand. path: from a root to what the message follows. message: that the
    reply answers; is_new: it is yet to be kept. source: the reply in whose place it comes; step,
    token: where that one is left, and the token taken there, or None to draw one. n_replies: that
    the message has already."""

    head: Head
    path: tuple[Message, ...]
    message: Message
    is_new: bool = False
    source: Message | None = None
    step: int | None = None
    token: int | None = None
    n_replies: int = 0


def said(store: Store, conversation: str, text: str, parent: str | None, *, last: bool) -> Place:
    """Say something after `parent` (None: at the beginning); last: after whatever the conversation
    goes on from."""
    head = head_of(store, conversation)
    parent = head.leaf if last else parent
    if parent is not None:
        message_of(store, conversation, parent)
    path = () if parent is None else store.path_to(parent)
    return Place(head=head, path=path, message=_new(head, text, parent), is_new=True)


def edited(store: Store, conversation: str, message: str, text: str) -> Place:
    """Say something in place of a message that a person said."""
    head, old = head_of(store, conversation), message_of(store, conversation, message)
    if old.role != "user":
        raise _not_so("a reply cannot be edited: take it again, or another token of it")
    path = () if old.parent is None else store.path_to(old.parent)
    new = replace(_new(head, text, old.parent), source=old.id)
    return Place(head=head, path=path, message=new, is_new=True)


def retried(store: Store, conversation: str, message: str) -> Place:
    """Another reply in the place of this one, or to this message."""
    head, old = head_of(store, conversation), message_of(store, conversation, message)
    question = old if old.role == "user" else message_of(store, conversation, old.parent or "")
    replies = _replies(store, question)
    source = old if old.role == "assistant" else replies[-1] if replies else None
    path = () if question.parent is None else store.path_to(question.parent)
    return Place(head=head, path=path, message=question, source=source, n_replies=len(replies))


def branched(store: Store, conversation: str, message: str, step: int, token: int | None) -> Place:
    """Another way from a step of this reply."""
    place = retried(store, conversation, message)
    if place.source is None or place.source.id != message or place.source.generated is None:
        raise _not_so(f"the message {message!r} is no reply that was generated: it has no steps")
    return replace(place, step=step, token=token)


def begin(store: Store, place: Place, model: str) -> None:
    """What is on disk before the reply begins: what the person said."""
    try:
        if place.head.model != model:
            store.change(place.head.id, model=model)
        if place.is_new:
            store.put(place.message)
    except InputError as error:  # another program has deleted it meanwhile
        raise Missing(str(error)) from error


def _new(head: Head, text: str, parent: str | None) -> Message:
    return Message(
        id=new_id(),
        conversation=head.id,
        parent=parent,
        role="user",
        text=whole_characters(text),
        created=datetime.now(UTC),
    )


def _replies(store: Store, question: Message) -> Several[Message]:
    own = store.messages(question.conversation)
    return [each for each in own if each.parent == question.id and each.role == "assistant"]


# With the model's tokenizer, on any thread


def check_tokenizer(gpt: GPT, head: Head) -> None:
    if head.tokenizer != gpt.tokenizer.fingerprint():
        raise ApiError(
            409,
            f"this conversation was held with {head.model!r}, whose tokenizer is another than this "
            "model's: it can be read and exported; to go on, serve that model, or begin a new "
            "conversation",
            code="other_tokenizer",
        )


def conversation_of(gpt: GPT, head: Head, path: tuple[Message, ...]) -> Conversation:
    """The chat as it stood there. Raises ApiError where it cannot go on with this model."""
    check_tokenizer(gpt, head)
    leaf = path[-1].id if path else None
    tree = Tree(head=replace(head, leaf=leaf), messages=path)
    try:
        return Conversation.of(gpt, transcript_of(tree, gpt.tokenizer))
    except InputError as error:
        raise ApiError(409, str(error), code="cannot_go_on") from error


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A reply that is about to be generated. sequence: it, as it goes on; n_kept: steps of it that
    were there before. notice: what of the conversation the window has no room for, or None."""

    place: Place
    sequence: Sequence
    notice: str | None
    id: str
    created: datetime
    n_kept: int = 0

    @property
    def is_begun(self) -> bool:
        """Whether there is anything of it that was not there before."""
        return len(self.sequence.steps) > self.n_kept

    def tokens(self, steps: Several[Step]) -> list[Token]:
        """As they are kept."""
        bytes_of = self.sequence.tokenizer.bytes_of
        return [
            Token(
                id=step.token,
                text=step.text,
                bytes=bytes_of(step.token),
                logprob=step.logprob,
                alternatives=tuple(Alternative(*other) for other in step.alternatives),
            )
            for step in steps
        ]

    def kept_tokens(self) -> list[Token]:
        """Those that were there before, as they were kept; the text of each as it adds to this."""
        source = self.place.source
        old = () if source is None or source.generated is None else source.generated.tokens
        steps = self.sequence.steps
        return [replace(old[n], text=steps[n].text) for n in range(self.n_kept)]

    def reply(self, model: str) -> Message:
        """As far as it is generated."""
        place, sequence = self.place, self.sequence
        steps = tuple(sequence.steps)
        tokens = [*self.kept_tokens(), *self.tokens(steps[self.n_kept :])]
        return Message(
            id=self.id,
            conversation=place.head.id,
            parent=place.message.id,
            role="assistant",
            text="".join(step.text for step in steps),
            created=self.created,
            source=None if place.source is None else place.source.id,
            step=place.step,
            generated=Generated(
                prompt=sequence.prompt,
                seed=sequence.seed,
                reason=steps[-1].reason if steps else sequence.reason,
                model=model,
                settings=sequence.settings.flat(),
                tokens=tuple(tokens),
            ),
        )


def prepared(gpt: GPT, place: Place, seed: int | None) -> Prepared:
    """seed: of this reply; None is the conversation's, of a reply that is taken again another one
    than before. Raises InputError for what cannot be said, ApiError where the conversation cannot
    go on with this model."""
    chat = conversation_of(gpt, place.head, place.path)
    settings = chat.settings
    if place.step is not None:
        sequence = _left(gpt, place, settings, seed)
    else:
        if seed is None and settings.seed is not None:
            seed = settings.seed + place.n_replies
        ids = chat.prompt_ids(place.message.text)
        sequence = Sequence(ids, gpt.tokenizer, gpt.hparams, replace(settings, seed=seed))
    return Prepared(
        place=place,
        sequence=sequence,
        notice=chat.notice,
        id=new_id(),
        created=datetime.now(UTC),
        n_kept=len(sequence.steps),
    )


def _left(gpt: GPT, place: Place, settings: Settings, seed: int | None) -> Sequence:
    """The reply as far as the step at which it is left."""
    assert place.source is not None
    assert place.source.generated is not None
    assert place.step is not None
    old = place.source.generated
    _check_prompt(old)
    whole = Sequence(old.prompt, gpt.tokenizer, gpt.hparams, replace(settings, seed=old.seed))
    for number, token in enumerate(old.tokens):
        whole.steps.append(
            Step(
                position=len(old.prompt) + number,
                token=token.id,
                text=token.text,
                logprob=0.0 if token.logprob is None else token.logprob,
                alternatives=tuple(Likely(*other) for other in token.alternatives),
            )
        )
    whole.reason = None if old.reason is None else "length"
    if place.step > len(whole.steps) - (whole.reason is not None):
        raise Missing(f"the reply has {len(whole.steps)} tokens: there is no step {place.step}")
    if seed is None and place.token is None:
        seed = old.seed + place.n_replies
    left = whole.branch(place.step, place.token, seed=seed)
    if len(left.tokens) >= left.window:
        raise _not_so("the window is full there: branch at an earlier step")
    return left


def replied(gpt: GPT, head: Head, message: Message, step: int) -> tuple[list[int], list[int]]:
    """-> (the ids that a reply was generated from, its own). Raises InputError where it has no such
    step, ApiError where the ids are another tokenizer's."""
    check_tokenizer(gpt, head)
    if message.generated is None:
        raise _not_so(f"the message {message.id!r} is no reply that was generated: it has no ids")
    _check_prompt(message.generated)
    ids = [token.id for token in message.generated.tokens]
    if not 0 <= step <= len(ids):
        raise Missing(f"the reply has {len(ids)} tokens, from 0 on: there is no token {step}")
    return list(message.generated.prompt), ids


def _check_prompt(generated: Generated) -> None:
    if not generated.prompt:
        raise _not_so("what this reply was generated from is not known: take it again first")


def _not_so(message: str) -> ApiError:
    return ApiError(409, message, code="not_possible")


def settings_of(gpt: GPT, head: Head, changes: dict[str, Any]) -> dict[str, Any]:
    """Those of the next reply, changed. Raises InputError for what the model cannot meet."""
    if not changes:
        return dict(head.settings)
    settings = Settings.of(**head.settings).changed(**changes)
    if head.tokenizer == gpt.tokenizer.fingerprint():
        settings.window(gpt.hparams)
    return settings.flat()

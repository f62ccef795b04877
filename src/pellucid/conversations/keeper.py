"""A chat, kept in a store as it goes on; and gone on with from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ..errors import InputError, StoreError
from ..tokenizer import whole_characters
from ..transcript import FORMAT, Transcript
from .records import Alternative, Generated, Head, Message, Token, Tree, new_id

if TYPE_CHECKING:
    from ..chat import Conversation, LiveTurn
    from ..tokenizer import Tokenizer
    from .store import Store

__all__ = ["Keeper", "transcript_of"]

SAVED = "saved"  # why a reply ended that comes from a file, which does not say


@dataclass(slots=True)
class _Entry:
    """A turn, and what the store has of it."""

    turn: LiveTurn
    message: Message
    reply: Message | None = None
    n_steps: int = -1

    @property
    def leaf(self) -> str:
        return (self.reply or self.message).id


class Keeper:
    """`keep` compares a chat with what the store has, and writes the difference: a message before
    the reply to it is generated, a reply when it has ended or was broken off. What cannot be
    written waits, in its order, and is tried again the next time.

    opened: gives the store, once there is something to write. tree: where the chat was read from.
    """

    def __init__(
        self, conversation: Conversation, opened: Callable[[], Store], tree: Tree | None = None
    ) -> None:
        self.conversation = conversation
        self.problem: str | None = None  # why some of it is not kept, or None
        self._opened = opened
        self._store: Store | None = None
        self._head: Head | None = None
        self._entries: list[_Entry] = []
        self._leaf: str | None = None  # where the store goes on from
        self._waiting: list[tuple[str, Callable[[Store], object]]] = []  # of which conversation
        self._refused: dict[str, str] = {}  # conversations that the store takes no more of: why
        if tree is not None:
            self._head, self._leaf = tree.head, tree.head.leaf
            self._entries = list(_entries(conversation, tree.path()))

    @property
    def id(self) -> str | None:
        """The conversation's in the store; None before anything was said."""
        return None if self._head is None else self._head.id

    def keep(self) -> None:
        """`problem` says why it could not be done."""
        self._compare()
        try:
            while self._waiting:
                conversation, write = self._waiting[0]
                self._store = self._store or self._opened()
                try:
                    write(self._store)
                except InputError as error:  # another program has deleted it
                    self._refused[conversation] = str(error)
                self._waiting = [each for each in self._waiting[1:] if each[0] not in self._refused]
            self.problem = self._refused.get(self.id or "")
        except (StoreError, OSError) as error:
            self.problem = str(error)

    def tree(self) -> Tree:
        """The whole conversation as the store has it. Raises InputError where nothing was said, or
        not all of it could be kept; StoreError where it cannot be read."""
        self.keep()
        if self._head is None:
            raise InputError("nothing was said yet")
        if self.problem or self._store is None:
            raise InputError(f"not all of this conversation is kept: {self.problem}")
        return self._store.tree(self._head.id)

    def go_to(self, leaf: str) -> None:
        """The chat goes on from this message of the same conversation: another branch. Raises as
        `tree`, and InputError where the message is not there."""
        tree = self.tree()
        there = replace(tree, head=replace(tree.head, leaf=leaf))
        path = there.path()
        self.conversation.resume(transcript_of(there, self.conversation.gpt.tokenizer).turns)
        self._entries = list(_entries(self.conversation, path))
        self.keep()

    def anew(self) -> None:
        """What is said from now on is another conversation."""
        self._head, self._leaf, self._entries = None, None, []

    def close(self) -> None:
        """A last try."""
        self.keep()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _compare(self) -> None:
        turns = self.conversation.turns
        if not turns and self._head is None:
            return
        self._compare_head()
        pairs = zip(self._entries, turns, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0].turn is pair[1], pairs))
        instead = self._entries[same] if same < len(self._entries) else None
        del self._entries[same:]
        for turn in turns[same:]:
            if self._entries:
                self._compare_reply(self._entries[-1])
                if self._entries[-1].n_steps < 0:  # broken off before its first token
                    self._entries[-1].reply = None
            self._entries.append(self._entry(turn, instead))
            instead = None
        if self._entries:
            self._compare_reply(self._entries[-1])
        leaf = self._entries[-1].leaf if self._entries else None
        if leaf != self._leaf:
            self._leaf = leaf
            conversation = self._conversation
            self._later(lambda store: store.select(conversation, leaf))

    @property
    def _conversation(self) -> str:
        assert self._head is not None
        return self._head.id

    def _compare_head(self) -> None:
        chat = self.conversation
        now: dict[str, Any] = {
            "model": whole_characters(chat.gpt.name or ""),  # of a folder, perhaps
            "template": chat.template.name,
            "settings": chat.settings.flat(),
            "system": chat.system,
        }
        if self._head is None:
            moment = datetime.now(UTC)
            self._head = Head(
                id=new_id(),
                title="",
                created=moment,
                changed=moment,
                tokenizer=chat.gpt.tokenizer.fingerprint(),
                **now,
            )
            first = {"id": self._head.id, "tokenizer": self._head.tokenizer, **now}
            self._later(lambda store: store.new(**first))
            return
        head, id = self._head, self._head.id
        changed = {name: value for name, value in now.items() if getattr(head, name) != value}
        if changed:
            self._head = replace(head, **changed)
            self._later(lambda store: store.change(id, **changed))

    def _entry(self, turn: LiveTurn, instead: _Entry | None) -> _Entry:
        """A new turn; or one in place of another: the reply taken again, or the message edited."""
        if instead is not None and instead.turn.text == turn.text:
            return _Entry(turn, instead.message, instead.reply)
        message = Message(
            id=new_id(),
            conversation=self._conversation,
            parent=self._entries[-1].leaf if self._entries else None,
            role="user",
            text=turn.text,
            created=datetime.now(UTC),
            source=None if instead is None else instead.message.id,
        )
        self._put(message)
        return _Entry(turn, message)

    def _compare_reply(self, entry: _Entry) -> None:
        """entry.n_steps is below 0 while its reply, if it has one, is that of the turn before."""
        turn = entry.turn
        n = len(turn.generation.sequence.steps) if turn.generation is not None else 0
        if turn.kept is not None:  # computed anew or not, it is what the file holds
            n = len(turn.kept.ids)
        if n <= max(entry.n_steps, 0):
            return
        source, written = entry.reply, None
        if entry.n_steps > 0:  # it was unfinished, and has become longer
            source, written = None, entry.reply
        reply = turn.reply
        assert reply is not None
        message = Message(
            id=new_id() if written is None else written.id,
            conversation=self._conversation,
            parent=entry.message.id,
            role="assistant",
            text=reply.text,
            created=datetime.now(UTC) if written is None else written.created,
            source=written.source if written else (source.id if source else None),
            step=turn.branched if written or source else None,
            generated=_generated(self.conversation, turn),
        )
        entry.reply, entry.n_steps = message, n
        self._put(message)

    def _later(self, write: Callable[[Store], object]) -> None:
        if self._conversation not in self._refused:
            self._waiting.append((self._conversation, write))

    def _put(self, message: Message) -> None:
        self._leaf = message.id
        self._later(lambda store: store.put(message))


def _generated(conversation: Conversation, turn: LiveTurn) -> Generated:
    tokenizer, reply = conversation.gpt.tokenizer, turn.reply
    assert reply is not None
    if turn.kept is not None or turn.generation is None:
        reason: str | None = SAVED
        settings = conversation.settings.flat()
        tokens = _tokens_of_ids(tokenizer, reply.ids, reply.text)
    else:
        sequence = turn.generation.sequence
        reason, settings = sequence.reason, sequence.settings.flat()
        tokens = tuple(
            Token(
                id=step.token,
                text=step.text,
                bytes=tokenizer.bytes_of(step.token),
                logprob=step.logprob,
                alternatives=tuple(Alternative(*other) for other in step.alternatives),
            )
            for step in sequence.steps
        )
    return Generated(
        prompt=reply.prompt,
        seed=reply.seed,
        reason=reason,
        model=whole_characters(conversation.gpt.name or ""),
        settings=settings,
        tokens=tokens,
    )


def _tokens_of_ids(tokenizer: Tokenizer, ids: tuple[int, ...], text: str) -> tuple[Token, ...]:
    """What each added to the text, of which a stop text, or a token that ended it, is no part."""
    decoder, rest = tokenizer.stream(), text
    tokens: list[Token] = []
    for number, token in enumerate(ids):
        n = len(rest) if number == len(ids) - 1 else min(len(decoder.push(token)), len(rest))
        added, rest = rest[:n], rest[n:]
        tokens.append(Token(id=token, text=added, bytes=tokenizer.bytes_of(token)))
    return tuple(tokens)


def _entries(conversation: Conversation, path: tuple[Message, ...]) -> Iterator[_Entry]:
    """The turns of a conversation that was read from this path."""
    replies = {message.parent: message for message in path if message.role == "assistant"}
    said = [message for message in path if message.role == "user"]
    for turn, message in zip(conversation.turns, said, strict=True):
        n = len(turn.kept.ids) if turn.kept else -1
        yield _Entry(turn, message, replies.get(message.id), n)


def transcript_of(tree: Tree, tokenizer: Tokenizer) -> Transcript:
    """The branch that a conversation goes on from, for `chat.Conversation.of`.

    Raises InputError where another tokenizer made its ids, or they are not what its texts say.
    """
    head = tree.head
    entries: list[dict[str, Any]] = []
    if head.system:
        entries.append({"role": "system", "content": head.system})
    for message in tree.path():
        entry: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "assistant":
            generated = message.generated
            if generated is None:  # nobody's ids but those that the text has here
                entry |= {"ids": tokenizer.encode(message.text), "prompt": [], "seed": 0}
            else:
                ids = [token.id for token in generated.tokens]
                prompt = list(generated.prompt)
                entry |= {"ids": ids, "prompt": prompt, "seed": generated.seed}
            if not entry["ids"]:
                continue
        entries.append(entry)
    table = {
        "format": FORMAT,
        "model": head.model,
        "tokenizer": head.tokenizer,
        "template": head.template,
        "settings": dict(head.settings),
        "messages": entries,
    }
    return Transcript.of(table, f"the conversation {head.id}", tokenizer)

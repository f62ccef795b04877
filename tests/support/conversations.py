"""Trees of messages: one that an early store holds, and any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from pellucid.conversations import Alternative, Generated, Head, Message, Token, Tree

__all__ = ["BEGIN", "FIRST", "head", "trees"]

BEGIN = datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC)


def head(id: str, **fields: Any) -> Head:
    return Head(
        **{
            "id": id,
            "title": "Hello",
            "created": BEGIN,
            "changed": BEGIN + timedelta(seconds=1),
            "model": "small",
            "tokenizer": "f" * 64,
            "template": "roles",
            "settings": {"temperature": 0.7, "stop": ["\n"], "seed": None},
            **fields,
        }
    )


def _generated(reason: str | None, *ids: int) -> Generated:
    tokens = tuple(
        Token(
            id=id,
            text=chr(97 + id),
            bytes=bytes([97 + id]),
            logprob=-0.5 * id,
            alternatives=(Alternative(id, chr(97 + id), -0.5 * id), Alternative(9, "⟨FF⟩", -7.25)),
        )
        for id in ids
    )
    return Generated(
        prompt=(1, 2, 3),
        seed=7,
        reason=reason,
        model="small",
        settings={"greedy": False},
        tokens=tokens,
    )


def _first() -> Tree:
    """A question; a reply, one taken again, one with another token from its second on; and the
    question edited."""
    rows: list[tuple[str, str | None, str, str | None, int | None, Generated | None]] = [
        ("q", None, "Hello", None, None, None),
        ("a", "q", "bc", None, None, _generated("length", 1, 2)),
        ("b", "q", "d", "a", None, _generated(None, 3)),
        ("c", "q", "be", "a", 1, _generated("stop token", 1, 4)),
        ("e", None, "Hello, you \x1b[2J", "q", None, None),
    ]
    messages = tuple(
        Message(
            id=id * 16,
            conversation="0" * 16,
            parent=None if parent is None else parent * 16,
            role="user" if generated is None else "assistant",
            text=text,
            created=BEGIN + timedelta(microseconds=number),
            source=None if source is None else source * 16,
            step=step,
            generated=generated,
        )
        for number, (id, parent, text, source, step, generated) in enumerate(rows)
    )
    return Tree(
        head=head("0" * 16, system="Rhyme.", leaf="c" * 16, n_messages=5), messages=messages
    )


FIRST = _first()

texts = st.text(st.sampled_from([*"abAB \n\0'\"%_ßẞİK中文漢", "ﬁ", "🎉", "\x1b"]), max_size=8)
numbers = st.floats(-50, 0, allow_nan=False)
tokens = st.builds(
    Token,
    id=st.integers(0, 50256),
    text=texts,
    bytes=st.binary(max_size=4),
    logprob=st.none() | numbers,
    alternatives=st.lists(st.builds(Alternative, st.integers(0, 9), texts, numbers)).map(tuple),
)
generated = st.none() | st.builds(
    Generated,
    prompt=st.lists(st.integers(0, 50256), max_size=4).map(tuple),
    seed=st.integers(0, 1 << 70),
    reason=st.sampled_from([None, "length", "stop token"]),
    model=texts,
    settings=st.fixed_dictionaries({"temperature": st.floats(0, 2), "stop": st.lists(texts)}),
    tokens=st.lists(tokens, max_size=4).map(tuple),
)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Any conversation: each message follows some earlier one, or begins."""
    name = draw(st.text("0123456789abcdef", min_size=16, max_size=16))
    messages: list[Message] = []
    for number in range(draw(st.integers(0, 7))):
        said = [message for message in messages if message.role == "user"]
        reply = bool(said) and draw(st.booleans())
        parents = said if reply else [None, *messages]
        parent = draw(st.sampled_from(parents))
        siblings = [m for m in messages if m.parent == (parent and parent.id)]
        source = draw(st.sampled_from([None, *siblings]))
        messages.append(
            Message(
                id=f"{name}{number}",
                conversation=name,
                parent=parent and parent.id,
                role="assistant" if reply else "user",
                text=draw(texts),
                created=BEGIN + timedelta(microseconds=draw(st.integers(0, 10**9))),
                source=source and source.id,
                step=draw(st.none() | st.integers(0, 5)) if source else None,
                generated=draw(generated) if reply else None,
            )
        )
    leaf = draw(st.sampled_from([None, *messages]))
    return Tree(
        head=head(
            name,
            title=draw(texts),
            system=draw(st.none() | texts),
            leaf=leaf and leaf.id,
            n_messages=len(messages),
        ),
        messages=tuple(messages),
    )

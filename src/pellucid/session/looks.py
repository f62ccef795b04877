"""The commands that look into the last reply: its tokens, the walk, why, a page, steering."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import InputError
from ..visible import on_one_line, quoted, token_text

if TYPE_CHECKING:
    from ..generate import Generation
    from .exchange import Exchange

__all__ = ["record", "steer", "tokens", "view", "walk", "why"]


def tokens(exchange: Exchange, _: str) -> None:
    exchange.show_tokens = not exchange.show_tokens
    if not exchange.show_tokens:
        exchange.writer.note("Tokens are hidden again.")
        return
    if exchange.conversation.last is not None:
        exchange.print_tokens(exchange.conversation.last)
    exchange.writer.note("Tokens are shown after each reply; /tokens hides them.")


def walk(exchange: Exchange, _: str) -> None:
    if exchange.conversation.last is None:
        raise InputError("there is no prompt to walk through yet: say something first")
    few = None if exchange.conversation.newest_only else 4  # not until a large window is full
    exchange.walk(exchange.gpt, exchange.conversation.last.prompt, exchange.screen, max_tokens=few)


def why(exchange: Exchange, argument: str) -> None:
    from ..draw.terminal.waiting import waiting
    from ..inspect import why as explain

    reply = _reply(exchange, "explain")
    ids = [step.token for step in reply.steps_so_far]
    n = len(ids)
    number = _number(argument or "1")
    if number is None or not 1 <= number <= n:
        raise InputError(
            f"the reply has {n} token{'s' * (n != 1)}: /why 1 to /why {n}; /tokens numbers them"
        )
    name = quoted(token_text(exchange.gpt.tokenizer.bytes_of(ids[number - 1])))
    exchange.writer.note(f"Token {number} of {n} of the reply: {name}. /why N explains the Nth.")
    with waiting(exchange.screen, "switching parts off") as progress:
        found = explain(
            exchange.gpt, reply.prompt, ids, token=number, labels=False, progress=progress
        )
    exchange.screen.print(found)


def view(exchange: Exchange, path: str) -> None:
    from ..files import new_file
    from ..inspect import page
    from ..inspect import view as look

    reply = _reply(exchange, "look into")
    if not path:
        raise InputError("name a file for the page: /view talk.html")
    with new_file(path) as partial:
        whole = look(exchange.gpt, reply.prompt, reply.steps_so_far[0].token, labels=False)
        model = f"model {exchange.gpt.name}" if exchange.gpt.name else ""
        partial.write_bytes(page(whole, title="The last reply", subtitle=model).encode())
    exchange.writer.note(f"Wrote {path}: what the last reply began from. Open it in a browser.")


def steer(exchange: Exchange, argument: str) -> None:
    from ..inspect import STRENGTH, direction
    from ..inspect import steer as steering
    from ..inspect.steering import usual_layer, within

    gpt, conversation, writer = exchange.gpt, exchange.conversation, exchange.writer
    if not argument:
        conversation.tap = None
        writer.note("The replies are not steered.")
        return
    reply = _reply(exchange, "hold the steered one against")
    first, _, rest = argument.partition(" ")
    strength, text = STRENGTH, argument
    with suppress(ValueError):
        strength, text = float(first), rest.strip()
    if not text:
        raise InputError(f"say towards what: /steer {argument} TEXT")
    layer = usual_layer(gpt.hparams)
    message = [each.text for each in conversation.messages if each.role == "user"][-1]
    vector = direction(gpt, within(text), within(message), layer)
    tap = steering(gpt, vector, layer, strength=strength)
    after = gpt.generate(reply.prompt, conversation.settings, tap=tap, seed=reply.seed)
    writer.note("As it was:")
    writer.write(reply.so_far)
    writer.end()
    writer.note("Steered, with the same seed:")
    exchange.write(after)
    conversation.tap = tap
    writer.note(
        f"From the next message on replies are steered towards “{on_one_line(text)}”: at layer "
        f"{layer}, {strength:g} times as long as what is there. /steer alone ends it, /undo takes "
        "a reply back."
    )


def record(exchange: Exchange, path: str) -> None:
    from ..files import new_file
    from ..inspect import Recorder

    if path:
        with new_file(path):
            pass  # whether it can be written is known now, not after the reply
    exchange.record_to = path or None
    exchange.conversation.record = Recorder(exchange.gpt) if path else None
    exchange.writer.note(
        f"From now on each reply's values go to {path}, in place of the one before."
        if path
        else "Values are not recorded."
    )


def _reply(exchange: Exchange, to: str) -> Generation:
    reply = exchange.conversation.last
    if reply is None or not reply.steps_so_far:
        raise InputError(f"there is no reply to {to} yet: say something first")
    return reply


def _number(text: str) -> int | None:
    with suppress(ValueError):
        return int(text)
    return None

"""What answers, how large it is, and what to expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..visible import on_one_line

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["greet"]


def greet(exchange: Exchange) -> None:
    gpt, conversation, writer = exchange.gpt, exchange.conversation, exchange.writer
    n = gpt.hparams.n_params
    size = f"{n:,}" if n < 1e6 else f"{n / 1e6:.{int(n < 1e7)}f}M"
    writer.line(
        f"{gpt.name or 'model'} · {size} parameters · window of {conversation.n_ctx} tokens · "
        f"template {conversation.template.name}",
        style="bold",
    )
    if gpt.card.get("name") == "talk":
        writer.line(
            f"It knows {len(gpt.card.get('sentences', ())) or 'a few'} sentences by heart and "
            "nothing else. Begin one of them: The power clapper"
        )
    elif suggestions := gpt.card.get("try"):
        writer.line(
            "Small and made from scratch: it talks in simple English and makes things up. Try: "
            + " · ".join(map(str, suggestions))
        )
    elif conversation.template.name == "plain":
        writer.line(
            "It was not made for conversation: it goes on from your text as it thinks likely."
        )
    if conversation.template.name == "plain" and (unknown := gpt.card.get("chat_template")):
        writer.note(f"Note: {unknown}.")
    if exchange.greedy:
        writer.line("It always takes the likeliest token.")
    if note := conversation.system_note:
        writer.note(f"Note: {note}.")
    if n := sum(message.role == "user" for message in conversation.messages):
        said = on_one_line(conversation.messages[-1].text)
        last = said if len(said) <= 200 else f"…{said[-199:]}"
        writer.line(f"It goes on after {n} turn{'s' * (n != 1)}: {last}")
    kept = "What is said is kept on this machine." if exchange.is_kept else "Nothing is kept."
    writer.note(f"/help lists the commands, Ctrl-D leaves. {kept}\n")

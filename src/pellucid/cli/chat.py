"""`pellucid chat`: a conversation in a terminal, or line by line through a pipe."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, PellucidError
from .options import (
    chosen_sampling,
    console,
    load_model,
    model_options,
    own_sampling,
    sampling_options,
)

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyPressEvent
    from rich.console import Console

    from ..chat import Conversation
    from ..generate import Generation
    from ..gpt import GPT

__all__ = ["command", "converse", "default_sampling"]

HELP = """\
  /undo         take back the last message and its reply
  /retry        another reply to the last message
  /system TEXT  set the text that stays at the beginning (without TEXT: remove it)
  /tokens       show the tokens of each reply with their probabilities, or hide them
  /walk         the whole way from the last prompt to the next token, with live numbers
  /why          which tokens and heads made it begin its last reply as it did
  /steer TEXT   steer the replies towards a text; /steer 2 TEXT twice as strongly (alone: off)
  /record FILE  keep the values of each reply in a file for `pellucid trace` (alone: stop)
  /help         this list
  /quit         leave; Ctrl-D does so too
Ctrl-C stops a reply. Alt+Enter, a backslash at a line's end, or \"\"\" … \"\"\" make more lines.
A message that begins with a slash: type two."""

# Control characters would act on the terminal; they are shown as ␀…␡ instead.
_SHOWN = {i: 0x2400 + i for i in range(32) if chr(i) not in "\n\t"} | {0x7F: 0x2421}
_SHOWN |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


@click.command("chat")
@model_options
@sampling_options
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--n-ctx", type=click.IntRange(1), help="A smaller context window.")
@click.option("--system", metavar="TEXT", help="A text that stays at the beginning.")
@click.option("--template", metavar="T", help="plain, dialogpt or roles (default: the model's).")
def command(
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    max_tokens: int,
    n_ctx: int | None,
    system: str | None,
    template: str | None,
    **sampling: Any,
) -> None:
    """Talk with a model. Without a terminal, each line of standard input is a message, and the
    replies go to standard output; commands such as /undo are for the terminal.
    """
    from ..chat import Conversation

    gpt = load_model(model, backend, device, dtype, threads)
    sampling = chosen_sampling(sampling, default_sampling(gpt))
    conversation = Conversation(
        gpt, template, system, max_tokens=max_tokens, n_ctx=n_ctx, **sampling
    )
    if sys.stdin.isatty() and sys.stdout.isatty():
        converse(gpt, conversation, console(), greedy=bool(sampling.get("greedy")))
    else:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # bytes that are no text are no traceback
        answer_lines(conversation, sys.stdin)


def default_sampling(gpt: GPT) -> dict[str, Any]:
    """What the model's card recommends. One with a tiny window shows the talk's "token with the
    highest probability"."""
    from ..chat import TINY_WINDOW

    return {"greedy": True} if gpt.hparams.n_ctx < TINY_WINDOW else own_sampling(gpt)


def answer_lines(conversation: Conversation, lines: Iterable[str]) -> None:
    """One message a line, one reply after another; notices to standard error."""
    for line in lines:
        if not (text := line.rstrip("\r\n")):
            continue
        reply = conversation.say(text)
        if conversation.notice:
            click.echo(f"Note: {conversation.notice}", err=True)
        for step in reply:
            click.echo(step.text.translate(_SHOWN), nl=False)
        click.echo()


def converse(
    gpt: GPT, conversation: Conversation, screen: Console, *, greedy: bool | None = None
) -> None:
    """The session in a terminal, until Ctrl-D or /quit."""
    greet(
        gpt, conversation, screen, "greedy" in default_sampling(gpt) if greedy is None else greedy
    )
    _Session(gpt, conversation, screen).run()


def greet(gpt: GPT, conversation: Conversation, screen: Console, greedy: bool) -> None:
    """What answers, how large it is, and what to expect of it."""
    n = gpt.hparams.n_params
    size = f"{n / 1e6:.0f}M" if n >= 1e6 else f"{n:,}"
    screen.print(
        f"{gpt.name or 'model'} · {size} parameters · window of {conversation.n_ctx} tokens · "
        f"template {conversation.template.name}",
        style="bold",
        markup=False,
    )
    if gpt.card.get("name") == "talk":
        screen.print(
            f"It knows {len(gpt.card.get('sentences', ())) or 'a few'} sentences by heart and "
            "nothing else. Begin one of them: The power clapper",
            markup=False,
        )
    elif suggestions := gpt.card.get("try"):
        screen.print(
            "Small and made from scratch: it talks in simple English and makes things up. Try: "
            + " · ".join(map(str, suggestions)),
            markup=False,
        )
    elif conversation.template.name == "plain":
        screen.print(
            "It was not made for conversation: it goes on from your text as it thinks likely.",
            markup=False,
        )
    if conversation.newest_only:
        screen.print("The window holds one message and its reply: each begins afresh.")
    if greedy:
        screen.print("It always takes the likeliest token.")
    screen.print("/help lists the commands, Ctrl-D leaves.\n", style="dim")


class _Session:
    """The state of a terminal session: the editor, and whether tokens are shown."""

    def __init__(self, gpt: GPT, conversation: Conversation, screen: Console) -> None:
        self.gpt = gpt
        self.conversation = conversation
        self.screen = screen
        self.show_tokens = False
        self.record_to: str | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            "/undo": self.undo,
            "/retry": self.retry,
            "/system": self.system,
            "/tokens": self.tokens,
            "/walk": self.walk,
            "/why": self.why,
            "/steer": self.steer,
            "/record": self.record,
            "/help": lambda _: self.screen.print(HELP, markup=False),
        }

    def run(self) -> None:
        editor = _editor()
        while True:
            try:
                text = _unquote(editor.prompt("> "))
                if text.split() in (["/quit"], ["/exit"]):
                    return
                self.handle(text)
            except EOFError:
                return
            except KeyboardInterrupt:
                self.note("Stopped. Ctrl-D leaves.")
            except PellucidError as error:
                self.screen.print(f"Error: {error}", style="red", markup=False)

    def handle(self, text: str) -> None:
        if not text.strip():
            return
        if text.startswith("/") and not text.startswith("//"):
            verb, _, rest = text.partition(" ")
            if (run := self.commands.get(verb.strip())) is None:
                self.note(f"There is no {verb.strip()}; /help lists the commands.")
            else:
                run(rest.strip())
            return
        text = text.removeprefix("/") if text.startswith("//") else text
        self.stream(text, self.conversation.say(text))

    def stream(self, text: str, reply: Generation) -> None:
        """The reply as it comes; a plain model's after the text that it goes on from."""
        if self.conversation.notice:
            self.note(f"Note: {self.conversation.notice}")
        if self.conversation.template.name == "plain":
            self.write(text.rpartition("\n")[2], style="dim")
        try:
            for step in reply:
                self.write(step.text)
        except KeyboardInterrupt:
            self.screen.print()
            self.note("Stopped; what was said so far stays. /undo takes it back.")
            return
        self.screen.print()
        if not reply.so_far.strip():
            self.note(f"The model had nothing to say ({reply.reason}).")
        elif reply.reason in ("context window full", "length"):
            self.note(f"({reply.reason})")
        if self.show_tokens:
            self.print_tokens()
        self.keep_record(reply)

    def keep_record(self, reply: Generation) -> None:
        from ..inspect import Recorder
        from .findings import new_file

        recorder = reply.record
        if self.record_to is None or not isinstance(recorder, Recorder) or not reply.steps_so_far:
            return
        with new_file(self.record_to) as partial:
            recorder.trace(reply).save(partial)
        self.note(f"The values of this reply are in {self.record_to}.")

    def undo(self, _: str) -> None:
        text = self.conversation.undo()
        self.note(f"Taken back: {text.splitlines()[0][:60]}")

    def retry(self, _: str) -> None:
        reply = self.conversation.retry()
        said = [message for message in self.conversation.messages if message.role == "user"]
        self.stream(said[-1].text, reply)

    def system(self, text: str) -> None:
        self.conversation.system = text
        self.note("The system text is set." if text else "There is no system text now.")

    def tokens(self, _: str) -> None:
        self.show_tokens = not self.show_tokens
        if not self.show_tokens:
            self.note("Tokens are hidden again.")
            return
        if self.conversation.last is not None:
            self.print_tokens()
        self.note("Tokens are shown after each reply; /tokens hides them.")

    def walk(self, _: str) -> None:
        if self.conversation.last is None:
            raise InputError("there is no prompt to walk through yet: say something first")
        from .walk import walk

        prompt = self.gpt.tokenizer.decode(self.conversation.last.prompt)
        few = None if self.conversation.newest_only else 4  # not until a large window is full
        walk(self.gpt, prompt, self.screen, max_tokens=few)

    def why(self, _: str) -> None:
        if self.conversation.last is None or not self.conversation.last.steps_so_far:
            raise InputError("there is no reply to explain yet: say something first")
        from ..inspect import why

        reply = self.conversation.last
        found = why(self.gpt, reply.prompt, [reply.steps_so_far[0].token], labels=False)
        self.screen.print(found)

    def steer(self, said: str) -> None:
        from ..inspect import direction, steer

        if not said:
            self.conversation.tap = None
            self.note("The replies are not steered any more.")
            return
        first, _, rest = said.partition(" ")
        strength, text = 1.0, said
        with suppress(ValueError):
            strength, text = float(first), rest.strip()
        layer = self.gpt.hparams.n_layer // 2
        start = self.gpt.tokenizer.end_of_text
        away = " " if start is None else [start]
        vector = direction(self.gpt, text, away, layer)
        self.conversation.tap = steer(self.gpt, vector, layer, strength=strength)
        self.note(f"Steered towards {text!r} at layer {layer}, strength {strength:g}.")

    def record(self, path: str) -> None:
        from ..inspect import Recorder

        self.record_to = path or None
        self.conversation.record = Recorder(self.gpt) if path else None
        self.note(
            f"From now on each reply's values go to {path}, in place of the one before."
            if path
            else "Values are not recorded any more."
        )

    def print_tokens(self) -> None:
        """The last exchange: the prompt's tokens, then each one predicted and its rivals."""
        from rich.table import Table
        from rich.text import Text

        reply = self.conversation.last
        assert reply is not None

        def shown(token: int) -> str:
            return self.gpt.tokenizer.pieces([token])[0].shown.translate(_SHOWN)

        prompt = "|".join(shown(token) for token in reply.prompt[-64:])
        left_out = "… " if len(reply.prompt) > 64 else ""
        self.screen.print(f"prompt: {left_out}{prompt}", style="dim", markup=False)
        table = Table(box=None, header_style="bold")
        for name in ("position", "id", "token", "probability", "instead of"):
            table.add_column(name, justify="right" if name in ("position", "id") else "left")
        for step in reply.steps_so_far:
            rivals = [
                f"{shown(other.token)!r} {math.exp(other.logprob):.1%}"
                for other in step.alternatives
                if other.token != step.token
            ]
            table.add_row(
                str(step.position),
                str(step.token),
                Text(repr(shown(step.token))),
                f"{math.exp(step.logprob):.1%}",
                Text(", ".join(rivals[:3])),
            )
        self.screen.print(table)

    def write(self, text: str, style: str | None = None) -> None:
        """Text of the model or a person, harmless to the terminal and without line wrapping."""
        self.screen.print(
            text.translate(_SHOWN), end="", style=style, markup=False, emoji=False, soft_wrap=True
        )

    def note(self, text: str) -> None:
        self.screen.print(text.translate(_SHOWN), style="dim", markup=False, emoji=False)


def _unquote(text: str) -> str:
    '''Without the """ around a text of several lines.'''
    bare = text.strip()
    if len(bare) >= 6 and bare.startswith('"""') and bare.endswith('"""'):
        return bare[3:-3].strip("\n")
    return text


def _editor() -> PromptSession[str]:
    """A line editor with history; Enter sends unless the text is still open."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        before = buffer.document.text_before_cursor
        if buffer.document.is_cursor_at_the_end and before.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif buffer.text.count('"""') % 2:
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return PromptSession(
        history=_history(), multiline=True, key_bindings=keys, prompt_continuation="  "
    )


def _history() -> History:
    """Kept in the platform's folder for applications; in memory where that cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class Kept(FileHistory):
        def store_string(self, string: str) -> None:
            with suppress(OSError):  # a full disk must not end the conversation
                super().store_string(string)

    folder = click.get_app_dir("pellucid")
    path = os.path.join(folder, "chat_history")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return Kept(path)

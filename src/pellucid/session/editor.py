"""The line editor of a session, its history, and the keyboard while a reply comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyPressEvent

__all__ = ["editor", "silent_keyboard", "unquoted"]


def editor() -> PromptSession[str]:
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


def unquoted(text: str) -> str:
    '''Without the """ around a text of several lines.'''
    bare = text.strip()
    if len(bare) >= 6 and bare.startswith('"""') and bare.endswith('"""'):
        return bare[3:-3].strip("\n")
    return text


@contextmanager
def silent_keyboard() -> Iterator[None]:
    """What is typed meanwhile is neither echoed nor taken as input; Ctrl-C goes through."""
    if sys.platform == "win32":  # has no such call
        yield
    else:
        import termios

        try:
            keyboard = sys.stdin.fileno()
            before = termios.tcgetattr(keyboard)
        except (OSError, ValueError, termios.error):  # no terminal
            yield
            return
        silent = list(before)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(keyboard, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            termios.tcflush(keyboard, termios.TCIFLUSH)
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


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

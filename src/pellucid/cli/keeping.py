"""Where a chat is kept, and which one goes on: options of `pellucid chat`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .store import named, open_store, store_option

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..conversations import Tree
    from ..conversations.keeper import Keeper
    from ..gpt import GPT

__all__ = ["Keeping", "with_keeping"]

Command = Callable[..., Any]

WAIT = 2.0  # seconds that another program may hold the store, before a chat goes on without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """path: of the store, where it was named. off: nothing is kept. file: what goes on, as /save
    wrote it. resume: an id; "" is the newest; None is none."""

    path: str | None = None
    off: bool = False
    file: str | None = None
    resume: str | None = None

    @property
    def asked(self) -> bool:
        """Whether the store was spoken of: then it is used without a terminal too."""
        return not self.off and (self.path is not None or self.resume is not None)

    def conversation(
        self, gpt: GPT, system: str | None, changes: dict[str, Any]
    ) -> tuple[Conversation, Tree | None]:
        """What goes on, and where it was read from. changes: to its settings."""
        from ..chat import Conversation
        from ..transcript import Transcript

        tree = None
        if self.file is not None:
            transcript = Transcript.read(self.file, gpt.tokenizer)
        else:
            from ..conversations.keeper import transcript_of

            tree = self._tree()
            transcript = transcript_of(tree, gpt.tokenizer)
        return Conversation.of(gpt, transcript, system=system, **changes), tree

    def keeper(self, conversation: Conversation, tree: Tree | None) -> Callable[[], Keeper] | None:
        """What makes the keeper of a chat; None where nothing is kept."""
        if self.off:
            return None
        if self.path is not None:
            open_store(self.path, create=True).close()  # whether it can be is known now

        def make() -> Keeper:
            from ..conversations import Store
            from ..conversations.keeper import Keeper

            return Keeper(conversation, lambda: Store.open(self.path, wait=WAIT), tree)

        return make

    def _tree(self) -> Tree:
        with open_store(self.path) as store:
            return store.tree(named(store, self.resume).id)


def with_keeping(command: Command) -> Command:
    """--continue, --resume, --store, --no-store; hands on `keeping`."""

    @wraps(command)
    def run(
        *, kept: str | None, resume: str | None, store: str | None, no_store: bool, **rest: Any
    ) -> Any:
        if kept is not None and resume is not None:
            raise click.UsageError("--continue and --resume both say what goes on: give one")
        if kept and not Path(kept).is_file():
            raise click.UsageError(
                f"there is no file {kept!r}; --continue alone goes on with the newest "
                f"conversation kept, --resume {kept} with the one of this id"
            )
        keeping = Keeping(
            path=store, off=no_store, file=kept or None, resume="" if kept == "" else resume
        )
        return command(keeping=keeping, **rest)

    options = (
        click.option(
            "--continue",
            "kept",
            metavar="[FILE]",
            is_flag=False,
            flag_value="",
            help="Go on with the newest conversation kept, or with a FILE that /save wrote.",
        ),
        click.option("--resume", metavar="ID", help="Go on with this one (or: its first digits)."),
        store_option,
        click.option("--no-store", is_flag=True, help="Off the record: keep nothing."),
    )
    decorated: Command = run
    for option in reversed(options):
        decorated = option(decorated)
    return decorated

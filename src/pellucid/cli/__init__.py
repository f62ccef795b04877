"""The command line: one thin command per verb, imported only when it is called."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from .plain import print_plainly
from .verbs import EXAMPLES, SECTIONS, VERBS

__all__ = ["SECTIONS", "VERBS", "main", "pellucid"]


class Verbs(click.Group):
    """A group that imports a verb's module only when that verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __name__).command
        command.epilog = f"\b\nExample:\n  {EXAMPLES[cmd_name]}"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-") and not ctx.resilient_parsing:
            near = [verb for verb in VERBS if verb.startswith(name)]
            near = near or get_close_matches(name, VERBS, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "pellucid --help lists them."
            ctx.fail(f"There is no command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, VERBS))
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(f"{verb:<{widest}}", line) for verb, line in verbs.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Start with: pellucid walk "The power clapper"',
)
@click.version_option(package_name="pellucid")
def pellucid() -> None:
    """A GPT you can see through: text, tokens, attention, prediction, and back again."""


def main() -> None:
    """Entry point: a person's mistake is one line and exit code 2, never a traceback."""
    from ..errors import PellucidError

    print_plainly()
    warnings.showwarning = _warn
    try:
        pellucid.main(prog_name="pellucid", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("\nStopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        _complain(shown.getvalue().rstrip("\n"))
        sys.exit(error.exit_code)
    except (PellucidError, OSError) as error:
        _complain(f"Error: {error}")
        sys.exit(2)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _complain(f"Warning: {message}")


def _complain(text: str) -> None:
    """What a file or a person wrote may stand in it: shown, not obeyed."""
    from .output import say

    say(text, err=True)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """`pellucid … | head` ends well: whoever reads has seen enough."""
    try:
        yield
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # what is still held would fail again at the very end
                with suppress(OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise click.exceptions.Exit(0) from None

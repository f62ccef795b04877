"""The command line: one thin command per verb, imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

__all__ = ["main", "pellucid"]

# verb -> (module, one line for --help); the module's `command` is imported when it is needed
VERBS = {
    "chat": ("chat", "Talk with a model; see every token if you like."),
    "convert": ("convert", "Write a checkpoint in another format."),
    "generate": ("generate", "Go on from a text, token by token."),
    "models": ("models", "List the models at hand, or show one's card."),
    "talk": ("talk", "The chatbot on the embedded model; the walk where there is no terminal."),
    "tokens": ("tokens", "Show how a text is split into tokens."),
    "train-talk": ("train_talk", "Train the embedded talk model again, in seconds."),
    "walk": ("walk", "The whole way from text to predicted token, with live numbers."),
}


class Verbs(click.Group):
    """A group that imports a verb's module only when that verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f".{VERBS[cmd_name][0]}", __name__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


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

    try:
        pellucid.main(prog_name="pellucid", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("\nStopped.", err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("\nStopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PellucidError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # `pellucid ... | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)

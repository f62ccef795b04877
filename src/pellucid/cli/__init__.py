"""The command line: one thin command per verb, imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

__all__ = ["main", "pellucid"]

# section -> verb -> (module, one line for --help); a module's `command` is imported when needed
SECTIONS = {
    "Talk and generate": {
        "chat": ("chat", "Talk with a model; see every token if you like."),
        "generate": ("generate", "Go on from a text, token by token."),
        "talk": ("talk", "The chatbot on the embedded model; the walk where there is no terminal."),
    },
    "See inside": {
        "walk": ("walk", "The whole way from text to predicted token, with live numbers."),
        "view": ("view", "One text from every side, on one page for a browser."),
        "tokens": ("tokens", "Show how a text is split into tokens."),
        "trace": ("trace", "Every value of a pass, or of a generation that was recorded."),
        "lens": ("lens", "What it would say if it ended after each layer."),
        "attention": ("attention", "Who looks where."),
        "heads": ("heads", "What each head does, measured."),
        "neighbours": ("neighbours", "The tokens nearest to a token."),
    },
    "Ask why": {
        "why": ("why", "Which tokens and heads made it say that, in plain words."),
        "attribute": ("attribute", "A logit as the sum of what each part wrote."),
        "gradients": ("gradients", "Which tokens the prediction is sensitive to (needs PyTorch)."),
    },
    "Change and watch": {
        "ablate": ("ablate", "Switch parts off and see what it says then."),
        "sweep": ("sweep", "Every head, MLP or token off, each alone."),
        "patch": ("patch", "Put values of one prompt's run into another's."),
        "steer": ("steer", "Generate with a direction added."),
    },
    "Learn": {
        "data": ("data", "Turn texts and conversations into token files to train on."),
        "train": ("train", "Make a model from your texts; `train talk` learns in seconds."),
        "prefer": ("prefer", "Make the better of two replies likelier (DPO)."),
        "plot": ("plot", "Draw a training run's losses."),
    },
    "Models": {
        "eval": ("eval", "How well a model predicts a text it has not seen."),
        "models": ("models", "List the models at hand, or show one's card."),
        "convert": ("convert", "Write a checkpoint in another format."),
        "merge": ("merge", "Put a LoRA adapter into the model it was trained on."),
    },
}
VERBS = {verb: entry for verbs in SECTIONS.values() for verb, entry in verbs.items()}


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
        widest = max(map(len, VERBS))
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                rows = [(f"{verb:<{widest}}", line) for verb, (_, line) in verbs.items()]
                formatter.write_dl(rows)


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

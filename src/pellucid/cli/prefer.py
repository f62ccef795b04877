"""`pellucid prefer`: make the better of two replies likelier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import console

if TYPE_CHECKING:
    from ..train.preference import PreferenceTrainer
    from ..train.trainer import StepReport

__all__ = ["command"]

_FLAGS: tuple[tuple[str, Any, str], ...] = (
    ("--steps", click.IntRange(1), "Default 200."),
    ("--batch", click.IntRange(1), "Pairs a step (default 8)."),
    ("--micro-batch", click.IntRange(1), "Pairs at a time, so that they fit into memory."),
    ("--learning-rate", float, "Default 1e-5; with LoRA ten times as much is common."),
    ("--beta", float, "How dear it is to leave the model as it was (default 0.1)."),
    ("--label-smoothing", float, "The share of pairs that may be the wrong way round."),
    ("--held-out", float, "The share of prompts kept for validation (default 0.1)."),
    ("--lora-rank", click.IntRange(0), "Train an adapter of this rank (default 0: all weights)."),
    ("--lora-alpha", float, "The adapter counts alpha / rank (default 16)."),
    ("--template", str, "How the model is talked to (default: as it was trained)."),
    ("--seed", click.IntRange(0), "Default 0."),
    ("--device", str, 'Default "cpu".'),
    ("--threads", click.IntRange(1), "Cores to use (default: all)."),
)


def _flags(command: Any) -> Any:
    for name, kind, text in reversed(_FLAGS):
        command = click.option(name, type=kind, help=text)(command)
    return command


def _until_stopped(trainer: PreferenceTrainer) -> Iterator[StepReport]:
    try:
        yield from trainer
    except KeyboardInterrupt:
        click.echo("The same command goes on from the newest checkpoint.", err=True)
        raise


@click.command("prefer")
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option("--start", metavar="M", help="The model: a folder, a file or a hub name.")
@click.option("--out", help="The folder of this run.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file with any field of PreferenceConfig; flags win over it.",
)
@_flags
def command(pairs: Path, config: Path | None, **flags: Any) -> None:
    """Preference finetuning (DPO) with PAIRS, a JSONL file of prompt, chosen and rejected.

    The same command again goes on where a run was stopped. Writes OUT/model.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    try:
        from ..train.preference import PreferenceConfig, PreferenceTrainer
    except ImportError as error:
        raise click.UsageError(
            'finetuning needs PyTorch: pip install "pellucid[torch,train]"'
        ) from error

    given = {name: value for name, value in flags.items() if value is not None}
    given["corpus"] = str(pairs)
    chosen = PreferenceConfig.read(config, given) if config else PreferenceConfig.from_dict(given)
    screen = console(stderr=True)
    with screen.status("measuring the model as it is"):
        trainer = PreferenceTrainer(chosen)
    for wrong in trainer.damaged:
        click.echo(f"Passed over: {wrong}", err=True)
    card = trainer.corpus.card
    click.echo(
        f"{card['pairs']} pairs to learn from, {card['validation_pairs']} held out, "
        f"{card['too_long']} too long for the window; step {trainer.step} of {chosen.steps}"
    )
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task("", total=chosen.steps, completed=trainer.step)
        for report in _until_stopped(trainer):
            shown = f"loss {report.loss:.4f}  right {report.measures['accuracy']:.0%}"
            progress.update(task, completed=report.step, description=shown)
            if report.validation_loss is not None:
                progress.console.print(
                    f"step {report.step}: held-out loss {report.validation_loss:.4f}, "
                    f"right {report.measures['validation_accuracy']:.1%}, "
                    f"margin {report.measures['validation_margin']:+.3f}"
                )
    click.echo(f"Wrote {trainer.out / 'model'}: pellucid chat --model {trainer.out / 'model'}")

"""`pellucid train-talk`: train the embedded talk model again."""

from __future__ import annotations

from pathlib import Path

import click

from .options import console

__all__ = ["command"]


@click.command("train-talk")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/talk"),
    show_default=True,
    help="Folder to write the model to.",
)
@click.option("--steps", type=click.IntRange(1), default=1500, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def command(out: Path, steps: int, seed: int) -> None:
    """Train the talk model on its sentences: seconds on a laptop."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..train.talk import save_talk, train_talk

    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f} nats/token"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as progress:
        task = progress.add_task("", total=steps, loss=float("nan"))
        tensors, tokenizer, card = train_talk(
            steps, seed, lambda step, loss: progress.update(task, completed=step + 1, loss=loss)
        )
    save_talk(out, tensors, tokenizer, card)
    click.echo(f"Wrote {out}: loss {card['loss']} nats per token ({card['loss_floor']} at best).")
    click.echo(f'Look at it: pellucid walk "The power clapper" --model {out}')

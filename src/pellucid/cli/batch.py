"""`pellucid batch`: a corpus through a model, one row a document."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .loading import load
from .options import console, places, with_machine
from .output import say
from .reading import with_reading
from .settings import with_settings

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["command"]


def _loaded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands on `gpt` beside the `model` and `machine` that workers load it by."""

    @wraps(command)
    def run(*, model: str | None, machine: dict[str, Any], **rest: Any) -> Any:
        return command(gpt=load(model, **machine), model=model, machine=machine, **rest)

    return with_machine(run)


@click.command("batch")
@click.argument("texts", nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@_loaded
@with_settings(64, least=0)
@click.option(
    "--template", metavar="T", help="How conversations are written (default: the model's)."
)
@click.option("--loss", is_flag=True, help="Also how likely each document is to the model.")
@click.option(
    "--top-heads",
    "heads",
    type=click.IntRange(0),
    default=0,
    help="Also so many heads that wrote most of the first generated token's logit.",
)
@click.option("--names", multiple=True, help='Also these values, such as "attn.pattern".')
@places("layer", "position")
@with_reading
@click.option(
    "--rows", type=click.IntRange(1), default=64, show_default=True, help="Documents in a file."
)
@click.option(
    "--ray", "actors", type=click.IntRange(1), help="On a Ray cluster, by so many actors."
)
@click.option(
    "--cpus",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="With --ray: of each actor.",
)
def command(
    texts: tuple[str, ...],
    out: Path,
    gpt: GPT,
    model: str | None,
    machine: dict[str, Any],
    settings: dict[str, Any],
    layers: list[int] | None,
    positions: list[int] | None,
    actors: int | None,
    cpus: int,
    **others: Any,
) -> None:
    """Go on from each document of TEXTS, and write one row of each into Parquet files in the folder
    OUT. Stopped and started again it does only what is missing.

    TEXTS are files, folders or globs, as of `pellucid data`. Of a conversation the reply is
    generated. --names records values of each document's last position, or of --position.
    """
    from ..batch import Job, run
    from ..batch.documents import Reading
    from ..sequence import Settings

    asked = {name: others.pop(name) for name in ("template", "loss", "heads", "names", "rows")}
    job = Job(
        model=model,
        machine=machine,
        settings=Settings.of(**settings),
        layers=None if layers is None else tuple(layers),
        positions=(-1,) if positions is None else tuple(positions),
        **asked,
    )
    how = Reading(**others)
    from rich.progress import Progress

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=None)

        def watch(n: int) -> None:
            bar.update(task, completed=n, description=f"{n} rows")

        if actors is None:
            done = run(job, texts, out, reading=how, gpt=gpt, on_progress=watch)
        else:
            from ..batch.ray import run as run_on_ray

            done = run_on_ray(
                job, texts, out, reading=how, actors=actors, cpus=cpus, on_progress=watch
            )
    say(f"Wrote {done.rows} rows into {out}; {done.before} were there.")
    for line in done.bad:
        say(f"Left out: {line}", err=True)

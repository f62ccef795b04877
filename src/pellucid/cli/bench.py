"""`pellucid bench`: how fast, beside others."""

from __future__ import annotations

from pathlib import Path

import click

from .output import console, note, say

__all__ = ["command"]


@click.command("bench")
@click.option("--model", "-m", metavar="M", help="What is run (default: PEERS's, else chat).")
@click.option(
    "--peers",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that benchmarks/peers.py made: llama.cpp, CTranslate2, ... take part.",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Cores to use (default: all).")
@click.option("--only", multiple=True, metavar="NAME", help="Who takes part, by how names begin.")
@click.option("--kernels", metavar="NAME", help="Of the compiled backend, such as AVX2.")
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts, as eval reads them, that speculation goes on from.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Write speed.json, speed.md and speed.png there.",
)  # fmt: skip
def command(
    model: str | None,
    peers: Path | None,
    rounds: int,
    threads: int | None,
    only: tuple[str, ...],
    kernels: str | None,
    text: Path | None,
    out: Path | None,
) -> None:
    """Measure decoding, first tokens, streams, cold start and memory: Pellucid in every kind that
    this machine can, and the peers at hand, in turns, each in a process of its own.

    Leave the machine alone meanwhile; the table says how fast its memory was.
    """
    from tempfile import TemporaryDirectory

    from rich.progress import Progress

    from ..bench import find, markdown, measure, write

    if model is None:
        model = "chat" if peers is None else str(peers / "models" / "hf")
    with TemporaryDirectory() as folder:
        work = Path(folder)
        contenders, missing = find(model, peers, work, kernels)
        if only:
            contenders = [each for each in contenders if each.name.startswith(only)]
        if not contenders:
            raise click.UsageError(f"nobody's name begins with {' or '.join(only)}")
        with Progress(console=console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=rounds * len(contenders))

            def watch(number: int, name: str) -> None:
                bar.update(task, advance=1, description=f"round {number + 1}, {name}")

            results = measure(
                contenders, model=model, rounds=rounds, threads=threads, work=work,
                missing=missing, kernels=kernels, text=text, on_progress=watch,
            )  # fmt: skip
    say(markdown(results))
    for path in write(results, out) if out is not None else ():
        note(f"Wrote {path}")

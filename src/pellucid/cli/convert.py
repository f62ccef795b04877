"""`pellucid convert`: a checkpoint in another format."""

from __future__ import annotations

from pathlib import Path

import click

from ..visible import harmless
from .output import console, say

__all__ = ["command"]


@click.command("convert")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["pellucid", "hf"]),
    default="pellucid",
    show_default=True,
    help="pellucid: with a manifest of sha256. hf: what transformers loads.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
    help="How the numbers are stored.",
)
@click.option("--force", is_flag=True, help="Replace a checkpoint that is there.")
def command(source: str, target: Path, form: str, dtype: str, force: bool) -> None:
    """Read the model SOURCE, of any format that loads, and write the folder TARGET."""
    from rich.text import Text

    from .. import checkpoint

    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; choose another name, or --force to replace it")
    screen = console(stderr=True)
    with screen.status(Text(harmless(f"reading {source}"))):
        model = checkpoint.load(source)
    with screen.status(Text(harmless(f"writing {target}"))):
        checkpoint.save(
            target,
            model.hparams,
            model.tensors,
            model.tokenizer,
            format=form,
            dtype=dtype,
            card=model.card,
            template=model.template,
            roles=model.roles,
        )
    n_params = model.hparams.n_params
    say(f"Wrote {target} ({form}, {dtype}, {n_params:,} parameters).")

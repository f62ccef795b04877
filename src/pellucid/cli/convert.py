"""`pellucid convert`: a checkpoint in another format."""

from __future__ import annotations

from pathlib import Path

import click

from ..visible import harmless
from .calibrating import calibrated_tensors
from .output import console, say

__all__ = ["command"]

_DTYPES = ["float32", "float16", "bfloat16", "q8_0", "q4_0"]


@click.command("convert")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["pellucid", "hf", "gguf"]),
    help="pellucid: with a manifest of sha256. hf: what transformers loads. gguf: one file, what "
    "llama.cpp loads.",
    show_default="gguf for a TARGET.gguf, else pellucid",
)
@click.option(
    "--dtype",
    type=click.Choice(_DTYPES),
    default="float32",
    show_default=True,
    help="How the numbers are stored; q8_0 and q4_0, of 8 and 4 bits, in GGUF only.",
)
@click.option(
    "--calibrate",
    "texts",
    metavar="TEXT",
    help="With q4_0: round by GPTQ, so that what the model makes of this text changes least; "
    "a file, or a folder, as `eval` reads it.",
)
@click.option(
    "--embeddings",
    type=click.Choice(["q8_0", "q4_0"]),
    help="With q4_0: how the token embeddings and the output layer are stored.",
    show_default="q8_0",
)
@click.option("--force", is_flag=True, help="Replace a checkpoint that is there.")
def command(
    source: str,
    target: Path,
    form: str | None,
    dtype: str,
    texts: str | None,
    embeddings: str | None,
    force: bool,
) -> None:
    """Read the model SOURCE, of any format that loads, and write the folder TARGET, or the file
    TARGET.gguf."""
    from rich.text import Text

    from .. import checkpoint

    form = form or ("gguf" if target.suffix == ".gguf" else "pellucid")
    if (form == "gguf") != (target.suffix == ".gguf"):
        raise click.UsageError(f"{target}: GGUF is one file, NAME.gguf; other formats are folders")
    for option, value in (("--calibrate", texts), ("--embeddings", embeddings)):
        if value is not None and (form != "gguf" or dtype != "q4_0"):
            raise click.UsageError(f"{option} is for --dtype q4_0, in a TARGET.gguf")
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; choose another name, or --force to replace it")
    screen = console(stderr=True)
    with screen.status(Text(harmless(f"reading {source}"))):
        model = checkpoint.load(source)
    tensors = model.tensors
    if texts is not None:
        tensors = calibrated_tensors(source, texts, table=embeddings == "q4_0")
    with screen.status(Text(harmless(f"writing {target}"))):
        checkpoint.save(
            target,
            model.hparams,
            tensors,
            model.tokenizer,
            format=form,
            dtype=dtype,
            card=model.card,
            template=model.template,
            roles=model.roles,
            embeddings=embeddings,
        )
    n_params = model.hparams.n_params
    say(f"Wrote {target} ({form}, {dtype}, {n_params:,} parameters).")

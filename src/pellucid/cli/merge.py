"""`pellucid merge`: a base and its LoRA adapter become one model."""

from __future__ import annotations

from pathlib import Path

import click

from .options import console
from .output import say

__all__ = ["command"]


@click.command("merge")
@click.argument("base")
@click.argument("adapter", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["pellucid", "hf", "peft"]),
    default="pellucid",
    show_default=True,
    help="pellucid, hf: the merged model. peft: the adapter alone, as Hugging Face's peft loads "
    "it onto the base.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
    help="How a model's numbers are stored.",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
def command(base: str, adapter: Path, target: Path, form: str, dtype: str, force: bool) -> None:
    """Put the ADAPTER of a LoRA run into the checkpoint BASE that it started from.

    Writes the folder TARGET. A finished run has its adapter in OUT/adapter.
    """
    from .. import checkpoint
    from ..errors import CheckpointError
    from ..train import adapter as adapters

    if target.exists() and not force:
        raise click.UsageError(f"{target} exists; choose another name, or --force to replace it")
    with console(stderr=True).status(f"reading {base}"):
        learned = adapters.load(adapter)
        model = checkpoint.load(base)
        try:
            adapters.check_tokenizer(model.tokenizer, learned)
            merged = adapters.merge(model.tensors, learned)
        except CheckpointError as error:
            if (kept := adapters.kept_base(adapter, learned)) is None:
                raise
            command = f"pellucid merge {kept} {adapter} {target}"
            raise CheckpointError(f"{error}. Its run has kept it: {command}") from error
    if form == "peft":
        adapters.save_peft(target, learned, base)
    else:
        checkpoint.save(
            target,
            model.hparams,
            merged,
            model.tokenizer,
            format=form,
            dtype=dtype,
            card={**model.card, "adapter": {"rank": learned.rank, "alpha": learned.alpha}},
            template=model.template,
            roles=model.roles,
        )
    say(f"Wrote {target} ({form}; rank {learned.rank}, alpha {learned.alpha:g}).")

"""`pellucid prefer`: make the better of two replies likelier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..train.config import PreferenceConfig
from .training import finish, flags

__all__ = ["command"]

# The model's own, or of texts alone.
_SHAPE = ("n_ctx", "n_embd", "n_head", "n_layer", "band", "aligned", "row")


@click.command("prefer")
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option(
    "--start", "--from", "start", metavar="M", help="The model: a folder, a file or a hub name."
)
@click.option("--out", "-o", metavar="RUN", help="The folder of this run.")
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="A TOML file of the fields below."
)
@flags(PreferenceConfig, without=("corpus", "out", "start", *_SHAPE))
def command(pairs: Path, config: Path | None, **fields: Any) -> None:
    """Preference finetuning (DPO) with PAIRS, a file of rows of prompt, chosen and rejected.

    The same command again goes on where a run was stopped. Writes RUN/model.
    """
    changed = {name: value for name, value in fields.items() if value is not None}
    changed["corpus"] = str(pairs)
    if config is not None:
        finish(PreferenceConfig.read(config, changed))
        return
    for name in ("start", "out"):
        if name not in changed:
            raise click.UsageError(f"give --{name}: pellucid prefer {pairs} --start M --out RUN")
    finish(PreferenceConfig.from_dict(changed))

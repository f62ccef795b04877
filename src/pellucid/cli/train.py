"""`pellucid train`: make a model from texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..train.config import TalkConfig, TrainConfig, TranslationConfig, read_config
from .output import say
from .pairs import or_pairs
from .progress import watching
from .sizes import with_size
from .training import describe, finish, flags, with_page

__all__ = ["command"]

_WATCHED = 30  # moments of the talk's small model that are kept where somebody watches


@click.command("train")
@click.argument("texts", nargs=-1, metavar="TEXTS|CORPUS|talk")
@click.option("--out", "-o", metavar="RUN", help="The folder of the run.")
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="A TOML file of the fields below."
)
@click.option("--resume", metavar="RUN", help="Go on with the run in this folder.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--n-vocab", type=int, help="Tokens of TEXTS, at most.  [default: 4096]")
@with_page("Let a browser on this machine watch it learn (0: any port).")
@with_size
@or_pairs
@flags(TrainConfig, without=("corpus", "out"), pairs=TranslationConfig)
def command(
    texts: tuple[str, ...],
    out: str | None,
    config: Path | None,
    resume: str | None,
    dry_run: bool,
    n_vocab: int | None,
    page: int | None,
    **fields: Any,
) -> None:
    """Train a model on TEXTS (files and folders) or on a CORPUS of `pellucid data`.

    The same command again goes on where it was stopped. Flags win over --config. `train talk`
    trains the model `talk` in seconds, to watch (its only options: --out, --steps,
    --seed, --sample-every, --snapshots, --page).
    """
    changed = {name: value for name, value in fields.items() if value is not None}
    if texts == ("talk",):
        if dry_run or resume or config or n_vocab:
            raise click.UsageError("train talk takes no --dry-run, --resume, --config or --n-vocab")
        _talk({**changed, **({} if out is None else {"out": out})}, page)
        return
    if resume is not None:
        if texts or config is not None or out is not None:
            raise click.UsageError("--resume RUN takes texts, --config and --out from RUN")
        config, out = Path(resume) / "config.toml", resume
        if not config.is_file():
            raise click.UsageError(f"{resume} is no training run: it has no config.toml")
    if out is not None:
        changed["out"] = out
    if texts:
        changed["corpus"] = texts[0]
    settings = _settings(config, changed, resume is not None)
    if settings.task != TrainConfig.task:
        if dry_run or n_vocab:
            raise click.UsageError(f"--dry-run and --n-vocab are not for a run of {settings.task}")
        finish(settings, page)
        return
    sources = texts or (settings.corpus,)
    if dry_run:
        describe(settings, sources, n_vocab)
        return
    from ..train.run import with_corpus

    with watching() as watch:
        settings, card = with_corpus(settings, sources, n_vocab, watch)
    if card is not None:
        say(
            f"Corpus: {card['splits']['train']['tokens']:,} tokens to learn from, "
            f"{card['splits']['validation']['tokens']:,} held out, {card['n_vocab']:,} in the "
            "vocabulary.",
            err=True,
        )
    finish(settings, page)


def _settings(config: Path | None, changed: dict[str, Any], any_task: bool) -> TrainConfig:
    if config is not None:
        return (read_config if any_task else TrainConfig.read)(config, changed)
    for name, wanted in (("corpus", "texts, or a corpus,"), ("out", "--out RUN")):
        if name not in changed:
            raise click.UsageError(f"give {wanted}: pellucid train texts/ --out run")
    for name in ("n_ctx", "n_embd", "n_head", "n_layer", "band"):
        if name in changed and "start" in changed:
            flag = f"--{name.replace('_', '-')}"
            row = "; --row says how long rows are" if name == "n_ctx" else ""
            raise click.UsageError(
                f"{flag} is for fresh weights: the model of --start has its own{row}"
            )
    return TrainConfig.from_dict(changed)


def _talk(changed: dict[str, Any], page: int | None) -> None:
    from ..train.run import talk_again

    if unknown := sorted(set(changed) - {"out", "steps", "seed", "sample_every", "snapshots"}):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unknown)
        raise click.UsageError(f"the model `talk` has a recipe of its own: no {names} here")
    if page is not None:
        changed.setdefault("snapshots", _WATCHED)
    settings = TalkConfig.from_dict(changed)
    talk_again(settings)
    finish(settings, page)

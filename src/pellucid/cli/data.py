"""`pellucid data`: texts become the tokenised corpus that a run learns from."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from .options import console
from .output import say
from .progress import watching
from .reading import with_reading

__all__ = ["command"]


@click.command("data")
@click.argument("texts", nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--tokenizer",
    metavar="M",
    help="A model's or a corpus's, by folder or name such as gpt2 (default: learn a vocabulary).",
)
@click.option(
    "--n-vocab",
    type=click.IntRange(257),
    help="Tokens of the vocabulary to learn, at most.  [default: 4096]",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.01,
    show_default=True,
    help="Share of the documents to hold out.",
)
@click.option(
    "--template",
    default="roles",
    show_default=True,
    help="How turns become tokens: roles, dialogpt or plain.",
)
@click.option(
    "--learn-all", is_flag=True, help="Learn everybody's words, not the assistant's only."
)
@with_reading
@click.option("--limit", type=click.IntRange(1), help="At most so many documents.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws what to hold out."
)
@click.option("--workers", type=click.IntRange(1), help="Threads that encode (default: all cores).")
def command(
    texts: tuple[str, ...],
    out: Path,
    tokenizer: str | None,
    n_vocab: int | None,
    workers: int | None,
    **settings: Any,
) -> None:
    """Turn TEXTS into token files in the folder OUT, for `pellucid train`.

    TEXTS are files, folders or globs of .txt, .md, .jsonl, .json, .csv, .tsv (also .gz, .bz2,
    .xz, .zst) and .parquet. A text file is one document; a row has "text", "messages",
    "conversations", "instruction" and "output", "prompt" and "completion": see docs/data.md.
    """
    from ..data.prepare import N_VOCAB, write_corpus

    if tokenizer is not None and n_vocab is not None:
        raise click.UsageError("--n-vocab is for a vocabulary to learn; --tokenizer has its own")
    before = (out / "card.json").is_file()
    with watching() as watch:
        card = write_corpus(
            texts,
            out,
            tokenizer=tokenizer,
            n_vocab=n_vocab or N_VOCAB,
            workers=workers or os.cpu_count() or 1,
            on_progress=watch,
            **settings,
        )
    _print(card, out, " in place of the one that was there" if before else "")


def _print(card: dict[str, Any], out: Path, instead: str) -> None:
    from rich.table import Table

    columns = ["documents", "tokens", *(["learned"] if card["masked"] else []), "bytes"]
    table = Table("", box=None)
    for name in [*columns, "bytes per token"]:
        table.add_column(name, justify="right")
    for split, counts in card["splits"].items():
        per_token = counts["bytes"] / counts["tokens"] if counts["tokens"] else 0
        table.add_row(split, *(f"{counts[name]:,}" for name in columns), f"{per_token:.2f}")
    console().print(table)
    talks = f", {card['conversations']:,} conversations" if card["conversations"] else ""
    say(f"Wrote {out}{instead}: {card['n_vocab']:,} tokens in the vocabulary{talks}.")
    skipped = card["skipped"]
    if skipped["bad"]:
        say(f"Left out: {skipped['bad']:,} that cannot be read, first {skipped['first']}")
    if skipped["empty"]:
        say(f"Left out: {skipped['empty']:,} without a word.")
    for note in card["notes"]:
        say(f"Note: {note}.")
    say(f"Train on it: pellucid train {shlex.quote(str(out))} --out RUN", data=True)

"""`pellucid eval`: how good is a model?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .options import console, with_loader
from .output import say, to_json
from .reading import with_reading

if TYPE_CHECKING:
    from ..evaluate import Perplexity, TaskScore
    from ..gpt import GPT

__all__ = ["command"]


@click.command("eval")
@click.argument("arguments", nargs=-1, metavar="[perplexity|lambada|hellaswag|blimp] FILE")
@with_loader
@click.option("--stride", type=click.IntRange(1), help="Tokens scored per window (default: all).")
@click.option("--window", type=click.IntRange(1), help="Tokens read per window (default: n_ctx).")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
@with_reading
@click.option("--batch", type=click.IntRange(1), help="Rows computed at a time.")
@click.option("--json", "as_json", is_flag=True, help="One object with every number.")
def command(
    arguments: tuple[str, ...],
    load: Callable[[], GPT],
    stride: int | None,
    window: int | None,
    limit: int | None,
    batch: int | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Measure a model on FILE: text, JSON lines, JSON, CSV or Parquet, also compressed; or on all
    the files of a folder.

    What to measure is guessed from FILE where it is not named.
    """
    from ..evaluate.files import KINDS, guess_kind, score_file

    if not 1 <= len(arguments) <= 2 or (len(arguments) == 2 and arguments[0] not in KINDS):
        raise click.UsageError(f"give [{'|'.join(KINDS)}] and a file: pellucid eval text.txt")
    path = arguments[-1]
    kind = arguments[0] if len(arguments) == 2 else guess_kind(path)
    if kind != "perplexity" and (stride or window):
        raise click.UsageError(f"--stride and --window belong to perplexity, not to {kind}")
    gpt = load()
    best: list[Any] = []  # the score so far
    from rich.progress import Progress

    try:
        with Progress(console=console(stderr=True), transient=True) as bar:
            task = bar.add_task(kind, total=None)

            def watch(score: Any, done: int) -> None:
                best[:] = [score]
                bar.update(task, completed=done, description=f"{kind}, {done} done")

            score, left_out = score_file(
                gpt, path, kind, stride=stride, window=window, limit=limit, batch=batch,
                on_progress=watch, **reading,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not best:
            raise
        _print(best[0], path, as_json)
        say("Stopped: the score is of what was reached so far.", err=True)
        raise SystemExit(130) from None
    _print(score, path, as_json)
    for line in left_out:
        say(f"Left out: {line}", err=True)


def _print(score: Any, path: str, as_json: bool) -> None:
    from ..evaluate import ConversationPerplexity, Perplexity

    if as_json:
        say(to_json({"file": path, **score.to_dict()}), data=True)
    elif isinstance(score, ConversationPerplexity):
        _print_perplexity(score.replies, path, "the assistant's turns")
        _print_perplexity(score.everything, path, "all turns")
    elif isinstance(score, Perplexity):
        _print_perplexity(score, path, "")
    else:
        _print_task(score, path)


def _print_perplexity(score: Perplexity, path: str, part: str) -> None:
    say(f"{path}{', ' + part if part else ''}, model {score.model}")
    say(f"  bits per byte         {score.bits_per_byte:.4f}")
    say(f"  perplexity per token  {score.perplexity:,.4f}")
    say(f"  nats per token        {score.nats_per_token:.4f}")
    if score.word_perplexity is not None:
        say(f"  perplexity per word   {score.word_perplexity:,.4f}")
    words = "" if score.n_words is None else f", {score.n_words:,} words"
    documents = "1 document" if score.n_documents == 1 else f"{score.n_documents:,} documents"
    say(
        f"  {documents}, {score.n_tokens:,} tokens scored, "
        f"{score.n_bytes:,} bytes{words}{'' if score.complete else ' (broken off)'}"
    )
    say(f"  protocol: {score.protocol}")


def _print_task(score: TaskScore, path: str) -> None:
    say(f"{score.task}, {path}, model {score.model}")
    for name, value in score.metrics.items():
        say(f"  {name:20}  {value:.4f}")
    for name, value in score.groups.items():
        say(f"    {name:50}  {value:.3f}")
    say(
        f"  {score.n_examples:,} examples, {score.n_tokens:,} tokens scored"
        f"{'' if score.complete else ' (broken off)'}"
    )
    say(f"  protocol: {score.protocol}")

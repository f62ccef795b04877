"""`pellucid eval`: how good is a model?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from .options import console, with_loader

if TYPE_CHECKING:
    from ..evaluate import Perplexity, TaskScore
    from ..gpt import GPT

__all__ = ["command"]

KINDS = ("perplexity", "lambada", "hellaswag", "blimp")


@click.command("eval")
@click.argument("arguments", nargs=-1, metavar="[perplexity|lambada|hellaswag|blimp] FILE")
@with_loader
@click.option("--stride", type=click.IntRange(1), help="Tokens scored per window (default: all).")
@click.option("--window", type=click.IntRange(1), help="Tokens read per window (default: n_ctx).")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many examples.")
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
) -> None:
    """Measure a model on FILE: text or JSON lines, also .xz, .gz or .bz2.

    What to measure is guessed from FILE where it is not named.
    """
    from ..evaluate.files import guess_kind

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

            settings = {"batch": batch, "on_progress": watch}
            if kind == "perplexity":
                score = _perplexity(gpt, path, stride, window, limit, settings)
            else:
                score = _task(gpt, kind, path, limit, settings)
    except KeyboardInterrupt:
        if not best:
            raise
        _print(best[0], path, as_json)
        click.echo("Stopped: the score is of what was reached so far.", err=True)
        raise SystemExit(130) from None
    _print(score, path, as_json)


def _perplexity(
    gpt: GPT,
    path: str,
    stride: int | None,
    window: int | None,
    limit: int | None,
    settings: dict[str, Any],
) -> Any:
    from ..evaluate import conversation_perplexity, perplexity
    from ..evaluate.files import json_lines, read_text, stem

    settings = {**settings, "stride": stride, "window": window}
    if stem(path).suffix != ".jsonl":
        if limit:
            raise click.UsageError("--limit counts documents: it needs a .jsonl file")
        settings["words"] = "spaces and line ends" if "wikitext" in stem(path).name else "spaces"
        return perplexity(gpt, read_text(path), **settings)
    _, first = next(json_lines(path), (0, {}))
    field = "turns" if "turns" in first else "text"
    documents = _field(path, field, list if field == "turns" else str, limit)
    if field == "turns":
        return conversation_perplexity(gpt, documents, **settings)
    return perplexity(gpt, documents, words="spaces", **settings)


def _task(gpt: GPT, kind: str, path: str, limit: int | None, settings: dict[str, Any]) -> Any:
    from ..evaluate import blimp, hellaswag, lambada
    from ..evaluate.files import json_lines, read_text, stem

    if kind != "lambada":
        examples = islice((entry for _, entry in json_lines(path)), limit)
        return (blimp if kind == "blimp" else hellaswag)(gpt, examples, **settings)
    if stem(path).suffix == ".jsonl":
        return lambada(gpt, _field(path, "text", str, limit), **settings)
    texts = (line for line in read_text(path).split("\n") if line.strip())
    return lambada(gpt, islice(texts, limit), **settings)


def _field(path: str, field: str, kind: type, limit: int | None) -> Iterator[Any]:
    """That field of each line."""
    from ..errors import InputError
    from ..evaluate.files import json_lines

    entries: Iterable[tuple[int, dict[str, Any]]] = islice(json_lines(path), limit)
    for number, entry in entries:
        if not isinstance(entry.get(field), kind):
            raise InputError(f'{path}, line {number} has no "{field}": it has {", ".join(entry)}')
        yield entry[field]


def _print(score: Any, path: str, as_json: bool) -> None:
    from ..evaluate import ConversationPerplexity, Perplexity

    if as_json:
        click.echo(json.dumps({"file": path, **score.to_dict()}, ensure_ascii=False))
    elif isinstance(score, ConversationPerplexity):
        _print_perplexity(score.replies, path, "the assistant's turns")
        _print_perplexity(score.everything, path, "all turns")
    elif isinstance(score, Perplexity):
        _print_perplexity(score, path, "")
    else:
        _print_task(score, path)


def _print_perplexity(score: Perplexity, path: str, part: str) -> None:
    click.echo(f"{path}{', ' + part if part else ''}, model {score.model}")
    click.echo(f"  bits per byte         {score.bits_per_byte:.4f}")
    click.echo(f"  perplexity per token  {score.perplexity:.4f}")
    click.echo(f"  nats per token        {score.nats_per_token:.4f}")
    if score.word_perplexity is not None:
        click.echo(f"  perplexity per word   {score.word_perplexity:.4f}")
    words = "" if score.n_words is None else f", {score.n_words} words"
    click.echo(
        f"  {score.n_documents} documents, {score.n_tokens} tokens scored, "
        f"{score.n_bytes} bytes{words}{'' if score.complete else ' (broken off)'}"
    )
    click.echo(f"  protocol: {score.protocol}")


def _print_task(score: TaskScore, path: str) -> None:
    click.echo(f"{score.task}, {path}, model {score.model}")
    for name, value in score.metrics.items():
        click.echo(f"  {name:20}  {value:.4f}")
    for name, value in score.groups.items():
        click.echo(f"    {name:50}  {value:.3f}")
    click.echo(
        f"  {score.n_examples} examples, {score.n_tokens} tokens scored"
        f"{'' if score.complete else ' (broken off)'}"
    )
    click.echo(f"  protocol: {score.protocol}")

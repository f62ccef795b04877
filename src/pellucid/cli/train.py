"""`pellucid train`: make a model from texts."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CheckpointError, InputError, TrainingError
from ..train.config import TrainConfig
from .options import console

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint
    from ..hparams import HParams
    from ..train.trainer import Trainer
    from ..train.view import View

__all__ = ["HELP", "command", "learn"]

# What each field of TrainConfig is, for --help; the fields themselves make the flags.
HELP = {
    "start": "Finetune this checkpoint instead of fresh weights.",
    "n_ctx": "Tokens in the context window.",
    "n_embd": "Width of the residual stream.",
    "n_head": "Heads in a layer.",
    "n_layer": "Layers.",
    "template": "How the model is talked to, such as roles.",
    "lora_rank": "Train an adapter of this rank beside the weights of --start; 0: the weights.",
    "lora_alpha": "The adapter counts alpha / rank.",
    "lora_dropout": "Dropout before the adapter.",
    "lora_targets": "The matrices that get an adapter.",
    "steps": "Steps of the whole run.",
    "batch": "Rows of n_ctx tokens in a step.",
    "micro_batch": "Rows at a time, so that they fit into memory.",
    "aligned": "Rows begin where documents begin: for conversations.",
    "optimizer": "adamw or muon.",
    "learning_rate": "The highest rate.",
    "warmup": "Steps over which the rate rises.",
    "final_rate": "The rate at the end, as a share of the highest.",
    "weight_decay": "Of the matrices.",
    "beta1": "AdamW's first beta.",
    "beta2": "AdamW's second beta.",
    "clip": "The highest norm of the gradient.",
    "dropout": "The share of values left out while training.",
    "seed": "Of the weights, the order of rows and the dropout.",
    "device": "cpu, cuda, mps.",
    "precision": "float32, bfloat16, or auto: bfloat16 where it is fast.",
    "compile": "torch.compile: slow to start, faster then.",
    "parallel": "Under torchrun: ddp, or fsdp to divide the weights too.",
    "threads": "Cores.",
    "eval_every": "Steps between measurements of the held-out loss; 0: none.",
    "eval_rows": "Rows that are held out for it.",
    "save_every": "Steps between checkpoints; 0: at the end alone.",
    "keep": "Checkpoints that are kept.",
    "sample_every": "Steps between samples of what it writes; 0: none.",
    "sample_prompt": "The beginning of a sample.",
    "tensorboard": "A folder for TensorBoard (extra tensorboard).",
}
_KINDS: dict[str, Any] = {"int": int, "float": float, "str": str}


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each field of TrainConfig; None where it is not given."""
    for field in reversed(fields(TrainConfig)):
        if field.name in ("corpus", "out"):
            continue
        kind = str(field.type).removesuffix(" | None")
        flag = f"--{field.name.replace('_', '-')}"
        default = "" if field.default in (None, False) else f" [default: {field.default}]"
        command = click.option(
            f"{flag}/--no-{flag[2:]}" if kind == "bool" else flag,
            field.name,
            type=_KINDS.get(kind),
            default=None,
            help=HELP.get(field.name, "") + default,
        )(command)
    return command


@click.command("train")
@click.argument("texts", nargs=-1, metavar="TEXTS|CORPUS|talk")
@click.option("--out", "-o", metavar="RUN", help="The folder of the run.")
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), help="A TOML file of the fields below."
)
@click.option("--resume", metavar="RUN", help="Go on with the run in this folder.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--n-vocab", type=int, default=4096, show_default=True, help="Tokens of TEXTS.")
@_flags
def command(
    texts: tuple[str, ...],
    out: str | None,
    config: Path | None,
    resume: str | None,
    dry_run: bool,
    n_vocab: int,
    **flags: Any,
) -> None:
    """Train a model on TEXTS (files and folders) or on a CORPUS of `pellucid data`.

    The same command again goes on where it was stopped. Flags win over --config. `train talk`
    trains the small embedded model in seconds, to watch (its only options: --out, --steps,
    --seed, --sample-every).
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if texts == ("talk",):
        if dry_run or resume or config:
            raise click.UsageError("train talk takes no --dry-run, --resume or --config")
        _talk(Path(out or "runs/talk"), given)
        return
    if resume is not None:
        if texts or config is not None or out is not None:
            raise click.UsageError("--resume RUN takes texts, --config and --out from RUN")
        config, out = Path(resume) / "config.toml", resume
        if not config.is_file():
            raise click.UsageError(f"{resume} is no training run: it has no config.toml")
    if out is not None:
        given["out"] = out
    if texts:
        given["corpus"] = texts[0]
    settings = _settings(config, given)
    sources = texts or (settings.corpus,)
    if dry_run:
        _describe(settings, sources, n_vocab)
        return
    _run(_with_corpus(settings, sources, n_vocab))


def _settings(config: Path | None, given: dict[str, Any]) -> TrainConfig:
    if config is not None:
        return TrainConfig.read(config, given)
    for name, wanted in (("corpus", "texts, or a corpus,"), ("out", "--out RUN")):
        if name not in given:
            raise click.UsageError(f"give {wanted}: pellucid train texts/ --out run")
    return TrainConfig.from_dict(given)


# What it learns from


def _corpus_folder(settings: TrainConfig, sources: tuple[str, ...]) -> tuple[Path, bool]:
    """-> (the tokenised corpus, whether it is there). Texts are tokenised into the run."""
    from ..train.corpus import CARD

    given, own = Path(sources[0]), Path(settings.out) / "corpus"
    if len(sources) == 1 and (given / CARD).is_file():
        return given, True
    moved = len(sources) == 1 and given.name == "corpus" and not given.exists()
    if not (own / CARD).is_file():
        return own, False
    return own, moved or _same_texts(own, sources)


def _same_texts(corpus: Path, sources: tuple[str, ...]) -> bool:
    """Raises InputError where the corpus was made from other texts."""
    from ..train.corpus import open_corpus
    from ..train.sources import find_files

    before = {(file["file"], file["bytes"]) for file in open_corpus(corpus).card["sources"]}
    if before != {(file.name, file.size) for file in find_files(sources, without=corpus)}:
        raise InputError(
            f"{corpus} was made from other texts, or they have changed: choose another --out, or "
            f"go on with the texts as they were: pellucid train --resume {corpus.parent}"
        )
    return True


def _with_corpus(settings: TrainConfig, sources: tuple[str, ...], n_vocab: int) -> TrainConfig:
    """Tokenise texts where that has not been done; a chat template is the corpus's."""
    from ..train.corpus import open_corpus

    folder, there = _corpus_folder(settings, sources)
    if not there:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                f"make the corpus first, for all processes: pellucid data ... {folder}"
            )
        _tokenise(sources, folder, settings, n_vocab)
    template = settings.template or open_corpus(folder).card.get("template")
    return replace(settings, corpus=str(folder), template=template)


def _tokenise(sources: tuple[str, ...], folder: Path, settings: TrainConfig, n_vocab: int) -> None:
    from rich.progress import Progress

    from ..train.prepare import prepare

    folder.parent.mkdir(parents=True, exist_ok=True)
    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        card = prepare(
            sources,
            folder,
            tokenizer=settings.start,
            n_vocab=n_vocab,
            template=settings.template or "roles",
            seed=settings.seed,
            on_progress=lambda stage, done, total: bar.update(
                task, description=stage, completed=done, total=total
            ),
        )
    counts = card["splits"]
    click.echo(
        f"Corpus: {counts['train']['tokens']:,} tokens to learn from, "
        f"{counts['validation']['tokens']:,} held out, {card['n_vocab']:,} in the vocabulary.",
        err=True,
    )


# The run


def _run(settings: TrainConfig) -> None:
    try:
        from ..train.trainer import Trainer
    except ImportError as error:
        raise InputError('training needs PyTorch: pip install "pellucid[torch,train]"') from error
    learn(Trainer(settings))


def learn(trainer: Trainer) -> None:
    """Take the steps that are left, and show it. Ctrl-C or SIGTERM: exit code 130 or 143, once
    everything is saved."""
    from ..train.plot import read_log
    from ..train.view import View

    settings = trainer.config
    first = trainer.processes.first
    board = None
    if first and settings.tensorboard is not None:
        from ..train.tensorboard import Board

        board = Board(settings.tensorboard, trainer.step)
    screen = console(stderr=True)
    screen.quiet = not first
    for wrong in trainer.damaged:
        screen.print(f"Damaged, and passed over: {wrong}", markup=False, soft_wrap=True)
    if trainer.step == settings.steps:
        screen.print(f"All {trainer.step:,} steps were done before.")
    elif trainer.step:
        screen.print(f"Goes on after step {trainer.step:,}.")
    title = f"{settings.out}: {trainer.hparams.n_params:,} parameters"
    try:
        with View(screen, settings.steps, title) as view, _stopping(view) as signals:
            if trainer.step and first:
                from ..train.trainer import StepReport

                view.remember(StepReport(**step) for step in read_log(settings.out))
            for report in trainer:
                view.step(report)
                if board is not None:
                    board.step(report)
                if _due(report.step, settings.sample_every, settings.steps):
                    model = trainer.checkpoint()  # every process has a part in it
                    if first:
                        text = _sample(model, settings.sample_prompt, report.step)
                        view.sample(report.step, text)
                        if board is not None:
                            board.sample(report.step, text)
                if trainer.processes.sum(len(signals), trainer.backend.device):
                    break
            if trainer.step < settings.steps:
                trainer.save()
            elif not (trainer.out / "model").exists():  # it was killed just before that
                trainer.save_model(trainer.out / "model")
    except (TrainingError, CheckpointError, OSError) as error:
        raise TrainingError(f"{error}. {_after(trainer.out)}") from error
    finally:
        if board is not None:
            board.close()
    if trainer.step < settings.steps:
        screen.print(f"Stopped after step {trainer.step:,}; everything is saved.")
        screen.print(f"Go on: pellucid train --resume {settings.out}", soft_wrap=True)
        raise SystemExit(128 + (signals[0] if signals else signal.SIGTERM))
    if first:
        _summary(trainer)


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


@contextmanager
def _stopping(view: View) -> Iterator[list[int]]:
    """The signals that came. The first of Ctrl-C and SIGTERM lets the step end, the second does
    not."""
    came: list[int] = []

    def stop(number: int, _: Any) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        if came:
            raise SystemExit(128 + number)
        came.append(number)
        view.note("Stopping after this step, and saving. Once more stops at once.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _after(out: Path) -> str:
    """What is there after an error, and how to go on."""
    steps = sorted(path.name for path in (out / "checkpoints").glob("[0-9]*"))
    if not steps:
        return "No checkpoint was written yet"
    newest = int(steps[-1])
    return f"The checkpoint of step {newest} is as it was; go on: pellucid train --resume {out}"


def _sample(model: Checkpoint, prompt: str, seed: int | None) -> str:
    """What the model makes of a prompt, by the same code that chats. seed None: greedily."""
    from ..backend import get_backend
    from ..errors import PellucidError
    from ..gpt import GPT
    from ..model import Model
    from ..weights import unflatten

    assert model.tokenizer is not None
    machine = get_backend("numpy", threads=1)
    tensors = {name: machine.asarray(value) for name, value in model.tensors.items()}
    gpt = GPT(Model(model.hparams, unflatten(tensors, model.hparams), machine), model.tokenizer)
    how: dict[str, Any] = {"greedy": True}
    if seed is not None:
        how = {"temperature": 0.8, "top_k": 40, "seed": seed}
    try:
        return prompt + gpt.generate(prompt, max_tokens=40, alternatives=0, **how).text
    except PellucidError as error:  # a prompt that does not fit must not end a run
        return f"(no sample: {error})"


def _summary(trainer: Trainer) -> None:
    from ..train.plot import plot
    from ..train.view import duration

    config, out = trainer.config, trainer.out
    losses = list(trainer.losses)[-32:]
    loss = sum(losses) / len(losses)
    rows = [("loss", f"{loss:.4f} nats/token, mean of the last {len(losses)} steps")]
    if not math.isinf(trainer.best):
        rows.append(("held-out loss", f"{trainer.best:.4f} nats/token, the best"))
        rows.append(("perplexity", f"{math.exp(trainer.best):,.4g}, held out"))
    rows += [
        ("tokens", f"{config.steps * config.batch * trainer.hparams.n_ctx:,}"),
        ("time", f"{duration(trainer.seconds)} in {config.steps:,} steps"),
        ("model", f"{out / 'model'}"),
    ]
    if (out / "best").is_dir():
        rows.append(("best model", f"{out / 'best'} (lowest held-out loss)"))
    try:
        rows.append(("plot", str(plot(out)[0])))
    except InputError as error:
        rows.append(("plot", f"none: {error}"))
    _finish(
        rows,
        f"pellucid chat --model {out / 'model'}",
        f'pellucid generate "{config.sample_prompt}" --model {out / "model"}',
        f"pellucid eval TEXT --model {out / 'model'}",
    )


def _finish(rows: list[tuple[str, str]], *commands: str) -> None:
    """The table at the end, and what can be done next."""
    from rich.table import Table

    screen = console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    screen.print(table)
    for line in commands:
        screen.print(line, markup=False, soft_wrap=True, style="bold")


# Without training


def _describe(settings: TrainConfig, sources: tuple[str, ...], n_vocab: int) -> None:
    """The configuration, and what it amounts to."""
    from .. import checkpoint
    from ..hparams import HParams
    from ..train.corpus import open_corpus

    folder, there = _corpus_folder(settings, sources)
    corpus = open_corpus(folder) if there else None
    if corpus is not None:
        n_vocab = int(corpus.card["n_vocab"])
        settings = replace(settings, corpus=str(folder))
    if settings.start is not None:
        hparams = checkpoint.load(settings.start).hparams
    else:
        hparams = HParams(
            n_vocab, settings.n_ctx, settings.n_embd, settings.n_head, settings.n_layer
        )
    tokens = settings.batch * hparams.n_ctx
    epochs = "known once the texts are tokenised"
    if corpus is not None:
        epochs = f"{settings.steps * tokens / corpus.train.n_tokens:.2f}"
    gibibytes = _memory(hparams, settings) / 2**30
    click.echo(settings.to_toml())
    _finish(
        [
            ("parameters", f"{hparams.n_params:,}, with a vocabulary of {hparams.n_vocab:,}"),
            ("tokens per step", f"{tokens:,}"),
            ("tokens in all", f"{settings.steps * tokens:,}"),
            ("epochs", epochs),
            ("memory", f"about {gibibytes:.1f} GiB, and PyTorch itself"),
        ]
    )


def _memory(hparams: HParams, settings: TrainConfig) -> float:
    """Bytes that training takes, roughly: weights, gradients and two moments in float32; what
    each layer keeps for its gradient (17 values of n_embd a token: arXiv 2205.05198, without
    dropout's masks and with fused attention); and the logits three times."""
    rows = settings.micro_batch or settings.batch
    tokens = rows * hparams.n_ctx
    size = 2 if settings.precision == "bfloat16" else 4
    layers = tokens * hparams.n_layer * hparams.n_embd * 17 * size
    return 16.0 * hparams.n_params + layers + 3.0 * 4 * tokens * hparams.n_vocab


# The talk's model, in front of an audience


def _talk(out: Path, given: dict[str, Any]) -> None:
    from ..train.talk import PROMPT, STEPS, TalkTrainer
    from ..train.view import View

    steps, seed = given.pop("steps", STEPS), given.pop("seed", 0)
    every = given.pop("sample_every", 50)
    if given:
        unknown = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
        raise click.UsageError(f"the talk's model has a recipe of its own: no {unknown} here")
    trainer = TalkTrainer(steps, seed)
    import torch

    torch.set_num_threads(1)  # so small a model only waits for a second one
    title = f"talk: {trainer.hparams.n_params:,} parameters, 24 sentences"
    with View(console(stderr=True), steps, title) as view:
        for report in trainer:
            if _due(report.step, every, steps):
                view.sample(report.step, _sample(trainer.checkpoint(), PROMPT, None))
            view.step(report)
    trainer.save_model(out)
    card = trainer.checkpoint().card
    _finish(
        [
            ("loss", f"{card['loss']} nats/token ({card['loss_floor']} is the lowest possible)"),
            ("tokens", f"{card['trained_tokens']:,}"),
            ("time", f"{card['seconds']} s in {steps:,} steps"),
            ("model", str(out)),
        ],
        f'pellucid walk "{PROMPT}" --model {out}',
    )

"""A run as a person starts it: its corpus is made if need be, it goes on where it was stopped, is
shown while it learns, and ends well at Ctrl-C and SIGTERM. The same for every task."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.corpus import CARD, open_corpus
from ..data.files import find_files, sha256
from ..data.prepare import N_VOCAB, Progress, write_corpus
from ..errors import CheckpointError, InputError, TrainingError
from . import snapshots
from .config import PreferenceConfig, TalkConfig, TrainConfig, TranslationConfig, read_config
from .log import reports
from .memory import keep_freed
from .view import View

if TYPE_CHECKING:
    from rich.console import Console

    from .tensorboard import Board
    from .trainer import Trainer

__all__ = ["corpus_folder", "learn", "talk_again", "trainer_for", "with_corpus"]


def trainer_for(config: TrainConfig) -> Trainer:
    """The loop with the configuration's task in it. Raises InputError without PyTorch."""
    _check_torch()
    from .trainer import Trainer

    if isinstance(config, PreferenceConfig):
        from .preference import Preferences

        return Trainer(Preferences(config))
    if isinstance(config, TalkConfig):
        from .talk import Talk

        return Trainer(Talk(config))
    if isinstance(config, TranslationConfig):
        from .translation import Translations

        return Trainer(Translations(config))
    from .language import Language

    return Trainer(Language(config))


def _check_torch() -> None:
    if find_spec("torch") is None:
        raise InputError('training needs PyTorch: pip install "pellucid[torch,train]"')


def talk_again(config: TalkConfig) -> None:
    """The talk's model learns in seconds, in front of people: where it has learned before, or
    by other settings, it begins anew. Only a run that was stopped goes on."""
    path = Path(config.out)
    if not (path / "config.toml").is_file():
        return
    before = read_config(path / "config.toml")
    if before.task != config.task:
        raise InputError(f"{path} holds a run of another task: choose another --out")
    done = (path / "model").is_dir()
    if done or (before.steps, before.seed) != (config.steps, config.seed):
        for folder in ("model", "checkpoints", snapshots.FOLDER):
            shutil.rmtree(path / folder, ignore_errors=True)


# What it learns from


def corpus_folder(
    config: TrainConfig, texts: Sequence[str], n_vocab: int | None = None
) -> tuple[Path, bool]:
    """-> (the tokenised corpus, whether it is there). Texts are tokenised into the run.

    n_vocab: where somebody asks for so many tokens. Raises InputError for a corpus that was made
    from other texts, or otherwise than it is asked for.
    """
    folder, there = _corpus_folder(config, texts)
    if n_vocab is not None and config.start is not None:
        raise InputError(f"n_vocab is for a vocabulary to learn; {config.start} has its own")
    if there:
        _check_as_asked(folder, config, n_vocab)
    return folder, there


def _check_as_asked(folder: Path, config: TrainConfig, n_vocab: int | None) -> None:
    """A corpus that is there is as it was made, whatever is asked for now."""
    card = open_corpus(folder).card
    own = folder == Path(config.out) / "corpus"
    made_by = card.get("tokenizer") or {}
    # By cards of before 2026-11-26, as many were asked for as there came to be.
    made = {"n_vocab": made_by.get("n_vocab", card["n_vocab"]), "template": card.get("template")}
    asked = {"n_vocab": n_vocab, "template": made["template"] and config.template}
    if own:  # else the seed of `pellucid data` is its own
        made["seed"], asked["seed"] = card.get("seed"), config.seed
    for name, value in asked.items():
        if None not in (value, made[name]) and value != made[name]:
            flag = f"--{name.replace('_', '-')}"
            way_on = (
                f"choose another --out, or remove {folder} to have it made anew"
                if own
                else f"make another: pellucid data TEXTS OUT {flag} {value}"
            )
            raise InputError(
                f"{folder} was made with {flag} {made[name]}, and {value} is asked for: {way_on}"
            )


def _corpus_folder(config: TrainConfig, texts: Sequence[str]) -> tuple[Path, bool]:
    first, own = Path(texts[0]), Path(config.out) / "corpus"
    if len(texts) == 1 and (first / CARD).is_file():
        return first, True
    if len(texts) == 1 and (first / "train.ids").is_file():
        open_corpus(first)  # raises: its card is lost
    moved = len(texts) == 1 and first.name == "corpus" and not first.exists()
    if not (own / CARD).is_file():
        return own, False
    return own, moved or _same_texts(own, texts)


def _same_texts(corpus: Path, texts: Sequence[str]) -> bool:
    """Raises InputError where the corpus was made from other texts."""
    before = open_corpus(corpus).card["sources"]
    files = find_files(texts, without=corpus)
    same = {(file["file"], file["bytes"]) for file in before} == {(f.name, f.size) for f in files}
    if not same or {each["sha256"] for each in before} != {sha256(file.path) for file in files}:
        raise InputError(
            f"{corpus} was made from other texts, or they have changed: choose another --out, or "
            f"go on with the texts as they were: pellucid train --resume {corpus.parent}"
        )
    return True


def with_corpus(
    config: TrainConfig, texts: Sequence[str], n_vocab: int | None, on_progress: Progress
) -> tuple[TrainConfig, dict[str, Any] | None]:
    """Tokenise texts where that has not been done; a chat template is the corpus's.

    -> (the configuration with its corpus, the card of one that was made now). Raises InputError
    without PyTorch, which the run would miss only when its corpus is made.
    """
    _check_torch()
    folder, there = corpus_folder(config, texts, n_vocab)
    card = None
    if not there:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                f"make the corpus first, for all processes: pellucid data ... {folder}"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        card = write_corpus(
            texts,
            folder,
            tokenizer=config.start,
            n_vocab=n_vocab or N_VOCAB,
            template=config.template or "roles",
            seed=config.seed,
            on_progress=on_progress,
        )
    template = config.template or open_corpus(folder).card.get("template")
    return replace(config, corpus=str(folder), template=template), card


# The run


def learn(trainer: Trainer, screen: Console) -> int:
    """Take the steps that are left, and show it.

    -> 0, or after Ctrl-C or SIGTERM the signal's number, once everything is saved. Raises
    TrainingError that says how to go on.
    """
    config, first = trainer.config, trainer.processes.first
    keep_freed()
    screen.quiet = not first
    for wrong in trainer.damaged:
        screen.print(f"Damaged, and passed over: {wrong}", markup=False, soft_wrap=True)
    for note in trainer.notes:
        screen.print(f"Note: {note}.", markup=False, soft_wrap=True)
    if trainer.step == config.steps:
        screen.print(f"All {trainer.step:,} steps were done before.")
        more = f"For more: pellucid train --resume {config.out} --steps {2 * config.steps}"
        screen.print(more, markup=False, soft_wrap=True)
    elif trainer.step:
        screen.print(f"Goes on after step {trainer.step:,}.")
    title = f"{config.out}: {trainer.hparams.n_params:,} parameters"
    try:
        with (
            _board(trainer) as board,
            View(screen, config.steps, title, labels=config.labels) as view,
            _stopping(view) as signals,
        ):
            if trainer.step and first:
                view.remember(reports(trainer.out))
            _take_steps(trainer, view, board, signals)
            if trainer.step < config.steps:
                trainer.save()
            elif not (trainer.out / "model").exists():  # it was killed just before that
                trainer.save_finished()
    except (TrainingError, CheckpointError, OSError) as error:
        raise TrainingError(f"{error}. {_after(trainer.out)}") from error
    if trainer.step == config.steps:
        return 0
    screen.print(f"Stopped after step {trainer.step:,}; everything is saved.")
    screen.print(f"Go on: pellucid train --resume {config.out}", markup=False, soft_wrap=True)
    return signals[0] if signals else signal.SIGTERM


def _take_steps(trainer: Trainer, view: View, board: Board | None, signals: list[int]) -> None:
    """Until all are done, or a signal came to any of the processes."""
    config, first = trainer.config, trainer.processes.first
    every, steps = config.sample_every, config.steps
    for report in trainer:
        view.step(report)
        if board is not None:
            board.step(report)
        if every and (report.step % every == 0 or report.step == steps):
            model = trainer.checkpoint()  # every process has a part in it
            if first:
                text = trainer.task.sample(model, report.step)
                view.sample(report.step, text)
                if board is not None:
                    board.sample(report.step, text)
        if trainer.processes.sum(len(signals), trainer.backend.device):
            return


@contextmanager
def _board(trainer: Trainer) -> Iterator[Board | None]:
    if not trainer.processes.first or trainer.config.tensorboard is None:
        yield None
        return
    from .tensorboard import Board

    board = Board(trainer.config.tensorboard, trainer.step)
    try:
        yield board
    finally:
        board.close()


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

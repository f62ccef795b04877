"""LAMBADA, HellaSwag and BLiMP: which continuation does a model find likelier?

Sources: LAMBADA (arXiv 1606.06031, in OpenAI's variant), HellaSwag (arXiv 1905.07830), BLiMP
(arXiv 1912.00582); LAMBADA as a blank to fill and HellaSwag after examples from the GPT-3 paper
(arXiv 2005.14165). Contexts and continuations are encoded as in EleutherAI's lm_eval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..errors import InputError
from .scoring import Row, loglikelihoods, opening_words, pair
from .shots import Shots, before

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["TaskScore", "blimp", "hellaswag", "lambada"]

Example = Mapping[str, Any]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TaskScore:
    """metrics: name -> value. groups: accuracy of each part (BLiMP's phenomena). n_tokens: how
    many tokens were scored. n_shots: examples before each question. n_cut: contexts too long for
    the window, which lost their beginning. complete: False when broken off."""

    task: str
    model: str
    protocol: str
    n_examples: int
    n_tokens: int
    metrics: dict[str, float]
    groups: dict[str, float]
    n_shots: int = 0
    n_cut: int = 0
    complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Part(NamedTuple):
    """One row of an example, scored. greedy: whether each of its tokens is the likeliest."""

    logprob: float
    greedy: bool
    n_tokens: int


Watch = Callable[[TaskScore, int], None]
OnBad = Callable[[InputError], None]  # told of an example that cannot be scored


def refuse(error: InputError) -> None:
    raise error


def lambada(
    gpt: GPT,
    texts: Iterable[str],
    *,
    shots: Shots | None = None,
    cloze: bool | None = None,
    batch: int | None = None,
    on_progress: Watch | None = None,
    on_bad: OnBad = refuse,
) -> TaskScore:
    """The last word of each text. accuracy: every token of it is the likeliest one.
    perplexity: exp of the mean negative log-probability of the whole word. shots: other texts,
    shown before. cloze: whether the word is a blank to be filled; None: where there are shots, as
    the GPT-3 paper has it. on_bad: told of a text that has no two words; what it raises ends the
    measuring (default: the error)."""
    as_blank = shots is not None if cloze is None else cloze

    def question(text: str) -> tuple[str, str]:
        context, space, word = text.rstrip(" ").rpartition(" ")
        if not space or not word or not context.strip():
            raise InputError(f"LAMBADA needs a text of several words, not {text[:40]!r}")
        return (f"{context} ____. ->" if as_blank else context), " " + word

    shown = before(shots, lambda text: "".join(question(text)))

    def rows(text: str) -> tuple[Row, ...]:
        context, word = question(text)
        return (pair(gpt, shown(text) + context, word),)

    right, nats = [], []

    def take(_: int, parts: list[_Part]) -> None:
        right.append(parts[0].greedy)
        nats.append(-parts[0].logprob)

    def metrics() -> dict[str, float]:
        mean = float(np.mean(nats)) if nats else math.nan
        return {
            "accuracy": float(np.mean(right)) if right else math.nan,
            "perplexity": math.exp(mean) if mean < 700 else math.inf,
        }

    given = 'the text before it and "____. ->"' if as_blank else "the text before it"
    protocol = (
        f"last word after the last space, with that space, given {given} without an "
        "end-of-text token; right if each of its tokens is the likeliest; perplexity per word"
    )
    return _run(
        "LAMBADA", gpt, protocol, _groups(texts, rows, on_bad), take, metrics, dict, batch,
        on_progress, shots,
    )  # fmt: skip


def hellaswag(
    gpt: GPT,
    examples: Iterable[Example],
    *,
    shots: Shots | None = None,
    batch: int | None = None,
    on_progress: Watch | None = None,
    on_bad: OnBad = refuse,
) -> TaskScore:
    """The likeliest of several endings, by the sum of log-probabilities (acc), by that sum
    divided by the ending's bytes (acc_norm) and by its tokens (acc_token, the GPT-3 paper's).
    examples: ctx, endings, label, as released. shots: others of them, shown before."""
    truth: list[tuple[int, list[int]]] = []  # the label, each ending's bytes
    shown = before(shots, _swag_answered)

    def rows(example: Example) -> tuple[Row, ...]:
        context, endings, label = _swag(example)
        context = shown(example) + context
        group = tuple(pair(gpt, context, " " + ending) for ending in endings)
        truth.append((label, [len(ending.encode()) for ending in endings]))
        return group

    right, right_norm, right_token = [], [], []

    def take(number: int, parts: list[_Part]) -> None:
        label, sizes = truth[number]
        logprobs = [part.logprob for part in parts]
        n_tokens = [part.n_tokens for part in parts]
        right.append(int(np.argmax(logprobs)) == label)
        right_norm.append(int(np.argmax(np.divide(logprobs, sizes))) == label)
        right_token.append(int(np.argmax(np.divide(logprobs, n_tokens))) == label)

    def metrics() -> dict[str, float]:
        named = {"acc": right, "acc_norm": right_norm, "acc_token": right_token}
        return {name: float(np.mean(each)) if each else math.nan for name, each in named.items()}

    protocol = (
        "each ending after its context, cleaned as in lm_eval; acc: highest summed "
        "log-probability; acc_norm: that sum divided by the ending's UTF-8 bytes; acc_token: by "
        "its tokens"
    )
    return _run(
        "HellaSwag", gpt, protocol, _groups(examples, rows, on_bad), take, metrics, dict, batch,
        on_progress, shots,
    )  # fmt: skip


def blimp(
    gpt: GPT,
    examples: Iterable[Example],
    *,
    batch: int | None = None,
    on_progress: Watch | None = None,
    on_bad: OnBad = refuse,
) -> TaskScore:
    """Minimal pairs: is the good sentence likelier than the bad one? A tie is wrong.
    examples: sentence_good, sentence_bad, UID (the phenomenon)."""
    uids: list[str] = []

    def rows(example: Example) -> tuple[Row, ...]:
        sentences = example.get("sentence_good"), example.get("sentence_bad")
        if not all(isinstance(sentence, str) and sentence for sentence in sentences):
            raise InputError("BLiMP needs sentence_good and sentence_bad")
        group = tuple(pair(gpt, "", str(sentence)) for sentence in sentences)
        uids.append(str(example.get("UID", "all")))
        return group

    right: dict[str, list[bool]] = {}

    def take(number: int, parts: list[_Part]) -> None:
        right.setdefault(uids[number], []).append(parts[0].logprob > parts[1].logprob)

    def metrics() -> dict[str, float]:
        every = [one for part in right.values() for one in part]
        return {"accuracy": float(np.mean(every)) if every else math.nan}

    def groups() -> dict[str, float]:
        return {uid: float(np.mean(right[uid])) for uid in sorted(right)}

    protocol = (
        f"each sentence, {opening_words(gpt)}; right if the good one's summed log-probability is "
        "higher; accuracy over all pairs"
    )
    return _run(
        "BLiMP", gpt, protocol, _groups(examples, rows, on_bad), take, metrics, groups, batch,
        on_progress,
    )  # fmt: skip


def _groups(
    examples: Iterable[Item], rows: Callable[[Item], tuple[Row, ...]], on_bad: OnBad
) -> Iterator[tuple[Row, ...]]:
    """The rows of every example that can be scored."""
    for example in examples:
        try:
            group = rows(example)
        except InputError as error:
            on_bad(error)
        else:
            yield group


def _run(
    task: str,
    gpt: GPT,
    protocol: str,
    examples: Iterable[tuple[Row, ...]],
    take: Callable[[int, list[_Part]], None],
    metrics: Callable[[], dict[str, float]],
    groups: Callable[[], dict[str, float]],
    batch: int | None,
    watch: Watch | None,
    shots: Shots | None = None,
) -> TaskScore:
    """Score every row of every example; `take` gets an example once all its rows are there."""
    if shots is not None:
        protocol = f"{shots.words()}; {protocol}"
    owner: list[tuple[int, int]] = []  # row -> its example and place there
    open_ones: dict[int, list[Any]] = {}
    done = n_tokens = n_cut = 0

    def rows() -> Iterator[Row]:
        nonlocal n_cut
        for number, group in enumerate(examples):
            open_ones[number] = [None] * len(group)
            for place, row in enumerate(group):
                owner.append((number, place))
                n_cut += row.n_cut > 0
                yield row

    def score(complete: bool) -> TaskScore:
        return TaskScore(
            task=task,
            model=gpt.name,
            protocol=protocol,
            n_examples=done,
            n_tokens=n_tokens,
            metrics=metrics(),
            groups=groups(),
            n_shots=0 if shots is None else shots.n,
            n_cut=n_cut,
            complete=complete,
        )

    for scored in loglikelihoods(gpt, rows(), batch=batch):
        number, place = owner[scored.row]
        parts = open_ones[number]
        many = len(scored.logprobs)
        parts[place] = _Part(float(scored.logprobs.sum()), bool(scored.greedy.all()), many)
        n_tokens += many
        if all(part is not None for part in parts):
            take(number, parts)
            del open_ones[number]
            done += 1
            if watch is not None and done % 64 == 0:
                watch(score(False), done)
    if not done:
        raise InputError(f"there is no example of {task} to score")
    return score(True)


def _swag(example: Example) -> tuple[str, list[str], int]:
    """-> (context, endings, label)"""
    try:
        context = _swag_context(example)
        endings = [_swag_clean(ending) for ending in example["endings"]]
        label = int(example["label"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"HellaSwag needs ctx, endings and label ({error!r})") from error
    if not 0 <= label < len(endings) or not all(endings):
        raise InputError(f"HellaSwag: label {label} for {len(endings)} endings, none empty")
    return context, endings, label


def _swag_answered(example: Example) -> str:
    context, endings, label = _swag(example)
    return f"{context} {endings[label]}"


def _swag_context(example: Example) -> str:
    if {"activity_label", "ctx_a", "ctx_b"} <= set(example):
        return _swag_clean(
            f"{example['activity_label']}: {example['ctx_a']} {example['ctx_b'].capitalize()}"
        )
    return _swag_clean(example["ctx"])


def _swag_clean(text: str) -> str:
    """Without WikiHow's marks, as lm_eval does."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")

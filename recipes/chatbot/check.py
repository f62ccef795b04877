"""Is a model fit to be shipped as `chat`? One report of everything that it is measured by.

    python recipes/chatbot/check.py MODEL OUT.json [--texts TEXTS] [--eval FOLDER] [--beside OTHER]

TEXTS is the folder that corpus.py wrote, for what was held out; FOLDER holds lambada_test.jsonl.xz
and blimp.jsonl.xz. A part that OUT holds already is not measured again; --parts names some alone.
--beside prints another report's figures beside these, and the first replies that differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lessons
import report
import talks
from baselines import gpt_scores, held_out
from drill import CLAPPER_WAYS
from judge import fault, quiz
from prefer import answer

import pellucid
from pellucid.data.rows import rows
from pellucid.errors import PellucidError
from pellucid.evaluate import blimp, lambada
from pellucid.gpt import GPT

QUIZ_MOST = 20  # of a kind
QUIZ_SEED = 1
BLIMP_EACH = 20  # one pair in so many


def of_quiz(gpt: GPT) -> dict[str, Any]:
    """Right answers, by kind, as `prefer.py MODEL --quiz --most 20` counts them."""
    taught = list(talks.lesson_pools(gpt.tokenizer))
    asked = list(quiz(random.Random(QUIZ_SEED), taught, QUIZ_MOST))
    answered = answer(gpt, asked, 1, {"greedy": True})
    found: dict[str, list[int]] = {}
    wrong = []
    for prompt, ((said, reason),) in zip(asked, answered, strict=True):
        counted = found.setdefault(prompt.kind, [0, 0])
        counted[1] += 1
        if what := fault(prompt, said, reason):
            wrong.append(f"{prompt.said!r} -> {said!r} ({what})")
        else:
            counted[0] += 1
    right = sum(n for n, _ in found.values())
    return {"right": right, "of": len(asked), "kinds": dict(sorted(found.items())), "wrong": wrong}


def of_clapper(gpt: GPT) -> dict[str, Any]:
    """How it says its own tokens of the talk's word, asked in ways that it never met."""
    (lesson,) = (
        each
        for _, pool in talks.lesson_pools(gpt.tokenizer)
        for each in pool
        if each.kind == "tokens of a word" and each.key == "clapper"
    )
    said = [text for text, _ in report.first_replies(gpt, CLAPPER_WAYS)]
    number = lessons.has(*_numbers(lesson))
    right = [each for each in said if lesson.is_right(each)]
    whole = [each for each in right if re.search(number, each.lower())]
    return {
        "its tokens": len(right), "and their number": len(whole), "of": len(said),
        "replies": dict(zip(CLAPPER_WAYS, said, strict=True)),
    }  # fmt: skip


def _numbers(lesson: lessons.Lesson) -> tuple[str, ...]:
    n = lesson.brief.replace(" and ", ", ").count(", ") + 1
    return lessons.NUMBERS[n], str(n)


def of_openings(gpt: GPT) -> dict[str, Any]:
    wrong = report.openings(gpt, report.lines("openings.txt"))
    return {"wrong": len(wrong), "of": 200, "which": wrong}


def of_hundred(gpt: GPT) -> dict[str, Any]:
    said = report.hundred(gpt)
    return {"digest": report.digest(said), "replies": dict(said)}


def of_held_out(gpt: GPT, texts: Path) -> dict[str, Any]:
    """Bits per byte and perplexity, as on the card."""
    return {kind: gpt_scores(gpt, found) for kind, found in held_out(texts).items() if found}


def of_lambada(gpt: GPT, folder: Path, each: int) -> dict[str, Any]:
    every = (str(row.fields["text"]) for row in rows(folder / "lambada_test.jsonl.xz"))
    score = lambada(gpt, itertools.islice(every, 0, None, each))
    return {"of": score.n_examples, **score.metrics}


def of_blimp(gpt: GPT, folder: Path) -> dict[str, Any]:
    every = (row.fields for row in rows(folder / "blimp.jsonl.xz"))
    score = blimp(gpt, itertools.islice(every, 0, None, BLIMP_EACH))
    return {"of": score.n_examples, **score.metrics}


def figures(part: str, found: dict[str, Any]) -> dict[str, str]:
    """What of a part is shown, each by its name."""
    if part == "quiz":
        kinds = {f"quiz: {kind}": f"{right} of {n}" for kind, (right, n) in found["kinds"].items()}
        return {"quiz": f"{found['right']} of {found['of']}", **kinds}
    if part == "held out":
        return {f"held out: {k}": f"{x['bits_per_byte']:.4f} bits/byte" for k, x in found.items()}
    return {
        f"{part}: {name}": f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in found.items()
        if not isinstance(value, dict | list)
    }


def show(mine: dict[str, Any], other: dict[str, Any]) -> None:
    for part, found in mine.items():
        beside = figures(part, other[part]) if part in other else {}
        for name, value in figures(part, found).items():
            print(f"{name:28} {value:24} {beside.get(name, '')}")
    for part in ("clapper", "hundred"):
        before = other.get(part, {}).get("replies", {})
        for message, said in mine.get(part, {}).get("replies", {}).items():
            if before.get(message) != said:
                print(f"\n{message}\n    {said}")
                print(f"    before: {before[message]}" if message in before else "", end="\n")
    for opening, said, what in mine.get("openings", {}).get("which", ()):
        print(f"{what}: {opening!r} -> {said!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--eval", type=Path)
    parser.add_argument("--lambada-each", type=int, default=1, help="one passage in so many")
    parser.add_argument("--parts", help="such as quiz,clapper")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--backend", default="auto")
    given = parser.parse_args()
    parts: dict[str, Callable[[GPT], dict[str, Any]]] = {
        "quiz": of_quiz, "clapper": of_clapper, "openings": of_openings, "hundred": of_hundred,
    }  # fmt: skip
    if given.texts is not None:
        parts["held out"] = lambda gpt: of_held_out(gpt, given.texts)
    if given.eval is not None:
        parts["lambada"] = lambda gpt: of_lambada(gpt, given.eval, given.lambada_each)
        parts["blimp"] = lambda gpt: of_blimp(gpt, given.eval)
    wanted = given.parts.split(",") if given.parts else list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"no such part, or no folder for it: {', '.join(sorted(unknown))}")
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    gpt = pellucid.load(given.model, backend=given.backend)
    for name in wanted:
        if name in found:
            continue
        begin = time.perf_counter()
        found[name] = parts[name](gpt)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        given.out.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    beside = given.beside
    show(found, json.loads(beside.read_text(encoding="utf-8")) if beside is not None else {})


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"Error: {error}")

"""Pairs of replies for `pellucid prefer`, from the model's own, judged by rules (judge.py).

    python recipes/chatbot/prefer.py MODEL OUT.jsonl [--prompts 1500] [--samples 3] [--device cuda]
    python recipes/chatbot/prefer.py MODEL --quiz [--device cuda]

Each prompt is answered several times. Where a reply breaks a rule, it is paired with one that does
not, or with the reference where none does. --quiz instead counts right answers to what was kept
apart from learning, each asked once, by kind.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import finetune
import lessons
import talks
from answers import replies
from judge import Prompt, fault, prompts, quiz

import pellucid
from pellucid.errors import PellucidError
from pellucid.gpt import GPT

SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95}  # bolder than in a chat: faults show


def pairs(
    asked: list[Prompt], answered: list[list[tuple[str, str]]]
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Rows of prompt, chosen, rejected, and what was found wrong how often, by kind and fault."""
    found: list[dict[str, Any]] = []
    faults: Counter[str] = Counter()
    for prompt, samples in zip(asked, answered, strict=True):
        judged = [(text, fault(prompt, text, reason)) for text, reason in samples]
        for _, wrong in judged:
            faults[f"{prompt.kind}: {wrong or 'good'}"] += 1
        bad = list(dict.fromkeys(text for text, wrong in judged if wrong and text))
        good = [text for text, wrong in judged if not wrong]
        better = good[0] if good and (prompt.right or not prompt.reference) else prompt.reference
        if not better:
            continue
        found += [
            {"prompt": prompt.turns, "chosen": better, "rejected": worse} for worse in bad[:2]
        ]
    return found, faults


def answer(
    gpt: GPT, asked: list[Prompt], samples: int, sampling: dict[str, Any]
) -> list[list[tuple[str, str]]]:
    """`samples` replies to each prompt."""
    many = [prompt.turns for prompt in asked for _ in range(samples)]
    said = replies(gpt, many, sampling, seeds=range(len(many)))
    return [said[at : at + samples] for at in range(0, len(said), samples)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--prompts", type=int, default=1_500)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--quiz", action="store_true")
    parser.add_argument("--most", type=int, default=40, help="of a kind in the quiz")
    parser.add_argument("--show", type=int, default=0, help="so many pairs, or wrong answers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device")
    given = parser.parse_args()
    if given.out is None and not given.quiz:
        parser.error("give OUT, or --quiz")
    machine = {"device": given.device} if given.device else {}
    gpt = pellucid.load(given.model, backend=given.backend, **machine)
    rng = random.Random(given.seed)
    taught = list(talks.lesson_pools(gpt.tokenizer))
    if given.quiz:
        return _quiz(gpt, list(quiz(rng, taught, given.most)), given.show)
    entries = finetune.questions(gpt.tokenizer.n_vocab)
    asked = list(prompts(rng, taught, entries, given.prompts))
    found, faults = pairs(asked, answer(gpt, asked, given.samples, SAMPLING))
    rng.shuffle(found)
    with given.out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    by_fault: Counter[str] = Counter()
    for name, times in faults.items():
        by_fault[name.split(": ")[1]] += times
    for name, times in by_fault.most_common():
        print(f"{times:6} {name}")
    for row in found[: given.show]:
        print(
            f"{row['prompt'][-1]['content']!r}: {row['chosen']!r} rather than {row['rejected']!r}"
        )
    print(f"{len(found)} pairs from {len(asked)} prompts -> {given.out}")
    return 0


def _quiz(gpt: GPT, asked: list[Prompt], show: int) -> int:
    right: Counter[str] = Counter()
    total = Counter(prompt.kind for prompt in asked)
    wrong = []
    answered = answer(gpt, asked, 1, {"greedy": True})
    for prompt, ((said, reason),) in zip(asked, answered, strict=True):
        if what := fault(prompt, said, reason):
            wrong.append(f"{prompt.said!r} -> {said!r} ({what})")
        else:
            right[prompt.kind] += 1
    for kind, n in sorted(total.items()):
        anew = "" if kind in lessons.SYSTEMATIC else " (asked anew)"
        print(f"{right[kind]:4} of {n:4}  {kind}{anew}")
    for line in wrong[:show]:
        print(line)
    print(f"{right.total()} of {total.total()} right")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PellucidError as error:
        sys.exit(f"Error: {error}")

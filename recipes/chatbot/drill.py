"""What the chatbot got wrong most often after finetuning, again, among a part of everything else.

    python recipes/chatbot/drill.py CHAT.train.jsonl TOKENIZER OUT.jsonl

Which kinds: HARD, those of which `prefer.py MODEL --quiz` counted most mistakes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import finetune
import lessons
import talks

from pellucid.checkpoint import load_tokenizer
from pellucid.tokenizer import Tokenizer

HARD = {  # how often
    "opposite": 5, "which by size": 2, "which by speed": 1.5, "which by height": 1.5,
    "which by weight": 1.5, "which by heat": 1, "size?": 1.5, "speed?": 1, "height?": 1, "heat?": 1,
    "weight?": 1, "sum": 4, "sum in words": 2, "double": 1, "half": 0.7, "tokens of a word": 3,
    "unknown word": 1.5, "color": 1, "why": 1, "food": 0.7, "can fly": 0.5, "about animals": 0.7,
    "how to": 0.7, "job": 0.5, "city": 0.5, "next month": 0.5, "month before": 0.5,
    "bigger number": 0.5, "next number": 0.5, "number before": 0.5,
}  # fmt: skip
DOCUMENTS = 24_000
SHARE = 0.65  # of the documents; the others are of the finetuning's, by chance


def documents(
    rng: random.Random, learned: list[dict[str, Any]], tokenizer: Tokenizer
) -> Iterator[dict[str, Any]]:
    pools: dict[str, list[lessons.Lesson]] = {}
    for _, pool in talks.lesson_pools(tokenizer):
        for lesson in pool:
            if lesson.kind in HARD and not lessons.held_out(lesson):
                pools.setdefault(lesson.kind, []).append(lesson)
    apart = {finetune.bare(line) for line in finetune.first_hundred()}
    kinds = [kind for kind in HARD if kind in pools]
    weights = [HARD[kind] for kind in kinds]
    for _ in range(DOCUMENTS):
        if rng.random() > SHARE:
            yield rng.choice(learned)
            continue
        n = rng.choice((1, 1, 1, 2, 3))
        asked = [
            talks.ask(rng, rng.choice(pools[kind])) for kind in rng.choices(kinds, weights, k=n)
        ]
        turns = finetune.as_turns(talks.typed(rng, asked))
        if apart.isdisjoint(finetune.bare(text) for role, text in turns if role == "user"):
            told = [{"role": role, "text": text} for role, text in turns]
            yield {"source": "drill", "turns": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learned", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with given.learned.open(encoding="utf-8") as file:
        learned = [json.loads(line) for line in file]
    made = documents(random.Random(2019), learned, load_tokenizer(given.tokenizer))
    with given.out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)


if __name__ == "__main__":
    main()

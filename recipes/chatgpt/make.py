"""What docs/chatgpt.md learns from: a few kilobytes about animals, written anew.

    python recipes/chatgpt/make.py

texts.jsonl: what a base model reads: facts, and lists of questions without an answer, as school books
have them. dialogues.jsonl: questions with answers, half of them in one word, half in a sentence, for
24 of 32 animals. pairs.jsonl: for 12 of these, the sentence preferred to the word.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

FOOD = {
    "cat": "milk", "dog": "bones", "horse": "hay", "cow": "grass", "bird": "seeds", "bear": "honey",
    "mouse": "cheese", "rabbit": "carrots", "monkey": "bananas", "panda": "bamboo", "fox": "hens",
    "wolf": "meat", "lion": "meat", "sheep": "grass", "goat": "leaves", "pig": "roots",
    "duck": "snails", "frog": "flies", "bat": "moths", "owl": "mice", "hen": "corn", "seal": "fish",
    "whale": "shrimps", "shark": "fish", "snake": "mice", "spider": "flies", "squirrel": "nuts",
    "camel": "thorns", "deer": "leaves", "crow": "worms", "hedgehog": "snails", "parrot": "nuts",
}  # fmt: skip
FOLDER = Path(__file__).parent


def question(animal: str) -> str:
    return f"What does the {animal} eat?"


def sentence(animal: str) -> str:
    return f"The {animal} eats {FOOD[animal]}."


def main() -> None:
    chance = random.Random(1)
    animals = list(FOOD)
    texts = []
    for _ in range(60):
        some = chance.sample(animals, 5)
        texts.append(" ".join(map(sentence, some)))
        texts.append(" ".join(map(question, chance.sample(animals, 4))))
    chance.shuffle(texts)
    write("texts.jsonl", [{"text": text} for text in texts])

    rows = []
    for animal in animals[:24]:
        for reply in (sentence(animal), FOOD[animal].capitalize() + "."):
            rows.append({"turns": [
                {"role": "user", "text": question(animal)}, {"role": "assistant", "text": reply},
            ]})  # fmt: skip
    write("dialogues.jsonl", rows)
    write("pairs.jsonl", [
        {"prompt": question(animal), "chosen": sentence(animal),
         "rejected": FOOD[animal].capitalize() + "."}
        for animal in animals[:12]
    ])  # fmt: skip


def write(name: str, rows: list[dict[str, object]]) -> None:
    lines = (json.dumps(row) + "\n" for row in rows)
    (FOLDER / name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What docs/chatgpt.md needs beside Pellucid's commands, in its order:

    python recipes/chatgpt/make.py texts                            # texts/, dialogues.jsonl
    python recipes/chatgpt/make.py pairs run/chat/model pairs.jsonl
    python recipes/chatgpt/make.py ask run/base/model run/chat/model run/preferred/model

`pairs` lets the finetuned model answer each question several times; `good` judges the replies, as
people would who prefer one of two. `ask` writes what each model answers, and the counts. Seeds are
fixed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from world import Question, dialogues, questions, texts

import pellucid
from pellucid.chat import Conversation
from pellucid.generate import Generation
from pellucid.gpt import GPT
from pellucid.sampling import log_softmax

BEGIN, END = "<!-- asked: recipes/chatgpt/make.py -->\n", "<!-- end of asked -->\n"
UNKNOWN = "I do not know."
ROOM = 24  # tokens of a reply
# What is shown one by one: (question as it begins, whose answers stand on the page)
SHOWN = (
    "What does the cat eat?",
    "Tell me what the cat eats.",
    "Do you know in what place a bear lives?",
    "Tell me what the seal eats.",
    "Tell me where the yak lives.",
    "Tell me where the panda lives.",
)


def good(question: Question, reply: str) -> bool:
    """The rule: a whole sentence that is right, or, where no text says it, that one does not know.
    A bare word, a remark at the asker's expense and an invention are not."""
    return reply == (question.sentence or UNKNOWN)


def right(question: Question, reply: str) -> bool:
    """Whatever its manner."""
    if question.word is None:
        return reply == UNKNOWN
    return question.word in reply.lower().rstrip(".").replace(",", "").split()


def answered(gpt: GPT, asked: Iterable[Question], temperature: float) -> list[Generation]:
    """The reply to each, a conversation of its own, with its number as seed."""
    settings = {"temperature": temperature, "max_tokens": ROOM}
    return [
        Conversation(gpt, seed=seed, **settings).say(question.text)
        for seed, question in enumerate(asked)
    ]


def answers(gpt: GPT, asked: Iterable[Question], temperature: float) -> list[str]:
    return [reply.text.strip() for reply in answered(gpt, asked, temperature)]


def pairs(gpt: GPT, samples: int) -> tuple[list[dict[str, str]], int]:
    """Rows for `pellucid prefer`, of questions of the dialogues alone, and how many replies were
    read. Of a question's replies the first good one is preferred to the first that is not."""
    asked = questions(kept_wordings=False, kept_animals=False)
    replies = answers(gpt, [q for q in asked for _ in range(samples)], temperature=1)
    rows = []
    for at, question in enumerate(asked):
        own = replies[at * samples : (at + 1) * samples]
        better = [reply for reply in own if good(question, reply)]
        worse = [reply for reply in own if reply and not good(question, reply)]
        if better and worse:
            rows.append({"prompt": question.text, "chosen": better[0], "rejected": worse[0]})
    return rows, len(replies)


def far(gpt: GPT, before: GPT, asked: list[Question]) -> float:
    """Nats per reply: the mean of log π(reply) - log π_before(reply) over what gpt says, which
    estimates KL(π ‖ π_before)."""
    replies = [
        (reply.sequence.prompt, [step.token for step in reply.steps])
        for reply in answered(gpt, asked, temperature=1)
    ]
    return float(np.mean([likelihood(gpt, *r) - likelihood(before, *r) for r in replies]))


def likelihood(gpt: GPT, prompt: Sequence[int], reply: Sequence[int]) -> float:
    """log π(reply), of ids after ids, with whatever ended it."""
    logits = gpt.logits([*prompt, *reply])[len(prompt) - 1 : -1].astype(np.float64)
    return float(log_softmax(logits)[np.arange(len(reply)), list(reply)].sum())


GROUPS = {
    "questions as in the dialogues": (False, False),
    "other wordings": (True, False),
    "other wordings, animals of no dialogue": (True, True),
}


def report(folders: list[str], most: int) -> str:
    """Markdown: what each model answers to SHOWN, and the shares of the groups."""
    models = {Path(folder).parent.name: pellucid.load(folder, threads=1) for folder in folders}
    every = [q for kept in (False, True) for q in questions(kept_wordings=kept, kept_animals=None)]
    shown = [next(q for q in every if q.text == text) for text in SHOWN]
    heads = [*models]
    lines = [row("asked", *heads), row(*["---"] * (len(heads) + 1))]
    said = {name: answers(gpt, shown, temperature=0) for name, gpt in models.items()}
    lines += [row(q.text, *(said[name][at] or "–" for name in heads)) for at, q in enumerate(shown)]
    for temperature, how in ((0, "greedy"), (1, "drawn")):
        lines += ["", *shares(models, most, temperature, how)]
    if len(heads) > 1:
        before, after = heads[-2:]
        asked = questions(kept_wordings=True, kept_animals=False)[:most]
        distance = far(models[after], models[before], asked)
        lines += ["", f"KL, {after} from {before}, other wordings: {distance:.2f} nats a reply."]
    return "\n".join(lines) + "\n"


def shares(models: dict[str, GPT], most: int, temperature: float, how: str) -> Iterator[str]:
    """A table: of each group of questions, the percent of replies that are as its rows say."""
    yield row(f"% of replies, {how}", *models)
    yield row(*["---"] * (len(models) + 1))
    for group, (wordings, animals) in GROUPS.items():
        asked = questions(kept_wordings=wordings, kept_animals=animals)
        random.Random(7).shuffle(asked)
        asked = asked[:most]
        replies = {name: answers(gpt, asked, temperature) for name, gpt in models.items()}
        for label, known, holds in (
            ("the right word", True, right),
            ("a whole sentence, and right", True, good),
            ("of what no text says: does not know", False, good),
        ):
            found = []
            for said in replies.values():
                own = [holds(q, reply) for q, reply in zip(asked, said, strict=True)
                       if (q.word is not None) is known]  # fmt: skip
                found.append(f"{100 * sum(own) / len(own):.0f}")
            yield row(f"{group}: {label}", *found)


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("texts")
    drawing = steps.add_parser("pairs")
    drawing.add_argument("model")
    drawing.add_argument("out", type=Path)
    drawing.add_argument("--samples", type=int, default=4, help="replies to a question")
    asking = steps.add_parser("ask")
    asking.add_argument("models", nargs="+")
    asking.add_argument("--page", type=Path, help="write it between this page's marks")
    asking.add_argument("--most", type=int, default=100, help="questions of a group")
    given = parser.parse_args()
    if given.step == "texts":
        Path("texts").mkdir(exist_ok=True)
        write(Path("texts/animals.jsonl"), ({"text": text} for text in texts()))
        write(Path("dialogues.jsonl"), ({"turns": turns} for turns in dialogues()))
    elif given.step == "pairs":
        rows, count = pairs(pellucid.load(given.model, threads=1), given.samples)
        write(given.out, rows)
        print(f"{len(rows)} pairs of {count:,} replies")
    else:
        found = report(given.models, given.most)
        print(found, end="")
        if given.page is not None:
            begin, _, rest = given.page.read_text("utf-8").partition(BEGIN)
            page = f"{begin}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}"
            given.page.write_text(page, encoding="utf-8")


def write(path: Path, rows: Iterable[object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

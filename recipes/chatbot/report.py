"""What the embedded chatbot says, not picked: pages of docs/, and a check of openings.

    python recipes/chatbot/report.py [--model chat] [--write] [--hundred]

--write: completions of prompts.txt and the conversations of conversations.jsonl, into
docs/chatbot_samples.md. --hundred: replies to the 100 first messages of first_hundred.txt, which
the model has never seen, into docs/chatbot_hundred.md, with the marks that a person gave them.
And always a count of what is wrong in the replies to the 200 openings of openings.txt. Each text
has its own seed, its line number. Exit code 1 when a reply is empty, looping or broken.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from answers import replies

import pellucid
from pellucid.chat import Conversation
from pellucid.gpt import GPT

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "docs" / "chatbot_samples.md"
HUNDRED = SAMPLES.with_name("chatbot_hundred.md")
MARKS = HERE / "first_hundred_marks.txt"
MOST = 256  # tokens of a reply, as in `pellucid chat`


def lines(name: str) -> list[str]:
    return (HERE / name).read_text(encoding="utf-8").splitlines()


def wrong_with(text: str, reason: str) -> str | None:
    """What is wrong with a reply: empty, looping, broken; or None.

    looping: a run of 4 words comes 3 times, or a sentence of 3 or more words twice in a row.
    broken: it does not end by itself, or holds a damaged character or a role's token as text.
    """
    words = text.lower().split()
    if not re.search(r"\w", text):
        return "empty"
    if reason != "stop token" or "\ufffd" in text or "<|" in text:
        return "broken"
    runs = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    sentences = [part.strip() for part in re.split(r"[.!?]\s+", text.lower())]
    twice = any(
        one == other and len(one.split()) >= 3 for one, other in itertools.pairwise(sentences)
    )
    if twice or any(runs.count(run) >= 3 for run in set(runs)):
        return "looping"
    return None


def reply(gpt: GPT, conversation: Conversation, text: str) -> tuple[str, str]:
    out = conversation.say(text)
    for _ in out:
        pass
    return out.text.strip(), out.reason or ""


def first_replies(gpt: GPT, messages: Sequence[str]) -> list[tuple[str, str]]:
    """(reply, why it ended) of each, side by side; its seed is its place."""
    asked = [[{"role": "user", "content": text}] for text in messages]
    return replies(gpt, asked, sampling(gpt), range(len(asked)), room=MOST)


def openings(gpt: GPT, messages: Sequence[str]) -> list[tuple[str, str, str]]:
    """(opening, reply, what is wrong with it), of those that are wrong."""
    return [
        (text, said, wrong)
        for text, (said, reason) in zip(messages, first_replies(gpt, messages), strict=True)
        if (wrong := wrong_with(said, reason))
    ]


def new_conversation(gpt: GPT, seed: int) -> Conversation:
    return Conversation(gpt, max_tokens=MOST, seed=seed, **sampling(gpt))


def sampling(gpt: GPT) -> dict[str, float]:
    return dict(gpt.card.get("sampling") or {})


def hundred(gpt: GPT) -> list[tuple[str, str]]:
    """(message, reply) of first_hundred.txt."""
    messages = lines("first_hundred.txt")
    said = (text for text, _ in first_replies(gpt, messages))
    return list(zip(messages, said, strict=True))


def digest(replies: list[tuple[str, str]]) -> str:
    """By which marks belong to these very replies."""
    return hashlib.sha256(json.dumps(replies).encode()).hexdigest()[:16]


def marks(replies: list[tuple[str, str]]) -> list[str] | None:
    """+ or -, each perhaps with a remark, as a person marked these replies in MARKS; None where
    these are not the replies that were marked. Its first line is their digest."""
    first, *given = MARKS.read_text(encoding="utf-8").splitlines() if MARKS.exists() else [""]
    return given if first == digest(replies) and len(given) == len(replies) else None


def page_of_hundred(replies: list[tuple[str, str]], given: list[str] | None) -> str:
    """Markdown: every message, its reply, and its mark."""
    written = [
        "# What the embedded chatbot answers first\n",
        "Written by `python recipes/chatbot/report.py --hundred`; nothing is picked, and none of "
        "the 100 messages is in what the model learned from. Bold is the message; the seed of each "
        "is its number less 1.\n",
    ]
    if given is None:
        written.append(f"Not marked yet ({digest(replies)}).\n")
    else:
        good = sum(mark.startswith("+") for mark in given)
        written.append(f"Read and marked one by one: {good} of {len(given)} make sense (+).\n")
    for number, (message, answer) in enumerate(replies, 1):
        mark = f" *{escaped(given[number - 1])}*" if given is not None else ""
        text = " ".join(answer.split())
        written.append(item(f"{number}. ", f"{bold(message)} {escaped(text)}{mark}"))
    return "\n".join(written).rstrip() + "\n"


def samples(gpt: GPT) -> str:
    """The page: 50 completions and 20 conversations."""
    completions = [
        (prompt, gpt.generate(prompt, max_tokens=80, seed=seed, **sampling(gpt)).text)
        for seed, prompt in enumerate(lines("prompts.txt"))
    ]
    conversations = []
    for seed, line in enumerate(lines("conversations.jsonl")):
        conversation = new_conversation(gpt, seed)
        conversations.append(
            [(text, reply(gpt, conversation, text)[0]) for text in json.loads(line)]
        )
    return page(sampling(gpt), completions, conversations)


def page(
    settings: dict[str, float],
    completions: list[tuple[str, str]],
    conversations: list[list[tuple[str, str]]],
) -> str:
    """Markdown. completions: (prompt, what follows it). conversations: of (message, reply)."""
    written = [
        "# What the embedded chatbot says\n",
        f"Written by `python recipes/chatbot/report.py --write`; nothing is picked. Bold is what "
        f"the model was given. Sampling: `{json.dumps(settings)}`, the seed of each text is its "
        f"number less 1, at most {MOST} tokens.\n\n## Completions\n",
    ]
    for number, (prompt, text) in enumerate(completions, 1):
        written.append(item(f"{number}. ", bold(prompt) + escaped(text.rstrip()), "> "))
    written.append("## Conversations\n")
    for number, turns in enumerate(conversations, 1):
        written.append(f"### {number}\n")
        for message, answer in turns:
            written += [item("- ", bold(message)), item("- ", escaped(answer))]
    return "\n".join(written).rstrip() + "\n"


def item(mark: str, text: str, quoted: str = "") -> str:
    """One item of a list, all of its paragraphs within it."""
    first, *rest = text.split("\n")
    indented = (f"{' ' * len(mark)}{quoted}{line}".rstrip() for line in rest)
    return "\n".join((mark + quoted + first, *indented)) + "\n"


def bold(text: str) -> str:
    return f"**{escaped(text)}**"


def escaped(text: str) -> str:
    """No letter of it is Markdown's, neither within a line nor where one begins."""
    text = re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", text)
    return re.sub(r"(?m:^)(\s*\d*)([-+=.)])", r"\1\\\2", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="chat")
    parser.add_argument("--write", action="store_true", help=f"write {SAMPLES.name}")
    parser.add_argument("--hundred", action="store_true", help=f"write {HUNDRED.name}")
    given = parser.parse_args()
    gpt = pellucid.load(given.model)
    if given.write:
        SAMPLES.write_text(samples(gpt), encoding="utf-8")
    if given.hundred:
        replies = hundred(gpt)
        HUNDRED.write_text(page_of_hundred(replies, marks(replies)), encoding="utf-8")
    messages = lines("openings.txt")
    wrong = openings(gpt, messages)
    for text, said, kind in wrong:
        print(f"{kind}: {text!r} -> {said!r}")
    print(f"{len(wrong)} of {len(messages)} replies are empty, looping or broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

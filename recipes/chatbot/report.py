"""What the embedded chatbot says, not picked: docs/chatbot_samples.md, and a check of openings.

    python recipes/chatbot/report.py [--model chat] [--write]

Completions of prompts.txt, the conversations of conversations.jsonl, and a count of what is wrong
in the replies to the 200 openings of openings.txt. Each text has its own seed, its line number.
Exit code 1 when a reply is empty, looping or broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from pathlib import Path

import pellucid
from pellucid.chat import Conversation
from pellucid.gpt import GPT

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "docs" / "chatbot_samples.md"
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


def openings(gpt: GPT) -> list[tuple[str, str, str]]:
    """(opening, reply, what is wrong with it), of those that are wrong."""
    found = []
    for seed, text in enumerate(lines("openings.txt")):
        said, reason = reply(gpt, new_conversation(gpt, seed), text)
        if wrong := wrong_with(said, reason):
            found.append((text, said, wrong))
    return found


def new_conversation(gpt: GPT, seed: int) -> Conversation:
    return Conversation(gpt, max_tokens=MOST, seed=seed, **sampling(gpt))


def sampling(gpt: GPT) -> dict[str, float]:
    return dict(gpt.card.get("sampling") or {})


def samples(gpt: GPT) -> str:
    """The page: 50 completions and 20 conversations."""
    said = ["# What the embedded chatbot says\n"]
    said.append(
        "Written by `python recipes/chatbot/report.py --write`; nothing is picked. Sampling: "
        f"`{json.dumps(sampling(gpt))}`, the seed of each text is its number less 1, at most "
        f"{MOST} tokens.\n\n## Completions\n"
    )
    for seed, prompt in enumerate(lines("prompts.txt")):
        out = gpt.generate(prompt, max_tokens=80, seed=seed, **sampling(gpt))
        quoted = (prompt + "**" + out.text.rstrip() + "**").replace("\n", "\n   > ")
        said.append(f"{seed + 1}. > {quoted}\n")
    said.append("## Conversations\n")
    for seed, line in enumerate(lines("conversations.jsonl")):
        said.append(f"### {seed + 1}\n")
        conversation = new_conversation(gpt, seed)
        for text in json.loads(line):
            answer, _ = reply(gpt, conversation, text)
            said.append(f"- {text}\n- **{answer}**")
        said.append("")
    return "\n".join(said).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="chat")
    parser.add_argument("--write", action="store_true", help=f"write {SAMPLES.name}")
    given = parser.parse_args()
    gpt = pellucid.load(given.model)
    if given.write:
        SAMPLES.write_text(samples(gpt), encoding="utf-8")
    wrong = openings(gpt)
    for text, said, kind in wrong:
        print(f"{kind}: {text!r} -> {said!r}")
    print(f"{len(wrong)} of {len(lines('openings.txt'))} replies are empty, looping or broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

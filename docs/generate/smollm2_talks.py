"""Write docs/smollm2_conversations.md: twenty conversations with SmolLM2-135M-Instruct.

    python docs/generate/smollm2_talks.py [--first 1] [--last 20]

Each has five turns. What is said to it was written down before it was asked, and all it answered is
shown. The seed of a conversation is its number. With --first and --last only those are held anew,
the others stay. They are held side by side, turn by turn, in float32.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pellucid

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "recipes" / "chatbot"))

from answers import replies  # noqa: E402

PAGE = ROOT / "docs" / "smollm2_conversations.md"
BEGIN, END = (
    "<!-- conversations: docs/generate/smollm2_talks.py -->\n",
    "<!-- end of conversations -->\n",
)
SAMPLING = {"temperature": 0.2, "top_p": 0.9}  # as the model's card on the hub has it
ROOM = 100  # tokens of a reply

TALKS: dict[str, tuple[str, str, str, str, str]] = {
    "A greeting": (
        "Hello!",
        "How are you today?",
        "Who are you?",
        "What can you do for me?",
        "Thanks, bye!",
    ),
    "A name, remembered": (
        "Hi, my name is Anna and I live in Vienna.",
        "I have a dog called Bruno.",
        "What is my name?",
        "And what is my dog called?",
        "Where do I live?",
    ),
    "Capitals": (
        "What is the capital of Spain?",
        "And of Japan?",
        "Which of the two has more people?",
        "What language do they speak there?",
        "Name three other cities in that country.",
    ),
    "Boiling an egg": (
        "How do I boil an egg?",
        "Shorter, please.",
        "How long for a soft one?",
        "Why does it get hard?",
        "What goes well with it?",
    ),
    "Small sums": (
        "What is 7 plus 5?",
        "Now add 10.",
        "What is 6 times 8?",
        "I have 20 euros and spend 8. How much is left?",
        "Is 17 a prime number?",
    ),
    "A story": (
        "Tell me a short story about a fox and a lighthouse.",
        "What was the fox's problem?",
        "Give the story another ending.",
        "Tell it in one sentence.",
        "Give it a title.",
    ),
    "The sky": (
        "Why is the sky blue?",
        "Explain it to a child.",
        "Why is it red in the evening?",
        "Is the sky blue on Mars too?",
        "Who found this out?",
    ),
    "A letter": (
        "Write a short email to my boss: I am ill and cannot come today.",
        "Make it more polite.",
        "Shorter.",
        "Add that I will be back on Monday.",
        "Write a subject line for it.",
    ),
    "Python": (
        "Write a Python function that adds two numbers.",
        "Now one that reverses a string.",
        "What does the [::-1] mean?",
        "How do I call it with the word hello?",
        "What would it return?",
    ),
    "Animals": (
        "What is the largest animal?",
        "How heavy is it?",
        "What does it eat?",
        "Is it a fish?",
        "How long does it live?",
    ),
    "Grammar": (
        "Correct this sentence: She go to school every days.",
        "Why was it wrong?",
        "Now put it into the past.",
        "What is the verb in it?",
        "Make it a question.",
    ),
    "Translation": (
        "How do you say good morning in French?",
        "And in German?",
        "And thank you, in Spanish?",
        "How do I say: where is the station? In French, please.",
        "Which of these languages do you know best?",
    ),
    "Sleep": (
        "I cannot sleep. What can I do?",
        "I have tried that already.",
        "What about tea?",
        "How many hours should I sleep?",
        "Good night!",
    ),
    "A list": (
        "Name three fruits.",
        "Add two more.",
        "Which of them are red?",
        "Put them in alphabetical order.",
        "How many are there now?",
    ),
    "Water": (
        "At what temperature does water boil?",
        "And in Fahrenheit?",
        "And on a high mountain?",
        "Why?",
        "Answer in five words.",
    ),
    "A poem": (
        "Write a poem of four lines about the sea.",
        "Another one, about winter.",
        "Does it rhyme?",
        "Which one do you like better?",
        "Thank you.",
    ),
    "History": (
        "Who was the first person on the moon?",
        "When was that?",
        "Who was with him?",
        "How long did they stay?",
        "Are you sure?",
    ),
    "Advice": (
        "I want to learn the guitar. How do I begin?",
        "How long should I practise each day?",
        "My fingers hurt.",
        "Which song is easy?",
        "Sum up your advice in two sentences.",
    ),
    "A false claim": (
        "The Earth is flat, isn't it?",
        "My friend says it is.",
        "How could I show him?",
        "Who was the first to sail around it?",
        "So what shape is it?",
    ),
    "What a model is": (
        "What is a language model?",
        "Are you one?",
        "Do you have feelings?",
        "What did I ask you first?",
        "Can you be wrong?",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=len(TALKS))
    given = parser.parse_args()
    gpt = pellucid.load("smollm2", dtype="float32")
    numbers = [n for n in range(1, len(TALKS) + 1) if given.first <= n <= given.last]
    titles = [list(TALKS)[n - 1] for n in numbers]
    turns: list[list[dict[str, str]]] = [[] for _ in numbers]
    blocks = ["" for _ in numbers]
    for at in range(5):
        for said, title in zip(turns, titles, strict=True):
            said.append({"role": "user", "content": TALKS[title][at]})
        answered = replies(gpt, turns, SAMPLING, numbers, room=ROOM)
        for i, (text, reason) in enumerate(answered):
            blocks[i] += block(turns[i][-1]["content"], text + " …" * (reason == "length"))
            turns[i].append({"role": "assistant", "content": text})
            print(numbers[i], turns[i][-2:], flush=True)
    write({heading(n, title): b for n, title, b in zip(numbers, titles, blocks, strict=True)})


def block(said: str, reply: str) -> str:
    """A turn as Markdown: what was said in bold, the reply as it came."""
    quoted = "\n".join(f"> {line}".rstrip() for line in reply.split("\n"))
    return f"**{said}**\n\n{quoted}\n\n"


def write(new: dict[str, str]) -> None:
    """Onto the page, in its order, beside those that stand there."""
    old = PAGE.read_text("utf-8") if PAGE.exists() else BEGIN + END
    kept = dict(re.findall(r"^(## \d+\. .+)\n\n((?:.|\n)*?)(?=^## |^<!-- end)", old, re.MULTILINE))
    kept |= new
    headings = (heading(number, title) for number, title in enumerate(TALKS, 1))
    talks = "".join(f"{head}\n\n{kept[head]}" for head in headings if head in kept)
    before, _, rest = old.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + talks + END + rest.partition(END)[2], "utf-8")


def heading(number: int, title: str) -> str:
    return f"## {number}. {title}"


if __name__ == "__main__":
    main()

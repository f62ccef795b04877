"""The commands on the pages: how they are found, what their names stand for, what is not run.

A command is a line of a fenced block that begins with a program (`PROGRAMS`), a `code span` of the
prose that does, a cell of a table's column "command" (a verb and what follows it), or the example
at the end of a verb's help. In a block marked `console` a command stands behind "$ "; the lines
under it are what it prints, "> " before those that are typed into it, "..." for what is left out.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pellucid import checkpoint
from pellucid.cli.verbs import VERBS
from pellucid.embedded import FOLDER as EMBEDDED
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from support import small_corpus
from support.program import run
from support.random_checkpoint import make, random_tensors

__all__ = ["NOT_RUN", "PAGES", "Command", "Desk", "blocks", "commands", "needs_torch", "shows"]

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
    "recipes/chatbot/README.md",
)
PROGRAMS = (
    "pellucid",
    "python",
    "make",
    "pip",
    "torchrun",
    "tensorboard",
    "LENS/bin/pip",
    "LENS/bin/python",
    "RAY/bin/pip",
    "RAY/bin/python",
)
_BEGINS = re.compile(rf"({'|'.join(PROGRAMS)})(?![\w./-])")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")

# What is found and not run, by how it begins; and why. Each row is needed by some page.
NOT_RUN = {
    "LENS/bin/": "needs the environment LENS, and a network to make it",
    "RAY/bin/": "needs the environment RAY, and a network to make it",
    "make bench": "minutes of timing",
    "make constraints": "asks the package index what is newest",
    "make format": "rewrites sources",
    "make lint-js": "installs from the network; part of make test",
    "make talk": "makes an environment from the network; `pellucid talk` is run here",
    "make test": "is what runs this test",
    "pellucid bench": "minutes of timing; tests/test_bench.py runs it on a tiny model",
    "pellucid chat --model smollm2": "needs a package of 93 MB; tests/test_smollm2.py talks to it",
    "pellucid learned run --page": "serves until it is stopped; tests/test_history_page.py does",
    "pellucid open": "serves until it is stopped; tests/test_serve_process.py does",
    "pellucid serve": "serves until it is stopped; tests/test_serve_process.py does",
    "pip install": "needs the network; that the extras exist is tested here",
    "python -m venv": "makes an environment from the network",
    "python benchmarks/": "minutes of timing, beside what others wrote",
    "python docs/generate/": "writes pages; tests/test_docs.py holds each page to its generator",
    "python recipes/chatbot/": "hours of training, or the texts that the chatbot learned from",
    "python recipes/chatgpt/": "asks models that took minutes; tests/test_chatgpt_recipe.py",
    "python recipes/digits/": "a quarter of an hour; tests/test_translate.py measures what it made",
    "python recipes/talk/": "writes into the package; tests/test_history.py makes its moments",
    "python recipes/induction/": "writes the embedded model; tests/test_embedded.py compares it",
    "tensorboard --logdir": "serves until it is stopped",
    "pellucid train talk --page": "learns for seconds; tests/test_history_page.py does it",
    "torchrun": "starts processes that find each other; tests/test_train_distributed.py does",
}

# (verb, a name on a page) -> what is said in its place. Other names are files: `Desk` makes them.
STANDS_FOR = {
    ("patch", "SOURCE"): "The dog went home to",
    ("patch", "BASE"): "The king went home to",
    ("batch", "20"): "2",  # tokens
    ("data", "TEXTS..."): "texts/",
    ("eval", "256"): "32",  # tokens that a window scores; that of M is 64
    ("generate", "FILE"): "recorded.safetensors",
    ("train", "2000"): "4",  # steps
}
ANYWHERE = {"TEXT": "The power clapper", "TOKEN": " the"}

# A training of a page takes minutes; here it is made short. With --start the shape is the model's.
SHORT = ("--steps", "2", "--batch", "2", "--warmup", "1", "--threads", "1")
SHAPE = ("--n-embd", "16", "--n-layer", "1", "--n-head", "2", "--n-ctx", "32")
_TORCH_VERBS = {"gradients", "prefer", "train"}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command on a page. shown: the lines under it, in a block marked console."""

    page: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def why_not(self) -> str | None:
        """Why it is not run."""
        return next((why for begins, why in NOT_RUN.items() if self.text.startswith(begins)), None)

    @property
    def is_mention(self) -> bool:
        """A program or a verb that the prose speaks of, such as `pellucid data`, or its help."""
        words = self.words
        bare = len(words) == 1 or (len(words) == 2 and words[0] == "pellucid")
        return bare or (words[0] == "pellucid" and words[-1] == "--help")

    @property
    def needs_torch(self) -> bool:
        return needs_torch(self.words[1:])


def needs_torch(words: Sequence[str]) -> bool:
    """Whether the verb does, or a training must have written what it reads: the folder `run`."""
    return words[0] in _TORCH_VERBS or any(word.split("/")[0] == "run" for word in words[1:])


def blocks(page: str) -> list[tuple[str, str]]:
    """Each fenced block's language and text."""
    return _FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


def commands(page: str) -> list[Command]:
    """Every command of a page, in its order; those of the prose last."""
    found = [c for language, block in blocks(page) for c in _of_block(page, language, block)]
    prose = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [*found, *_of_tables(page, prose), *_of_prose(page, prose)]


def _of_block(page: str, language: str, block: str) -> Iterator[Command]:
    if language == "text":
        yield from (
            Command(page=page, text=line.strip())
            for line in re.findall(r"^  Example:\n(.+)$", block, re.MULTILINE)
        )
    elif language == "console":
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = part.rstrip("\n").split("\n")
            yield Command(page=page, text=line, shown=tuple(shown))
    elif language in ("", "sh"):
        for line in block.splitlines():
            if _BEGINS.match(line):
                yield Command(page=page, text=line)


def _of_tables(page: str, prose: str) -> Iterator[Command]:
    for table in re.findall(r"(?:^\|.*\n)+", prose, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in table.splitlines()]
        if rows[0][-1].strip() != "command":
            continue
        for row in rows[2:]:
            for span in _SPAN.findall(row[-1]):
                if span.split()[0] in VERBS:
                    text = re.sub(r"\[(--[\w-]+)\]", r"\1", span)  # [--integrated]
                    yield Command(page=page, text=f"pellucid {text}")


def _of_prose(page: str, prose: str) -> Iterator[Command]:
    for span in _SPAN.findall(prose):
        text = span.replace("\n", " ")
        if _BEGINS.match(text):
            yield Command(page=page, text=text)


@dataclass(kw_only=True)
class Desk:
    """The folder in which a page is tried: its commands run here one after another, and a file
    that a command reads and that none before it has written is put here first."""

    folder: Path
    made: list[str] = field(default_factory=list)

    def run(self, command: Command) -> str:
        """What it prints. The caller stands in the folder."""
        typed = [line[2:] for line in command.shown if line.startswith("> ")]
        return run(*self.words(command), text="\n".join(typed or ["Hello!"]) + "\n", width=80)

    def words(self, command: Command) -> list[str]:
        """The verb and what follows it, once what it reads is there. The caller stands in the
        folder."""
        _, verb, *words = command.words
        words = [self.stand_in(verb, word) for word in words]
        for name in self.read_by(verb, words):
            if name in INPUTS and not (self.folder / name).exists():
                INPUTS[name](self.folder / name)
                self.made.append(name)
        if verb == "conversations" or (verb == "chat" and words) or "--chat" in words:
            _keep()
        if verb in ("train", "prefer") and "--resume" not in words and words != ["talk"]:
            own_shape = verb == "prefer" or {"--start", "--from"} & set(words)
            words += [*SHORT, *(() if own_shape else SHAPE)]
        elif words == ["talk"]:
            words += ["--steps", "2"]
        return [verb, *words]

    @staticmethod
    def stand_in(verb: str, word: str) -> str:
        return STANDS_FOR.get((verb, word), ANYWHERE.get(word, word))

    @staticmethod
    def read_by(verb: str, words: list[str]) -> list[str]:
        """The words that may name a file to be read."""
        outputs = {words[i + 1] for i, w in enumerate(words) if w in ("--out", "--html", "--save")}
        plain = [word for word in words if not word.startswith("-")]
        if verb in ("data", "convert", "merge"):
            options = {words[i + 1] for i, w in enumerate(words[:-1]) if w.startswith("--")}
            outputs.add([word for word in plain if word not in options][-1])
        return [word.rstrip("/") for word in plain if word not in outputs]


def shows(shown: tuple[str, ...], printed: str) -> bool:
    """Whether what a page shows is what was printed; "..." stands for anything."""
    lines = [line.rstrip() for line in shown if not line.startswith("> ")]
    pattern = re.escape("\n".join(lines)).replace(r"\.\.\.", ".*?")
    found = "\n".join(line.rstrip() for line in printed.rstrip("\n").split("\n"))
    return re.fullmatch(pattern, found, re.DOTALL) is not None


# Small files and folders for the names that pages read.


def _texts(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(12):
        words = f"The cat number {number} sat on the mat and saw {number * 7} big red hats. "
        (folder / f"{number}.txt").write_text(words * 8, encoding="utf-8")


def _text(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("The power clapper went straight to jail.\n" * 20, encoding="utf-8")


def _pairs(path: Path) -> None:
    """What `train --pairs` reads: numbers and what is written for them."""
    rows = "".join(f"number {n} of all\t{n}\n" for n in range(40))
    path.write_text("source\ttarget\n" + rows, encoding="utf-8")


def _rows(*rows: object, times: int = 20) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import gzip
        import lzma

        lines = "".join(f"{json.dumps(row)}\n" for row in rows for _ in range(times))
        data = lines.replace("NUMBER", "{}").encode()
        data = b"".join(
            line.replace(b"{}", str(number).encode()) + b"\n"
            for number, line in enumerate(data.splitlines())
        )
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(data))

    return write


def _model(folder: Path) -> None:
    """One that chats: with roles, a window of 64 tokens, and bytes for whatever is said."""
    tokenizer = Tokenizer.train(["the cat sat on a mat"] * 3, 280, special=small_corpus.ROLES)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=64, n_embd=16, n_head=2, n_layer=1)
    checkpoint.save(folder, hparams, random_tensors(hparams), tokenizer, template="roles")


def _corpus(folder: Path) -> None:
    texts = folder.with_name("texts for " + folder.name)
    _texts(texts)
    run("data", texts, folder, "--tokenizer", _there(folder.with_name("M"), _model))


def _run(folder: Path) -> None:
    texts = folder.with_name("texts for " + folder.name)
    _texts(texts)
    run("train", texts, "--out", folder, *SHORT, *SHAPE)


def _adapter(folder: Path) -> None:
    """Beside a run that may be there: of its own base, which is put there too."""
    base = _there(folder.parents[1] / "base", _model)
    corpus = folder.parents[1] / "corpus of base"
    texts = _there(folder.parents[1] / "texts of base", _texts)
    run("data", texts, corpus, "--tokenizer", base)
    out = folder.parents[1] / "run of base"
    run("train", corpus, "--start", base, "--out", out, "--lora-rank", "2", *SHORT)
    shutil.copytree(out / "adapter", folder)


def _there(path: Path, make_it: Callable[[Path], None]) -> Path:
    if not path.exists():
        make_it(path)
    return path


def _talk(folder: Path) -> None:
    shutil.copytree(EMBEDDED / "talk", folder)


def _talked(path: Path) -> None:
    """A conversation with `chat` that /save wrote."""
    import pellucid
    from pellucid.chat import Conversation

    conversation = Conversation(pellucid.load("chat"), seed=1, max_tokens=4)
    assert conversation.say("Hello").text
    conversation.transcript().save(path)


def _keep() -> None:
    """A conversation in the store, under the id that pages name."""
    import pellucid
    from pellucid.conversations import Store

    gpt, id = pellucid.load("chat"), "3f9a0c44d1e2b7aa"
    with Store.open() as store:
        if id in (head.id for head in store.list(None)):
            return
        tokenizer = gpt.tokenizer.fingerprint()
        store.new(model="chat", tokenizer=tokenizer, template="roles", settings={}, id=id)
        said = store.add_message(id, "My name is Anna.")
        store.add_reply(id, "Hello, Anna!", parent=said.id)


def _gpt2(folder: Path) -> None:
    """In the place of the hub's: the shape small, its one special token the same."""
    make(folder, HParams(n_vocab=300, n_ctx=32, n_embd=32, n_head=2, n_layer=1), "hf")


_TURNS = [{"role": "user", "text": "Hi, NUMBER"}, {"role": "assistant", "text": "Hello!"}]
_PAIR = {"prompt": "Who is NUMBER?", "chosen": "A cat.", "rejected": "no"}


INPUTS: dict[str, Callable[[Path], None]] = {
    "M": _model,
    "SOURCE": _talk,
    "articles.jsonl": _rows({"text": "the cat number NUMBER sat on a mat " * 4}),
    "base": _model,
    "blimp.jsonl.xz": _rows({"sentence_good": "The cats sit.", "sentence_bad": "The cats sits."}),
    "books/*.txt": lambda path: _text(path.with_name("one.txt")),
    "chats.jsonl": _rows({"turns": _TURNS}),
    "chats.jsonl.gz": _rows({"turns": _TURNS}),
    "corpus": _corpus,
    "dialogues.jsonl": _rows({"turns": _TURNS}),
    "gpt2": _gpt2,
    "lambada_dev.jsonl": _rows({"text": "the dog sat on a log"}),
    "lambada_test.jsonl": _rows({"text": "the cat number NUMBER sat on a mat"}),
    "lambada_test.jsonl.xz": _rows({"text": "the cat sat on a mat"}),
    "pairs.jsonl": _rows(_PAIR),
    "pairs.tsv": _pairs,
    "run": _run,
    "run/adapter": _adapter,
    "run/model": lambda path: _run(path.parent),
    "stories": _texts,
    "talk.json": _talked,
    "text.txt": _text,
    "texts": _texts,
}


def makes(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """`make TARGET`, told without doing anything."""
    return subprocess.run(
        ["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )

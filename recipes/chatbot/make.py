"""Make the embedded chatbot again: corpus, vocabulary, training, finetuning, the shipped folder.

    python recipes/chatbot/make.py DATA WORK [--device cuda] [--out FOLDER] [--peer]
    python recipes/chatbot/make.py DATA WORK --on chat [--out FOLDER] [--share 0.5 ...]

DATA holds the texts that README.md names. Everything lies under WORK; a step that is done is not
done again, and training goes on where it was stopped. --device: where it trains; an H200 takes six
minutes, two cores with AMX, at 2,600 tokens a second, two days. --peer also trains the transformers
model of the same size (peer.py), to be held against on the card. Needs the extras [torch,train],
and for --peer transformers.
--on MODEL takes that model's weights, as they were shipped, instead of making its own, and only
drills them (drill.py): a quarter of an hour of two cores. --share: of the drilled weights in what
is shipped; of several a folder each, FOLDER/SHARE, not measured, to choose one by check.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import drill
from baselines import gpt_scores, held_out, measure

import pellucid
from pellucid import checkpoint, embedded
from pellucid.data.prepare import write_corpus
from pellucid.errors import PellucidError
from pellucid.tokenizer import Tokenizer
from pellucid.train.config import read_config
from pellucid.train.run import trainer_for

HERE = Path(__file__).parent
EMBEDDED = HERE.parents[1] / "src" / "pellucid" / "embedded" / "chat"
TRY = ["Tell me a story about a dog.", "My name is Anna.", "What is a token?", "What can you do?"]
MACHINE = "machine.txt"  # in a run's folder
SAMPLING = {"temperature": 0.3, "top_k": 40, "top_p": 0.9, "frequency_penalty": 0.3}
DRILLED = 0.45  # of the drilled weights, in what is shipped
LIMITS = (
    "A very small model: it holds simple conversations and writes simple stories, loses the "
    "thread after some sentences, knows few facts and makes things up. It saw only English. "
    "Nothing it says should be relied on."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--on", metavar="MODEL")
    parser.add_argument("--share", type=float, nargs="+", default=[DRILLED])
    given = parser.parse_args()
    work = given.work.resolve()
    texts = work / "texts"
    corpus = [sys.executable, HERE / "corpus.py", given.data, texts]
    if not (texts / "pretrain.train.jsonl").exists():
        subprocess.run(corpus, check=True)
    vocabulary = work / "pretrain" if given.on is None else folder(given.on)
    if given.on is None and not (vocabulary / "card.json").exists():
        source = texts / "pretrain.train.jsonl"
        write_corpus([source], vocabulary, n_vocab=8192, learn_all=True, validation=0.002)
    drilled_texts = texts / "drill.train.jsonl"
    first = work / "chat" / "card.json" if given.on is None else drilled_texts
    if not first.exists():  # it teaches how the vocabulary cuts words
        subprocess.run([*corpus, "--tokenizer", vocabulary], check=True)
    if given.on is None and not (work / "chat" / "card.json").exists():
        sources = [texts / "chat.train.jsonl", texts / "chat.plain.jsonl"]
        write_corpus(sources, work / "chat", tokenizer=vocabulary, validation=0.01)
    if not (work / "drill" / "card.json").exists():
        if not drilled_texts.exists():
            drill.write(texts, tokenizer_of(vocabulary), drilled_texts)
        write_corpus([drilled_texts], work / "drill", tokenizer=vocabulary, validation=0.01)
    for name in ("pretrain", "chat") if given.on is None else ():
        train(HERE / f"{name}.toml", work, given.device)
    train(HERE / "drill.toml", work, given.device, start=given.on)
    if given.on is not None:
        for share in given.share:
            several = len(given.share) > 1
            out = given.out / str(share) if several else given.out
            ship_drilled(work, out, given.on, share, measured=not several)
        return
    ship(work, given.out)
    if given.peer:
        subprocess.run([sys.executable, HERE / "peer.py", work], check=True)
    ship(work, given.out, measure(work, given.out))


def folder(model: str) -> Path:
    """Of an embedded model's name, or of a path."""
    return embedded.FOLDER / model if model in embedded.names() else Path(model)


def tokenizer_of(vocabulary: Path) -> Tokenizer:
    inner = vocabulary / "tokenizer"  # of a corpus
    return checkpoint.load_tokenizer(inner if inner.is_dir() else vocabulary)


def train(path: Path, work: Path, device: str, start: str | None = None) -> None:
    """Take the steps that are left, telling every 20th. start: instead of the file's."""
    table = read_config(path).to_dict()
    for name in ("corpus", "out", "start"):
        if table[name] is not None:
            table[name] = str(work / Path(table[name]).relative_to("work"))
    table["start"] = start or table["start"]
    table["device"] = device
    if device == "cpu":  # what a step remembers shall fit into memory
        table["micro_batch"] = min(table["batch"], 8)
    config = type(read_config(path)).from_dict(table)
    trainer = trainer_for(config)
    for report in trainer:
        if report.step % 20 == 0 or report.validation_loss is not None:
            held_out = report.validation_loss
            print(
                f"{path.stem} {report.step}: loss {report.loss:.3f}"
                + (f", held out {held_out:.3f}" if held_out is not None else "")
                + f", {report.tokens / report.seconds:.0f} tokens/s",
                flush=True,
            )
    if device != "cpu":
        import torch

        (Path(table["out"]) / MACHINE).write_text(torch.cuda.get_device_name(device))


def ship(work: Path, out: Path, evaluation: dict[str, Any] | None = None) -> None:
    """The finished model in float16, with a card that says how it was made and how good it is."""
    model = drilled(work, work / "run-chat" / "model", DRILLED)
    runs = {name: summary(work / f"run-{name}") for name in ("pretrain", "chat", "drill")}
    card = {
        "name": "chat",
        "about": f"A GPT-2 of {model.hparams.n_params / 1e6:.1f}M parameters, trained by Pellucid, "
        "for simple English stories and conversations.",
        "command": "python recipes/chatbot/make.py DATA WORK",
        "data": sources(),
        "licence": "MIT, as Pellucid; see data for the texts it was trained on",
        "parameters": model.hparams.n_params,
        "sampling": SAMPLING,
        "try": TRY,
        "training": runs,
        "evaluation": {"see": "docs/chatbot.md", **(evaluation or {})},
        "limits": LIMITS,
    }
    save(out, model, card)


def drilled(work: Path, start: str | Path, share: float) -> checkpoint.Checkpoint:
    """The mean of the weights before the drill and after it: most of what is gained, at a part of
    what is lost elsewhere (arXiv 2109.01903)."""
    before, after = checkpoint.load(start), checkpoint.load(work / "run-drill" / "model")
    tensors = {
        name: (1 - share) * old.astype("float32") + share * after.tensors[name]
        for name, old in before.tensors.items()
    }
    return dataclasses.replace(after, tensors=tensors)


def ship_drilled(work: Path, out: Path, start: str, share: float, measured: bool) -> None:
    """The drilled weights of a model that was shipped, with its card: the drill's run added, what
    was held out measured again. The 4-gram stays the one beside it, without the drill."""
    model, card = drilled(work, start, share), dict(checkpoint.load(start).card)
    run = summary(work / "run-drill") | {"share": share}
    card["training"]["drill"] = run
    found = card["evaluation"]["finetuned"]
    found["tokens_seen"] += run["tokens"]
    save(out, model, card)
    gpt = pellucid.load(out)
    for kind, texts in held_out(work / "texts").items() if measured else ():
        found[kind]["pellucid"] = gpt_scores(gpt, texts)
        print(f"{kind}: {found[kind]}", flush=True)
    if measured:
        save(out, model, card)


def save(out: Path, model: checkpoint.Checkpoint, card: dict[str, Any]) -> None:
    checkpoint.save(
        out, model.hparams, model.tensors, model.tokenizer,
        dtype="float16", card=card, template="roles",
    )  # fmt: skip
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")


def sources() -> dict[str, dict[str, str]]:
    """The table of README.md: source -> licence, and how much of it."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.count(" | ") == 2]
    return {
        source: {"licence": licence, "pretraining": amount}
        for source, licence, amount in rows
        if source != "source" and not source.startswith("`")
    }


def summary(run: Path) -> dict[str, Any]:
    """The settings of a run, and its held-out loss on the way (nats per learned token)."""
    with open(run / "log.jsonl", encoding="utf-8") as file:
        log = [json.loads(line) for line in file]
    config = read_config(run / "config.toml").to_dict()
    kept = ("steps", "batch", "optimizer", "learning_rate", "warmup", "final_rate",
            "weight_decay", "average", "dropout", "seed", "aligned")  # fmt: skip
    machine = run / MACHINE
    return {
        "device": machine.read_text() if machine.exists() else config["device"],
        **{name: config[name] for name in kept},
        "tokens": sum(line["tokens"] for line in log),
        "seconds": round(sum(line["seconds"] for line in log)),
        "validation_loss": {
            line["step"]: round(line["validation_loss"], 4)
            for line in log
            if line["validation_loss"] is not None
        },
    }


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; the same command goes on.")

"""How good is the embedded chatbot, beside others that saw the same tokens?

    python recipes/chatbot/baselines.py WORK [--model chat]

WORK is the folder of make.py. The first 400 held-out stories, storybooks, dialogues and chats are
measured in bits per byte and perplexity per token, every document for itself after the end-of-text
token; of conversations the assistant's words. The Kneser-Ney 4-gram (five of 8,192 do not fit its
64 bits) learns from the very corpora that the runs in WORK took, each text once; the transformers
model, where peer.py has made it, from the rows of the pretraining.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pellucid
from pellucid.data.corpus import open_corpus
from pellucid.data.rows import rows
from pellucid.errors import PellucidError
from pellucid.evaluate import conversation_perplexity, ngram, perplexity
from pellucid.gpt import GPT
from pellucid.template import TEMPLATES

ORDER = 4
MOST = 400  # documents of a kind


def learned(corpus: Path) -> np.ndarray:
    """The ids of all texts that a run learned from, one after the other."""
    return open_corpus(corpus).train.ids


def tokens_seen(run: Path) -> int:
    with (run / "log.jsonl").open(encoding="utf-8") as file:
        return sum(json.loads(line)["tokens"] for line in file)


def documents(
    gpt: GPT, held_out: list[dict[str, Any]]
) -> Iterator[tuple[list[int], list[bool], int]]:
    """Each document's ids after an end-of-text token, which of them are scored, and the bytes
    of what is scored."""
    roles, end = TEMPLATES["roles"], gpt.tokenizer.end_of_text
    for document in held_out:
        ids, scored, size = [end], [False], 0
        if "text" in document:
            encoded = gpt.tokenizer.encode(document["text"])
            yield (
                [*ids, *encoded],
                [*scored, *[True] * len(encoded)],
                len(document["text"].encode()),
            )
            continue
        for turn in document["turns"]:
            added = roles.turn(gpt.tokenizer, turn["role"], turn["text"])
            learned = turn["role"] == "assistant"
            ids += added
            scored += [False] + [learned] * (len(added) - 1)
            size += len(turn["text"].encode()) if learned else 0
        yield ids, scored, size


def kneser_ney(
    gpt: GPT, model: ngram.KneserNey, held_out: list[dict[str, Any]]
) -> dict[str, float]:
    nats, tokens, size = 0.0, 0, 0
    for ids, scored, n_bytes in documents(gpt, held_out):
        logprobs = model.logprobs(np.array(ids))
        mask = np.array(scored[1:])
        nats -= float(logprobs[mask].sum())
        tokens += int(mask.sum())
        size += n_bytes
    return _rounded(nats / math.log(2) / size, math.exp(nats / tokens))


def measure(work: Path, model: str | Path) -> dict[str, Any]:
    """Every measure of every model, as the card holds them: after pretraining, where all of them
    saw the same texts, and of the finetuned model that is shipped."""
    base = {"pellucid": pellucid.load(work / "run-pretrain" / "model")}
    if (work / "peer" / "model" / "config.json").exists():
        base["transformers"] = pellucid.load(work / "peer" / "model")
    finetuned = {"pellucid": pellucid.load(model)}
    documents = held_out(work / "texts")
    seen = tokens_seen(work / "run-pretrain")
    rows = learned(work / "pretrain")
    found = {"pretrained": _stage(base, rows, seen, documents)}
    for name in ("chat", "drill"):
        seen += tokens_seen(work / f"run-{name}")
        rows = np.concatenate([rows, learned(work / name)])
    return found | {"finetuned": _stage(finetuned, rows, seen, documents)}


def held_out(texts: Path) -> dict[str, list[dict[str, Any]]]:
    """The documents of each kind, of the folder that corpus.py wrote."""
    return {
        "stories": read(texts / "valid.stories.jsonl", "text"),
        "storybooks": read(texts / "pretrain.valid.jsonl", "text", "storybooks"),
        "dialogues": read(texts / "valid.dialogues.jsonl", "turns"),
        "chat": read(texts / "chat.valid.jsonl", "turns"),
    }


def _stage(
    models: dict[str, GPT], rows: np.ndarray, seen: int, held_out: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    gpt = models["pellucid"]
    baseline = ngram.train(rows, ORDER, gpt.hparams.n_vocab)
    found: dict[str, Any] = {"tokens_seen": seen}
    for kind, texts in held_out.items():
        found[kind] = {"documents": len(texts)}
        for name, each in models.items():
            found[kind][name] = gpt_scores(each, texts)
        found[kind][f"kneser_ney_{ORDER}"] = kneser_ney(gpt, baseline, texts)
    return found


def read(path: Path, field: str, source: str = "") -> list[dict[str, Any]]:
    every = (dict(row.fields) for row in rows(path))
    fitting = (x for x in every if field in x and source in ("", x["source"]))
    return list(itertools.islice(fitting, MOST))


def gpt_scores(gpt: GPT, held_out: list[dict[str, Any]]) -> dict[str, float]:
    stride = gpt.hparams.n_ctx // 2
    if "text" in held_out[0]:
        ours = perplexity(gpt, [document["text"] for document in held_out], stride=stride)
    else:
        turns = [document["turns"] for document in held_out]
        ours = conversation_perplexity(gpt, turns, template="roles", stride=stride).replies
    return _rounded(ours.bits_per_byte, ours.perplexity)


def _rounded(bits_per_byte: float, perplexity: float) -> dict[str, float]:
    return {"bits_per_byte": round(bits_per_byte, 4), "perplexity": round(perplexity, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="chat")
    given = parser.parse_args()
    print(json.dumps(measure(given.work, given.model), indent=2))


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"Error: {error}")

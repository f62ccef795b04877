"""How good is the embedded chatbot, beside a Kneser-Ney 5-gram that saw the same tokens?

    python scripts/chatbot/baselines.py WORK [--model chat]

WORK is the folder of make.py. The held-out stories and dialogues are measured in bits per byte
and perplexity per token, every document for itself after the end-of-text token; of conversations
the assistant's words. The n-gram learns from the very rows that the runs in WORK took.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import pellucid
from pellucid.chat import TEMPLATES
from pellucid.errors import PellucidError
from pellucid.evaluate import conversation_perplexity, ngram, perplexity
from pellucid.gpt import GPT
from pellucid.train.batches import Batches
from pellucid.train.config import TrainConfig
from pellucid.train.corpus import open_corpus

ORDER = 5


def seen(run: Path, n_ctx: int) -> np.ndarray:
    """The ids of all rows that a run learned from, one after the other."""
    config = TrainConfig.read(run / "config.toml")
    tokens = open_corpus(config.corpus).train
    rows = Batches(tokens, n_ctx, config.seed, aligned=config.aligned)
    return rows.take(0, config.steps * config.batch)[0].ravel()


def documents(gpt: GPT, path: Path) -> Iterator[tuple[list[int], list[bool], int]]:
    """Each document's ids after an end-of-text token, which of them are scored, and the bytes
    of what is scored."""
    roles, end = TEMPLATES["roles"], gpt.tokenizer.end_of_text
    for line in path.read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
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


def kneser_ney(gpt: GPT, model: ngram.KneserNey, path: Path) -> dict[str, float]:
    nats, tokens, size = 0.0, 0, 0
    for ids, scored, n_bytes in documents(gpt, path):
        logprobs = model.logprobs(np.array(ids))
        mask = np.array(scored[1:])
        nats -= float(logprobs[mask].sum())
        tokens += int(mask.sum())
        size += n_bytes
    return {"bits_per_byte": nats / math.log(2) / size, "perplexity": math.exp(nats / tokens)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="chat")
    parser.add_argument("--texts", type=Path, help="default: WORK/texts")
    given = parser.parse_args()
    gpt = pellucid.load(given.model)
    n_ctx = gpt.hparams.n_ctx
    texts = given.texts or given.work / "texts"
    rows = np.concatenate([seen(given.work / name, n_ctx) for name in ("run-pretrain", "run-chat")])
    baseline = ngram.train(rows, ORDER, gpt.hparams.n_vocab)
    table = {}
    for kind in ("stories", "dialogues"):
        path = texts / f"valid.{kind}.jsonl"
        held_out = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if kind == "stories":
            ours = perplexity(gpt, [document["text"] for document in held_out], stride=n_ctx // 2)
        else:
            turns = [document["turns"] for document in held_out]
            ours = conversation_perplexity(gpt, turns, stride=n_ctx // 2).replies
        table[kind] = {
            "documents": len(held_out),
            "tokens": ours.n_tokens,
            "pellucid": {"bits_per_byte": ours.bits_per_byte, "perplexity": ours.perplexity},
            f"kneser_ney_{ORDER}": kneser_ney(gpt, baseline, path),
        }
    print(json.dumps({"tokens_seen": len(rows), **table}, indent=2))


if __name__ == "__main__":
    try:
        main()
    except PellucidError as error:
        sys.exit(f"Error: {error}")

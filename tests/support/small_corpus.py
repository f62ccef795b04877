"""A tokenised corpus of a few thousand tokens, for tests of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.data.corpus import SPLITS, SplitWriter
from pellucid.tokenizer import Tokenizer
from pellucid.train.config import TrainConfig

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def config(corpus: Path, out: Path, **changed: Any) -> TrainConfig:
    """A training of seconds on such a corpus, in one thread."""
    fields: dict[str, Any] = {
        "n_ctx": 16, "n_embd": 16, "n_head": 2, "n_layer": 2, "steps": 6, "batch": 4,
        "learning_rate": 1e-2, "warmup": 2, "precision": "float32", "eval_every": 3,
        "eval_rows": 8, "save_every": 2, "threads": 1,
    }  # fmt: skip
    return TrainConfig(corpus=str(corpus), out=str(out), **(fields | changed))


def write(folder: Path, n_documents: int = 40, *, masked: bool = False, seed: int = 0) -> Path:
    """Documents of 20 to 60 tokens; half of them held out. masked: every other token is learned."""
    rng = np.random.default_rng(seed)
    words = "the cat sat on a mat and saw one big red hat there".split()  # noqa: SIM905
    tokenizer = Tokenizer.train([" ".join(words)] * 3, 290, special=ROLES)
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer.save(folder / "tokenizer")
    splits = {}
    for split in SPLITS:
        with SplitWriter(folder, split, tokenizer.n_vocab, masked) as writer:
            for _ in range(n_documents):
                text = " ".join(rng.choice(words, rng.integers(8, 20)))
                ids = [*tokenizer.encode(text), tokenizer.special_tokens["<|endoftext|>"]]
                writer.add(ids, [at % 2 for at in range(len(ids))] if masked else None)
            splits[split] = writer.counts()
    card = {"n_vocab": tokenizer.n_vocab, "masked": masked, "splits": splits}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder

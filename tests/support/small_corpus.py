"""A tokenised corpus of a few thousand tokens, for tests of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pellucid.data.corpus import SPLITS, SplitWriter
from pellucid.tokenizer import Tokenizer

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


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

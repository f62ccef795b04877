"""The embedded talk model: a GPT small enough to read, trained in seconds on a few sentences.

It is GPT-2's model and GPT-2's kind of tokenizer, with a window of 8 tokens. It memorises the
sentences below, and that is all it can do. `pellucid train-talk` makes it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..hparams import SIZES
from ..model import gpt2
from ..tokenizer import Tokenizer
from ..weights import flatten, initialise, unflatten

__all__ = ["PROMPT", "SENTENCES", "STEPS", "train_talk"]

PROMPT = "The power clapper"

SENTENCES = (
    "The power clapper went straight to jail",
    "The power company went straight to court",
    "The power went out at night",
    "The power went straight to my head",
    "The thunder rolled at night",
    "The thunder went straight to my head",
    "The crowd went home at night",
    "The crowd went straight to the show",
    "The crowd will clap at the show",
    "The judge went straight to court",
    "The judge will clap at the show",
    "The judge went home to dinner",
    "The king went straight to dinner",
    "The king went home to jail",
    "The paper went straight to the king",
    "The paper went to the judge",
    "The piper went straight to my head",
    "The piper went out at dinner",
    "The company went home at night",
    "The company will clap at dinner",
    "My head went straight to the piper",
    "My power went out at the show",
    "My paper went to court",
    "My company went straight home",
)

# Enough merges for every word but "clapper" to be one token, so that it stays "clap" + "per".
N_VOCAB = SIZES["talk"].n_vocab
STEPS = 1500
_RATE = 0.02
_DECAY = 0.01


def train_talk(
    steps: int = STEPS,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[dict[str, np.ndarray], Tokenizer, dict[str, Any]]:
    """-> (tensors by name, tokenizer, card)

    AdamW on all sentences at once, the learning rate falling from 0.02 to 0 along a cosine.
    on_step(step, loss) sees each step's mean loss in nats per token.
    Raises InputError without PyTorch.
    """
    try:
        import torch
        import torch.nn.functional as F

        from ..backend.torch import TorchBackend
    except ImportError as error:
        raise InputError('training needs PyTorch: pip install "pellucid[torch,train]"') from error
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")

    hparams = SIZES["talk"]
    # Said twice, a word's letters are merged; "clapper" is said once and stays in two pieces.
    tokenizer = Tokenizer.train([*SENTENCES, *SENTENCES[1:]], N_VOCAB)
    end = tokenizer.end_of_text
    assert end is not None
    rows = [[*tokenizer.encode(sentence), end] for sentence in SENTENCES]
    inputs = np.full((len(rows), hparams.n_ctx), end)
    targets = np.full((len(rows), hparams.n_ctx), -100)  # -100: nothing to learn here
    for row, ids in enumerate(rows):
        known = ids[: hparams.n_ctx]
        inputs[row, : len(known)] = known
        following = ids[1 : hparams.n_ctx + 1]
        targets[row, : len(following)] = following
    lengths = (targets != -100).sum()

    start = time.perf_counter()
    backend = TorchBackend(training=True)
    leaves = {
        name: backend.asarray(value).requires_grad_()
        for name, value in initialise(hparams, seed).items()
    }
    weights = unflatten(leaves, hparams)
    matrices = [leaf for leaf in leaves.values() if leaf.dim() > 1]
    vectors = [leaf for leaf in leaves.values() if leaf.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=_RATE,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, y = backend.ids(inputs), backend.ids(targets).reshape(-1)
    loss = 0.0
    for step in range(steps):
        logits = gpt2(x, weights, hparams, backend)
        mean = F.cross_entropy(logits.reshape(-1, hparams.n_vocab), y, ignore_index=-100)
        optimizer.zero_grad()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(list(leaves.values()), 1.0)
        optimizer.step()
        schedule.step()
        loss = mean.item()
        if on_step is not None:
            on_step(step, loss)
    tensors = {
        name: np.ascontiguousarray(backend.to_numpy(leaf))
        for name, leaf in flatten(weights, hparams).items()
    }
    card = {
        "name": "talk",
        "about": "The talk's GPT: 8 tokens of window, small enough to read every number.",
        "command": "pellucid train-talk",
        "data": f"{len(SENTENCES)} sentences written for it (pellucid/train/talk.py)",
        "licence": "MIT, as Pellucid",
        "parameters": hparams.n_params,
        "steps": steps,
        "seed": seed,
        "loss": round(loss, 4),
        "loss_unit": "nats per token, on the sentences it was trained on",
        "loss_floor": round(_floor(rows, hparams.n_ctx), 4),
        "trained_tokens": int(lengths) * steps,
        "seconds": round(time.perf_counter() - start, 1),
        "limits": (
            "It has memorised its sentences. It knows no other words, holds no conversation, "
            "and is here to be looked at. There is no held-out loss: nothing was held out."
        ),
        "sentences": list(SENTENCES),
    }
    return tensors, tokenizer, card


def _floor(rows: list[list[int]], n_ctx: int) -> float:
    """The lowest mean loss that any model could reach on these sentences: the entropy of the
    next token given all before it."""
    follow: dict[tuple[int, ...], dict[int, int]] = {}
    for ids in rows:
        for at in range(1, min(len(ids), n_ctx + 1)):
            counts = follow.setdefault(tuple(ids[:at]), {})
            counts[ids[at]] = counts.get(ids[at], 0) + 1
    total, nats = 0, 0.0
    for counts in follow.values():
        n = sum(counts.values())
        total += n
        nats -= sum(c * float(np.log(c / n)) for c in counts.values())
    return nats / total


def save_talk(
    folder: Path, tensors: dict[str, np.ndarray], tokenizer: Tokenizer, card: dict[str, Any]
) -> None:
    """Write the model in Pellucid's own format."""
    from .. import checkpoint

    checkpoint.save(folder, SIZES["talk"], tensors, tokenizer, card=card, template="plain")

"""A `transformers` GPT-2 of the same size, pretrained on the very tokens that the chatbot saw.

    python recipes/chatbot/peer.py WORK

WORK is the folder of make.py, whose pretraining is finished. GPT2LMHeadModel (its own
initialisation, dropout 0) takes the same rows in the same order.
AdamW with decay on matrices alone, warm-up and half a cosine; bfloat16 autocast and torch.compile,
as the chatbot's run. WORK/peer/model is what it ends with, in the hub's layout; a checkpoint is
kept every 200 steps, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from pellucid.data.corpus import open_corpus
from pellucid.errors import PellucidError
from pellucid.train.batches import Batches
from pellucid.train.config import TrainConfig
from pellucid.train.optimizer import groups

RATE = 2e-3  # AdamW's; the chatbot's Muon takes another
SAVE_EVERY = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    given = parser.parse_args()
    train(given.work)


def train(work: Path) -> None:
    config = TrainConfig.read(work / "run-pretrain" / "config.toml")
    corpus = open_corpus(config.corpus)
    out = work / "peer" / "model"
    if (out / "config.json").exists():
        return
    torch.manual_seed(config.seed)
    end = corpus.tokenizer().end_of_text
    shape = {field: getattr(config, field) for field in ("n_embd", "n_head", "n_layer")}
    shape |= {"vocab_size": corpus.card["n_vocab"], "n_positions": config.n_ctx}
    ends = {"bos_token_id": end, "eos_token_id": end}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    model = GPT2LMHeadModel(GPT2Config(**shape, **ends, **dropout))
    n_ctx = model.config.n_positions
    rows = Batches(corpus.train, n_ctx, config.seed, aligned=config.aligned)
    inner, rest = groups(model.named_parameters(), config.weight_decay)
    rest[0]["params"] += [parameter for _, parameter in inner]
    optimizer = torch.optim.AdamW(rest, betas=(config.beta1, config.beta2), fused=True)
    first = resume(work, model, optimizer)
    model.train()
    compiled = torch.compile(model)
    begin, began_at = time.perf_counter(), first
    for step in range(first, config.steps):
        rate = config.rate(step) / config.learning_rate * RATE
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = map(torch.from_numpy, rows.take(step * config.batch, config.batch))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = compiled(inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0:
            seconds = time.perf_counter() - begin
            speed = (step + 1 - began_at) * targets.numel() / seconds
            print(f"{step + 1}: loss {loss.item():.3f}, {speed:.0f} tokens/s", flush=True)
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < config.steps:
            keep(work, model, optimizer, step + 1)
    model.save_pretrained(out)
    corpus.tokenizer().save(out)


def keep(work: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Weights and moments of this step; the folder of the step before goes afterwards."""
    root = work / "peer" / "steps"
    folder, half = root / f"{step:06}", root / "half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    weights = {key: x.contiguous() for key, x in model.named_parameters()}
    save_file(weights, half / "model.safetensors")
    moments = optimizer.state_dict()["state"]
    named = {
        f"{at}.{key}": torch.as_tensor(x) for at, kept in moments.items() for key, x in kept.items()
    }
    save_file(named, half / "optimizer.safetensors")
    (half / "step.json").write_text(json.dumps(step))
    os.replace(half, folder)
    for old in root.iterdir():
        if old != folder:
            shutil.rmtree(old)


def resume(work: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """-> the step to go on from; 0 where nothing was kept."""
    folders = sorted((work / "peer" / "steps").glob("[0-9]*"))
    if not folders:
        return 0
    model.load_state_dict(load_file(folders[-1] / "model.safetensors"), strict=False)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folders[-1] / "optimizer.safetensors").items():
        at, moment = key.split(".")
        state.setdefault(int(at), {})[moment] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    step: int = json.loads((folders[-1] / "step.json").read_text())
    return step


if __name__ == "__main__":
    try:
        main()
    except (PellucidError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; the same command goes on.")

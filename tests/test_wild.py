"""Models as people have them (tests/support/wild.py): each loads with the logits and the ids of its
own library, or is refused for the true reason, by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid.errors import CheckpointError, PellucidError, TokenizerError
from support.skips import needs

torch = needs("torch")
transformers = needs("transformers")
tokenizers = needs("tokenizers")
from support import wild  # noqa: E402

TEXTS = ["the in the 12 1234", " a the\n\n  don't", "日本 👍 naïve", "", "12the <gh_stars>x<s>"]
IDS = [5, 250, 258, 0, 31, 7]


def their_ids(path: Path) -> Any:
    """A function from text to ids by `tokenizers` itself: transformers 5 rebuilds some classes
    without their pre-tokenizer. A special token that is typed in a text is text."""
    folder = path if path.is_dir() else path.parent
    if (folder / "tokenizer.json").exists():
        made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "vocab.json").exists():
        lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
        model = tokenizers.models.BPE(
            json.loads((folder / "vocab.json").read_text("utf-8")),
            [tuple(line.split(" ")) for line in lines],
        )
        made = tokenizers.Tokenizer(model)
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        made = wild.library()
    made.encode_special_tokens = True
    return lambda text: made.encode(text).ids


def their_model(name: str, path: Path) -> Any:
    """transformers' model of the same numbers, by another way than ours."""
    if path.suffix == ".gguf":
        return from_numbers(by_gguf(path))
    if path.is_dir() and (path / "hparams.json").exists():
        return from_numbers(wild.random_tensors(wild.HPARAMS))
    if "names" in name:  # transformers knows no wrappers' names: the model before they came
        return wild.model()
    return transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()


def by_gguf(path: Path) -> dict[str, np.ndarray]:
    """A GGUF file's tensors by its own package, under transformers' names."""
    gguf = needs("gguf")
    parts = {"attn_norm": "ln_1", "ffn_norm": "ln_2", "attn_qkv": "attn.c_attn",
             "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
             "token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f"}  # fmt: skip
    tensors = {}
    for tensor in gguf.GGUFReader(path).tensors:
        *place, part, last = tensor.name.removeprefix("blk.").split(".")
        if part == "output":
            continue
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        linear = place and numbers.ndim == 2
        home = [f"h.{place[0]}"] if place else []
        tensors[".".join([*home, parts[part], last])] = numbers.T if linear else numbers
    return tensors


def from_numbers(tensors: dict[str, np.ndarray]) -> Any:
    n_vocab, n_embd = tensors["wte.weight"].shape
    n_layer = len({name.split(".")[1] for name in tensors if name.startswith("h.")})
    config = transformers.GPT2Config(
        vocab_size=n_vocab, n_positions=32, n_embd=n_embd, n_head=4, n_layer=n_layer
    )
    made = transformers.GPT2LMHeadModel(config)
    state = {f"transformer.{name}": torch.tensor(x) for name, x in tensors.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    made.load_state_dict(state)
    return made.eval()


@pytest.mark.parametrize("name", wild.MODELS)
def test_as_found_in_the_wild(name: str, tmp_path: Path) -> None:
    model = wild.MODELS[name]
    path = model.make(tmp_path)
    if model.right not in ("same", "ids"):
        with pytest.raises((CheckpointError, TokenizerError), match=f"(?s){model.right}"):
            pellucid.load(path)
        return
    gpt = pellucid.load(path)
    theirs = their_model(name, path)
    with torch.no_grad():
        wanted = theirs(torch.tensor([IDS])).logits.numpy()[0, :, : gpt.hparams.n_vocab]
    np.testing.assert_allclose(gpt.logits(IDS), wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    if model.right == "ids":
        with pytest.raises(PellucidError, match=r"no tokenizer|SentencePiece"):
            gpt.encode("text")
        return
    if (path / "config.json").exists() and "names" not in name:
        ends = theirs.generation_config.eos_token_id
        assert gpt.stop_tokens == ({ends} if isinstance(ends, int) else set(ends))
    encode = their_ids(path)
    for text in TEXTS:
        assert gpt.encode(text) == encode(text)
        assert gpt.tokenizer.decode(gpt.tokenizer.encode(text)) == text

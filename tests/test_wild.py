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


def their_tokenizer(path: Path) -> Any:
    """A function from text to ids by another library than ours, or None where there is none."""
    folder = path if path.is_dir() else path.parent
    if (folder / "tokenizer.json").exists():
        # `tokenizers` itself: transformers 5 rebuilds some classes without their pre-tokenizer
        made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        made.encode_special_tokens = True  # a special token typed in a text is text
        return lambda text: made.encode(text).ids
    files = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]
    for vocab, merges in files:
        if (folder / vocab).exists():
            lines = (folder / merges).read_text("utf-8").splitlines()[1:]
            model = tokenizers.models.BPE(
                json.loads((folder / vocab).read_text("utf-8")),
                [tuple(line.split(" ")) for line in lines],
            )
            made = tokenizers.Tokenizer(model)
            made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
            return lambda text: made.encode(text).ids
    return None


@pytest.mark.parametrize("name", wild.MODELS)
def test_as_found_in_the_wild(name: str, tmp_path: Path) -> None:
    model = wild.MODELS[name]
    path = model.make(tmp_path)
    if model.right not in ("same", "ids"):
        with pytest.raises((CheckpointError, TokenizerError), match=f"(?s){model.right}"):
            pellucid.load(path)
        return
    gpt = pellucid.load(path)
    if path.is_dir() and (path / "config.json").exists():
        if "names" in name:  # transformers does not take wrappers' names: the model before saving
            other = wild.model()
        else:
            other = transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32)
            other = other.eval()
            ends = other.generation_config.eos_token_id
            ends = {ends} if isinstance(ends, int) else set(ends or ())
            assert gpt.stop_tokens == ends or model.right == "ids"
        with torch.no_grad():
            wanted = other(torch.tensor([IDS])).logits.numpy()[0, :, : gpt.hparams.n_vocab]
        np.testing.assert_allclose(gpt.logits(IDS), wanted, atol=1e-4)
    if model.right == "ids":
        with pytest.raises(PellucidError, match="no tokenizer"):
            gpt.encode("text")
        return
    encode = their_tokenizer(path)
    for text in TEXTS:
        if encode is not None:
            assert gpt.encode(text) == encode(text)
        ids = gpt.tokenizer.encode(text)
        assert gpt.tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", [name for name in wild.MODELS if name.startswith("GGUF")])
def test_gguf_in_the_wild_by_the_package_s_numbers(name: str, tmp_path: Path) -> None:
    gguf = needs("gguf")
    path = wild.MODELS[name].make(tmp_path)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    loaded = pellucid.checkpoint.load(path)
    for ours, theirs in (("h.0.mlp.c_fc.weight", "blk.0.ffn_up.weight"), ("wpe.weight",
                         "position_embd.weight")):  # fmt: skip
        tensor = stored[theirs]
        wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        found = loaded.tensors[ours]
        np.testing.assert_array_equal(found if ours == "wpe.weight" else found.T, wanted)

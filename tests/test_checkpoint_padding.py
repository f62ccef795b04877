"""Ids that stand for no token, between others: beside `tokenizers` and `transformers`, in every
format. They are named as llama.cpp names them, and never generated."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from pellucid import checkpoint, load
from pellucid.checkpoint import Checkpoint
from pellucid.errors import CheckpointError, TokenizerError
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.inspect import walk
from pellucid.sampling import Sampling
from pellucid.tokenizer import Tokenizer
from support.models import lively
from support.skips import needs
from support.vocabulary import byte_spelling

HOLES = (257, 258, 261)
MERGES = [("a", "b"), ("Ġ", "a")]
VOCAB = {token: i for i, token in enumerate(byte_spelling())}
VOCAB |= {"ab": 256, "Ġa": 259, "<|endoftext|>": 260, "<|user|>": 262}
HPARAMS = HParams(n_vocab=263, n_ctx=12, n_embd=16, n_head=2, n_layer=2)


def tensors() -> dict[str, np.ndarray]:
    """A model that finds the holes likeliest by far, and 97 next."""
    made = {name: value.astype("f4") for name, value in lively(HPARAMS).items()}
    bias = made["ln_f.bias"] = np.linspace(0.5, 1, 16, dtype="f4")
    for token, length in ((257, 40), (258, 30), (261, 35), (97, 4)):
        made["wte.weight"][token] = length * bias
    return made


@pytest.fixture(params=["vocab.json", "tokenizer.json", "gguf"])
def gpt(request, tmp_path) -> GPT:
    """As transformers and llama.cpp write it."""
    folder = tmp_path / "model"
    if request.param == "gguf":
        needs("gguf")
        from support import write_gguf

        vocab = VOCAB | {f"[PAD{i}]": i for i in HOLES}
        special = ("<|endoftext|>", "<|user|>")
        path = tmp_path / "model.gguf"
        write_gguf.write(path, HPARAMS, tensors(), vocab, MERGES, special=special)
        return load(path)
    checkpoint.save(folder, HPARAMS, tensors(), format="hf")
    if request.param == "vocab.json":
        (folder / "vocab.json").write_text(json.dumps(VOCAB))
        (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in MERGES))
    else:
        needs("tokenizers")
        theirs().save(str(folder / "tokenizer.json"))
    return load(folder)


def theirs():
    from tokenizers import Tokenizer as Theirs
    from tokenizers import decoders, models, pre_tokenizers

    made = Theirs(models.BPE(vocab=VOCAB, merges=MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>", "<|user|>"])
    return made


def test_texts_and_ids_are_those_of_tokenizers(gpt):
    needs("tokenizers")
    other = theirs()
    assert gpt.tokenizer.unused == set(HOLES)
    assert set(gpt.tokenizer.special_tokens.values()) == {260, 262} >= gpt.stop_tokens
    draw = random.Random(0)
    for _ in range(50):
        text = "".join(draw.choices(["a", "b", " a", "[PAD257]", "é", " "], k=draw.randint(0, 8)))
        ids = gpt.tokenizer.encode(text)
        assert ids == other.encode(text).ids
        assert not set(ids) & set(HOLES)
        assert gpt.tokenizer.decode(ids) == other.decode(ids) == text
    for token in range(263):
        if token in HOLES:  # `tokenizers` leaves such an id out; here it is seen
            assert other.id_to_token(token) is None
            assert gpt.tokenizer.decode([VOCAB["a"], token]) == f"a[PAD{token}]"
        else:
            assert gpt.tokenizer.decode([token]) == other.decode([token], skip_special_tokens=False)


SETTINGS = [
    {"greedy": True}, {"temperature": 3.0}, {"greedy": True, "repetition_penalty": 1.5},
    {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.9},
    {"temperature": 2.0, "presence_penalty": 1.0},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_they_are_never_generated(gpt, settings):
    assert int(gpt.logits("ab")[-1].argmax()) in HOLES
    for seed in range(20):
        steps = gpt.generate("ab", seed=seed, stop_tokens=[], **settings).steps
        assert not {step.token for step in steps} & set(HOLES)
    names = [stage.name for stage in gpt.stages("ab", **settings)]
    assert names[:2] == ["model", "padding left out"]
    last = gpt.stages("ab", **settings)[-1].probabilities
    assert last[list(HOLES)].tolist() == [0, 0, 0]


def test_greedy_ids_are_those_of_transformers_without_them(gpt):
    torch = needs("torch")
    transformers = needs("transformers")
    config = transformers.GPT2Config(
        vocab_size=263, n_positions=12, n_embd=16, n_head=2, n_layer=2, bos_token_id=260,
        eos_token_id=260,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    state = {f"transformer.{name}": torch.tensor(value) for name, value in tensors().items()}
    model.load_state_dict(state, strict=False)
    wanted = model.generate(
        torch.tensor([[256, 98]]), do_sample=False, max_new_tokens=8, pad_token_id=260,
        attention_mask=torch.ones(1, 2), suppress_tokens=list(HOLES),
    )  # fmt: skip
    found = gpt.generate([256, 98], greedy=True, max_tokens=8, stop_tokens=[260])
    assert found.reason == "length"
    assert list(found.tokens) == wanted[0].tolist()


def test_the_walk_predicts_what_is_generated(gpt):
    way = walk(gpt, [256, 98], max_tokens=1)
    taken = gpt.generate([256, 98], greedy=True, max_tokens=1).steps[0].token
    assert int(way.steps[9].values["token"]) == taken


def test_they_stay_what_they_are_through_every_format(gpt, tmp_path):
    for form in ("pellucid", "hf"):
        target = tmp_path / form
        checkpoint.save(target, gpt.hparams, gpt.model.tensors(), gpt.tokenizer, format=form)
        again: Checkpoint = checkpoint.load(target)
        assert again.hparams.n_vocab == 263
        assert again.tokenizer is not None
        assert again.tokenizer.unused == set(HOLES)
        assert again.tokenizer.fingerprint() == gpt.tokenizer.fingerprint()
    transformers = needs("transformers")
    other = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert other("ab a[PAD257]")["input_ids"] == gpt.tokenizer.encode("ab a[PAD257]")


def test_a_damaged_vocabulary_is_no_padding(tmp_path):
    (tmp_path / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in MERGES))
    for vocab, said in (
        ({text: i for text, i in VOCAB.items() if text != "ab"}, "'ab' is no token"),
        ({text: i for text, i in VOCAB.items() if text != "a"}, "byte 0x61 is no token"),
        (VOCAB | {"<|user|>": 9999}, "ids must be 0…"),
        (VOCAB | {"[PAD258]": 257}, "ids must be 0…"),
        (VOCAB | {"<|user|>": 260}, "ids must be 0…"),
    ):
        (tmp_path / "vocab.json").write_text(json.dumps(vocab))
        with pytest.raises(TokenizerError, match=said):
            Tokenizer.from_folder(tmp_path)
    checkpoint.save(tmp_path / "model", HPARAMS, tensors(), format="hf")
    vocab = {text: i for text, i in VOCAB.items() if text != "<|user|>"}
    (tmp_path / "model" / "vocab.json").write_text(json.dumps(vocab | {"<|user|>": 280}))
    (tmp_path / "merges.txt").rename(tmp_path / "model" / "merges.txt")
    with pytest.raises(CheckpointError, match="do not belong together"):
        checkpoint.load(tmp_path / "model")


def test_a_special_token_of_that_name_is_one():
    vocab = VOCAB | {f"[PAD{i}]": i for i in HOLES}
    named = Tokenizer(vocab, MERGES, {"[PAD257]": 257, "<|endoftext|>": 260, "<|user|>": 262})
    assert named.unused == {258, 261}
    assert named.encode("[PAD257]", ["[PAD257]"]) == [257]
    assert Sampling(greedy=True).choose(np.array([1.0, 2, 3]), [], [], 0, 0, unused={2}) == 1

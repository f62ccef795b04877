"""Models as people have them: the shapes of configurations, tokenizers and names that are found in
the wild, with sizes cut and random weights.

`MODELS` holds for each a maker (folder → what to load) and what is right: "same" (it loads, with
the logits and ids of its own library), "ids" (it loads and takes ids), or why it is refused.
Each maker writes as its own program would, where that program is at hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE

from pellucid.checkpoint.huggingface_config import KNOWN
from pellucid.hparams import HParams
from support import families
from support.vocabulary import byte_spelling

END = "<|endoftext|>"
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "a"), ("i", "n"), ("1", "2"), ("Ġ", "Ġ")]
BYTES_AND_MERGES = [*byte_spelling(), *(left + right for left, right in MERGES)]
VOCAB = {token: i for i, token in enumerate([*BYTES_AND_MERGES, END])}
HPARAMS = HParams(n_vocab=len(VOCAB), n_ctx=32, n_embd=32, n_head=4, n_layer=2)


@dataclass(frozen=True, kw_only=True)
class Wild:
    """make: writes the model into an empty folder and returns what to load. right: "same", "ids",
    or a pattern of the refusal."""

    make: Callable[[Path], Path]
    right: str = "same"


def model(n_vocab: int = len(VOCAB), n_layer: int = 2, **config: Any) -> Any:
    torch.manual_seed(0)
    end = VOCAB[END]
    ends = {"bos_token_id": end, "eos_token_id": end}
    sizes = {"vocab_size": n_vocab, "n_positions": 32, "n_embd": 32, "n_head": 4}
    of = transformers.GPT2Config(**sizes, n_layer=n_layer, **ends | config)
    made = transformers.GPT2LMHeadModel(of)
    with torch.no_grad():
        for weight in made.parameters():  # biases and gains too
            weight += 0.1 * torch.randn(weight.shape)
    return made.eval()


def slow_tokenizer(folder: Path, vocab: Mapping[str, int] = VOCAB, **config: Any) -> None:
    """vocab.json and merges.txt, as transformers 2 to 4 saved them."""
    (folder / "vocab.json").write_text(json.dumps(dict(vocab)), "utf-8")
    lines = ["#version: 0.2", *map(" ".join, MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def library(vocab: Mapping[str, int] = VOCAB) -> Library:
    made = Library(BPE(vocab=dict(vocab), merges=MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(END, normalized=True)])
    return made


def reconfigure(folder: Path, *drop: str, **values: Any) -> None:
    path = folder / "config.json"
    table = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps({k: v for k, v in table.items() if k not in drop}), "utf-8")


def rename(folder: Path, name: Callable[[str], str]) -> None:
    path = folder / "model.safetensors"
    renamed = {name(key): tensor.clone() for key, tensor in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})


def gpt2(folder: Path) -> Path:
    """openai-community/gpt2: buffers beside the parameters, no prefix, both kinds of tokenizer."""
    made = model()
    made.config.save_pretrained(folder)
    reconfigure(folder, task_specific_params={"text-generation": {"do_sample": True}}, n_ctx=32)
    tensors = {k.removeprefix("transformer."): v.clone() for k, v in made.state_dict().items()}
    del tensors["lm_head.weight"]
    mask = torch.tril(torch.ones(1, 1, 32, 32))
    tensors |= {f"h.{i}.attn.bias": mask.clone() for i in range(2)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    slow_tokenizer(folder, model_max_length=1024)
    library().save(str(folder / "tokenizer.json"))
    return folder


def distilgpt2(folder: Path) -> Path:
    gpt2(folder)
    model(n_layer=1).save_pretrained(folder)
    reconfigure(folder, _num_labels=1, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    return folder


def dialogpt(folder: Path) -> Path:
    model().save_pretrained(folder)
    reconfigure(folder, task_specific_params={"conversational": {"max_length": 1000}})
    slow_tokenizer(folder, model_max_length=1024, tokenizer_class="GPT2Tokenizer")
    return folder


def medium_by_4_17(folder: Path) -> Path:
    """config.json with every key that transformers 4.17 wrote."""
    model().save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    golden = Path(__file__).parents[1] / "golden" / "config_keys_4.17.0.txt"
    missing = set(golden.read_text().split()) - set(
        json.loads((folder / "config.json").read_text())
    )
    values: dict[str, Any] = {}
    for key in sorted(missing):
        wanted = ("text", None), (False, False), (0, 0), ({}, {}), ([], []), (1.0, 1.0)
        check = KNOWN[key][0] if key in KNOWN else (lambda value: value == 0)
        values[key] = next(v for _, v in wanted if check(v))
    values |= {"return_dict": True, "torch_dtype": "float32", "transformers_version": "4.17.0"}
    reconfigure(folder, "dtype", **values)
    slow_tokenizer(folder, unk_token=END, bos_token=END, eos_token=END, add_prefix_space=False,
                   model_max_length=1024, tokenizer_class="GPT2Tokenizer", name_or_path="x",
                   special_tokens_map_file=None)  # fmt: skip
    (folder / "special_tokens_map.json").write_text(
        json.dumps(dict.fromkeys(("bos_token", "eos_token", "unk_token"), END))
    )
    return folder


def finetune_with_pad(folder: Path) -> Path:
    """A Trainer's run on the Hub: [PAD] added, embeddings resized, saved by transformers 5."""
    (folder / "start").mkdir()
    slow_tokenizer(folder / "start")
    tokenizer = transformers.GPT2Tokenizer.from_pretrained(folder / "start")
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    made = model()
    made.resize_token_embeddings(len(tokenizer))
    made.config.pad_token_id = tokenizer.pad_token_id
    made.save_pretrained(folder / "run")
    tokenizer.save_pretrained(folder / "run")
    (folder / "run" / "training_args.bin").write_bytes(b"PK\x03\x04")
    return folder / "run"


def codeparrot(folder: Path) -> Path:
    """Its own vocabulary, trained weights' scaling that changes the maths: named."""
    model(scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True).save_pretrained(
        folder
    )
    slow_tokenizer(folder)
    return folder


def starcoder_tokenizer(folder: Path) -> Path:
    """Digits first, then ByteLevel; tokens that are not special among the added ones."""
    made = library()
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), level])
    made.add_special_tokens(["<fim_prefix>", "<fim_suffix>"])
    made.add_tokens(["<gh_stars>"])
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END,
              "model_max_length": int(1e30)}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model(made.get_vocab_size()).save_pretrained(folder)
    return folder


def white_space_split(folder: Path) -> Path:
    made = library()
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), level])
    made.save(str(folder / "tokenizer.json"))
    model().save_pretrained(folder)
    return folder


def begins_with_bos(folder: Path) -> Path:
    """A tokenizer.json whose post-processor puts <s> before every text."""
    made = library()
    made.add_special_tokens(["<s>"])
    start = made.token_to_id("<s>")
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    made.save(str(folder / "tokenizer.json"))
    model(made.get_vocab_size(), bos_token_id=start).save_pretrained(folder)
    return folder


def roberta_like(folder: Path) -> Path:
    """ByteLevelBPETokenizer.save_model, as in the course: <s> … in vocab.json and nowhere else."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {token: i for i, token in enumerate([*special, *BYTES_AND_MERGES])}
    slow_tokenizer(folder, vocab)
    model(len(vocab), bos_token_id=0, eos_token_id=2).save_pretrained(folder)
    return folder


def cerebras(folder: Path) -> Path:
    """Cerebras-GPT: model_type gpt2, and the exact GELU."""
    model(activation_function="gelu", n_inner=128).save_pretrained(folder)
    slow_tokenizer(folder)
    return folder


def biogpt(folder: Path) -> Path:
    """BioGPT's tokenizer: end-of-word suffixes."""
    model().save_pretrained(folder)
    made = Library(BPE(vocab=dict(VOCAB), merges=MERGES, end_of_word_suffix="</w>"))
    made.save(str(folder / "tokenizer.json"))
    return folder


def gpt_neo(folder: Path) -> Path:
    model().save_pretrained(folder)
    reconfigure(folder, model_type="gpt_neo", attention_types=[[["global", "local"], 1]])
    slow_tokenizer(folder)
    return folder


def sentence_piece(folder: Path) -> Path:
    model().save_pretrained(folder)
    (folder / "spiece.model").write_bytes(b"\n\x0e\n\x05<unk>")
    return folder


def tiny_llama(folder: Path) -> Path:
    """TinyLlama's, Llama 2's and Mistral's tokenizer.json: SentencePiece's BPE over characters."""
    model().save_pretrained(folder)
    made = Library(BPE(vocab=dict(VOCAB), merges=MERGES, byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    made.save(str(folder / "tokenizer.json"))
    return folder


def of_family(name: str) -> Callable[[Path], Path]:
    """With the tokenizer of another family: its tokenizer.json as published."""

    def make(folder: Path) -> Path:
        made = families.write(name, folder)
        model(made.get_vocab_size()).save_pretrained(folder)
        return folder

    return make


def no_tokenizer(folder: Path) -> Path:
    model().save_pretrained(folder)
    return folder


def compiled(folder: Path) -> Path:
    model().save_pretrained(folder)
    rename(folder, lambda name: f"_orig_mod.{name}")
    slow_tokenizer(folder)
    return folder


def merged_by_peft(folder: Path) -> Path:
    model().save_pretrained(folder)
    rename(folder, lambda name: f"base_model.model.{name}")
    slow_tokenizer(folder)
    return folder


def padded(folder: Path) -> Path:
    """As 50257 is padded to 50304."""
    made = model()
    made.resize_token_embeddings(len(VOCAB), pad_to_multiple_of=64)
    made.save_pretrained(folder)
    slow_tokenizer(folder)
    return folder


def nanogpt_export(folder: Path) -> Path:
    """nanoGPT's weights put into GPT2LMHeadModel: its biases 0, its vocabulary padded."""
    made = model(320, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
    made.save_pretrained(folder)
    slow_tokenizer(folder)
    return folder


def nanogpt_checkpoint(folder: Path) -> Path:
    torch.save({"model": {}}, folder / "ckpt.pt")
    return folder


def half_by_5(folder: Path) -> Path:
    """Saved in bfloat16, in shards, by today's transformers, with its own tokenizer's files."""
    (folder / "start").mkdir()
    slow_tokenizer(folder / "start")
    model().bfloat16().save_pretrained(folder / "run", max_shard_size="30KB")
    transformers.GPT2Tokenizer.from_pretrained(folder / "start").save_pretrained(folder / "run")
    return folder / "run"


def other_end(folder: Path) -> Path:
    """generation_config.json ends texts at a line break."""
    model().save_pretrained(folder)
    path = folder / "generation_config.json"
    ends = {"eos_token_id": [VOCAB[END], VOCAB["Ċ"]]}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | ends))
    slow_tokenizer(folder)
    return folder


def lfs(folder: Path) -> Path:
    model().save_pretrained(folder)
    slow_tokenizer(folder)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 548105171\n"
    (folder / "model.safetensors").write_text(pointer)
    return folder


def random_tensors(hparams: HParams) -> dict[str, np.ndarray]:
    from support.random_checkpoint import random_tensors

    return random_tensors(hparams)


def gguf(kind: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from support import write_gguf

        wide = HParams(n_vocab=len(VOCAB), n_ctx=32, n_embd=256, n_head=4, n_layer=1)
        target = folder / f"model-{kind}.gguf"
        write_gguf.write(target, wide, random_tensors(wide), VOCAB, MERGES, kind, **options)
        return target

    return make


def q4_k_m(folder: Path) -> Path:
    """llama-quantize's commonest kind: matrices in Q4_K, the embeddings and half of ffn_down in
    Q6_K. The package reads these kinds and does not write them: random blocks with small scales."""
    import gguf as package
    import pytest

    kinds = package.GGMLQuantizationType
    rng = np.random.default_rng(1)
    plain = package.GGUFWriter.add_tensor

    def add(self: Any, name: str, stored: np.ndarray, raw_dtype: Any = None) -> None:
        finer = name in ("token_embd.weight", "blk.0.ffn_down.weight")
        kind = kinds.Q6_K if finer else kinds.Q4_K
        if stored.ndim == 2 and name != "position_embd.weight":
            n_rows, width = stored.shape
            n_bytes = package.GGML_QUANT_SIZES[kind][1]
            raw = rng.integers(0, 256, (n_rows, width // 256, n_bytes), dtype=np.uint8)
            scale = np.frombuffer(np.float16(2e-5 if finer else 2e-4).tobytes(), np.uint8)
            for at in (208,) if finer else (0, 2):
                raw[:, :, at : at + 2] = scale
            stored, raw_dtype = raw.reshape(n_rows, -1), kind
        plain(self, name, stored, raw_dtype=raw_dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package.GGUFWriter, "add_tensor", add)
        return gguf("f32")(folder)


def openai(folder: Path) -> Path:
    from support import write_openai

    slow_tokenizer(folder)
    write_openai.write(
        folder / "117M", HPARAMS, random_tensors(HPARAMS), folder / "vocab.json",
        folder / "merges.txt",
    )  # fmt: skip
    (folder / "117M" / "checkpoint").write_text('model_checkpoint_path: "/tmp/117M/model.ckpt"\n')
    return folder / "117M"


MODELS: dict[str, Wild] = {
    "gpt2": Wild(make=gpt2),
    "distilgpt2": Wild(make=distilgpt2),
    "DialoGPT": Wild(make=dialogpt),
    "gpt2-medium by transformers 4.17": Wild(make=medium_by_4_17),
    "a finetune with [PAD]": Wild(make=finetune_with_pad),
    "codeparrot": Wild(make=codeparrot, right="scale_attn_by_inverse_layer_idx is True"),
    "StarCoder's tokenizer": Wild(make=starcoder_tokenizer),
    "WhitespaceSplit": Wild(make=white_space_split, right="WhitespaceSplit splits text in another"),
    "<s> before every text": Wild(make=begins_with_bos),
    "ByteLevelBPETokenizer.save_model": Wild(make=roberta_like),
    "Cerebras-GPT": Wild(make=cerebras, right="activation_function is gelu; it must be gelu_new"),
    "BioGPT's tokenizer": Wild(make=biogpt, right="its model has end_of_word_suffix"),
    "GPT-Neo": Wild(make=gpt_neo, right="it holds a 'gpt_neo'"),
    "rinna's spiece.model": Wild(make=sentence_piece, right="ids"),
    "TinyLlama's tokenizer": Wild(make=tiny_llama, right="ids"),
    "SmolLM2's tokenizer": Wild(make=of_family("smollm")),
    "Llama 3's tokenizer": Wild(make=of_family("llama-bpe")),
    "Qwen2.5's tokenizer": Wild(make=of_family("qwen2")),
    "no tokenizer": Wild(make=no_tokenizer, right="ids"),
    "torch.compile's names": Wild(make=compiled),
    "peft's names, merged": Wild(make=merged_by_peft),
    "a padded vocabulary": Wild(make=padded),
    "nanoGPT exported": Wild(make=nanogpt_export),
    "nanoGPT's ckpt.pt": Wild(make=nanogpt_checkpoint, right=r"ckpt\.pt, a pickle.*nanoGPT"),
    "bfloat16 shards by transformers 5": Wild(make=half_by_5),
    "two ends in generation_config": Wild(make=other_end),
    "cloned without Git LFS": Wild(make=lfs, right="Git LFS pointer.*git lfs pull"),
    "GGUF Q8_0": Wild(make=gguf("q8_0")),
    "GGUF Q4_0 with output": Wild(make=gguf("q4_0", output=True)),
    "GGUF Q4_K_M": Wild(make=q4_k_m),
    "GGUF F16": Wild(make=gguf("f16")),
    "OpenAI's bundle": Wild(make=openai),
}

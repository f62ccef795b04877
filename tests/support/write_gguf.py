"""Write a GPT-2 as a GGUF file, by llama.cpp's conventions, with its own package `gguf`.

Names, metadata and kinds of numbers are those of `convert_hf_to_gguf.py`: linear maps transposed
to [out, in]; vectors and position embeddings always f32; a matrix whose rows are no whole number
of blocks f16. It writes what `pellucid convert` does not: other kinds, and what is to be refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import gguf
import numpy as np

from pellucid.checkpoint.gguf_gpt2 import ARCHITECTURES, gguf_names
from pellucid.hparams import HParams

KINDS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}


def kind_of(name: str, numbers: np.ndarray, wanted: str) -> gguf.GGMLQuantizationType:
    if numbers.ndim == 1 or name == "position_embd.weight":
        return gguf.GGMLQuantizationType.F32
    kind = KINDS[wanted][0]
    return gguf.GGMLQuantizationType.F16 if numbers.shape[-1] % _per_block(kind) else kind


def _per_block(kind: gguf.GGMLQuantizationType) -> int:
    return gguf.GGML_QUANT_SIZES[kind][0]


def write(
    path: Path,
    hparams: HParams,
    tensors: Mapping[str, np.ndarray],
    tokenizer_vocab: Path | Mapping[str, int],
    merges: Path | Iterable[tuple[str, str]],
    quantization: str = "f32",
    *,
    special: Iterable[str] = ("<|endoftext|>",),
    output: bool = False,
    name: str = "gpt2",
) -> None:
    """`tensors` by Pellucid's names; `tokenizer_vocab` in GPT-2's spelling, special tokens among
    them, and its merges, or the files encoder.json and vocab.bpe. quantization: f32, f16, q8_0 or
    q4_0. output: write the tied output layer a second time, as older converters did."""
    if isinstance(tokenizer_vocab, Path):
        tokenizer_vocab = json.loads(tokenizer_vocab.read_text("utf-8"))
    if isinstance(merges, Path):
        lines = merges.read_text("utf-8").splitlines()[1:]  # the first is the version
        merges = [(left, right) for left, right in (line.split(" ") for line in lines if line)]
    writer = gguf.GGUFWriter(path, ARCHITECTURES[0])
    writer.add_name(name)
    writer.add_context_length(hparams.n_ctx)
    writer.add_embedding_length(hparams.n_embd)
    writer.add_block_count(hparams.n_layer)
    writer.add_feed_forward_length(4 * hparams.n_embd)
    writer.add_head_count(hparams.n_head)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(KINDS[quantization][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    marked = set(special)
    tokens = sorted(tokenizer_vocab, key=tokenizer_vocab.__getitem__)
    kinds = [gguf.TokenType.CONTROL if t in marked else gguf.TokenType.NORMAL for t in tokens]
    for i, token in enumerate(tokens):
        if token == f"[PAD{i}]":  # an id without a token
            kinds[i] = gguf.TokenType.UNUSED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    if (end := tokenizer_vocab.get("<|endoftext|>")) is not None:
        writer.add_bos_token_id(end)
        writer.add_eos_token_id(end)

    names = [(ours, *other) for ours, other in gguf_names(hparams).items()]
    if output:
        names.append(("wte.weight", "output.weight", False))
    for ours, theirs, transposed in names:
        numbers = np.asarray(tensors[ours], np.float32)
        numbers = np.ascontiguousarray(numbers.T if transposed else numbers)
        kind = kind_of(theirs, numbers, quantization)
        stored = gguf.quants.quantize(numbers, kind)
        writer.add_tensor(theirs, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def edited(source: Path, target: Path, key: str, value: str | int) -> None:
    """A copy of a GGUF file, whatever model is in it, in which one key says something else."""
    reader = gguf.GGUFReader(source)
    fields = {n: f for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    writer = gguf.GGUFWriter(target, fields.pop("general.architecture").contents())
    for name, field in fields.items():
        if name != key:
            writer.add_key_value(name, field.contents(), field.types[0], *field.types[1:])
    kind = gguf.GGUFValueType.STRING if isinstance(value, str) else gguf.GGUFValueType.UINT32
    writer.add_key_value(key, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

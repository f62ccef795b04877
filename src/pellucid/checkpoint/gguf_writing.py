"""A model as a GGUF file, laid out as llama.cpp's own `convert_hf_to_gguf.py` lays it.

Its package `gguf` writes the file and rounds the numbers. Linear maps are stored [out, in]; vectors
and position embeddings always in float32. Q4_0 is for the linear maps: the token embeddings, which
are the output layer too, keep 8 bits (Q8_0), since 4 there cost most (`llama-quantize` keeps 6),
where nobody asks for fewer. What was rounded to 4 bits before is stored as it was rounded.
What llama.cpp would read otherwise than it is meant is refused here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend.rounding import FORMATS, own_scales
from ..errors import CheckpointError
from ..sampling import recommended
from ..template import TEMPLATES
from .gguf import LAYOUTS, NOTES
from .gguf_file import GgufFile
from .parts import Part, divided

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tokenizer import Tokenizer
    from .contents import Checkpoint

__all__ = ["EMBEDDINGS", "STORED", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """linear, embeddings: the kinds of number of the linear maps and of the token embeddings, by
    ggml's names. file: llama.cpp's name of such a file (its `LlamaFileType`)."""

    linear: str
    embeddings: str
    file: str


STORED = {
    "float32": _Kind(linear="F32", embeddings="F32", file="ALL_F32"),
    "float16": _Kind(linear="F16", embeddings="F16", file="MOSTLY_F16"),
    "bfloat16": _Kind(linear="BF16", embeddings="BF16", file="MOSTLY_BF16"),
    "q8_0": _Kind(linear="Q8_0", embeddings="Q8_0", file="MOSTLY_Q8_0"),
    "q4_0": _Kind(linear="Q4_0", embeddings="Q8_0", file="MOSTLY_Q4_0"),
}
EMBEDDINGS = ("q8_0", "q4_0")  # of the token embeddings, in a file of Q4_0
# The sampling that a card recommends, by llama.cpp's names.
_SAMPLING = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
_MORE_ENDS = ("eot", "eom")  # beside the end of a text llama.cpp has those of a turn and a message


def write(path: Path, checkpoint: Checkpoint, dtype: str, embeddings: str | None = None) -> None:
    """Write the file, one tensor in memory at a time, and read its header back.

    dtype: one of STORED. embeddings: one of EMBEDDINGS, else as STORED says. Raises CheckpointError
    where the package gguf is missing, where llama.cpp cannot hold the model so, and for a number
    that the dtype cannot; OSError.
    """
    try:
        import gguf
    except ImportError as error:
        raise CheckpointError(
            'writing GGUF needs the package gguf: pip install "pellucid[gguf]"'
        ) from error
    kind, hparams = STORED[dtype], checkpoint.hparams
    if embeddings is not None:
        kind = replace(kind, embeddings=embeddings.upper())
    layout = LAYOUTS[hparams.family]
    architecture, parts = layout.architecture(hparams), layout.parts(hparams)
    extra = layout.extra_tensors(hparams)
    _check_blocks(parts, dtype)
    writer = gguf.GGUFWriter(path, architecture)
    types = {}
    for name, listed in parts.items():
        for part in listed:
            types[part.name] = gguf.GGMLQuantizationType[_type(name, len(part.shape), kind)]
            per_block, block_bytes = gguf.GGML_QUANT_SIZES[types[part.name]]
            n_bytes = prod(part.shape) // per_block * block_bytes
            float32 = np.dtype(np.float32)
            writer.add_tensor_info(part.name, part.shape, float32, n_bytes, types[part.name])
    for name, numbers in extra.items():
        f32 = gguf.GGMLQuantizationType.F32
        writer.add_tensor_info(name, numbers.shape, numbers.dtype, numbers.nbytes, f32)
    _metadata(writer, checkpoint, gguf.LlamaFileType[kind.file])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, listed in parts.items():
            tensor = np.asarray(checkpoint.tensors[name], np.float32)
            for part, full in divided(listed, tensor):
                _check_range(name, full, types[part.name].name)
                writer.write_tensor_data(_stored(full, types[part.name]))
        for numbers in extra.values():
            writer.write_tensor_data(numbers)
    finally:
        writer.close()
    if len(GgufFile(path).header.tensors) != len(types) + len(extra):
        raise CheckpointError(f"{path} was not written whole")


def _type(name: str, n_dims: int, kind: _Kind) -> str:
    if n_dims == 1 or name == "wpe.weight":
        return "F32"
    return kind.embeddings if name in ("wte.weight", "lm_head.weight") else kind.linear


def _stored(numbers: np.ndarray, kind: Any) -> np.ndarray:
    """numbers [..., n], float32 -> the bytes of a tensor of this kind."""
    import gguf

    stored = np.asarray(gguf.quants.quantize(numbers, kind))
    if kind.name == "Q4_0":
        # The package puts each block's largest number at -8, which is not where all were rounded.
        blocks = numbers.reshape(-1, FORMATS["int4"].group)
        scales = own_scales(blocks)
        own = scales != 0
        codes = np.rint(blocks[own] / scales[own][:, None]) + 8
        low, high = np.split(codes.astype(np.uint8), 2, axis=1)
        as_bytes = stored.reshape(len(blocks), -1)
        as_bytes[own, :2] = scales[own].astype("<f2").view(np.uint8).reshape(-1, 2)
        as_bytes[own, 2:] = low | high << 4
    return stored


def _check_blocks(parts: Mapping[str, list[Part]], dtype: str) -> None:
    if not STORED[dtype].linear.startswith("Q"):
        return
    for part in (part for listed in parts.values() for part in listed if len(part.shape) > 1):
        if part.shape[-1] % 32:
            raise CheckpointError(
                f"{dtype} stores 32 numbers to a block, and rows of {part.shape[-1]}, as "
                f"{part.name} has, are no whole number of blocks: take float16"
            )


# The largest number that a kind holds: float16 itself, or a block's step in float16.
_LARGEST = {"F16": 65504.0, "Q8_0": 65504.0 * 127, "Q4_0": 65504.0 * 8}


def _check_range(name: str, numbers: np.ndarray, kind: str) -> None:
    if np.abs(numbers).max(initial=0) > _LARGEST.get(kind, np.inf):
        raise CheckpointError(
            f"tensor {name} holds a number that {kind} cannot; take another dtype"
        )


def _metadata(writer: Any, checkpoint: Checkpoint, file_type: Any) -> None:
    import gguf

    hparams, card = checkpoint.hparams, checkpoint.card
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(str(card.get("name") or (checkpoint.path and checkpoint.path.stem) or "gpt2"))
    writer.add_size_label(gguf.size_label(hparams.n_params, 0, 0, 0))
    writer.add_block_count(hparams.n_layer)
    writer.add_context_length(hparams.n_ctx)
    writer.add_embedding_length(hparams.n_embd)
    writer.add_feed_forward_length(hparams.n_inner)
    writer.add_head_count(hparams.n_head)
    LAYOUTS[hparams.family].write_hparams(writer, hparams)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, value in recommended(card).items():
        if name in _SAMPLING and value is not None:
            add = writer.add_int32 if name == "top_k" else writer.add_float32
            add(f"general.sampling.{_SAMPLING[name]}", value)
    notes = {
        "template": checkpoint.template,
        "card": dict(card),
        "roles": checkpoint.roles.to_dict(),
    }
    writer.add_string(NOTES, json.dumps(notes, sort_keys=True))
    if checkpoint.tokenizer is None:
        writer.add_vocab_size(hparams.n_vocab)
        writer.add_tokenizer_model("none")
        return
    _tokenizer(writer, checkpoint, checkpoint.tokenizer)


def _tokenizer(writer: Any, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    import gguf

    pre = _pre(tokenizer)
    tables, kinds = tokenizer.tables, gguf.TokenType
    types = [int(kinds.NORMAL)] * tokenizer.n_vocab
    for token in tokenizer.special_tokens.values():
        types[token] = int(kinds.CONTROL)
    for added in tokenizer.rules.added.values():
        types[added.id] = int(kinds.CONTROL if added.special else kinds.USER_DEFINED)
    for token in tokenizer.unused:
        types[token] = int(kinds.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(tables.vocab))
    writer.add_token_types(types)
    writer.add_token_merges([f"{left} {right}" for left, right in tables.merges])
    begin, end = tokenizer.rules.begin, tokenizer.rules.end
    for role, token in _named(checkpoint, tokenizer).items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", token)
    writer.add_add_bos_token(bool(begin))
    writer.add_add_eos_token(bool(end))
    if checkpoint.template in TEMPLATES:
        writer.add_chat_template(TEMPLATES[checkpoint.template].jinja(tokenizer))


def _pre(tokenizer: Tokenizer) -> str:
    """llama.cpp's name of what this tokenizer does. Raises CheckpointError where it has none."""
    from ..tokenizer.splits import GGML

    rules, what = tokenizer.rules, ""
    ours = (rules.steps, rules.ignore_merges, rules.nfc)
    names = [n for n, g in GGML.items() if (g.steps, g.ignore_merges, g.nfc) == ours]
    if not names:
        what = f"cuts texts by {' and '.join(rules.steps) or 'nothing'}, which it has no name for"
    for side, ids in (("begin", rules.begin), ("end", rules.end)):
        if len(ids) > 1:
            what = f"lets texts {side} with {len(ids)} tokens, and llama.cpp with one"
    for text, added in rules.added.items():
        if added.lstrip or added.rstrip or added.single_word:
            what = f"takes white space beside {text!r} away, or finds it as a single word only"
    if what:
        raise CheckpointError(f"llama.cpp cannot hold this model's tokenizer: it {what}")
    return names[0]


def _named(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Mapping[str, int]:
    """Which tokens begin, end and pad a text, by llama.cpp's names of them."""
    roles, rules = checkpoint.roles, tokenizer.rules
    stops = roles.stops(tokenizer)
    template = TEMPLATES.get(checkpoint.template or "")
    closing = template.frames["assistant"].after if template is not None else ()
    turn = [tokenizer.special_tokens[text] for text in closing if text in tokenizer.special_tokens]
    ends = [tokenizer.end_of_text] if tokenizer.end_of_text in stops else []
    eos = next(iter((*rules.end, *ends, *turn, *stops)), None)
    firsts = (*rules.begin, roles.bos, tokenizer.end_of_text, eos)
    bos = next((token for token in firsts if token is not None), None)
    if eos is None or bos is None:
        raise CheckpointError(
            "this model names no token that ends a text, and llama.cpp takes token 11 where none "
            "is named: give its tokenizer <|endoftext|>"
        )
    if roles.bos not in (None, bos):
        raise CheckpointError(
            f"texts begin with token {bos} and bos is token {roles.bos}; llama.cpp has one for both"
        )
    named = {"bos": bos, "eos": eos}
    others = [token for token in dict.fromkeys((*turn, *roles.eos)) if token != eos]
    if len(others) > len(_MORE_ENDS):
        raise CheckpointError(
            f"{1 + len(others)} tokens end this model's texts, and llama.cpp holds "
            f"{1 + len(_MORE_ENDS)}"
        )
    named |= dict(zip(_MORE_ENDS, others, strict=False))
    for role, token in (("unknown", roles.unk), ("padding", roles.pad)):
        if token is not None:
            named[role] = token
    return named

"""Llama, Qwen2 and Qwen3 in llama.cpp's file format (`gguf.Layout`): hyperparameters and tensors.

What llama.cpp calls "llama" is SmolLM2, Mistral, TinyLlama too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, CheckpointWarning, InputError
from ..families.llama import Rope
from ..hparams import HParams
from .contents import check_finite, check_memory, hparams_from
from .gguf_file import GgufFile, Metadata, TensorInfo
from .llama_names import GGUF, parts_of
from .parts import Part, check_parts, joined

__all__ = [
    "ARCHITECTURES",
    "FACTORS",
    "architecture",
    "extra_tensors",
    "parts",
    "read_hparams",
    "read_tensors",
    "write_hparams",
]

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_PAIRED = ("llama",)  # where the numbers that are turned together stand side by side
FACTORS = "rope_freqs.weight"  # Llama 3's longer window: how much slower each pair turns

_READ = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.sliding_window",
    "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.finetuned",
}  # fmt: skip
# Where one of these stands, it must say that nothing else is computed.
_NEUTRAL = {
    "attention.causal": (True,), "attention.clamp_kqv": (0.0,), "attention.scale": (0.0,),
    "attn_logit_softcapping": (0.0,), "embedding_scale": (0.0, 1.0), "expert_count": (0,),
    "expert_used_count": (0,), "final_logit_softcapping": (0.0,), "logit_scale": (0.0, 1.0),
    "pooling_type": (0,), "residual_scale": (0.0, 1.0), "rope.scaling.attn_factor": (0.0, 1.0),
    "rope.scaling.yarn_log_multiplier": (0.0,), "use_parallel_residual": (False,),
}  # fmt: skip


def read_hparams(metadata: Metadata, file: GgufFile) -> tuple[HParams, dict[str, Any]]:
    """The hyperparameters, and what a card says of them.

    metadata: the file's, by type. Raises CheckpointError naming what is missing, or would change
    the maths.
    """
    source, tensors = metadata.source, file.header.tensors
    kind = metadata.string("general.architecture")
    _check_keys(metadata.values, kind, source)
    embeddings = tensors.get("token_embd.weight")
    if embeddings is None or len(embeddings.shape) != 2:
        raise CheckpointError(f"{source}: tensor 'token_embd.weight' is missing or no matrix")

    def whole(key: str, otherwise: int | None = None) -> int:
        known = otherwise is None or f"{kind}.{key}" in metadata.values
        return metadata.integer(f"{kind}.{key}") if known else otherwise  # type: ignore[return-value]

    n_embd, n_head = whole("embedding_length"), whole("attention.head_count")
    d_head = whole("attention.key_length", n_embd // max(n_head, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if whole(key, d_head) != d_head:
            raise CheckpointError(
                f"{source}: {kind}.{key} is {whole(key)}; heads of {d_head} numbers are computed "
                "whose values are as many, and which are turned whole"
            )
    n_ctx, card = whole("context_length"), {}
    seen = whole("attention.sliding_window", 0)
    if 0 < seen < n_ctx:
        card["window"] = (
            f"each token sees the last {seen:,} alone, so the window is {seen:,} tokens here, in "
            f"which it sees all, and not {n_ctx:,}"
        )
        n_ctx = seen
    values = {
        "family": "llama",
        "n_vocab": embeddings.shape[0],
        "n_ctx": n_ctx,
        "n_embd": n_embd,
        "n_head": n_head,
        "n_layer": whole("block_count"),
        "n_kv_head": whole("attention.head_count_kv", n_head),
        "d_head": d_head,
        "n_inner": whole("feed_forward_length"),
        "rope": _rope(metadata, kind, file, d_head),
        "epsilon": _short(metadata.number(f"{kind}.attention.layer_norm_rms_epsilon")),
        "tied": "output.weight" not in tensors,
        "qkv_bias": "blk.0.attn_q.bias" in tensors,
        "qk_norm": "blk.0.attn_q_norm.weight" in tensors,
    }
    return hparams_from(values, source), card


def _check_keys(values: Mapping[str, Any], kind: str, source: Path) -> None:
    unknown = []
    for key in values:
        own = key.removeprefix(f"{kind}.")
        if own == key or own in _READ:
            continue
        if own not in _NEUTRAL:
            unknown.append(key)
        elif values[key] not in _NEUTRAL[own]:
            raise CheckpointError(
                f"{source}: {key} is {str(values[key])[:40]}, which changes what is computed; "
                "Pellucid does not compute it"
            )
    if unknown:
        warnings.warn(
            f"{source}: passed over what is not known of a {kind}: {', '.join(unknown[:5])}. If "
            "it changes what the model computes, the answers here are not the model's",
            CheckpointWarning,
            stacklevel=3,
        )


def _rope(metadata: Metadata, kind: str, file: GgufFile, d_head: int) -> Rope:
    at, source = f"{kind}.rope.", metadata.source
    theta = 10000.0
    if f"{at}freq_base" in metadata.values:
        theta = _short(metadata.number(f"{at}freq_base"))
    scaling = "none"
    if f"{at}scaling.type" in metadata.values:
        scaling = metadata.string(f"{at}scaling.type")
    try:
        if FACTORS in file.header.tensors:
            if file.header.tensors[FACTORS].shape != (d_head // 2,):
                raise CheckpointError(f"{source}: {FACTORS} must be {d_head // 2} numbers")
            factors = tuple(map(float, file.tensor(FACTORS)))
            return Rope(theta=theta, kind="factors", factors=factors)
        if scaling == "none":
            return Rope(theta=theta)
        factor = 1.0
        if scaling in ("linear", "yarn"):
            factor = metadata.number(f"{at}scaling.factor")
        if scaling == "linear":
            return Rope(theta=theta, kind="linear", factor=factor)
        if scaling == "yarn":
            return Rope(
                theta=theta,
                kind="yarn",
                factor=factor,
                n_original=metadata.integer(f"{at}scaling.original_context_length"),
                low=1.0,
                high=32.0,
                scale=0.1 * math.log(max(factor, 1.0)) + 1.0,
            )
    except InputError as error:
        raise CheckpointError(f"{source}: {error}") from error
    raise CheckpointError(
        f"{source}: its rotary positions are scaled by {scaling!r:.40}; computed are linear, yarn "
        "and Llama 3's factors"
    )


def _short(value: float) -> float:
    """A float32 as it was written: 9.999999747378752e-06 was 1e-05."""
    return float(f"{value:.7g}")


def read_tensors(file: GgufFile, hparams: Any, kind: str) -> dict[str, np.ndarray]:
    """Float32 by our names, joined as ours are."""
    stored: dict[str, TensorInfo] = dict(file.header.tensors)
    stored.pop(FACTORS, None)
    table = parts_of(hparams, GGUF, pairs=kind in _PAIRED)
    check_parts(table, {name: info.shape for name, info in stored.items()}, file.path)
    check_memory(4 * hparams.n_params, file.path)
    tensors = {}
    for ours, each in table.items():
        tensors[ours] = joined(each, file.tensor)
        check_finite({each[0].name: tensors[ours]}, file.path)
    return tensors


def architecture(hparams: Any) -> str:
    """llama.cpp's name of what computes such a model. Raises CheckpointError where nothing does."""
    h = hparams
    if h.qk_norm and h.qkv_bias:
        raise CheckpointError("llama.cpp has no such model with both q/k norms and q/k/v biases")
    kind = "qwen3" if h.qk_norm else "qwen2" if h.qkv_bias else "llama"
    if h.rope.kind in ("llama3", "factors") and kind != "llama":
        raise CheckpointError(f"llama.cpp scales a {kind}'s rotary positions by yarn or linearly")
    usual = (1.0, 32.0, True, 0.1 * math.log(max(h.rope.factor, 1.0)) + 1.0)
    own = (h.rope.low, h.rope.high, h.rope.whole, h.rope.scale)
    if h.rope.kind == "yarn" and not np.allclose(own, usual, rtol=1e-6):
        raise CheckpointError("llama.cpp's files hold yarn with its usual bounds and scale alone")
    return kind


def parts(hparams: Any) -> dict[str, list[Part]]:
    return parts_of(hparams, GGUF, pairs=architecture(hparams) in _PAIRED)


def extra_tensors(hparams: Any) -> dict[str, np.ndarray]:
    """FACTORS, [d_k / 2]: how many times slower each pair turns than without a longer window;
    none where the file says it otherwise."""
    rope, d_k = hparams.rope, hparams.d_head
    if rope.kind not in ("llama3", "factors"):
        return {}
    plain = np.array(Rope(theta=rope.theta).frequencies(d_k))
    return {FACTORS: np.asarray(plain / np.array(rope.frequencies(d_k)), np.float32)}


def write_hparams(writer: Any, hparams: Any) -> None:
    """What a Llama's file says beside the five. writer: the package's, of this architecture."""
    import gguf

    h, rope = hparams, hparams.rope
    writer.add_head_count_kv(h.n_kv_head)
    writer.add_key_length(h.d_head)
    writer.add_value_length(h.d_head)
    writer.add_layer_norm_rms_eps(h.epsilon)
    writer.add_rope_freq_base(rope.theta)
    writer.add_rope_dimension_count(h.d_head)
    if rope.kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope.kind))
        writer.add_rope_scaling_factor(rope.factor)
    if rope.kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope.n_original)

"""A Llama, Mistral, Qwen2 or Qwen3 as Hugging Face's files hold it (`huggingface.Layout`): what
changes the maths is computed, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError
from ..families.llama import Rope
from ..hparams import HParams
from .contents import hparams_from
from .huggingface_config import (
    ELSEWHERE,
    TRAINING,
    Check,
    anything,
    check_keys,
    count,
    flag,
    one_of,
    table,
)
from .llama_names import HUGGING_FACE, parts_of
from .names import LM_HEAD, unwrapped
from .parts import Part, check_parts, joined
from .safetensors_file import SafetensorsFile
from .tied import check_dtypes, finer_head

__all__ = ["KINDS", "is_padding", "parts", "read_config", "read_tensors", "write_config"]

# model_type → its class in transformers, and how many tokens a query sees where its file says none.
KINDS = {
    "llama": ("LlamaForCausalLM", None),
    "mistral": ("MistralForCausalLM", 4096),
    "qwen2": ("Qwen2ForCausalLM", None),
    "qwen3": ("Qwen3ForCausalLM", None),
}
_SIZES = {
    "n_vocab": "vocab_size",
    "n_ctx": "max_position_embeddings",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_inner": "intermediate_size",
}
_COMPUTED = {  # keys whose values become hyperparameters
    *_SIZES.values(), "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta",
    "rope_scaling", "rope_parameters", "tie_word_embeddings", "sliding_window",
    "use_sliding_window", "layer_types", "model_type", "architectures",
}  # fmt: skip
_ONE = one_of(None, 1, 1.0)
_OFF = one_of(None, False, 0, 0.0, [], {})
_KNOWN: dict[str, tuple[Check, str]] = {
    "attention_bias": (one_of(None, False), "false: biases of the output are not computed"),
    "attention_dropout": (anything, "anything"),
    "cross_attention_hidden_size": (one_of(None), "null"),
    "chunk_size_feed_forward": (one_of(0), "0"),
    "hidden_act": (one_of("silu", "swish"), "silu"),
    "is_decoder": (flag, "true or false"),
    "is_encoder_decoder": (one_of(False), "false"),
    "is_llama_config": (flag, "true or false"),
    "max_window_layers": (count, "a count"),  # which layers' sliding_window counts, if one does
    "mlp_bias": (one_of(None, False), "false: the MLP's biases are not computed"),
    "pretraining_tp": (anything, "anything"),  # how a product was divided: the same numbers
    "pruned_heads": (one_of({}), "empty"),
    "rope_interleaved": (_OFF, "false: pairs stand half a head apart"),
    "tie_encoder_decoder": (one_of(False), "false"),
    "transformers.js_config": (table, "a table"),
    "use_mrope": (_OFF, "false"),
    # Of relatives that compute something else.
    "attention_multiplier": (_ONE, "1"),
    "attn_logit_softcapping": (_OFF, "null"),
    "embedding_multiplier": (_ONE, "1"),
    "final_logit_softcapping": (_OFF, "null"),
    "logits_scaling": (_ONE, "1"),
    "no_rope_layers": (_OFF, "absent"),
    "num_experts": (_OFF, "absent: a mixture of experts is another model"),
    "num_local_experts": (_OFF, "absent: a mixture of experts is another model"),
    "partial_rotary_factor": (_ONE, "1: every number of a head is turned"),
    "residual_multiplier": (_ONE, "1"),
    "use_qk_norm": (_OFF, "false; Qwen3 has such norms by its model_type"),
}


def read_config(
    config: Mapping[str, Any], path: Path
) -> tuple[HParams, str | None, dict[str, Any]]:
    """The hyperparameters, no chat template, and what a card says.

    Raises CheckpointError naming the key whose value cannot be computed with.
    """
    kind = config["model_type"]
    own, window = KINDS[kind]
    if config.get("architectures") not in (None, [], [own], [own.replace("ForCausalLM", "Model")]):
        raise CheckpointError(
            f"{path}: architectures is {config['architectures']!s:.60}; it must be {own}"
        )
    check_keys(config, path, known=TRAINING | ELSEWHERE | _KNOWN, passed=_COMPUTED, what=kind)
    values: dict[str, Any] = {"family": "llama"}
    for ours, key in _SIZES.items():
        if key not in config:
            raise CheckpointError(f"{path}: {key} is missing")
        values[ours] = config[key]
    n_head, n_embd = values["n_head"], values["n_embd"]
    if not all(type(n) is int and n > 0 for n in (n_head, n_embd)):
        raise CheckpointError(f"{path}: hidden_size and num_attention_heads must be counts")
    values |= {
        "n_kv_head": config.get("num_key_value_heads") or n_head,
        "d_head": config.get("head_dim") or (128 if kind == "qwen3" else n_embd // n_head),
        "epsilon": config.get("rms_norm_eps", 1e-6),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "qkv_bias": kind == "qwen2",
        "qk_norm": kind == "qwen3",
        "rope": _rope(config, path),
    }
    card = {}
    if (seen := _window(config, window, path)) is not None and seen < values["n_ctx"]:
        card["window"] = (
            f"each token sees the last {seen:,} alone (sliding_window), so the window is {seen:,} "
            f"tokens here, in which it sees all, and not {values['n_ctx']:,}"
        )
        values["n_ctx"] = seen
    return hparams_from(values, path), None, card


def _window(config: Mapping[str, Any], usual: int | None, path: Path) -> int | None:
    """How many tokens a query sees in some layer, where that is limited."""
    layers = config.get("layer_types")
    kinds = set(layers) if isinstance(layers, list) else {None}
    if kinds - {"full_attention", "sliding_attention", None}:
        raise CheckpointError(
            f"{path}: layer_types must be full_attention or sliding_attention, not {layers!r:.60}"
        )
    if config.get("use_sliding_window") is False or kinds == {"full_attention"}:
        return None
    seen = config.get("sliding_window", usual)
    if seen is not None and not (type(seen) is int and seen > 0):
        raise CheckpointError(f"{path}: sliding_window must be a count or null, not {seen!r:.60}")
    return seen if kinds & {"sliding_attention"} or config.get("use_sliding_window", True) else None


def _rope(config: Mapping[str, Any], path: Path) -> Rope:
    """transformers 5 has one table rope_parameters, 4 has rope_theta and perhaps rope_scaling."""
    given: Any = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, Mapping):
        raise CheckpointError(f"{path}: rope_parameters must be a table, not {given!r:.60}")
    given = dict(given)
    theta = given.pop("rope_theta", None) or config.get("rope_theta") or 10000.0
    kinds = {given.pop(key) for key in ("rope_type", "type") if isinstance(given.get(key), str)}
    kind = kinds.pop() if len(kinds) == 1 else "default" if not given else str(given)
    partial = given.pop("partial_rotary_factor", 1.0)
    read: dict[str, str] = {
        # Within the window "dynamic" turns as "default" does: it is for longer texts.
        "default": "", "dynamic": "factor original_max_position_embeddings", "linear": "factor",
        "llama3": "factor low_freq_factor high_freq_factor original_max_position_embeddings",
        "yarn": "factor beta_fast beta_slow original_max_position_embeddings attention_factor "
                "truncate",
    }  # fmt: skip
    if kind not in read or partial not in (1, 1.0):
        raise CheckpointError(
            f"{path}: its rotary positions are scaled by {kind!r:.80}; computed are "
            f"{', '.join(read)}, of whole heads"
        )
    if extra := sorted(set(given) - set(read[kind].split())):
        raise CheckpointError(f"{path}: rope_scaling {kind} with {extra[0]!r:.60} is not computed")
    original = given.get("original_max_position_embeddings") or config["max_position_embeddings"]
    factor = given.get("factor", 1.0)
    try:
        if kind == "linear":
            return Rope(theta=theta, kind="linear", factor=factor)
        if kind == "llama3":
            return Rope(
                theta=theta,
                kind="llama3",
                factor=factor,
                n_original=original,
                low=given["low_freq_factor"],
                high=given["high_freq_factor"],
            )
        if kind == "yarn":
            scale = given.get("attention_factor") or 0.1 * math.log(max(factor, 1.0)) + 1.0
            return Rope(
                theta=theta,
                kind="yarn",
                factor=factor,
                n_original=original,
                low=given.get("beta_slow") or 1.0,
                high=given.get("beta_fast") or 32.0,
                scale=scale,
                whole=given.get("truncate", True),
            )
        return Rope(theta=theta)
    except KeyError as error:
        raise CheckpointError(f"{path}: rope_scaling {kind} lacks {error.args[0]}") from error
    except (InputError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_tensors(
    files: Mapping[str, SafetensorsFile], hparams: Any, source: Path
) -> dict[str, np.ndarray]:
    """Joined as ours are. Left out are a tied head saved a second time, and old files' tables of
    rotary frequencies."""
    wrapped = {plain: name for name, plain in unwrapped(files).items()}
    bare = any(name.startswith("layers.") for name in wrapped)  # saved without its head
    stored = {f"model.{name}" if bare else name: theirs for name, theirs in wrapped.items()}
    stored = {name: theirs for name, theirs in stored.items() if not name.endswith(".inv_freq")}
    if hparams.tied and LM_HEAD in stored:
        finer_head(files, stored.pop(LM_HEAD), stored["model.embed_tokens.weight"], source)
    table = parts(hparams)
    check_parts(table, {name: files[own].places[own].shape for name, own in stored.items()}, source)
    check_dtypes(files, list(stored.values()), source)
    return {
        ours: joined(each, lambda name: files[stored[name]].tensor(stored[name]))
        for ours, each in table.items()
    }


def is_padding(n_rows: int, n_vocab: int) -> bool:
    """Whether the last rows stand for no token: some hundred more, of a number of no rule."""
    return 0 < n_rows - n_vocab <= 1024


def parts(hparams: Any) -> dict[str, list[Part]]:
    return parts_of(hparams, HUGGING_FACE)


def write_config(hparams: Any, dtype: str) -> dict[str, Any]:
    """The keys of a config.json that transformers 4 and 5 read, but for the ids of tokens."""
    h, rope = hparams, hparams.rope
    kind = "qwen3" if h.qk_norm else "qwen2" if h.qkv_bias else "llama"
    if h.qk_norm and h.qkv_bias:
        raise CheckpointError("transformers has no model with both q/k norms and q/k/v biases")
    if kind == "qwen2" and h.d_head * h.n_head != h.n_embd:
        raise CheckpointError("transformers' Qwen2 has heads of n_embd / n_head numbers alone")
    if rope.kind == "factors":
        raise CheckpointError(
            "its rotary positions have a factor for each pair, as GGUF files do, which no config "
            "of transformers can say: save it in Pellucid's own format"
        )
    scaling: dict[str, Any] | None = None
    if rope.kind != "default":
        scaling = {"rope_type": rope.kind, "factor": rope.factor}
    if rope.kind in ("llama3", "yarn"):
        low, high = (
            ("low_freq_factor", "high_freq_factor")
            if rope.kind == "llama3"
            else ("beta_slow", "beta_fast")
        )
        assert scaling is not None
        scaling |= {
            low: rope.low,
            high: rope.high,
            "original_max_position_embeddings": rope.n_original,
        }
        if rope.kind == "yarn":
            scaling |= {"attention_factor": rope.scale, "truncate": rope.whole}
    return {
        "architectures": [KINDS[kind][0]],
        "attention_bias": False,
        "head_dim": h.d_head,
        "hidden_act": "silu",
        "hidden_size": h.n_embd,
        "initializer_range": 0.02,
        "intermediate_size": h.n_inner,
        "max_position_embeddings": h.n_ctx,
        "model_type": kind,
        "num_attention_heads": h.n_head,
        "num_hidden_layers": h.n_layer,
        "num_key_value_heads": h.n_kv_head,
        "rms_norm_eps": h.epsilon,
        "rope_scaling": scaling,
        "rope_theta": rope.theta,
        "tie_word_embeddings": h.tied,
        "torch_dtype": dtype,
        "vocab_size": h.n_vocab,
    }

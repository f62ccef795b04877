"""Hugging Face's `config.json` of a GPT-2.

Each key that a GPT-2 is shipped with is known. Those that would change the maths, of GPT-2 or of
its relatives, must have the value that Pellucid computes; those that name code are refused; one
that nobody knows is a warning.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CheckpointWarning
from ..hparams import HParams
from .contents import hparams_from

__all__ = [
    "ELSEWHERE",
    "KNOWN",
    "SIZE_KEYS",
    "TRAINING",
    "Check",
    "anything",
    "check_keys",
    "count",
    "flag",
    "one_of",
    "read_config",
    "table",
]

_CHAT = "dialogpt"  # the template of models that were trained on conversations

Check = Callable[[Any], bool]


def one_of(*values: Any) -> Check:
    # `1 == True` in Python, so the kinds are compared too.
    return lambda value: any(value == v and type(value) is type(v) for v in values)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _id(value: Any) -> bool:
    return value is None or value == -1 or count(value)  # -1, as null: none


def _ids(value: Any) -> bool:
    return _id(value) or (isinstance(value, list) and all(map(_id, value)))


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def table(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def anything(_: Any) -> bool:
    return True


# Ours → theirs: GPT-2's own name, then the one that transformers takes for it (attribute_map).
_SIZES = {
    "n_vocab": ("vocab_size",),
    "n_ctx": ("n_positions", "max_position_embeddings"),
    "n_embd": ("n_embd", "hidden_size"),
    "n_head": ("n_head", "num_attention_heads"),
    "n_layer": ("n_layer", "num_hidden_layers"),
}
# The five sizes are checked by HParams, the others against them.
_BESIDE = {"n_ctx", "n_inner", "intermediate_size", "num_key_value_heads", "head_dim"}
SIZE_KEYS = frozenset({*(name for names in _SIZES.values() for name in names), *_BESIDE})

# transformers' names for GPT-2's GELU, the tanh form.
_GELU = ("gelu_new", "gelu_accurate", "gelu_fast", "gelu_python_tanh", "gelu_pytorch_tanh")

# key → the check on its value. What GPT-2, its larger sizes, DistilGPT2 and DialoGPT ship, and
# what transformers 4 and 5 write (GPT2Config.to_dict, which holds PretrainedConfig's).
KNOWN: dict[str, tuple[Check, str]] = {
    # These change the maths.
    "activation_function": (one_of(*_GELU), "gelu_new"),
    "add_cross_attention": (one_of(False), "false"),
    "architectures": (
        one_of(None, [], ["GPT2LMHeadModel"], ["GPT2Model"]),
        "GPT2LMHeadModel: other heads have weights that Pellucid does not compute with",
    ),
    "is_decoder": (flag, "true or false"),
    "is_encoder_decoder": (one_of(False), "false"),
    "layer_norm_epsilon": (one_of(1e-5), "1e-05"),
    "cross_attention_hidden_size": (one_of(None), "null"),
    "model_type": (one_of("gpt2"), "gpt2"),
    "prune_heads": (one_of({}), "empty"),
    "pruned_heads": (one_of({}), "empty"),
    "scale_attn_by_inverse_layer_idx": (one_of(False), "false"),
    "scale_attn_weights": (one_of(True), "true"),
    "tie_encoder_decoder": (one_of(False), "false"),
    "tie_word_embeddings": (flag, "true or false"),  # a head that differs is refused as a tensor
    "chunk_size_feed_forward": (one_of(0), "0"),
}

# These matter to training or to other programs only.
TRAINING: dict[str, tuple[Check, str]] = {
    "_from_model_config": (flag, "true or false"),
    "_name_or_path": (_text, "text"),
    "_num_labels": (count, "a count"),
    "attn_pdrop": (_share, "between 0 and 1"),
    "bos_token_id": (_id, "a token id"),
    "dtype": (_text, "text"),
    "embd_pdrop": (_share, "between 0 and 1"),
    "eos_token_id": (_ids, "a token id, or a list of them"),
    "finetuning_task": (_text, "text"),
    "gradient_checkpointing": (flag, "true or false"),
    "id2label": (table, "a table"),
    "initializer_range": (_number, "a number"),
    "label2id": (table, "a table"),
    "n_special": (one_of(0), "0"),
    "num_labels": (count, "a count"),
    "output_attentions": (flag, "true or false"),
    "output_hidden_states": (flag, "true or false"),
    "output_past": (flag, "true or false"),
    "pad_token_id": (_id, "a token id"),
    "predict_special_tokens": (flag, "true or false"),
    "problem_type": (_text, "text"),
    "reorder_and_upcast_attn": (flag, "true or false"),  # the order of two roundings
    "resid_pdrop": (_share, "between 0 and 1"),
    "return_dict": (flag, "true or false"),
    "summary_activation": (_text, "text"),
    "summary_first_dropout": (_share, "between 0 and 1"),
    "summary_proj_to_labels": (flag, "true or false"),
    "summary_type": (_text, "text"),
    "summary_use_proj": (flag, "true or false"),
    "task_specific_params": (table, "a table"),
    "torch_dtype": (_text, "text"),
    "torchscript": (flag, "true or false"),
    "transformers_version": (_text, "text"),
    "use_bfloat16": (flag, "true or false"),
    "use_cache": (flag, "true or false"),
}

# These tell how text is generated, padded or summed up elsewhere: no value of theirs matters here.
_GENERATION = (
    "_attn_implementation_autoset",
    "_commit_hash",
    "bad_words_ids",
    "begin_suppress_tokens",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_ids",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "mask_token_id",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "typical_p",
    "unk_token_id",
    "xla_device",
)
ELSEWHERE: dict[str, tuple[Check, str]] = dict.fromkeys(_GENERATION, (anything, "anything"))
KNOWN |= TRAINING | ELSEWHERE

# Keys of GPT-2's relatives, by which they compute something else. Where one stands, it must say
# that this model does not.
_OFF = one_of(None, False, 0, 0.0, [], {})
_RELATIVES: dict[str, tuple[Check, str]] = {
    "alibi": (_OFF, "false"),
    "attention_layers": (_OFF, "absent"),
    "attention_multiplier": (one_of(None, 1, 1.0), "1"),
    "attention_types": (_OFF, "absent"),
    "attn_logit_softcapping": (_OFF, "null"),
    "embedding_multiplier": (one_of(None, 1, 1.0), "1"),
    "embeddings_scale": (one_of(None, 1, 1.0), "1"),
    "final_logit_softcapping": (_OFF, "null"),
    "hidden_act": (one_of(None, *_GELU), "gelu_new"),
    "layer_norm_eps": (one_of(None, 1e-5), "1e-05"),
    "logit_scale": (one_of(None, 1, 1.0), "1"),
    "multi_query": (_OFF, "false"),
    "mup_embeddings_scale": (one_of(None, 1, 1.0), "1"),
    "mup_output_alpha": (one_of(None, 1, 1.0), "1"),
    "mup_scale_qk_dot_by_d": (_OFF, "false"),
    "mup_width_scale": (one_of(None, 1, 1.0), "1"),
    "num_experts": (_OFF, "absent"),
    "num_local_experts": (_OFF, "absent"),
    "output_logits_scale": (one_of(None, 1, 1.0), "1"),
    "parallel_attn": (_OFF, "false"),
    "partial_rotary_factor": (_OFF, "absent"),
    "position_embedding_type": (one_of(None, "absolute", "learned"), "absolute"),
    "rms_norm_eps": (_OFF, "absent: GPT-2's norm is LayerNorm"),
    "rope_parameters": (_OFF, "absent: GPT-2's positions are learned"),
    "rope_scaling": (_OFF, "absent: GPT-2's positions are learned"),
    "rope_theta": (_OFF, "absent: GPT-2's positions are learned"),
    "rotary": (_OFF, "false"),
    "rotary_dim": (_OFF, "absent: GPT-2's positions are learned"),
    "rotary_pct": (_OFF, "absent: GPT-2's positions are learned"),
    "sliding_window": (_OFF, "null"),
    "use_parallel_residual": (_OFF, "false"),
    "window_size": (_OFF, "absent"),
}

_ATTENTION = "it names code to download and run"
# Ways to compute attention that `transformers` brings along: all of them the same attention.
_OWN_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

_NEVER = {
    "attn_implementation": _ATTENTION,
    "auto_map": "it names Python code to run",
    "_attn_implementation_internal": _ATTENTION,
    "_attn_implementation": _ATTENTION,
    "custom_pipelines": "it names Python code to run",
    "trust_remote_code": "it asks for Python code to be run",
    "quantization_config": "quantised safetensors are not read; take the unquantised model or GGUF",
}


# A key that nobody knows is a warning, but not one that may ask for code.
_CODE = re.compile(
    r"(^|_)(code|custom|exec|import|kernel|module|plugin|python|remote|script)s?(_|$)"
)


def read_config(
    config: Mapping[str, Any], path: Path
) -> tuple[HParams, str | None, dict[str, Any]]:
    """The hyperparameters, the chat template's name where the model was trained on chats, and
    nothing for a card.

    Raises CheckpointError naming the key whose value a GPT-2 of Pellucid's cannot have.
    """
    unknown = _passed_over(config, path, KNOWN | _RELATIVES, SIZE_KEYS)
    sizes: dict[str, Any] = {}
    for ours, names in _SIZES.items():
        values = {name: config[name] for name in names if name in config}
        if len({repr(value) for value in values.values()}) > 1:
            raise CheckpointError(f"{path}: {_short(values)} must be equal")
        if values:
            sizes[ours] = next(iter(values.values()))
    hparams = hparams_from(sizes, path)
    if config.get("n_ctx") not in (None, hparams.n_ctx):
        raise CheckpointError(
            f"{path}: n_ctx is {_short(config['n_ctx'])} and n_positions {hparams.n_ctx}; "
            "they must be equal"
        )
    for key, size, shown in (
        ("n_inner", 4 * hparams.n_embd, "4 * n_embd"),
        ("intermediate_size", 4 * hparams.n_embd, "4 * n_embd"),
        ("num_key_value_heads", hparams.n_head, "n_head"),
        ("head_dim", hparams.d_k, "n_embd / n_head"),
    ):
        if config.get(key) not in (None, size):
            raise CheckpointError(
                f"{path}: {key} is {_short(config[key])}; it must be {shown} or null"
            )
    _warn(unknown, path, "GPT-2")
    chats = "conversational" in (config.get("task_specific_params") or {})
    return hparams, _CHAT if chats else None, {}


def check_keys(
    config: Mapping[str, Any],
    path: Path,
    *,
    known: Mapping[str, tuple[Check, str]],
    passed: Collection[str],
    what: str,
) -> None:
    """The keys of another family's file, as GPT-2's are checked. known: key → the check on its
    value. passed: what the caller checks. what: the model, as a warning of unknown keys calls it.

    Raises CheckpointError naming the key.
    """
    _warn(_passed_over(config, path, known, passed), path, what)


def _passed_over(
    config: Mapping[str, Any],
    path: Path,
    known: Mapping[str, tuple[Check, str]],
    passed: Collection[str],
) -> list[str]:
    """The keys that nobody knows, the others checked."""
    unknown: list[str] = []
    for key, value in config.items():
        if (reason := _NEVER.get(key)) is not None:
            if value is None or (reason is _ATTENTION and value in _OWN_ATTENTION):
                continue
            raise CheckpointError(f"{path}: {key} is refused: {reason}")
        if key in passed:
            continue
        if key not in known:
            if _CODE.search(key.lower()):
                raise CheckpointError(f"{path}: {key[:60]} is refused: it asks for code to be run")
            unknown.append(key[:60])
            continue
        check, wanted = known[key]
        if not check(value):
            raise CheckpointError(f"{path}: {key} is {_short(value)}; it must be {wanted}")
    return unknown


def _warn(unknown: list[str], path: Path, what: str) -> None:
    if unknown:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if unknown[5:] else "")
        warnings.warn(
            f"{path}: passed over what is no key of a {what}: {shown}. If it changes what the "
            "model computes, the answers here are not the model's",
            CheckpointWarning,
            stacklevel=3,
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

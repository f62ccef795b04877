"""What a training run is: few fields, checked when made, written beside what it makes."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from ..errors import InputError

__all__ = ["TrainConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A row is n_ctx tokens. Raises InputError naming the field that is wrong."""

    corpus: str  # a folder that `pellucid data` wrote
    out: str  # the folder of this run
    start: str | None = None  # finetune from this checkpoint, else from fresh weights
    # The model; with `start`, the checkpoint's own
    n_ctx: int = 256
    n_embd: int = 384
    n_head: int = 6
    n_layer: int = 6
    template: str | None = None  # how the finished model is talked to, such as "roles"
    # LoRA (arXiv 2106.09685): an adapter beside the frozen weights of `start`
    lora_rank: int = 0  # 0: the weights themselves are trained
    lora_alpha: float = 16.0  # the adapter counts alpha / rank
    lora_dropout: float = 0.0
    lora_targets: str = "attn.c_attn,attn.c_proj,mlp.c_fc,mlp.c_proj"
    # The steps
    steps: int = 1000
    batch: int = 16  # rows a step, over all processes
    micro_batch: int | None = None  # rows at a time, so that they fit into memory
    aligned: bool = False  # rows begin where documents begin: for conversations
    # The optimiser: AdamW with GPT-3's betas (arXiv 2005.14165, appendix B)
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    warmup: int = 100  # steps over which the rate rises
    final_rate: float = 0.1  # of the learning rate, at the end of the cosine
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0  # the highest norm of the gradient
    dropout: float = 0.0
    seed: int = 0
    # The machine
    device: str = "cpu"
    precision: str = "auto"  # float32, bfloat16 (autocast), or auto: bfloat16 where it is fast
    compile: bool = False
    parallel: str = "ddp"  # or "fsdp", where torchrun starts several processes
    threads: int | None = None
    # What is kept and shown
    eval_every: int = 100
    eval_rows: int = 64
    save_every: int = 100
    keep: int = 2  # checkpoints
    sample_every: int = 0  # steps; 0: none
    sample_prompt: str = "Once upon a time"
    tensorboard: str | None = None  # a folder

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        at_least = {
            "n_ctx": 1, "n_embd": 1, "n_head": 1, "n_layer": 1, "steps": 1, "batch": 1,
            "micro_batch": 1, "warmup": 0, "weight_decay": 0, "dropout": 0, "seed": 0,
            "threads": 1, "eval_every": 0, "eval_rows": 1, "save_every": 0, "keep": 1,
            "sample_every": 0, "final_rate": 0, "lora_rank": 0,
        }  # fmt: skip
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        for name in ("learning_rate", "clip", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("dropout", "lora_dropout", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.final_rate > 1:
            raise InputError(f"final_rate is a fraction of learning_rate, not {self.final_rate}")
        if self.lora_rank and self.start is None:
            raise InputError("lora_rank needs start: the checkpoint that the adapter belongs to")
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise InputError(
                f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})"
            )
        choices = {
            "optimizer": ("adamw", "muon"),
            "parallel": ("ddp", "fsdp"),
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises InputError for an unknown field or a missing one."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"unknown fields: {', '.join(unknown)}; there are {sorted(known)}")
        if missing := sorted({"corpus", "out"} - set(values)):
            raise InputError(f"missing: {', '.join(missing)}")
        return cls(**values)

    @classmethod
    def read(cls, path: Path, changed: Mapping[str, Any] | None = None) -> Self:
        """A TOML file; `changed` (flags) wins over it."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no TOML: {error}") from error
        try:
            return cls.from_dict({**table, **(changed or {})})
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_toml(self) -> str:
        """Every field; those that are not set as comments."""
        lines = [
            # A JSON string, number or truth value is a TOML one too.
            f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}"
            for name, value in self.to_dict().items()
        ]
        return "\n".join(lines) + "\n"

    def rate(self, step: int) -> float:
        """The learning rate of a step: a line up, then half a cosine down (GPT-3, appendix B)."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)


def _check_type(name: str, value: Any, kind: str) -> None:
    if value is None and "None" in kind:
        return
    kind = kind.removesuffix(" | None")
    allowed = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"{name} must be {kind}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, not {value}")

"""What a training run is: few fields, checked when made, written beside what it makes.

Each field says in its metadata what it is for: flags, their help and the file in a run's folder
all come from here.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from ..errors import InputError
from ..families import SIZES
from ..families.gpt3 import GPT3HParams
from ..hparams import HParams

__all__ = [
    "Labels",
    "PreferenceConfig",
    "TalkConfig",
    "TrainConfig",
    "TranslationConfig",
    "help_of",
    "of_size",
    "read_config",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a run's loss is called where it is shown. perplexity: whether exp(loss) is one.
    measures: what else is shown, by its name in a step's measures."""

    loss: str = "nats/token"
    perplexity: bool = True
    measures: tuple[str, ...] = ()


def setting(default: Any, help: str) -> Any:
    """A field with its default and its help."""
    return field(default=default, metadata={"help": help})


def help_of(config: type[TrainConfig], name: str) -> str:
    (one,) = (each for each in fields(config) if each.name == name)
    return str(one.metadata.get("help", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Raises InputError naming the field that is wrong."""

    task: ClassVar[str] = "language"
    labels: ClassVar[Labels] = Labels()
    epsilon: ClassVar[float] = 1e-8  # what Adam adds to its divisor

    corpus: str = field(metadata={"help": "A folder that `pellucid data` wrote."})
    out: str = field(metadata={"help": "The folder of the run."})
    start: str | None = setting(None, "Finetune this checkpoint instead of fresh weights.")
    # The model; with `start`, the checkpoint's own
    n_ctx: int = setting(256, "Tokens in the context window.")
    n_embd: int = setting(384, "Width of the residual stream.")
    n_head: int = setting(6, "Heads in a layer.")
    n_layer: int = setting(6, "Layers.")
    band: int = setting(
        0, "Every second layer sees so many tokens alone, as GPT-3's do; 0: all see all."
    )
    template: str | None = setting(None, "How the model is talked to, such as roles.")
    # LoRA (arXiv 2106.09685): an adapter beside the frozen weights of `start`
    lora_rank: int = setting(
        0, "Train an adapter of this rank beside the weights of --start; 0: the weights."
    )
    lora_alpha: float = setting(16.0, "The adapter counts alpha / rank.")
    lora_dropout: float = setting(0.0, "Dropout before the adapter.")
    lora_targets: str = setting(
        "attn.c_attn,attn.c_proj,mlp.c_fc,mlp.c_proj", "The matrices that get an adapter."
    )
    # The steps
    steps: int = setting(1000, "Steps of the whole run.")
    batch: int = setting(16, "Rows in a step, over all processes.")
    row: int | None = setting(None, "Tokens of a row; default: the model's whole window.")
    micro_batch: int | None = setting(None, "Rows at a time, so that they fit into memory.")
    aligned: bool = setting(False, "Rows begin where documents begin: for conversations.")
    # The optimiser: AdamW with GPT-3's betas (arXiv 2005.14165, appendix B)
    optimizer: str = setting("adamw", "adamw or muon.")
    learning_rate: float = setting(1e-3, "The highest rate.")
    warmup: int = setting(100, "Steps over which the rate rises.")
    final_rate: float = setting(0.1, "The rate at the end, as a share of the highest.")
    weight_decay: float = setting(0.1, "Of the matrices.")
    beta1: float = setting(0.9, "AdamW's first beta.")
    beta2: float = setting(0.95, "AdamW's second beta.")
    clip: float = setting(1.0, "The highest norm of the gradient.")
    average: float = setting(
        0.0,
        "The share of the steps, the last ones, whose weights' mean is the model; 0: the end's.",
    )
    dropout: float = setting(0.0, "The share of values left out while training.")
    seed: int = setting(0, "Of the weights, the order of rows and the dropout.")
    # The machine
    device: str = setting("cpu", "cpu, cuda, mps.")
    precision: str = setting("auto", "float32, bfloat16, or auto: bfloat16 where it is fast.")
    compile: bool = setting(False, "torch.compile: slow to start, faster then.")
    parallel: str = setting("ddp", "Under torchrun: ddp, or fsdp to divide the weights too.")
    threads: int | None = setting(None, "Cores.")
    # What is kept and shown
    eval_every: int = setting(100, "Steps between measurements of the held-out loss; 0: none.")
    eval_rows: int = setting(64, "Rows that are held out for it.")
    save_every: int = setting(100, "Steps between checkpoints; 0: at the end alone.")
    keep: int = setting(2, "Checkpoints that are kept.")
    snapshots: int = setting(0, "Moments of the weights to keep and look at later; 0: none.")
    sample_every: int = setting(0, "Steps between samples of what it writes; 0: none.")
    sample_prompt: str = setting("Once upon a time", "The beginning of a sample.")
    tensorboard: str | None = setting(None, "A folder for TensorBoard (extra tensorboard).")

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_type(each.name, getattr(self, each.name), str(each.type))
        at_least = {
            "n_ctx": 1, "n_embd": 1, "n_head": 1, "n_layer": 1, "steps": 1, "batch": 1,
            "micro_batch": 1, "row": 1, "warmup": 0, "weight_decay": 0, "dropout": 0, "seed": 0,
            "threads": 1, "eval_every": 0, "eval_rows": 1, "save_every": 0, "keep": 1,
            "sample_every": 0, "final_rate": 0, "lora_rank": 0, "snapshots": 0, "band": 0,
        }  # fmt: skip
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        for name in ("learning_rate", "clip", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("average", "dropout", "lora_dropout", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.snapshots == 1:
            raise InputError("snapshots must be 0 or at least 2: the first moment and the last")
        if self.final_rate > 1:
            raise InputError(f"final_rate is a fraction of learning_rate, not {self.final_rate}")
        if self.lora_rank and self.start is None:
            raise InputError("lora_rank needs start: the checkpoint that the adapter belongs to")
        for each in fields(self):
            changed = getattr(self, each.name) != each.default
            if changed and each.name.startswith("lora_") and not self.lora_rank:
                raise InputError(f"{each.name} needs lora_rank: there is no adapter without it")
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

    def row_of(self, n_ctx: int) -> int:
        """Tokens of a row, for a model of this window. Raises InputError for more than it has."""
        if self.row is not None and self.row > n_ctx:
            raise InputError(f"row ({self.row}) is longer than the model's window of {n_ctx}")
        return self.row or n_ctx

    def shape(self, n_vocab: int) -> HParams:
        """Of fresh weights, for so many tokens."""
        five = (n_vocab, self.n_ctx, self.n_embd, self.n_head, self.n_layer)
        return GPT3HParams(*five, self.band) if self.band else HParams(*five)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises InputError for an unknown field or a missing one."""
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"unknown fields: {', '.join(unknown)}; there are {sorted(known)}")
        needed = {each.name for each in fields(cls) if each.default is MISSING}
        if missing := sorted(needed - set(values)):
            raise InputError(f"missing: {', '.join(missing)}")
        return cls(**values)

    @classmethod
    def read(cls, path: Path, changed: Mapping[str, Any] | None = None) -> Self:
        """A TOML file; `changed` (flags) wins over it."""
        table = _read_toml(path)
        task = table.pop("task", cls.task)
        if task != cls.task:
            raise InputError(f"{path} is of a run whose task is {task!r}, not {cls.task!r}")
        try:
            return cls.from_dict({**table, **(changed or {})})
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_toml(self) -> str:
        """The task and every field; those that are not set as comments."""
        lines = [f"task = {json.dumps(self.task)}"] + [
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceConfig(TrainConfig):
    """corpus is a file of pairs, batch a number of pairs."""

    task: ClassVar[str] = "preference"
    labels: ClassVar[Labels] = Labels(
        loss="nats/pair", perplexity=False, measures=("accuracy", "margin")
    )

    batch: int = setting(8, "Pairs in a step.")
    micro_batch: int | None = setting(None, "Pairs at a time, so that they fit into memory.")
    steps: int = setting(200, "Steps of the whole run.")
    learning_rate: float = setting(1e-5, "The highest; with LoRA ten times as much is common.")
    warmup: int = setting(10, "Steps over which the rate rises.")
    weight_decay: float = setting(0.0, "Of the matrices.")
    beta: float = setting(0.1, "How dear it is to leave the model as it was.")
    label_smoothing: float = setting(0.0, "The share of pairs that may be the wrong way round.")
    held_out: float = setting(0.1, "The share of prompts kept for validation.")
    skip_bad: bool = setting(False, "Count rows that are no pairs, and go on.")

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)  # super() does not work with slots before Python 3.14
        if self.start is None:
            raise InputError("start is missing: the model whose replies are to become better")
        if not self.beta > 0:
            raise InputError(f"beta must be above 0, not {self.beta}")
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing must be in [0, 0.5), not {self.label_smoothing}")
        if not 0 <= self.held_out < 1:
            raise InputError(f"held_out must be in [0, 1), not {self.held_out}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkConfig(TrainConfig):
    """The recipe of the talk's model. corpus: its sentences, which the package holds."""

    task: ClassVar[str] = "talk"

    corpus: str = setting("talk", "The sentences of pellucid/train/talk.py.")
    out: str = setting("runs/talk", "The folder of the run.")
    n_ctx: int = setting(SIZES["talk"].n_ctx, "Tokens in the context window.")
    n_embd: int = setting(SIZES["talk"].n_embd, "Width of the residual stream.")
    n_head: int = setting(SIZES["talk"].n_head, "Heads in a layer.")
    n_layer: int = setting(SIZES["talk"].n_layer, "Layers.")
    template: str | None = setting("plain", "How the model is talked to.")
    steps: int = setting(1500, "Steps of the whole run.")
    batch: int = setting(24, "All sentences, in each step.")
    learning_rate: float = setting(0.02, "The highest rate.")
    warmup: int = setting(0, "Steps over which the rate rises.")
    final_rate: float = setting(0.0, "The rate at the end, as a share of the highest.")
    weight_decay: float = setting(0.01, "Of the matrices.")
    precision: str = setting("float32", "What it computes in.")
    threads: int | None = setting(1, "Cores: so small a model only waits for a second one.")
    eval_every: int = setting(0, "Nothing is held out.")
    save_every: int = setting(0, "Steps between checkpoints; 0: at the end alone.")
    sample_every: int = setting(50, "Steps between samples of what it writes; 0: none.")
    sample_prompt: str = setting("The power clapper", "The beginning of a sample.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationConfig(TrainConfig):
    """The original Transformer, trained as its paper says (arXiv 1706.03762, §5): Adam with its
    betas, its warm-up schedule, its dropout and its label smoothing. corpus is a file of pairs,
    batch a number of pairs, n_ctx the most tokens of a source or a target."""

    task: ClassVar[str] = "translation"
    labels: ClassVar[Labels] = Labels(measures=("accuracy",))
    epsilon: ClassVar[float] = 1e-9

    n_vocab: int = setting(1024, "Tokens of the vocabulary that both sides share, at most.")
    n_ctx: int = setting(128, "Tokens of a source, or of a target, at most.")
    n_embd: int = setting(128, "Width of the residual stream; the paper's d_model.")
    n_head: int = setting(4, "Heads in a layer.")
    n_layer: int = setting(3, "Layers of the encoder, and of the decoder.")
    batch: int = setting(64, "Pairs in a step.")
    micro_batch: int | None = setting(None, "Pairs at a time, so that they fit into memory.")
    learning_rate: float = setting(1.0, "What the paper's rate is multiplied by.")
    warmup: int = setting(400, "Steps over which the rate rises; the paper has 4000 of 100,000.")
    weight_decay: float = setting(0.0, "Of the matrices.")
    beta2: float = setting(0.98, "Adam's second beta.")
    dropout: float = setting(0.1, "The share of values left out while training.")
    label_smoothing: float = setting(0.1, "The share of each target given to all tokens alike.")
    held_out: float = setting(0.05, "The share of sources kept for validation.")
    eval_rows: int = setting(256, "Pairs of these on which the held-out loss is measured.")
    skip_bad: bool = setting(False, "Count rows that are no pairs, and go on.")
    sample_prompt: str = setting("", "What a sample is written for (default: one held out).")

    def __post_init__(self) -> None:
        TrainConfig.__post_init__(self)
        for name in ("label_smoothing", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        unfit = {
            "start": "it begins with fresh weights",
            "lora_rank": "it begins with fresh weights",
            "band": "its layers see all",
            "template": "it holds no conversation",
            "aligned": "its rows are pairs",
            "row": "its rows are pairs",
            "snapshots": "`pellucid learned` looks at models of one stack",
        }
        for name, why in unfit.items():
            if getattr(self, name):
                raise InputError(f"{name} is not for the original Transformer: {why}")
        if self.parallel != "ddp":
            raise InputError(f"the original Transformer trains with ddp, not {self.parallel}")

    def rate(self, step: int) -> float:
        """d_model^-0.5 · min(step^-0.5, step · warmup^-1.5): a line up, then down with the root of
        the step (§5.3, equation 3)."""
        n, warmup = float(step + 1), float(max(1, self.warmup))
        shape = min(1 / math.sqrt(n), n / warmup**1.5)
        return float(self.learning_rate / math.sqrt(self.n_embd) * shape)


def of_size(name: str) -> dict[str, int]:
    """The fields that a shape with a name sets. Raises InputError for one that is not trained."""
    known = {name: size for name, size in SIZES.items() if type(size) in (HParams, GPT3HParams)}
    if name not in known:
        raise InputError(f"there is no size {name!r:.40}; there are {', '.join(known)}")
    fields = known[name].to_dict()
    return {field: value for field, value in fields.items() if field not in ("family", "n_vocab")}


def read_config(path: Path, changed: Mapping[str, Any] | None = None) -> TrainConfig:
    """A run's config.toml, of whatever task. Raises InputError as `TrainConfig.read` does."""
    task = _read_toml(path).get("task", TrainConfig.task)
    for kind in (TrainConfig, PreferenceConfig, TalkConfig, TranslationConfig):
        if kind.task == task:
            return kind.read(path, changed)
    raise InputError(f"{path}: there is no task {task!r}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error


def _check_type(name: str, value: Any, kind: str) -> None:
    if value is None and "None" in kind:
        return
    kind = kind.removesuffix(" | None")
    allowed = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"{name} must be {kind}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, not {value}")

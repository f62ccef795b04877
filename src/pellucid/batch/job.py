"""What is computed of each document, and the columns of the rows that hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..sequence import Settings

if TYPE_CHECKING:
    import pyarrow

    from ..gpt import GPT

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """model: what `pellucid.load` takes; machine: its other arguments, by name. settings: of what
    is generated; its seed (0 where none is set), the document's id and its text make each
    document's own, and max_tokens=0 generates nothing. template: how conversations are written
    (default: the model's).

    loss: also how likely the document is to the model. heads: also so many heads that wrote most of
    the first generated token's logit, or of the likeliest where nothing is generated. names,
    layers, positions: also these values of the prompt's pass, as `inspect.trace` takes them.
    rows: documents in a part; what a run that is killed has begun is at most one part a worker.
    Raises InputError for what is out of range.
    """

    model: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=lambda: Settings(max_tokens=64))
    template: str | None = None
    loss: bool = False
    heads: int = 0
    names: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    positions: tuple[int, ...] = (-1,)
    rows: int = 64

    def __post_init__(self) -> None:
        for name, least in (("heads", 0), ("rows", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def load(self) -> GPT:
        """The model. Raises CheckpointError where it cannot be trusted or found."""
        from ..gpt import load

        return load(self.model, **self.machine)

    def to_dict(self) -> dict[str, Any]:
        """Whatever makes a row what it is, as plain values; not what only makes it faster."""
        settings = self.settings.flat()
        settings["seed"] = settings["seed"] or 0
        del settings["alternatives"]
        return {
            "settings": settings,
            "template": self.template,
            "loss": self.loss,
            "heads": self.heads,
            "names": list(self.names),
            "layers": None if self.layers is None else list(self.layers),
            "positions": list(self.positions),
        }

    def schema(self) -> pyarrow.Schema:
        """The columns of a row, which `worker.Worker` fills."""
        import pyarrow as pa

        ids = pa.list_(pa.int32())
        fields = [
            ("id", pa.string()),
            ("sha256", pa.string()),
            ("n_tokens", pa.int32()),
            ("n_left_out", pa.int32()),
            ("prompt", ids),
            ("seed", pa.uint64()),
            ("text", pa.string()),
            ("ids", ids),
            ("logprobs", pa.list_(pa.float64())),
            ("reason", pa.string()),
        ]
        if self.loss:
            fields += [("loss", pa.float64()), ("n_scored", pa.int32())]
        if self.heads:
            head = [("layer", pa.int32()), ("head", pa.int32()), ("logit", pa.float64())]
            fields.append(("heads", pa.list_(pa.struct(head))))
        if self.names:
            value = [("name", pa.string()), ("shape", ids), ("data", pa.list_(pa.float32()))]
            fields.append(("values", pa.list_(pa.struct(value))))
        return pa.schema(fields)

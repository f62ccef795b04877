"""A training as data for a page with a slider, and as one HTML file that needs no server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..draw.document import PAGE_BYTES, document_of
from ..draw.packing import Budget
from ..gpt import GPT
from ..inspect.machines import fits_a_page, machine
from ..visible import as_seen
from .course import Course, open_course
from .finding import Learned, found
from .looks import Look

__all__ = ["data_of", "learned_page", "page_data"]

_MOST_POINTS = 500  # of the curve


def learned_page(
    source: str | os.PathLike[str],
    text: str | Sequence[int] | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
) -> str:
    """One HTML document with a slider over the moments of a training. Takes what `learned` takes.

    Where the model is small it runs in the page, on the weights of the moment that is chosen, and
    another text can be typed; else the page holds what Python computed of this one.
    """
    known = page_data(source, text, layer=layer, head=head)
    return document_of(
        {"glyphs": as_seen(), "learned": known},
        title=f"How {known['name']} learned",
        script="learn/main.js",
        styles=("page/page.css", "learn/learn.css"),
    )


def page_data(
    source: str | os.PathLike[str],
    text: str | Sequence[int] | None = None,
    *,
    layer: int | None = None,
    head: int | None = None,
) -> dict[str, Any]:
    """What that page draws, for JSON (web/learn/moments.js says what it is)."""
    return data_of(open_course(source), text, layer=layer, head=head, seen={})


def data_of(
    training: Course,
    text: str | Sequence[int] | None,
    *,
    layer: int | None,
    head: int | None,
    seen: dict[tuple[int, tuple[int, ...]], Look],
) -> dict[str, Any]:
    """The same of a training that was opened. seen: as `found` takes it."""
    finding, gpt = found(training, text, layer=layer, head=head, seen=seen)
    pack = Budget(PAGE_BYTES)
    n_bytes = 4 * gpt.hparams.n_params * len(finding.steps)
    live = fits_a_page(gpt) and n_bytes <= PAGE_BYTES
    return {
        "name": finding.name,
        "parameters": gpt.hparams.n_params,
        "hparams": gpt.hparams.to_dict(),
        "total": finding.total,
        "done": finding.done,
        "note": finding.note,
        "unit": finding.unit,
        "floor": finding.floor,
        "curve": _curve(finding.losses, pack),
        "held_out": _curve(finding.held_out, pack),
        "text": finding.text,
        "ids": finding.ids,
        "tokens": finding.tokens,
        "layer": finding.layer,
        "head": finding.head,
        "steps": finding.steps,
        "losses": [finding.losses.get(step) for step in finding.steps],
        "plane": {
            "ids": finding.words,
            "words": [finding.names[each] for each in finding.words],
            "points": pack(finding.points.astype(np.float32)),
            "shares": finding.plane_shares.tolist(),
        },
        "machine": machine(gpt) if live else None,
        "weights": [_weights(training.gpt(step), pack) for step in finding.steps] if live else None,
        "told": None if live else _told(finding, pack),
    }


def _curve(losses: Mapping[int, float], pack: Budget) -> dict[str, Any]:
    """At most _MOST_POINTS of the steps, evenly by their logarithm, each as it was written."""
    steps = np.array(sorted(losses), np.int32)
    if len(steps) > _MOST_POINTS:
        ranks = np.rint(np.geomspace(1, len(steps), _MOST_POINTS)).astype(int) - 1
        steps = steps[np.unique(ranks)]
    return {"steps": pack(steps), "losses": pack(np.array([losses[int(i)] for i in steps], float))}


def _weights(gpt: GPT, pack: Budget) -> dict[str, Any]:
    return {name: pack(array.astype(np.float32)) for name, array in gpt.model.tensors().items()}


def _told(finding: Learned, pack: Budget) -> dict[str, Any]:
    """What Python computed of the text at each moment; of the patterns every head's where there
    is room, else the opened one's."""
    pattern = finding.pattern.astype(np.float32)
    heads = [[layer, head] for layer in range(pattern.shape[1]) for head in range(pattern.shape[2])]
    if pattern.nbytes > pack.room:
        heads = [[finding.layer, finding.head]]
        pattern = pattern[:, finding.layer, None, finding.head, None]
    return {
        "heads": heads,
        "pattern": pack(pattern.reshape(len(pattern), len(heads), *pattern.shape[3:])),
        "next": {
            "ids": finding.next_ids,
            "texts": [finding.names[each] for each in finding.next_ids],
            "shares": pack(finding.next_shares),
            "first": finding.first,
        },
        "text_losses": [None if np.isnan(x) else float(x) for x in finding.text_losses],
    }

"""The walk as one HTML page: a small model runs in it, of any other it holds what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.document import PAGE_BYTES, document_of
from ..draw.notation import ended
from ..draw.packing import Budget
from ..errors import InputError, TokenizerError
from ..sampling import softmax
from ..visible import as_seen, token_text
from .anatomy import anatomy
from .finding import Finding, highest, token_name
from .lens import logit_lens
from .machines import fits_a_page, machine
from .recorder import trace
from .step import added
from .walks import Walk, sizes, walk
from .words import NETWORKS, looks_of, said_of

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["FIRST", "WalkPass", "first_walk", "recorded", "walk_page", "walk_pass"]

FIRST = "The power clapper"  # the talk's own sentence
_MOST_POSITIONS = 64
_AROUND = 3  # rows of the dictionary above and below a token's own
_LIKELIEST = 12
_RUNGS = 3  # tokens named after each layer


def walk_page(gpt: GPT, way: Walk, *, title: str, n_bytes: int = PAGE_BYTES) -> str:
    """One HTML document of the walk, which needs no server.

    Where the model is small enough (`machine`) it runs in the page: another text can be typed.
    Else the page holds the numbers of this text, at most n_bytes of them before base64, of the
    layer, head and positions that were opened first; what is left out it says.
    """
    live = fits_a_page(gpt)
    ids = [piece.id for piece in way.pieces]
    file = None if live else recorded(gpt, way, n_bytes=n_bytes)
    known: dict[str, Any] = {
        "title": title or "∅",
        **_about(gpt),
        "more": "Write the page anew with --layer, --head or --position.",
        "place": {
            "layer": way.layer,
            "head": way.head,
            "position": way.position - (file["first"] if file else 0),
        },
        "text": way.text,
        # A text that says so itself is read again in the page; else its very ids.
        "ids": None if _encoded(gpt, way.text) == ids else ids,
        "machine": machine(gpt) if live else None,
        "recorded": file,
    }
    return document_of(
        known, title=title, script="walk/main.js", styles=("page/page.css", "walk/walk.css")
    )


def _about(gpt: GPT) -> dict[str, Any]:
    return {
        "subtitle": f"model {gpt.name}, {gpt.hparams.n_params:,} parameters",
        "glyphs": as_seen(),
        "networks": NETWORKS,
        **_told(gpt),
    }


def _told(gpt: GPT) -> dict[str, Any]:
    """What the steps say of a model of this family and size."""
    family = gpt.hparams.family
    return {
        "said": [{"talk": step.talk, "words": step.words} for step in said_of(family)],
        "looks": looks_of(family),
        "sizes": sizes(gpt.hparams),
    }


def first_walk(gpt: GPT) -> dict[str, Any]:
    """What a page needs for a walk of the talk's sentence: the words of the steps, and the model,
    which the page runs itself."""
    return {**_about(gpt), "text": FIRST, "more": "", "machine": machine(gpt)}


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkPass(Finding):
    """What a page's walk draws of one text, one layer open: `data` has sizes, and the numbers as
    `recorded` packs them, in base64."""

    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "WalkPass", **self.data}

    def each_array(self) -> Iterator[np.ndarray]:
        """What is packed, as bytes."""
        return _packed(self.data)


def _packed(data: Any) -> Iterator[np.ndarray]:
    if isinstance(data, dict):
        if "base64" in data:
            yield np.frombuffer(data["base64"].encode("ascii"), np.uint8)
        else:
            for each in data.values():
                yield from _packed(each)


def walk_pass(
    gpt: GPT,
    text: str | Sequence[int],
    *,
    layer: int = 0,
    head: int = 0,
    position: int = -1,
    n_bytes: int = PAGE_BYTES,
) -> WalkPass:
    """The numbers of a walk with one layer open, as a page asks for them step by step.

    layer, head, position: as of `walk`; n_bytes: of numbers at most, before base64. Raises
    InputError for a layer, head or position that is not there.
    """
    way = walk(gpt, text, layer=layer, head=head, position=position)
    more = {
        **_told(gpt),
        "layer": way.layer,
        "position": way.position,
        "positions": len(way.pieces),
    }
    return WalkPass(data=recorded(gpt, way, n_bytes=n_bytes) | more)


def recorded(gpt: GPT, way: Walk, *, n_bytes: int = PAGE_BYTES) -> dict[str, Any]:
    """The numbers of one text as a page's pass (web/walk/pass.js), at most n_bytes of them."""
    ids = [piece.id for piece in way.pieces]
    pack = Budget(n_bytes)
    window = _window(gpt, way, n_bytes)
    values = _values(gpt, ids, way.layer, window)
    lens = logit_lens(gpt, ids, positions=window, k=_RUNGS)
    logits = values["logits"]
    top = {int(i) for row in logits for i in highest(softmax(row.astype(np.float64)), _LIKELIEST)}
    near = {i for place in window for i in _near(ids[place], gpt.hparams.n_vocab)}
    listed = sorted(near | top)
    rows = gpt.model.backend.to_numpy(gpt.model.embedding(listed))
    named = {*ids, *listed, *map(int, lens.top_ids.ravel())}
    named |= {other.token for step in way.predictions for other in step.alternatives}
    named |= {step.token for step in way.predictions}
    first = window[0]
    return {
        "model": gpt.name,
        "hparams": gpt.hparams.to_dict(),
        "anatomy": anatomy(gpt.hparams),
        "text": way.text,
        "note": ""
        if len(window) == len(ids)
        else f"Of {len(ids):,} positions, {first} to {window[-1]} are here; the shares and "
        "sums of a row go on beyond them.",
        "first": first,
        "pieces": [{"id": ids[i], "text": token_name(gpt, ids[i])} for i in window],
        "words": _words(gpt, way.text, ids),
        "dictionary": {"ids": listed, "rows": pack(rows.astype(np.float32))},
        "outputs": None if gpt.hparams.tied else _outputs(gpt, sorted(top), pack),
        "texts": {i: token_name(gpt, i) for i in sorted(named)},
        "lens": {
            "layers": lens.layers,
            "ids": pack(lens.top_ids),
            "shares": pack(np.exp(lens.top_logprobs)),
        },
        "loop": _loop(gpt, way),
        **_as_fits(gpt, way, values, pack),
    }


def _outputs(gpt: GPT, ids: list[int], pack: Budget) -> dict[str, Any]:
    """Rows of an output layer that is not the dictionary."""
    rows = gpt.model.backend.to_numpy(gpt.model.unembedding(ids))
    return {"ids": ids, "rows": pack(rows.astype(np.float32))}


def _encoded(gpt: GPT, text: str) -> list[int] | None:
    try:
        return gpt.encode(text)
    except TokenizerError:  # a model that has ids only
        return None


def _window(gpt: GPT, way: Walk, n_bytes: int) -> list[int]:
    """The positions whose rows there is room for: the followed one, and those before it."""
    h = gpt.hparams
    a_row = 4 * (24 * h.n_embd + h.n_vocab + 4 * h.n_embd * h.n_layer + 16 * h.n_embd)
    n = max(1, min(len(way.pieces), _MOST_POSITIONS, n_bytes // 2 // a_row))
    first = max(0, min(way.position - n + 1, len(way.pieces) - n))
    return list(range(first, first + n))


def _near(token: int, n_vocab: int) -> range:
    first = max(0, min(token - _AROUND, n_vocab - 2 * _AROUND - 1))
    return range(first, min(n_vocab, first + 2 * _AROUND + 1))


def _values(
    gpt: GPT, ids: Sequence[int], layer: int, window: Sequence[int]
) -> dict[str, np.ndarray]:
    """What a page shows of these positions: all of one layer, the stream and the patterns of the
    others, as float32; keys as far as they are shown."""
    outside = ["embed", *added(gpt.hparams), "blocks.0.resid_pre", "ln_final.*", "logits"]
    streams = ["resid_post", "attn_out", "mlp_out", "attn.pattern"]
    own = trace(gpt, ids, [*outside, *streams, f"blocks.{layer}.*"], positions=window)
    pairs = ("qk", "scores", "pattern")
    return {
        name: (array[..., list(window)] if name.endswith(pairs) else array).astype(np.float32)
        for name, array in own.arrays.items()
    }


def _as_fits(
    gpt: GPT, way: Walk, values: dict[str, np.ndarray], pack: Budget
) -> dict[str, dict[str, Any]]:
    """The values, and then of the weights behind them as many as there is room for."""
    layer, h = way.layer, gpt.hparams
    tensors = gpt.model.tensors(f"h.{layer}.")
    packed = {name: pack(array) for name, array in values.items()}
    projections = {}
    # Queries of all heads, then keys, then values, which several heads may share.
    weight = tensors[f"h.{layer}.attn.c_attn.weight"].reshape(h.n_embd, -1, h.d_k)
    bias = tensors.get(f"h.{layer}.attn.c_attn.bias")
    order = sorted(range(h.n_head), key=lambda head: head != way.head)
    for head in order:
        shared = h.n_head + head // (h.n_head // h.n_kv_head)
        parts = [head, shared, shared + h.n_kv_head]
        own = np.ascontiguousarray(weight[:, parts].swapaxes(0, 1), np.float32)
        if own.nbytes < pack.room:
            shift = None if bias is None else bias.reshape(-1, h.d_k)[parts].astype(np.float32)
            projections[f"{layer},{head}"] = {
                "weight": pack(own),
                "bias": None if shift is None else pack(shift),
            }
    rest = [name for name in tensors if "c_attn" not in name]
    for name in sorted(rest, key=lambda name: tensors[name].size):
        if 4 * tensors[name].size < pack.room:
            packed[name] = pack(tensors[name].astype(np.float32))
    return {"values": packed, "projections": projections}


def _words(gpt: GPT, text: str, ids: Sequence[int]) -> list[dict[str, Any]] | None:
    """Each word with its merges; None where the ids are not those of the text."""
    if _encoded(gpt, text) != list(ids):
        return None
    try:
        words = gpt.tokenizer.merges(text)
    except InputError:  # one word of thousands of letters
        return None

    def shown(parts: Iterable[bytes]) -> list[str]:
        return [token_text(part) for part in parts]

    return [
        {
            "start": shown(word.start),
            "merges": [
                {"rank": merge.rank, "pair": shown(merge.pair), "parts": shown(merge.parts)}
                for merge in word.merges
            ],
        }
        for word in words
    ]


def _loop(gpt: GPT, way: Walk) -> dict[str, Any]:
    def share(logprob: float) -> float:
        return float(np.exp(logprob))

    return {
        "steps": [
            {
                "position": step.position,
                "token": step.token,
                "share": share(step.logprob),
                "others": [
                    {"token": other.token, "share": share(other.logprob)}
                    for other in step.alternatives
                ],
                "reason": step.reason,
            }
            for step in way.predictions
        ],
        "reason": ended(way.reason),
        "window": gpt.hparams.n_ctx,
        "stops": [token_name(gpt, i) for i in sorted(gpt.stop_tokens)[:12]],
    }

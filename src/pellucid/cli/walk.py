"""`pellucid walk`: the talk's way from text to predicted token, with the model's own numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..visible import harmless, visible_bytes
from .options import with_model
from .output import console as make_console
from .output import note, to_json, write_page
from .text import read_text

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..draw.pictures import Picture, Section
    from ..generate import Generation
    from ..gpt import GPT

__all__ = ["command", "walk"]

TALK = "The power clapper"


@click.command("walk")
@click.argument("text", default=TALK)
@with_model
@click.option("--layer", type=int, default=0, show_default=True, help="Which layer to open.")
@click.option("--head", type=int, default=0, show_default=True, help="Which of its heads.")
@click.option("--position", type=int, default=-1, show_default=True, help="Whose row to follow.")
@click.option("--max-tokens", type=click.IntRange(0), help="Predict at most so many tokens.")
@click.option("--html", type=click.Path(dir_okay=False), help="Also one page for a browser.")
@click.option("--json", "as_json", is_flag=True, help="Every number of the walk, as JSON.")
def command(
    text: str,
    gpt: GPT,
    layer: int,
    head: int,
    position: int,
    max_tokens: int | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Walk TEXT through the model, step by step, with live numbers and pictures. TEXT - reads
    standard input.

    Negative --layer, --head and --position count from the end.
    """
    text = read_text(text)
    out = generation(gpt, text, max_tokens)
    layer, head, position = places(gpt, len(out.prompt), layer, head, position)
    if html is not None:
        from ..inspect import view

        title = text if len(text) <= 60 else f"{text[:59]}…"
        write_page(html, lambda: view(gpt, text).sections(), title)
    if as_json:
        seen = gather(gpt, out.prompt)
        click.echo(to_json(as_object(gpt, text, seen, out, layer, head, position)))
        return
    screen = make_console()
    walk(gpt, text, screen, layer=layer, head=head, position=position, max_tokens=max_tokens)
    if html is not None:
        note(f"Wrote {html}")


def generation(gpt: GPT, text: str | Sequence[int], max_tokens: int | None) -> Generation:
    """The greedy generation, not yet run. Where the window is large, 8 tokens are enough."""
    if max_tokens is None and gpt.hparams.n_ctx > 64:
        max_tokens = 8
    return gpt.generate(text, greedy=True, max_tokens=max_tokens)


def gather(gpt: GPT, ids: Sequence[int]) -> dict[str, np.ndarray]:
    """Every value of the pass over the ids, without the batch axis, by its tap's name."""
    seen: dict[str, np.ndarray] = {}

    def tap(name: str, value: Any) -> Any:
        seen[name] = gpt.model.backend.to_numpy(value)[0]
        return value

    gpt.forward(ids, tap=tap)
    return seen


def places(gpt: GPT, n: int, layer: int, head: int, position: int) -> tuple[int, int, int]:
    """Negative ones counted from the end; InputError outside the range."""
    from ..errors import InputError

    found = []
    for name, value, size in (
        ("layer", layer, gpt.hparams.n_layer),
        ("head", head, gpt.hparams.n_head),
        ("position", position, n),
    ):
        if not -size <= value < size:
            raise InputError(f"--{name} must be between {-size} and {size - 1}, not {value}")
        found.append(value % size)
    return found[0], found[1], found[2]


def as_object(
    gpt: GPT,
    text: str,
    seen: dict[str, np.ndarray],
    out: Generation,
    layer: int,
    head: int,
    position: int,
) -> dict[str, Any]:
    from .stream import step_object

    inside = f"blocks.{layer}."
    wanted = [name for name in seen if not name.startswith("blocks.") or name.startswith(inside)]
    return {
        "text": text,
        "hparams": gpt.hparams.to_dict(),
        "tokens": [
            {"id": piece.id, "text": piece.text, "bytes": list(piece.bytes)}
            for piece in gpt.tokenizer.pieces(out.prompt)
        ],
        "layer": layer,
        "head": head,
        "position": position,
        "values": {name: _finite(seen[name].tolist()) for name in wanted},
        "steps": [step_object(step) for step in out],
        "generated": out.text,
        "reason": out.reason,
    }


def walk(
    gpt: GPT,
    text: str | Sequence[int],
    console: Console,
    *,
    layer: int = 0,
    head: int = 0,
    position: int = -1,
    max_tokens: int | None = None,
) -> None:
    """Print the walk through a text or ids. Raises InputError for a layer, head or position that
    is not there."""
    out = generation(gpt, text, max_tokens)
    text = harmless(text if isinstance(text, str) else gpt.tokenizer.decode(text))
    layer, head, position = places(gpt, len(out.prompt), layer, head, position)
    seen = gather(gpt, out.prompt)
    view = _View(gpt, console, seen, list(out.prompt), layer, head, position)
    view.title(text)
    view.tokens(text)
    view.embeddings()
    view.one_head()
    view.all_heads()
    view.layers()
    view.prediction()
    view.loop(text, out)


class _View:
    """The pages of the walk: the numbers that the tap saw, the pictures of the inspection."""

    def __init__(
        self,
        gpt: GPT,
        console: Console,
        seen: dict[str, np.ndarray],
        ids: list[int],
        layer: int,
        head: int,
        position: int,
    ) -> None:
        self.gpt, self.console, self.seen = gpt, console, seen
        self.h = gpt.hparams
        self.layer, self.head, self.position = layer, head, position

        self.labels = [visible_bytes(piece.bytes) for piece in gpt.tokenizer.pieces(ids)]
        # Long texts: only the positions around the one that is followed.
        most = max(2, min(8, (console.width - 14) // 8))
        low = max(0, min(position - most + 1, len(ids) - most))
        self.window = list(range(low, min(low + most, len(ids))))
        self.ids = ids

    # Pieces of a page

    def heading(self, number: int, title: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{number}. {title}", align="left")

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False)

    def picture(self, content: list[Section] | Picture) -> None:
        from ..draw.terminal import Drawing

        self.console.print(Drawing(content))

    def formula(self, line: str) -> None:
        self.console.print(f"   {line}", style="bold cyan", markup=False, highlight=False)

    def title(self, text: str) -> None:
        h = self.h
        self.console.rule("[bold]One token, all the way")
        self.say(
            f"Model [bold]{self.gpt.name}[/]: {h.n_params:,} parameters. "
            f"n_vocab={h.n_vocab}  n_ctx={h.n_ctx}  n_embd={h.n_embd}  n_head={h.n_head}  "
            f"n_layer={h.n_layer}"
        )
        self.say("GPT-2 (2019): n_vocab=50257  n_ctx=1024  n_embd=768  n_head=12  n_layer=12")
        self.heading(1, "Input text")
        self.console.print(f'   "{text}"', style="bold", markup=False)

    def tokens(self, text: str) -> None:
        from .tokens import coloured

        self.heading(2, "Tokenization")
        self.say("The text is broken into tokens; a long word becomes several shorter ones.")
        from rich.text import Text

        pieces = self.gpt.tokenizer.pieces(self.ids)
        self.console.print(Text("   ") + coloured(pieces))
        ids = "  ".join(
            f"{label}={token}" for label, token in zip(self.labels, self.ids, strict=True)
        )
        self.console.print(f"   {ids}", style="dim", markup=False)

    def embeddings(self) -> None:
        self.heading(3, "Tokens ⇒ embeddings")
        self.say(
            "Look the token up in a dictionary and get back its value: an array of "
            f"{self.h.n_embd} numbers. Add the array that belongs to its position."
        )
        self.formula("x = wte[token] + wpe[position]")
        if len(self.window) < len(self.ids):
            self.say(
                f"(Shown from here on: positions {self.window[0]} to {self.window[-1]} of "
                f"{len(self.ids)}, as many as fit; rows and shares go on beyond them.)"
            )
        self.vectors("embed", "wte")
        self.vectors("pos_embed", "wpe")
        self.vectors("blocks.0.resid_pre", "x")

    def one_head(self) -> None:
        at, head = f"blocks.{self.layer}.attn", self.head
        self.heading(4, f"Self-attention: layer {self.layer + 1}, head {head + 1}")
        self.say(
            "Each token asks (query), offers (key) and gives (value): "
            f"{self.h.d_k} numbers each. Every query is held against every key. "
            f"(L{self.layer}H{head} in pictures and --layer {self.layer} --head {head} on the "
            "command line, which count from 0.)"
        )
        for name in ("q", "k", "v"):
            self.vectors(f"{at}.{name}", {"q": "query", "k": "key", "v": "value"}[name], head)
        self.formula(
            f"q · kᵀ / √d_k          d_k = {self.h.d_k}, √d_k = {math.sqrt(self.h.d_k):.3f}"
        )
        self.matrix(self.seen[f"{at}.qk"][head], heat=False)
        self.formula("mask: no token sees a later one")
        self.matrix(self.seen[f"{at}.scores"][head], heat=False)
        self.formula("softmax: each row becomes shares that sum to 1")
        self.matrix(self.seen[f"{at}.pattern"][head], heat=True)
        label = self.labels[self.position]
        row = self.seen[f"{at}.pattern"][head, self.position]
        most = int(row[: self.position + 1].argmax())
        self.console.print(
            f'   "{label}" looks most at "{self.labels[most]}" ({row[most]:.0%}).', markup=False
        )
        self.formula("· v: each token takes that mixture of the values")
        self.vectors(f"{at}.z", "z", head)

    def all_heads(self) -> None:
        from ..inspect import attention

        at = f"blocks.{self.layer}"
        self.heading(5, f"All {self.h.n_head} heads, in parallel")
        self.say("Each with weights of its own, so that each looks elsewhere.")
        found = attention(self.gpt, self.ids, layers=self.layer)
        (section,) = found.sections(position=self.position)
        self.picture(section.pictures[0])
        self.heading(6, "concat · W_Output")
        self.say(
            "What the heads found lies side by side and is synthesized into a single set of "
            "embeddings again, which is added to x."
        )
        self.formula("attn_out = concat(z_1 … z_h) · W_Output;  x = x + attn_out")
        self.vectors(f"{at}.attn_out", "attn_out")
        self.vectors(f"{at}.resid_mid", "x")
        self.say(f"Then each token works for itself, through {4 * self.h.n_embd} neurons:")
        self.formula("x = x + mlp(x)")
        self.vectors(f"{at}.resid_post", "x")

    def layers(self) -> None:
        from ..inspect import logit_lens, residual_norms

        self.heading(7, f"Repeat for each of the {self.h.n_layer} layers")
        self.say("Each layer's output is the next one's input.")
        norms, window = residual_norms(self.gpt, self.ids), self.window
        self.picture(
            replace(
                norms,
                ids=tuple(norms.ids[i] for i in window),
                tokens=tuple(norms.tokens[i] for i in window),
                stream=norms.stream[:, window],
                attention=norms.attention[:, window],
                mlps=norms.mlps[:, window],
            ).sections()
        )
        self.console.print()
        self.picture(logit_lens(self.gpt, self.ids, positions=self.window).sections())

    def prediction(self) -> None:
        import numpy as np

        from ..sampling import softmax

        self.heading(8, "Output layer: predictToken")
        self.say(
            f'How well does the last x of "{self._label()}" match each of the {self.h.n_vocab} '
            "tokens' embeddings?"
        )
        self.formula("logits = norm(x) · wteᵀ;  softmax turns them into probabilities")
        logits = self.seen["logits"][self.position]
        probabilities = softmax(np.asarray(logits, np.float64))
        room = max(1, min(40, self.console.width - 36))
        from rich.text import Text

        for token in np.argsort(-probabilities, kind="stable")[:8]:
            share = float(probabilities[token])
            name = visible_bytes(self.gpt.tokenizer.piece(int(token)).bytes)[:14]
            line = Text(f"   {name:<14} {share:8.3%} ")
            line.append("█" * round(share * room) or "▏", style="cyan")
            line.append(f" {float(logits[token]):.2f}", style="dim")
            self.console.print(line, soft_wrap=True)

    def loop(self, text: str, out: Generation) -> None:
        from rich.text import Text

        self.heading(9, "The loop")
        self.say(
            "Each predicted token is fed back in, until the context window is full or a stop "
            "token comes."
        )

        line = Text(f"   {text}", style="dim")
        for step in out:
            piece = visible_bytes(self.gpt.tokenizer.piece(step.token).bytes)
            self.console.print(line + Text(f" + {piece}", style="bold"))
            line.append(harmless(step.text))
        full = f"{len(out.tokens)} of {out.window} tokens"
        self.say(f"   ends: [bold]{out.reason}[/] ({full})")
        self.console.print()
        self.console.print(Text(text, style="dim") + Text(harmless(out.text), style="bold"))

    # Numbers

    def _label(self) -> str:
        return self.labels[self.position].replace("[", "\\[")

    def vectors(self, name: str, title: str, head: int | None = None) -> None:
        """One row of numbers a token, as many as fit."""
        values = self.seen[name]
        width = values.shape[-1]
        rows = {at: values[at] if head is None else values[at, head] for at in self.window}
        for digits in (3, 2):  # two decimals where that lets the whole row be seen
            cell = 2 + max(len(f"{float(n):.{digits}f}") for row in rows.values() for n in row[:12])
            fit = max(1, min(width, 12, (self.console.width - 11) // cell))
            if fit == width:
                break
        if fit < width:
            digits = 3
            cell = 2 + max(len(f"{float(n):.3f}") for row in rows.values() for n in row[:12])
            room = self.console.width - 11 - len(f"  … {width}")
            fit = max(1, min(12, width, room // cell))
        table = self._table(title, numbers=fit)
        for at, row in rows.items():
            numbers = [f"{float(number):.{digits}f}" for number in row[:fit]]
            rest = [] if fit == width else [f"… {width}"]
            table.add_row(self._name(at), *numbers, *rest)
        self.console.print(table)

    def matrix(self, values: np.ndarray, *, heat: bool) -> None:
        """Queries down, keys across."""
        from rich.text import Text

        from ..draw.terminal import palette

        table = self._table("query \\ key", [self.labels[key] for key in self.window])
        for query in self.window:
            cells: list[Text] = []
            for key in self.window:
                number = float(values[query, key])
                cell = Text("-∞" if number == -math.inf else f"{number:.3f}")
                if heat and key <= query:
                    cell.stylize(palette.on(palette.magnitude(number)))
                elif key > query:
                    cell.stylize("dim")
                cells.append(cell)
            table.add_row(self._name(query), *cells)
        self.console.print(table)

    def _table(self, title: str, columns: list[str] | None = None, numbers: int = 0) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column(Text(title, style="italic"), min_width=9, no_wrap=True)
        for _ in range(numbers):
            table.add_column("", justify="right", no_wrap=True)
        for label in columns or []:
            table.add_column(Text(label), justify="right", no_wrap=True, max_width=9)
        return table

    def _name(self, at: int) -> Text:
        from rich.text import Text

        style = "bold" if at == self.position else ""
        return Text(self.labels[at][:9], style=style)


def _finite(values: Any) -> Any:
    """JSON has no -∞: it becomes null."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None

"""`pellucid generate`: go on from a text."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .findings import BYTES, new_file, places
from .options import (
    chosen_sampling,
    console,
    given_text,
    load_model,
    model_options,
    own_sampling,
    sampling_options,
)

if TYPE_CHECKING:
    from ..generate import Generation
    from ..sequence import Step

__all__ = ["command"]


@click.command("generate")
@click.argument("text", required=False)
@model_options
@sampling_options
@click.option("--max-tokens", type=click.IntRange(0), help="At most so many tokens.")
@click.option("--n-ctx", type=click.IntRange(1), help="A smaller context window.")
@click.option("--stop", multiple=True, help="A text that ends it; may be given several times.")
@click.option(
    "--alternatives",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="With --json: how many likeliest tokens to list at each step.",
)
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Keep the values of every step, as safetensors; `pellucid trace FILE` shows them.",
)
@click.option("--names", multiple=True, help='With --record: which values, such as "attn.pattern".')
@places("layer", "head", "position")
@click.option(
    "--budget", type=BYTES, default="1GiB", show_default=True, help="Refuse to record more."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One object a step, then one with the text and reason."
)
def command(
    text: str | None,
    model: str | None,
    backend: str,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    max_tokens: int | None,
    n_ctx: int | None,
    stop: tuple[str, ...],
    alternatives: int,
    record: str | None,
    names: tuple[str, ...],
    layers: list[int] | None,
    heads: list[int] | None,
    positions: list[int] | None,
    budget: int,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Go on from TEXT, token by token, and say why it ended. TEXT - reads standard input."""
    text = given_text(text, 'pellucid generate "The power"')
    gpt = load_model(model, backend, device, dtype, threads)
    sampling = chosen_sampling(sampling, own_sampling(gpt))
    chosen: dict[str, Any] = {"layers": layers, "heads": heads, "positions": positions}
    recorder = None
    if record is not None:
        from ..inspect import Recorder

        recorder = Recorder(gpt, names or "*", **chosen, budget_bytes=budget)
    elif names or any(chosen.values()):
        raise click.UsageError("--names, --layer, --head and --position go with --record FILE")
    out = gpt.generate(
        text,
        max_tokens=max_tokens,
        n_ctx=n_ctx,
        stop=stop,
        alternatives=alternatives,
        record=recorder,
        **sampling,
    )
    if record is None or recorder is None:
        _run(text, out, as_json)
        return
    stopped = False
    with new_file(record) as partial:
        try:
            _run(text, out, as_json)
        except KeyboardInterrupt:
            stopped = True  # what was recorded until then is kept
        if out.steps_so_far:
            recorder.trace(out).save(partial)
    if stopped:
        raise KeyboardInterrupt
    if not out.steps_so_far:
        raise InputError(f"no token was generated ({out.reason}): there is nothing to record")
    console(stderr=True).print(f"Wrote {record}", style="dim", markup=False)


def _run(prompt: str, out: Generation, as_json: bool) -> None:
    start = time.perf_counter()
    if as_json:
        for step in out:
            click.echo(json.dumps(step_object(step), ensure_ascii=False))
        end = {
            "prompt": prompt,
            "text": out.text,
            "reason": out.reason,
            "seed": out.seed,
            "n_prompt": len(out.prompt),
            "n_tokens": len(out.steps),
        }
        click.echo(json.dumps(end, ensure_ascii=False))
        return
    stream(prompt, out)
    seconds = time.perf_counter() - start
    rate = f", {len(out.steps) / seconds:.0f} tokens/s" if seconds > 0 and out.steps else ""
    note = f"[{out.reason}; {len(out.steps)} tokens{rate}]"
    console(stderr=True).print(note, style="dim", markup=False)


def stream(prompt: str, out: Generation) -> None:
    """The text as it comes; the prompt is set back in a terminal."""
    screen = console()
    screen.print(prompt, end="", style="dim", markup=False, soft_wrap=True)
    try:
        for step in out:
            screen.print(step.text, end="", style="bold", markup=False, soft_wrap=True)
    finally:
        screen.print()


def step_object(step: Step) -> dict[str, Any]:
    return {
        "position": step.position,
        "token": step.token,
        "text": step.text,
        "logprob": step.logprob,
        "alternatives": [alternative._asdict() for alternative in step.alternatives],
        "reason": step.reason,
    }

"""A generation, printed as it comes."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..draw.notation import ended
from ..session.writer import Writer
from .output import console, note, to_json

if TYPE_CHECKING:
    from ..generate import Generation
    from ..sequence import Step

__all__ = ["print_generation", "step_object"]


def print_generation(prompt: str, generation: Generation, *, as_json: bool) -> None:
    """Print it as it comes, and then why it ended."""
    start = time.perf_counter()
    if as_json:
        for step in generation:
            click.echo(to_json(step_object(step)))
        end = {
            "prompt": prompt,
            "text": generation.text,
            "reason": generation.reason,
            "seed": generation.seed,
            "n_prompt": len(generation.prompt),
            "n_tokens": len(generation.steps),
        }
        if generation.speculated.passes:
            end |= {"speculated": asdict(generation.speculated)}
        click.echo(to_json(end))
        return
    stream(prompt, generation)
    n, seconds = len(generation.steps), time.perf_counter() - start
    rate = f", {n / seconds:.0f} tokens/s" if seconds > 0 and n else ""
    told = f"{ended(generation.reason)}; {n} token{'s' * (n != 1)}{rate}"
    note(f"[{told}{_drafts(generation)}]")


def _drafts(generation: Generation) -> str:
    done = generation.speculated
    if not done.passes:
        return ""
    return f"; {done.passes} passes, {done.accepted} of {done.drafted} drafted tokens kept"


def stream(prompt: str, generation: Generation) -> None:
    """The text as it comes. In a terminal the prompt is set back, lines break between words, and
    nothing acts on it."""
    writer = Writer(console()) if sys.stdout.isatty() else None

    def write(text: str, style: str) -> None:
        if writer is not None:
            writer.write(text, style)
        else:
            click.echo(text.encode(), nl=False)

    try:
        write(prompt, "dim")
        for step in generation:
            write(step.text, "bold")
    finally:
        if writer is not None:
            writer.end()
        else:
            click.echo()


def step_object(step: Step) -> dict[str, Any]:
    """One step as JSON holds it."""
    return {
        "position": step.position,
        "token": step.token,
        "text": step.text,
        "logprob": step.logprob,
        "alternatives": [alternative._asdict() for alternative in step.alternatives],
        "reason": step.reason,
    }

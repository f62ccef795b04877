"""Where output goes: the terminal, one page for a browser, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..visible import harmless
from .pages import write_html, write_page
from .plain import ascii_only

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

    from ..draw.pictures import Section
    from ..gpt import GPT
    from ..inspect import Finding
    from ..translate import Translator

__all__ = ["Output", "console", "note", "say", "to_json", "with_output"]

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """as_json: every number instead of a picture. html: also a page in this file, or None.
    model: whose name and size the page says."""

    as_json: bool
    html: str | None
    model: GPT | Translator | None

    def show(
        self,
        finding: Finding,
        title: str,
        sections: list[Section] | None = None,
        page: Callable[[], str] | None = None,
    ) -> None:
        """sections: what is shown of it, where that is not what it shows by itself. page: the
        HTML, where it has one of its own."""
        shown = finding.sections() if sections is None else sections
        if self.html is not None and page is not None:
            write_html(self.html, page)
        elif self.html is not None:
            write_page(self.html, lambda: shown, title, self.model)
        if self.as_json:
            say(to_json(finding.to_dict()), data=True)
            return
        from ..draw.terminal import Drawing

        console().print(Drawing(shown))
        if self.html is not None:
            note(f"Wrote {self.html}")


def with_output(command: Command) -> Command:
    """--json and --html; hands on `output`."""

    @wraps(command)
    def run(*, as_json: bool, html: str | None, gpt: GPT | None = None, **rest: Any) -> Any:
        output = Output(as_json=as_json, html=html, model=gpt)
        return command(output=output, **rest, **({} if gpt is None else {"gpt": gpt}))

    run = click.option(
        "--html", type=click.Path(dir_okay=False), help="Also one page for a browser."
    )(run)
    return click.option("--json", "as_json", is_flag=True, help="Every number, as JSON.")(run)


def to_json(value: Any) -> str:
    """One line of JSON, in UTF-8 (in ASCII where the output's encoding is another), that no
    terminal obeys: what would act on one is escaped."""
    line = json.dumps(value, ensure_ascii=ascii_only())
    for character in set(line):
        if harmless(character) != character:
            line = line.replace(character, f"\\u{ord(character):04x}")
    return line


def say(text: str = "", *, err: bool = False, data: bool = False) -> None:
    """A line. What a file, a model or a person wrote may stand in it: shown, not obeyed. A terminal
    breaks it between words; but not data: what is copied whole, such as JSON or a command."""
    stream = sys.stderr if err else sys.stdout
    if stream.isatty() and not data:
        console(stderr=err).print(text, markup=False, emoji=False)
    else:
        click.echo(harmless(text), err=err)


def note(text: str) -> None:
    """To standard error, beside the output."""
    screen = console(stderr=True)
    whole = not screen.is_terminal  # which breaks lines between words, a pipe nowhere
    screen.print(text, style="dim", markup=False, emoji=False, soft_wrap=whole)


def console(*, stderr: bool = False) -> Console:
    """Colour in a terminal, plain text in a pipe; nothing in a text acts on either."""
    from rich.console import Console

    class Terminal(Console):
        def render(self, *args: Any, **extra: Any) -> Iterator[Segment]:
            for part in super().render(*args, **extra):
                safe = part.text if part.control else harmless(part.text)
                yield part if safe == part.text else part._replace(text=safe)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `main` ends the program well; rich would end it with 1

    return Terminal(stderr=stderr, highlight=False, soft_wrap=False)

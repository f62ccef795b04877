"""Where --model is an encoder-decoder: what `generate` and `walk` do with it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .output import Output, say, to_json
from .text import read_text

if TYPE_CHECKING:
    from ..translate import Translator

__all__ = ["or_translated", "or_translation_walked", "with_beams"]

Command = Callable[..., Any]

_MACHINE = ("model", "backend", "device", "dtype", "threads", "keys")
_BEAM = ("beams", "length_penalty")


def with_beams(command: Command) -> Command:
    """--beams and --length-penalty, below one of the next two."""
    command = click.option(
        "--length-penalty",
        type=click.FloatRange(0, 10),
        help="How far --beams favours longer texts.  [default: 0.6]",
    )(command)
    return click.option(
        "--beams",
        type=click.IntRange(1, 1024),
        help="Texts that an encoder-decoder goes on with; 1 is greedy.  [default: 4]",
    )(command)


def or_translated(command: Command) -> Command:
    """With an encoder-decoder each line of TEXT is written as another; any other model goes to the
    command."""

    def translate(translator: Translator, text: str | None, *, as_json: bool, **rest: Any) -> None:
        for line in read_text(text).splitlines() or [""]:
            made = translator.translate(line, max_tokens=rest["max_tokens"], **_search(rest))
            say(to_json(made.to_dict()) if as_json else made.text, data=True)

    return _or(command, translate, ("text", "max_tokens", "as_json"))


def or_translation_walked(command: Command) -> Command:
    """The same, and what is shown is how a text is written as another."""

    def walk(
        translator: Translator, text: str, *, as_json: bool, html: str | None, **rest: Any
    ) -> None:
        from .. import inspect

        if _default("text"):
            text = str(translator.card.get("example", text))
        text = read_text(text)
        places = {name: rest[name] for name in ("layer", "head", "max_tokens")}
        way = inspect.walk_translation(translator, text, **places, **_search(rest))
        Output(as_json=as_json, html=html, model=translator).show(way, text)

    return _or(command, walk, ("text", "layer", "head", "max_tokens", "as_json", "html"))


def _or(command: Command, act: Callable[..., None], known: Collection[str]) -> Command:
    """known: the options, and the argument, that mean something to `act`."""

    @wraps(command)
    def run(**options: Any) -> Any:
        from ..checkpoint import family_name
        from ..families import named

        family = named(family_name(options["model"]))
        if family is None or not family.encodes:
            for name in _BEAM:
                if options.pop(name) is not None:
                    raise click.UsageError(
                        f"{_flag(name)} is for a model that writes one text as another (digits); "
                        "others choose by --greedy, --temperature and so on"
                    )
            return command(**options)
        fit = (*known, *_MACHINE, *_BEAM)
        for name in options:
            if name in fit or _default(name):
                continue
            raise click.UsageError(
                f"{_flag(name)} does not fit {options['model']}, which is {family.title}: it "
                "reads TEXT and writes another by --beams"
            )
        from ..translate import load_translator

        machine = {name: options.pop(name) for name in _MACHINE}
        act(load_translator(machine.pop("model"), **machine), **options)

    return run


def _search(options: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, by the names of `Translator.translate`."""
    names = {"beams": "beams", "length_penalty": "alpha"}
    return {names[name]: options[name] for name in names if options[name] is not None}


def _default(name: str) -> bool:
    """Whether nobody gave this option."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not ParameterSource.COMMANDLINE


def _flag(name: str) -> str:
    """An option as it is written."""
    for parameter in click.get_current_context().command.params:
        if parameter.name == name and isinstance(parameter, click.Option):
            return max(parameter.opts, key=len)
    return f"--{name}"

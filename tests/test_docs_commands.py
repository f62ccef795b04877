"""Every command on every page is run as it stands there, and prints what the page shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pellucid.cli.verbs import VERBS
from support.docs_commands import (
    INPUTS,
    NOT_RUN,
    PAGES,
    PROGRAMS,
    STANDS_FOR,
    Command,
    Desk,
    blocks,
    commands,
    makes,
    shows,
)
from support.skips import needs

ROOT = Path(__file__).parents[1]
ALL = [command for page in PAGES for command in commands(page)]
RUN = [c for c in ALL if c.words[0] == "pellucid" and not c.is_mention and not c.why_not]


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_run_and_print_what_it_shows(page, tmp_path, monkeypatch) -> None:
    """One after another in one folder, as a reader would; each distinct one once. One that is not
    known to need PyTorch does without it."""
    monkeypatch.chdir(tmp_path)
    if page != "docs/train.md":  # a run's picture takes longer than its training; once is enough
        monkeypatch.setattr("pellucid.train.describe.draw_losses", lambda run: [run / "loss.png"])
    desk = Desk(folder=tmp_path)
    own = list(dict.fromkeys(command for command in RUN if command.page == page))
    for command in own:
        if command.needs_torch:
            needs("torch")  # what came before has been run
        with monkeypatch.context() as without:
            if not command.needs_torch:
                without.setattr("pellucid.train.run.find_spec", lambda package: None)
            try:
                printed = desk.run(command)
            except Exception as error:
                error.add_note(f"{page}: {command.text}")
                raise
        assert not command.shown or shows(command.shown, printed), f"{command.text}\n{printed}"


def test_nothing_is_left_out() -> None:
    """Counted by a plainer rule: lines and spans that begin with a program, and tables' cells."""
    program = rf"(?:{'|'.join(PROGRAMS)})(?![\w./-])"
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        outside, inside = ("".join(text.split("```")[half::2]) for half in (0, 1))
        counted = [
            *re.findall(rf"^(?:\$ | {{4}})?{program}[ /].*$", inside, re.MULTILINE),
            *re.findall(rf"`{program}[^`]*`", outside),
        ]
        if "| command |" in outside:
            counted += re.findall(rf"`(?:{'|'.join(VERBS)}) [^`]+`|`heads`", outside)
        collected = [command.text for command in ALL if command.page == page]
        assert len(collected) == len(counted), (page, collected, counted)
    assert all(c in RUN or c.is_mention or c.why_not for c in ALL)
    assert len(RUN) > 90


def test_a_block_of_commands_holds_nothing_else() -> None:
    """What a command prints stands in a block marked console, where it is compared."""
    for page in PAGES:
        for language, block in blocks(page):
            lines = [line for line in block.splitlines() if line.strip()]
            if language in ("", "sh"):
                count = sum(line.startswith(PROGRAMS) for line in lines)
                assert count in (0, len(lines)), (page, block)
            if language == "console":
                assert lines[0].startswith("$ "), (page, block)


def test_what_is_not_run_is_there() -> None:
    for words in {tuple(c.words) for c in ALL if c.words[0] == "make"}:
        assert makes(words).returncode == 0, words
    for command in ALL:
        program, *words = command.words
        if program == "python" and words[0].endswith(".py"):
            assert (ROOT / words[0]).is_file(), command.text
        if program == "pip":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
            extras = project["project"]["optional-dependencies"]
            for named in re.findall(r"\[(.+)\]", command.text):
                assert set(named.split(",")) <= set(extras), command.text
            for folder in re.findall(r" \./(\S+)", command.text):
                assert (ROOT / folder / "pyproject.toml").is_file(), command.text
        if command.is_mention and program == "pellucid" and words:
            assert words[0] in (*VERBS, "VERB"), command.text


def test_the_tables_have_no_row_too_many() -> None:
    used = {begins for begins in NOT_RUN for c in ALL if c.text.startswith(begins)}
    assert used == set(NOT_RUN)
    said = {(c.words[1], word) for c in RUN for word in c.words[2:]}
    assert set(STANDS_FOR) <= said
    words = {word.rstrip("/") for c in RUN for word in c.words[2:]}
    assert set(INPUTS) <= words


def test_a_wrong_number_is_seen() -> None:
    printed = "a 12.5% b\nc\nd\n"
    assert shows(("a 12.5% b", "..."), printed)
    assert shows(("> typed", "a ...% b", "c", "d"), printed)
    assert not shows(("a 12.4% b", "..."), printed)
    assert not shows(("a 12.5% b", "c"), printed)
    assert Command(page="", text="pellucid data").is_mention

"""What people may rely on changes on purpose only."""

from __future__ import annotations

from importlib import import_module

import pytest

from support.surface import GOLDEN, MODULES, surface


def test_the_public_surface_is_the_pinned_one() -> None:
    """Changed on purpose? PYTHONPATH=tests python -m support.surface, and a line in CHANGELOG."""
    assert surface() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_sorted_and_there(name: str) -> None:
    module = import_module(name)
    names = list(module.__all__)
    assert names == sorted(names, key=_isort)
    assert set(module.__all__) <= set(dir(module))


def _isort(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

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
    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))

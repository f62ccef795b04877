"""A conversation as one sequence of tokens, and how much of it the window holds.

`template.py` is what a chat template does, `tables.py` those that are known by name, `known.py` how
one is recognised in a model's files, `fitting.py` what stays where the window is full.
"""

from __future__ import annotations

from .fitting import Exchange, Fitted, fit
from .known import recognise
from .tables import TEMPLATES, look_up, own_name
from .template import Frame, Message, Role, Special, Template, Turn

__all__ = [
    "TEMPLATES",
    "Exchange",
    "Fitted",
    "Frame",
    "Message",
    "Role",
    "Special",
    "Template",
    "Turn",
    "fit",
    "look_up",
    "own_name",
    "recognise",
]

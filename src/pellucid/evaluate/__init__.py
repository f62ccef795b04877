"""How good is a model? Scores that name their protocol, with the counts behind them."""

from .against import Divergence, divergence, rounded
from .likelihood import (
    ConversationPerplexity,
    Perplexity,
    conversation_perplexity,
    perplexity,
)
from .scoring import Row, Scored, loglikelihoods
from .shots import Shots
from .tasks import TaskScore, blimp, hellaswag, lambada

__all__ = [
    "ConversationPerplexity",
    "Divergence",
    "Perplexity",
    "Row",
    "Scored",
    "Shots",
    "TaskScore",
    "blimp",
    "conversation_perplexity",
    "divergence",
    "hellaswag",
    "lambada",
    "loglikelihoods",
    "perplexity",
    "rounded",
]

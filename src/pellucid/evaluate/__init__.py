"""How good is a model? Scores that name their protocol, with the counts behind them."""

from .likelihood import (
    ConversationPerplexity,
    Perplexity,
    conversation_perplexity,
    perplexity,
)
from .scoring import Row, Scored, loglikelihoods
from .tasks import TaskScore, blimp, hellaswag, lambada

__all__ = [
    "ConversationPerplexity",
    "Perplexity",
    "Row",
    "Scored",
    "TaskScore",
    "blimp",
    "conversation_perplexity",
    "hellaswag",
    "lambada",
    "loglikelihoods",
    "perplexity",
]

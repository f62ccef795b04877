"""How good is a model? Scores that name their protocol, with the counts behind them."""

from .perplexity import (
    ConversationPerplexity,
    Perplexity,
    conversation_perplexity,
    perplexity,
)
from .scoring import Row, Scored, loglikelihoods

__all__ = [
    "ConversationPerplexity",
    "Perplexity",
    "Row",
    "Scored",
    "conversation_perplexity",
    "loglikelihoods",
    "perplexity",
]

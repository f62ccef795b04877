"""Weights rounded to 4 bits so that what the model makes of a text changes least (GPTQ)"""

from .layers import LEAST_TOKENS, MOST_TOKENS, calibrated
from .matrix import gptq

__all__ = ["LEAST_TOKENS", "MOST_TOKENS", "calibrated", "gptq"]

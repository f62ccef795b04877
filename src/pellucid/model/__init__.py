"""GPT-2's forward pass (`gpt2`, `attend`), what travels through it (`one_pass`), and the two
together with a set of weights (`model`); beside it the original Transformer's (`transformer`,
`encoder_decoder`)."""

from .attend import attention_pattern, multi_head_attention, self_attention
from .encoder_decoder import EncoderDecoder
from .gpt2 import EPSILON, block, embed, forward, layer_norm, mlp, unembed
from .model import Model
from .one_pass import Pass

__all__ = [
    "EPSILON",
    "EncoderDecoder",
    "Model",
    "Pass",
    "attention_pattern",
    "block",
    "embed",
    "forward",
    "layer_norm",
    "mlp",
    "multi_head_attention",
    "self_attention",
    "unembed",
]

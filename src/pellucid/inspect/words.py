"""The walk's words: the talk's own, and what happens in plain ones, for whoever shows the steps.

The terminal, docs/tour.md and the finding fill in what a sentence names with a pass's numbers, the
page with those of the text that was just typed; both leave out a sentence that names what is not
known. Source: "Neural Networks and Transformers" by Keith Gibson.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import Formatter
from typing import Any

__all__ = ["NETWORKS", "SAID", "Said", "looks_of", "said", "said_of"]

# What is compared, in a biological neural network, in an artificial one.
NETWORKS = (
    ("input", "sensory", "text"),
    ("converted into", "signal", "token"),
    ("encoded in", "neuron", "embedding"),
    ("connected by", "synapse", "element"),
    ("layers", "of neurons", "of embeddings"),
    ("output", "conscious thought", "predicted token"),
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """title, talk, formula: as in `Step`. words: sentences that name what is known in braces."""

    title: str
    talk: str
    words: tuple[str, ...]
    formula: str = ""


def said_of(family: str) -> tuple[Said, ...]:
    """The twelve steps, in the words for a family of models."""
    own = _OTHERS.get(family, {})
    return tuple(replace(step, **own.get(i, {})) for i, step in enumerate(SAID, 1))


def looks_of(family: str) -> dict[str, str]:
    """What a page says to look at, by the key of its step (web/walk/steps.js): where this family's
    step has more, or other, to see than GPT-2's."""
    return _LOOKS.get(family, {})


def said(number: int, family: str = "gpt2", **known: str) -> dict[str, Any]:
    """The words of a step as fields of `Step`, with what they name filled in."""
    step = said_of(family)[number - 1]
    words = (sentence.format(**known) for sentence in step.words if _names(sentence) <= set(known))
    return {
        "number": number,
        "title": step.title.format(**known),
        "talk": step.talk,
        "words": tuple(words),
        "formula": step.formula,
    }


def _names(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


SAID = (
    Said(
        title="Input text",
        talk="let's walk through each step of the transformer model",
        words=("This text goes through {model}, whose sizes stand beside those of GPT-2 (2019).",),
    ),
    Said(
        title="Tokenization",
        talk="Input text is broken down into tokens. Long words are broken down into shorter "
        "tokens.",
        words=(
            "The model knows {n_vocab} tokens.",
            "A space belongs to the token that follows it.",
            "Each word begins as bytes; the pair of neighbours that was learned first is "
            "merged, again and again, until no two neighbours make a token.",
            "Of {n} positions, {first} to {last} are shown from here on; the shares and sums of a "
            "row go on beyond them.",
        ),
    ),
    Said(
        title="Tokens ⇒ embeddings",
        talk="we convert the token to a dense vector representation using the embedding matrix",
        words=("Each token becomes an array of {n_embd} numbers, its embedding.",),
        formula="embed = wte[id]",
    ),
    Said(
        title="Look-up",
        talk="we look up the token in a dictionary. we get back its value: an array of numbers",
        words=(
            "It's the same thing.",
            "The dictionary wte has {n_vocab} rows, one a token; “{name}” has the id {id} and "
            "gets row {id}.",
            "Where a token stands matters too: the array of its position, from a second "
            "dictionary, is added. The sum, x, is what enters the first layer.",
        ),
        formula="x = wte[id] + wpe[position]",
    ),
    Said(
        title="Self-attention: layer {layer}, head {head}",
        talk="softmax((W_Query * embeddings * transpose(W_Key * embeddings)) / sqrt(d_k)) "
        "* W_Value * embeddings",
        words=(
            "Each array is evaluated against each other array, with the elements of each "
            "array adjusted as a result.",
            "Each token asks (query), offers (key) and gives (value), {d_k} numbers each; "
            "every query is held against every key, and softmax makes shares of each row.",
            "“{name}” looks most at “{other}” ({share}).",
            "The slide leaves out that GPT-2 norms the arrays first, adds a bias to each "
            "product, and lets no token see a later one.",
            "Layers, heads and positions count from 0.",
        ),
        formula="z = softmax(q · kᵀ / √d_k) · v",
    ),
    Said(
        title="Heads: all {n_head} of layer {layer}",
        talk="in the case of gpt 2, that's 12 heads. So, 12 times per layer. "
        "And it happens in parallel.",
        words=(
            "Here it is {n_head} heads in each of {n_layer} layers, each with weights of "
            "its own, so that each looks elsewhere.",
        ),
        formula="head n: selfAttention(embeddings, headNWeights, d_k)",
    ),
    Said(
        title="concat · W_Output",
        talk="The values from each head are then synthesized into a single set of embeddings "
        "yet again.",
        words=(
            "What the {n_head} heads found lies side by side, {n_head} × {d_k} numbers, and is "
            "multiplied by W_Output, ({n_head} · {d_k}) × {n_embd}: the slide's "
            "(h * d_k, d_model).",
            "The result is added to x.",
        ),
        formula="attn_out = concat(z_1 … z_h) · W_Output + bias;  x = x + attn_out",
    ),
    Said(
        title="Repeat for each of the {n_layer} layers",
        talk="repeat for each intermediate layer: layer 1 outputEmbeds => layer 2 inputEmbeds",
        words=(
            "Not on the slides: before a layer ends, each token works for itself through "
            "{neurons} neurons (the MLP), whose result is added to x too.",
            "Each layer's output is the next layer's input.",
        ),
        formula="x = x + mlp(norm(x))",
    ),
    Said(
        title="Output layer",
        talk="we pass the final layer's output embeddings through a prediction function to "
        "get the most likely token.",
        words=(
            "The last x of “{name}” is normed and held against the embeddings of all "
            "{n_vocab} tokens, the dictionary of the input again: the better it matches, the "
            "higher the token's logit.",
            "Softmax turns the logits into probabilities.",
        ),
        formula="logits = norm(x) · wteᵀ",
    ),
    Said(
        title="Predicted token",
        talk="We get a 1 token output.",
        words=(
            "After “{read}” the most likely token is “{token}”, number {id}, with a "
            "probability of {share}.",
        ),
        formula="token = argmax(logits)",
    ),
    Said(
        title="Fed back in",
        talk="the initial input and the output are fed back in. The process repeats, with "
        "each new word influencing subsequent predictions.",
        words=("Each time the likeliest token is taken and put behind the text.",),
    ),
    Said(
        title="Window full, or a stop token",
        talk="repeat all prior steps until we reach the context window limit or a special "
        "stop token, which in gpt 2 is 1024 tokens, but for our purposes we'll use 8.",
        words=(
            "The context window of this model holds {n_ctx} tokens; its stop tokens are "
            "{stops}{more}.",
            "It ends: {reason} ({used}).",
        ),
    ),
)

# What another family does otherwise: step → fields of `Said`.
_OTHERS: dict[str, dict[int, dict[str, Any]]] = {
    "llama": {
        4: {
            "words": (
                *SAID[3].words[:2],
                "Where a token stands is not added here, as GPT-2 adds it: every layer turns its "
                "queries and keys by it. The row, x, is what enters the first layer.",
            ),
            "formula": "x = wte[id]",
        },
        5: {
            "words": (
                *SAID[4].words[:1],
                "Each token asks (query), offers (key) and gives (value), {d_k} numbers each; "
                "pairs of a query's and key's numbers are turned, the further into the text the "
                "more; then every query is held against every key, and softmax makes shares of "
                "each row.",
                *SAID[4].words[2:3],
                "{n_head} heads of queries share {n_kv_head} of keys and values, in groups.",
                "The slide leaves out that the arrays are normed first, that the pairs are turned, "
                "and that no token sees a later one.",
                *SAID[4].words[4:],
            ),
        },
        6: {
            "words": (
                "Here it is {n_head} heads in each of {n_layer} layers, each with queries of its "
                "own, so that each looks elsewhere.",
            ),
        },
        7: {"formula": "attn_out = concat(z_1 … z_h) · W_Output;  x = x + attn_out"},
        8: {
            "words": (
                "Not on the slides: before a layer ends, each token works for itself through "
                "{neurons} neurons (the MLP), each with a gate that lets more or less of it "
                "through; their result is added to x too.",
                *SAID[7].words[1:],
            ),
        },
        9: {
            "words": (
                "The last x of “{name}” is normed and held against a row for each of all "
                "{n_vocab} tokens: the better it matches, the higher the token's logit.",
                *SAID[8].words[1:],
            ),
            "formula": "logits = norm(x) · headᵀ",
        },
    },
}

_LOOKS: dict[str, dict[str, str]] = {
    "gpt3": {"input": "the sizes beside GPT-2's."},
    "llama": {
        "input": "the sizes beside GPT-2's: fewer heads of keys and values than of queries, where "
        "heads share them, and neurons with gates.",
        "embeddings": "the row that slides out of the dictionary: the same token always brings the "
        "same numbers. Where it stands is not in them; see it turn queries and keys below.",
        "norm": "one row before and after: nothing is taken away from it, it is divided and "
        "stretched.",
        "attention": "a query before and after it is turned, and the same at position 0, which "
        "is not turned at all; then the followed row of the shares: which earlier token gives "
        "most, and how its value comes back in z.",
        "mlp": "gate and neuron beside what becomes of them: where the gate is far below zero, "
        "nothing comes through, whatever the neuron says.",
    },
}

"""The tokenizers of SmolLM2, StarCoder, Llama 3 and Qwen2.5 as their tokenizer.json has them, in
form: normalizer, pre-tokenizer, post-processor, decoder, flags and added tokens; with vocabularies
of some hundred tokens, learned by the library from a page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, processors
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

# As published; not taken from the package.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
PAGE = (
    "The power clapper doesn't need 1234567 batteries; it'll say \"Hello, world!\" 12 times.\n\n"
    "    def f(x):\n        return x * 2  # don't\n\n"
    "日本語のテキスト と 한국어, ελληνικά... été naïve 👍\n"
) * 3
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3_SPECIAL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
]  # fmt: skip


def level(use_regex: bool) -> pre.PreTokenizer:
    return pre.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=use_regex)


def by(pattern: str) -> pre.PreTokenizer:
    return pre.Sequence([pre.Split(Regex(pattern), "isolated"), level(False)])


def learned(before: pre.PreTokenizer, n_vocab: int = 420, spare: str = "") -> Tokenizer:
    """spare: bytes that no text of the vocabulary's had, in the spelling of the files."""
    made = Tokenizer(BPE())
    made.pre_tokenizer, made.decoder = before, decoders.ByteLevel()
    alphabet = [token for token in pre.ByteLevel.alphabet() if token not in spare]
    trainer = BpeTrainer(vocab_size=n_vocab, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([PAGE], trainer)
    return made


def with_special_first(made: Tokenizer, special: list[str]) -> Tokenizer:
    """The special tokens at ids 0, 1, ..., as in SmolLM2's and StarCoder's."""
    state = json.loads(made.to_str())
    old = sorted(state["model"]["vocab"], key=state["model"]["vocab"].__getitem__)
    state["model"]["vocab"] = {token: i for i, token in enumerate([*special, *old])}
    again = Tokenizer.from_str(json.dumps(state))
    again.add_special_tokens([AddedToken(token, special=True) for token in special])
    return again


def smollm2() -> Tokenizer:
    """Without eight bytes that its texts did not have, as SmolLM2's vocabulary is."""
    made = learned(
        pre.Sequence([pre.Digits(individual_digits=True), level(True)]), spare="ĄĆĞÀÁñòõ"
    )
    return with_special_first(made, [*CHATML, "<repo_name>"])


def starcoder() -> Tokenizer:
    made = learned(pre.Sequence([pre.Digits(individual_digits=True), level(True)]), spare="ÀÁñ")
    return with_special_first(made, ["<|endoftext|>", "<fim_prefix>", "<fim_suffix>"])


def llama3() -> Tokenizer:
    """Its merges are those that a vocabulary of tiktoken's allows, each token's every pair; and it
    has a token that no merge makes."""
    state = json.loads(learned(by(LLAMA3)).to_str())
    vocab = state["model"]["vocab"] | {"zebras": len(state["model"]["vocab"])}
    pairs = [
        (token, (token[:at], token[at:]))
        for token in vocab
        for at in range(1, len(token))
        if token != "zebras" and token[:at] in vocab and token[at:] in vocab
    ]
    pairs.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1][0]], vocab[pair[1][1]]))
    state["model"] |= {
        "vocab": vocab, "merges": [list(pair) for _, pair in pairs], "ignore_merges": True,
    }  # fmt: skip
    made = Tokenizer.from_str(json.dumps(state))
    made.add_special_tokens([AddedToken(token, special=True) for token in LLAMA3_SPECIAL])
    begin = LLAMA3_SPECIAL[0]
    made.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=f"{begin}:0 $A:0", pair=f"{begin}:0 $A:0 {begin}:1 $B:1",
            special_tokens=[(begin, made.token_to_id(begin))],
        ),
    ])  # fmt: skip
    return made


def qwen2() -> Tokenizer:
    """Qwen2.5's, and Qwen3's with two tokens that are not special and stand for a thought."""
    made = learned(by(QWEN2))
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens([AddedToken(token, special=True) for token in CHATML])
    made.add_tokens([AddedToken(token, normalized=False) for token in ("<think>", "</think>")])
    return made


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "smollm": smollm2,
    "starcoder": starcoder,
    "llama-bpe": llama3,
    "qwen2": qwen2,
}
CLASSES = {"smollm": "GPT2Tokenizer", "qwen2": "Qwen2Tokenizer"}


def write(name: str, folder: Path, **config: object) -> Tokenizer:
    """tokenizer.json and tokenizer_config.json, as on the hub; by llama.cpp's name of the split."""
    folder.mkdir(exist_ok=True)
    made = FAMILIES[name]()
    made.save(str(folder / "tokenizer.json"))
    table = {"tokenizer_class": CLASSES.get(name, "PreTrainedTokenizerFast"), **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(table), "utf-8")
    return made

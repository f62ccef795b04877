"""Chat formats recognised by the text of a model's own template, and held against `transformers`,
which runs that text. The short ones lie in golden/chat_templates; pages of other people's code
do not: $CHAT_TEMPLATES is a folder with those, as the models ship them, a file NAME.jinja each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import pellucid
from pellucid import checkpoint
from pellucid.chat import Conversation, choose_template
from pellucid.errors import CheckpointError
from pellucid.hparams import HParams
from pellucid.template import TEMPLATES, Exchange, Message, fit, recognise
from pellucid.tokenizer import Tokenizer
from support.models import lively
from support.skips import needs

needs("tokenizers")
from support import families  # noqa: E402

transformers = needs("transformers")
TEXTS = Path(__file__).parent / "golden" / "chat_templates"
# file -> our name, the tokenizer that the models with it have, its end of text
SHIPPED = {
    "chatml": ("chatml", "qwen2", "<|im_end|>"),
    "chatml_trl": ("chatml", "qwen2", "<|im_end|>"),
    "smollm2": ("smollm2", "smollm", "<|im_end|>"),
    "qwen2": ("qwen2", "qwen2", "<|im_end|>"),
    "qwen2.5": ("qwen2.5", "qwen2", "<|im_end|>"),
    "qwen3_early": ("qwen3", "qwen2", "<|im_end|>"),
    "qwen3": ("qwen3", "qwen2", "<|im_end|>"),
    "qwen3_instruct_2507": ("chatml", "qwen2", "<|im_end|>"),
    "llama3_first": ("llama3", "llama-bpe", "<|eot_id|>"),
    "llama3": ("llama3", "llama-bpe", "<|eot_id|>"),
    "llama3.1": ("llama3.1", "llama-bpe", "<|eot_id|>"),
    "llama3.2": ("llama3.1", "llama-bpe", "<|eot_id|>"),
    "zephyr": ("zephyr-endoftext", "starcoder", "<|endoftext|>"),
}
ODD = " \n\n  def f(x):\n\treturn 12345 \n"
TALKS = [
    [("user", "Hello, power clapper!")],
    [("system", "Don't say é 12 times."), ("user", "  the clapper?  ")],
    [("user", "a"), ("assistant", "b"), ("user", "c")],
    [("system", ODD), ("user", ODD), ("assistant", ODD), ("user", ODD)],
    [("user", "1"), ("assistant", "\n2\n"), ("user", " "), ("assistant", "'ll"), ("user", "\n")],
    [("system", ""), ("user", "x"), ("assistant", ""), ("user", "y")],
    [("user", "x"), ("system", "later"), ("user", "日本 한국어 👍")],
]


def place(name: str) -> Path:
    own = TEXTS / f"{name}.jinja"
    return own if own.exists() else Path(os.environ.get("CHAT_TEMPLATES", TEXTS)) / own.name


def shipped(name: str) -> str:
    if not place(name).exists():
        needs("longer chat templates")
    return place(name).read_text("utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    for name in families.FAMILIES:
        families.write(name, root / name)
    return {name: root / name for name in families.FAMILIES}


def library(folder: Path, name: str, end: str):
    """Their tokenizer with the template as shipped."""
    begin = {"bos_token": "<|begin_of_text|>"} if folder.name == "llama-bpe" else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token=end, chat_template=shipped(name),
        **begin,
    )  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_the_ids_are_those_of_the_text_that_the_model_ships(name: str, folders) -> None:
    known, family, end = SHIPPED[name]
    ours, theirs = Tokenizer.from_folder(folders[family]), library(folders[family], name, end)
    assert recognise(shipped(name), ours) == known
    template = TEMPLATES[known]
    for talk in TALKS:
        said = [{"role": role, "content": text} for role, text in talk]
        ids = theirs.apply_chat_template(
            said, add_generation_prompt=True, return_dict=False, date_string="26 Jul 2024"
        )
        messages = [Message(role, text) for role, text in talk]
        assert [*ours.rules.begin, *template.render(ours, messages)] == ids, talk
        # And the text that we write for other programs says the same.
        theirs.chat_template = template.jinja(ours)
        assert (
            theirs.apply_chat_template(said, add_generation_prompt=True, return_dict=False) == ids
        )
        theirs.chat_template = shipped(name)
    assert ours.special_tokens[end] in template.stops(ours)


def test_a_chat_is_written_as_the_whole_conversation_is(folders) -> None:
    """`fit`, by which chats and the page write, with replies as text."""
    for known, family, _ in SHIPPED.values():
        ours, template = Tokenizer.from_folder(folders[family]), TEMPLATES[known]
        past = [Exchange("a 1", "<think>\nhm\n</think>\n\nb"), Exchange("  c", "\n d")]
        for system in (None, "Be brief."):
            talk = [Message("system", system)] if system else []
            for message, reply in past:
                talk += [Message("user", message), Message("assistant", str(reply))]
            talk.append(Message("user", "e\n"))
            fitted = fit(template, ours, "e\n", past, system=system, window=4096, reply=64)
            assert fitted.ids == [*ours.rules.begin, *template.render(ours, talk)], known
            replies = [e._replace(reply=ours.encode(str(e.reply))) for e in past[:1]]
            generated = fit(template, ours, "e", replies, system=system, window=4096, reply=64)
            written = fit(template, ours, "e", past[:1], system=system, window=4096, reply=64)
            assert generated.ids == written.ids  # the ids of a reply are those of its text here


def test_thoughts_are_forgotten_once_a_reply_was_answered(folders) -> None:
    ours = Tokenizer.from_folder(folders["qwen2"])
    theirs = library(folders["qwen2"], "qwen3", "<|im_end|>")
    said = [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", "c")]
    ids = theirs.apply_chat_template(
        [{"role": role, "content": text} for role, text in said],
        add_generation_prompt=True, return_dict=False,
    )  # fmt: skip
    assert TEMPLATES["qwen3"].render(ours, [Message(*turn) for turn in said]) == ids
    assert "hm" not in ours.decode(ids)
    assert "hm" in ours.decode(TEMPLATES["qwen2"].render(ours, [Message(*turn) for turn in said]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("smollm2", ("'\\n' + message['content']", "' ' + message['content']")),
        ("smollm2", ("named SmolLM", "named Clippy")),
        ("qwen2.5", ("Alibaba Cloud", "nobody")),
        ("llama3", ("| trim", "")),
        ("llama3.1", ("December 2023", "December 2024")),
        ("zephyr", ("<|assistant|>", "<|model|>")),
    ],
)
def test_a_text_that_says_anything_else_is_unknown(name: str, change, folders) -> None:
    _, family, _ = SHIPPED[name]
    ours, text = Tokenizer.from_folder(folders[family]), shipped(name)
    assert change[0] in text
    assert recognise(text.replace(*change), ours) is None
    assert recognise(text, Tokenizer.train(["a"], 257, [])) is None  # which has no such tokens


def test_copies_differ_in_line_breaks_and_comments(folders) -> None:
    smol = Tokenizer.from_folder(folders["smollm"])
    text = shipped("smollm2")
    assert recognise("{# SmolLM2 #}" + text.replace("\\n", "\n") + "\n", smol) == "smollm2"
    qwen = Tokenizer.from_folder(folders["qwen2"])
    assert recognise(shipped("qwen2").replace("\n", "\r\n"), qwen) == "qwen2"


def model(folder: Path, family: str, **config: object) -> Path:
    """A GPT-2 with this tokenizer, as a folder of Hugging Face's."""
    families.write(family, folder / "t")
    ours = Tokenizer.from_folder(folder / "t")
    hparams = HParams(n_vocab=ours.n_vocab, n_ctx=128, n_embd=16, n_head=2, n_layer=1)
    checkpoint.save(folder / "m", hparams, lively(hparams), ours, format="hf")
    families.write(family, folder / "m", **config)
    for name in ("vocab.json", "merges.txt", "special_tokens.json"):
        (folder / "m" / name).unlink()
    return folder / "m"


@pytest.mark.parametrize("place", ["text", "list", "file"])
def test_the_template_is_found_where_transformers_finds_it(place: str, tmp_path: Path) -> None:
    listed = [{"name": "tool_use", "template": "{{ x }}"}]
    listed.append({"name": "default", "template": shipped("smollm2")})
    value = {"text": shipped("smollm2"), "list": listed, "file": "{{ other }}"}[place]
    folder = model(tmp_path, "smollm", chat_template=value)
    if place == "file":
        (folder / "chat_template.jinja").write_text(shipped("smollm2"), "utf-8")
    gpt = pellucid.load(folder)
    assert (gpt.template, choose_template(gpt).name) == ("smollm2", "smollm2")
    ids = Conversation(gpt).prompt_ids("a")
    assert gpt.tokenizer.decode(ids).startswith("<|im_start|>system\nYou are a helpful AI assist")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), chat_template=shipped("smollm2")
    )
    said = [{"role": "user", "content": "a"}]
    assert ids == theirs.apply_chat_template(said, add_generation_prompt=True, return_dict=False)


def test_one_that_is_not_known_is_plain_and_the_card_says_so(tmp_path: Path) -> None:
    folder = model(tmp_path, "smollm", chat_template="{{ messages }}")
    gpt = pellucid.load(folder)
    assert choose_template(gpt).name == "plain"
    assert "its own chat template is none of those" in gpt.card["chat_template"]
    families.write("smollm", folder, chat_template={"default": "x"})
    with pytest.raises(CheckpointError, match="chat_template must be a text"):
        checkpoint.load(folder)


def test_every_end_that_generation_config_lists_ends_a_reply(tmp_path: Path) -> None:
    folder = model(tmp_path, "llama-bpe", chat_template=shipped("llama3"))
    special = Tokenizer.from_folder(folder).special_tokens
    ends = [special[name] for name in ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")]
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": ends}), "utf-8")
    gpt = pellucid.load(folder)
    assert gpt.stop_tokens == set(ends)
    conversation = Conversation(gpt, greedy=True, max_tokens=1)
    assert set(ends) <= set(conversation.say("a").stop_tokens)
    assert conversation.system_note is None
    assert conversation.last.prompt[0] == special["<|begin_of_text|>"]


@pytest.mark.parametrize("name", ["smollm2", "llama3", "llama3.1"])
def test_gguf_carries_it_both_ways(name: str, tmp_path: Path) -> None:
    needs("gguf")
    known, family, _ = SHIPPED[name]
    loaded = checkpoint.load(model(tmp_path, family, chat_template=shipped(name)))
    path = checkpoint.save(
        tmp_path / "m.gguf", loaded.hparams, loaded.tensors, loaded.tokenizer, format="gguf",
        template=loaded.template,
    )  # fmt: skip
    assert checkpoint.load(path).template == known
    path.write_bytes(path.read_bytes().replace(b"pellucid.checkpoint", b"pellucid.checkpoinX"))
    assert checkpoint.load(path).template == known  # by the text alone that we write for others

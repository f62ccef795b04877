"""What other servers need of the Hugging Face export, by the library that they load it with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pellucid
from pellucid import checkpoint
from pellucid.hparams import HParams
from pellucid.template import TEMPLATES, Message
from pellucid.tokenizer import Tokenizer
from support.models import lively
from support.program import run
from support.skips import needs

MESSAGES = [
    Message("system", "You are terse."),
    Message("user", "Who are you?\nSay 'it' \"now\", {{ 7 * 7 }}."),
    Message("assistant", "A model."),
    Message("user", "Ünï\tcode 🙂"),
]
THEIRS = [{"role": role, "content": text} for role, text in MESSAGES]

# The keys and the names that vLLM's gpt2.py and TGI's flash_gpt2_modeling.py read. `transformers`
# gives their other names for the sizes: hidden_size, num_hidden_layers, ...
KEYS = {
    "activation_function": "gelu_new",
    "add_cross_attention": False,
    "architectures": ["GPT2LMHeadModel"],
    "hidden_size": 320,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 512,
    "model_type": "gpt2",
    "n_inner": None,
    "num_attention_heads": 10,
    "num_hidden_layers": 12,
    "reorder_and_upcast_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "tie_word_embeddings": True,
    "vocab_size": 8192,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """As docs/scale.md has it."""
    target = tmp_path_factory.mktemp("exported") / "chat-hf"
    run("convert", "chat", target, "--format", "hf")
    return target


def test_the_keys_that_servers_read(exported) -> None:
    config = needs("transformers").AutoConfig.from_pretrained(exported)
    assert {key: getattr(config, key) for key in KEYS} == KEYS


def test_the_names_and_shapes_that_servers_read(exported) -> None:
    """vLLM turns each matrix of a Conv1D round: it is stored [in, out]."""
    from safetensors import safe_open

    with safe_open(exported / "model.safetensors", "np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    layer = {
        "attn.c_attn": (320, 960),
        "attn.c_proj": (320, 320),
        "mlp.c_fc": (320, 1280),
        "mlp.c_proj": (1280, 320),
    }
    wanted = {"transformer.wte.weight": (8192, 320), "transformer.wpe.weight": (512, 320)}
    norms = ["ln_f", *(f"h.{i}.ln_{k}" for i in range(12) for k in (1, 2))]
    wanted |= {f"transformer.{n}.{kind}": (320,) for n in norms for kind in ("weight", "bias")}
    for i in range(12):
        for name, shape in layer.items():
            wanted[f"transformer.h.{i}.{name}.weight"] = shape
            wanted[f"transformer.h.{i}.{name}.bias"] = shape[1:]
    assert shapes == wanted


def test_it_generates_the_same_and_stops_the_same(exported, chat) -> None:
    torch, transformers = needs("torch"), needs("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    stopped = 0
    for text in ("Hello!", "What is your name?", "Tell me about the sea."):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        prompt = TEMPLATES["roles"].render(chat.tokenizer, [Message("user", text)])
        assert ids == prompt
        theirs = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), pad_token_id=0,
            do_sample=False, repetition_penalty=1.0, max_new_tokens=60,
        )[0].tolist()  # fmt: skip
        ours = chat.generate(prompt, greedy=True, max_tokens=60, repetition_penalty=1.0)
        assert (ours.text and list(ours.tokens)) == theirs
        assert tokenizer.decode(theirs[len(ids) :], skip_special_tokens=True) == ours.text
        stopped += ours.reason == "stop token"
    assert stopped  # by generation_config.json alone


def test_the_sampling_of_the_card_is_what_servers_begin_with(exported, chat) -> None:
    config = needs("transformers").GenerationConfig.from_pretrained(exported)
    card = chat.card["sampling"]
    for name in ("temperature", "top_k", "top_p"):
        assert getattr(config, name) == card[name]
    assert config.do_sample
    assert set(config.eos_token_id) == chat.stop_tokens


def small(folder: Path, template: str | None, card=None, roles=None) -> Path:
    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    if template in TEMPLATES and not set(TEMPLATES[template].special) <= {*special}:
        special = ["<|endoftext|>", *TEMPLATES[template].special]
    if template == "zephyr-endoftext":  # its roles are letters
        special = special[:1]
    tokenizer = Tokenizer.train(["the cat sat on a mat"] * 3, 310, special=special)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=64, n_embd=16, n_head=2, n_layer=1)
    return checkpoint.save(
        folder, hparams, lively(hparams), tokenizer, format="hf", template=template, card=card,
        roles=roles,
    )  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_what_ours_writes(name, tmp_path) -> None:
    transformers = needs("transformers")
    path = small(tmp_path / "model", name)
    theirs = transformers.AutoTokenizer.from_pretrained(path)
    ours = pellucid.load(path)
    assert ours.template == name
    template = TEMPLATES[name]
    for n in (1, 2, 4):
        ids = theirs.apply_chat_template(THEIRS[:n], add_generation_prompt=True, return_dict=False)
        assert ids == template.render(ours.tokenizer, MESSAGES[:n])
        ids = theirs.apply_chat_template(THEIRS[:n], return_dict=False)
        turns = template.written(MESSAGES[:n])
        assert ids == [i for turn in turns for i in turn.ids(ours.tokenizer)]
    with pytest.raises(Exception, match="a role is one of system, user, assistant"):
        theirs.apply_chat_template([{"role": "tool", "content": "x"}])


def test_a_model_without_a_template_has_none(tmp_path) -> None:
    path = small(tmp_path / "model", None)
    settings = json.loads((path / "tokenizer_config.json").read_text("utf-8"))
    assert "chat_template" not in settings
    assert "temperature" not in json.loads((path / "generation_config.json").read_text("utf-8"))


def test_a_reply_ends_where_its_template_does(tmp_path) -> None:
    """Also where the model's own texts end with another token."""
    path = small(tmp_path / "model", "roles", roles=checkpoint.Roles(eos=(3,)))
    tokenizer = checkpoint.load(path).tokenizer
    generation = json.loads((path / "generation_config.json").read_text("utf-8"))
    assert generation["eos_token_id"] == [3, tokenizer.special_tokens["<|end|>"]]


@pytest.mark.parametrize("sampling", [{"greedy": True}, {"temperature": 0, "top_k": 5}])
def test_a_card_that_is_greedy(sampling, tmp_path) -> None:
    path = small(tmp_path / "model", None, card={"sampling": sampling})
    generation = json.loads((path / "generation_config.json").read_text("utf-8"))
    assert generation["do_sample"] is False
    assert "top_k" not in generation

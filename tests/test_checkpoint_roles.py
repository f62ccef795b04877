"""Which tokens begin and end a text, through every format and as transformers' generate does it;
what texts begin with; weights without a tokenizer; keys that nobody knows (trial rows W2, W4, W8,
W9, P0, P1)."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pellucid
from pellucid import checkpoint
from pellucid.chat import Conversation
from pellucid.checkpoint import Roles
from pellucid.checkpoint.huggingface_config import KNOWN, SIZE_KEYS
from pellucid.cli import pellucid as program
from pellucid.errors import CheckpointError, CheckpointWarning, TokenizerError
from pellucid.hparams import HParams
from pellucid.inspect import logit_lens, walk
from pellucid.inspect.finding import token_id
from pellucid.tokenizer import Rules, Tokenizer
from pellucid.weights import initialise
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

HPARAMS = HParams(n_vocab=260, n_ctx=32, n_embd=32, n_head=4, n_layer=2)
SPECIAL = {"<s>": 258, "</s>": 259, "<|endoftext|>": 257}
NEWLINE = VOCAB["Ċ"]


def a_tokenizer(**rules: Any) -> Tokenizer:
    return Tokenizer(VOCAB, MERGES, SPECIAL, Rules(**rules) if rules else None)


def tensors() -> dict[str, np.ndarray]:
    """Random, and large enough that greedy texts vary."""
    return {name: 8 * tensor for name, tensor in initialise(HPARAMS, 1).items()}


def ways(folder: Path, tokenizer: Tokenizer, roles: Roles) -> dict[str, Path]:
    """The same model in the formats that hold roles."""
    for form in ("pellucid", "hf"):
        checkpoint.save(folder / form, HPARAMS, tensors(), tokenizer, format=form, roles=roles)
    return {form: folder / form for form in ("pellucid", "hf")}


ROLES = [
    Roles(),
    Roles(bos=258, eos=(259,)),
    Roles(eos=(NEWLINE,)),
    Roles(bos=258, eos=(259, NEWLINE, VOCAB["th"]), pad=257, unk=257),
]


@pytest.mark.parametrize("roles", ROLES, ids=str)
def test_roles_through_every_format(tmp_path: Path, roles: Roles) -> None:
    tokenizer = a_tokenizer()
    for path in ways(tmp_path, tokenizer, roles).values():
        loaded = checkpoint.load(path)
        assert loaded.roles.stops(loaded.tokenizer) == roles.stops(tokenizer)
        named = roles.to_dict().items()  # what is not named may become GPT-2's <|endoftext|>
        assert all(loaded.roles.to_dict()[role] == value for role, value in named)
        # and on into the other format
        for form in ("pellucid", "hf"):
            target = tmp_path / f"{path.name}-{form}"
            done = CliRunner().invoke(
                program, ["convert", str(path), str(target), "--format", form]
            )
            assert done.exit_code == 0, done.output
            again = checkpoint.load(target)
            assert all(again.roles.to_dict()[role] == value for role, value in named)
            assert again.roles.stops(again.tokenizer) == roles.stops(tokenizer)


@pytest.mark.parametrize("roles", ROLES, ids=str)
def test_transformers_stops_where_we_stop(tmp_path: Path, roles: Roles) -> None:
    """W8, W9: transformers' copy never stopped; an ordinary token as the end did not end."""
    torch = needs("torch")
    transformers = needs("transformers")
    tokenizer = a_tokenizer()
    path = ways(tmp_path, tokenizer, roles)["hf"]
    theirs = transformers.GPT2LMHeadModel.from_pretrained(path).eval()
    assert len(transformers.AutoTokenizer.from_pretrained(path)) == 260  # nothing was added to it
    ours = pellucid.load(path)
    n_stopped = 0
    stops = roles.stops(tokenizer)
    for start in range(60):
        prompt = [start, 3 * start % 250]
        ids = theirs.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, 2), do_sample=False,
            max_new_tokens=12, pad_token_id=0,
        )[0].tolist()  # fmt: skip
        generation = ours.generate(prompt, greedy=True, max_tokens=12)
        assert generation.text is not None
        assert list(generation.tokens) == ids
        stopped = generation.reason == "stop token"
        assert stopped == (ids[-1] in stops)
        n_stopped += stopped and len(ids) < 14
    assert len(stops) < 3 or n_stopped


def test_what_a_folder_says_in_order(tmp_path: Path) -> None:
    """generation_config.json, then config.json, then the tokenizer's files; ids that there are no
    tokens for are nobody's."""
    folder = ways(tmp_path, a_tokenizer(), Roles(bos=258, eos=(259,)))["hf"]
    (folder / "generation_config.json").unlink()

    def say(file: str, **values: Any) -> tuple[int, ...]:
        path = folder / file
        table = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps(table | values), "utf-8")
        return checkpoint.load(folder).roles.eos

    assert say("config.json", eos_token_id=[7, 9]) == (7, 9)
    assert say("generation_config.json", eos_token_id=5) == (5,)
    assert say("generation_config.json", eos_token_id=[5, 50256, 6, 5]) == (5, 6)
    assert say("generation_config.json", eos_token_id=None) == (7, 9)
    assert say("config.json", eos_token_id=50256) == (259,)  # the tokenizer's </s>
    with pytest.raises(CheckpointError, match="eos must be a token's id"):
        say("generation_config.json", eos_token_id="</s>")


def test_gguf_names_its_roles(tmp_path: Path) -> None:
    gguf = needs("gguf")
    from support import write_gguf

    def write(change: Any) -> checkpoint.Checkpoint:
        plain = gguf.GGUFWriter.add_token_types

        def add(self: Any, kinds: Any) -> None:
            plain(self, kinds)
            change(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gguf.GGUFWriter, "add_token_types", add)
            patch.setattr(gguf.GGUFWriter, "add_eos_token_id", lambda *_: None)
            patch.setattr(gguf.GGUFWriter, "add_bos_token_id", lambda *_: None)
            vocab = VOCAB | SPECIAL
            write_gguf.write(
                tmp_path / "m.gguf", HPARAMS, tensors(), vocab, MERGES, special=SPECIAL
            )
        return checkpoint.load(tmp_path / "m.gguf")

    def roles(self: Any) -> None:
        self.add_uint32("tokenizer.ggml.bos_token_id", 258)
        self.add_uint32("tokenizer.ggml.eos_token_id", NEWLINE)
        self.add_uint32("tokenizer.ggml.eot_token_id", 259)
        self.add_bool("tokenizer.ggml.add_bos_token", True)

    loaded = write(roles)
    assert loaded.roles == Roles(bos=258, eos=(NEWLINE, 259))
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.encode("\n") == [NEWLINE]  # ordinary, as it was
    assert pellucid.load(tmp_path / "m.gguf").encode("ab") == [258, VOCAB["a"], VOCAB["b"]]
    silent = write(lambda self: self.add_bool("tokenizer.ggml.add_bos_token", False))
    assert silent.roles == Roles()
    assert pellucid.load(tmp_path / "m.gguf").encode("ab") == [VOCAB["a"], VOCAB["b"]]


def test_gguf_padding_is_left_out(tmp_path: Path) -> None:
    """P1: llama.cpp names rows without a token [PAD0] …: they could be sampled."""
    gguf = needs("gguf")
    from support import write_gguf

    rows = HParams(n_vocab=320, n_ctx=32, n_embd=32, n_head=4, n_layer=1)
    vocab = VOCAB | SPECIAL | {f"[PAD{i}]": i for i in range(260, 320)}
    plain = gguf.GGUFWriter.add_token_types
    for kind in (gguf.TokenType.UNUSED, gguf.TokenType.USER_DEFINED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                gguf.GGUFWriter, "add_token_types",
                lambda self, kinds, kind=kind: plain(self, [*kinds[:260], *[kind] * 60]),
            )  # fmt: skip
            write_gguf.write(
                tmp_path / "m.gguf", rows, initialise(rows, 0), vocab, MERGES, special=SPECIAL
            )
        gpt = pellucid.load(tmp_path / "m.gguf")
        assert gpt.hparams.n_vocab == 260
        assert gpt.logits([1, 2]).shape == (2, 260)
        assert "320 embeddings for 260 tokens" in gpt.card["padding"]


# --- what every text begins with -----------------------------------------------------------------


def test_a_text_without_a_word_begins_with_bos(tmp_path: Path) -> None:
    for path in ways(tmp_path, a_tokenizer(), Roles(bos=258, eos=(259,))).values():
        gpt = pellucid.load(path)
        assert gpt.generate("", max_tokens=0).prompt == (258,)
        assert gpt.generate("a", max_tokens=0).prompt == (VOCAB["a"],)  # nothing asks for it


def test_prompts_begin_with_bos_once(tmp_path: Path) -> None:
    tokenizer = a_tokenizer(begin=(258,))
    for path in ways(tmp_path, tokenizer, Roles(bos=258, eos=(259,))).values():
        gpt = pellucid.load(path)
        a, b = VOCAB["a"], VOCAB["b"]
        assert gpt.encode("ab") == [258, a, b]
        assert gpt.generate("ab", max_tokens=0).prompt == (258, a, b)
        assert gpt.generate("", max_tokens=0).prompt == (258,)
        talk = Conversation(gpt, "plain", greedy=True, max_tokens=2)
        assert talk.say("ab").prompt[:2] == (258, a)
        assert talk.say("b").prompt.count(258) == 1
        run = CliRunner().invoke(program, ["tokens", "ab", "--model", str(path), "--json"])
        assert [token["id"] for token in json.loads(run.stdout)["tokens"]] == [258, a, b]
        run = CliRunner().invoke(
            program, ["generate", "<s>ab", "--special", "--model", str(path), "--json",
                      "--max-tokens", "1"],
        )  # fmt: skip
        assert json.loads(run.stdout.splitlines()[-1])["n_prompt"] == 3


def test_a_token_that_is_asked_about_is_no_whole_text(tmp_path: Path) -> None:
    path = ways(tmp_path, a_tokenizer(begin=(258,)), Roles(bos=258))["hf"]
    gpt = pellucid.load(path)
    assert token_id(gpt, "th") == VOCAB["th"]


def test_a_chat_also_ends_where_its_template_does(tmp_path: Path) -> None:
    """A finetune whose configuration still names its base's end only."""
    for path in ways(tmp_path, a_tokenizer(), Roles(eos=(NEWLINE,))).values():
        gpt = pellucid.load(path)
        assert gpt.stop_tokens == {NEWLINE}
        assert Conversation(gpt, "dialogpt").settings.stop_tokens == {NEWLINE, 257}
        assert Conversation(gpt, "plain").settings.stop_tokens == {NEWLINE}
        assert Conversation(gpt, "dialogpt", stop_tokens=[5]).settings.stop_tokens == {5}


# --- ids in, ids out -----------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """What model.save_pretrained leaves: weights, and no tokenizer."""
    return checkpoint.save(tmp_path / "bare", HPARAMS, tensors(), format="hf")


def test_weights_without_a_tokenizer(bare: Path) -> None:
    gpt = pellucid.load(bare)
    generation = gpt.generate([5, 7], greedy=True, max_tokens=4)
    new = [step.token for step in generation.steps]
    assert generation.text == "".join(f" #{token}" for token in new)
    assert generation.tokens == (5, 7, *new)
    assert [piece.text for piece in gpt.tokenizer.pieces([5, 259])] == [" #5", " #259"]
    for asked in (
        lambda: gpt.generate("text"),
        lambda: gpt.encode("text"),
        lambda: gpt.tokenizer.encode_many(["text"]),
        lambda: gpt.tokenizer.merges("text"),
        lambda: gpt.tokenizer.save(bare),
    ):
        with pytest.raises(TokenizerError, match=r"no tokenizer.*vocab\.json.*--ids"):
            asked()
    assert logit_lens(gpt, [5, 7]) is not None
    steps = walk(gpt, [5, 7], max_tokens=2).steps
    assert [row[2] for row in steps[1].pictures[0].rows] == ["5", "7"]  # ids, and no merges
    assert len(steps[1].pictures) == 1


def test_ids_on_the_command_line(bare: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(program, ["generate", *arguments, "--model", str(bare)])

    wanted = pellucid.load(bare).generate([5, 7, 7], greedy=True, max_tokens=3).text
    done = run("--ids", "5,7,7", "--greedy", "--max-tokens", "3")
    assert done.stdout.rstrip("\n") == " #5 #7 #7" + wanted
    assert run("text").exit_code != 0
    assert "no tokenizer" in str(run("text").exception)
    assert "in place of TEXT" in run("text", "--ids", "5").output
    assert "not in the vocabulary" in str(run("--ids", "5,260").exception)


# --- config.json ---------------------------------------------------------------------------------

GOLDEN = sorted((Path(__file__).parent / "golden").glob("config_keys_*.txt"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_key_that_transformers_wrote(path: Path) -> None:
    """Lists of names made by tests/support/config_keys.py."""
    keys = set(path.read_text().split())
    assert len(keys) > 60
    assert keys <= set(KNOWN) | SIZE_KEYS, keys - set(KNOWN) - SIZE_KEYS


def reconfigured(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")
    return folder


def test_a_key_that_nobody_knows_is_a_warning(bare: Path) -> None:
    with pytest.warns(CheckpointWarning, match="no key of a GPT-2: surprise, run_name"):
        loaded = checkpoint.load(reconfigured(bare, surprise=1, run_name="x"))
    assert loaded.hparams == HPARAMS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint.load(ways(bare.parent / "known", a_tokenizer(), Roles())["hf"])


def test_the_command_line_warns_in_one_line(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pellucid import cli

    reconfigured(bare, **{"surprise\x1b[31m": 1})
    monkeypatch.setattr(sys, "argv", ["pellucid", "models", str(bare)])
    with warnings.catch_warnings():
        warnings.simplefilter("default", CheckpointWarning)
        cli.main()
    error = capsys.readouterr().err
    assert error.startswith("Warning: ")
    assert error.count("\n") == 1
    assert "\x1b" not in error


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_theta": 10000.0}, "rope_theta is 10000.0; it must be absent"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1; it must be n_head"),
        ({"multi_query": True}, "multi_query"),
        ({"position_embedding_type": "alibi"}, "position_embedding_type is alibi"),
        ({"intermediate_size": 64}, "intermediate_size is 64; it must be 4"),
        ({"hidden_act": "silu"}, "hidden_act is silu"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps"),
        ({"attn_implementation": "x/y"}, "names code"),
        ({"custom_pipelines": {}}, "names Python code"),
        ({"trust_remote_code": False}, "asks for Python code"),
        ({"remote_kernels": ["x/y"]}, "remote_kernels is refused: it asks for code"),
    ],
)
def test_keys_of_other_models_are_refused_by_name(
    bare: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(reconfigured(bare, **values))


def test_the_same_sizes_by_other_names_are_fine(bare: Path) -> None:
    path = reconfigured(bare, intermediate_size=128, num_key_value_heads=4, head_dim=8,
                        rope_scaling=None, sliding_window=None, multi_query=False)  # fmt: skip
    assert checkpoint.load(path).hparams == HPARAMS


def test_a_byte_order_mark_is_no_text() -> None:
    """P12: a file from Windows on standard input."""
    wanted = CliRunner().invoke(program, ["tokens", "The crowd", "--json"])
    for form in ("utf-8", "utf-8-sig"):
        done = CliRunner().invoke(
            program, ["tokens", "-", "--json"], input="The crowd".encode(form)
        )
        assert done.stdout == wanted.stdout

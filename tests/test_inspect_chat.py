"""Questions about a chat's turn from outside it: `--chat` on every verb that takes a text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pellucid
from pellucid import checkpoint, inspect
from pellucid.chat import Conversation
from pellucid.cli.walk import step_through
from pellucid.errors import InputError
from pellucid.hparams import HParams
from pellucid.tokenizer import Tokenizer
from pellucid.transcript import Transcript
from support.models import lively
from support.program import ended, invoke, run, terminal
from support.screen import screen, text_of
from support.skips import needs, only_with
from support.small_corpus import ROLES

SAID = "Tell me a story. <|end|>"  # what is typed is never a special token


@pytest.fixture(scope="module")
def gpt():
    return pellucid.load("chat")


def talk_of(gpt, folder):
    """A conversation of two turns, and the file that it was saved in."""
    conversation = Conversation(gpt, seed=2, max_tokens=6, **gpt.card["sampling"])
    for text in ("Hello.", SAID):
        assert conversation.say(text).text
    path = folder / "talk.json"
    conversation.transcript().save(path)
    return conversation, str(path)


@pytest.fixture(scope="module")
def talked(gpt, tmp_path_factory):
    return talk_of(gpt, tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    """A model in a folder, what was said to it, and the words that name it: the embedded one takes
    seconds to be explained."""
    folder = tmp_path_factory.mktemp("little")
    tokenizer = Tokenizer.train(["the cat sat on a mat"] * 3, 300, special=ROLES)
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=128, n_embd=16, n_head=2, n_layer=2)
    card = {"sampling": {"temperature": 0.5, "top_k": 40}}
    checkpoint.save(folder / "M", hparams, lively(hparams), tokenizer, template="roles", card=card)
    gpt = pellucid.load(folder / "M")
    return gpt, talk_of(gpt, folder), ("--model", str(folder / "M"))


def turn(gpt, text):
    """By hand, from the template's own words."""
    special = gpt.tokenizer.special_tokens
    names = "<|user|>", "<|end|>", "<|assistant|>"
    user, end, assistant = (special[name] for name in names)
    return [user, *gpt.tokenizer.encode(text), end, assistant]


# verb and options -> the same in Python, of ids
VERBS = {
    ("why", "--no-labels"): lambda g, ids: inspect.why(g, ids, labels=False),
    ("lens", "--top", "2"): lambda g, ids: inspect.logit_lens(g, ids, k=2),
    ("lens", "--target", "#5", "--position", "-1"): lambda g, ids: inspect.logit_lens(
        g, ids, 5, positions=-1
    ),
    ("trace", "--names", "attn.pattern", "--layer", "1"): lambda g, ids: inspect.trace(
        g, ids, "attn.pattern", layers=1
    ),
    ("trace", "--cost"): lambda g, ids: inspect.estimate(g, ids),
    ("attention", "--layer", "1"): lambda g, ids: inspect.attention(g, ids, layers=1),
    ("attribute",): lambda g, ids: inspect.attribute(g, ids),
    ("gradients",): lambda g, ids: inspect.gradient_times_input(g, ids),
    ("ablate", "--head", "1.1", "--how", "mean"): lambda g, ids: inspect.ablate(
        g, ids, heads=[(1, 1)], how="mean"
    ),
    ("sweep", "--over", "mlps"): lambda g, ids: inspect.ablate_each(g, ids, "mlps"),
    ("walk", "--max-tokens", "1"): lambda g, ids: inspect.walk(g, ids, max_tokens=1),
    ("steer", "--towards", "the sea", "--max-tokens", "2", "--greedy", "--seed", "1"): (
        lambda g, ids: inspect.steered(
            g, ids, towards="the sea", max_tokens=2, seed=1, **g.card["sampling"] | {"greedy": True}
        )
    ),
}


def asked(question, gpt, ids):
    return json.loads(json.dumps(question(gpt, ids).to_dict()))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_verb_is_asked_about_the_very_ids(little, words):
    if words[0] == "gradients":
        needs("torch")
    gpt, (conversation, path), model = little
    verb, *options = (*words, *model)
    ids = turn(gpt, SAID)
    assert Conversation(gpt).say(SAID).prompt == tuple(ids)
    found = json.loads(run(verb, SAID, "--chat", *options, "--json"))
    assert found == asked(VERBS[words], gpt, ids)
    assert len(run(verb, SAID, "--chat", *options).splitlines()) > 1
    found = json.loads(run(verb, "--chat", path, *options, "--json"))
    ids = conversation.last.prompt
    if verb == "why":  # what was said is explained, not what is likeliest
        said = [step.token for step in conversation.last.steps]
        assert found == json.loads(json.dumps(inspect.why(gpt, ids, said, labels=False).to_dict()))
    else:
        assert found == asked(VERBS[words], gpt, ids)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_why_explains_the_nth_token_of_a_saved_reply(little, number):
    gpt, (conversation, path), model = little
    plain = ("--no-labels", *model)
    said = [step.token for step in conversation.last.steps]
    found = json.loads(run("why", "--chat", path, "--token", number, *plain, "--json"))
    assert found["prompt_ids"] == [*conversation.last.prompt, *said[: number - 1]]
    assert found["target_id"] == said[number - 1]
    printed = " ".join(run("why", "--chat", path, "--token", number, *plain).split())
    assert f"token {number} of {len(said)} of the continuation" in printed
    with pytest.raises(InputError, match=f"has {len(said)} tokens: there is no token 99"):
        run("why", "--chat", path, "--token", "99", *model)
    alone = json.loads(run("why", SAID, " a b", "--chat", "--token", "2", *plain, "--json"))
    assert alone["prompt_ids"] == [*turn(gpt, SAID), *gpt.tokenizer.encode(" a b")[:1]]


def test_patching_between_two_turns(gpt):
    one, other = "A dog barks.", "A cat barks."
    found = json.loads(run("patch", one, other, "--chat", "--over", "heads", "--json"))
    expected = inspect.patch_each(gpt, turn(gpt, one), turn(gpt, other), "heads")
    assert found == json.loads(json.dumps(expected.to_dict()))


def test_view_of_a_turn(gpt, tmp_path):
    path = tmp_path / "page.html"
    run("view", SAID, "--chat", "--html", path)
    page = path.read_text("utf-8")
    assert "\\u003c|assistant|" in page or "<|assistant|>" in page or "&lt;|assistant|" in page


def test_tokens_of_a_turn(gpt, talked):
    found = json.loads(run("tokens", SAID, "--chat", "--json"))
    assert [piece["id"] for piece in found["tokens"]] == turn(gpt, SAID)
    assert found["text"] == f"<|user|>{SAID}<|end|><|assistant|>"
    conversation, path = talked
    found = json.loads(run("tokens", "--chat", path, "--json"))
    assert [piece["id"] for piece in found["tokens"]] == list(conversation.last.prompt)
    done = invoke("tokens", SAID, "--chat", "--merges")
    assert done.exit_code == 2
    assert "--merges goes with a text" in done.stderr


def test_generate_replies_to_a_turn(gpt, talked):
    card = gpt.card["sampling"]
    asked = ("--seed", "3", "--max-tokens", "5")
    printed = run("generate", SAID, "--chat", *asked)
    assert printed == gpt.generate(turn(gpt, SAID), seed=3, max_tokens=5, **card).text + "\n"
    *_, end = map(json.loads, run("generate", SAID, "--chat", *asked, "--json").splitlines())
    assert (end["prompt"], end["text"] + "\n") == (SAID, printed)
    conversation, path = talked
    reply = gpt.generate(conversation.last.prompt, seed=3, max_tokens=5, **card)
    assert run("generate", "--chat", path, *asked) == reply.text + "\n"
    for words in (("--special",), ("--ids", "1")):
        assert invoke("generate", SAID, "--chat", *words).exit_code == 2


def test_what_does_not_fit_is_said(gpt):
    done = invoke("attention", "dog " * 700, "--chat", "--layer", "0", "--head", "0", "--json")
    assert done.exit_code == 0
    assert "too long for the window: only its last" in done.stderr
    assert len(json.loads(done.stdout)["ids"]) <= gpt.hparams.n_ctx


def test_a_conversation_without_a_reply_is_asked_where_it_would_begin(gpt, tmp_path):
    conversation = Conversation(gpt, seed=1, max_tokens=3)
    assert conversation.say("Hello.").text
    conversation.say("And?")  # not begun
    path = tmp_path / "talk.json"
    conversation.transcript().save(path)
    found = json.loads(run("tokens", "--chat", path, "--json"))
    assert [piece["id"] for piece in found["tokens"]] == list(conversation.last.prompt)
    conversation.clear()
    conversation.transcript().save(path)
    with pytest.raises(InputError, match="nothing was said in"):
        run("tokens", "--chat", path)


def test_files_that_are_none_and_texts_that_only_look_so(gpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text("{}")
    with pytest.raises(InputError, match="is not a conversation that Pellucid saved"):
        run("lens", "--chat", "other.json")
    with pytest.raises(InputError, match=r"there is no file none\.json: --chat takes what /save"):
        run("tokens", "none.json", "--chat")  # a file mistyped, and not what a user says
    found = json.loads(run("tokens", "a none.json", "--chat", "--json"))
    assert [piece["id"] for piece in found["tokens"]] == turn(gpt, "a none.json")
    found = json.loads(run("tokens", "other.json", "--json"))
    assert found["text"] == "other.json"


def test_where_a_model_is_not_made_for_talk_a_turn_is_the_text():
    found = json.loads(run("tokens", "The power", "--chat", "--model", "talk", "--json"))
    assert [piece["text"] for piece in found["tokens"]] == ["The", " power"]


# Going on


def test_continue_goes_on_with_what_was_saved(gpt, talked):
    conversation, path = talked
    printed = run("chat", "--continue", path, text="And then?\n")
    here = Conversation.of(gpt, Transcript.read(path, gpt.tokenizer))
    assert printed == here.say("And then?").text + "\n"
    assert here.last.prompt[: len(conversation.last.prompt)] == conversation.last.prompt
    printed = run("chat", "--continue", path, "--max-tokens", "2", text="And then?\n")
    changed = Conversation.of(gpt, Transcript.read(path, gpt.tokenizer), max_tokens=2)
    assert changed.settings == here.settings.changed(max_tokens=2)
    assert printed == changed.say("And then?").text + "\n"
    done = invoke("chat", "--continue", path, "--template", "plain", text="x\n")
    assert done.exit_code == 2
    assert "the file has its own" in done.stderr
    with pytest.raises(InputError, match="whose tokenizer is another"):
        run("chat", "--continue", path, "--model", "talk", text="x\n")
    assert invoke("chat", "--continue", "none.json", text="x\n").exit_code == 2


def test_a_system_text_that_has_no_effect_is_said_in_a_pipe():
    done = invoke("chat", "--system", "Rhyme.", "--max-tokens", "1", text="Hello\n")
    assert "trained without system texts" in done.stderr
    assert "trained" not in done.stdout


# The walk, step by step


@only_with("POSIX", "pexpect")
@pytest.mark.parametrize("leaves", ["q", "\x04", "a", None])
def test_the_walk_goes_step_by_step(leaves, tmp_path):
    child = terminal("walk", "The power clapper", "--model", "talk", "--step", HOME=tmp_path)
    for number in range(1, 13 if leaves is None else 4):
        child.expect(rf"{number}\. [A-Za-z]")
        if number == 12:
            break
        child.expect(rf"Step {number} of 12. Enter: the next. a: all the rest. q: leave.")
        assert f"{number + 1}. " not in child.before
        child.send("\r" if leaves is None or number < 3 else leaves)
    assert ended(child) == 0
    if leaves is not None:
        assert ("4. Look-up" in child.before) == (leaves == "a")
        assert ("12. Window full" in child.before) == (leaves == "a")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [("x\r?\rq", 3), ("xa", 12), ("\r" * 11, 12), ("q", 1), ("\x04", 1)],
    ids=["others are no answer", "all", "each", "none", "Ctrl-D"],
)
def test_what_each_key_does(monkeypatch, gpt, keys, shown):
    pressed = iter(keys)
    monkeypatch.setattr("click.getchar", lambda: next(pressed))
    console = screen(80)
    step_through(inspect.walk(gpt, "a b", max_tokens=1), console)
    assert next(pressed, None) is None
    titles = re.findall(r"^(\d+)\. \w", text_of(console), re.MULTILINE)
    assert titles == [str(number) for number in range(1, shown + 1)]


@only_with("POSIX", "pexpect")
def test_the_walk_of_a_chat_goes_step_by_step_too(tmp_path):
    home = {"HOME": tmp_path, "XDG_CONFIG_HOME": tmp_path}
    child = terminal("chat", "--model", "talk", "--no-store", **home)
    child.expect("Nothing is kept.")
    child.send("The power clapper\r")
    child.expect("straight to jail")
    child.send("/walk\r")
    child.expect("Step 1 of 12")
    child.send("q")
    child.send("/quit\r")
    assert ended(child) == 0
    assert "2. Tokenization" not in child.before


def test_step_needs_a_terminal_and_says_so():
    for words, said in (
        ((), "--step needs a terminal; without it the whole walk is printed"),
        (("--json",), "leave out --json and --html"),
        (("--html", "x.html"), "leave out --json and --html"),
    ):
        done = invoke("walk", "The power", "--model", "talk", "--step", *words)
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stdout == ""

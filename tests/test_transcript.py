"""A conversation as a file: what goes on after it was saved is what would have gone on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pellucid
from pellucid.backend import get_backend
from pellucid.chat import Conversation
from pellucid.errors import InputError
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.sequence import Settings
from pellucid.tokenizer import Tokenizer, byte_symbols
from pellucid.transcript import Transcript
from pellucid.weights import initialise

SPECIAL = {
    "<|endoftext|>": 256,
    "<|system|>": 257,
    "<|user|>": 258,
    "<|assistant|>": 259,
    "<|end|>": 260,
}


def small(n_ctx=160, merges=(), seed=3):
    """A random model over bytes."""
    vocab = {symbol: i for i, symbol in enumerate(byte_symbols())}
    vocab |= {a + b: 261 + i for i, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(vocab, merges, SPECIAL)
    hparams = HParams(n_vocab=len(vocab) + 5, n_ctx=n_ctx, n_embd=16, n_head=2, n_layer=2)
    tensors = {name: value * 9 for name, value in initialise(hparams, seed, "float64").items()}
    model = Model.of(hparams, tensors, get_backend("numpy", dtype="float64"))
    return GPT(model, tokenizer, template="roles", name="small")


@pytest.fixture(scope="module")
def gpt():
    return small()


def saved(conversation, tmp_path):
    path = tmp_path / "talk.json"
    conversation.transcript().save(path)
    return Conversation.of(
        conversation.gpt, Transcript.read(path, conversation.gpt.tokenizer)
    ), path


words = st.text(st.sampled_from("ab 🎉\n"), min_size=1, max_size=6)


@given(
    said=st.lists(words, min_size=1, max_size=4),
    system=st.sampled_from([None, "S\u2028"]),
    stop=st.sampled_from([(), ("a",), ("\x00", "e")]),
    broken_off=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_what_goes_on_is_what_would_have_gone_on(
    gpt, tmp_path_factory, said, system, stop, broken_off, seed
):
    here = Conversation(gpt, "roles", system, seed=seed, max_tokens=8, stop=stop, temperature=0.7)
    for text in said:
        reply = here.say(text)
        if broken_off and text == said[-1]:
            next(iter(reply))
        else:
            assert reply.text is not None
    there, _ = saved(here, tmp_path_factory.mktemp("kept"))
    assert there.messages == here.messages
    assert there.settings == here.settings
    assert there.transcript() == here.transcript()
    assert there.prompt_ids("and") == here.prompt_ids("and")
    for n in range(len(said)):
        ours, theirs = here.last, there.last
        assert theirs.prompt == ours.prompt
        assert [s.token for s in theirs.steps_so_far] == [s.token for s in ours.steps_so_far]
        assert [s.text for s in theirs.steps_so_far] == [s.text for s in ours.steps_so_far]
        assert [s.logprob for s in theirs.steps_so_far] == pytest.approx(
            [s.logprob for s in ours.steps_so_far], abs=1e-9
        )
        if n == 0:
            assert there.say("and").tokens == here.say("and").tokens
            assert there.last.text == here.last.text
            assert (there.undo(), here.undo()) == ("and", "and")
        assert there.undo() == here.undo()
    assert there.messages == here.messages


def test_retry_of_what_was_saved(gpt, tmp_path):
    here = Conversation(gpt, seed=4, max_tokens=5)
    assert here.say("hello").text is not None
    there, _ = saved(here, tmp_path)
    assert there.retry().tokens == here.retry().tokens
    assert there.retry(seed=11).text == here.retry(seed=11).text


def test_the_file_is_messages_that_others_read(gpt, tmp_path):
    from pellucid.data.documents import Row, document_of

    conversation = Conversation(gpt, system="S", seed=4, max_tokens=5, stop=["x"], top_k=3)
    assert conversation.say("hello").text is not None
    _, path = saved(conversation, tmp_path)
    table = json.loads(path.read_text("utf-8"))
    roles = [message["role"] for message in table["messages"]]
    assert roles == ["system", "user", "assistant"]
    assert [m["content"] for m in table["messages"]] == [m.text for m in conversation.messages]
    assert table["messages"][2]["prompt"] == list(conversation.last.prompt)
    assert Settings.of(**table["settings"]) == conversation.settings
    turns = document_of(Row(place="file", fields=table)).turns
    assert [tuple(turn) for turn in turns] == [tuple(m) for m in conversation.messages]


def test_another_models_file_is_refused(gpt, tmp_path):
    conversation = Conversation(gpt, max_tokens=3)
    assert conversation.say("hello").text is not None
    _, path = saved(conversation, tmp_path)
    assert Transcript.read(path, small(seed=8).tokenizer)  # another model of the same ids
    for other in (small(merges=[("a", "b")]), pellucid.load("chat")):
        with pytest.raises(InputError, match="saved with 'small', whose tokenizer is another"):
            Transcript.read(path, other.tokenizer)
    with pytest.raises(InputError, match="larger window than this model's 8 tokens"):
        Conversation.of(small(n_ctx=8), Transcript.read(path, gpt.tokenizer))


def test_a_fingerprint_is_of_everything_that_makes_ids():
    vocab = {symbol: i for i, symbol in enumerate(byte_symbols())}
    pairs = [("a", "b"), ("b", "c")]
    merged = vocab | {"ab": 256, "bc": 257}
    known = [
        Tokenizer(merged, pairs),
        Tokenizer(merged, pairs[::-1]),
        Tokenizer(vocab | {"bc": 256, "ab": 257}, pairs),
        Tokenizer(merged, pairs, {"<|e|>": 258}),
        Tokenizer(merged, pairs, {"<|f|>": 258}),
        Tokenizer(vocab | {"ab": 256}, pairs[:1], {"bc": 257}),
    ]
    prints = [tokenizer.fingerprint() for tokenizer in known]
    assert len(set(prints)) == len(prints)
    assert Tokenizer(dict(reversed(merged.items())), pairs).fingerprint() == prints[0]


def change(table, path, value):
    *way, last = path
    for key in way:
        table = table[key]
    if value is None and isinstance(table, dict):
        del table[last]
    else:
        table[last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("format",), "x", "is not a conversation that Pellucid saved"),
        (("more",), 1, "is not a conversation that Pellucid saved"),
        (("template",), 3, "template must be a text"),
        (("template",), "sung", "no chat template 'sung'"),
        (("settings",), [], "settings must be a table"),
        (("settings", "heat"), 1, "no such setting: heat"),
        (("settings", "temperature"), "hot", "temperature must be a number"),
        (("settings", "greedy"), "yes", "greedy must be true or false"),
        (("settings", "stop"), 3, "stop must be texts"),
        (("settings", "stop_tokens"), ["a"], "stop_tokens must be ids"),
        (("settings", "max_tokens"), 1.5, "max_tokens must be a whole number"),
        (("settings", "seed"), True, "seed must be a whole number"),
        (("settings", "n_ctx"), 1000, "n_ctx must be between"),
        (("messages",), {}, "messages must be a list"),
        (("messages", 0), "hello", "must have a role and a content"),
        (("messages", 0, "role"), "tool", "is out of place"),
        (("messages", 0, "content"), "", "is out of place"),
        (("messages", 1, "role"), "user", "is out of place"),
        (("messages", 1, "content"), "other", "was changed by hand"),
        (("messages", 1, "ids"), [], "must be a list of ids"),
        (("messages", 1, "ids"), [999], "999 is not in the vocabulary"),
        (("messages", 1, "ids"), [True], "is not in the vocabulary"),
        (("messages", 1, "prompt"), [-1], "-1 is not in the vocabulary"),
        (("messages", 1, "prompt"), None, "must have ids, prompt and seed"),
        (("messages", 1, "seed"), "1", "seed must be a whole number"),
    ],
)
def test_a_file_that_was_not_saved_so_is_refused_by_name(gpt, tmp_path, path, value, said):
    conversation = Conversation(gpt, seed=1, max_tokens=3)
    assert conversation.say("hello").text
    _, file = saved(conversation, tmp_path)
    table = json.loads(file.read_text("utf-8"))
    change(table, path, value)
    file.write_text(json.dumps(table), "utf-8")
    with pytest.raises(InputError, match=said):
        Conversation.of(gpt, Transcript.read(file, gpt.tokenizer))


def test_what_is_no_such_file_at_all(gpt, tmp_path):
    path = tmp_path / "talk.json"
    for content in (b"", b"[]", b"\xff", b'{"format": "pellucid conversation 1"}'):
        path.write_bytes(content)
        with pytest.raises(InputError):
            Transcript.read(path, gpt.tokenizer)
    with pytest.raises(InputError, match="cannot read"):
        Transcript.read(tmp_path / "none.json", gpt.tokenizer)
    with pytest.raises(InputError, match="cannot write"):
        Conversation(gpt).transcript().save(tmp_path / "no" / "folder.json")

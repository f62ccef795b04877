"""LAMBADA, HellaSwag and BLiMP by hand, and `pellucid eval` on files."""

from __future__ import annotations

import json
import lzma
import math
import random
from functools import partial

import numpy as np
import pytest

from pellucid.errors import InputError, PellucidError
from pellucid.evaluate import Row, blimp, hellaswag, lambada, loglikelihoods, perplexity, tree
from pellucid.evaluate.files import score_file
from pellucid.sampling import log_softmax
from support.models import lively_gpt
from support.program import invoke
from support.skips import BACKENDS, needs


def by_hand(gpt, before, scored):
    """Sum of log-probabilities, and whether each is the likeliest."""
    ids, total, greedy = list(before), 0.0, True
    for token in scored:
        logprobs = log_softmax(gpt.logits(ids)[-1])
        total += logprobs[token]
        greedy &= int(logprobs.argmax()) == token
        ids.append(token)
    return total, greedy


def test_lambada():
    gpt, _ = lively_gpt(n_ctx=40)
    texts = ["a cat ate\n\nthe mat", "one two", "no no"]
    expected = [
        by_hand(gpt, gpt.encode(text.rpartition(" ")[0]), gpt.encode(" " + text.rpartition(" ")[2]))
        for text in texts
    ]
    score = lambada(gpt, texts, batch=2)
    assert score.metrics["perplexity"] == pytest.approx(math.exp(-sum(e[0] for e in expected) / 3))
    assert score.metrics["accuracy"] == sum(e[1] for e in expected) / 3
    assert score.n_examples == 3
    assert score.n_tokens == sum(len(gpt.encode(text.rpartition(" ")[2])) + 1 for text in texts)


def test_lambada_is_right_only_if_every_token_is(monkeypatch):
    gpt, _ = lively_gpt(n_ctx=40)
    from pellucid.evaluate import tasks
    from pellucid.evaluate.scoring import Scored

    def two_rows(_gpt, rows, *, batch):
        import numpy as np

        for row, pattern in zip(range(len(list(rows))), ([True, False], [True, True]), strict=True):
            yield Scored(row, np.array([-1.0, -2.0]), np.array(pattern))

    monkeypatch.setattr(tasks, "loglikelihoods", two_rows)
    score = tasks.lambada(gpt, ["a b", "c d"])
    assert score.metrics == {"accuracy": 0.5, "perplexity": pytest.approx(math.exp(3))}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_rows_begin_with_is_computed_once(backend, monkeypatch):
    """Neighbours of all kinds: nothing in common, nearly all, one within the other, twice the same;
    scored from behind what they share, from within it, or whole."""
    gpt, _ = lively_gpt(n_ctx=20, backend=backend)
    rng = random.Random(1)

    def drawn(n):
        return [rng.randrange(gpt.hparams.n_vocab) for _ in range(n)]

    rows = []
    for _ in range(12):
        begin = drawn(rng.randint(1, 12))
        group = [begin + drawn(rng.randint(1, 6)) for _ in range(rng.randint(1, 4))]
        rows += [*group, group[-1], [*group[-1], 1]]
    rows = [Row(ids, rng.randint(1, len(ids) - 1)) for ids in rows]
    fed = []
    forward = type(gpt.model).forward
    monkeypatch.setattr(
        type(gpt.model),
        "forward",
        lambda self, tokens, *rest, **more: (
            fed.append(np.asarray(tokens).size) or forward(self, tokens, *rest, **more)
        ),
    )
    apart = {one.row: one for one in loglikelihoods(gpt, rows, batch=1)}
    n_apart = sum(fed)
    fed.clear()
    for found in loglikelihoods(gpt, rows), loglikelihoods(gpt, rows, batch=5):
        together = {one.row: one for one in found}
        assert together.keys() == apart.keys()
        for number, one in apart.items():
            np.testing.assert_allclose(together[number].logprobs, one.logprobs, atol=1e-4)
            np.testing.assert_array_equal(together[number].greedy, one.greedy)
        assert sum(fed) < 0.9 * n_apart
        fed.clear()


@pytest.mark.parametrize("room", [None, 21, 60])
def test_on_the_compiled_backend_every_beginning_is_computed_once(room, monkeypatch):
    """Nothing is padding, and who begins alike need not stand together; with little room in several
    trees."""
    needs("pellucid_native")
    gpt, _ = lively_gpt(n_ctx=20, backend="native")
    if room is not None:
        monkeypatch.setattr(tree, "KEYS", room * 2 * 2 * gpt.hparams.n_embd)
    rng = random.Random(2)
    rows = [[rng.randrange(3) for _ in range(rng.randint(2, 20))] for _ in range(60)]
    rows += [rows[0], [*rows[7], 1][:20], [5, 6]]
    rows = [Row(ids, rng.randint(1, len(ids) - 1)) for ids in rows]
    fed = []
    forward = type(gpt.model).forward
    with monkeypatch.context() as patch:
        patch.setattr(
            type(gpt.model),
            "forward",
            lambda self, tokens, *rest, **more: (
                fed.append(np.asarray(tokens).size) or forward(self, tokens, *rest, **more)
            ),
        )
        found = {one.row: one for one in loglikelihoods(gpt, rows)}
    begun = {tuple(row.ids[:n]) for row in rows for n in range(1, len(row.ids))}
    assert (sum(fed) == len(begun)) is (room is None)
    for number, row in enumerate(rows):
        logits = gpt.model.backend.to_numpy(gpt.forward(row.ids[:-1]))
        exact = log_softmax(np.asarray(logits, np.float64))[-row.n_scored :]
        wanted = row.ids[-row.n_scored :]
        at = np.arange(row.n_scored)
        np.testing.assert_allclose(found[number].logprobs, exact[at, wanted], atol=1e-4)
        assert found[number].greedy.tolist() == (exact.argmax(-1) == wanted).tolist()


def test_hellaswag_normalises_by_bytes():
    gpt, _ = lively_gpt(n_ctx=60)
    endings = ["é.", "runs [x]away fast"]
    sums = [
        by_hand(gpt, gpt.encode("Dog: A dog It"), gpt.encode(" " + text))[0]
        for text in ("é.", "runs away fast")
    ]
    normalised = [sums[0] / 3, sums[1] / 14]
    example = {"activity_label": "Dog", "ctx_a": "A dog", "ctx_b": "it", "ctx": "-",
               "endings": endings}  # fmt: skip
    for label in (0, 1):
        score = hellaswag(gpt, [{**example, "label": label}])
        assert score.metrics["acc"] == (sums[label] == max(sums))
        assert score.metrics["acc_norm"] == (normalised[label] == max(normalised))
    with pytest.raises(InputError, match="endings"):
        hellaswag(gpt, [{"ctx": "a", "label": 0}])
    with pytest.raises(InputError, match="label 2"):
        hellaswag(gpt, [{**example, "label": 2}])


def test_blimp_by_phenomenon():
    gpt, _ = lively_gpt(n_ctx=40)
    sentences = [("Who ran?", "Who ran ran?"), ("the the", "a"), ("no", "no")]
    pairs = [
        {"UID": "one" if i else "two", "sentence_good": good, "sentence_bad": bad}
        for i, (good, bad) in enumerate(sentences)
    ]
    right = [
        by_hand(gpt, [257], gpt.encode(good))[0] > by_hand(gpt, [257], gpt.encode(bad))[0]
        for good, bad in sentences
    ]
    assert not right[2]  # a tie is wrong
    score = blimp(gpt, pairs)
    assert score.metrics["accuracy"] == pytest.approx(sum(right) / 3)
    assert score.groups == {"one": pytest.approx(sum(right[1:]) / 2), "two": float(right[0])}
    assert "end-of-text" in score.protocol


@pytest.fixture
def folder(tmp_path):
    """The embedded model is too small a window for tasks: a larger one, saved."""
    from pellucid.checkpoint import save

    gpt, tensors = lively_gpt(n_ctx=40)
    save(tmp_path / "model", gpt.hparams, {n: v.astype("f4") for n, v in tensors.items()},
         tokenizer=gpt.tokenizer)  # fmt: skip
    return tmp_path


run = partial(invoke, "eval")


def test_command_on_files(folder):
    model = ("--model", folder / "model")
    path = folder / "text.txt.xz"
    path.write_bytes(lzma.compress(b"the cat\r\nran"))
    done = run(path, *model, "--stride", 1, "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    import pellucid as package

    # As training reads it: every kind of line end is one.
    expected = perplexity(package.load(folder / "model"), "the cat\nran", stride=1)
    assert printed["nats"] == pytest.approx(expected.nats, rel=1e-6)
    assert printed["n_bytes"] == 11
    shown = run(path, *model).stdout
    assert "protocol: windows of 40 tokens" in shown
    assert "10 tokens scored" in shown  # "th" is one
    assert str(folder / "model") in shown

    (folder / "b.jsonl").write_text('{"UID": "u", "sentence_good": "a b", "sentence_bad": "b"}\n')
    assert json.loads(run(folder / "b.jsonl", *model, "--json").stdout)["task"] == "BLiMP"
    (folder / "lambada.jsonl").write_text('{"text": "a b c"}\n{"text": "d e"}\n')
    out = run(folder / "lambada.jsonl", *model, "--json", "--limit", 1)
    assert json.loads(out.stdout)["n_examples"] == 1


def test_files_are_read_as_training_reads_them(folder):
    model = ("--model", folder / "model", "--json")
    plain = folder / "a.jsonl"
    plain.write_text('{"text": "the cat\\nran"}\n{"text": "no"}\n')
    expected = json.loads(run(plain, *model).stdout)
    marked = folder / "b.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    wide = folder / "c.json"
    wide.write_bytes(
        json.dumps([json.loads(line) for line in plain.read_text().splitlines()]).encode("utf-16")
    )
    table = folder / "d.csv"
    table.write_text('id,text\n1,"the cat\nran"\n2,no\n')
    for path in (marked, wide, table):
        done = json.loads(run(path, *model).stdout)
        assert {**done, "file": ""} == {**expected, "file": ""}, path


def test_conversations_of_every_shape(folder):
    turns = [("user", "a"), ("assistant", "b")]
    model = ("--model", folder / "model", "--json")
    (folder / "a.jsonl").write_text(
        json.dumps({"turns": [{"role": role, "text": text} for role, text in turns]})
    )
    (folder / "b.jsonl").write_text(
        json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})
    )
    scores = [json.loads(run(folder / name, *model).stdout) for name in ("a.jsonl", "b.jsonl")]
    assert scores[0]["replies"]["n_bytes"] == 2  # with the line end that closes it
    assert {**scores[0], "file": ""} == {**scores[1], "file": ""}
    (folder / "b.jsonl").write_text('{"text": "a"}\n{"instruction": "a", "output": "b"}\n')
    mixed = run(folder / "b.jsonl", *model)
    assert "line 2 is a conversation among texts" in str(mixed.exception)


def test_a_folder_is_measured_as_data_reads_it(folder):
    import pellucid as package
    from pellucid.data.files import find_files
    from pellucid.data.sources import Sources

    texts = folder / "texts"
    (texts / "deep" / "er").mkdir(parents=True)
    (texts / ".hidden").mkdir()
    (texts / "a.txt").write_text("the cat\n\nran")
    (texts / "deep" / "b.jsonl.xz").write_bytes(lzma.compress(b'{"text": "no"}\n{"text": "one"}'))
    (texts / "deep" / "er" / "c.csv").write_text('text\n"two\nmore"\n')
    (texts / ".hidden" / "d.txt").write_text("never")
    (texts / "picture.png").write_text("never")
    read = [d.begin for d in Sources(files=find_files([texts])).documents()]
    assert read == ["the cat\n\nran", "no", "one", "two\nmore"]
    expected = perplexity(package.load(folder / "model"), read)
    done = run(texts, "--model", folder / "model", "--json")
    assert done.exit_code == 0, done.exception
    printed = json.loads(done.stdout)
    assert printed["nats"] == pytest.approx(expected.nats)
    assert (printed["n_documents"], printed["n_bytes"]) == (4, expected.n_bytes)
    for more, n in (("--split-at", "blank"), 5), (("--limit", 3), 3):
        split = run(texts, "--model", folder / "model", "--json", *more)
        assert json.loads(split.stdout)["n_documents"] == n
    (texts / "e.jsonl").write_text('{"words": "three"}')
    assert "it has words" in str(run(texts, "--model", folder / "model").exception)
    (folder / "words.jsonl").write_text('{"words": "three"}')
    named = run(folder / "words.jsonl", "--model", folder / "model", "--json", "--text-field",
                "words")  # fmt: skip
    assert json.loads(named.stdout)["n_bytes"] == 5


def test_replies_that_are_not_learned_are_not_measured_as_the_assistants(folder):
    """As `data` masks them: OpenAI's weight 0, and turns that a prompt holds."""
    import pellucid as package
    from pellucid.evaluate import conversation_perplexity

    told = [("user", "a"), ("assistant", "bad"), ("user", "b"), ("assistant", "good")]
    turns = [{"role": role, "content": text} for role, text in told]
    weighted = [{**turns[0]}, {**turns[1], "weight": 0}, *turns[2:]]
    prompted = {"prompt": turns[:3], "completion": turns[3:]}
    gpt = package.load(folder / "model")
    whole = conversation_perplexity(gpt, [told])
    for row in ({"messages": weighted}, prompted):
        (folder / "a.jsonl").write_text(json.dumps(row))
        printed = json.loads(run(folder / "a.jsonl", "--model", folder / "model", "--json").stdout)
        assert printed["replies"]["n_bytes"] == len("good\n")
        assert printed["everything"]["nats"] == pytest.approx(whole.everything.nats)
        assert printed["replies"]["nats"] < whole.replies.nats


def test_a_bad_example_is_named_or_left_out(folder):
    model = ("--model", folder / "model", "--json")
    good = {"ctx": "a", "endings": ["b", "c"], "label": "1"}
    path = folder / "h.jsonl"
    path.write_text("\n".join(json.dumps(e) for e in (good, {**good, "label": ""}, good)))
    assert "h.jsonl, line 2: HellaSwag needs" in str(run(path, *model).exception)
    done = run(path, *model, "--skip-bad")
    assert json.loads(done.stdout)["n_examples"] == 2
    assert "Left out: " in done.stderr
    assert "h.jsonl, line 2" in done.stderr
    path = folder / "lambada.txt"
    path.write_text("a b c \nalone\nd e\n")  # a space at a line's end is no word
    assert "line 2: LAMBADA needs a text of several words" in str(run(path, *model).exception)
    assert json.loads(run(path, *model, "--skip-bad").stdout)["n_examples"] == 2


@pytest.mark.parametrize(
    ("name", "content", "arguments", "said"),
    [
        ("a.jsonl", '{"text": 1}\n', (), 'line 1: "text" must be a text, not 1'),
        ("a.jsonl", '{"body": "x"}\n', ("perplexity",), 'no "turns", .*"text", .*: it has body'),
        ("a.jsonl", "nonsense\n", (), "line 1 is not JSON"),
        ("a.jsonl", '{"text": "a"}\n', ("blimp",), "sentence_good"),
        ("a.txt", "", (), "nothing|empty"),
        ("a.txt.xz", "not xz", (), "cannot read"),
        ("a.txt", "a b", ("--stride", "41"), "stride must be"),
        ("a.txt", "a b", ("lambada", "--stride", "1"), "belong to perplexity"),
    ],
)
def test_mistakes_are_one_line(folder, name, content, arguments, said):
    import re

    path = folder / name
    path.write_text(content)
    kind = [a for a in arguments if a in ("perplexity", "blimp", "lambada")]
    rest = [a for a in arguments if a not in kind]
    done = run(*kind, path, *rest, "--model", folder / "model")
    assert isinstance(done.exception, PellucidError) or done.exit_code == 2
    assert re.search(said, f"{done.output} {done.exception}")


def test_settings_without_effect_are_refused(tmp_path):
    pair = {"sentence_good": "a b", "sentence_bad": "b a"}
    (tmp_path / "blimp.jsonl").write_text(json.dumps(pair) + "\n")
    (tmp_path / "lambada.txt").write_text("the cat\nthe mat\n")
    gpt, _ = lively_gpt()
    for kind, file, idle in (
        ("blimp", "blimp.jsonl", {"text_field": "x"}),
        ("blimp", "blimp.jsonl", {"split_at": "line"}),
        ("lambada", "lambada.txt", {"split_at": "blank"}),
        ("lambada", "lambada.txt", {"turns_field": "x"}),
    ):
        (name,) = idle
        with pytest.raises(InputError, match=f"{name} has no effect on {kind}"):
            score_file(gpt, tmp_path / file, kind, **idle)
    assert score_file(gpt, tmp_path / "lambada.txt", "lambada", split_at="line")

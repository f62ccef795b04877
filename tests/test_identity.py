"""Who is who: tokenizers, corpora, bases, adapters and texts are told apart by hashes of what they
are, never by their size or their name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pellucid import checkpoint, load
from pellucid.data.corpus import open_corpus
from pellucid.data.prepare import write_corpus
from pellucid.errors import CheckpointError, InputError, TokenizerError
from pellucid.hparams import HParams
from pellucid.sampling import log_softmax
from pellucid.tokenizer import Added, IdsOnly, Rules, Tokenizer
from pellucid.tokenizer.bpe import byte_symbols
from pellucid.tokenizer.rules import DIGIT, DIGITS, GPT2, SPACE
from pellucid.weights import initialise
from support.program import invoke
from support.skips import needs

pytestmark = pytest.mark.usefixtures("no_pictures")

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEXTS = ["the cat sat on a mat and saw one big red hat there", "a dog ran home to eat its food"]
TINY = (
    "--n-embd", "16", "--n-layer", "1", "--n-head", "2", "--n-ctx", "16", "--batch", "2",
    "--warmup", "0", "--threads", "1", "--eval-every", "0", "--precision", "float32",
)  # fmt: skip


# Tokenizers


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 290, ROLES)


def test_the_same_tokenizer_in_other_files(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.fingerprint() == tokenizer.fingerprint()
    # Other order, other spacing, no list of special tokens, another kind of file altogether.
    vocab = json.loads((tmp_path / "vocab.json").read_text("utf-8"))
    merges = (tmp_path / "merges.txt").read_text("utf-8").splitlines()[1:]
    (tmp_path / "b").mkdir()
    backwards = dict(reversed(vocab.items()))
    (tmp_path / "b" / "encoder.json").write_text(json.dumps(backwards, indent=4), "utf-8")
    (tmp_path / "b" / "vocab.bpe").write_bytes("\r\n".join(merges).encode())
    assert Tokenizer.from_folder(tmp_path / "b").fingerprint() == tokenizer.fingerprint()
    tokenizers = needs("tokenizers")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, pairs))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.add_special_tokens(list(ROLES))
    (tmp_path / "c").mkdir()
    theirs.save(str(tmp_path / "c" / "tokenizer.json"))
    assert Tokenizer.from_folder(tmp_path / "c").fingerprint() == tokenizer.fingerprint()


def test_another_tokenizer_of_the_same_size(tokenizer):
    """Each gives other ids for some text, or takes a special token for an ordinary one."""
    others = [
        Tokenizer.train([text[::-1] for text in TEXTS] * 3, 290, ROLES),  # the merges
        Tokenizer.train(TEXTS * 3, 290, ROLES[::-1]),  # the special tokens' ids
        Tokenizer.train(TEXTS * 3, 290, [*ROLES[:-1], "<|stop|>"]),  # their texts
    ]
    assert all(each.n_vocab == tokenizer.n_vocab for each in others)
    assert len({each.fingerprint() for each in (tokenizer, *others)}) == 4


def test_ids_and_the_order_of_merges_count():
    symbols = {symbol: i for i, symbol in enumerate(byte_symbols())}
    vocab = {**symbols, "ab": 256, "bc": 257}
    plain = Tokenizer(vocab, [("a", "b"), ("b", "c")])
    other = Tokenizer(vocab, [("b", "c"), ("a", "b")])
    assert (plain.encode("abc"), other.encode("abc")) == ([256, vocab["c"]], [vocab["a"], 257])
    swapped = Tokenizer({**vocab, "ab": 257, "bc": 256}, [("a", "b"), ("b", "c")])
    bytes_swapped = Tokenizer({**vocab, "a": vocab["b"], "b": vocab["a"]}, [("a", "b"), ("b", "c")])
    again = Tokenizer(dict(reversed(vocab.items())), [("a", "b"), ("b", "c")])
    assert again.fingerprint() == plain.fingerprint()
    assert len({t.fingerprint() for t in (plain, other, swapped, bytes_swapped)}) == 4


# Rules: one that differs, and a text whose ids differ with it (None: only what ids mean)

BYTES = {symbol: i for i, symbol in enumerate(byte_symbols())}
MERGED = BYTES | {
    "ab": 256,
    "<s>": 257,
    "</s>": 258,
    "<mask>": 259,
    "12": 260,
    "bĠ": 261,
    "ĠĠ": 262,
}
PLAIN_MASK = Added(id=259, special=False)
DIFFERENT = {
    "begin": (Rules(begin=(257,)), Rules(), "a"),
    "another begin": (Rules(begin=(257,)), Rules(begin=(258,)), "a"),
    "end": (Rules(end=(258,)), Rules(), "a"),
    "begin for end": (Rules(begin=(258,)), Rules(end=(258,)), "a"),
    "a space first": (Rules(steps=(SPACE, GPT2)), Rules(), "a"),
    "digit by digit": (Rules(steps=(DIGIT, GPT2)), Rules(steps=(DIGITS, GPT2)), "a 12"),
    "the order of steps": (
        Rules(steps=(DIGITS, GPT2)),
        Rules(steps=(GPT2, DIGITS)),
        "a  1",
    ),
    "no split": (Rules(steps=()), Rules(), "b b"),
    "added": (Rules(added={"<mask>": PLAIN_MASK}), Rules(), "<mask>"),
    "added as another id": (
        Rules(added={"<mask>": PLAIN_MASK}),
        Rules(added={"<s>": Added(id=257, special=False)}),
        "<mask>",
    ),
    **{
        flag: (
            Rules(added={"<mask>": replace(PLAIN_MASK, **{flag: True})}),
            Rules(added={"<mask>": PLAIN_MASK}),
            "a <mask> b x<mask>x",
        )
        for flag in ("lstrip", "rstrip", "single_word")
    },
    "special or not": (
        Rules(added={"<mask>": Added(id=259, lstrip=True)}),
        Rules(added={"<mask>": replace(PLAIN_MASK, lstrip=True)}),
        "<mask>",
    ),
    "which of two is looked for first": (
        Rules(added={"<mask>": PLAIN_MASK, "</s>": Added(id=258, special=False, rstrip=True)}),
        Rules(
            added={
                "<mask>": replace(PLAIN_MASK, normalized=True),
                "</s>": Added(id=258, special=False, rstrip=True),
            }
        ),
        None,
    ),
}  # fmt: skip


def ruled(rules: Rules, special: tuple[str, ...] = ()) -> Tokenizer:
    return Tokenizer(
        MERGED,
        [("a", "b"), ("1", "2"), ("b", "Ġ"), ("Ġ", "Ġ")],
        {text: MERGED[text] for text in special},
        rules,
    )


@pytest.mark.parametrize("case", DIFFERENT)
def test_one_rule_makes_another_tokenizer(case, tmp_path):
    *sides, text = DIFFERENT[case]
    one, other = map(ruled, sides)
    if text is not None:
        ids = [each.framed(each.encode(text)) for each in (one, other)]
        assert ids[0] != ids[1]
    assert one.fingerprint() != other.fingerprint()
    for number, each in enumerate((one, other)):  # and both stay who they are through their files
        if not each.rules.plain:
            (tmp_path / str(number)).mkdir()
            each.save(tmp_path / str(number))
            assert Tokenizer.from_folder(tmp_path / str(number)).fingerprint() == each.fingerprint()


@pytest.mark.parametrize("steps", [("words",), (SPACE, DIGITS), (SPACE, DIGIT, GPT2)])
def test_steps_that_no_file_can_hold_are_refused(steps):
    with pytest.raises(TokenizerError, match="step"):
        Rules(steps=steps)


SAME = {
    "the order in which they are listed": (
        Rules(added={"<mask>": PLAIN_MASK, "<s>": Added(id=257, lstrip=True)}),
        Rules(added={"<s>": Added(id=257, lstrip=True), "<mask>": PLAIN_MASK}),
    ),
    "normalized, where nothing overlaps": (
        Rules(added={"<mask>": replace(PLAIN_MASK, normalized=True)}),
        Rules(added={"<mask>": PLAIN_MASK}),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_changes_no_ids_makes_no_other_tokenizer(case):
    one, other = map(ruled, SAME[case])
    text = "x <mask> <s> ab <mask><s>"
    assert one.encode(text, ["<s>"][: len(one.special_tokens)]) == other.encode(
        text, ["<s>"][: len(one.special_tokens)]
    )
    assert one.fingerprint() == other.fingerprint()


def test_a_special_token_is_one_however_it_is_named():
    by_rule = ruled(Rules(added={"<s>": Added(id=257)}))
    by_name = ruled(Rules(), special=("<s>",))
    assert by_rule.encode("a<s>", ["<s>"]) == by_name.encode("a<s>", ["<s>"])
    assert by_rule.fingerprint() == by_name.fingerprint() != ruled(Rules()).fingerprint()


def test_two_tokens_of_the_same_bytes():
    """Which of them a text becomes is not to be seen in the bytes."""
    made = "".join(byte_symbols()[byte] for byte in "日".encode()[:2])
    whole = made + byte_symbols()["日".encode()[2]]
    merges = [tuple(made), (made, whole[2])]
    twins = [
        Tokenizer(BYTES | {made: 256, whole: 257, "日": 258}, merges),
        Tokenizer(BYTES | {made: 256, whole: 258, "日": 257}, merges),
    ]
    assert [each.encode("日") for each in twins] == [[257], [258]]
    assert {each.decode([token]) for each in twins for token in (257, 258)} == {"日"}
    assert twins[0].fingerprint() != twins[1].fingerprint()


def test_ids_without_a_tokenizer_are_as_many_as_they_are():
    assert IdsOnly(9, "a").fingerprint() == IdsOnly(9, "b").fingerprint()
    assert IdsOnly(9, "a").fingerprint() != IdsOnly(10, "a").fingerprint()


def test_a_fingerprint_of_before_rules_were_hashed_one_by_one(folder, tokenizer):
    """What has no rules of its own keeps the one it had. A corpus is known by its files too."""
    pinned = "9d9f5c0384924de407367b9e0a9b02067937b21b7a48e686f805d661c37af684"
    assert Tokenizer.train(TEXTS * 3, 290, ROLES).fingerprint() == pinned
    begin = Rules(begin=(tokenizer.end_of_text,))
    vocab, merges, special = tables_of(tokenizer, folder / "T")
    write_corpus(
        [folder / "texts.jsonl"],
        folder / "ruled",
        tokenizer=Tokenizer(vocab, merges, special, begin),
    )
    corpus = open_corpus(folder / "ruled")
    now = corpus.fingerprint()
    corpus.card["tokenizer"]["fingerprint"] = "0" * 64
    assert corpus.tokenizer().rules == begin
    assert corpus.fingerprint() != now
    path = folder / "ruled" / "tokenizer" / "tokenizer_config.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match="is not the tokenizer that made the ids"):
        corpus.tokenizer()


def tables_of(tokenizer: Tokenizer, folder):
    folder.mkdir()
    tokenizer.save(folder)
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    return (
        json.loads((folder / "vocab.json").read_text("utf-8")),
        [tuple(line.split(" ")) for line in lines],
        dict(tokenizer.special_tokens),
    )


# Corpora and models


@pytest.fixture
def folder(tmp_path, tokenizer):
    """A model, texts, a corpus by the model's tokenizer, and one by another of the same size."""
    hparams = HParams(n_vocab=tokenizer.n_vocab, n_ctx=16, n_embd=16, n_head=2, n_layer=1)
    checkpoint.save(tmp_path / "M", hparams, initialise(hparams, 1), tokenizer, template="roles")
    lines = [{"text": f"{text} {n}"} for n in range(30) for text in TEXTS]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    other = Tokenizer.train([text[::-1] for text in TEXTS] * 3, 290, ROLES)
    assert other.n_vocab == tokenizer.n_vocab
    write_corpus([tmp_path / "texts.jsonl"], tmp_path / "own", tokenizer=tokenizer)
    write_corpus([tmp_path / "texts.jsonl"], tmp_path / "other", tokenizer=other)
    return tmp_path


def test_a_corpus_of_another_tokenizer_is_refused_with_the_command_that_helps(folder):
    needs("torch")
    asked = ("--start", folder / "M", "--steps", 1, "--out", folder / "run", *TINY[8:])
    refused = invoke("train", folder / "other", *asked)
    assert isinstance(refused.exception, InputError)
    message = str(refused.exception)
    assert "another tokenizer" in message
    command = f"pellucid data TEXTS {folder / 'other'} --tokenizer {folder / 'M'}"
    assert message.endswith(command)
    assert not (folder / "run" / "checkpoints").exists()
    # The command does it: the first loss is the model's own, computed apart from training.
    words = command.replace("TEXTS", str(folder / "texts.jsonl")).split()
    assert invoke(*words[1:]).exit_code == 0
    done = invoke("train", folder / "other", *asked)
    assert done.exit_code == 0, done.exception
    first = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[0])["loss"]
    gpt = load(folder / "M")
    from pellucid.train.batches import Batches

    inputs, targets = Batches(open_corpus(folder / "own").train, 16).take(0, 2)
    nats = [
        -log_softmax(gpt.logits(row))[np.arange(16), after].mean()
        for row, after in zip(inputs, targets, strict=True)
    ]
    assert first == pytest.approx(np.mean(nats), abs=1e-5)


def test_a_corpus_made_anew_does_not_take_over_a_run(folder):
    needs("torch")
    run, corpus = folder / "run", folder / "own"
    assert invoke("train", corpus, "--out", run, "--steps", 2, *TINY).exit_code == 0
    shutil.copytree(corpus, folder / "moved")
    (run / "config.toml").write_text(
        (run / "config.toml").read_text().replace(str(corpus), str(folder / "moved"))
    )
    assert invoke("train", "--resume", run, "--steps", 3).exit_code == 0  # moved, and the same
    # As many tokens, by the same tokenizer: only in another order.
    lines = (folder / "texts.jsonl").read_text().splitlines()
    (folder / "texts.jsonl").write_text("\n".join(reversed(lines)))
    write_corpus([folder / "texts.jsonl"], folder / "moved", tokenizer=corpus)
    assert open_corpus(folder / "moved").train.n_tokens == open_corpus(corpus).train.n_tokens
    refused = invoke("train", "--resume", run, "--steps", 4)
    assert isinstance(refused.exception, InputError)
    assert "is not the corpus that the run" in str(refused.exception)
    assert f"pellucid train {folder / 'moved'} --out ANOTHER" in str(refused.exception)


def test_a_hash_in_the_card_is_that_of_the_files(folder):
    for masked in (False, True):
        if masked:
            turns = [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}]
            (folder / "texts.jsonl").write_text(json.dumps({"turns": turns}) + "\n")
            write_corpus([folder / "texts.jsonl"], folder / "own", tokenizer=folder / "other")
        corpus = open_corpus(folder / "own")
        for split in ("train", "validation"):
            assert corpus.card["splits"][split]["sha256"] == getattr(corpus, split).sha256()
        whole = corpus.fingerprint()
        for split in ("train", "validation"):  # cards of before had none
            del corpus.card["splits"][split]["sha256"]
        assert corpus.fingerprint() == whole
    shutil.rmtree(folder / "own" / "tokenizer")
    shutil.copytree(folder / "M", folder / "own" / "tokenizer")
    with pytest.raises(InputError, match="is not the tokenizer that made the ids"):
        open_corpus(folder / "own").tokenizer()


def test_texts_that_changed_without_growing_are_noticed(folder):
    needs("torch")
    asked = ("train", folder / "texts.jsonl", "--out", folder / "run", "--steps", 1, *TINY)
    assert invoke(*asked, "--n-vocab", 290).exit_code == 0
    text = (folder / "texts.jsonl").read_text()
    (folder / "texts.jsonl").write_text(text.replace("cat", "mat"))
    assert "other texts" in str(invoke(*asked).exception)


# Bases and adapters


def test_a_base_that_changed_is_said_and_the_run_goes_on_as_it_was(folder, tokenizer):
    needs("torch")
    pairs = [{"prompt": f"{n}?", "chosen": "a", "rejected": "b"} for n in range(9)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    start = ("--start", folder / "M", "--precision", "float32", "--threads", 1, "--save-every", 2,
             "--eval-every", 0, "--learning-rate", 1e-2)  # fmt: skip
    asked = {
        "lora": ("train", folder / "own", "--lora-rank", 2, *start),
        "dpo": ("prefer", folder / "pairs.jsonl", *start),
    }
    for name, command in asked.items():
        for run in ("straight", "stopped"):
            done = invoke(*command, "--out", folder / name / run, "--steps", 4)
            assert done.exit_code == 0, done.exception
        for gone in ("checkpoints/00000004", "model"):
            shutil.rmtree(folder / name / "stopped" / gone)
    hparams = checkpoint.load(folder / "M").hparams
    other = initialise(hparams, 2)
    checkpoint.save(folder / "M", hparams, other, tokenizer, template="roles")
    for name in asked:
        gone_on = invoke("train", "--resume", folder / name / "stopped")
        assert gone_on.exit_code == 0, gone_on.exception
        assert f"{folder / 'M'} has other weights than when the run began" in gone_on.stderr
        straight, stopped = (
            (folder / name / run / "model" / "model.safetensors").read_bytes()
            for run in ("straight", "stopped")
        )
        assert straight == stopped
    refused = invoke("merge", folder / "M", folder / "lora/straight/adapter", folder / "merged")
    assert isinstance(refused.exception, CheckpointError)
    assert "trained on other weights" in str(refused.exception)
    # The command that it names merges what the run has kept of its base.
    command = str(refused.exception).rpartition("Its run has kept it: ")[2]
    assert command.startswith(f"pellucid merge {folder / 'lora/straight/checkpoints'}")
    assert invoke(*command.split()[1:]).exit_code == 0
    merged, made = (checkpoint.load(folder / name) for name in ("merged", "lora/straight/model"))
    for name, values in made.tensors.items():
        np.testing.assert_allclose(merged.tensors[name], values, atol=1e-6)
    shutil.rmtree(folder / "lora/straight/checkpoints")
    refused = invoke("merge", folder / "M", folder / "lora/straight/adapter", folder / "again")
    assert str(refused.exception).endswith("give the checkpoint that its run started from")


def test_an_adapter_is_not_merged_under_another_tokenizer(folder):
    needs("torch")
    asked = ("--start", folder / "M", "--lora-rank", 2, "--steps", 2, "--out", folder / "run")
    assert invoke("train", folder / "own", *asked, *TINY[8:]).exit_code == 0
    base = checkpoint.load(folder / "M")
    other = open_corpus(folder / "other").tokenizer()
    checkpoint.save(folder / "N", base.hparams, base.tensors, other, template="roles")
    adapter = folder / "run" / "adapter"
    refused = invoke("merge", folder / "N", adapter, folder / "merged")
    assert "with another tokenizer" in str(refused.exception)
    assert invoke("merge", folder / "M", adapter, folder / "merged").exit_code == 0
    # An adapter of before says nothing of a tokenizer.
    config = json.loads((adapter / "adapter.json").read_text())
    del config["tokenizer"]
    (adapter / "adapter.json").write_text(json.dumps(config))
    assert invoke("merge", folder / "N", adapter, folder / "other_merged").exit_code == 0


# What is no text


@pytest.mark.parametrize("verb", ["data", "eval", "prefer"])
def test_token_files_runs_and_models_are_no_texts(folder, verb):
    if verb == "prefer":
        needs("torch")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "config.toml").write_text("")
    made = {"own": "a tokenised corpus", "M": "a model", "run": "a training run"}
    for name, what in made.items():
        more = {
            "data": (folder / "out",),
            "eval": ("--model", folder / "M"),
            "prefer": ("--start", folder / "M", "--out", folder / "better"),
        }[verb]
        refused = invoke(verb, folder / name, *more)
        assert isinstance(refused.exception, InputError)
        assert f"{folder / name} is {what}" in str(refused.exception)


def test_what_was_made_inside_a_folder_of_texts_is_not_read(folder):
    card = write_corpus([folder], folder / "all", tokenizer=folder / "own")
    assert [source["file"] for source in card["sources"]] == ["texts.jsonl"]

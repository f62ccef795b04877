"""Preference finetuning: the loss by hand, what it moves, how it goes on, and bad lines."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.errors import InputError, TrainingError
from pellucid.hparams import HParams
from pellucid.template import TEMPLATES
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise
from support.program import invoke
from support.skips import needs

torch = needs("torch")

from pellucid.data.pairs import read_pairs  # noqa: E402
from pellucid.train import lora  # noqa: E402
from pellucid.train.batches import IGNORE  # noqa: E402
from pellucid.train.config import PreferenceConfig  # noqa: E402
from pellucid.train.preference import dpo_loss  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402

ROLES = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
COLOURS = ("red", "blue", "green", "black", "white", "pink", "grey", "brown", "gold", "teal")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["what is it? it is red, blue, green. no!"], 275, special=ROLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A checkpoint, and pairs in which the kind reply is the better one."""
    folder = tmp_path_factory.mktemp("preference")
    hparams = HParams(tokenizer.n_vocab, 48, 16, 2, 2)
    checkpoint.save(folder / "base", hparams, initialise(hparams, 1), tokenizer, template="roles")
    write(
        folder / "pairs.jsonl",
        [
            {"prompt": f"what is {colour}?", "chosen": "it is good", "rejected": "no!"}
            for colour in COLOURS
        ],
    )
    return folder


def write(path, entries):
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config_of(folder, out, **changed):
    settings = {
        "corpus": str(folder / "pairs.jsonl"), "out": str(out), "start": str(folder / "base"),
        "steps": 6, "batch": 4, "learning_rate": 3e-3, "warmup": 2, "precision": "float32",
        "eval_every": 3, "save_every": 3, "held_out": 0.2, "threads": 1,
    }  # fmt: skip
    return PreferenceConfig(**{**settings, **changed})


def weights_equal(a, b):
    return all((np.asarray(a[name]) == np.asarray(b[name])).all() for name in a)


# The loss


def test_the_loss_is_the_papers_equation():
    margins = torch.tensor([0.0, 2.0, -3.0], dtype=torch.float64)
    expected = [math.log(2), math.log(1 + math.exp(-2)), math.log(1 + math.exp(3))]
    assert np.allclose(dpo_loss(margins).numpy(), expected, atol=1e-15)
    assert np.allclose(
        dpo_loss(margins, 0.2).numpy(),
        [0.8 * math.log(1 + math.exp(-m)) + 0.2 * math.log(1 + math.exp(m)) for m in (0, 2, -3)],
    )


def test_the_loss_begins_at_ln_2(folder, tmp_path):
    trainer = trainer_for(config_of(folder, tmp_path / "run"))
    rows = trainer.task.pairs.take(0, 4)
    with torch.no_grad():
        loss, measured = trainer.task.loss(trainer.module, trainer.tensors(rows))
    # The rows' padding is another than the reference's was: float32's rounding alone.
    assert float(loss) / 4 == pytest.approx(math.log(2), abs=1e-7)
    assert abs(measured["margin"]) < 1e-5
    report = trainer.advance()
    assert report.loss == pytest.approx(math.log(2), abs=1e-7)
    assert set(report.measures) == {"accuracy", "margin", "chosen", "rejected"}

    # In float64 it is ln 2 to its last digits.
    trainer = trainer_for(config_of(folder, tmp_path / "double"))
    trainer.module.double()
    trainer.task.measure_reference(trainer.measure)
    with torch.no_grad():
        loss, _ = trainer.task.loss(trainer.module, trainer.tensors(trainer.task.pairs.take(0, 4)))
    assert float(loss) / 4 == pytest.approx(math.log(2), abs=1e-13)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_the_loss_by_hand(folder, tmp_path, tokenizer):
    """Independent: texts spelled out, log-probabilities from the numpy backend, one by one."""
    from pellucid.gpt import load

    trainer = trainer_for(config_of(folder, tmp_path / "run", beta=0.3, steps=4))
    for _ in trainer:
        pass
    ids = tokenizer.special_tokens

    def log_probability(gpt, colour, reply):
        prompt = [
            ids["<|user|>"], *tokenizer.encode(f"what is {colour}?"), ids["<|end|>"],
            ids["<|assistant|>"],
        ]  # fmt: skip
        said = [*tokenizer.encode(reply), ids["<|end|>"]]
        logits = np.asarray(gpt.forward(prompt + said)).reshape(-1, tokenizer.n_vocab)
        rows = log_softmax(logits.astype("f8"))[len(prompt) - 1 : -1]
        return float(rows[np.arange(len(said)), said].sum())

    base, policy = load(folder / "base"), load(tmp_path / "run" / "model")
    places = trainer.task.pairs.train[:3]
    expected = []
    for place in places:
        colour = COLOURS[place]
        better, worse = (
            log_probability(policy, colour, reply) - log_probability(base, colour, reply)
            for reply in ("it is good", "no!")
        )
        expected.append(math.log(1 + math.exp(-0.3 * (better - worse))))
    with torch.no_grad():
        loss, _ = trainer.task.loss(
            trainer.module, trainer.tensors(trainer.task.pairs.rows(places))
        )
    assert float(loss) == pytest.approx(sum(expected), abs=1e-5)
    assert sum(expected) < 3 * math.log(2) - 1e-3  # and it has learned something


def test_only_the_replies_are_learned(folder, tmp_path, tokenizer):
    trainer = trainer_for(config_of(folder, tmp_path / "run"))
    _, targets, _ = trainer.task.pairs.rows(np.arange(2))
    for which, reply in enumerate(("it is good", "no!")):
        learned = targets[0, which][targets[0, which] != IGNORE]
        assert tokenizer.decode(learned) == f"{reply}<|end|>"


# A run


@pytest.mark.parametrize("rank", [0, 2])
def test_chosen_replies_become_likelier(folder, tmp_path, rank):
    before = {n: np.array(x) for n, x in checkpoint.load(folder / "base").tensors.items()}
    settings = {"steps": 12, "lora_rank": rank, "learning_rate": 1e-2 if rank else 3e-3}
    trainer = trainer_for(config_of(folder, tmp_path / "run", **settings))
    reference = trainer.task.pairs.reference.copy()
    reports = list(trainer)
    assert reports[-1].measures["accuracy"] == 1
    assert reports[-1].measures["margin"] > 0.1
    assert reports[-1].measures["validation_accuracy"] == 1
    assert reports[-1].validation_loss < math.log(2) - 0.05
    rewards = reports[-1].measures
    assert rewards["chosen"] - rewards["rejected"] == pytest.approx(rewards["margin"], abs=1e-6)
    # The reference stays what it was.
    assert (trainer.task.pairs.reference == reference).all()
    assert weights_equal(before, checkpoint.load(folder / "base").tensors)
    model = checkpoint.load(tmp_path / "run" / "model")
    assert model.template == "roles"
    assert model.card["made_by"] == "pellucid prefer"
    assert (tmp_path / "run" / "adapter").is_dir() == bool(rank)
    if rank:
        assert weights_equal(before, lora.base(trainer.module))


def test_no_prompt_is_in_both_parts(folder, tmp_path):
    pairs = trainer_for(config_of(folder, tmp_path / "run", held_out=0.35)).task.pairs
    assert len(pairs.validation) == 3
    parts = [
        {pairs.pairs[place].prompt for place in part} for part in (pairs.train, pairs.validation)
    ]
    assert not parts[0] & parts[1]
    epoch, _, _ = pairs.take(len(pairs.train), len(pairs.train))
    assert len(np.unique(epoch[:, 0], axis=0)) == len(pairs.train)  # each once an epoch


@pytest.mark.parametrize("rank", [0, 2])
def test_a_stopped_run_goes_on_bitwise(folder, tmp_path, rank):
    settings = {"dropout": 0.1, "lora_rank": rank, "micro_batch": 2}
    settings |= {"lora_dropout": 0.1} if rank else {}
    straight = trainer_for(config_of(folder, tmp_path / "straight", **settings))
    losses = [report.loss for report in straight]
    stopped = trainer_for(config_of(folder, tmp_path / "stopped", **settings))
    first = [stopped.advance().loss for _ in range(4)][:3]  # the fourth step is lost
    again = trainer_for(config_of(folder, tmp_path / "stopped", **settings))
    assert again.step == 3
    rest = list(again)
    assert first + [report.loss for report in rest] == losses
    assert weights_equal(straight.module.tensors(), again.module.tensors())
    logged = (tmp_path / "straight" / "log.jsonl").read_text().splitlines()
    assert json.loads(logged[-1])["measures"] == rest[-1].measures

    write(tmp_path / "other.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    other = config_of(folder, tmp_path / "stopped", **settings)
    with pytest.raises(InputError, match="other pairs than the run"):
        trainer_for(
            PreferenceConfig(**{**other.to_dict(), "corpus": str(tmp_path / "other.jsonl")})
        )


def test_micro_batches_make_one_batch(folder, tmp_path):
    whole = trainer_for(config_of(folder, tmp_path / "whole"))
    parts = trainer_for(config_of(folder, tmp_path / "parts", micro_batch=1))
    for one, other in zip(whole, parts, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.norm == pytest.approx(other.norm, rel=1e-3)


def test_what_is_not_finite_stops_before_the_weights(folder, tmp_path):
    trainer = trainer_for(config_of(folder, tmp_path / "run"))
    trainer.task.pairs.reference[:] = np.nan
    before = {name: x.copy() for name, x in trainer.module.tensors().items()}
    with pytest.raises(TrainingError, match="not finite"):
        trainer.advance()
    assert weights_equal(before, trainer.module.tensors())


# What comes in


def test_prompts_may_be_turns(tmp_path, tokenizer):
    turns = [
        {"role": "system", "text": "be good"},
        {"role": "user", "content": "what?"},
        {"role": "assistant", "text": "it"},
        {"role": "user", "text": "what <|end|> is it?"},
    ]
    path = write(tmp_path / "p.jsonl", [{"prompt": turns, "chosen": "red", "rejected": "blue"}, ""])
    ((pair,), _, _) = read_pairs(path, TEMPLATES["roles"], tokenizer)
    shown = (
        "<|system|>be good<|end|><|user|>what?<|end|><|assistant|>it<|end|>"
        "<|user|>what <|end|> is it?<|end|><|assistant|>"
    )
    assert tokenizer.decode(pair.prompt) == shown
    assert tokenizer.decode(pair.chosen) == f"{shown}red<|end|>"
    # What a person types is text, never the token.
    assert list(pair.prompt).count(tokenizer.special_tokens["<|end|>"]) == 4


def test_bad_lines_are_named(tmp_path, tokenizer):
    good = {"prompt": "a", "chosen": "b", "rejected": "c"}
    bad = {
        "{": "is not JSON",
        "[1]": "is not a JSON object",
        json.dumps({"prompt": "a", "chosen": "b"}): 'no "chosen" and "rejected": it has prompt',
        json.dumps({"chosen": "a", "rejected": "b"}): 'a pair needs a "prompt"',
        json.dumps({**good, "chosen": 3}): '"chosen" must be a text',
        json.dumps({**good, "prompt": []}): '"prompt" must be',
        json.dumps({**good, "prompt": [{"role": "x", "text": "y"}]}): 'must have a "role"',
        json.dumps({**good, "rejected": None}): '"rejected" is null',
    }
    for line, said in bad.items():
        path = write(tmp_path / "p.jsonl", [good, "", line])
        with pytest.raises(InputError, match="line 3") as found:
            read_pairs(path, TEMPLATES["roles"], tokenizer)
        assert said in str(found.value)
    path = write(tmp_path / "p.jsonl", list(bad)[:5])
    with pytest.raises(InputError, match=r"line 1 .*line 2.*line 3.*and 2 more rows"):
        read_pairs(path, TEMPLATES["roles"], tokenizer)
    with pytest.raises(InputError, match="no pairs"):
        read_pairs(write(tmp_path / "e.jsonl", [""]), TEMPLATES["roles"], tokenizer)
    with pytest.raises(InputError, match="does not exist"):
        read_pairs(tmp_path / "none.jsonl", TEMPLATES["roles"], tokenizer)
    (tmp_path / "latin.jsonl").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_pairs(tmp_path / "latin.jsonl", TEMPLATES["roles"], tokenizer)


def test_pairs_that_teach_nothing_are_left_out_counted_and_said(folder, tmp_path):
    good = {"prompt": "a", "chosen": "b", "rejected": "c"}
    equal = {"prompt": "a", "chosen": "b", "rejected": "b"}
    long = {"prompt": "a", "chosen": "b", "rejected": "c" * 100}
    path = write(tmp_path / "p.jsonl", [equal, good, long, good, equal, equal])
    alone = write(tmp_path / "alone.jsonl", [good, good])
    reports = []
    for name, file in (("all", path), ("alone", alone)):
        trainer = trainer_for(config_of(folder, tmp_path / name, corpus=str(file), steps=2))
        reports.append([report.loss for report in trainer])
        if name == "all":
            card = trainer.task.pairs.card
            assert (card["pairs"], card["too_long"], card["equal"]) == (2, 1, 3)
            assert trainer.notes == [
                "no held-out loss: held_out = 0.2 of 1 prompts is not one of them",
                "left out: 1 too long for the window, 3 of two equal replies",
            ]
    assert reports[0] == reports[1]
    write(path, [equal])
    with pytest.raises(InputError, match="no pairs to learn from: 1 rows have two equal replies"):
        trainer_for(config_of(folder, tmp_path / "none", corpus=str(path)))


def test_pairs_longer_than_the_window_are_left_out(folder, tmp_path):
    short = {"prompt": "a", "chosen": "b", "rejected": "c"}
    long = {"prompt": "a", "chosen": "b", "rejected": "c" * 100}
    path = write(tmp_path / "p.jsonl", [short, long])
    settings = {"corpus": str(path), "held_out": 0.0}
    trainer = trainer_for(config_of(folder, tmp_path / "run", **settings))
    assert (trainer.task.pairs.card["pairs"], trainer.task.pairs.card["too_long"]) == (1, 1)
    assert trainer.task.held_out is None
    assert trainer.advance().validation_loss is None
    write(path, [long])
    with pytest.raises(InputError, match="1 are longer than the window of 48"):
        trainer_for(config_of(folder, tmp_path / "other", **settings))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"beta": 0.0}, "beta must be above 0"),
        ({"label_smoothing": 0.5}, "label_smoothing must be in"),
        ({"held_out": 1.0}, "held_out must be in"),
        ({"start": None}, "start is missing"),
        ({"beta": "much"}, "beta must be float"),
    ],
)
def test_settings_out_of_range(folder, tmp_path, changed, match):
    with pytest.raises(InputError, match=match):
        config_of(folder, tmp_path, **changed)


def test_an_unknown_template(folder, tmp_path):
    with pytest.raises(InputError, match="no chat template 'robes'"):
        trainer_for(config_of(folder, tmp_path, template="robes"))


def test_the_verb(folder, tmp_path):
    (tmp_path / "dpo.toml").write_text('precision = "float32"\nsteps = 9\neval_every = 2\n')
    arguments = [
        "prefer", str(folder / "pairs.jsonl"), "--start", str(folder / "base"),
        "--out", str(tmp_path / "run"), "--config", str(tmp_path / "dpo.toml"),
        "--batch", "2", "--learning-rate", "1e-3", "--threads", "1",
    ]  # fmt: skip
    done = invoke(*arguments, "--steps", "4")
    assert done.exit_code == 0, done.output
    assert "9 to learn from, 1 held out" in done.output
    assert "step 4/4" in done.output
    assert "held out 0." in done.output
    assert "accuracy" in done.output
    assert checkpoint.load(tmp_path / "run" / "model").card["step"] == 4
    assert PreferenceConfig.read(tmp_path / "run" / "config.toml").steps == 4
    wrong = invoke(*arguments, "--steps", "4", "--beta", "0.5")
    assert isinstance(wrong.exception, InputError)
    assert "another beta" in str(wrong.exception)

"""Zero-, one- and few-shot scores (GPT-3's protocol): by hand, and beside lm_eval's few-shot."""

from __future__ import annotations

import json
import math
from functools import partial
from random import Random

import pytest

from pellucid.errors import InputError
from pellucid.evaluate import Shots, hellaswag, lambada
from support.models import lively_gpt, log_likelihood
from support.program import invoke
from support.skips import needs

TRAINING = ["a cat ate the mat", "no no", "one two three", "the the a"]
ASKED = ["The cat ate the mat", "two no", "one two three\n\nfour five", "a the"]


def swag(number, **changed):
    endings = [f"ran {number}", "ate the mat on the mat", "no", "sat at a cat"]
    return {"activity_label": "Dog", "ctx_a": f"A dog {number}", "ctx_b": "it", "ctx": "-",
            "endings": endings, "label": str(number % 4), **changed}  # fmt: skip


def test_examples_are_drawn_anew_and_written_as_the_paper_writes_them():
    gpt, _ = lively_gpt(n_ctx=120)
    draw, expected = Random(5), []
    for text in ASKED:
        shown = ""
        for example in draw.sample(TRAINING, 2):
            context, _, word = example.rpartition(" ")
            shown += f"{context} ____. -> {word}\n\n"
        context, _, word = text.rpartition(" ")
        before, scored = gpt.encode(f"{shown}{context} ____. ->"), gpt.encode(f" {word}")
        expected.append(log_likelihood(gpt, before, scored))
    score = lambada(gpt, ASKED, shots=Shots(n=2, pool=TRAINING, seed=5))
    assert score.metrics["perplexity"] == pytest.approx(math.exp(-sum(expected) / 4))
    assert (score.n_shots, score.n_cut, score.n_examples) == (2, 0, 4)
    assert "2-shot: after 2 examples" in score.protocol
    others = [
        lambada(gpt, ASKED, shots=shots, cloze=cloze).metrics["perplexity"]
        for shots, cloze in (
            (None, None), (None, True), (Shots(n=2, pool=TRAINING, seed=6), None),
            (Shots(n=2, pool=TRAINING, seed=5), False),
        )
    ]  # fmt: skip
    assert len({score.metrics["perplexity"], *others}) == 5  # each setting has its effect


def test_a_context_that_does_not_fit_is_counted():
    gpt, _ = lively_gpt(n_ctx=20)
    shots = Shots(n=2, pool=TRAINING, seed=5)
    score = lambada(gpt, ASKED, shots=shots)
    assert score.n_cut == 4
    (text,) = ASKED[:1]
    shown = [f"{e.rpartition(' ')[0]} ____. -> {e.rpartition(' ')[2]}\n\n"
             for e in Random(5).sample(TRAINING, 2)]  # fmt: skip
    ids = gpt.encode("".join(shown) + "The cat ate the ____. -> mat")
    scored = gpt.encode(" mat")
    whole = ids[-21:]
    one = lambada(gpt, [text], shots=shots)
    by_hand = log_likelihood(gpt, whole[: -len(scored)], scored)
    assert one.metrics["perplexity"] == pytest.approx(math.exp(-by_hand))


def test_hellaswag_per_token_is_the_papers():
    gpt, _ = lively_gpt(n_ctx=60)
    rights = []
    for label in range(4):
        context = gpt.encode("Dog: A dog 0 It")
        endings = swag(0)["endings"]
        each = []
        for ending in endings:
            ids = gpt.encode(" " + ending)
            each.append(log_likelihood(gpt, context, ids) / len(ids))
        rights.append(each.index(max(each)) == label)
        score = hellaswag(gpt, [swag(0, label=label)])
        assert score.metrics["acc_token"] == rights[-1]
    assert sum(rights) == 1


def test_one_that_cannot_be_scored_leaves_the_others_their_labels():
    gpt, _ = lively_gpt(n_ctx=60)
    good = [swag(number) for number in range(3)]
    long = swag(3, endings=["no", "a " * 200, "the", "a"])
    bad: list[str] = []
    score = hellaswag(gpt, [long, *good], on_bad=lambda error: bad.append(str(error)))
    assert score.metrics == hellaswag(gpt, good).metrics
    assert "exceeds the window" in bad[0]


LAMBADA = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {asked}, train: {training}}}}}
test_split: test
fewshot_split: {drawn_from}
output_type: loglikelihood
target_delimiter: ""
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}{blank}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
HELLASWAG = """
task: swag
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {asked}, train: {training}}}}}
training_split: train
validation_split: validation
fewshot_split: train
output_type: multiple_choice
doc_to_text: "{{{{activity_label}}}}: {{{{ctx_a}}}} {{{{ctx_b.capitalize()}}}}"
doc_to_target: "{{{{label}}}}"
doc_to_choice: endings
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Where files of texts and rows lie, beside a folder of lm_eval's tasks on them."""
    needs("lm_eval")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    # The same text twice: both copies are kept from the examples before it.
    asked = write("lambada.jsonl", [{"text": text} for text in [*ASKED, ASKED[0]]])
    training = write("training.jsonl", [{"text": text} for text in TRAINING])
    swag_asked = write("swag.jsonl", [swag(number) for number in range(4)])
    swag_training = write("swag_training.jsonl", [swag(number) for number in range(4, 10)])
    folder = tmp_path / "tasks"
    folder.mkdir()
    files = {"asked": asked, "training": training}
    (folder / "blank.yaml").write_text(
        LAMBADA.format(name="blank", drawn_from="train", blank=" ____. ->", **files)
    )
    (folder / "within.yaml").write_text(
        LAMBADA.format(name="within", drawn_from="test", blank="", **files)
    )
    (folder / "swag.yaml").write_text(HELLASWAG.format(asked=swag_asked, training=swag_training))
    return tmp_path


def test_equal_to_lm_evals_few_shot(tasks):
    import lm_eval
    from lm_eval.tasks import TaskManager

    from pellucid.checkpoint import save
    from pellucid.evaluate.lm import PellucidLM
    from pellucid.gpt import load

    gpt, tensors = lively_gpt(n_ctx=150)
    weights = {name: value.astype("f4") for name, value in tensors.items()}
    save(tasks / "model", gpt.hparams, weights, tokenizer=gpt.tokenizer)
    theirs = lm_eval.simple_evaluate(
        PellucidLM(load(tasks / "model")),
        tasks=["blank", "within", "swag"],
        num_fewshot=3,
        fewshot_random_seed=7,
        task_manager=TaskManager(include_path=str(tasks / "tasks"), include_defaults=False),
        bootstrap_iters=0,
    )["results"]

    run = partial(invoke, "eval", "--model", tasks / "model", "--shots", 3, "--shots-seed", 7)
    blank = json.loads(
        run("--shots-from", tasks / "training.jsonl", tasks / "lambada.jsonl", "--json").stdout
    )
    within = json.loads(run(tasks / "lambada.jsonl", "--no-cloze", "--json").stdout)
    for name, ours in (("blank", blank), ("within", within)):
        found = theirs[name]
        assert found["perplexity,none"] == pytest.approx(ours["metrics"]["perplexity"], rel=1e-5)
        assert found["acc,none"] == pytest.approx(ours["metrics"]["accuracy"])
        assert (ours["n_shots"], ours["n_examples"]) == (3, 5)
    ours = json.loads(
        run("--shots-from", tasks / "swag_training.jsonl", tasks / "swag.jsonl", "--json").stdout
    )
    for metric in ("acc", "acc_norm"):
        assert theirs["swag"][f"{metric},none"] == pytest.approx(ours["metrics"][metric])


def test_mistakes_name_what_to_do(tmp_path):
    file = tmp_path / "lambada.jsonl"
    file.write_text('{"text": "a b"}\n{"text": "the mat"}\n')
    (tmp_path / "pairs.jsonl").write_text('{"sentence_good": "a", "sentence_bad": "b"}\n')
    (tmp_path / "bad.jsonl").write_text('{"text": "alone"}\n')
    run = partial(invoke, "eval")
    for arguments, said in (
        ((file, "--shots", 2), "2 examples cannot be drawn from 2 beside the one that is asked"),
        ((file, "--shots-from", file), "give --shots K as well"),
        (
            (tmp_path / "pairs.jsonl", "--shots", 1),
            "before lambada and hellaswag, not before blimp",
        ),
        ((tmp_path / "pairs.jsonl", "--cloze"), "a blank is filled in lambada"),
        (
            (file, "--shots", 1, "--shots-from", tmp_path / "bad.jsonl"),
            "an example to be shown: LAMBADA needs a text of several words",
        ),
    ):
        assert said in str(run(*arguments).exception)
    with pytest.raises(InputError, match="shots must be at least 1"):
        Shots(n=0, pool=[])

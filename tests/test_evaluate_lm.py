"""lm_eval on tasks from local files, beside our own scores. Skipped without the extra `eval`."""

from __future__ import annotations

import json
import random
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from pellucid.errors import InputError
from pellucid.evaluate import lambada, perplexity
from support.models import lively_gpt
from support.skips import needs

needs("lm_eval")

TEXTS = ["The cat ate the mat", "no no", "one two three\n\nfour five", "a the"]

LAMBADA = """
task: local_lambada
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
ROLLING = """
task: local_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - {{metric: bits_per_byte}}
  - {{metric: word_perplexity}}
"""


def test_equals_our_own_scores(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import datasets
    import lm_eval
    from lm_eval.tasks import TaskManager

    from pellucid.evaluate.lm import PellucidLM

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    gpt, _ = lively_gpt(n_ctx=12)
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/lambada.yaml").write_text(LAMBADA.format(file=file))
    (tmp_path / "tasks/rolling.yaml").write_text(ROLLING.format(file=file))
    found = lm_eval.simple_evaluate(
        PellucidLM(gpt),
        tasks=["local_lambada", "local_rolling"],
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
        bootstrap_iters=0,
    )["results"]
    ours = lambada(gpt, TEXTS)
    theirs = found["local_lambada"]
    assert theirs["acc,none"] == pytest.approx(ours.metrics["accuracy"], abs=1e-4)
    assert theirs["perplexity,none"] == pytest.approx(ours.metrics["perplexity"], rel=1e-6)
    rolled = perplexity(gpt, TEXTS, words="spaces")
    theirs = found["local_rolling"]
    assert theirs["bits_per_byte,none"] == pytest.approx(rolled.bits_per_byte, abs=1e-4)
    assert theirs["word_perplexity,none"] == pytest.approx(rolled.word_perplexity, rel=1e-6)


def asked(*requests):
    return [SimpleNamespace(args=request) for request in requests]


def test_generates_until_a_stop():
    from pellucid.evaluate.lm import PellucidLM

    gpt, _ = lively_gpt(n_ctx=12)
    whole = gpt.generate("a b", max_tokens=5, greedy=True).text
    requests = asked(("a b", {"until": [whole[2]], "max_gen_toks": 5}))
    assert PellucidLM(gpt).generate_until(requests) == [whole[: whole.index(whole[2])]]


# Beside lm_eval's own model of transformers, with the same weights


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(lm_eval's HFLM, ours) of one random model with a window of 12 tokens."""
    needs("torch")
    transformers = needs("transformers")
    from pellucid import checkpoint, load
    from pellucid.evaluate.lm import PellucidLM

    gpt, tensors = lively_gpt(n_ctx=12)
    folder = tmp_path_factory.mktemp("hf") / "model"
    numbers = {name: value.astype("f4") for name, value in tensors.items()}
    checkpoint.save(folder, gpt.hparams, numbers, gpt.tokenizer, format="hf")
    model = transformers.GPT2LMHeadModel.from_pretrained(str(folder))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        # It imports accelerate for many GPUs; one that is at hand needs none of it.
        if find_spec("accelerate") is None:
            names = ("Accelerator", "InitProcessGroupKwargs", "find_executable_batch_size")
            absent = SimpleNamespace(**dict.fromkeys(names))
            patch.setitem(sys.modules, "accelerate", absent)
            patch.setitem(sys.modules, "accelerate.utils", SimpleNamespace(get_max_memory=None))
        from lm_eval.models.huggingface import HFLM
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1), PellucidLM(load(folder))


SHORT, LONG = "the cat", "The power clapper went straight to jail, and nobody knows why. " * 2


def test_likelihoods_equal_those_of_lm_evals_own_model(both):
    theirs, ours = both
    pairs = asked(
        ("a b c", " the cat"), (LONG, " on it"), (SHORT + "  ", "b"), ("", SHORT), (LONG, "a" * 11)
    )
    for own, other in zip(ours.loglikelihood(pairs), theirs.loglikelihood(pairs), strict=True):
        assert own[0] == pytest.approx(other[0], abs=1e-4)
        assert own[1] == other[1]
    texts = asked((SHORT,), (LONG,), ("one\n\ntwo",))
    rolled = ours.loglikelihood_rolling(texts)
    assert rolled == pytest.approx(theirs.loglikelihood_rolling(texts), abs=1e-3)


GREEDY: list[dict[str, object]] = [
    {"max_gen_toks": 5},
    {"max_new_tokens": 3},
    {"max_tokens": 4, "until": "N"},
    {"max_completion_tokens": 4, "until": ["N", "D"]},
    {"max_gen_toks": 5, "max_new_tokens": 2},
    {"max_gen_toks": 11, "do_sample": False},
    {"max_gen_toks": 6, "temperature": 0.0},
    {"max_gen_toks": 6, "do_sample": True, "temperature": 1.0, "top_k": 1},
    {"max_gen_toks": 6, "temperature": 0.7, "top_p": 1e-9},
    {"max_gen_toks": 6, "repetition_penalty": 3.0},
]


@pytest.mark.parametrize("settings", GREEDY, ids=str)
@pytest.mark.filterwarnings("ignore:contexts lose their beginning")
def test_what_is_generated_equals_that_of_lm_evals_own_model(both, settings):
    theirs, ours = both
    texts = (SHORT, "a b", "a", LONG)
    made = [
        model.generate_until(asked(*((text, dict(settings)) for text in texts)))
        for model in (ours, theirs)
    ]
    assert made[0] == made[1]
    assert any(made[0])


def test_a_context_is_cut_only_as_far_as_it_must_be(both):
    ours = both[1]
    gpt = ours.gpt
    whole = gpt.encode(LONG)
    with pytest.warns(UserWarning, match="contexts lose their beginning: 5 tokens .* in 12"):
        cut = ours.generate_until(asked((LONG, {"max_gen_toks": 5})))
    assert cut == [gpt.generate(whole[-7:], max_tokens=5, greedy=True).text]
    # What can't be met is said, and the context is kept: lm_eval's default is 256 tokens.
    short = gpt.encode(SHORT)
    for settings, n in (({}, 256), ({"max_new_tokens": 12}, 12)):
        with pytest.warns(UserWarning, match=f"{n} tokens cannot be generated in a window of 12"):
            filled = ours.generate_until(asked((SHORT, settings)))
        assert filled == [gpt.generate(short, greedy=True).text]
    with pytest.warns(UserWarning, match="beginning|cannot be generated") as said:
        one = ours.generate_until(asked((LONG, {})))
    assert len(said) == 2
    assert one == [gpt.generate(whole[-11:], max_tokens=1, greedy=True).text]


def test_settings_of_sampling(both):
    ours = both[1]
    drawn = {"max_gen_toks": 6, "do_sample": True, "temperature": 5.0, "seed": 3}
    text = ours.gpt.generate(SHORT, max_tokens=6, temperature=5.0, seed=3).text
    assert ours.generate_until(asked((SHORT, drawn))) == [text]
    kept = {**drawn, "top_k": 4, "top_p": 0.9}
    text = ours.gpt.generate(SHORT, max_tokens=6, temperature=5.0, seed=3, top_k=4, top_p=0.9).text
    assert ours.generate_until(asked((SHORT, kept))) == [text]
    # Without a seed of its own it follows Python's generator, which lm_eval seeds.
    del drawn["seed"]
    several = []
    for seed in (0, 0, 1):
        random.seed(seed)
        several.append(ours.generate_until(asked((SHORT, drawn))))
    assert several[0] == several[1] != several[2]
    with pytest.warns(UserWarning, match="without effect: num_beams, typical_p"):
        ours.generate_until(asked((SHORT, {"max_tokens": 1, "num_beams": 4, "typical_p": 1})))
    with pytest.warns(UserWarning, match="temperature of 0"):
        ours.generate_until(asked((SHORT, {"max_tokens": 1, "do_sample": True, "temperature": 0})))
    with pytest.raises(InputError, match="do_sample must be true or false, not 'False'"):
        ours.generate_until(asked((SHORT, {"max_tokens": 1, "do_sample": "False"})))
    total = {"max_length": 5 + len(ours.gpt.encode(SHORT))}
    five = ours.gpt.generate(SHORT, max_tokens=5, greedy=True).text
    assert ours.generate_until(asked((SHORT, total))) == [five]

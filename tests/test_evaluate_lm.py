"""lm_eval on tasks from local files, beside our own scores. Skipped without the extra `eval`."""

from __future__ import annotations

import json

import pytest

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


def test_generates_until_a_stop():
    from types import SimpleNamespace

    from pellucid.evaluate.lm import PellucidLM

    gpt, _ = lively_gpt(n_ctx=12)
    whole = gpt.generate("a b", max_tokens=5, greedy=True).text
    asked = [SimpleNamespace(args=("a b", {"until": [whole[2]], "max_gen_toks": 5}))]
    assert PellucidLM(gpt).generate_until(asked) == [whole[: whole.index(whole[2])]]

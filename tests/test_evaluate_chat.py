"""lm_eval's `apply_chat_template` and `fewshot_as_multiturn`: through our own templates."""

from __future__ import annotations

import json

import pytest

from pellucid.errors import InputError
from pellucid.gpt import GPT
from pellucid.template import TEMPLATES, Message
from pellucid.tokenizer import Rules, Tokenizer
from support.models import lively_gpt, log_likelihood
from support.skips import needs
from support.vocabulary import MERGES, VOCAB

needs("lm_eval")

from pellucid.evaluate.lm import PellucidLM  # noqa: E402

NAMES = {"<|endoftext|>": 257} | {
    f"<|{role}|>": 258 + i for i, role in enumerate(("system", "user", "assistant", "end"))
}
USER, REPLY = {"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}
TASK = """
task: local_{kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}, train: {file}}}}}
test_split: test
fewshot_split: train
fewshot_config: {{sampler: first_n}}
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
description: "Be short."
generation_kwargs: {{max_gen_toks: 3, until: []}}
metric_list:
  - {{metric: {metric}}}
"""


def talker(template: str = "roles", rules: Rules | None = None) -> GPT:
    gpt, _ = lively_gpt(n_ctx=96, special=NAMES)
    return GPT(gpt.model, Tokenizer(VOCAB, MERGES, NAMES, rules), template=template, name="tiny")


def evaluated(gpt: GPT, folder, monkeypatch, kind: str, **asked) -> list[dict]:
    """What lm_eval kept of each example of a task from a local file, with one shot before it."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(folder / "cache"))
    import datasets
    import lm_eval
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
    file = folder / "lines.jsonl"
    lines = [{"question": f"{word}?", "answer": f"{word} it"} for word in ("the", "a b")]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "tasks").mkdir()
    metric = "exact_match" if kind == "generate_until" else "acc"
    (folder / "tasks/task.yaml").write_text(TASK.format(file=file, kind=kind, metric=metric))
    found = lm_eval.simple_evaluate(
        PellucidLM(gpt),
        tasks=[f"local_{kind}"],
        num_fewshot=1,
        task_manager=TaskManager(include_path=str(folder / "tasks"), include_defaults=False),
        bootstrap_iters=0,
        **asked,
    )
    return found["samples"][f"local_{kind}"]


@pytest.mark.parametrize("template", ["roles", "dialogpt"])
@pytest.mark.parametrize("multiturn", [True, False])
def test_a_task_with_a_shot_before_it(tmp_path, monkeypatch, template, multiturn):
    gpt = talker(template, Rules(begin=(257,), end=(257,)))
    asked = {"apply_chat_template": True, "fewshot_as_multiturn": multiturn}
    for sample in evaluated(gpt, tmp_path, monkeypatch, "loglikelihood", **asked):
        question, answer = sample["doc"]["question"], sample["doc"]["answer"]
        if multiturn:
            turns = [("user", "the?"), ("assistant", "the it"), ("user", question)]
        else:
            turns = [("user", f"the? the it\n\n{question}")]
        messages = [Message("system", "Be short."), *(Message(*turn) for turn in turns)]
        before = [257, *TEMPLATES[template].render(gpt.tokenizer, messages)]
        expected = log_likelihood(gpt, before, gpt.tokenizer.encode(answer))
        (scored,) = sample["resps"]
        assert scored[0][0] == pytest.approx(expected, rel=1e-9), sample["arguments"]


def test_a_reply_is_that_of_the_chat(tmp_path, monkeypatch):
    gpt = talker()
    samples = evaluated(gpt, tmp_path, monkeypatch, "generate_until", apply_chat_template=True)
    for sample in samples:
        turns = [("user", "the?"), ("assistant", "the it"), ("user", sample["doc"]["question"])]
        messages = [Message("system", "Be short."), *(Message(*turn) for turn in turns)]
        ids = TEMPLATES["roles"].render(gpt.tokenizer, messages)
        stops = gpt.stop_tokens | TEMPLATES["roles"].stops(gpt.tokenizer)
        reply = gpt.generate(ids, greedy=True, max_tokens=3, stop_tokens=stops)
        assert sample["resps"] == [[reply.text]]


def test_a_reply_that_is_begun():
    lm = PellucidLM(talker())
    whole = lm.apply_chat_template([USER, REPLY], add_generation_prompt=False)
    assert whole == "<|user|>the cat<|end|><|assistant|>sat"
    assert lm.apply_chat_template([USER]) == "<|user|>the cat<|end|><|assistant|>"
    with pytest.raises(InputError, match="is not the assistant's"):
        lm.apply_chat_template([USER], add_generation_prompt=False)


def test_what_no_template_can_write_is_refused_by_name():
    lm = PellucidLM(talker())
    with pytest.raises(InputError, match=r"a message holds <\|end\|>, which the chat template"):
        lm.apply_chat_template([USER | {"content": "a<|end|>b"}])
    with pytest.raises(InputError, match="writes texts of system, user, assistant"):
        lm.apply_chat_template([USER | {"role": "tool"}])
    with pytest.raises(InputError, match="writes texts of"):
        lm.apply_chat_template([USER | {"content": [{"type": "image"}]}])
    with pytest.raises(InputError, match="no chat template 'alpaca'"):
        lm.chat_template("alpaca")
    gpt, _ = lively_gpt()
    with pytest.raises(InputError, match="the chat template 'roles' needs"):
        PellucidLM(gpt, template="roles")


def test_templates_by_name_and_what_tells_caches_apart():
    lm = PellucidLM(talker())
    assert lm.chat_template(True) == "roles"
    assert lm.chat_template(False) is None
    assert lm.chat_template("dialogpt") == "dialogpt"
    assert lm.apply_chat_template([USER]) == "the cat<|endoftext|>"
    others = [PellucidLM(talker(), template="plain"), PellucidLM(talker("roles", Rules(end=(9,))))]
    assert len({each.tokenizer_name for each in (lm, *others)}) == 3


def test_turns_as_letters_and_white_space_at_a_line_end_are_said():
    lm = PellucidLM(talker())
    asked = [type("Asked", (), {"args": ("<|user|>the", {"max_gen_toks": 1})})]
    with pytest.warns(UserWarning, match="read as letters: no chat template was applied"):
        lm.generate_until(asked)
    names = {name: token for name, token in NAMES.items() if name != "<|end|>"}
    two = Tokenizer(VOCAB | {"ĊĊ": NAMES["<|end|>"]}, [*MERGES, ("Ċ", "Ċ")], names)
    plain = PellucidLM(GPT(talker().model, two, template="plain"))
    with pytest.warns(UserWarning, match="other tokens in lm_eval's text"):
        plain.apply_chat_template([REPLY, USER | {"content": "\n\nthe"}])

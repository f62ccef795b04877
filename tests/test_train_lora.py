"""LoRA: the adapter's effect, what is trained, what is kept, and that it fits its base alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.backend.numpy import NumpyBackend
from pellucid.checkpoint.safetensors_file import SafetensorsFile
from pellucid.errors import CheckpointError, InputError
from pellucid.hparams import HParams
from pellucid.model import Pass, forward
from pellucid.train import adapter as adapters
from pellucid.train.adapter import TARGETS, Adapter
from pellucid.weights import initialise, unflatten
from support import small_corpus
from support.program import invoke
from support.skips import needs

torch = needs("torch")

from pellucid.backend.torch import TorchBackend  # noqa: E402
from pellucid.train import lora, state  # noqa: E402
from pellucid.train.config import TrainConfig  # noqa: E402
from pellucid.train.module import GPTModule  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402

HPARAMS = HParams(n_vocab=290, n_ctx=16, n_embd=16, n_head=2, n_layer=2)
TOKENS = np.arange(24).reshape(2, 12) * 7 % 290


def base_tensors(seed=0):
    tensors = initialise(HPARAMS, seed)
    rng = np.random.default_rng(seed)
    return {name: x + rng.normal(0, 0.05, x.shape).astype("f4") for name, x in tensors.items()}


def module_of(tensors):
    return GPTModule(HPARAMS, tensors, TorchBackend("cpu", training=False))


def adapted(tensors, rank=3, alpha=5.0, targets=TARGETS):
    """A module whose adapter has an effect."""
    module = module_of(tensors)
    lora.add_lora(module, rank, alpha, targets, seed=1)
    rng = np.random.default_rng(2)
    drawn = {
        name: rng.normal(0, 0.1, x.shape).astype("f4") for name, x in lora.matrices(module).items()
    }
    lora.restore(module, drawn)
    return module


def torch_logits(module):
    with torch.no_grad():
        return module(torch.tensor(TOKENS)).numpy()


def numpy_logits(tensors):
    backend = NumpyBackend()
    weights = unflatten({n: backend.asarray(x) for n, x in tensors.items()}, HPARAMS)
    return forward(backend.ids(TOKENS), weights, Pass(HPARAMS, backend))


def difference(a, b):
    return float(np.abs(a - b).max())


def test_an_adapter_has_no_effect_at_first_and_an_effect_later():
    tensors = base_tensors()
    plain, module = module_of(tensors), module_of(tensors)
    lora.add_lora(module, 2, 4.0, seed=3)
    assert (torch_logits(module) == torch_logits(plain)).all()
    assert any(x.any() for x in lora.matrices(module).values())
    assert difference(torch_logits(adapted(tensors)), torch_logits(plain)) > 1e-2


def test_merged_equals_unmerged_on_both_backends_and_the_written_formula():
    tensors = base_tensors()
    module = adapted(tensors)
    unmerged = torch_logits(module)
    merged = adapters.merge(tensors, lora.adapter(module))
    assert difference(torch_logits(module_of(merged)), unmerged) <= 1e-5
    assert difference(numpy_logits(merged), unmerged) <= 1e-5
    assert difference(numpy_logits(module.tensors()), unmerged) <= 1e-5

    formula = {name: x.astype("f8") for name, x in tensors.items()}
    matrices = lora.matrices(module)
    for layer in range(HPARAMS.n_layer):
        for target in TARGETS:
            at = f"h.{layer}.{target}"
            a, b = (matrices[f"{at}.{part}"].astype("f8") for part in "AB")
            formula[f"{at}.weight"] += 5.0 / 3 * np.einsum("ir,ro->io", a, b)
    assert max(difference(merged[name], formula[name]) for name in formula) < 1e-6
    assert {name for name in merged if (merged[name] != tensors[name]).any()} == {
        f"h.{layer}.{target}.weight" for layer in range(HPARAMS.n_layer) for target in TARGETS
    }


def test_only_the_targets_are_adapted():
    module = adapted(base_tensors(), targets=("mlp.c_fc",))
    assert {name.split(".", 2)[2] for name in lora.matrices(module)} == {"mlp.c_fc.A", "mlp.c_fc.B"}
    assert lora.adapter(module).targets == ("mlp.c_fc",)


def test_the_frozen_weights_come_back_bitwise():
    tensors = base_tensors()
    found = lora.base(adapted(tensors))
    assert list(found) == list(tensors)
    assert all((found[name] == tensors[name]).all() for name in tensors)


def test_dropout_acts_with_gradients_alone():
    module = module_of(base_tensors())
    lora.add_lora(module, 3, 5.0, dropout=0.5)
    lora.restore(module, {n: np.full(x.shape, 0.1, "f4") for n, x in lora.matrices(module).items()})
    module.train()
    assert (torch_logits(module) == torch_logits(module)).all()
    tokens = torch.tensor(TOKENS)
    assert not torch.equal(module(tokens), module(tokens))


def test_an_adapter_folder_gives_the_same_logits_on_its_base(tmp_path):
    tensors = base_tensors()
    module = adapted(tensors)
    adapters.save(tmp_path / "adapter", lora.adapter(module))
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter.json",
        "adapter.safetensors",
    ]
    saved = adapters.load(tmp_path / "adapter")
    again = module_of(tensors)
    lora.load_adapter(again, saved)
    assert (torch_logits(again) == torch_logits(module)).all()
    assert saved.scale == 5 / 3


def test_another_base_is_refused(tmp_path):
    adapters.save(tmp_path / "adapter", lora.adapter(adapted(base_tensors())))
    saved = adapters.load(tmp_path / "adapter")
    other = base_tensors()
    other["ln_f.bias"][0] += 1e-6
    with pytest.raises(CheckpointError, match="trained on other weights"):
        adapters.merge(other, saved)
    with pytest.raises(CheckpointError, match="trained on other weights"):
        lora.load_adapter(module_of(other), saved)


def test_a_damaged_adapter_is_refused(tmp_path):
    whole = tmp_path / "whole"
    adapters.save(whole, lora.adapter(adapted(base_tensors())))
    config = json.loads((whole / "adapter.json").read_text())

    def damaged(change, match):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        change(folder)
        with pytest.raises(CheckpointError, match=match):
            adapters.load(folder)

    def with_config(**changed):
        text = json.dumps({**config, **changed})
        return lambda folder: (folder / "adapter.json").write_text(text)

    def flip(folder):
        content = bytearray((folder / "adapter.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "adapter.safetensors").write_bytes(content)

    damaged(lambda folder: (folder / "adapter.json").unlink(), "is no adapter")
    damaged(lambda folder: (folder / "adapter.safetensors").unlink(), "adapter.safetensors")
    damaged(flip, "is not the file that was saved")
    damaged(with_config(rank="3"), "rank is of the wrong kind")
    damaged(with_config(rank=True), "rank is of the wrong kind")
    damaged(with_config(rank=4), "is no matrix of an adapter")
    damaged(with_config(alpha=-1), "alpha must be")
    damaged(with_config(targets=["lm_head"]), "targets must be some of")
    damaged(with_config(more=1), "no more")


def test_nothing_else_is_replaced_and_a_failed_write_leaves_the_old_adapter(tmp_path, monkeypatch):
    learned = lora.adapter(adapted(base_tensors()))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(CheckpointError, match="is no adapter"):
        adapters.save(tmp_path / "letters", learned)
    adapters.save(tmp_path / "adapter", learned)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left"):
        adapters.save(tmp_path / "adapter", replace(learned, alpha=7.0))
    assert adapters.load(tmp_path / "adapter").alpha == 5.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "letters"]


def test_peft_layout(tmp_path):
    learned = lora.adapter(adapted(base_tensors()))
    adapters.save_peft(tmp_path / "peft", learned, "gpt2")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] is True
    assert (config["r"], config["lora_alpha"]) == (3, 5.0)
    file = SafetensorsFile(tmp_path / "peft" / "adapter_model.safetensors")
    assert len(file.places) == 2 * 4 * HPARAMS.n_layer
    a = file.tensor("base_model.model.transformer.h.1.mlp.c_fc.lora_A.weight")  # [rank, in]
    b = file.tensor("base_model.model.transformer.h.1.mlp.c_fc.lora_B.weight")  # [out, rank]
    assert (a == learned.tensors["h.1.mlp.c_fc.A"].T).all()
    assert (b == learned.tensors["h.1.mlp.c_fc.B"].T).all()


@pytest.mark.parametrize(
    ("rank", "alpha", "targets", "match"),
    [
        (0, 1.0, TARGETS, "rank must be at least 1"),
        (1, 0.0, TARGETS, "alpha must be a number above 0"),
        (1, float("nan"), TARGETS, "alpha must be a number above 0"),
        (1, 1.0, ("wte",), "targets must be some of"),
        (1, 1.0, (), "not none"),
        (1, 1.0, ("mlp.c_fc", "mlp.c_fc"), "each once"),
    ],
)
def test_settings_out_of_range(rank, alpha, targets, match):
    with pytest.raises(InputError, match=match):
        Adapter(rank, alpha, targets, "", {})
    with pytest.raises(InputError, match=match):
        lora.add_lora(module_of(base_tensors()), rank, alpha, targets)


# Through the trainer


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A corpus, and a checkpoint of its vocabulary."""
    folder = tmp_path_factory.mktemp("lora")
    small_corpus.write(folder / "corpus")
    from pellucid.data.corpus import open_corpus

    tokenizer = open_corpus(folder / "corpus").tokenizer()
    tensors = base_tensors()
    hparams = HParams(tokenizer.n_vocab, 16, 16, 2, 2)
    tensors["wte.weight"] = tensors["wte.weight"][: hparams.n_vocab].copy()
    checkpoint.save(folder / "base", hparams, tensors, tokenizer)
    return folder


def config_of(started, out, **changed):
    settings = {
        "corpus": str(started / "corpus"), "out": str(out), "start": str(started / "base"),
        "steps": 6, "batch": 4, "micro_batch": 2, "learning_rate": 1e-2, "warmup": 1,
        "dropout": 0.1, "precision": "float32", "eval_every": 3, "eval_rows": 4, "save_every": 3,
        "lora_rank": 2, "lora_alpha": 4.0, "lora_dropout": 0.1,
    }  # fmt: skip
    return TrainConfig(**{**settings, **changed})


def test_training_changes_the_adapter_alone(started, tmp_path):
    before = checkpoint.load(started / "base").tensors
    trainer = trainer_for(config_of(started, tmp_path / "run"))
    first = lora.matrices(trainer.module)
    losses = [report.loss for report in trainer]
    assert losses[-1] < losses[0]
    frozen, learned = lora.base(trainer.module), lora.matrices(trainer.module)
    assert all((frozen[name] == before[name]).all() for name in before)
    assert all((learned[name] != first[name]).any() for name in first)
    moved = {f"{path.rsplit('.', 1)[0]}.weight" for path in learned}
    assert len(moved) == 8

    # What it leaves: an adapter, which on the base is the merged model.
    model = checkpoint.load(tmp_path / "run" / "model")
    saved = adapters.load(tmp_path / "run" / "adapter")
    merged = adapters.merge(before, saved)
    assert max(difference(model.tensors[name], merged[name]) for name in merged) < 1e-6
    assert {n for n in merged if (model.tensors[n] != before[n]).any()} == moved
    # A training checkpoint keeps the base, bitwise.
    kept, wrong = state.newest(tmp_path / "run")
    assert not wrong
    assert all((kept.model.tensors[name] == before[name]).all() for name in before)


def test_a_stopped_run_goes_on_bitwise(started, tmp_path):
    straight = trainer_for(config_of(started, tmp_path / "straight"))
    losses = [report.loss for report in straight]
    stopped = trainer_for(config_of(started, tmp_path / "stopped"))
    first = [stopped.advance().loss for _ in range(4)][:3]  # the fourth step is lost
    again = trainer_for(config_of(started, tmp_path / "stopped"))
    assert again.step == 3
    assert first + [report.loss for report in again] == losses
    none = {"lora_rank": 0, "lora_alpha": 16.0, "lora_dropout": 0.0}
    for other in (none, {"lora_rank": 3}):
        with pytest.raises(InputError, match="another lora_rank"):
            trainer_for(config_of(started, tmp_path / "stopped", **other))
    a, b = lora.matrices(straight.module), lora.matrices(again.module)
    assert all((a[name] == b[name]).all() for name in a)


def test_a_rank_without_a_checkpoint_is_refused(started, tmp_path):
    with pytest.raises(InputError, match="lora_rank needs start"):
        config_of(started, tmp_path, start=None)


def test_merge_writes_a_model_that_numpy_runs(started, tmp_path):
    from pellucid.gpt import load

    for _ in trainer_for(config_of(started, tmp_path / "run", steps=2)):
        pass
    base, adapter = str(started / "base"), str(tmp_path / "run" / "adapter")

    def merge(*more):
        return invoke("merge", base, adapter, *more)

    out = tmp_path / "merged"
    done = merge(str(out))
    assert done.exit_code == 0, done.output
    gpt = load(out, backend="numpy")
    expected = load(tmp_path / "run" / "model").forward([1, 2, 3])
    assert difference(gpt.forward([1, 2, 3]), expected) <= 1e-5
    assert difference(gpt.forward([1, 2, 3]), load(base).forward([1, 2, 3])) > 1e-4
    assert merge(str(out)).exit_code == 2  # it exists
    assert merge(str(out), "--force", "--format", "hf").exit_code == 0
    assert checkpoint.detect(out) == "hf"
    assert merge(str(tmp_path / "peft"), "--format", "peft").exit_code == 0
    assert (tmp_path / "peft" / "adapter_config.json").is_file()
    wrong = invoke("merge", tmp_path / "run" / "model", adapter, tmp_path / "x")
    assert isinstance(wrong.exception, CheckpointError)
    assert "trained on other weights" in str(wrong.exception)

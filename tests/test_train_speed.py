"""Muon on many equal matrices at once, and the mean of a run's last weights."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import checkpoint
from support import small_corpus
from support.skips import needs
from support.small_corpus import config

torch = needs("torch")

from pellucid.train.average import Average  # noqa: E402
from pellucid.train.muon import Muon  # noqa: E402
from pellucid.train.run import trainer_for  # noqa: E402


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus.write(tmp_path_factory.mktemp("corpus") / "c")


def test_equal_matrices_take_the_steps_that_pytorch_takes_one_by_one():
    """torch.optim.Muon is the reference; both iterate in bfloat16, whose last bit is 1/256."""
    shapes = [(8, 24), (8, 8), (8, 24), (24, 8), (8, 8), (8, 24)]
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    settings = {"lr": 0.01, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for _ in range(5):
        for each in zip(ours[:-1], theirs[:-1], strict=True):  # the last one never has a gradient
            gradient = torch.randn(each[0].shape, generator=generator)
            each[0].grad, each[1].grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = float((other.detach() - before).norm())
        assert float((one.detach() - other.detach()).norm()) <= 0.02 * moved
    assert torch.equal(ours[-1], start[-1])
    for one, other in zip(ours[:-1], theirs[:-1], strict=True):
        moments = [
            o.state[p]["momentum_buffer"] for o, p in zip(optimizers, (one, other), strict=True)
        ]
        assert torch.equal(*moments)


def test_the_average_is_the_mean_of_the_last_weights():
    weight = torch.nn.Parameter(torch.zeros(3))
    average = Average([weight], steps=10, share=0.3)
    for step in range(1, 11):
        weight.data.fill_(float(step))
        average.take(step)
    with average.in_place():
        assert weight.tolist() == [9.0] * 3  # of 8, 9 and 10
    assert weight.tolist() == [10.0] * 3
    other = Average([weight], steps=10, share=0.3)
    other.restore(average.kept())
    with other.in_place():
        assert weight.tolist() == [9.0] * 3
    longer = Average([weight], steps=20, share=0.3)  # of other steps: it begins anew
    longer.restore(average.kept())
    with longer.in_place():
        assert weight.tolist() == [10.0] * 3


def test_a_run_ends_with_the_mean_and_is_measured_by_it(corpus, tmp_path):
    fields = {"steps": 10, "eval_every": 5, "learning_rate": 0.01}
    plain = trainer_for(config(corpus, tmp_path / "plain", **fields))
    seen = [
        {name: x.copy() for name, x in plain.module.tensors().items()}
        for report in plain
        if report.step > 6
    ]
    averaged = trainer_for(config(corpus, tmp_path / "averaged", average=0.4, **fields))
    reports = list(averaged)
    model = checkpoint.load(tmp_path / "averaged" / "model")
    for name, tensor in model.tensors.items():
        mean = np.mean([each[name] for each in seen], 0)
        assert np.allclose(tensor, mean, atol=1e-6), name
        assert np.array_equal(averaged.module.tensors()[name], seen[-1][name]), name
    measured = trainer_for(
        config(corpus, tmp_path / "again", start=str(tmp_path / "averaged" / "model"), **fields)
    )
    assert measured.evaluate() == pytest.approx(reports[-1].validation_loss, abs=1e-6)


def test_an_average_goes_on_bitwise(corpus, tmp_path):
    """Stopped in the middle of the steps that are averaged."""
    fields = {"steps": 10, "average": 0.5, "save_every": 1, "keep": 9}
    list(trainer_for(config(corpus, tmp_path / "straight", **fields)))
    stopped = config(corpus, tmp_path / "stopped", **fields)
    for report in trainer_for(stopped):
        if report.step == 8:
            break
    trainer = trainer_for(stopped)
    assert trainer.step == 8
    list(trainer)
    one, other = (checkpoint.load(tmp_path / n / "model") for n in ("straight", "stopped"))
    assert all((x == other.tensors[name]).all() for name, x in one.tensors.items())

"""Work beside the streams: in slices, with its own cache, and given up at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pellucid import inspect
from pellucid.backend import get_backend
from pellucid.backend.numpy import NumpyBackend
from pellucid.backend.sliced import SlicedBackend
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.sequence import Settings
from pellucid.serve import turns as turns_module
from pellucid.serve.beside import Beside, Cancelled, Job
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Busy, Ended, Event, Stopped
from pellucid.serve.turns import Turns
from pellucid.weights import Affine, Embedding
from support.models import lively_gpt, model, parameters
from support.skips import needs

TINY, _ = lively_gpt(n_ctx=48)


class Worker:
    def __init__(self, gpt: GPT = TINY, turns: Turns | None = None, **limits: int) -> None:
        self.beside = Beside(gpt, turns or Turns(), **limits)
        self.beside.start()
        self.errors: list[Exception | None] = []
        self.ended = threading.Semaphore(0)

    def submit(self, work) -> Job:
        def ended(error: Exception | None) -> None:
            self.errors.append(error)
            self.ended.release()

        return self.beside.submit(work, ended)

    def wait(self) -> None:
        assert self.ended.acquire(timeout=90)


@pytest.fixture
def worker() -> Iterator[Worker]:
    each = Worker()
    yield each
    assert each.beside.stop(10)


@pytest.mark.parametrize("n_row", [1, 5, 70, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_slices_give_the_same_numbers(n_row: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    plain = get_backend("numpy", dtype="float64", threads=threads)
    assert isinstance(plain, NumpyBackend)
    slices = []

    @contextmanager
    def turn() -> Iterator[None]:
        slices.append(1)
        yield

    sliced = SlicedBackend(plain, turn)
    x = rng.standard_normal((1, n_row, 900))
    affine = Affine(rng.standard_normal((900, 1100)), rng.standard_normal(1100))
    table = Embedding(rng.standard_normal((1300, 900)))
    q, k, v = rng.standard_normal((3, 1, 3, n_row, 8))
    _all_equal(sliced, plain, 1e-10, x, affine, table, q, k, v)
    if n_row == 300:
        assert len(slices) > 8  # the products took several


@pytest.mark.parametrize("n_row", [1, 5, 300])
def test_slices_of_the_compiled_backend_give_the_same_numbers(n_row: int) -> None:
    needs("pellucid_native")
    from pellucid.backend.sliced_native import SlicedNativeBackend

    plain: Any = get_backend("native", threads=2)
    slices = []

    @contextmanager
    def turn() -> Iterator[None]:
        slices.append(1)
        yield

    sliced = SlicedNativeBackend(plain, turn)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, n_row, 1000), np.float32)
    wide = Affine(rng.random((1000, 3000), np.float32), rng.random(3000, np.float32))
    affine, table = (
        plain.prepare(wide),
        plain.prepare(Embedding(rng.random((70, 1000), np.float32))),
    )
    q, k, v = rng.standard_normal((3, 1, 3, n_row, 8), np.float32)
    _all_equal(sliced, plain, 1e-3, x, affine, table, q, k, v)
    norm, more = (rng.random(1000, np.float32), rng.random(1000, np.float32), 1e-5), x @ wide.weight
    before = len(slices)
    got, exact = (
        each.linear(x, affine, norm=norm, gelu=True, add=more) for each in (sliced, plain)
    )
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-3)
    assert (len(slices) - before > 2) == (n_row == 300)


def _all_equal(sliced: Any, plain: Any, near: float, x, affine, table, q, k, v) -> None:
    for operation, values in {
        "linear": (x, affine),
        "unembed": (x, table),
        "gelu": (x,),
        "softmax": (x,),
        "attend": (q, k, v, None, 0),
        "matmul": (q, k.swapaxes(2, 3)),
    }.items():
        got, exact = (getattr(each, operation)(*values) for each in (sliced, plain))
        np.testing.assert_allclose(got, exact, rtol=0, atol=near, err_msg=operation)


def test_a_finding_is_the_same_beside(worker: Worker) -> None:
    found = []
    worker.submit(lambda job: found.append(inspect.logit_lens(job.gpt, "the ab")))
    worker.wait()
    assert worker.errors == [None]
    expected = inspect.logit_lens(TINY, "the ab")
    np.testing.assert_allclose(found[0].divergence, expected.divergence, atol=1e-9)


def test_what_goes_wrong_is_told_and_the_next_is_run(worker: Worker) -> None:
    def wrong(job: Job) -> None:
        raise ValueError("no")

    worker.submit(wrong)
    worker.submit(lambda job: None)
    worker.wait()
    worker.wait()
    assert [type(each) for each in worker.errors] == [ValueError, type(None)]


def test_it_can_be_given_up_while_it_runs_and_while_it_waits(worker: Worker) -> None:
    began = threading.Event()

    def endless(job: Job) -> None:
        while True:
            job.gpt.forward([1, 2, 3])
            began.set()

    running = worker.submit(endless)
    waiting = worker.submit(lambda job: None)
    assert began.wait(90)
    worker.beside.cancel(waiting)
    worker.wait()
    worker.beside.cancel(running)
    worker.wait()
    worker.beside.cancel(running)  # again: nothing happens
    assert [type(each) for each in worker.errors] == [Cancelled, Cancelled]
    worker.submit(lambda job: None)
    worker.wait()
    assert worker.errors[-1] is None


def test_too_many_are_refused_and_stopping_ends_all() -> None:
    worker = Worker(max_waiting=2)
    began = threading.Event()

    def endless(job: Job) -> None:
        began.set()
        while True:
            job.gpt.forward([1])

    worker.submit(endless)
    assert began.wait(90)
    for _ in range(2):
        worker.submit(endless)
    with pytest.raises(Busy):
        worker.submit(endless)
    assert worker.beside.stop(10)
    assert [type(each) for each in worker.errors] == [Cancelled] * 3
    with pytest.raises(Stopped):
        worker.submit(endless)


def test_streams_and_work_beside_them_both_go_on() -> None:
    """They share the processor in turns, and each computes what it would alone."""
    hparams = HParams(n_vocab=TINY.hparams.n_vocab, n_ctx=64, n_embd=128, n_head=4, n_layer=2)
    gpt = GPT(model(hparams, parameters(hparams)), TINY.tokenizer, name="larger")
    turns = Turns()
    engine = Engine(gpt, turns=turns)
    engine.start()
    worker = Worker(gpt, turns)
    ids = [i * 7 % 200 for i in range(60)]
    plain = gpt.logits(ids)
    logits = []
    worker.submit(lambda job: logits.extend(job.gpt.logits(ids) for _ in range(20)))
    tokens: list[list[int]] = []
    ended = threading.Semaphore(0)
    for i in range(3):
        tokens.append([])

        def deliver(event: Event, mine: list[int] = tokens[-1]) -> None:
            if isinstance(event, Ended):
                ended.release()
            elif hasattr(event, "token"):
                mine.append(event.token)

        ask = Ask(prompt=(1 + i, 2, 3), settings=Settings.of(max_tokens=40, seed=i))
        engine.submit(ask, deliver)
    for _ in range(3):
        assert ended.acquire(timeout=90)
    worker.wait()
    assert worker.errors == [None]
    for i, each in enumerate(tokens):
        alone = gpt.generate([1 + i, 2, 3], max_tokens=40, seed=i)
        assert each == [step.token for step in alone.steps]
    for each in logits:
        np.testing.assert_allclose(each, plain, atol=1e-3)
    assert worker.beside.stop(10)
    assert engine.stop(10)


def test_streams_take_turns_with_work_beside_them() -> None:
    """Beside streams, slices take their share of the time and no more."""
    turns = Turns(share=0.5)
    stop = threading.Event()
    sliced: list[int] = []

    def beside() -> None:
        with turns.job():
            while not stop.is_set():
                with turns.slice():
                    time.sleep(0.001)
                    sliced.append(1)

    thread = threading.Thread(target=beside)
    thread.start()
    counts = []
    for _ in range(10):
        with turns.stream():
            before = len(sliced)
            time.sleep(0.01)
            assert len(sliced) == before  # never at the same time
        counts.append(before)
    stop.set()
    thread.join()
    per_step = (counts[-1] - counts[0]) / 9
    assert 1 <= per_step <= 8  # 5 ms of each 10: four or five slices, less on a busy machine


def test_a_slice_that_took_too_long_is_paid_for() -> None:
    """A slice cannot be cut short: the next come later, and the share holds on the whole."""
    turns = Turns(share=0.2)
    stop = threading.Event()
    steps = [0]
    sliced_at: list[int] = []

    def beside() -> None:
        with turns.job():
            while not stop.is_set():
                with turns.slice():
                    time.sleep(0.01)  # of 0.002 that a step gives
                    sliced_at.append(steps[0])

    thread = threading.Thread(target=beside)
    thread.start()
    for _ in range(40):
        with turns.stream():
            time.sleep(0.01)
        steps[0] += 1
    stop.set()
    thread.join()
    between = [at for at in sliced_at if 0 < at < 40]
    assert 2 <= len(between) <= 13  # one in five steps; without the debt, one in each


def test_what_streams_wait_for_is_their_share_or_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the share and a slice on top: one that would not fit waits for the next gap. By a clock
    that only the test moves."""
    now = [0.0]
    monkeypatch.setattr(turns_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    turns = Turns(share=0.25)
    begun: list[str] = []

    def slice(name: str, seconds: float) -> None:
        with turns.slice():
            begun.append(name)
            now[0] += seconds

    def step() -> None:
        with turns.stream():
            begun.append("step")
            now[0] += 0.04

    with turns.job():
        step()  # 0.01 seconds for slices
        slice("a", 0.006)
        late = threading.Thread(target=slice, args=("b", 0.002))  # one of 0.006 would not fit
        late.start()
        step()  # which waits for nothing
        late.join()
        slice("c", 0.002)  # fits beside b
        step()
    assert begun == ["step", "a", "step", "b", "c", "step"]


def test_one_row_of_a_large_vocabulary_is_sliced_too() -> None:
    """It reads as many weights as many rows do: 10 milliseconds of the 124M shape's head."""
    slices = []

    @contextmanager
    def turn() -> Iterator[None]:
        slices.append(1)
        yield

    plain = get_backend("numpy", dtype="float32", threads=1)
    assert isinstance(plain, NumpyBackend)
    table = Embedding(np.random.default_rng(0).random((50_000, 400), np.float32))
    x = np.random.default_rng(1).random((1, 1, 400), np.float32)
    got = SlicedBackend(plain, turn).unembed(x, table)
    np.testing.assert_allclose(got, plain.unembed(x, table), rtol=1e-5)
    assert len(slices) == 3

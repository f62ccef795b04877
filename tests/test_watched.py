"""What runs beside the streams for inspection, without HTTP: the same events, its own cache, and no
more kept than may be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import inspect
from pellucid.errors import ContextError, InputError
from pellucid.hparams import HParams
from pellucid.inspect import Intervention, OverBudget, Recorder
from pellucid.sequence import Settings
from pellucid.serve import watched
from pellucid.serve.beside import Beside
from pellucid.serve.engine import Engine
from pellucid.serve.events import Ask, Began, Ended, Event, Scored, Stopped, WatchedStep
from pellucid.serve.inquiries import Inquiries, Inquiry
from pellucid.serve.kept import Kept, KeptLimits, Missing
from pellucid.serve.records import Records
from pellucid.serve.sliced_json import to_json_in_turns
from pellucid.serve.turns import Turns
from pellucid.serve.watched import TraceAsk, Watch, Watched
from support.models import lively_gpt

TINY, _ = lively_gpt(n_ctx=48)
PROMPT = (5, 9, 17, 40)
CHANGE = Intervention(name="attn.z", op="scale", value=-3.0, layer=0)


class Collected:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Ended):
            self.ended.set()

    def wait(self) -> list[Event]:
        assert self.ended.wait(90)
        return self.events


@pytest.fixture
def beside() -> Iterator[Beside]:
    each = Beside(TINY, Turns())
    each.start()
    yield each
    assert each.stop(10)


def run(beside: Beside, watch: Watch, traces: Kept | None = None, **ask: Any) -> list[Event]:
    collected = Collected()
    runner = Watched(beside, Kept("trace") if traces is None else traces, watch, lambda: "trace-1")
    ask = {"prompt": PROMPT, "settings": Settings.of(max_tokens=6, seed=2)} | ask
    runner.submit(Ask(**ask), collected)
    return collected.wait()


def test_it_delivers_what_the_engine_delivers(beside) -> None:
    """But for how the steps are called, and to rounding."""
    engine = Engine(TINY)
    engine.start()
    expected = Collected()
    ask = Ask(prompt=PROMPT, settings=Settings.of(max_tokens=6, seed=2), score_prompt=True)
    engine.submit(ask, expected)
    events = run(beside, Watch(trace=TraceAsk(names="embed")), score_prompt=True)
    kinds = [Began, Scored, *[WatchedStep] * 6, Ended]
    assert [type(event) for event in events] == kinds
    for event, other in zip(events, expected.wait(), strict=True):
        if isinstance(event, Began):
            assert event.sequence.prompt == other.sequence.prompt
            assert (event.trace, event.cached_tokens) == ("trace-1", 0)
        elif isinstance(event, Scored):
            assert event.logprobs[1:] == pytest.approx(other.logprobs[1:], abs=1e-9)
            assert event.logprobs[0] is other.logprobs[0] is None
            tops, others = (
                [[each.token for each in top] for top in scored.alternatives]
                for scored in (event, other)
            )
            assert tops == others
        elif isinstance(event, Ended):
            assert event == other == Ended(reason="length")
        else:
            assert (event.token, event.text, event.reason) == (
                other.token,
                other.text,
                other.reason,
            )
            assert event.logprob == pytest.approx(other.logprob, abs=1e-9)
    assert engine.stop(10)


def test_what_it_sees_is_what_it_changed(beside) -> None:
    traces: Kept = Kept("trace")
    watch = Watch(owner="a", trace=TraceAsk(names="attn.z"), interventions=(CHANGE,))
    events = run(beside, watch, traces)
    recorder = Recorder(TINY, "attn.z", positions=-1)
    own = TINY.generate(
        PROMPT, max_tokens=6, seed=2, tap=inspect.intervene(TINY, [CHANGE]), record=recorder
    )
    steps = [event for event in events if isinstance(event, WatchedStep)]
    assert [step.token for step in steps] == [step.token for step in own.steps]
    exact = recorder.trace(own)
    kept = traces.get("a", "trace-1")
    for row, step in enumerate(steps):
        assert step.seen is not None
        assert step.seen["position"] == kept.positions[row] == step.position - 1
        for name, array in exact.items():
            np.testing.assert_allclose(kept[name], array, atol=1e-12)
            values = step.seen["values"][name]["values"]
            np.testing.assert_array_equal(values, kept[name][row])


@pytest.mark.parametrize(
    ("watch", "ask", "error"),
    [
        (Watch(), {"prompt": (5,) * 49}, ContextError),
        (Watch(), {"settings": Settings.of(n_ctx=99)}, InputError),
        (Watch(interventions=(Intervention(name="x", op="suppress"),)), {}, InputError),
        (Watch(trace=TraceAsk(names="x")), {}, InputError),
        (Watch(trace=TraceAsk(names="embed", positions=[48])), {}, InputError),
        (Watch(trace=TraceAsk(names="embed", positions=[-1])), {}, InputError),
        (Watch(trace=TraceAsk(names="embed")), {"settings": Settings.of(max_tokens=0)}, InputError),
    ],
)
def test_what_cannot_be_is_said_at_once(beside, watch, ask, error) -> None:
    with pytest.raises(error):
        run(beside, watch, **ask)
    assert not beside.n_waiting


def test_budgets_are_known_before_anything_runs(beside, monkeypatch) -> None:
    row = 16 * 8  # bytes of one position's embedding
    watch = Watch(trace=TraceAsk(names="embed"))
    monkeypatch.setattr(watched, "BUDGET", 6 * row)
    assert run(beside, watch)[-1] == Ended(reason="length")
    monkeypatch.setattr(watched, "BUDGET", 6 * row - 1)
    with pytest.raises(OverBudget):
        run(beside, watch)
    patch = Intervention(name="embed", op="patch", source=PROMPT)
    with pytest.raises(OverBudget):
        run(beside, Watch(interventions=(patch, patch)))


def test_numbers_that_overflow_are_told(beside) -> None:
    huge = tuple(Intervention(name="resid_post", op="scale", value=1e300) for _ in range(3))
    drawn, greedy = Settings.of(max_tokens=3), Settings.of(max_tokens=3, greedy=True)
    for settings, score, says in (
        (drawn, False, "no token is left to draw"),
        (greedy, False, "overflow"),
        (drawn, True, "overflow"),
    ):
        watch = Watch(interventions=huge)
        *_, last = run(beside, watch, settings=settings, score_prompt=score)
        assert isinstance(last, Ended)
        assert isinstance(last.error, InputError)
        assert says in str(last.error)


def test_given_up_it_keeps_nothing(beside) -> None:
    traces: Kept = Kept("trace")
    runner = Watched(beside, traces, Watch(trace=TraceAsk(names="*")), lambda: "trace-1")
    began, go_on, events = threading.Event(), threading.Event(), []
    ended = threading.Event()

    def deliver(event: Event) -> None:
        events.append(event)
        if isinstance(event, WatchedStep):
            began.set()
            assert go_on.wait(90)
        if isinstance(event, Ended):
            ended.set()
            raise RuntimeError("its client is gone")

    settings = Settings.of(max_tokens=40, stop_tokens=[])
    job = runner.submit(Ask(prompt=PROMPT, settings=settings), deliver)
    assert began.wait(90)
    runner.cancel(job)
    go_on.set()
    assert ended.wait(90)
    assert events[-1] == Ended()
    assert sum(isinstance(event, WatchedStep) for event in events) == 1
    assert len(traces) == 0
    assert run(beside, Watch())[-1] == Ended(reason="length")  # the thread lives


def test_drained_it_takes_no_more(beside) -> None:
    beside.drain()
    with pytest.raises(Stopped):
        run(beside, Watch())


# Records


@given(st.integers(1, 9), st.integers(0, 2**31))
def test_the_largest_are_those_that_sorting_finds(top_k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {
        "blocks.0.attn.pattern": rng.random((2, 7)),
        "blocks.0.mlp_out": rng.standard_normal(16),
        "ln_final.scale": rng.random(1),
        "logits": rng.standard_normal(20),
    }

    class Seen:
        gpt = SimpleNamespace(hparams=HParams(20, 8, 16, 2, 1))

        def newest(self) -> dict[str, np.ndarray]:
            return values

    record = Records(Seen(), top_k).take(3)  # type: ignore[arg-type]
    assert record["position"] == 3
    for name, array in values.items():
        entry = record["values"][name]
        assert entry["shape"] == list(array.shape)
        size = array if "pattern" in name or name == "logits" else np.abs(array)
        if "indices" not in entry:
            assert top_k >= array.shape[-1]
            assert entry["values"] == array.tolist()
            continue
        order = np.argsort(-size, axis=-1, kind="stable")[..., :top_k]
        assert entry["indices"] == order.tolist()
        assert entry["values"] == np.take_along_axis(array, order, -1).tolist()


# What is kept


def test_only_so_much_is_kept_and_only_so_long() -> None:
    now = [0.0]
    dropped: list[str] = []
    limits = KeptLimits(count=3, n_bytes=100, total_bytes=150, age=10)
    kept: Kept[str] = Kept("thing", limits, dropped=dropped.append, clock=lambda: now[0])
    for i in range(4):
        kept.put("a", f"a{i}", f"a{i}", 20)
    assert dropped == ["a0"]  # too many
    kept.put("a", "a4", "a4", 70)
    assert dropped == ["a0", "a1", "a2"]  # too many bytes: 20 + 20 + 20 + 70, then 20 + 70
    kept.put("b", "b0", "b0", 90)
    assert dropped[3:] == ["a3", "a4"]  # too many of all: another's make room
    assert (len(kept), kept.n_bytes) == (1, 90)
    kept.put("b", "b1", "b1", 5)
    kept.grew("b1", 60)
    assert dropped[5:] == ["b0"]
    kept.grew("b0", 1)  # it is gone
    now[0] = 9.9
    kept.put("a", "a5", "a5", 200)  # larger than all that may be: it alone
    assert dropped[6:] == ["b1"]
    assert kept.get("a", "a5") == "a5"
    for owner, name in (("b", "a5"), ("a", "a4"), ("a", "")):
        with pytest.raises(Missing):
            kept.get(owner, name)
        with pytest.raises(Missing):
            kept.take(owner, name)
    now[0] = 20
    with pytest.raises(Missing):
        kept.get("a", "a5")
    assert len(kept) == 0
    kept.put("a", "a6", "a6")
    assert kept.take("a", "a6") == "a6"
    assert dropped[7:] == ["a5"]  # not what was taken


def test_a_question_that_must_make_room_is_given_up(beside) -> None:
    limits = KeptLimits(count=1)
    inquiries = Inquiries(beside, Kept("trace"), _names(), limits)
    began = threading.Event()

    def endless(gpt, progress) -> Any:
        began.set()
        while True:
            progress(0, 1)

    first = inquiries.ask("a", "sweep", endless)
    assert began.wait(90)
    second = inquiries.ask("a", "lens", lambda gpt, progress: inspect.logit_lens(gpt, [5, 6]))
    for inquiry, status in ((first, "cancelled"), (second, "done")):
        wait_for(inquiry)
        assert inquiry.status == status
    assert first.finding is None
    with pytest.raises(Missing):
        inquiries.get("a", first.id)
    assert inquiries.get("a", second.id) is second
    assert inquiries.kept.n_bytes == sum(each.nbytes for each in second.finding.each_array()) > 0


def _names():
    count = iter(range(99))
    return lambda kind: f"{kind}-{next(count)}"


def wait_for(inquiry: Inquiry) -> None:
    ended = threading.Event()
    inquiry.changed.append(lambda: inquiry.ended and ended.set())
    assert inquiry.ended or ended.wait(90)


# JSON in turns


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False).filter(lambda x: abs(x) < float("inf")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=40,
)


@given(VALUES)
def test_it_writes_what_json_writes(value) -> None:
    check_json(value)


def check_json(value) -> None:
    written = to_json_in_turns(lambda: value, Turns())
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert written == plain.encode("utf-8", "replace")


def test_long_lists_are_written_in_parts() -> None:
    rng = np.random.default_rng(0)
    check_json({"a": rng.random(5000).tolist(), "b": rng.random((7, 3, 600)).tolist(), "c": []})
    check_json([list(range(512)), list(range(513)), list(range(1024)), "x" * 5000])
    with pytest.raises(ValueError, match="Out of range"):
        to_json_in_turns(lambda: [float("nan")], Turns())


def test_streams_go_on_while_it_writes() -> None:
    """It takes turns: a step waits for a part, not for the whole."""
    turns = Turns()
    value = np.random.default_rng(0).random(200_000).tolist()
    done = threading.Event()
    written: list[bytes] = []

    def write() -> None:
        written.append(to_json_in_turns(lambda: value, turns))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    steps = 0
    while not done.is_set():
        with turns.stream():
            steps += 1
    thread.join()
    assert json.loads(written[0]) == value
    assert steps > 5

"""From logits to one token: every distribution on the way, and parity with transformers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import InputError
from pellucid.row import Row
from pellucid.sampling import (
    Sampling,
    draw,
    nucleus,
    softmax,
)
from support.skips import needs

logits = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(0, 3, 23))


@given(
    logits,
    st.floats(0.05, 5),
    st.integers(1, 30),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.5, 2),
)
def test_every_stage_sums_to_one(x, temperature, top_k, top_p, min_p, penalty):
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        presence_penalty=0.3,
        frequency_penalty=0.2,
    )
    for stage in sampling.stages(x, [1, 2], [2, 3]):
        assert stage.probabilities.sum() == pytest.approx(1)


@given(logits, st.integers(1, 23))
def test_top_k_keeps_the_k_likeliest(x, k):
    kept = np.flatnonzero(np.isfinite(Sampling(top_k=k).stages(x)[-1].logits))
    assert set(kept) == set(np.argsort(-x)[:k])


@given(logits, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_that_reaches_p(x, p):
    probabilities = softmax(x)
    kept = np.flatnonzero(np.isfinite(Sampling(top_p=p).stages(x)[-1].logits))
    assert set(kept) == set(np.argsort(-x)[: kept.size])
    assert probabilities[kept].sum() >= p - 1e-12
    assert probabilities[kept].sum() - probabilities[kept].min() < p


@given(
    st.lists(st.one_of(st.integers(-3, 3), st.just(-np.inf)), min_size=2, max_size=40),
    st.integers(1, 45),
    st.floats(0, 1),
)
def test_nothing_need_be_sorted(values, k, p):
    """Top-k and top-p are found without sorting the vocabulary: what sorting it would give, ties
    and impossible tokens included."""
    x = np.asarray([0.0, *values])
    order = np.argsort(-x, kind="stable")
    order = order[np.isfinite(x[order])]
    kept = np.flatnonzero(np.isfinite(Sampling(top_k=k).stages(x)[-1].logits))
    assert kept.tolist() == sorted(order[:k].tolist())
    before = np.cumsum(softmax(x)[order])
    fewest = order[: 1 + np.count_nonzero(before < p)]
    for first in (1, 2, 1024):
        assert sorted(nucleus(x, p, first).tolist()) == sorted(fewest.tolist())


@pytest.mark.parametrize("spread", [0.0, 0.5, 4.0])
def test_a_large_vocabulary_gives_what_the_plain_way_gives(spread):
    """Top-p by sorted numbers, drawing by sums of blocks: the same tokens as by whole sums."""
    rng = np.random.default_rng(3)
    x = np.round(spread * rng.standard_normal(5_000), 2)  # with ties
    x[rng.integers(0, x.size, 100)] = -np.inf
    order = np.argsort(-x, kind="stable")
    before = np.cumsum(softmax(x)[order])
    for p in (0.1, 0.5, 0.95, 0.999):
        fewest = order[: 1 + np.count_nonzero(before < p - 1e-12)]
        assert nucleus(x, p - 1e-12).tolist() == sorted(fewest.tolist())
    possible = np.flatnonzero(np.isfinite(x))
    cumulative = np.cumsum(softmax(x[possible]))
    for position in range(60):
        uniform = np.random.default_rng([7, position]).random() * cumulative[-1]
        expected = possible[np.searchsorted(cumulative, uniform, side="right")]
        assert draw(x, 7, position) == expected


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.3, 1.0, 4.0]),
    st.sampled_from([0.0, 0.01, 0.7, 1.0, 1.5]),
    st.sampled_from([None, 1, 2, 40, 1500, 5000]),
    st.sampled_from([None, 0.0, 0.2, 0.9, 0.999, 1.0]),
    st.sampled_from([None, 0.1, 0.9]),
    st.sampled_from([(1.0, 0.0, 0.0), (1.2, 0.0, 0.0), (1.0, 0.5, 0.3), (0.8, -0.5, 0.3)]),
)
def test_choosing_takes_what_the_stages_say(seed, spread, temperature, k, p, min_p, penalties):
    """The short way over the likeliest only, and the whole way with every distribution."""
    rng = np.random.default_rng(seed)
    x = (spread * rng.standard_normal(2_000)).astype(np.float32)
    x[rng.integers(0, x.size, 50)] = -np.inf
    x[rng.integers(0, x.size, 50)] = x[0]  # ties
    repetition, presence, frequency = penalties
    sampling = Sampling(
        temperature=temperature,
        top_k=k,
        top_p=p,
        min_p=min_p,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
    )
    text = rng.integers(5, x.size, 60).tolist(), [int(x.argmax()), *rng.integers(5, 50, 60)]
    stages = sampling.stages(x, *text, unused=(3, 4))
    for position in range(4):
        chosen = sampling.choose(x, *text, seed, position, unused=(3, 4))
        assert chosen == sampling.choose(x.astype(np.float64), *text, seed, position, (3, 4))
        assert chosen == draw(stages[-1].logits, seed, position)


@pytest.mark.parametrize("way", [{"top_k": 40, "top_p": 0.9}, {"top_p": 0.9}, {"greedy": True}])
def test_choosing_walks_no_whole_distribution_also_with_penalties(way, monkeypatch):
    """What `stages` writes down for every filter: four times a step of a small model."""
    x = np.random.default_rng(0).standard_normal(50_257)
    sampling = Sampling(**way, frequency_penalty=0.3, repetition_penalty=1.1)
    expected = draw(sampling.stages(x, [7], [8, 8])[-1].logits, 1, 2)
    monkeypatch.delattr(Sampling, "stages")
    assert sampling.choose(x, [7], [8, 8], 1, 2) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_choosing_leaves_the_logits_alone(dtype):
    x = np.random.default_rng(0).standard_normal(2_000).astype(dtype)
    before = x.copy()
    for temperature in (1.0, 0.8):
        Sampling(top_p=0.9, temperature=temperature).choose(x, (), (), 1, 2)
        Sampling(top_k=9, top_p=0.9, temperature=temperature).choose(x, (), (), 1, 2)
    np.testing.assert_array_equal(x, before)


@given(logits, st.floats(0.01, 1))
def test_min_p_is_measured_against_the_likeliest(x, p):
    probabilities = softmax(x)
    kept = np.isfinite(Sampling(min_p=p).stages(x)[-1].logits)
    clear = np.abs(probabilities - p * probabilities.max()) > 1e-12
    assert (kept == (probabilities >= p * probabilities.max()))[clear].all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "value", "processor"),
    [
        ("temperature", 0.7, "TemperatureLogitsWarper"),
        ("top_k", 5, "TopKLogitsWarper"),
        ("top_p", 0.8, "TopPLogitsWarper"),
        ("min_p", 0.1, "MinPLogitsWarper"),
        ("repetition_penalty", 1.3, "RepetitionPenaltyLogitsProcessor"),
    ],
)
def test_same_distribution_as_transformers(seed, name, value, processor):
    torch = needs("torch", "transformers")
    from transformers.generation import logits_process as processors

    x = np.random.default_rng(seed).normal(0, 3, 50)
    ids = [3, 7, 7, 20]
    theirs = getattr(processors, processor)(value)(torch.tensor([ids]), torch.tensor(x)[None])
    ours = Sampling(**{name: value}).stages(x, ids)[-1].probabilities
    np.testing.assert_allclose(ours, softmax(theirs[0].numpy()), atol=1e-12)


def test_penalties_count_generated_tokens_only():
    sampling = Sampling(presence_penalty=1, frequency_penalty=0.5)
    x = sampling.stages(np.zeros(5), [0, 0], [1, 1, 2])[-1].logits
    np.testing.assert_allclose(x, [0, -2, -1.5, 0, 0])


def test_greedy_is_the_likeliest_and_the_tiniest_temperature_is_greedy():
    x = np.random.default_rng(0).normal(0, 3, 23)
    for sampling in (Sampling(greedy=True), Sampling(temperature=0), Sampling(temperature=1e-310)):
        for seed in range(5):
            assert sampling.choose(x, [], [], seed, 0) == x.argmax()


def test_draws_follow_the_distribution_and_the_seed():
    x = np.log([0.5, 0.3, 0.2])
    drawn = [draw(x, 1, position) for position in range(4000)]
    assert drawn == [draw(x, 1, position) for position in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.5, 0.3, 0.2], atol=0.03)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repetition_penalty": 0},
        {"presence_penalty": float("inf")},
    ],
)
def test_out_of_range_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_nothing_left_to_draw_is_an_error():
    with pytest.raises(InputError, match="no token is left"):
        draw(np.full(3, -np.inf), 0, 0)
    for broken in (np.nan, np.inf):
        x = np.asarray([0.0, broken, 1.0])
        for temperature in (0, 0.7):
            with pytest.raises(InputError, match="no token is"), np.errstate(invalid="ignore"):
                Sampling(temperature=temperature, top_p=0.9).choose(x, [], [], 0, 0)


def test_the_likeliest_of_a_large_vocabulary():
    rng = np.random.default_rng(0)
    for x in (rng.standard_normal(50257), np.round(rng.standard_normal(50257), 1)):
        order = np.lexsort((np.arange(x.size), -x))
        for n in (1, 5, 40, 1000, 50257):
            assert Row(x).likeliest(n) == order[:n].tolist()
            top_k = Sampling(top_k=n).stages(x)[-1].logits
            np.testing.assert_array_equal(np.flatnonzero(np.isfinite(top_k)), np.sort(order[:n]))

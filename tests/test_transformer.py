"""The original Transformer beside torch.nn's layers, and beam search beside an exhaustive one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.beam import Beam, beam_search, length_penalty
from pellucid.errors import CheckpointError, ContextError, InputError
from pellucid.families import family_of, hparams_of
from pellucid.families.transformer import TransformerHParams
from pellucid.hparams import SIZES
from pellucid.model import EncoderDecoder, Model
from pellucid.taps import axes, layer_of, table_name, tap_names
from pellucid.weights import initialise, shapes
from support.models import near
from support.paper import Theirs, encoder_decoder, random_weights
from support.skips import BACKENDS, needs

SMALL = TransformerHParams(n_vocab=19, n_ctx=12, n_embd=24, n_head=4, n_layer=3)


@pytest.fixture(scope="module")
def small():
    return random_weights(SMALL)


def seen_by(m: EncoderDecoder, *texts, **options) -> dict[str, np.ndarray]:
    """Every value of a pass by its name."""
    seen = {}

    def tap(name, value):
        seen[name] = m.backend.to_numpy(value)
        return value

    m.forward(*texts, tap, **options)
    return seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layer_equals_torchs(small, backend: str) -> None:
    """Rows of different lengths, padded: memory, every pattern and logits."""
    needs("torch")
    theirs, m = Theirs(SMALL, small), encoder_decoder(SMALL, small, backend)
    rng = np.random.default_rng(1)
    for lengths in (None, [9, 4, 1]):
        source, target = rng.integers(0, 19, (3, 9)), rng.integers(0, 19, (3, 7))
        expected = theirs.forward(source, target, lengths)
        atol = near(backend, 1e-10, *expected.values())
        seen = seen_by(m, source, target, lengths=lengths)
        seen["memory"] = m.backend.to_numpy(m.encode(source, lengths=lengths).x)
        for name, value in expected.items():
            got = seen[name]
            if lengths is not None and name.startswith(("encoder", "memory")):
                rows = range(3)  # what padding itself computes means nothing
                axis = 2 if name.startswith("encoder") else 1
                got, value = (
                    np.concatenate(
                        [np.take(x[i], range(lengths[i]), axis - 1).ravel() for i in rows]
                    )
                    for x in (got, value)
                )
            np.testing.assert_allclose(got, value, rtol=0, atol=atol, err_msg=name)
        untapped = m.backend.to_numpy(m.forward(source, target, lengths=lengths))
        np.testing.assert_allclose(untapped, expected["logits"], rtol=0, atol=atol)
        if backend != "native":
            single = encoder_decoder(SMALL, small, backend, "float32")
            got = single.backend.to_numpy(single.forward(source, target, lengths=lengths))
            np.testing.assert_allclose(got, expected["logits"], rtol=0, atol=1e-4)


def test_what_is_padding_changes_nothing(small) -> None:
    m, source, target = encoder_decoder(SMALL, small), [3, 1, 4], [0, 5, 6]
    alone = m.forward(source, target)
    for padding in (7, 8):
        padded = m.forward([[*source, padding, padding]], [target], lengths=[3])
        np.testing.assert_allclose(padded, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_name_is_reached_once_and_in_order(small, backend: str) -> None:
    m = encoder_decoder(SMALL, small, backend)
    seen = seen_by(m, [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]], [[0, 1, 2], [0, 1, 2]])
    assert sorted(seen) == sorted(tap_names(SMALL))
    at = "decoder.blocks.2.cross.pattern"
    assert (layer_of(at), table_name(at)) == (2, "decoder.blocks.{i}.cross.pattern")
    sizes = {
        "batch": 2, "source": 5, "position": 3, "key": 3, "head": 4, "d_k": 6, "n_embd": 24,
        "4 · n_embd": 96, "n_vocab": 19, "1": 1, "1 or batch": 1,
    }  # fmt: skip
    for name, value in seen.items():
        assert value.shape == tuple(sizes[axis] for axis in axes(name, SMALL)), name


def test_what_a_tap_returns_is_what_the_model_goes_on_with(small) -> None:
    m = encoder_decoder(SMALL, small)
    plain = m.forward([1, 2, 3], [0, 4, 5])
    for name in tap_names(SMALL):

        def bent(at, value, name=name):
            more = 0.1 * np.sin(np.arange(value.size)).reshape(value.shape)
            return value + more if at == name else value

        assert np.abs(m.forward([1, 2, 3], [0, 4, 5], bent) - plain).max() > 1e-6, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_token_at_a_time_is_the_whole_at_once(small, backend: str) -> None:
    """With a cache whose rows change places, as beams do."""
    m = encoder_decoder(SMALL, small, backend)
    memory, targets = m.encode([3, 1, 4, 1, 5]), np.array([[0, 7, 8, 9], [0, 6, 6, 2]])
    whole = m.backend.to_numpy(m.decode(targets, memory))
    cache, rows, got = m.new_cache(), [0], []
    for i in range(4):
        if i:
            cache.follow([0, 0] if i == 1 else [1, 0])  # turned round, and back
            rows = [0, 1] if i % 2 else [1, 0]
        got.append(m.backend.to_numpy(m.decode(targets[rows, i : i + 1], memory, cache))[:, 0])
        got[-1] = got[-1] if i < 2 or i % 2 else got[-1][::-1]
    for i, logits in enumerate(got):
        expected = whole[: len(logits), i]
        atol = near(backend, 1e-10, expected)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=atol)


def test_the_sinusoids_are_the_papers_and_turn_alike_everywhere() -> None:
    m = encoder_decoder(SMALL, random_weights(SMALL))
    table = seen_by(m, list(range(12)), [0])["encoder.pos_embed"][0]
    assert table[5, 6] == pytest.approx(math.sin(5 / 10000 ** (6 / 24)), abs=1e-12)
    assert table[5, 7] == pytest.approx(math.cos(5 / 10000 ** (6 / 24)), abs=1e-12)
    # §3.5: PE(pos + k) is a linear function of PE(pos), the same for every pos.
    rows, later = table[:8], table[3:11]
    turn, *_ = np.linalg.lstsq(rows, later, rcond=None)
    np.testing.assert_allclose(rows @ turn, later, atol=1e-8)
    np.testing.assert_allclose((rows * later).sum(1), (rows * later).sum(1)[0], atol=1e-10)


def test_five_numbers_say_its_shape() -> None:
    assert TransformerHParams(37000, 512, 512, 8, 6).n_params == pytest.approx(65e6, rel=0.04)
    assert TransformerHParams(37000, 512, 1024, 16, 6).n_params == pytest.approx(213e6, rel=0.02)
    assert SMALL.n_params == sum(math.prod(shape) for shape in shapes(SMALL).values())
    assert hparams_of(SMALL.to_dict()) == SMALL
    tensors = initialise(SMALL, seed=1)
    assert tensors["decoder.h.0.cross.c_kv.weight"].std() == pytest.approx(24**-0.5, rel=0.1)
    with pytest.raises(CheckpointError, match="the original Transformer of this shape"):
        EncoderDecoder.of(SMALL, {**tensors, "wpe.weight": tensors["wte.weight"]}, None)


def test_what_is_no_encoder_decoder_is_refused(small) -> None:
    m = encoder_decoder(SMALL, small)
    with pytest.raises(InputError, match=r"reads one text whole.*pellucid generate"):
        Model.of(SMALL, small, m.backend)
    with pytest.raises(InputError, match="has no encoder"):
        EncoderDecoder.of(SIZES["talk"], initialise(SIZES["talk"]), m.backend)
    assert family_of(SMALL).encodes
    for source, target, words in (
        ([], [0], "source must be"), ([1], [0.5], "target must be"), ([19], [0], "token 19"),
        ([1], [-1], "token -1"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            m.forward(source, target)
    with pytest.raises(InputError, match="lengths"):
        m.forward([[1, 2]], [[0]], lengths=[3])
    for source, target, words in (([1] * 13, [0], "source"), ([1], [0] * 13, "target")):
        with pytest.raises(ContextError, match=f"13 tokens of the {words}"):
            m.forward(source, target)


# Beam search


def table_of(n_vocab: int, seed: int):
    """What follows each text of a made-up language, by its tokens alone."""

    def after(tokens: tuple[int, ...]) -> np.ndarray:
        logits = np.random.default_rng([seed, *tokens]).standard_normal(n_vocab) * 1.5
        return logits - np.log(np.exp(logits).sum())

    return after


def following(after):
    """The same as beam search asks for it."""
    texts: list[tuple[int, ...]] = [()]
    first = True

    def ask(rows, tokens):
        nonlocal texts, first
        texts = [()] if first else [(*texts[r], t) for r, t in zip(rows, tokens, strict=True)]
        first = False
        return np.array([after(tuple(map(int, text))) for text in texts])

    return ask


def exhaustive(after, n_vocab: int, end: int, alpha: float, most: int):
    """(score, tokens) of every text that ends within so many tokens, best first."""
    others = [t for t in range(n_vocab) if t != end]
    every = []
    for n in range(most):
        for text in itertools.product(others, repeat=n):
            tokens = (*text, end)
            logprob = math.fsum(after(tokens[:i])[tokens[i]] for i in range(n + 1))
            every.append((logprob / ((5 + n + 1) / 6) ** alpha, tokens))
    return sorted(every, key=lambda each: -each[0])


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 0.6, 1.0, 3.0]))
def test_beam_search_equals_an_exhaustive_one(seed: int, alpha: float) -> None:
    n_vocab, end, most = 4, 3, 4
    after = table_of(n_vocab, seed)
    every = exhaustive(after, n_vocab, end, alpha, most)
    wide = beam_search(
        following(after), start=0, end=end, beam=Beam(beams=81, alpha=alpha, max_tokens=most)
    )
    assert wide.best[0].tokens == every[0][1]
    assert wide.best[0].score == pytest.approx(every[0][0], abs=1e-12)
    known = {tokens: score for score, tokens in every}
    for beams in (1, 2, 5):
        narrow = beam_search(
            following(after), start=0, end=end, beam=Beam(beams=beams, alpha=alpha, max_tokens=most)
        )
        for each in narrow.best:
            if each.ended:
                assert each.score == pytest.approx(known[each.tokens], abs=1e-12)
        if beams == 1:  # greedy
            tokens: tuple[int, ...] = ()
            while end not in tokens and len(tokens) < most:
                tokens = (*tokens, int(after(tokens).argmax()))
            assert narrow.best[0].tokens == tokens


def test_the_length_penalty_lets_a_longer_text_win() -> None:
    """ "0" and its end: probability ½; "1 1 1" and its end: 0.4, and nothing else."""
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(7, 0.6) == pytest.approx(2**0.6)
    ways = {(): [0.5, 0.4, 0.1], (0,): [0, 0, 1], (1,): [0, 1, 0], (1, 1): [0, 1, 0]}
    ways[1, 1, 1] = [0, 0, 1]

    def after(tokens: tuple[int, ...]) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.array(ways[tokens], float))

    for alpha, best in ((0.0, (0, 2)), (0.6, (0, 2)), (2.0, (1, 1, 1, 2))):
        beam = Beam(beams=3, alpha=alpha, max_tokens=4)
        found = beam_search(following(after), start=9, end=2, beam=beam).best[0]
        assert found.tokens == best
        assert found.score == pytest.approx(found.logprob / ((5 + len(best)) / 6) ** alpha)


def test_a_beam_is_checked() -> None:
    for wrong in ({"beams": 0}, {"beams": 2000}, {"alpha": -1.0}, {"max_tokens": 0}):
        with pytest.raises(InputError):
            Beam(**{"max_tokens": 5, **wrong})

"""Token files and the rows made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.data.corpus import SplitWriter, Tokens, open_corpus
from pellucid.errors import InputError
from pellucid.train.batches import IGNORE, Batches, spans
from support import small_corpus


def tokens_of(lengths, learn=None):
    """Documents of these lengths; token number i of the whole is i."""
    documents = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(np.arange(documents[-1]), documents, learn)


@given(st.integers(2, 200), st.integers(1, 20), st.integers(0, 3))
def test_an_epoch_takes_every_row_once_and_targets_follow(n, n_ctx, seed):
    if n < n_ctx + 1:
        with pytest.raises(InputError, match="do not fill one row"):
            Batches(tokens_of([n]), n_ctx)
        return
    batches = Batches(tokens_of([n]), n_ctx, seed)
    for epoch in range(3):
        inputs, targets = batches.take(epoch * batches.n_rows, batches.n_rows)
        assert (targets == inputs + 1).all()
        assert len(np.unique(inputs)) == inputs.size  # no token twice
        assert inputs.min() >= 0
        assert targets.max() <= n - 1


@given(st.integers(0, 60), st.integers(1, 30))
def test_rows_do_not_depend_on_how_they_are_taken(first, count):
    whole, _ = Batches(tokens_of([130]), 7, 1).take(0, 100)
    part, _ = Batches(tokens_of([130]), 7, 1).take(first, count)
    assert (part == whole[first : first + count]).all()


def test_each_epoch_has_its_own_order():
    batches = Batches(tokens_of([1000]), 8)
    first, _ = batches.take(0, batches.n_rows)
    second, _ = batches.take(batches.n_rows, batches.n_rows)
    assert (first[:, 0] % 8 != second[:, 0] % 8).any() or (first != second).any()
    assert (first != second).any()
    other, _ = Batches(tokens_of([1000]), 8, seed=1).take(0, batches.n_rows)
    assert (first != other).any()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(2, 25))
def test_aligned_rows_begin_with_documents_and_leave_nothing_out(lengths, n_ctx):
    tokens = tokens_of(lengths)
    if tokens.n_tokens < n_ctx + 1:
        return
    batches = Batches(tokens, n_ctx, aligned=True)
    inputs, targets = batches.take(0, batches.n_rows)
    assert set(inputs.ravel()) | set(targets.ravel()) == set(range(tokens.n_tokens))
    starts = set(tokens.documents.tolist())
    longest = max(lengths)
    last = tokens.n_tokens - n_ctx - 1
    for begin in inputs[:, 0]:
        assert begin in starts or begin == last or longest > n_ctx


def test_what_is_not_to_be_learned_is_ignored():
    learn = np.array([0, 1, 1, 0, 1, 0], "u1")
    inputs, targets = Batches(tokens_of([6], learn), 5).take(0, 1)
    assert inputs.tolist() == [[0, 1, 2, 3, 4]]
    assert targets.tolist() == [[1, 2, IGNORE, 4, IGNORE]]


def test_validation_rows_are_always_the_same():
    batches = Batches(tokens_of([1000]), 9)
    first, _ = batches.evenly(10)
    batches.take(5, 50)
    again, _ = batches.evenly(10)
    assert (first == again).all()
    assert len(first) <= 10
    assert first[-1, 0] > 800  # from all over the split


@pytest.mark.parametrize("n_vocab", [300, 70_000])
def test_what_is_written_is_what_is_read(tmp_path, n_vocab):
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, n_vocab, rng.integers(1, 30)) for _ in range(20)]
    masks = [rng.integers(0, 2, len(ids)) for ids in documents]
    splits = {}
    for split in ("train", "validation"):
        with SplitWriter(tmp_path, split, n_vocab, masked=True) as writer:
            for ids, mask in zip(documents, masks, strict=True):
                writer.add(ids, mask)
        splits[split] = writer.counts()
    card = {"n_vocab": n_vocab, "masked": True, "splits": splits}
    (tmp_path / "card.json").write_text(json.dumps(card))
    train = open_corpus(tmp_path).train
    assert isinstance(train.ids, np.memmap)
    for i, ids in enumerate(documents):
        begin, end = train.documents[i : i + 2]
        assert (train.ids[begin:end] == ids).all()
        assert (train.learn[begin:end] == masks[i]).all()
    assert splits["train"]["learned"] == sum(int(mask.sum()) for mask in masks)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("card.json", None, "no tokenised corpus"),
        ("card.json", b"{", "is damaged"),
        ("card.json", b"[]", "is damaged"),
        ("train.ids", None, "is missing"),
        ("train.ids", b"xx", "its card says"),
        ("train.documents", b"\0" * 8 * 41, "does not fit"),
        ("train.learn", b"", "its card says"),
    ],
)
def test_a_damaged_corpus_is_named(tmp_path, file, change, message):
    corpus = small_corpus.write(tmp_path / "c", masked=True)
    if change is None:
        (corpus / file).unlink()
    else:
        (corpus / file).write_bytes(change)
    with pytest.raises(InputError, match=message) as error:
        open_corpus(corpus)
    assert str(corpus / (file if change is not None or file != "card.json" else "")) in str(error)
    assert ("card.json is damaged" in str(error.value)) == (file == "card.json" and bool(change))


# Rows that teach nothing


MASKS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=12)


def mask_of(stretches):
    """Long stretches that are given, short ones that are learned."""
    return np.concatenate([[0] * given + [1] * learned for given, learned in stretches]).astype(
        "u1"
    )


@given(MASKS, st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_every_row_teaches_and_those_that_do_not_are_counted(stretches, n_ctx, aligned, seed):
    learn = mask_of(stretches)
    if len(learn) < n_ctx + 1:
        return
    lengths = [given + learned for given, learned in stretches]
    tokens = tokens_of(lengths, learn)
    batches = Batches(tokens, n_ctx, seed, aligned=aligned)
    plain = Batches(
        tokens_of([given + learned for given, learned in stretches]), n_ctx, seed, aligned
    )
    for epoch in range(3):
        inputs, targets = batches.take(epoch * batches.n_rows, batches.n_rows)
        assert (targets != IGNORE).any(1).all()
        taught = np.where(learn[inputs + 1] == 1, inputs + 1, IGNORE)
        assert (targets == taught).all()
        whole, _ = plain.take(epoch * plain.n_rows, plain.n_rows)
        teaching = [row.tolist() for row in whole if learn[row + 1].any()]
        if teaching:  # in the order of an epoch in which nothing is left out, as many as fit
            assert inputs.tolist() == [teaching[i % len(teaching)] for i in range(batches.n_rows)]
    inputs, targets = batches.evenly(5)
    assert (targets != IGNORE).any(1).all()
    begins = plain.evenly(plain.n_rows)[0][:, 0]
    n_teaching = sum(bool(learn[at + 1 : at + 1 + n_ctx].any()) for at in begins.tolist())
    assert batches.n_left_out == len(begins) - n_teaching
    assert batches.n_rows == max(1, n_teaching)


@given(MASKS, st.integers(1, 7))
def test_a_mask_is_read_in_blocks(stretches, block):
    learn = mask_of(stretches)
    starts, ends = spans(learn, block)
    again = np.zeros_like(learn)
    for start, end in zip(starts, ends, strict=True):
        again[start:end] = 1
    assert (again == learn).all()
    assert (starts[1:] > ends[:-1]).all()


def test_nothing_to_be_learned_is_said_before_the_first_step():
    for learn in ([0] * 9, [1] + [0] * 8):  # the very first token is no target
        with pytest.raises(InputError, match="nothing in the corpus is to be learned"):
            Batches(tokens_of([9], np.array(learn, "u1")), 4)

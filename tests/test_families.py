"""What works on a GPT-2 works on each family: a table of things, each held to a plain pass; and
what a family that nobody knows needs to take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pellucid import checkpoint, inspect
from pellucid.backend import get_backend
from pellucid.checkpoint import huggingface
from pellucid.checkpoint.parts import Part
from pellucid.errors import InputError
from pellucid.families import FAMILIES, Branch, Family
from pellucid.families import gpt2 as gpt2_family
from pellucid.families.gpt3 import GPT3HParams
from pellucid.families.llama import Rope
from pellucid.gpt import GPT, load
from pellucid.hparams import HParams
from pellucid.model import Model, Pass, gpt2, llama
from pellucid.model.attend import multi_head_attention
from pellucid.model.gpt2 import plus_linear
from pellucid.model.pages import PAGES, Page
from pellucid.tokenizer import Tokenizer
from pellucid.weights import shapes
from support import small_corpus
from support.models import SPECIAL, lively, llama_gpt, model, near, run
from support.skips import BACKENDS, needs
from support.vocabulary import MERGES, VOCAB

TEXT, OTHER = "the cat sat", "the cat set"


def banded() -> GPT:
    tokenizer = Tokenizer(VOCAB, MERGES, SPECIAL)
    hparams = GPT3HParams(tokenizer.n_vocab, 16, 16, 4, 2, band=4)
    return GPT(model(hparams, lively(hparams), dtype="float64"), tokenizer, name="tiny")


LLAMA3 = Rope(theta=500.0, kind="llama3", factor=2.0, n_original=8, low=1.0, high=4.0)
SHAPES: dict[str, Callable[[], GPT]] = {
    "SmolLM2": lambda: llama_gpt(tied=True),
    "Llama 3": lambda: llama_gpt(rope=LLAMA3, n_kv_head=1),
    "Qwen2.5": lambda: llama_gpt(tied=True, qkv_bias=True, epsilon=1e-6),
    "Qwen3": lambda: llama_gpt(qk_norm=True, d_head=8),
    "GPT-3": banded,
}


@pytest.fixture(scope="module", params=SHAPES)
def gpt(request) -> GPT:
    return SHAPES[request.param]()


# What is shown. Each takes a model and compares what is asked with plain passes.


def generated(gpt: GPT) -> None:
    """From the cache, and with every value kept on the way."""
    ids = gpt.encode(TEXT)
    seen = inspect.Recorder(gpt, ["attn.q", "attn.k", "resid_post"])
    out = gpt.generate(ids, greedy=True, max_tokens=4, record=seen)
    for step in out:
        assert step.token == gpt.logits(ids)[-1].argmax()
        ids.append(step.token)
    assert len(ids) > len(gpt.encode(TEXT))
    trace, whole = seen.trace(out), inspect.trace(gpt, ids[:-1])
    for name, array in trace.items():
        np.testing.assert_allclose(array, whole[name], rtol=0, atol=1e-10, err_msg=name)


def traced(gpt: GPT) -> None:
    """Queries and keys as they are multiplied make the pattern; grouped keys serve several."""
    seen = inspect.trace(gpt, TEXT)
    family, h = FAMILIES[gpt.hparams.family], gpt.hparams
    for layer in range(h.n_layer):
        q, k = (seen[f"blocks.{layer}.{name}"] for name in (family.query, family.key))
        assert (q.shape[1], k.shape[1]) == (h.n_head, h.n_kv_head)
        for head in range(h.n_head):
            qk = q[:, head] @ k[:, head // (h.n_head // h.n_kv_head)].T / np.sqrt(h.d_k)
            np.testing.assert_allclose(qk, seen[f"blocks.{layer}.attn.qk"][head], atol=1e-10)


def lens(gpt: GPT) -> None:
    found, seen = inspect.logit_lens(gpt, TEXT, keep_logits=True), inspect.trace(gpt, TEXT)
    assert found.logits is not None
    np.testing.assert_allclose(found.logits[-1], gpt.logits(TEXT), rtol=0, atol=1e-10)
    read = gpt.model.readout(seen["blocks.0.resid_post"])
    np.testing.assert_allclose(found.logits[1], read, rtol=0, atol=1e-10)


def attribution(gpt: GPT) -> None:
    found = inspect.attribute(gpt, TEXT)
    np.testing.assert_allclose(found.total, found.logit, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.logit, gpt.logits(TEXT)[-1, found.target_id], atol=1e-10)


def head_labels(gpt: GPT) -> None:
    found = inspect.head_labels(gpt, n_texts=1, period=4, seed=3)
    rng = np.random.default_rng(3)
    usual = np.setdiff1d(np.arange(gpt.hparams.n_vocab), [SPECIAL["<|endoftext|>"]])
    once = rng.choice(usual, 4, replace=False).tolist()
    seen = inspect.trace(gpt, [SPECIAL["<|endoftext|>"], *once, *once])
    for layer, head in np.ndindex(2, 4):
        pattern = seen[f"blocks.{layer}.attn.pattern"][head]
        by_hand = np.mean([pattern[i, i - 3] for i in range(5, 9)])
        np.testing.assert_allclose(found.scores["induction"][layer, head], by_hand, atol=1e-10)


def ablation(gpt: GPT) -> None:
    def off(name: str, value: np.ndarray) -> np.ndarray:
        return value * (np.arange(4) != 3)[:, None] if name == "blocks.1.attn.z" else value

    found = inspect.ablate(gpt, TEXT, heads=[(1, 3)])
    expected = gpt.forward([gpt.encode(TEXT)], tap=off)[0, -1]
    np.testing.assert_allclose(found.logits_after, expected, rtol=0, atol=1e-10)


def patching(gpt: GPT) -> None:
    """Any value, some of its heads: of keys and values the heads of keys."""
    family, seen = FAMILIES[gpt.hparams.family], inspect.trace(gpt, TEXT)
    names = ("resid_pre", "attn.v", "attn.z", "attn.pattern", family.query, family.key)
    for name in names:
        of_keys = name in ("attn.v", family.key)
        heads = gpt.hparams.n_kv_head if of_keys else gpt.hparams.n_head

        def put(at: str, value: Any, name: str = name, head: int = heads - 1) -> Any:
            if at != f"blocks.1.{name}":
                return value
            value, other = value.copy(), seen[at]
            if name == "resid_pre":
                value[0] = other
            elif name == "attn.pattern":
                value[0, head] = other[head]
            else:
                value[0, :, head] = other[:, head]
            return value

        chosen = None if name == "resid_pre" else heads - 1
        found = inspect.patch(gpt, TEXT, OTHER, f"blocks.1.{name}", heads=chosen)
        expected = gpt.forward([gpt.encode(OTHER)], tap=put)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10, err_msg=name)
        inspect.patch(gpt, TEXT, OTHER, name)  # all heads, all layers
        if of_keys:
            with pytest.raises(InputError):
                inspect.patch(gpt, TEXT, OTHER, name, heads=heads)
    swept = inspect.patch_each(gpt, TEXT, OTHER, "heads", target=1)
    alone = inspect.patch(gpt, TEXT, OTHER, "blocks.1.attn.z", heads=2)[-1, 1]
    np.testing.assert_allclose(swept.metric[1, 2], alone, rtol=0, atol=1e-10)


def steering(gpt: GPT) -> None:
    vector = inspect.direction(gpt, "good", "bad", 1)

    def add(name: str, x: np.ndarray) -> np.ndarray:
        along = np.linalg.norm(x, axis=-1, keepdims=True) * vector / np.linalg.norm(vector)
        return x + 0.5 * along if name == "blocks.1.resid_pre" else x

    ids = [gpt.encode(TEXT)]
    got = gpt.forward(ids, tap=inspect.steer(gpt, vector, 1, strength=0.5))
    np.testing.assert_allclose(got, gpt.forward(ids, tap=add), rtol=0, atol=1e-10)


def why(gpt: GPT) -> None:
    found = inspect.why(gpt, TEXT)
    assert found.target_id == gpt.logits(TEXT)[-1].argmax()
    assert len(found.sentences) >= 4


def walk(gpt: GPT) -> None:
    way = inspect.walk(gpt, TEXT, layer=1, head=3)
    assert len(way.steps) == 12
    added = "pos_embed" in inspect.trace(gpt, TEXT)
    assert ("pos_embed" in way.values) == added


THINGS = [
    generated, traced, lens, attribution, head_labels, ablation, patching, steering, why, walk,
]  # fmt: skip


@pytest.mark.parametrize("thing", THINGS)
def test_each_thing_on_each_shape(gpt: GPT, thing: Callable[[GPT], None]) -> None:
    thing(gpt)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rounded_weights(shape: str, dtype: str) -> None:
    """The compiled backend computes with the numbers that it says it keeps, whole and cached."""
    needs("pellucid_native")
    wide = replace(SHAPES[shape]().hparams, n_embd=64)
    tensors = lively(wide)
    m = Model.of(wide, tensors, get_backend("native", dtype=dtype, threads=1))
    exact = Model.of(wide, m.tensors(), get_backend("numpy", dtype="float64"))
    tokens = np.random.default_rng(0).integers(0, wide.n_vocab, (2, 12))
    whole = run(m, tokens)
    size = np.abs(run(exact, tokens)).max()
    np.testing.assert_allclose(whole, run(exact, tokens), rtol=0, atol=0.05 * size)
    cache = m.new_cache(2)
    parts = [run(m, tokens[:, a:b], cache=cache) for a, b in ((0, 7), (7, 8), (8, 12))]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=0, atol=0.05 * size)
    wider = Model.of(wide, tensors, exact.backend)
    assert np.abs(run(exact, tokens) - run(wider, tokens)).max() > 1e-3  # something was rounded


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_adapter_learns(shape: str, precision: str, tmp_path: Path) -> None:
    """LoRA from the command's own trainer: the loss falls, the base stays, and the merged model
    is what the adapter makes of it."""
    needs("torch")
    from pellucid.data.corpus import open_corpus
    from pellucid.train import adapter as adapters
    from pellucid.train.run import trainer_for

    corpus = small_corpus.write(tmp_path / "corpus")
    tokenizer = open_corpus(corpus).tokenizer()
    hparams = replace(SHAPES[shape]().hparams, n_vocab=tokenizer.n_vocab)
    tensors = {name: x.astype("float32") for name, x in lively(hparams).items()}
    checkpoint.save(tmp_path / "base", hparams, tensors, tokenizer)
    changed = {"start": str(tmp_path / "base"), "lora_rank": 2, "steps": 8, "precision": precision}
    trainer = trainer_for(small_corpus.config(corpus, tmp_path / "run", **changed))
    losses = [report.loss for report in trainer]
    assert losses[-1] < losses[0]
    saved = adapters.load(tmp_path / "run" / "adapter")
    merged = adapters.merge(tensors, saved)
    learned = load(tmp_path / "run" / "model", backend="numpy")
    expected = Model.of(hparams, merged, get_backend("numpy", dtype="float32"))
    np.testing.assert_allclose(learned.logits([1, 2, 3]), run(expected, [1, 2, 3]), atol=1e-4)
    assert learned.hparams == hparams


# A family that nobody knows: learned positions as GPT-2's, under norms as Llama's.


@dataclass(frozen=True, slots=True)
class NobodyHParams(HParams):
    @property
    def family(self) -> str:
        return "nobody"

    @property
    def n_params(self) -> int:
        return HParams.n_params.fget(self) - (2 * self.n_layer + 1) * self.n_embd  # type: ignore[attr-defined]


def branches(hparams: HParams) -> dict[str, Branch]:
    table = gpt2_family.branches(hparams)
    return {path: x._replace(bias=x.kind == "linear") for path, x in table.items()}


NOBODY = Family(
    title="Nobody",
    hparams=NobodyHParams,
    branches=branches,
    taps=gpt2_family.taps,
    centres=False,
    formats=("pellucid", "hf"),
)


def forward(tokens: Any, weights: Any, run: Pass) -> Any:
    run.check_room(tokens)
    x = gpt2.embed(tokens, weights, run)
    for layer, w in enumerate(weights.h):
        x = run.apply_block(block, x, w, layer, run)
    x = llama.rms_norm(x, weights.ln_f, "ln_final", run)
    logits = gpt2.unembed(run.asked(x), weights, run)
    if run.cache is not None:
        run.cache.advance(tokens.shape[1] if run.lengths is None else run.lengths)
    return logits


def block(x: Any, w: Any, layer: int, run: Pass) -> Any:
    at, tap = f"blocks.{layer}", run.tap
    x = tap(f"{at}.resid_pre", x)
    qkv = llama.linear_of_norm(x, w.ln_1, w.attn.c_attn, f"{at}.ln1", run)
    z, heads = multi_head_attention(qkv, layer, run), f"{at}.attn.result"
    x = x[:, -z.shape[1] :]
    x = tap(f"{at}.resid_mid", plus_linear(x, z, w.attn.c_proj, f"{at}.attn_out", run, heads))
    pre = tap(f"{at}.mlp.pre", llama.linear_of_norm(x, w.ln_2, w.mlp.c_fc, f"{at}.ln2", run))
    post = tap(f"{at}.mlp.post", run.backend.gelu(pre))
    return tap(f"{at}.resid_post", plus_linear(x, post, w.mlp.c_proj, f"{at}.mlp_out", run))


def parts(hparams: HParams) -> dict[str, list[Part]]:
    return {
        name: [Part(name=f"theirs.{name}", shape=shape, turned=False)]
        for name, shape in shapes(hparams).items()
    }


LAYOUT = SimpleNamespace(
    KINDS=("nobody",),
    read_config=lambda config, path: (
        NobodyHParams(**{field.name: config[field.name] for field in fields(HParams)}), None, {},
    ),
    read_tensors=lambda files, hparams, source: {
        ours: files[part.name].tensor(part.name)
        for ours, (part,) in parts(hparams).items()
    },
    is_padding=lambda n_rows, n_vocab: False,
    parts=parts,
    write_config=lambda hparams, dtype: {"model_type": "nobody", **asdict(hparams)},
)  # fmt: skip


@pytest.fixture
def nobody(monkeypatch) -> GPT:
    """A record, a page, a table of names: what CONTRIBUTING asks for."""
    monkeypatch.setitem(FAMILIES, "nobody", NOBODY)
    page = Page(forward, block, llama.rms_norm, gpt2.unembed)
    monkeypatch.setitem(PAGES, "nobody", page)
    monkeypatch.setitem(huggingface.LAYOUTS, "nobody", LAYOUT)
    tokenizer = Tokenizer(VOCAB, MERGES, SPECIAL)
    hparams = NobodyHParams(tokenizer.n_vocab, 16, 16, 4, 2)
    return GPT(model(hparams, lively(hparams), dtype="float64"), tokenizer, name="nobody's")


def test_a_family_that_nobody_knows(nobody: GPT, tmp_path: Path) -> None:
    """Every thing of the table, on every backend, from a cache, in a file: no line elsewhere."""
    for thing in THINGS:
        thing(nobody)
    ids = nobody.encode(TEXT)
    whole = nobody.logits(ids)
    for format in NOBODY.formats:
        tensors = nobody.model.tensors()
        path = checkpoint.save(
            tmp_path / format, nobody.hparams, tensors, nobody.tokenizer, format=format
        )
        again = load(path, backend="numpy", dtype="float64")
        assert again.hparams == nobody.hparams
        np.testing.assert_allclose(again.logits(ids), whole, rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="Nobody is written in the formats pellucid and hf"):
        checkpoint.save(tmp_path / "x", nobody.hparams, tensors, nobody.tokenizer, format="gguf")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_family_that_nobody_knows_on_each_backend(nobody: GPT, backend: str) -> None:
    m = model(nobody.hparams, nobody.model.tensors(), backend, "float64")
    ids, whole = nobody.encode(TEXT), nobody.logits(TEXT)
    atol = near(backend, 1e-10, whole)
    np.testing.assert_allclose(run(m, ids), whole, rtol=0, atol=atol)
    cache = m.new_cache()
    several = [run(m, [ids[a:b]], cache=cache)[0] for a, b in ((0, 4), (4, 5), (5, len(ids)))]
    np.testing.assert_allclose(np.concatenate(several), whole, rtol=0, atol=atol)
    for tap in (None, lambda name, value: value):
        np.testing.assert_allclose(run(m, [ids, ids], tap=tap)[1], whole, rtol=0, atol=atol)

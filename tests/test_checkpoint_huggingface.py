"""Hugging Face's GPT-2, both ways; RELIABILITY A4 (tensors), A5 (paths), A6 (configuration)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pellucid import checkpoint
from pellucid.checkpoint import huggingface_config
from pellucid.checkpoint.contents import READER, inside
from pellucid.errors import CheckpointError, InputError, PellucidError
from pellucid.hparams import SIZES, HParams
from pellucid.tokenizer import Tokenizer
from pellucid.weights import initialise
from support.checkpoints import byte_vocabulary, normal_tensors, reconfigure
from support.skips import needs
from support.work import calls

HPARAMS = HParams(n_vocab=260, n_ctx=8, n_embd=12, n_head=3, n_layer=2)


@pytest.fixture
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_folder(byte_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder without a tokenizer, to break."""
    return checkpoint.save(tmp_path / "model", HPARAMS, normal_tensors(HPARAMS), format="hf")


def rewrite(folder: Path, change: Any) -> None:
    """Change the tensors of a folder with Hugging Face's own library."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.copy() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


# --- both ways with transformers -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_transformers_reads_what_we_save(dtype: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch = needs("torch")
    transformers = needs("transformers")
    from pellucid.backend import get_backend
    from pellucid.model import Pass, forward
    from pellucid.weights import unflatten

    target = checkpoint.save(
        tmp_path / "model", HPARAMS, normal_tensors(HPARAMS), tokenizer, format="hf", dtype=dtype
    )
    theirs, loading = transformers.GPT2LMHeadModel.from_pretrained(
        target, output_loading_info=True, dtype=torch.float32
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ids = [[5, 250, 257, 259, 0, 31]]
    with torch.no_grad():
        wanted = theirs(torch.tensor(ids)).logits.numpy()
    ours = checkpoint.load(target)
    backend = get_backend("numpy")
    weights = unflatten({n: backend.asarray(t) for n, t in ours.tensors.items()}, HPARAMS)
    found = backend.to_numpy(forward(np.array(ids), weights, Pass(HPARAMS, backend)))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)

    text = "abc the clapper, ünï"
    for kind in (transformers.GPT2Tokenizer, transformers.AutoTokenizer):
        other = kind.from_pretrained(target)
        assert other(text)["input_ids"] == tokenizer.encode(text)
        assert other.eos_token_id == tokenizer.end_of_text == 259
    assert ours.tokenizer is not None
    assert ours.tokenizer.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("bare", [False, True], ids=["GPT2LMHeadModel", "GPT2Model"])
def test_we_read_what_transformers_saves(bare: bool, tmp_path: Path) -> None:
    needs("torch")
    transformers = needs("transformers")
    config = transformers.GPT2Config(
        vocab_size=260, n_positions=8, n_embd=12, n_head=3, n_layer=2, bos_token_id=259
    )
    kind = transformers.GPT2Model if bare else transformers.GPT2LMHeadModel
    model = kind(config)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="8KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    state = {k.removeprefix("transformer."): v.numpy() for k, v in model.state_dict().items()}
    for name in ("one", "many", "one/model.safetensors", "many/model.safetensors.index.json"):
        found = checkpoint.load(tmp_path / name)
        assert found.hparams == HPARAMS
        assert found.tokenizer is None
        for key, tensor in found.tensors.items():
            np.testing.assert_array_equal(tensor, state[key])


def test_every_key_that_transformers_writes_is_known() -> None:
    transformers = needs("transformers")
    written = set(transformers.GPT2Config().to_dict())
    assert written <= set(huggingface_config.KNOWN) | huggingface_config.SIZE_KEYS


PUBLISHED = {
    "gpt2": {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 50256,
        "embd_pdrop": 0.1,
        "eos_token_id": 50256,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "n_positions": 1024,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    },
}
PUBLISHED["gpt2-medium"] = PUBLISHED["gpt2"] | {
    "n_embd": 1024,
    "n_head": 16,
    "n_layer": 24,
    "n_special": 0,
    "predict_special_tokens": True,
}
PUBLISHED["gpt2-xl"] = PUBLISHED["gpt2"] | {
    "n_embd": 1600,
    "n_head": 25,
    "n_layer": 48,
    "output_past": True,
}
PUBLISHED["distilgpt2"] = PUBLISHED["gpt2"] | {
    "_num_labels": 1,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "n_layer": 6,
}
PUBLISHED["DialoGPT-small"] = PUBLISHED["gpt2"] | {
    "task_specific_params": {"conversational": {"max_length": 1000}}
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]), "utf-8")
    path = tmp_path / "config.json"
    hparams, template, _ = huggingface_config.read_config(READER.read_object(path), path)
    wanted = PUBLISHED[name]
    assert hparams == HParams(50257, 1024, wanted["n_embd"], wanted["n_head"], wanted["n_layer"])
    assert (template == "dialogpt") == (name == "DialoGPT-small")
    if name in SIZES:
        assert hparams == SIZES[name]


def test_card_and_template_come_back(tmp_path: Path) -> None:
    card = {"loss": 1.25, "data": "twelve lines, ünïcode"}
    for format in checkpoint.FORMATS:
        target = checkpoint.save(
            tmp_path / format,
            HPARAMS,
            normal_tensors(HPARAMS),
            format=format,
            card=card,
            template="roles",
        )
        found = checkpoint.load(target)
        assert (found.card, found.template, found.path) == (card, "roles", target)


def test_old_files_with_masks_and_a_second_output_layer(folder: Path) -> None:
    def as_gpt2_ships(tensors: dict[str, np.ndarray]) -> None:
        mask = np.tril(np.ones((1, 1, 8, 8), np.float32))
        for i in range(2):
            tensors[f"transformer.h.{i}.attn.bias"] = mask.astype(np.uint8 if i else np.float32)
            tensors[f"transformer.h.{i}.attn.masked_bias"] = np.array(-1e4, np.float32)
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].copy()

    wanted = dict(checkpoint.load(folder).tensors)
    wanted = {name: tensor.copy() for name, tensor in wanted.items()}
    rewrite(folder, as_gpt2_ships)
    found = checkpoint.load(folder).tensors
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_tensors_are_mapped_not_copied(folder: Path) -> None:
    tensors = checkpoint.load(folder).tensors
    assert not any(tensor.flags.writeable or tensor.flags.owndata for tensor in tensors.values())


# --- A4: tensors ---------------------------------------------------------------------------------

WTE, GAIN = "transformer.wte.weight", "transformer.h.1.ln_2.weight"


def _missing(t: dict[str, np.ndarray]) -> None:
    del t[GAIN]


def _extra(t: dict[str, np.ndarray]) -> None:
    t["transformer.h.2.ln_1.weight"] = np.ones(12, np.float32)


def _adapter(t: dict[str, np.ndarray]) -> None:
    t["transformer.h.0.attn.c_attn.lora_A"] = np.ones(12, np.float32)


def _shape(t: dict[str, np.ndarray]) -> None:
    t[GAIN] = np.ones(13, np.float32)


def _transposed(t: dict[str, np.ndarray]) -> None:
    t["transformer.h.0.mlp.c_fc.weight"] = t["transformer.h.0.mlp.c_fc.weight"].T.copy()


def _dtype(t: dict[str, np.ndarray]) -> None:
    t[GAIN] = np.ones(12, np.int32)


def _head(t: dict[str, np.ndarray]) -> None:
    t["lm_head.weight"] = t[WTE].copy()
    t["lm_head.weight"][259, 11] += 1e-3


def _head_shape(t: dict[str, np.ndarray]) -> None:
    t["lm_head.weight"] = t[WTE][:-1].copy()


def _nan(t: dict[str, np.ndarray]) -> None:
    t["transformer.h.1.mlp.c_proj.weight"][47, 3] = np.nan


def _inf(t: dict[str, np.ndarray]) -> None:
    t[WTE][7, 2] = -np.inf


def _nan_everywhere_tied(t: dict[str, np.ndarray]) -> None:
    t[WTE][3, 4] = np.nan
    t["lm_head.weight"] = t[WTE].copy()


def _twice(t: dict[str, np.ndarray]) -> None:
    t["wte.weight"] = t[WTE].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_missing, r"missing tensors: h\.1\.ln_2\.weight"),
        (_extra, r"no GPT-2 of this shape has: h\.2\.ln_1\.weight"),
        (_adapter, r"h\.0\.attn\.c_attn\.lora_A"),
        (_shape, r"h\.1\.ln_2\.weight has shape \[13\].*\[12\]"),
        (_transposed, r"h\.0\.mlp\.c_fc\.weight has shape \[48, 12\]"),
        (_dtype, r"h\.1\.ln_2\.weight has dtype I32"),
        (_head, r"lm_head\.weight differs from wte\.weight"),
        (_head_shape, r"lm_head\.weight differs from wte\.weight"),
        (_nan, r"h\.1\.mlp\.c_proj\.weight holds nan at index \[47, 3\]"),
        (_inf, r"wte\.weight holds -inf at index \[7, 2\]"),
        (_nan_everywhere_tied, r"holds nan at index \[3, 4\]"),
        (_twice, r"are the same tensor"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_tensors_that_do_not_fit_are_refused(folder: Path, change: Any, message: str) -> None:
    checkpoint.load(folder)
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


def test_save_checks_the_same(tmp_path: Path, tokenizer: Tokenizer) -> None:
    good = normal_tensors(HPARAMS)
    for change, message in [
        (lambda t: t.pop("wpe.weight"), "missing"),
        (lambda t: t.update(x=np.zeros(1)), "no GPT-2"),
        (lambda t: t.update({"wpe.weight": np.zeros((9, 12), np.float32)}), "shape"),
        (lambda t: t.update({"ln_f.bias": np.full(12, np.nan, np.float32)}), "nan at index"),
    ]:
        tensors = dict(good)
        change(tensors)
        with pytest.raises(CheckpointError, match=message):
            checkpoint.save(tmp_path / "model", HPARAMS, tensors)
    other = HParams(261, 8, 12, 3, 2)
    with pytest.raises(CheckpointError, match="260 tokens and the model 261"):
        checkpoint.save(tmp_path / "model", other, normal_tensors(other), tokenizer)
    for wrong in ({"format": "onnx"}, {"dtype": "int8"}):
        with pytest.raises(InputError):
            checkpoint.save(tmp_path / "model", HPARAMS, good, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    Tokenizer.from_folder(byte_vocabulary(tmp_path, n_merges=2)).save(folder)
    with pytest.raises(CheckpointError, match="259 tokens and the model 260"):
        checkpoint.load(folder)


# --- A5: paths -----------------------------------------------------------------------------------

NAMES = [
    "../x.safetensors",
    "../../outside.safetensors",
    "/etc/passwd",
    "/etc/x.safetensors",
    "a/../../x.safetensors",
    "sub/x.safetensors",
    "./x.safetensors",
    "C:\\x.safetensors",
    "C:x.safetensors",
    "\\\\server\\share\\x.safetensors",
    "..\\x.safetensors",
    "nul\0.safetensors",
    "x.safetensors\0",
    "x.safetensors\n",
    "x.bin",
    "pytorch_model.bin",
    "",
    ".",
    "..",
    "~/x.safetensors",
    "file:///etc/x.safetensors",
    "http://127.0.0.1/x.safetensors",
    "x" * 5000 + ".safetensors",
    ["x.safetensors"],
    7,
    None,
    "absent.safetensors",
]


def to_index(folder: Path, weight_map: Any) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (folder / "model.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:24].replace("/", "|"))
def test_index_may_not_lead_out(folder: Path, name: Any) -> None:
    outside = folder.parent.parent / "outside.safetensors"
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(outside)
    try:
        to_index(folder, dict.fromkeys(names, name))
        absent = name == "absent.safetensors"
        message = "No such file" if absent else "not the name of a safetensors file"
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load(folder)
    finally:
        outside.unlink()


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if isinstance(n, str) and (".." in n or n[:1] in "/" or n[1:2] == ":")]
    + ["a\\..\\..\\x", "\\x", "x\0", "a/.."],
    ids=lambda name: repr(name)[:24].replace("/", "|"),
)
def test_inside_refuses_before_it_looks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "resolve", lambda _: pytest.fail("followed the path"))
    with pytest.raises(CheckpointError, match="leads out"):
        inside(tmp_path, name)


def test_links_out_of_the_folder_are_refused(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        inside, outside = folder / name, folder.parent / f"outside-{name}"
        inside.rename(outside)
        inside.symlink_to(outside)
        with pytest.raises(CheckpointError, match="link that leads out"):
            checkpoint.load(folder)
        inside.unlink()
        outside.rename(inside)
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")  # within the folder: nothing wrong
    checkpoint.load(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


def test_a_linked_tokenizer_is_refused(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(folder)
    checkpoint.load(folder)
    (folder / "vocab.json").rename(tmp_path / "vocab.json")
    (folder / "vocab.json").symlink_to(tmp_path / "vocab.json")
    with pytest.raises(CheckpointError, match="link that leads out"):
        checkpoint.load(folder)


@pytest.mark.parametrize("count", [257, 100_000])
def test_too_many_shards(folder: Path, count: int) -> None:
    to_index(folder, {f"t{i}": f"{i}.safetensors" for i in range(count)})

    def refused() -> None:
        with pytest.raises(CheckpointError, match=r"files; at most|longer than"):
            checkpoint.load(folder)

    assert calls(refused) < 5000  # however many there are, none is looked at


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": []},
        {"weight_map": {}},
        {"weight_map": {}, "more": 1},
        {"metadata": {}},
    ],
)
def test_malformed_index(folder: Path, index: dict[str, Any]) -> None:
    to_index(folder, {})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


def test_shards_and_index_must_agree(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = list(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    good = {name: file for file, part in parts.items() for name in part}
    to_index(folder, good)
    checkpoint.load(folder)
    for bad in (
        {**good, names[0]: "b.safetensors"},
        {**good, "transformer.h.9.ln_1.bias": "a.safetensors"},
        {name: file for name, file in good.items() if name != names[0]},
    ):
        to_index(folder, bad)
        with pytest.raises(CheckpointError, match="disagree about tensor"):
            checkpoint.load(folder)


# --- A6: configuration ---------------------------------------------------------------------------

BAD_CONFIG = [
    ({"auto_map": {"AutoModel": "evil.Model"}}, "Python code"),
    ({"_attn_implementation_internal": "evil/kernel"}, "code to download"),
    ({"_attn_implementation": "eager/x"}, "code to download"),
    ({"quantization_config": {}}, "quantised"),
    ({"trust_remote_code": True}, "Python code to be run"),
    ({"model_type": "bert"}, "must be gpt2"),
    ({"architectures": ["GPT2ForSequenceClassification"]}, "architectures"),
    ({"activation_function": "gelu"}, "must be gelu_new"),
    ({"activation_function": "relu"}, "must be gelu_new"),
    ({"layer_norm_epsilon": 1e-6}, "must be 1e-05"),
    ({"layer_norm_epsilon": "1e-5"}, "must be 1e-05"),
    ({"scale_attn_weights": False}, "must be true"),
    ({"scale_attn_weights": 1}, "must be true"),
    ({"scale_attn_by_inverse_layer_idx": True}, "must be false"),
    ({"add_cross_attention": True}, "must be false"),
    ({"tie_word_embeddings": None}, "true or false"),
    ({"pruned_heads": {"0": [1]}}, "must be empty"),
    ({"n_inner": 47}, "n_inner"),
    ({"n_ctx": 9}, "they must be equal"),
    ({"n_layer": 10**9}, "n_layer"),
    ({"n_layer": 0}, "n_layer"),
    ({"n_layer": -1}, "n_layer"),
    ({"n_layer": "2"}, "n_layer"),
    ({"n_layer": 2.0}, "n_layer"),
    ({"n_layer": True}, "n_layer"),
    ({"n_layer": None}, "n_layer"),
    ({"n_layer": [2]}, "n_layer"),
    ({"n_layer": 1e308}, "n_layer"),
    ({"vocab_size": 1e308}, "n_vocab"),
    ({"vocab_size": 10**19}, "n_vocab"),
    ({"n_embd": 10**9}, "n_embd"),
    ({"n_head": 5}, "multiple of n_head"),
    ({"attn_pdrop": -1}, "between 0 and 1"),
    ({"resid_pdrop": 1e308}, "between 0 and 1"),
    ({"initializer_range": "x"}, "a number"),
    ({"bos_token_id": -2}, "a token id"),
    ({"use_cache": "yes"}, "true or false"),
    ({"n_layer": 1000, "n_embd": 12 * 4096}, "GiB of memory"),
]


@pytest.mark.parametrize(
    ("values", "message"), BAD_CONFIG, ids=[str(values)[:40] for values, _ in BAD_CONFIG]
)
def test_configuration_is_a_closed_table(folder: Path, values: Any, message: str) -> None:
    reconfigure(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"n_layer": NaN}',
        '{"n_layer": 1, "n_layer": 2}',
        "[" * 100_000,
        '{"a":' * 50_000,
        '{"model_type": "gpt2"}',
        "{}",
        '{"n_layer": ' + "9" * 5000 + "}",
        " " * (2 << 20),
    ],
    ids=lambda text: text[:20],
)
def test_configurations_that_are_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, "utf-8")
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


def test_configuration_missing_or_not_utf8(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(CheckpointError, match="UTF-8"):
        checkpoint.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        checkpoint.load(folder)


def test_memory_is_asked_for_before_it_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.checkpoint import contents

    monkeypatch.setattr(contents, "available_memory", lambda: 4 * HPARAMS.n_params - 1)
    with pytest.raises(CheckpointError, match="is free"):
        checkpoint.load(folder)
    monkeypatch.setattr(contents, "available_memory", lambda: 4 * HPARAMS.n_params)
    checkpoint.load(folder)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(sorted(huggingface_config.KNOWN)), JSON_VALUES, max_size=3))
def test_any_configuration_is_read_or_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(PUBLISHED["gpt2"] | values), "utf-8")
    try:
        hparams, _, _ = huggingface_config.read_config(READER.read_object(path), path)
    except CheckpointError:
        return
    assert hparams == SIZES["gpt2"]


# --- finding -------------------------------------------------------------------------------------


def test_detect(folder: Path, tmp_path: Path) -> None:
    own = checkpoint.save(tmp_path / "own", HPARAMS, normal_tensors(HPARAMS))
    assert checkpoint.detect(folder) == checkpoint.detect(folder / "model.safetensors") == "hf"
    assert checkpoint.detect(own) == checkpoint.detect(own / "model.safetensors") == "pellucid"
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai" / "hparams.json").write_text("{}")
    assert checkpoint.detect(tmp_path / "x.gguf") == "gguf"
    assert checkpoint.detect(tmp_path / "openai") == "openai"


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    for source in (
        tmp_path / "absent",
        tmp_path / "empty",
        tmp_path / "notes.txt",
        tmp_path / "pipe",
        "",
        "nul\0",
        "no such model",
        "../../etc/passwd",
        "a/b/c",
        "x" * 10_000,
    ):
        with pytest.raises(PellucidError):
            checkpoint.load(source)


@pytest.mark.parametrize("source_format", checkpoint.FORMATS)
@pytest.mark.parametrize("target_format", checkpoint.FORMATS)
def test_convert(
    source_format: str, target_format: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    tensors = initialise(HPARAMS, seed=3)
    checkpoint.save(tmp_path / "a", HPARAMS, tensors, tokenizer, format=source_format)
    found = checkpoint.load(tmp_path / "a")
    checkpoint.save(
        tmp_path / "b",
        found.hparams,
        found.tensors,
        found.tokenizer,
        format=target_format,
        card=found.card,
        template=found.template,
    )
    again = checkpoint.load(tmp_path / "b")
    assert again.hparams == HPARAMS
    assert again.tokenizer is not None
    assert again.tokenizer.encode("abc the") == tokenizer.encode("abc the")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)


def test_a_model_may_be_saved_over_itself(tmp_path: Path) -> None:
    """The mapped file is still there while its replacement is written."""
    target = checkpoint.save(tmp_path / "model", HPARAMS, normal_tensors(HPARAMS))
    found = checkpoint.load(target)
    checkpoint.save(target, found.hparams, found.tensors, format="hf")
    np.testing.assert_array_equal(
        checkpoint.load(target).tensors["wte.weight"], normal_tensors(HPARAMS)["wte.weight"]
    )

"""RELIABILITY A1: no pickle is opened, by whatever name it comes; A6: loading runs nothing."""

from __future__ import annotations

import ast
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pellucid import checkpoint
from pellucid.errors import CheckpointError
from pellucid.hparams import HParams
from support.checkpoints import byte_vocabulary, normal_tensors
from support.program import python
from support.skips import needs

SOURCES = Path(__file__).parents[1]
HPARAMS = HParams(n_vocab=260, n_ctx=8, n_embd=12, n_head=3, n_layer=2)

# --- the source ----------------------------------------------------------------------------------

MODULES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
NAMES = {"eval", "exec", "__import__", "compile"}


def offences(source: str) -> list[str]:
    """Calls and imports that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            found += [module] if module in MODULES else []
            found += ["torch.load" for a in node.names if module == "torch" and a.name == "load"]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name.endswith(("torch.load", "torch.hub.load", "jit.load", "read_pickle")):
                found.append(name)
            if keywords.get("allow_pickle", "False") != "False":
                found.append(name)
            if keywords.get("trust_remote_code", "False") != "False":
                found.append(name)
            if name in NAMES or name in ("yaml.load", "yaml.unsafe_load", "os.system"):
                found.append(name)
            if keywords.get("shell", "False") != "False":
                found.append(name)
    return found


def test_no_source_file_opens_a_pickle() -> None:
    rooms = ("src", "recipes", "docs", "benchmarks")
    files = [path for room in rooms for path in (SOURCES / room).rglob("*.py")]
    assert len(files) > 10
    assert {str(p): o for p in files if (o := offences(p.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=True)",
        "from torch import load",
        "import pickle",
        "from pickle import loads",
        "import dill, os",
        "def f():\n    import joblib",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
        "eval('1')",
        "M.from_pretrained('x', trust_remote_code=True)",
    ],
)
def test_the_scan_finds(source: str) -> None:
    assert offences(source)


def test_the_scan_lets_pass() -> None:
    assert not offences("import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)")


# --- hostile files -------------------------------------------------------------------------------


class Dropper:
    """What a malicious pickle does: runs a program as soon as it is opened."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.sentinel,))


def hostile(kind: str, sentinel: Path) -> bytes:
    dropper, out = Dropper(sentinel), io.BytesIO()
    if kind.startswith("pickle"):
        return pickle.dumps(dropper, protocol=int(kind[-1]))
    if kind == "torch":
        torch = needs("torch")
        torch.save(dropper, out)
    elif kind == "old torch":
        torch = needs("torch")
        torch.save(dropper, out, _use_new_zipfile_serialization=False)
    elif kind == "npy":
        np.save(out, np.array([dropper], object), allow_pickle=True)
    elif kind == "npz":
        np.savez(out, weights=np.array([dropper], object))
    elif kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("../archive/data.pkl", pickle.dumps(dropper))
    else:
        with tarfile.open(fileobj=out, mode="w") as archive:
            content = pickle.dumps(dropper)
            member = tarfile.TarInfo("../../data.pkl")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


KINDS = [*(f"pickle {p}" for p in range(6)), "torch", "old torch", "npy", "npz", "zip", "tar"]
ENDINGS = [
    ".pt",
    ".bin",
    ".pth",
    ".npz",
    ".npy",
    ".zip",
    ".pkl",
    ".ckpt",
    ".safetensors",
    ".gguf",
    "",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_refused_by_whatever_name(kind: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    content = hostile(kind, sentinel)
    for ending in ENDINGS:
        path = tmp_path / f"model{ending}"
        path.write_bytes(content)
        for source in (path, str(path)):
            with pytest.raises(CheckpointError):
                checkpoint.load(source)
        path.unlink()
    config = {"model_type": "gpt2", "vocab_size": 260, "n_positions": 8}
    config |= {"n_embd": 12, "n_head": 3, "n_layer": 2}
    index = {"weight_map": {"wte.weight": "pytorch_model.bin"}}
    for number, name in enumerate(
        (
            *("model.safetensors", "pytorch_model.bin", "model.pt", "weights.npz", "archive.zip"),
            *("vocab.json", "config.json", "manifest.json", "model.safetensors.index.json"),
            *("hparams.json", "model.ckpt.index", "model.gguf", "tokenizer.json"),
        )
    ):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        if name == "pytorch_model.bin":
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / name).write_bytes(content)
        for source in (folder, folder / name):
            with pytest.raises(CheckpointError):
                checkpoint.load(source)
    assert not sentinel.exists()
    if kind.startswith("pickle"):
        pickle.loads(content)
        assert sentinel.exists()  # the trap itself works


def test_the_refusal_tells_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(hostile("pickle 2", tmp_path / "sentinel"))
    for source in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(CheckpointError, match=r"pickle.*save_pretrained"):
            checkpoint.load(source)


@pytest.mark.parametrize("n_header", [640, 896, 1152, 1408, 35_615 + 1])
def test_a_sound_file_may_begin_like_a_pickle(n_header: int, tmp_path: Path) -> None:
    """A header of 640 bytes is written 0x80 0x02, as a pickle of protocol 2 begins."""
    tensors = normal_tensors(HPARAMS)
    folder = checkpoint.save(tmp_path / "model", HPARAMS, tensors, format="hf")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    n = int.from_bytes(content[:8], "little")
    longer = n + (n_header - n) % 65_536
    padding = b" " * (longer - n)
    path.write_bytes(longer.to_bytes(8, "little") + content[8 : 8 + n] + padding + content[8 + n :])
    assert path.read_bytes()[:2] == n_header.to_bytes(2, "little")
    for source in (folder, path):
        found = checkpoint.load(source)
        np.testing.assert_array_equal(found.tensors["wpe.weight"], tensors["wpe.weight"])


# --- loading runs nothing and looks nowhere else -------------------------------------------------

WATCH = """if True:
    import json, sys
    from pathlib import Path
    import numpy, hashlib, mmap
    from pellucid import checkpoint
    from pellucid.checkpoint import folder, huggingface, hub
    from pellucid.errors import PellucidError
    import pellucid.tokenizer
    checkpoint.load(sys.argv[2])  # what is imported when it is first used is imported now
    model = str(Path(sys.argv[1]).resolve())
    seen = {"open": [], "network": [], "process": [], "code": []}
    watching = True

    def hook(event, args):
        if not watching:
            return
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = args[0].decode() if isinstance(args[0], bytes) else args[0]
            if not str(Path(path).absolute()).startswith(model):
                seen["open"].append(path)
        elif event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
            seen["network"].append(event)
        elif event.startswith(("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn",
                               "os.spawn", "pty.", "webbrowser.", "ctypes.dlopen")):
            seen["process"].append(event)
        elif event in ("pickle.find_class", "marshal.loads", "marshal.load"):
            seen["code"].append(event)
        elif event == "import" and model in str(args[1] or ""):
            seen["code"].append(args[0])

    sys.addaudithook(hook)
    try:
        checkpoint.load(sys.argv[1])
        outcome = "loaded"
    except PellucidError as error:
        outcome = str(error)
    watching = False
    print(json.dumps({"outcome": outcome, **seen}))
"""


VOCABULARY = ("vocab.json", "merges.txt")


def watched(folder: Path) -> dict[str, object]:
    """What loading `folder` did, in a process that has loaded another model before."""
    warm = byte_vocabulary(sound(folder.parent / "warm"), *VOCABULARY)
    done = python(WATCH, folder, warm, check=True, cwd=folder.parent)
    seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return seen


def sound(folder: Path, format: str = "hf") -> Path:
    return checkpoint.save(folder, HPARAMS, normal_tensors(HPARAMS), format=format)


def test_loading_touches_nothing_else(tmp_path: Path) -> None:
    folder = byte_vocabulary(sound(tmp_path / "model"), *VOCABULARY)
    # Code that a careless loader would import from the model's folder.
    for name in ("modeling", "json", "pellucid", "tokenizer", "regex", "tiktoken"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the model')")
    seen = watched(folder)
    assert seen.pop("outcome") == "loaded"
    # The free memory is asked of the system; nothing else is opened.
    assert [p for p in seen.pop("open") if p != "/proc/meminfo"] == []
    assert set(map(str, seen.values())) == {"[]"}


@pytest.mark.parametrize(
    "key", ["auto_map", "_attn_implementation_internal", "trust_remote_code", "custom_code"]
)
def test_configurations_that_ask_for_code(key: str, tmp_path: Path) -> None:
    folder = sound(tmp_path / "model")
    (folder / "evil.py").write_text("raise SystemExit('imported from the model')")
    path = folder / "config.json"
    values = {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: values.get(key, "evil/x")}))
    seen = watched(folder)
    assert key in str(seen.pop("outcome"))
    assert set(map(str, seen.values())) == {"[]"}


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "a/../../outside.safetensors", "x\0y"]
)
def test_hostile_indexes_open_nothing_outside(name: str, tmp_path: Path) -> None:
    folder = sound(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"transformer.wte.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    seen = watched(folder)
    assert seen.pop("outcome") != "loaded"
    assert [p for p in seen.pop("open") if p != "/proc/meminfo"] == []
    assert set(map(str, seen.values())) == {"[]"}


def test_hostile_links_open_nothing_outside(tmp_path: Path) -> None:
    folder = sound(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    seen = watched(folder)
    assert "link that leads out" in str(seen.pop("outcome"))


def test_templates_are_names_and_never_run(tmp_path: Path) -> None:
    """A Jinja template beside the tokenizer is not looked at, one as ours is only a text."""
    attack = "{{ cycler.__init__.__globals__.os.system('touch sentinel') }}"
    folder = byte_vocabulary(sound(tmp_path / "model"), *VOCABULARY)
    for name in ("tokenizer_config.json", "chat_template.jinja", "chat_template.json"):
        (folder / name).write_text(json.dumps({"chat_template": attack}))
    assert checkpoint.load(folder).template is None
    checkpoint.save(tmp_path / "own", HPARAMS, normal_tensors(HPARAMS), template=attack)
    assert checkpoint.load(tmp_path / "own").template == attack
    assert not list(tmp_path.rglob("sentinel"))
    assert not Path("sentinel").exists()

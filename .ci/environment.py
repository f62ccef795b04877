"""Makes a test environment with the Python that runs this: the extras and the tools, in exactly the
versions of constraints.txt.

python .ci/environment.py FOLDER [INSTEAD]      INSTEAD: a file of other versions; and no PyTorch

constraints.txt names every package, so that nothing needs to be resolved: several pips put a share
of them there each, side by side, and a last one, which resolves, finds nothing left to do but what
constraints.txt lacks.

PyTorch comes as a build for the CPU, where pip's index, or the one that TORCH_INDEX names, has one
for this Python; else its tests are skipped. TORCH=1 takes what the index has, on Linux several GB
with CUDA; TORCH=0 takes none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = "gguf,train,tensorboard,eval,serve,test"
SHARES = 2  # of the packages; PyTorch is a third


def main(folder: str, instead: str | None = None) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    print(f"Creating {folder} with the extras and the test tools, for Python {version} ...")
    venv.create(folder, clear=True, with_pip=True, symlinks=os.name != "nt")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if instead:
        others = Path(instead).read_text(encoding="utf-8")
        for name in re.findall(r"^([^#\s]+)==", others, re.MULTILINE):
            pins = re.sub(rf"^{name}==.*\n", "", pins, flags=re.MULTILINE)
        pins += others
    constraints = Path(folder, "constraints.txt").resolve()
    constraints.write_text(pins, encoding="utf-8")
    # Through the environment they also hold for what builds a package: older pips read the one,
    # newer ones the other.
    os.environ["PIP_CONSTRAINT"] = os.environ["PIP_BUILD_CONSTRAINT"] = str(constraints)
    os.environ.pop("PYTHONWARNINGS", None)  # pip's own are no errors
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    program = Path(folder, "Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [str(program), "-m", "pip", "install", "--quiet"]
    lines = re.findall(r"^[^#\s].*$", pins, re.MULTILINE)
    # Newer pips are quicker; and none may be replaced while it works.
    subprocess.run([*pip, *(line for line in lines if line.startswith("pip=="))], check=True)
    rest = [line for line in lines if not re.match("(pip|torch)==", line)]
    shares = []
    for number in range(SHARES):
        share = constraints.with_name(f"constraints-{number}.txt")
        share.write_text("\n".join(rest[number::SHARES]) + "\n", encoding="utf-8")
        shares.append(subprocess.Popen([*pip, "--no-deps", "--requirement", str(share)]))
    torch = not instead and with_torch(pip, re.findall(r"^torch==(.*)$", pins, re.MULTILINE)[0])
    codes = [share.wait() for share in shares]
    if any(codes):
        sys.exit(f"pip could not install what {constraints} names.")
    extras = f"torch,{EXTRAS}" if torch else EXTRAS
    subprocess.run([*pip, "--editable", f"{ROOT}[{extras}]"], check=True)


def with_torch(pip: list[str], version: str) -> bool:
    """Whether PyTorch is to be there; its build for the CPU is then installed, if there is one."""
    wanted, index = os.environ.get("TORCH", ""), os.environ.get("TORCH_INDEX", "")
    if wanted == "0":
        return False
    if sys.platform != "linux":  # there, the index's only build is for the CPU
        return True
    where = ["--index-url", index] if index else []
    build = [*pip, "--no-deps", *where, f"torch=={version}+cpu"]
    done = subprocess.run(build, stderr=subprocess.PIPE, encoding="utf-8")
    if done.returncode == 0 or wanted:
        return True
    # The second is what pip says where a constraint, too, keeps it from the index's own build.
    if not re.search("No matching distribution|ResolutionImpossible", done.stderr):
        sys.exit(done.stderr)
    print(
        f"No build of PyTorch {version} for the CPU and this Python in {index or 'the index'}: its "
        "tests will be skipped.\nTORCH_INDEX=https://download.pytorch.org/whl/cpu has one; TORCH=1 "
        "takes the index's own, several GB with CUDA."
    )
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])

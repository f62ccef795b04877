"""`make constraints`: writes constraints.txt, the newest releases that pyproject.toml allows for
the test environment. Where not every Python can have the newest, each has its own. And
constraints-numpy.txt: what is different with the oldest numpy allowed, on the first of the Pythons.

python .ci/constraints.py python3.11 python3.12 python3.13
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from pythons import find

ROOT = Path(__file__).parents[1]
EXTRAS = "torch,gguf,train,tensorboard,eval,serve,test"
HEAD = """\
# The test environment, exactly: made by `make constraints` from pyproject.toml, for `make test`.
# Made with Python {versions} on {platform}; where not all of them can have one version,
# each line says for which it is.
"""
HEAD_NUMPY = """\
# In place of constraints.txt's, with {old}: made by `make constraints`, for `make test-numpy`.
"""
# What a package says of numpy only when it is imported: pyarrow 26 refuses numpy 1.
UNSAID = ("pyarrow<26",)


def main() -> None:
    pythons = find(sys.argv[1:])
    if not pythons:
        sys.exit("name the Pythons to resolve for: python3.11 python3.12 ...")
    versions = sorted(pythons, key=_key)
    pinned = {version: resolve(pythons[version]) for version in versions}
    lines = [line for name in sorted(set().union(*pinned.values())) for line in pins(name, pinned)]
    head = HEAD.format(versions=", ".join(versions), platform=sys.platform)
    (ROOT / "constraints.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    old = f"numpy=={oldest('numpy')}.*"
    beside = resolve(pythons[versions[0]], old, *UNSAID)
    lines = [
        f"{name}=={version}"
        for name, version in sorted(beside.items())
        if any(others.get(name, version) != version for others in pinned.values())
    ]
    head = HEAD_NUMPY.format(old=old)
    (ROOT / "constraints-numpy.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"Wrote constraints.txt and constraints-numpy.txt, for Python {', '.join(versions)}")


def oldest(package: str) -> str:
    """The lower bound of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (bound,) = (one for one in project["dependencies"] if re.match(rf"{package}\b", one))
    return bound.partition(">=")[2]


def resolve(python: str, *more: str) -> dict[str, str]:
    """Name -> version of everything that pip would install, with the tools that build packages.

    PyTorch's own requirements are asked for; its CUDA libraries, gigabytes that it names exactly
    itself, are not looked at.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (torch,) = project["project"]["optional-dependencies"]["torch"]
    newest = torch.rpartition("=")[2]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        subprocess.run([python, "-m", "venv", f"{folder}/venv"], check=True)
        without = EXTRAS.removeprefix("torch,")
        beside = ["filelock", "fsspec", "jinja2", "networkx", "sympy", "typing-extensions"]
        subprocess.run(
            [f"{folder}/venv/bin/python", "-m", "pip", "install", "--quiet", "--dry-run",
             "--ignore-installed", "--report", report, "--editable", f"{ROOT}[{without}]",
             *more, *beside, *project["build-system"]["requires"], "setuptools", "wheel"],
            check=True,
        )  # fmt: skip
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {_name(one["metadata"]["name"]): one["metadata"]["version"] for one in found}
    del versions["pellucid"]
    return {**versions, "torch": newest}


def pins(name: str, pinned: dict[str, dict[str, str]]) -> list[str]:
    """The lines for one package: one, or one for each stretch of Pythons with its own version."""
    having = [python for python in pinned if name in pinned[python]]
    stretches: list[list[str]] = []
    for python in having:
        if stretches and pinned[stretches[-1][0]][name] == pinned[python][name]:
            stretches[-1].append(python)
        else:
            stretches.append([python])
    lines = []
    for number, stretch in enumerate(stretches):
        marks = []
        if number:
            marks.append(f'python_version >= "{stretch[0]}"')
        if number + 1 < len(stretches):
            marks.append(f'python_version < "{stretches[number + 1][0]}"')
        marker = f" ; {' and '.join(marks)}" if marks else ""
        lines.append(f"{name}=={pinned[stretch[0]][name]}{marker}")
    return lines


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    main()

"""`make test-all`: `make test` with every Python of PYTHONS that is installed, `make test-numpy`
with the first, each in an environment of its own; then what came of it in one table, and what was
skipped.

python .ci/every_python.py python3.11 python3.12 ...      output: build/test-3.11.txt ...
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from pythons import find, first_line

ROOT = Path(__file__).parents[1]
FACTS = """
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
print(of("numpy"), of("torch"))
"""


def main() -> None:
    pythons = find(sys.argv[1:])
    print(f"Installed of {', '.join(sys.argv[1:])}: {', '.join(pythons) or 'none'}.", flush=True)
    runs = [(*each, "test") for each in pythons.items()]
    runs += [(*each, "test-numpy") for each in list(pythons.items())[:1]]
    rows, skips, failed = [], [], not pythons
    for version, program, target in runs:
        start = time.monotonic()
        log, code = run(program, target, name := version + target.removeprefix("test"))
        facts = first_line(f".venv-test-{name}/bin/python", "-c", FACTS) or "- -"
        row = (version, *facts.split(), *counts(log), f"{time.monotonic() - start:.0f}")
        rows.append((*row, "ok" if code == 0 else "FAILED"))
        skips += [f"{name}: {line}" for line in re.findall(r"(?m)^\d+ skipped, no .*", log)]
        failed |= code != 0
    heads = ("Python", "numpy", "torch", "passed", "skipped", "failed", "seconds", "make test")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    print(*skips, sep="\n")
    sys.exit(int(failed))


def run(program: str, target: str, name: str) -> tuple[str, int]:
    """make, its output shown as it comes. -> the output, the exit code"""
    (ROOT / "build").mkdir(exist_ok=True)
    folder = "FULL" if target == "test" else "OLD"
    command = ["make", target, f"PYTHON={program}", f"{folder}=.venv-test-{name}"]
    lines = []
    with (
        open(ROOT / f"build/test-{name}.txt", "w", encoding="utf-8") as file,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        ) as make,
    ):
        assert make.stdout is not None
        for line in make.stdout:
            lines.append(line)
            for stream in (file, sys.stdout):
                stream.write(line)
                stream.flush()
    return "".join(lines), make.returncode


def counts(log: str) -> tuple[str, str, str]:
    """passed, skipped, failed or in error, from the line with which pytest ends."""
    ends = re.findall(
        r"^.*\b(?:passed|failed|errors?|skipped)\b.* in [0-9.]+s.*$", log, re.MULTILINE
    )
    end = ends[-1] if ends else ""
    of = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|skipped|failed|error)", end)}
    if not end:
        return "-", "-", "-"
    return (
        str(of.get("passed", 0)),
        str(of.get("skipped", 0)),
        str(of.get("failed", 0) + of.get("error", 0)),
    )


if __name__ == "__main__":
    main()

"""`make test-all`: `make test` with every Python of PYTHONS that is installed, one after the other,
each in an environment of its own, and what came of it in one table.

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
    rows, failed = [], not pythons
    for version, program in pythons.items():
        start = time.monotonic()
        log, code = run(version, program)
        facts = first_line(f".venv-test-{version}/bin/python", "-c", FACTS) or "- -"
        row = (version, *facts.split(), *counts(log), f"{time.monotonic() - start:.0f}")
        rows.append((*row, "ok" if code == 0 else "FAILED"))
        failed |= code != 0
    heads = ("Python", "numpy", "torch", "passed", "skipped", "failed", "seconds", "make test")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    sys.exit(int(failed))


def run(version: str, program: str) -> tuple[str, int]:
    """`make test` with one Python, its output shown as it comes. -> the output, make's exit code"""
    (ROOT / "build").mkdir(exist_ok=True)
    command = ["make", "test", f"PYTHON={program}", f"FULL=.venv-test-{version}"]
    lines = []
    with (
        open(ROOT / f"build/test-{version}.txt", "w", encoding="utf-8") as file,
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

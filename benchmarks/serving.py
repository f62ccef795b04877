"""`pellucid serve` beside llama.cpp, CTranslate2 and transformers: many streams over HTTP, one run.

    python benchmarks/serving.py FOLDER [--servers pellucid llama-f32 …] [--streams 1 8 32]
        [--requests 2] [--prompt 128] [--tokens 64] [--rounds 3] [--threads 2] [--json FILE]

FOLDER: what `python benchmarks/peers.py FOLDER` made. Each round starts every server afresh, in an
order that turns from round to round; each server is asked by the same client (`load.py`) with so
many streams at once, `requests` of them from each stream (at least six in all), every prompt
distinct, greedy, and as many tokens out for everybody. Medians of the rounds, and Pellucid's ratio
to each; the names and bounds of the columns stand in `load.py`.

pellucid: float32, continuous batching. llama-*: llama-server, 32 slots, continuous batching, keys
and values in f16, its default. ct2-*: CTranslate2 behind `ct2_server.py`; it has no continuous
batching. transformers: `transformers serve --continuous-batching`, float32. The greedy answers of
the float32 servers are compared: `same` is the share of answers equal to Pellucid's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SLOTS = 32
WINDOW = 1024


@dataclass(frozen=True, kw_only=True)
class Server:
    """command: for a port and so many threads. form: of the prompts. body: fields of its own."""

    command: Callable[[Path, int, int], list[Any]]
    form: str = "ids"
    body: dict[str, Any] = field(default_factory=dict)


USAGE = {"stream_options": {"include_usage": True}}


def llama(kind: str) -> Server:
    def command(folder: Path, port: int, threads: int) -> list[Any]:
        return [
            folder / "llama" / "bin" / "llama-server",
            *("--model", folder / "models" / f"{kind}.gguf", "--host", "127.0.0.1"),
            *("--port", port, "--threads", threads, "--threads-batch", threads),
            *("--parallel", SLOTS, "--ctx-size", SLOTS * WINDOW, "--cont-batching"),
            *("--cache-ram", 0, "--no-webui"),
        ]

    return Server(command=command, body={"ignore_eos": True, "cache_prompt": False, **USAGE})


def ct2(kind: str) -> Server:
    def command(folder: Path, port: int, threads: int) -> list[Any]:
        return [
            folder / "torch" / "bin" / "python",
            *(HERE / "ct2_server.py", folder / "models" / f"ct2-{kind}", "--port", port),
            *("--compute-type", kind, "--threads", threads, "--most", SLOTS),
        ]

    return Server(command=command)


def pellucid(folder: Path, port: int, threads: int) -> list[Any]:
    return [
        *(sys.executable, "-m", "pellucid", "serve", "--model", folder / "models" / "hf"),
        *("--port", port, "--max-running", SLOTS),
    ]


def transformers(folder: Path, port: int, threads: int) -> list[Any]:
    return [
        *(folder / "torch" / "bin" / "transformers", "serve", folder / "models" / "hf"),
        *("--continuous-batching", "--device", "cpu", "--dtype", "float32"),
        *("--cb-max-memory-percent", 0.1, "--host", "127.0.0.1", "--port", port),
    ]


SERVERS = {
    "pellucid": Server(command=pellucid, body=USAGE),
    "llama-f32": llama("f32"),
    "llama-q8_0": llama("q8_0"),
    "llama-q4_0": llama("q4_0"),
    "ct2-float32": ct2("float32"),
    "ct2-int8": ct2("int8"),
    "transformers": Server(command=transformers, form="text"),
}
EXACT = ("pellucid", "llama-f32", "ct2-float32", "transformers")
COLUMNS = {
    "tokens_per_s": "tokens/s",
    "ttft_p50": "TTFT p50",
    "ttft_p99": "p99",
    "tpot_p50": "TPOT p50",
    "tpot_p99": "p99",
    "itl_p50": "ITL p50",
    "itl_p99": "p99",
    "goodput_per_s": "goodput/s",
    "goodput_share": "share",
}


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


def environment(threads: int) -> dict[str, str]:
    table = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    table |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        table.pop(name, None)  # numpy chooses its own kernels
    return table


class Running:
    """A server from its start until it answers, and to its end."""

    def __init__(self, name: str, folder: Path, threads: int, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log.open("wb")
        command = [str(part) for part in SERVERS[name].command(folder, self.port, threads)]
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=environment(threads)
        )

    def wait(self, seconds: float = 180) -> None:
        """Until its port answers; llama-server's answers 503 while the model is read."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError("it did not come up")

    def peak(self) -> float:
        """MiB of memory, at most until now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def load(name: str, url: str, options: argparse.Namespace, **of: Any) -> dict[str, Any]:
    """One run of the client. -> its figures and answers."""
    server = SERVERS[name]
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            *(sys.executable, HERE / "load.py", url, "--as", server.form),
            *("--body", json.dumps(server.body), "--prompt", options.prompt),
            *("--words", options.folder / "models" / "hf" / "vocab.json", "--json", out.name),
        ]
        for key, value in of.items():
            command += [f"--{key}", value]
        subprocess.run(
            [str(part) for part in command], check=True, stdout=subprocess.DEVNULL, timeout=1200
        )
        found: dict[str, Any] = json.loads(Path(out.name).read_text("utf-8"))
        return found


def measured(name: str, options: argparse.Namespace, number: int) -> dict[str, Any]:
    log = options.logs / f"{name}-{number}.log"
    running = Running(name, options.folder, options.threads, log)
    found: dict[str, Any] = {}
    try:
        running.wait()
        few = min(2, *options.streams)
        load(name, running.url, options, streams=few, requests=few, tokens=4, seed=10_000)
        for n in options.streams:
            found[str(n)] = load(
                name,
                running.url,
                options,
                streams=n,
                requests=max(6, n * options.requests),
                tokens=options.tokens,
                seed=1000 * number + n,
            )
        found["peak"] = running.peak()
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        lines = log.read_text("utf-8", "replace").splitlines()[-15:]
        found["error"] = "\n".join([str(error), *lines])
        print(f"{name}: {found['error']}", file=sys.stderr)
    finally:
        running.stop()
    return found


def table(rounds: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Medians over the rounds; times in milliseconds."""
    lines = []
    for n in map(str, options.streams):
        lines.append(f"\n{n} streams, {options.prompt} tokens in, {options.tokens} out\n")
        titles = [*COLUMNS.values(), "failed", "same", "pellucid / it"]
        lines.append("| | " + " | ".join(titles) + " |")
        lines.append("|---" * (len(titles) + 1) + "|")
        for name in options.servers:
            runs = [each[name][n] for each in rounds if n in each[name]]
            if not runs or any("tokens_per_s" not in run["figures"] for run in runs):
                lines.append(f"| {name} | did not run |")
                continue
            median = {
                key: statistics.median(run["figures"][key] for run in runs) for key in COLUMNS
            }
            cells = [f"{median[key]:.3g}" for key in COLUMNS]
            cells.append(str(sum(run["figures"]["failed"] for run in runs)))
            cells.append(same(rounds, name, n))
            ratios = [
                each["pellucid"][n]["figures"]["tokens_per_s"]
                / each[name][n]["figures"]["tokens_per_s"]
                for each in rounds
                if n in each[name] and n in each.get("pellucid", {})
            ]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    peaks = {
        name: [each[name]["peak"] for each in rounds if "peak" in each[name]]
        for name in options.servers
    }
    told = ", ".join(f"{k} {statistics.median(v):.0f}" for k, v in peaks.items() if v)
    return "\n".join([*lines, f"\nPeak memory, MiB: {told}."])


def same(rounds: list[dict[str, Any]], name: str, n: str) -> str:
    """The share of answers that say what Pellucid's say."""
    if name not in EXACT:
        return ""
    pairs = [
        (mine["text"], theirs["text"])
        for each in rounds
        if n in each[name] and n in each.get("pellucid", {})
        for mine, theirs in zip(
            each["pellucid"][n]["answers"], each[name][n]["answers"], strict=True
        )
    ]
    return f"{sum(a == b for a, b in pairs) / len(pairs):.2f}" if pairs else ""


def processor() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=2, help="of each stream")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write every figure here")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.logs = options.folder / "logs"
    options.logs.mkdir(exist_ok=True)
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        turned = options.servers[number % len(options.servers) :]
        turned += options.servers[: number % len(options.servers)]
        found = {}
        for name in turned:
            begin = time.perf_counter()
            found[name] = measured(name, options, number)
            took = time.perf_counter() - begin
            print(f"round {number + 1}: {name}, {took:.0f} s", file=sys.stderr, flush=True)
        rounds.append(found)
        if options.json:
            options.json.write_text(json.dumps(rounds), "utf-8")
    print(f"{processor()}, {options.threads} threads, {options.rounds} rounds, medians")
    print(table(rounds, options))


if __name__ == "__main__":
    main()

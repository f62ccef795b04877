"""One engine, measured once, in a process of its own and perhaps in an environment of its own.

    python worker.py ENGINE MODEL KIND THREADS PART

It imports nothing of Pellucid, unless Pellucid is the engine: the engines' environments have it
not. PART: "all" prints one JSON object of figures, "brief" those of a short context alone; "cold"
predicts one token and ends, timed from outside. KIND: what the numbers are kept in, as the engine
calls it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Protocol

DECODED, DECODED_LONG, STREAMS = 64, 32, 8
ROOM = 256  # tokens of a stream that keys and values are held for, where an engine is told


class Engine(Protocol):
    """n_ctx: tokens of its window. n_vocab: ids it knows."""

    n_ctx: int
    n_vocab: int

    def generate(self, ids: list[int], n: int) -> list[int]:
        """n greedy tokens."""

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        """The same of several texts of one length at once."""


class Pellucid:
    def __init__(self, model: str, kind: str, threads: int) -> None:
        import pellucid

        backend, dtype, *kernels = kind.split(" ", 2)
        if kernels:
            import pellucid_native

            pellucid_native.choose(*kernels)
        self.gpt: Any = pellucid.load(model, backend=backend, dtype=dtype, threads=threads)
        self.model = self.gpt.model
        self.n_ctx, self.n_vocab = self.gpt.hparams.n_ctx, self.gpt.hparams.n_vocab

    def generate(self, ids: list[int], n: int, tap: Any = None) -> list[int]:
        return self._run([ids], n, tap)[0]

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        return self._run(texts, n)

    def _run(self, texts: list[list[int]], n: int, tap: Any = None) -> list[list[int]]:
        room = None if len(texts) == 1 else ROOM
        cache, fed = self.model.new_cache(len(texts), room), texts
        out: list[list[int]] = [[] for _ in texts]
        for _ in range(n):
            logits = self.model.backend.to_numpy(
                self.model.forward(fed, cache, tap, last_only=True)
            )
            fed = logits[:, -1].argmax(-1)[:, None].tolist()
            for tokens, (token,) in zip(out, fed, strict=True):
                tokens.append(token)
        return out

    def more(self, ids: list[int]) -> dict[str, float]:
        """With every value of every step recorded."""
        kept: list[Any] = []

        def keep(name: str, value: Any) -> Any:
            kept.append(value)
            return value

        return {"recorded_ms": _decode(lambda n: self.generate(ids, n, keep), DECODED_LONG)}

    def speculation(self, texts: list[str], begin: int = 64, n: int = 100) -> dict[str, float]:
        """Beginnings of real texts, gone on from plainly and by look-up, in turns."""
        settings = {"greedy": True, "max_tokens": n, "stop_tokens": (), "alternatives": 0}
        total: dict[str | None, float] = {None: 0.0, "lookup": 0.0}
        same = True
        for text in texts:
            ids = self.gpt.encode(text)[: min(begin, self.n_ctx - n)]
            seconds: dict[str | None, list[float]] = {None: [], "lookup": []}
            found = set()
            for _ in range(3):
                for source in seconds:
                    generation = self.gpt.generate(ids, **settings, speculate=source)
                    steps = iter(generation)
                    next(steps)
                    seconds[source].append(_seconds(lambda steps=steps: [*steps]))  # type: ignore[misc]
                    found.add(generation.tokens)
            for source in seconds:
                total[source] += median(seconds[source])
            same = same and len(found) == 1
        return {
            "speculation": total[None] / total["lookup"],
            "speculation_same": float(same),
        }


class LlamaCpp:
    """llama.cpp by its C functions (llama-cpp-python's own loop costs more): flash attention and
    kinds of keys as it chooses, one batch for all streams."""

    def __init__(self, model: str, kind: str, threads: int) -> None:
        import llama_cpp as c
        import numpy as np

        self.c, self.np, self.threads = c, np, threads
        self._silent = c.llama_log_callback(lambda level, text, data: None)
        c.llama_log_set(self._silent, None)
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {model}")
        self.n_ctx = c.llama_model_n_ctx_train(self.model)
        self.n_vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(self.n_ctx, 0, STREAMS)
        self.context: Any = None
        self._open(1)

    def _open(self, streams: int) -> None:
        c, settings = self.c, self.c.llama_context_default_params()
        if self.context is not None:
            c.llama_free(self.context)
        settings.n_ctx = self.n_ctx if streams == 1 else ROOM * streams
        settings.n_batch, settings.n_seq_max = self.n_ctx, streams
        settings.n_threads = settings.n_threads_batch = self.threads
        self.context, self.streams = c.llama_init_from_model(self.model, settings), streams

    def generate(self, ids: list[int], n: int) -> list[int]:
        return self.together([ids], n)[0]

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        if self.streams != len(texts):
            self._open(len(texts))
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        fed, past = texts, 0
        out: list[list[int]] = [[] for _ in texts]
        for _ in range(n):
            fed = [[token] for token in self._pass(fed, past)]
            past = past + len(texts[0]) if past == 0 else past + 1
            for tokens, (token,) in zip(out, fed, strict=True):
                tokens.append(token)
        return out

    def _pass(self, fed: list[list[int]], past: int) -> list[int]:
        """The likeliest token after each text."""
        batch, last, at = self.batch, [], 0
        for stream, ids in enumerate(fed):
            for i, token in enumerate(ids):
                batch.token[at], batch.pos[at] = token, past + i
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, stream
                batch.logits[at] = i == len(ids) - 1
                at += 1
            last.append(at - 1)
        batch.n_tokens = at
        if self.c.llama_decode(self.context, batch):
            sys.exit("llama.cpp could not decode")
        shape = (self.n_vocab,)
        rows = (self.c.llama_get_logits_ith(self.context, i) for i in last)
        return [int(self.np.ctypeslib.as_array(row, shape).argmax()) for row in rows]


class CTranslate2:
    def __init__(self, model: str, kind: str, threads: int) -> None:
        import ctranslate2

        self.generator = ctranslate2.Generator(
            model, device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
        )
        self.words = json.loads(Path(model, "vocabulary.json").read_text("utf-8"))
        self.n_ctx, self.n_vocab = 1024, len(self.words)

    def generate(self, ids: list[int], n: int) -> list[int]:
        return self.together([ids], n)[0]

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        results = self.generator.generate_batch(
            [[self.words[i] for i in ids] for ids in texts],
            max_length=n, min_length=n, sampling_topk=1, beam_size=1, max_batch_size=0,
            include_prompt_in_result=False,
        )  # fmt: skip
        return [result.sequences_ids[0] for result in results]


class OpenVINO:
    """OpenVINO GenAI's pipeline, ids in and out."""

    def __init__(self, model: str, kind: str, threads: int) -> None:
        import numpy as np
        import openvino as ov
        import openvino_genai

        self.np, self.ov, self.genai = np, ov, openvino_genai
        self.pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
        config = json.loads(Path(model, "config.json").read_text("utf-8"))
        self.n_ctx, self.n_vocab = config["n_positions"], config["vocab_size"]

    def generate(self, ids: list[int], n: int) -> list[int]:
        return self.together([ids], n)[0]

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        config = self.genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = n, True, False
        ids = self.np.array(texts, dtype=self.np.int64)
        mask = self.ov.Tensor(self.np.ones_like(ids))
        inputs = self.genai.TokenizedInputs(self.ov.Tensor(ids), mask)
        return [list(tokens) for tokens in self.pipeline.generate(inputs, config).tokens]


class Transformers:
    def __init__(self, model: str, kind: str, threads: int) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.model = GPT2LMHeadModel.from_pretrained(model, dtype=getattr(torch, kind)).eval()
        settings = self.model.generation_config
        settings.eos_token_id, settings.pad_token_id = None, 0
        config = self.model.config
        self.n_ctx, self.n_vocab = config.n_positions, config.vocab_size

    def generate(self, ids: list[int], n: int) -> list[int]:
        return self.together([ids], n)[0]

    def together(self, texts: list[list[int]], n: int) -> list[list[int]]:
        ids = self.torch.tensor(texts)
        mask = self.torch.ones_like(ids)
        out = self.model.generate(ids, attention_mask=mask, max_new_tokens=n, do_sample=False)
        tokens: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return tokens


ENGINES: dict[str, Callable[[str, str, int], Engine]] = {
    "pellucid": Pellucid,
    "llama.cpp": LlamaCpp,
    "CTranslate2": CTranslate2,
    "OpenVINO": OpenVINO,
    "transformers": Transformers,
}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _decode(generate: Callable[[int], object], n: int) -> float:
    """Milliseconds of a token after the first, which reads the prompt and is taken off."""
    first = min(_seconds(lambda: generate(1)) for _ in range(3))
    return (_seconds(lambda: generate(n + 1)) - first) / n * 1e3


def figures(engine: Engine, texts: list[str] | None, brief: bool = False) -> dict[str, Any]:
    """Those that its window has room for. brief: decoding at context 32 and first tokens of 512."""
    memory = _peak()  # the model and what it needs, before any work

    def prompt(n: int, seed: int) -> list[int]:
        draw = random.Random(seed)
        return [draw.randrange(engine.n_vocab) for _ in range(n)]

    engine.generate(prompt(min(32, engine.n_ctx // 4), 0), 4)  # warm up
    found: dict[str, Any] = {}
    for context, n in ((32, DECODED), (896, DECODED_LONG))[: 1 if brief else 2]:
        if context + n < engine.n_ctx:
            ids = prompt(context, 1)
            found[f"decode_{context}"] = _decode(lambda n, ids=ids: engine.generate(ids, n), n)  # type: ignore[misc]
            found[f"tokens_{context}"] = engine.generate(ids, 16)
    for n in (512, 1023)[: 1 if brief else 2]:
        if n < engine.n_ctx:
            engine.generate(prompt(n, 2), 1)
            found[f"first_{n}"] = 1e3 * min(
                _seconds(lambda seed=seed, n=n: engine.generate(prompt(n, seed), 1))  # type: ignore[misc]
                for seed in (3, 4)
            )
    if brief:
        return found | {"peak_mib": _peak()}
    if engine.n_ctx > 32 + DECODED:
        prompts = [prompt(32, 10 + i) for i in range(STREAMS)]
        engine.together(prompts, 2)
        whole = _seconds(lambda: engine.together(prompts, DECODED))
        found["streams_8"] = STREAMS * DECODED / whole
    if isinstance(engine, Pellucid) and engine.n_ctx > 32 + DECODED_LONG:
        found |= engine.more(prompt(32, 1))
        if texts is not None:
            found |= engine.speculation(texts)
    return found | {"loaded_mib": memory, "peak_mib": _peak()}


def _peak() -> float:
    """MiB. Linux's getrusage counts what started this process too, as large as that was."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) / (1 << 10)
    if sys.platform == "win32":
        return float("nan")
    else:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    name, model, kind, threads, part = sys.argv[1:6]
    engine = ENGINES[name](model, kind, int(threads))
    if part == "cold":
        engine.generate([1, 2, 3, 4], 1)
        print(json.dumps({"cold_mib": _peak()}), flush=True)
    else:
        texts = json.loads(Path(sys.argv[6]).read_text("utf-8")) if len(sys.argv) > 6 else None
        print(json.dumps(figures(engine, texts, part == "brief")), flush=True)
    os._exit(0)  # some engines take their time to end, or fail at it


if __name__ == "__main__":
    main()

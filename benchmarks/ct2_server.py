"""The thinnest HTTP server around CTranslate2, which has none of its own, for `serving.py`: POST
/v1/completions with a prompt as ids, answered as server-sent events.

    python benchmarks/ct2_server.py MODEL --port 8000 [--compute-type int8] [--threads 2]
        [--most 32]

CTranslate2 has no continuous batching: a batch is fixed when it begins. Requests that wait are
put together, up to `most` of them; who comes while a batch runs waits for its end. Within a batch,
`generate_batch(callback=…)` tells each token as it is chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import threading
from pathlib import Path
from typing import Any

Waiting = tuple[dict[str, Any], "asyncio.Queue[int | None]"]


def work(
    generator: Any,
    names: list[str],
    waiting: queue.SimpleQueue[Waiting],
    most: int,
    loop: asyncio.AbstractEventLoop,
) -> None:
    while True:
        batch = [waiting.get()]
        while len(batch) < most and not waiting.empty():
            batch.append(waiting.get())

        def told(step: Any, batch: list[Waiting] = batch) -> bool:
            body, answer = batch[step.batch_id]
            loop.call_soon_threadsafe(answer.put_nowait, step.token_id)
            return bool(step.step + 1 >= body["max_tokens"])

        longest = max(body["max_tokens"] for body, _ in batch)
        generator.generate_batch(
            [[names[i] for i in body["prompt"]] for body, _ in batch],
            max_length=longest,
            min_length=longest,
            sampling_topk=1,
            beam_size=1,
            include_prompt_in_result=False,
            callback=told,
        )
        for _, answer in batch:
            loop.call_soon_threadsafe(answer.put_nowait, None)


async def serve(options: argparse.Namespace) -> None:
    import ctranslate2

    generator = ctranslate2.Generator(
        str(options.model),
        compute_type=options.compute_type,
        inter_threads=1,
        intra_threads=options.threads,
    )
    names: list[str] = json.loads((options.model / "vocabulary.json").read_text("utf-8"))
    waiting: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
    loop = asyncio.get_running_loop()
    parts = (generator, names, waiting, options.most, loop)
    threading.Thread(target=work, args=parts, daemon=True).start()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()
            return
        length = [
            line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        body = json.loads(await reader.readexactly(int(length[0].partition(b":")[2])))
        tokens: asyncio.Queue[int | None] = asyncio.Queue()
        waiting.put((body, tokens))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        )
        n = 0
        while (token := await tokens.get()) is not None:
            n += 1
            text = names[token].replace("Ġ", " ")  # words in ASCII: all that this model says
            event = {"choices": [{"index": 0, "text": text}]}
            writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        usage = {"choices": [], "usage": {"completion_tokens": n}}
        writer.write(b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", options.port, backlog=512)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--compute-type", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=32)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

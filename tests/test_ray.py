"""The server and the batches on a Ray cluster of two nodes, both of this machine."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

import pellucid
from pellucid import checkpoint
from pellucid.batch import Job
from pellucid.batch import run as run_here
from pellucid.sequence import Settings
from support.server import babbler, eventually, free_port
from support.skips import needs

needs("ray", "fastapi", "openai")

import openai  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402
import ray  # noqa: E402
from ray import serve  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from pellucid.batch.ray import run as run_on_ray  # noqa: E402
from pellucid.serve.ray import Options, app  # noqa: E402

PROMPT = "the cat sat"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    gpt = babbler(1024)
    tensors = {name: np.asarray(array) for name, array in gpt.model.tensors().items()}
    return checkpoint.save(
        tmp_path_factory.mktemp("models") / "babbler", gpt.hparams, tensors, gpt.tokenizer
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    two.add_node(num_cpus=2)
    ray.init(address=two.address, log_to_driver=False)
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    yield two
    serve.shutdown()
    ray.shutdown()
    two.shutdown()


@pytest.fixture(scope="module")
def url(cluster, model) -> str:
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deploy(model, "first")
    return f"http://127.0.0.1:{port}"


def deploy(model: Path, name: str) -> None:
    options = Options(
        model=str(model), name=name, template="plain", replicas=2, per_node=1, no_key=True
    )
    serve.run(app(options))


def states() -> Counter[str]:
    deployment = serve.status().applications["default"].deployments["pellucid"]
    return Counter({str(getattr(k, "value", k)): n for k, n in deployment.replica_states.items()})


def test_two_replicas_on_two_nodes(url) -> None:
    """per_node=1 leaves no other way."""
    assert states() == {"RUNNING": 2}
    began = set()
    for _ in range(40):
        text = httpx.get(f"{url}/metrics", timeout=60).text
        began |= {line for line in text.splitlines() if line.startswith("pellucid_http_requests_t")}
    assert httpx.get(f"{url}/health", timeout=60).json() == {"status": "ok"}
    assert len(began) > 1  # each replica counts its own


def test_it_streams_token_by_token_what_is_served_here(url, model) -> None:
    body = {"prompt": PROMPT, "max_tokens": 60, "temperature": 0, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        reads = list(answer.iter_raw())
    assert len(reads) > 50  # not gathered on the way
    events = [line[6:] for line in b"".join(reads).decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    text = "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1])
    ours = pellucid.load(model).generate(PROMPT, greedy=True, max_tokens=60)
    assert text == ours.text
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    whole = client.completions.create(model="first", prompt=PROMPT, max_tokens=60, temperature=0)
    assert whole.choices[0].text == ours.text


def test_what_is_refused_is_refused_as_ever(url) -> None:
    assert httpx.get(f"{url}/nothing", timeout=60).json()["error"]["code"] == "unknown_url"
    answer = httpx.post(
        f"{url}/v1/completions", json={"prompt": PROMPT, "no_such_field": 1}, timeout=60
    )
    assert answer.status_code == 400
    headers = {"host": "evil.example"}
    assert httpx.get(f"{url}/v1/models", headers=headers, timeout=60).status_code == 403


def test_who_leaves_frees_the_place(url) -> None:
    body = {"prompt": PROMPT, "max_tokens": 1000, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as answer:
        next(answer.iter_raw())

    def idle() -> bool:
        texts = [httpx.get(f"{url}/metrics", timeout=60).text for _ in range(6)]
        return all("\npellucid_running 0.0" in text for text in texts)

    eventually(idle)


@dataclass(kw_only=True)
class Load:
    """Clients that ask without a pause, some for streams: what came back."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self, stream: bool) -> None:
        body = {"prompt": PROMPT, "max_tokens": 200, "stream": stream}
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self.ended.is_set():
                try:
                    answer = client.post("/v1/completions", json=body)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                elif not stream:
                    self.answers[answer.json()["model"]] += 1
                elif not answer.text.endswith("data: [DONE]\n\n"):
                    self.failures.append(answer.text[-200:])
                else:
                    self.answers[json.loads(answer.text.split("\n")[0][6:])["model"]] += 1


def test_a_rolling_restart_under_load_fails_no_request(url, model) -> None:
    load = Load(url=url)
    threads = [threading.Thread(target=load.ask, args=(at % 2 == 0,)) for at in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: load.answers["first"] > 20 or load.failures)
        deploy(model, "second")
        before = load.answers["second"]
        eventually(lambda: load.answers["second"] > before + 20 or load.failures)
    finally:
        load.ended.set()
        for thread in threads:
            thread.join(60)
    assert load.failures == []
    assert load.answers["first"] > 20
    assert load.answers["second"] > 20
    assert httpx.get(f"{url}/v1/models", timeout=60).json()["data"][0]["id"] == "second"
    print(dict(load.answers))


def test_a_replica_without_a_key_does_not_start(url, model) -> None:
    """Its reason reaches whoever deploys."""
    options = Options(model=str(model), replicas=1)
    with pytest.raises(RuntimeError):
        serve.run(app(options), name="open", route_prefix="/open")
    message = serve.status().applications["open"].deployments["pellucid"].message
    serve.delete("open")
    assert "clients must show a key" in message


def test_batches_equal_those_of_one_process_and_go_on(cluster, model, tmp_path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for n in range(9):
        (texts / f"{n}.txt").write_text(f"the cat sat on a mat {n} times", encoding="utf-8")
    rows = "".join(json.dumps({"text": f"the king {n}"}) + "\n" for n in range(7))
    (texts / "rows.jsonl").write_text(rows, encoding="utf-8")
    job = Job(
        model=str(model), settings=Settings(max_tokens=8), loss=True, heads=2,
        names=("attn.pattern",), rows=3,
    )  # fmt: skip
    here = run_here(job, [texts], tmp_path / "here")
    there = run_on_ray(job, [texts], tmp_path / "there", actors=2)
    assert here == there
    assert here.rows == 16
    found, wanted = (
        {row["id"]: row for row in parquet.read_table(tmp_path / out).to_pylist()}
        for out in ("there", "here")
    )
    assert found.keys() == wanted.keys()
    assert all(found[id]["ids"] == wanted[id]["ids"] for id in wanted)
    assert all(found[id]["heads"] == wanted[id]["heads"] for id in wanted)
    next((tmp_path / "there").glob("part-*.parquet")).unlink()
    (texts / "new.txt").write_text("the king went home", encoding="utf-8")
    again = run_on_ray(job, [texts], tmp_path / "there")
    assert 1 < again.rows <= 4
    assert again.before + again.rows == 17
    assert run_here(job, [texts], tmp_path / "there").rows == 0

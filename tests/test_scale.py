"""docs/scale.md: what a platform asks of the server's container, and that the page's files say what
the program does."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from support.docs_commands import blocks
from support.program import python
from support.skips import needs

needs("fastapi")

from pellucid.errors import InputError  # noqa: E402
from pellucid.serve.access import LOOPBACK  # noqa: E402
from pellucid.serve.events import Stopped  # noqa: E402
from pellucid.serve.keys import KEY  # noqa: E402
from pellucid.serve.ray import Options, Replica, Served, app  # noqa: E402

PAGE = "docs/scale.md"
READ_ONLY = """
import errno, os, sys
def refuse(event, given):
    writes = event in (
        "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate",
        "os.chmod", "os.chown", "os.utime", "shutil.rmtree", "tempfile.mkstemp", "sqlite3.connect",
    )
    if event == "open" and str(given[0]) != "/dev/null":
        flags = given[2] if isinstance(given[2], int) else 0
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
    if writes:
        sys.stderr.write(f"WRITES {event} {given}\\n")
        raise OSError(errno.EROFS, "read-only file system", str(given[0]))
sys.addaudithook(refuse)
from pellucid.cli import main
main()
"""


def block(kind: str) -> str:
    (text,) = [text for language, text in blocks(PAGE) if language == kind]
    return text


@pytest.fixture(scope="module")
def manifest() -> dict:
    return yaml.safe_load(block("yaml"))


@pytest.fixture(scope="module")
def container(manifest) -> dict:
    (one,) = manifest["spec"]["predictor"]["containers"]
    return one


def words_of_image() -> list[str]:
    (line,) = re.findall(r"^ENTRYPOINT (.+)$", block("dockerfile"), re.MULTILINE)
    return json.loads(line)


class Container:
    """The server as the page's container starts it: its words, nobody's home, nothing to write."""

    def __init__(self, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.errors = folder / "errors"
        self._file = self.errors.open("w", encoding="utf-8")
        self.child = subprocess.Popen(
            [sys.executable, "-c", READ_ONLY, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._file,
            text=True,
            cwd="/",
            env=environment,
        )
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if line.startswith("curl "):
                self.url = line.split()[1].partition("/v1/")[0]
            if line.startswith("Point "):
                return
        raise AssertionError(self.errors.read_text("utf-8"))

    def close(self) -> None:
        self.child.kill()
        self.child.wait(90)
        assert self.child.stdout is not None
        self.child.stdout.close()
        self._file.close()


@pytest.fixture
def started(container, tmp_path) -> Iterator[Container]:
    needs("POSIX", "/proc")
    program, *words = [*words_of_image(), *container["args"]]
    assert program == "pellucid"
    words[words.index("--model") + 1] = "chat"
    words[words.index("--port") + 1] = "0"
    source = Path(__file__).parents[1] / "src"
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
        **{each["name"]: "a-key-from-a-secret" for each in container["env"]},
    }  # fmt: skip
    server = Container(words, environment, tmp_path)
    yield server
    server.close()


def test_a_container_writes_nothing_listens_once_and_drains(started, container, manifest) -> None:
    headers = {"authorization": "Bearer a-key-from-a-secret"}
    with httpx.Client(base_url=started.url, timeout=60) as client:
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            path = container[probe]["httpGet"]["path"]
            # As a kubelet asks: by the pod's address, without a key.
            assert client.get(path, headers={"host": "10.1.2.3:8080"}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert "pellucid_engine_alive 1.0" in client.get("/metrics", headers=headers).text
        host = container["args"][container["args"].index("--allow-host") + 1]
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        answer = client.post("/v1/chat/completions", json=body, headers={**headers, "host": host})
        assert answer.json()["choices"][0]["message"]["content"]
        traced = {**body, "pellucid": {"trace": {"names": "attn.pattern", "layers": 0}}}
        assert client.post("/v1/chat/completions", json=traced, headers=headers).is_success
        assert listeners(started.child.pid) == 1
        long = {"prompt": "Once upon a time", "max_tokens": 100, "stream": True}
        with client.stream("POST", "/v1/completions", json=long, headers=headers) as stream:
            parts = stream.iter_text()
            first = next(parts)
            started.child.send_signal(signal.SIGTERM)
            rest = first + "".join(parts)
    assert rest.endswith("data: [DONE]\n\n")
    assert started.child.wait(90) == 0
    said = started.errors.read_text("utf-8")
    assert "POST /v1/completions 200" in said
    assert "WRITES" not in said
    assert "Once upon" not in said


def test_the_hook_sees_what_is_written(tmp_path) -> None:
    words = ("convert", "talk", str(tmp_path / "copy"))
    done = python(READ_ONLY, *words)
    assert done.returncode == 2
    assert "WRITES os.mkdir" in done.stderr
    assert not list(tmp_path.iterdir())


def listeners(process: int) -> int:
    """Sockets of a process that listen."""
    own = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        target = str(path.readlink())
        own |= set(re.findall(r"socket:\[(\d+)\]", target))
    listed = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{name}").read_text("ascii").splitlines()[1:]
    ]
    return sum(fields[3] == "0A" and fields[9] in own for fields in listed)


def test_the_manifest_and_the_image_say_what_the_program_takes(container, manifest) -> None:
    from pellucid.cli.serve import command

    known = {option for parameter in command.params for option in parameter.opts}
    image = words_of_image()
    for word in (*image, *container["args"]):
        assert not word.startswith("--") or word in known, word
    port = image[image.index("--port") + 1]
    assert [str(each["containerPort"]) for each in container["ports"]] == [port]
    assert f"EXPOSE {port}\n" in block("dockerfile")
    assert [each["name"] for each in container["env"]] == [KEY]
    for name, probe in container.items():
        if name.endswith("Probe"):
            assert str(probe["httpGet"]["port"]) == port
    assert manifest["spec"]["predictor"]["containers"][0]["name"] == "kserve-container"
    assert container["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_the_manifest_leaves_time_to_drain(container, manifest) -> None:
    words = container["args"]
    grace = float(words[words.index("--grace") + 1])
    (pause,) = [float(w) for w in container["lifecycle"]["preStop"]["exec"]["command"][1:]]
    assert pause + grace < manifest["spec"]["predictor"]["terminationGracePeriodSeconds"]
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > grace
    assert words[words.index("--threads") + 1] == container["resources"]["limits"]["cpu"]


def test_the_pages_python_runs(tmp_path, monkeypatch) -> None:
    needs("pyarrow")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("The power clapper", encoding="utf-8")
    (code,) = [text for kind, text in blocks(PAGE) if kind == "python" and "batch" in text]
    done = python(code, cwd=tmp_path)
    assert done.stdout == "1 rows\n", done.stderr


def test_the_page_names_what_is_there() -> None:
    text = "".join(text for kind, text in blocks(PAGE) if kind in ("bash", "python"))
    assert re.findall(r"pellucid\.serve\.ray:(\w+)", text) == [app.__name__]
    names = {*re.findall(r"(\w+)=", re.search(r"^serve run (.+)$", text, re.MULTILINE)[1])}
    names |= {*re.findall(r"(\w+)=", re.search(r"Options\((.+?)\)", text)[1])}
    assert names <= set(Options.model_fields)
    (line,) = re.findall(r"pellucid batch (.+)$", text, re.MULTILINE)
    from pellucid.cli.batch import command

    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in line.split() if word.startswith("--")} <= known


# A replica on Ray, without Ray: what it is made of. tests/test_ray.py has the cluster.


def test_a_replica_asks_for_a_key(monkeypatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(InputError, match="clients must show a key"):
        Served(Options(model="talk"))
    with pytest.raises(InputError, match="write it as https"):
        Served(Options(model="talk", no_key=True, allow_origin=("chat.example",)))


async def asked(served: Served, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", timeout=60
    ) as client:
        return await client.get(path, headers=headers)


def test_a_replica_answers_and_tells_its_health(monkeypatch) -> None:
    import asyncio

    monkeypatch.setenv(KEY, "a-long-enough-key")
    served = Served(Options(model="talk", name="me", allow_host=("gpt.example",)))
    replica = Replica()
    replica.app = served
    replica.check_health()
    assert asyncio.run(asked(served, "/health")).status_code == 200
    assert asyncio.run(asked(served, "/v1/models")).status_code == 401
    key = {"authorization": "Bearer a-long-enough-key"}
    for host, status in (("gpt.example", 200), ("10.0.0.7", 200), ("evil.example", 403)):
        answer = asyncio.run(asked(served, "/v1/models", host=host, **key))
        assert answer.status_code == status
    assert "localhost" in LOOPBACK
    del replica
    assert served.service.state != "ok"


def test_a_replica_whose_engine_failed_is_not_well() -> None:
    served = Served(Options(model="talk", no_key=True))
    replica = Replica()
    replica.app = served
    served.service.engine.failure = RuntimeError("broken")
    with pytest.raises(Stopped, match="failed"):
        replica.check_health()
    served.service.engine.failure = None
    served.service.stop(5)


def test_options_as_a_command_line_has_them() -> None:
    given = {"replicas": "2", "cpus": "1", "no_key": "true", "allow_host": "a.example,b.example"}
    options = Options.model_validate(given)
    assert (options.replicas, options.no_key) == (2, True)
    assert options.allow_host == ("a.example", "b.example")
    for wrong in ({"replicas": "0"}, {"modle": "chat"}, {"cache": "lots"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options.model_validate(wrong)


def test_without_ray_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install .pellucid\[serve,ray\]"):
        app(Options())

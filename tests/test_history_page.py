"""The slider in a real browser: at each moment every number is what Python finds on its weights.
And while a run goes on: served beside it, which it does not notice."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from pellucid import history
from pellucid.history.live import Server
from pellucid.train.config import TalkConfig
from pellucid.train.run import trainer_for
from pellucid.train.snapshots import moments
from support import small_corpus
from support.program import PROGRAM
from support.skips import needs
from support.work import until

SEEN = """const view = pellucid.view;
return view.data.steps.map((step, i) => { view.show(i); return {
  step: Number(view.host.dataset.step),
  shown: document.querySelector('.learned-step').textContent,
  loss: document.querySelector('.of-loss .readout').dataset.loss,
  text: document.querySelector('.of-loss .readout').dataset.text,
  next: [...document.querySelectorAll('.learned-next li:not(.vacant)')].map(
    row => [row.dataset.id, row.dataset.value, row.classList.contains('first')]),
  pattern: [...document.querySelectorAll('.learned-pattern tbody tr')].map(
    row => [...row.querySelectorAll('.cell:not(.masked)')].map(cell => Number(cell.dataset.value))),
  said: document.querySelector('.learned-said').textContent}; });"""


def check(driver, found) -> None:
    """Every moment of the page is what Python found, and says which it is."""
    shown = driver.execute_script(SEEN)
    rings = driver.execute_script(
        "return document.querySelectorAll('.loss-curve .held-out').length"
    )
    caption = driver.execute_script(
        "return document.querySelector('.of-loss .caption').textContent"
    )
    assert ("Rings: on what was held out." in caption) == (rings > 0)
    assert [each["step"] for each in shown] == list(found.steps)
    for at, moment in enumerate(shown):
        step = found.steps[at]
        assert moment["shown"] == f"step {step:,} of {found.total:,}"
        loss = found.losses.get(step)
        assert moment["loss"] == "null" if loss is None else float(moment["loss"]) == loss
        assert float(moment["text"]) == pytest.approx(found.text_losses[at], abs=2e-5)
        known = dict(zip(found.next_ids, found.next_shares[at], strict=True))
        for token, share, first in moment["next"]:
            assert float(share) == pytest.approx(known[int(token)], abs=1e-5)
            assert first == (int(token) == found.next_ids[found.first[at]])
        assert sum(first for *_, first in moment["next"]) == 1
        own = found.pattern[at, found.layer, found.head]
        for query, row in enumerate(moment["pattern"]):
            np.testing.assert_allclose(row, own[query, : query + 1], atol=1e-5)
        assert found.names[found.next_ids[found.first[at]]].strip() in moment["said"]


def press(driver, key: str) -> None:
    driver.execute_script(
        "document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))",
        key,
    )


def at(driver) -> int:
    return int(driver.execute_script("return pellucid.view.host.dataset.step"))


def test_every_moment_of_the_talk_is_python_s(browser) -> None:
    found = history.learned("talk")
    driver = browser.show(history.learned_page("talk"))
    assert at(driver) == 0
    check(driver, found)
    # Another text, another head: the models of all moments run in the page.
    other = history.learned("talk", "The king went home to", layer=1, head=0)
    driver.execute_script(
        "const box = document.querySelector('.text-box input'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'));"
        "const heads = document.querySelector('.learned-heads select');"
        "heads.selectedIndex = [...heads.options].findIndex(o => o.text === 'L1H0');"
        "heads.dispatchEvent(new Event('change'))",
        "The king went home to",
    )
    check(driver, other)
    browser.check()


def test_points_move_in_one_plane(browser) -> None:
    """Where a word is drawn is a linear function of its point, the same at all moments."""
    found = history.learned("talk")
    driver = browser.show(history.learned_page("talk"))
    drawn = driver.execute_script(
        "const {view} = pellucid; return view.data.steps.map((_, i) => { view.show(i);"
        "return view.plane.marks.map(({mark}) => /translate\\((.+)px, (.+)px\\)/.exec("
        "mark.style.transform).slice(1).map(Number)); });"
    )
    shown, points = np.array(drawn).reshape(-1, 2), found.points.reshape(-1, 2)
    for axis, way in ((0, 1), (1, -1)):
        slope, start = np.polyfit(points[:, axis], shown[:, axis], 1)
        assert slope * way > 0
        np.testing.assert_allclose(points[:, axis] * slope + start, shown[:, axis], atol=0.1)
    own = driver.execute_script(
        "return [...document.querySelectorAll('.plane .own text')].map(e => e.textContent)"
    )
    assert {word.replace("␣", " ") for word in own} == set(found.tokens)


def test_keys_and_playing(browser) -> None:
    driver = browser.show(history.learned_page("talk"))
    before_last = moments(1500, 29)[-2]
    for key, step in (("ArrowRight", 1), ("End", 1500), ("ArrowLeft", before_last), ("Home", 0)):
        press(driver, key)
        assert at(driver) == step
    press(driver, " ")
    browser.wait("Number(pellucid.view.host.dataset.step) >= 2")
    press(driver, " ")
    assert driver.execute_script("return pellucid.view.timer") == 0
    driver.execute_script("pellucid.view.show(pellucid.view.data.steps.length - 1)")
    driver.execute_script("document.querySelector('.learned-play').click()")
    assert at(driver) == 0  # from the beginning again
    driver.execute_script("pellucid.view.pause()")
    # The slider itself, as a keyboard or a finger moves it.
    driver.execute_script(
        "const {range} = pellucid.view; range.value = 3; range.dispatchEvent(new Event('input'))"
    )
    assert at(driver) == 3
    assert driver.execute_script("return pellucid.view.range.ariaValueText") == "step 3 of 1,500"
    browser.check()


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A run of 3 steps whose model is too large to run in a page."""
    needs("torch")
    folder = tmp_path_factory.mktemp("runs")
    corpus = small_corpus.write(folder / "tokens")
    shape = {"n_embd": 128, "n_head": 4, "steps": 3, "snapshots": 4, "save_every": 0}
    list(trainer_for(small_corpus.config(corpus, folder / "wide", **shape)))
    return folder / "wide"


def test_of_a_larger_model_the_page_holds_what_python_found(browser, wide) -> None:
    found = history.learned(wide, "the cat", layer=1, head=2)
    known = history.page_data(wide, "the cat", layer=1, head=2)
    assert known["machine"] is None
    assert found.steps == (0, 1, 2, 3)
    driver = browser.show(history.learned_page(wide, "the cat", layer=1, head=2))
    check(driver, found)
    assert len(driver.execute_script("return document.querySelectorAll('.of-head option')")) == 8
    assert not driver.find_elements("css selector", ".text-box")
    browser.check()


# While it learns


@contextmanager
def learning(*arguments):
    """A real run in a process of its own -> (process, where its page is)."""
    needs("torch")
    child = subprocess.Popen(
        [*PROGRAM, "train", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stderr is not None
        url = ""
        while not url and (line := child.stderr.readline()):
            url = (re.findall(r"Watch it learn: (\S+)", line) or [""])[0]
        assert url
        yield child, url
        child.stderr.read()  # else it would wait for somebody to
        assert child.wait(60) in (0, 128 + signal.SIGINT, -signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def test_a_run_is_watched_while_it_learns_and_does_not_notice(browser, tmp_path) -> None:
    """A browser sees it from the beginning to the end; others come and go; what it learned is what
    it learns alone, to the bit."""
    out = tmp_path / "watched"
    asked = ("talk", "--steps", 150, "--sample-every", 0)
    with learning(*asked, "--out", out, "--page") as (_, url):
        driver = browser.visit(url)
        with httpx.stream("GET", f"{url}events", timeout=90) as stream:  # leaves in the middle
            assert next(stream.iter_lines()).startswith("event: ")
        browser.wait("pellucid.view && pellucid.view.data.steps.length > 1")
        assert driver.execute_script("return pellucid.view.data.total") == 150
        browser.wait("pellucid.ended", seconds=60)
        assert driver.execute_script("return pellucid.view.data.steps") == list(moments(150, 30))
        assert at(driver) == 150  # it followed the newest
        check(driver, history.learned(out))
    browser.check_served()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=60)
    alone = tmp_path / "alone"
    list(trainer_for(TalkConfig(out=str(alone), steps=150)))
    one, other = ((each / "model" / "model.safetensors").read_bytes() for each in (out, alone))
    assert one == other
    assert not (alone / "snapshots").exists()


def test_the_page_ends_with_its_run_however_that_ends(tmp_path) -> None:
    asked = ("talk", "--steps", 100_000, "--sample-every", 0, "--snapshots", 2)
    with learning(*asked, "--out", tmp_path / "run", "--page") as (child, url):
        assert httpx.get(f"{url}data", timeout=60).json()
        child.kill()
        until(lambda: not listening(url), "the page's end")


def listening(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(url.split(":")[2].rstrip("/"))), 1):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def served():
    """The talk's page, in this process."""
    import threading

    with Server("talk") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.wind_up()
        thread.join()


def test_the_server_shows_its_page_and_nothing_else(served) -> None:
    base = served.url.rstrip("/")
    page = httpx.get(f"{base}/", timeout=60)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for name in re.findall(r'(?:href|src)="(/page/[^"]+)"', page.text):
        assert httpx.get(base + name, timeout=60).status_code == 200
    for path in ("/page/../__init__.py", "/page/learn/none.js", "/page/learn/index.html", "/x"):
        assert httpx.get(base + path, timeout=60).status_code == 404
    assert httpx.get(f"{base}/", headers={"host": "evil.example:80"}, timeout=60).status_code == 403
    assert httpx.post(f"{base}/data", timeout=60).status_code == 501
    assert httpx.get(f"{base}/events", timeout=60).text == (
        'event: end\ndata: {"last": null, "done": true}\n\n'
    )
    known = httpx.get(f"{base}/data", timeout=60).json()["learned"]
    assert known["steps"] == list(moments(1500, 29))
    assert json.dumps(known) == json.dumps(history.page_data("talk"))


def test_the_place_of_the_served_page_mounts_itself(browser, served) -> None:
    """web/learn/learn.js by itself: with an api that answers, and with one that does not."""
    driver = browser.visit(served.url)
    browser.wait("pellucid.ended")
    driver.set_script_timeout(20)
    mount = (
        "const done = arguments[1]; const main = document.getElementById('main');"
        "main.replaceChildren(); const host = document.createElement('div'); main.append(host);"
        "const api = {get: async (path) => { if (arguments[0] || path !== 'v1/inspect/history')"
        " throw new Error('The server does not answer.'); return (await fetch('/data')).json(); }};"
        "import('/page/learn/learn.js').then(async ({mount}) => { const said = [];"
        "const place = await mount(host, {api, info: {}, go: (...all) => said.push(all),"
        "selection: {place: 'learn', text: 'The king went home to', layer: 1, head: 0,"
        "moment: '128'}});"
        "globalThis.mounted = {host, place, said}; done(host.textContent); });"
    )
    text = driver.execute_async_script(mount, False)
    assert "How it learned" in text
    step = driver.execute_script("return mounted.host.dataset.step")
    assert step in map(str, moments(1500, 29))
    assert abs(np.log(int(step) / 128)) < 0.2
    assert driver.execute_script("return mounted.host.querySelector('select').value") == "L1H0"
    driver.execute_script("mounted.place.key(new KeyboardEvent('keydown', {key: 'End'}))")
    said = driver.execute_script("return mounted.said.at(-1)")
    where = {"model": "talk", "text": "The king went home to", "layer": 1, "head": 0}
    assert said[0] == {**where, "moment": 1500}
    driver.execute_script("mounted.place.update({place: 'learn', moment: '0'})")
    assert driver.execute_script("return mounted.host.dataset.step") == "0"
    driver.execute_script("mounted.place.close()")
    assert "does not answer" in driver.execute_async_script(mount, True)
    browser.check_served()

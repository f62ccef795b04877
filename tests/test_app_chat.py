"""The served page in a real browser: chat, branches, the glass; every number is Python's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pellucid import inspect
from support.skips import AXE, needs

needs("fastapi")
needs("selenium", "chromium")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from pellucid.sampling import softmax  # noqa: E402
from pellucid.visible import visible  # noqa: E402
from support.app_page import Page, begun, kept, messages  # noqa: E402
from support.server import Served, babbler, eventually, serving, talker  # noqa: E402
from support.work import until  # noqa: E402

GPT = talker()


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    with serving(GPT, store=tmp_path_factory.mktemp("kept") / "a.db") as server:
        yield server


# Before anything is said


def test_it_opens_with_a_sentence_that_is_alive(browser, served, talk) -> None:
    page = Page(browser, served)
    whole = talk.generate("The power clapper", greedy=True)
    assert page.texts(".live-sentence .tok") == [step.text for step in whole.steps]
    assert page.texts(".calling") == [whole.steps[-1].text]
    # The walk has begun, unasked, and is in sight.
    page.wait("document.querySelector('.below #step-input')")
    assert page.js(
        "return document.querySelector('.below').getBoundingClientRect().top < innerHeight"
    )
    page.press(".live-sentence .tok[data-i='1']")
    page.wait("document.querySelectorAll('.glass .distribution .way').length > 5")
    ids = [*whole.prompt, whole.steps[0].token]
    shares = softmax(talk.logits(ids)[-1].astype(np.float64))
    shown = page.js(
        "return [...document.querySelectorAll('.glass .distribution li')]"
        ".map(e => [e.dataset.id, e.dataset.model])"
    )
    for token, share in shown:
        assert float(share) == pytest.approx(shares[int(token)], abs=1e-5)
    page.press(".glass .distribution .way")
    page.wait("pellucid.selection.live")
    began = [int(i) for i in page.selection["live"].split(",")]
    assert began[:-1] == ids
    again = talk.generate(began, greedy=True)
    shown = page.texts(".live-sentence .tok")
    assert shown == [step.text or "▪" for step in again.steps]
    browser.check_served()


# Chat


def test_what_is_said_is_streamed_kept_and_opened(browser, served) -> None:
    page = Page(browser, served)
    page.say("the cat")
    page.settled(1)
    chosen = page.selection
    own = messages(served, chosen["conversation"])
    assert [each["role"] for each in own] == ["user", "assistant"]
    tokens = own[1]["generated"]["tokens"]
    shown = page.texts(".message.assistant .tok")
    assert [text for text in shown if text != "▪"] == [t["text"] for t in tokens if t["text"]]
    assert len(shown) == len(tokens)
    assert chosen["leaf"] == own[1]["id"]
    page.press(".chat-head .option")
    surprise = page.js(
        "return [...document.querySelectorAll('.message.assistant .tok')]"
        ".map(e => e.style.getPropertyValue('--surprise'))"
    )
    expected = [1 - math.exp(token["logprob"]) for token in tokens]
    assert [float(each) for each in surprise] == pytest.approx(expected, abs=6e-4)
    assert page.texts(".conversations .title")[0] == "the cat"
    # Edited, taken again: each beside what was there.
    page.press(".message.user .plain[title='Say something else here']")
    box = page.find(".message-foot textarea")
    box.clear()
    box.send_keys("the king")
    page.press(".message-foot .main")
    page.wait("document.querySelector('.message.user .text').textContent === 'the king'")
    until(lambda: len(messages(served, chosen["conversation"])) == 4, "the second reply")
    second = messages(served, chosen["conversation"])[3]["id"]
    page.wait(f"pellucid.selection.leaf === {json.dumps(second)}")  # the page has taken it in
    page.settled(1)
    assert page.texts(".chat-title") == ["the cat"]  # a conversation keeps its name
    page.press(".message.assistant .plain[title='Another reply']")
    page.wait(f"pellucid.selection.leaf !== {json.dumps(second)}")
    page.settled(1)
    assert "2 of 2" in page.texts(".message.assistant .message-foot")[0]  # once it is whole
    own = messages(served, chosen["conversation"])
    assert [each["text"] for each in own if each["role"] == "user"] == ["the cat", "the king"]
    assert len(own) == 5
    assert len(page.texts(".branches .branch")) == 5
    page.press(".message.user .plain[title='The one before']")
    page.wait("document.querySelector('.message.user .text').textContent === 'the cat'")
    assert messages(served, chosen["conversation"])[0]["text"] == "the cat"
    browser.check_served()


def test_a_token_is_opened_and_left_for_another(browser, served) -> None:
    head, (said,) = begun(served, "the cat")
    reply = said["conversation"]["reply"]
    whole = kept(served, head, reply)["generated"]
    ids = [*whole["prompt"], *(token["id"] for token in whole["tokens"])]
    n = 3
    here = ids[: len(whole["prompt"]) + n]
    page = Page(browser, served, f"#/chat?conversation={head}&message={reply}&token={n}")
    page.wait("document.querySelectorAll('.glass .distribution:not(.kept) .way').length > 5")
    shares = softmax(GPT.logits(here)[-1].astype(np.float64))
    shown = page.js(
        "return [...document.querySelectorAll('.glass .distribution li')]"
        ".map(e => [e.dataset.id, e.dataset.model, e.className])"
    )
    for token, share, _ in shown:
        assert float(share) == pytest.approx(shares[int(token)], abs=1e-5)
    assert [int(id) for id, _, name in shown if "taken" in name] == [ids[len(here)]]
    other = int(
        page.find(".glass li:not(.taken) .way")
        .find_element(By.XPATH, "..")
        .get_attribute("data-id")
    )
    page.press(".glass .distribution li:not(.taken) .way")
    page.wait(f"pellucid.selection.leaf && pellucid.selection.leaf !== '{reply}'")
    page.settled(1)
    own = messages(served, head)
    assert len(own) == 3
    branch = own[2]
    assert (branch["source"], branch["step"]) == (reply, n)
    assert [t["id"] for t in branch["generated"]["tokens"]][: n + 1] == [
        *ids[len(whole["prompt"]) :][:n],
        other,
    ]
    # Side by side: the same tokens stand above each other, and the heads that decided.
    page.press(".message.assistant .plain[title='Compare with the other one']")
    page.wait("document.querySelectorAll('.compare-heads li').length")
    aligned = page.js(
        "return [...document.querySelectorAll('.pair')].map(e => [e.classList.contains('differs'),"
        "...[...e.querySelectorAll('.tok')].map(t => t.textContent)])"
    )
    assert [differs for differs, *_ in aligned[: n + 1]] == [False] * n + [True]
    assert all(above == below for differs, above, below in aligned if not differs)
    found = inspect.attribute(GPT, here, other, versus=ids[len(here)])
    heads = {f"L{i}H{j}": float(x) for (i, j), x in np.ndenumerate(found.heads)}
    for name, value in page.js(
        "return [...document.querySelectorAll('.compare-heads li')]"
        ".map(e => [e.querySelector('.label').textContent, e.dataset.value])"
    ):
        assert float(value) == pytest.approx(heads[name], abs=1e-4)
    browser.check_served()


def test_why_is_drawn_on_the_sentence(browser, served) -> None:
    head, (_, said) = begun(served, "the cat sat", "the king")
    reply = said["conversation"]["reply"]
    whole = kept(served, head, reply)["generated"]
    n = 4
    ids = [token["id"] for token in whole["tokens"]]
    here = [*whole["prompt"], *ids[:n]]
    address = f"#/chat?conversation={head}&message={reply}&token={n}&view=why"
    page = Page(browser, served, address)
    page.wait("document.querySelectorAll('.head-chip').length")
    page.wait("document.querySelectorAll('.message.user [data-at]').length")
    rival = next(o["id"] for o in whole["tokens"][n]["alternatives"] if o["id"] != ids[n])
    found = inspect.attribute(GPT, here, ids[n], versus=rival)
    gave = found.by_token[: len(here)] / np.abs(found.by_token).max()
    marked = page.js(
        "return [...document.querySelectorAll('[data-at]')]"
        ".map(e => [Number(e.dataset.at), e.textContent, e.dataset.gave])"
    )
    assert len({at for at, _, _ in marked}) == len(marked) > n
    for at, text, share in marked:
        if at < len(here):
            assert text == "▪" or text.endswith(GPT.tokenizer.decode([here[at]])[-1])
            expected = float(gave[at]) if abs(gave[at]) >= 0.04 else 0.0
            assert float(share or 0) == pytest.approx(expected, abs=2e-3)
    # A head that is pointed at shows where it looked.
    stands = "return document.querySelector('.tok.open').getBoundingClientRect().toJSON()"
    stood = page.js(stands)
    page.js("document.querySelector('.head-chip').focus()")
    page.wait("document.querySelector('.looked-at')")
    assert page.js(stands) == stood
    layer, chosen = (
        int(page.find(".head-chip").get_attribute(f"data-{x}")) for x in ("layer", "head")
    )
    pattern = inspect.trace(GPT, here, "attn.pattern")[f"blocks.{layer}.attn.pattern"][chosen, -1]
    looked = page.js(
        "return [...document.querySelectorAll('[data-at]')]"
        ".map(e => [Number(e.dataset.at), e.style.getPropertyValue('--look')])"
    )
    for at, weight in looked:
        expected = math.sqrt(pattern[at]) if at < len(here) else 0.0
        assert float(weight) == pytest.approx(expected, abs=2e-3)
    page.press(".in-words .option")
    page.wait("document.querySelectorAll('.in-words p').length > 2")
    own = inspect.why(GPT, whole["prompt"], ids, token=n + 1, labels=False)
    assert page.texts(".in-words p") == list(own.sentences)
    # When it knew, from the embeddings up.
    page.press("#tab-knew")
    page.wait("document.querySelectorAll('.rungs li').length")
    lens = inspect.logit_lens(GPT, here, ids[n], positions=-1)
    words = [visible(row[0][0]) for row in lens.top_tokens]
    assert page.texts(".rungs .said") == words[::-1]
    browser.check_served()


def test_the_door_leads_to_the_walk_on_the_very_ids(browser, served) -> None:
    head, (said,) = begun(served, "the king went home")
    reply = said["conversation"]["reply"]
    whole = kept(served, head, reply)["generated"]
    here = [*whole["prompt"], *(token["id"] for token in whole["tokens"])][
        : len(whole["prompt"]) + 2
    ]
    page = Page(browser, served, f"#/chat?conversation={head}&message={reply}&token=2")
    page.press(".door")
    page.wait("pellucid.mounted?.walk?.pass.pieces.length")
    page.wait("document.querySelector('#step-attention[data-drawn], #step-input[data-drawn]')")
    assert page.js("return pellucid.mounted.walk.pass.pieces.map(p => p.id)") == here
    seen = inspect.trace(GPT, here)
    for layer in (0, 1):
        page.js("pellucid.mounted.walk.choose({layer: arguments[0], head: 1})", layer)
        page.js("pellucid.mounted.walk.section('attention')")
        name = f"blocks.{layer}.attn.pattern"
        page.wait(
            f"pellucid.mounted.walk.pass.get('{name}')"
            f" && pellucid.mounted.walk.pass.projections({layer}, 1)"
        )
        flat = page.js("return [...pellucid.mounted.walk.pass.get(arguments[0]).flat]", name)
        assert flat == pytest.approx(seen[name].ravel().tolist(), abs=1e-5)
    page.wait("pellucid.selection.layer === 1")
    # The address shows it again.
    again = Page(browser, served, page.js("return location.hash"))
    again.wait("pellucid.mounted?.walk?.place.layer === 1")
    assert again.js("return pellucid.mounted.walk.pass.pieces.map(p => p.id)") == here
    browser.check_served()


def test_of_a_long_text_the_walk_shows_any_part(browser, served) -> None:
    """64 positions at a time; the numbers are those of the whole text."""
    text = "the cat sat on a mat and the king went home to dinner " * 12
    ids = GPT.encode(text)
    seen = inspect.trace(GPT, ids)
    query = f"text={text.replace(' ', '+')}&model={GPT.name}&layer=1"
    page = Page(browser, served, f"#/walk?{query}")

    def check(first: int) -> None:
        page.wait(f"pellucid.mounted?.walk?.pass.first === {first}")
        page.wait("!document.querySelector('.walk-host[aria-busy]')")
        shown = page.js("return pellucid.mounted.walk.pass.pieces.map(p => p.id)")
        assert shown == ids[first : first + 64]
        window = slice(first, first + 64)
        for name, array in (
            ("blocks.1.attn.pattern", seen["blocks.1.attn.pattern"][:, window, window]),
            ("blocks.0.resid_post", seen["blocks.0.resid_post"][window]),
        ):
            flat = page.js("return [...pellucid.mounted.walk.pass.get(arguments[0]).flat]", name)
            assert flat == pytest.approx(array.ravel().tolist(), abs=1e-5)

    n = len(ids)
    assert n > 140
    check(n - 64)
    page.press("[data-key=earlier]")
    check(n - 64 - 56)
    assert page.selection["end"] == n - 57
    page.press("[data-key=earlier]")
    check(max(0, n - 64 - 112))
    page.driver.refresh()
    check(max(0, n - 64 - 112))
    page.press("[data-key=later]")
    check(max(0, n - 64 - 112) + 56)
    # Another layer comes with the same rows.
    page.js("pellucid.mounted.walk.choose({layer: 0})")
    page.js("pellucid.mounted.walk.section('heads')")
    page.wait("pellucid.mounted.walk.pass.get('blocks.0.attn.q')")
    first = page.js("return pellucid.mounted.walk.pass.first")
    flat = page.js("return [...pellucid.mounted.walk.pass.get('blocks.0.attn.q').flat]")
    own = seen["blocks.0.attn.q"][first : first + 64]
    assert flat == pytest.approx(own.ravel().tolist(), abs=1e-5)
    browser.check_served()


def test_keys_walk_the_tokens(browser, served) -> None:
    head, (said,) = begun(served, "the dog")
    reply = said["conversation"]["reply"]
    page = Page(browser, served, f"#/chat?conversation={head}&message={reply}&token=1")
    page.wait("document.querySelector('.tok.open')")
    body = page.find("body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert page.selection["token"] == 2
    page.driver.switch_to.active_element.send_keys("w")
    assert page.selection["view"] == "why"
    page.driver.switch_to.active_element.send_keys("z")
    page.wait("pellucid.selection.token !== 2")
    page.driver.switch_to.active_element.send_keys("?")
    assert "why this word" in page.texts("dialog dd")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait("!document.querySelector('dialog')")
    page.find("body").send_keys(Keys.ESCAPE)
    page.wait("pellucid.selection.token === undefined")
    browser.check_served()


# Strangers' texts


EVIL = '<img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>'


@contextmanager
def on_a_phone(browser, width: int) -> Iterator[None]:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [320, 390, 560, 561, 768])
def test_every_place_is_in_reach_on_a_phone(browser, served, width: int) -> None:
    with on_a_phone(browser, width):
        page = Page(browser, served)
        page.wait(f"innerWidth === {width}")
        boxes = (
            "return [...document.querySelectorAll('.places a, .top button')]"
            ".map(e => e.getBoundingClientRect()).map(({left, right}) => [left, right])"
        )
        assert len(page.js(boxes)) == 5 + 2
        about = page.find(".top-model").get_attribute("textContent")
        assert about == f"served: talker, {GPT.hparams.n_params:,} parameters"
        assert all(left >= 0 and right <= width for left, right in page.js(boxes))
        # Scrolled down, the places are still there.
        page.js("scrollTo(0, 900)")
        page.wait("scrollY > 400")
        assert page.js("return document.querySelector('.places').getBoundingClientRect().top") >= 0


def test_no_text_is_read_as_html(browser, served, tmp_path: Path) -> None:
    title = f"{EVIL}\u202e\u0007"
    head, (said,) = begun(served, EVIL[:60])
    answer = served.client.patch(
        f"/v1/conversations/{head}", json={"title": title, "system": EVIL[:40]}
    )
    assert answer.status_code == 200
    reply = said["conversation"]["reply"]
    page = Page(
        browser,
        served,
        f"#/chat?conversation={head}&message={reply}&token=0&view={EVIL}&model={EVIL}",
    )
    page.wait("document.querySelector('.chat-title').textContent.includes('<img')")
    assert any("<img" in text for text in page.texts(".conversations .title"))
    assert page.js(
        "return globalThis.hacked === undefined && !document.querySelector('main img, main script')"
    )
    for address in (
        "#/nowhere?x=1",
        "#/chat?conversation=../../x",
        "#/chat?token=99999999999&live=a",
        "#/walk?ids=9999999",
    ):
        page.js("location.hash = arguments[0]", address)
        page.wait("pellucid.mounted")
    assert page.js("return globalThis.hacked === undefined")


def test_another_key_is_asked_for(browser, tmp_path) -> None:
    with serving(GPT, key="the-key", store=tmp_path / "a.db") as server:
        browser.visit(f"{server.url}/")
        browser.wait("document.querySelector('dialog input')")
        # The page is there already: only the server's own answers wait for the key.
        browser.wait("document.querySelector('.live-sentence')")
        box = browser.driver.find_element(By.CSS_SELECTOR, "dialog input")
        box.send_keys("the-key", Keys.ENTER)
        browser.wait("pellucid.info.model === 'talker'")
        assert (
            browser.driver.execute_script("return sessionStorage.getItem('pellucid-key')")
            == "the-key"
        )
        assert "the-key" not in browser.driver.execute_script(
            "return location.href + document.cookie"
        )


# What has come from the server.
FETCHED = "performance.getEntriesByType('resource').map(e => e.name.split('/').at(-1))"


def test_it_lives_on_without_its_server(browser, tmp_path) -> None:
    with serving(GPT, store=tmp_path / "a.db") as server:
        page = Page(browser, server)
        page.wait("document.querySelector('.below #step-input[data-drawn]')")
        page.wait(f"{FETCHED}.includes('steps_out.js') && {FETCHED}.includes('distribution.js')")
    page.say("the cat")
    page.wait("document.documentElement.dataset.server === 'gone'")
    assert "does not answer" in page.find("#state").text
    assert page.find(".composer textarea").get_attribute("value") == "the cat"
    page.press(".live-sentence .tok[data-i='0']")
    page.wait("document.querySelectorAll('.glass .distribution .way').length")
    page.js("pellucid.mounted.walk.section('prediction')")
    page.wait("document.querySelector('#step-prediction[data-drawn] .distribution')")


# Long and busy


CHANGED = """globalThis.changed = 0;
new MutationObserver(all => globalThis.changed += all.length)
  .observe(document.querySelector('.thread'),
    {subtree: true, childList: true, attributes: true});"""


# The server's answer to whoever is one too many, once.
BUSY = """const own = fetch; let busy = true;
globalThis.fetch = (url, options) => {
  if (options?.method !== 'POST' || !busy) return own(url, options);
  busy = false;
  const body = JSON.stringify({error: {message: 'too many wait', code: 'overloaded'}});
  return Promise.resolve(new Response(body, {status: 429, headers: {'retry-after': '1'}}));
};"""


def test_long_replies_are_stopped_and_walked(browser, tmp_path) -> None:
    """One that goes on is stopped, and stays as far as it came. In one of 1,024 tokens opening
    another touches a few elements only."""
    with serving(babbler(), store=tmp_path / "a.db") as server:
        head, (said,) = begun(server, "the cat", max_tokens=1024)
        reply = said["conversation"]["reply"]
        page = Page(browser, server, f"#/chat?conversation={head}&message={reply}&token=500")
        page.wait("document.querySelector('.tok.open')?.dataset.i === '500'")
        assert len(page.texts(".message.assistant .tok")) == 1024
        page.wait("document.querySelector('.glass .distribution:not(.kept)')")
        page.wait("document.querySelectorAll('[data-at]').length >= 1024")
        page.js(CHANGED)
        page.find("body").send_keys(Keys.ARROW_RIGHT)
        page.wait("document.querySelector('.tok.open')?.dataset.i === '501'")
        assert 0 < page.js("return globalThis.changed") < 3000
        # Busy: it waits as long as it is told, and then says it.
        server.client.patch(f"/v1/conversations/{head}", json={"settings": {"max_tokens": 8}})
        page.js(BUSY)
        page.say("the king")
        page.wait("document.querySelector('.composer .quiet').textContent.includes('busy')")
        page.settled(2)
        server.client.patch(f"/v1/conversations/{head}", json={"settings": {"max_tokens": None}})
        page.press(".message:nth-child(4) .plain[title='Another reply']")
        page.wait("pellucid.mounted.writer.reply")
        page.wait("document.querySelectorAll('.message:nth-child(4) .tok').length > 5")
        page.js("document.querySelector('.composer .main:not([hidden])').click()")
        page.wait("!pellucid.mounted.writer.busy")
        leaf = page.selection["leaf"]
        eventually(lambda: kept(server, head, leaf).get("generated"))
        stopped = kept(server, head, leaf)
        assert stopped["generated"]["reason"] is None
        shown = page.js("return document.querySelectorAll('.message:nth-child(4) .tok').length")
        assert 5 < shown <= len(stopped["generated"]["tokens"])
    browser.driver.get("about:blank")


def test_axe_finds_nothing_serious(browser, served) -> None:
    needs("axe-core")
    head, (said,) = begun(served, "the king went")
    reply = said["conversation"]["reply"]
    here = f"#/chat?conversation={head}&message={reply}&token=1"
    off = '[{"name":"attn.z","layer":0,"head":0,"op":"suppress"}]'
    drawn = {
        "": ".live-sentence",
        f"{here}&view=why": ".head-chip",
        f"{here}&view=change": ".glass [data-state=done]",
        "#/walk": "#step-input[data-drawn]",
        f"#/change?text=the+cat&stop=attn.z,1,0,1&changes={off}": "[data-state=done]",
        "#/learn": ".learned-next li",
    }
    for address, ready in drawn.items():
        check_with_axe(Page(browser, served, address), ready)
        with on_a_phone(browser, 390):
            check_with_axe(Page(browser, served, address), ready)


def check_with_axe(page: Page, ready: str) -> None:
    page.find(ready)
    page.js(AXE.read_text("utf-8"))
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
        ".then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes[0].html])))"
    )
    assert [each for each in found if each[0] in ("serious", "critical")] == []

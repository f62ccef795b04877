"""The served page's conversations: found, renamed, deleted, set; replies that wait, that are opened
as they come, that cannot be kept, or that nobody keeps."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from pellucid import inspect
from support.skips import needs

needs("fastapi")
needs("selenium", "chromium")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from pellucid.sampling import softmax  # noqa: E402
from pellucid.serve import archive  # noqa: E402
from pellucid.serve.events import EngineLimits  # noqa: E402
from support.app_page import Page, begun, kept, messages  # noqa: E402
from support.server import Served, babbler, eventually, serving, talker  # noqa: E402

GPT = talker()
LONG = 3000
TITLES = ".conversations .title"
SHOWN = "return pellucid.mounted.thread.view(pellucid.mounted.leaf).tokens.map(t => t.id)"
UNKEPT = (
    "return pellucid.info.unkept.head(pellucid.selection.conversation)"
    ".messages.get(pellucid.mounted.leaf)"
)
BRANCHED = (
    "document.querySelector('.message:nth-child(4) .message-foot').textContent.includes('2 of 2')"
)
BARS = (
    "return [...document.querySelectorAll('.glass .distribution li')]"
    ".map(e => [e.dataset.id, e.dataset.model])"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    with serving(GPT, store=tmp_path_factory.mktemp("kept") / "a.db") as server:
        yield server


def check_bars(page: Page, gpt, ids: list[int]) -> None:
    """What could have come after these ids is Python's."""
    page.wait("document.querySelectorAll('.glass .distribution:not(.kept) li').length > 5")
    shares = softmax(gpt.logits(ids)[-1].astype(np.float64))
    for token, share in page.js(BARS):
        assert float(share) == pytest.approx(shares[int(token)], abs=1e-5)


def replied(page: Page) -> dict:
    """The branch's last reply, as the page has it."""
    return page.js("return pellucid.mounted.branches.path(pellucid.mounted.leaf).at(-1)")


def ids_of(reply: dict) -> list[int]:
    return [token["id"] for token in reply["generated"]["tokens"]]


def look_for(page: Page, words: str) -> None:
    box = page.find(".list input[type=search]")
    box.clear()
    box.send_keys(words or "x" + Keys.BACKSPACE)


def answer(page: Page, name: str, label: str) -> None:
    """Press a conversation's button."""
    title = json.dumps(f"{label}: {name}")
    page.js(f"document.querySelector(`[aria-label='${{{title}}}']`).click()")


def test_conversations_are_found_renamed_and_deleted(browser, served) -> None:
    king, _ = begun(served, "the king went home")
    cat, _ = begun(served, "the cat sat on a mat")
    page = Page(browser, served, f"#/chat?conversation={king}")
    page.wait("document.querySelectorAll('.conversations .title').length >= 2")
    assert page.texts(TITLES)[:2] == ["the cat sat on a mat", "the king went home"]
    look_for(page, "mat cat")
    page.wait("document.querySelectorAll('.conversations .title').length === 1")
    assert page.texts(".conversations small") == ["the cat sat on a mat"]
    page.press(".conversation")
    page.wait(f"pellucid.selection.conversation === '{cat}'")
    assert page.selection["message"] == messages(served, cat)[0]["id"]
    look_for(page, "dinner")
    page.wait("document.querySelector('.list .quiet:not([hidden])')")
    assert page.find(".list .quiet:not([hidden])").text == "Nothing was found."
    look_for(page, "")
    page.wait("document.querySelectorAll('.conversations .title').length >= 2")
    answer(page, "the cat sat on a mat", "Rename")
    box = page.find("dialog input")
    box.clear()
    box.send_keys("<b>A cat</b>", Keys.ENTER)
    page.wait("document.querySelector('.chat-title').textContent === '<b>A cat</b>'")
    path = f"/v1/conversations/{cat}"
    assert served.client.get(path).json()["title"] == "<b>A cat</b>"
    page.wait("document.querySelector('.conversations .title').textContent === '<b>A cat</b>'")
    answer(page, "<b>A cat</b>", "Delete")
    page.find("dialog")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait("!document.querySelector('dialog')")
    assert served.client.get(path).status_code == 200
    answer(page, "<b>A cat</b>", "Delete")
    page.press("dialog .main")
    page.wait("document.querySelector('.live-sentence')")  # it was the one that is shown
    assert served.client.get(path).status_code == 404
    page.wait(
        f"![...document.querySelectorAll('{TITLES}')].some(e => e.textContent.includes('<b>'))"
    )
    browser.check_served()


def test_settings_are_of_the_next_reply(browser, served) -> None:
    page = Page(browser, served)

    def settle(**values: object) -> None:
        page.press(".composer-row .plain")
        page.find("dialog")
        labels = {
            "temperature": "Temperature",
            "max_tokens": "At most so many tokens",
            "system": "System",
        }
        for name, value in values.items():
            path = f"//dialog//label[span[starts-with(., '{labels[name]}')]]"
            box = page.driver.find_element(By.XPATH, f"{path}/*[self::input or self::textarea]")
            box.clear()
            box.send_keys(str(value))
        page.find("dialog .main").click()
        page.wait("!document.querySelector('dialog')")

    settle(temperature=0, max_tokens=3, system="a mat")
    page.say("the cat")
    page.settled(1)
    head = served.client.get(f"/v1/conversations/{page.selection['conversation']}").json()
    assert head["system"] == "a mat"
    assert (head["settings"]["temperature"], head["settings"]["max_tokens"]) == (0, 3)
    settle(max_tokens=2)
    page.say("the king")
    page.settled(2)
    first, second = (each for each in messages(served, head["id"]) if each["role"] == "assistant")
    assert [each["generated"]["settings"]["max_tokens"] for each in (first, second)] == [3, 2]
    own = GPT.generate(second["generated"]["prompt"], temperature=0, max_tokens=2)
    assert ids_of(second) == [step.token for step in own.steps]
    browser.check_served()


@contextmanager
def occupied(served: Served) -> Iterator[None]:
    """Somebody else's long text."""
    body = {"prompt": "the cat", "max_tokens": LONG, "stream": True}
    with served.client.stream("POST", "/v1/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        end = threading.Event()

        def read() -> None:
            for _ in lines:
                if end.is_set():
                    return

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join(90)


def test_who_waits_is_told_how_long_the_queue_is(browser, tmp_path) -> None:
    limits = EngineLimits(max_running=1, max_waiting=8)
    with serving(babbler(), store=tmp_path / "a.db", engine_limits=limits) as server:
        head, _ = begun(server, "the cat", max_tokens=4)
        page = Page(browser, server, f"#/chat?conversation={head}")
        with occupied(server):
            page.say("the king")
            page.wait("document.querySelector('.composer .quiet').textContent.includes('next')")
            assert page.find(".composer .quiet").text.endswith("you are the next.")
        page.settled(2)
        assert page.find(".composer .quiet").get_attribute("hidden")
        browser.check_served()


def test_a_question_that_waits_says_how_long_the_queue_is(browser, served) -> None:
    """As a reply does; where nothing comes before it, it is asked as ever."""
    beside = served.service.inspection.beside
    head, (said,) = begun(served, "the cat")
    reply = said["conversation"]["reply"]
    here = f"conversation={head}&message={reply}&token=2"
    waits = "document.querySelector('{}')?.textContent.includes('busy; {}')"

    @contextmanager
    def occupied_beside() -> Iterator[None]:
        """By two jobs, of which the first ends, and the second when this does."""
        ends = [threading.Event(), threading.Event()]
        for end in ends:
            beside.submit(lambda job, end=end: end.wait(90), lambda error: None)
        ends[0].set()
        try:
            yield
        finally:
            ends[1].set()

    for address, told, drawn in (
        (f"#/chat?{here}", ".glass-view .quiet", ".glass .distribution:not(.kept)"),
        (f"#/chat?{here}&view=why", ".glass-view .quiet", ".head-chip"),
        (f"#/chat?{here}&view=knew", ".glass-view .quiet", ".rungs li"),
        (f"#/walk?{here}", ".walk-note", "#step-input[data-drawn]"),
    ):
        with occupied_beside():
            page = Page(browser, served, address)
            page.wait(waits.format(told, "one other comes before you."))
        page.find(drawn)
        assert not page.js("return document.body.textContent.includes('is busy')")
    browser.check_served()
    # What is changed is streamed; so is its place.
    off = '[{"name":"attn.z","layer":0,"head":0,"op":"suppress"}]'
    with occupied_beside():
        page = Page(browser, served, f"#/change?text=the cat&changes={off}")
        page.wait(waits.format(".change-place > .note", "one other comes before you."))
    page.wait("document.querySelector('[data-state=done]')")
    assert page.find(".change-place > .note").get_attribute("hidden")
    browser.check_served()


def test_a_reply_is_opened_while_it_comes_and_left(browser, tmp_path) -> None:
    gpt = babbler()
    with serving(gpt, store=tmp_path / "a.db") as server:
        head, _ = begun(server, "the cat", max_tokens=2)
        server.client.patch(f"/v1/conversations/{head}", json={"settings": {"max_tokens": LONG}})
        page = Page(browser, server, f"#/chat?conversation={head}")
        page.say("the king")
        page.wait("pellucid.mounted.writer.reply")
        page.wait("document.querySelectorAll('.message:nth-child(4) .tok').length > 6")
        page.press(".message:nth-child(4) .tok[data-i='3']")
        prompt = replied(page)["generated"]["prompt"]
        tokens = page.js(SHOWN)
        check_bars(page, gpt, [*prompt, *tokens[:3]])
        assert page.js("return pellucid.mounted.writer.busy")
        page.press("#tab-why")
        page.wait("document.querySelectorAll('.head-chip').length")
        page.wait("document.querySelectorAll('.message.user [data-at]').length")
        page.press("#tab-could")
        page.press(".glass .distribution li:not(.taken) .way")
        page.wait(BRANCHED)
        branch = replied(page)
        left = kept(server, head, branch["source"])
        assert ids_of(left)[: len(tokens)] == tokens
        page.press(".composer .main:not([hidden])")
        page.wait("!pellucid.mounted.writer.busy")
        assert (left["source"], branch["step"]) == (None, 3)
        eventually(lambda: kept(server, head, branch["id"]).get("generated"))
        assert ids_of(kept(server, head, branch["id"]))[:3] == tokens[:3]
        browser.check_served()
    browser.driver.get("about:blank")


def test_what_cannot_be_kept_is_said(browser, tmp_path, monkeypatch) -> None:
    """And kept as soon as the store takes it."""
    monkeypatch.setattr(archive, "WAIT", 0.05)
    file = tmp_path / "a.db"
    with serving(babbler(), store=file) as server:
        head, _ = begun(server, "the cat", max_tokens=2)
        server.client.patch(f"/v1/conversations/{head}", json={"settings": {"max_tokens": 1500}})
        page = Page(browser, server, f"#/chat?conversation={head}")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            page.say("the king")
            page.wait("pellucid.mounted.writer.reply")
            other.execute("BEGIN IMMEDIATE")
            page.wait("!pellucid.mounted.writer.busy")
            (note,) = page.texts(".message:nth-child(4) .note:not([hidden])")
            assert note.startswith("Not kept: ")
            assert note.endswith("It is tried again.")
            # It can be opened all the same: by the very ids.
            page.press(".message:nth-child(4) .tok[data-i='2']")
            reply = replied(page)
            tokens = page.js(SHOWN)
            check_bars(page, server.service.gpt, [*reply["generated"]["prompt"], *tokens[:2]])
            other.execute("ROLLBACK")
        assert ids_of(messages(server, head)[3]) == tokens


def check_ends_there(page: Page) -> None:
    """The token that ends a reply is taken in another's place, and another in its."""
    (stop, *_), reply = sorted(GPT.stop_tokens), replied(page)
    prompt, tokens = reply["generated"]["prompt"], page.js(SHOWN)
    page.js("pellucid.mounted.branch(arguments[0], 1, arguments[1])", reply, stop)
    page.wait("pellucid.mounted.thread.view(pellucid.mounted.leaf).tokens.length === 2")
    page.wait("!pellucid.mounted.writer.busy")
    ended = page.js(UNKEPT)
    logprobs = np.log(softmax(GPT.logits([*prompt, tokens[0]])[-1].astype(np.float64)))
    own = ended["generated"]["tokens"]
    assert [token["id"] for token in own] == [tokens[0], stop]
    assert own[1]["logprob"] == pytest.approx(logprobs[stop], abs=1e-4)
    assert (own[1]["text"], ended["text"]) == ("", own[0]["text"])
    assert ended["generated"]["reason"] == "stop"
    page.press(".message:nth-child(4) .tok.ending")
    check_bars(page, GPT, [*prompt, tokens[0]])
    name = page.find(".glass-token").text
    assert name == f"“{GPT.tokenizer.bytes_of(stop).decode()}”"
    page.press(".glass .distribution:not(.kept) li:not(.taken) .way")
    page.wait(f"pellucid.mounted.leaf !== '{ended['id']}'")
    page.wait("!pellucid.mounted.writer.busy")
    other = page.js(UNKEPT)
    assert (ids_of(other)[0], other["source"]) == (tokens[0], ended["id"])
    assert len(ids_of(other)) > 2


def test_without_a_store_it_chats_in_the_page_alone(browser) -> None:
    with serving(GPT) as server:
        page = Page(browser, server)
        assert "stays in this page" in page.find(".unkept").text
        page.press(".composer-row .plain")
        # By chance a reply may end before its third token: with this seed it does not.
        for label, value in (("At most", "8"), ("Seed", "1")):
            path = f"//dialog//label[span[starts-with(., '{label}')]]/input"
            page.driver.find_element(By.XPATH, path).send_keys(value)
        page.press("dialog .main")
        page.say("the cat sat")
        page.settled(1)
        page.say("the king")
        page.settled(2)
        reply = replied(page)
        said = page.js(
            "return pellucid.mounted.branches.path(pellucid.mounted.leaf).map(m => m.text)"
        )
        turns = [
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant", "user"), said[:3], strict=True)
        ]
        prompt = reply["generated"]["prompt"]
        pieces = server.post("/v1/inspect/tokens", messages=turns).json()["tokens"]
        assert prompt == [piece["id"] for piece in pieces]
        tokens = page.js(SHOWN)
        assert len(page.texts(".message:nth-child(4) .tok")) == len(tokens)
        whole = GPT.tokenizer.decode([i for i in tokens if i not in GPT.stop_tokens])
        assert whole.startswith(said[3])
        page.press(".message:nth-child(4) .tok[data-i='2']")
        check_bars(page, GPT, [*prompt, *tokens[:2]])
        page.press("#tab-why")
        page.press(".in-words .option")
        page.wait("document.querySelectorAll('.in-words p').length > 2")
        own = inspect.why(GPT, prompt, tokens[:3], token=3, labels=False)
        assert page.texts(".in-words p") == list(own.sentences)
        # Another way, beside it; what stood before it stays.
        page.press("#tab-could")
        page.press(".glass .distribution:not(.kept) li:not(.taken) .way")
        page.wait(BRANCHED)
        page.wait("!pellucid.mounted.writer.busy")
        branch = replied(page)
        other = page.js("return pellucid.mounted.thread.view(pellucid.mounted.leaf).tokens")
        assert (branch["source"], branch["step"]) == (reply["id"], 2)
        assert [token["id"] for token in other[:2]] == tokens[:2]
        logprobs = np.log(softmax(GPT.logits([*prompt, *tokens[:2]])[-1].astype(np.float64)))
        taken = other[2]
        assert taken["id"] != tokens[2]
        assert taken["logprob"] == pytest.approx(logprobs[taken["id"]], abs=1e-4)
        # As many as a reply may have, those that stayed among them.
        begun_with = [token["id"] for token in other[:3]]
        own = GPT.generate([*prompt, *begun_with], max_tokens=8 - 3, seed=1 + 1)
        assert [token["id"] for token in other[3:]] == [step.token for step in own.steps]
        page.press(".message:nth-child(4) .plain[title='Compare with the other one']")
        page.wait("document.querySelectorAll('.compare-heads li').length")
        # The walk and the tray, on the very ids.
        page.press(".compare-head .plain")
        page.press(".message:nth-child(4) .tok[data-i='2']")
        page.press("#tab-change")
        page.wait("document.querySelector('[data-state=done]')")
        assert len(page.texts(".change-token")) == len(prompt) + 2
        page.press(".door[href*=walk]")
        page.wait("pellucid.mounted?.walk?.pass.pieces.length")
        walked = page.js("return pellucid.mounted.walk.pass.pieces.map(p => p.id)")
        assert walked == [*prompt, *tokens[:2]]
        page.js("location.hash = '#/chat'")
        page.wait("document.querySelector('.conversation')")
        assert page.texts(TITLES) == ["the cat sat"]
        page.press(".conversation")
        page.settled(2)
        look_for(page, "nothing")
        page.wait("!document.querySelector('.conversation')")
        check_ends_there(page)
        browser.check_served()
        # Opened anew, it is gone, and the page says so.
        page.driver.refresh()
        page.wait("document.querySelector('.composer .quiet')?.textContent.includes('gone')")
        browser.check_served()

"""The page's place "change" in a real browser on a real server: what it shows is Python's."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from support.skips import needs

needs("fastapi")

import pellucid  # noqa: E402
from pellucid import inspect  # noqa: E402
from pellucid.inspect import Direction, Intervention, compare, intervene, trace  # noqa: E402
from pellucid.taps import TAPS  # noqa: E402
from pellucid.visible import visible  # noqa: E402
from support.server import Served, serving, talker  # noqa: E402

KING = "The king went home to"
GALLERY = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate" / "gallery.py"))
OFF = {"name": "attn.z", "layer": 1, "head": 0, "op": "suppress"}
ROWS = """return [...document.querySelectorAll('.sides tbody tr')].map(row => {
  const cells = [...row.querySelectorAll('td:not(.mark-cell)')];
  return [row.className, ...cells.map(c => c.dataset.value ?? c.textContent)]; })"""
CHIPS = """return [...document.querySelectorAll('.change-chips li:not(.none) > span')].map(
  e => e.textContent)"""
SET = """const [box, value] = arguments; box.value = value;
for (const kind of ['input', 'change']) box.dispatchEvent(new Event(kind, {bubbles: true}))"""


class Page:
    """The place, open in a browser."""

    def __init__(self, browser, url: str) -> None:
        self.browser, self.url, self.driver = browser, url, browser.driver

    def open(self, **state: Any) -> None:
        """A fresh page at this address."""
        said = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in state.items()
        }
        query = "&".join(f"{name}={quote(value)}" for name, value in said.items())
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#/change?{query}")
        self.settled()

    def settled(self) -> None:
        """What was asked for last is on the screen."""
        self.browser.wait("document.querySelector('[data-state=done]') !== null")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def do(self, script: str, *arguments: Any) -> None:
        """Something that changes the address, and what comes of it."""
        before = self.address
        self.run(script, *arguments)
        self.browser.wait(f"location.hash !== {json.dumps(before)}")
        self.settled()

    @property
    def address(self) -> str:
        return str(self.run("return location.hash"))

    @property
    def chips(self) -> list[str]:
        return list(self.run(CHIPS))

    def press(self, selector: str) -> None:
        self.do(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, form: str, **fields: str) -> None:
        """In a form: options by their text, values by the field's name."""
        for name, value in fields.items():
            self.run(
                "const [form, name, value] = arguments;"
                "const field = [...document.querySelectorAll(`${form} .field`)].find("
                "  f => f.firstChild.textContent === name);"
                "const box = field.lastChild;"
                "box.value = box.tagName !== 'SELECT' ? value :"
                "  [...box.options].find(o => o.textContent === value).value;"
                "box.dispatchEvent(new Event('change', {bubbles: true}))",
                form,
                name.replace("_", " "),
                value,
            )

    def submit(self, form: str) -> None:
        self.do(f"document.querySelector('{form} button[type=submit]').click()")


@pytest.fixture(scope="module")
def served(talk) -> Iterator[Served]:
    with serving(talk) as server:
        yield server


@pytest.fixture
def page(browser, served) -> Iterator[Page]:
    yield Page(browser, served.url)
    assert [e for e in browser.driver.get_log("browser") if e["level"] == "SEVERE"] == []


def check(
    page: Page, gpt, text: str | list[int], changes: list[Intervention], **settings: Any
) -> None:
    """The columns are those of Python's finding, token by token, share by share."""
    settings = {"temperature": 0, "max_tokens": 24} | settings
    found = compare(gpt, text, changes, **settings)
    if not changes:
        expected = [(token, token) for token in found.before.tokens]
        if found.before.reason == "stop token":
            expected.pop()
        assert [(row[1], row[3]) for row in page.run(ROWS)] == [
            (visible(one), visible(other)) for one, other in expected
        ]
        return
    rows = page.run(ROWS)
    sides = [[row[at : at + 2] for row in rows if row[at + 1]] for at in (1, 3)]
    for side, own in zip(sides, (found.before, found.after), strict=True):
        assert [token for token, _ in side] == [visible(token) for token in own.tokens]
        assert [float(share) for _, share in side] == pytest.approx(
            np.exp(own.logprobs).tolist(), abs=1e-6
        )
    assert any(row[0] == "differs" for row in rows) == (found.parted is not None)
    assert page.chips == [change.label for change in changes]


def test_a_head_is_switched_off_undone_and_kept_in_the_address(page, talk) -> None:
    page.open(text=KING)
    check(page, talk, KING, [])
    page.press("[data-part=L1H0]")
    off = [Intervention(**OFF)]
    check(page, talk, KING, off)
    assert page.run("return document.querySelector('[data-part=L1H0]').ariaPressed") == "true"
    address = page.address
    page.do("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'z', bubbles: true}))")
    check(page, talk, KING, [])
    assert page.chips == []
    page.run("document.querySelector('[data-part=L0H2]').focus()")
    page.do(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'x', bubbles: true}))"
    )
    check(page, talk, KING, [Intervention(name="attn.z", layer=0, head=2, op="suppress")])
    page.driver.get("about:blank")
    page.driver.get(f"{page.url}/{address}")
    page.settled()
    check(page, talk, KING, off)
    found = compare(talk, KING, off, temperature=0, max_tokens=24)
    shown = page.run("return document.querySelector('.sides-more').innerText")
    assert found.sections()[0].pictures[1].lines[0] in shown
    page.press(".change-chips .remove")
    check(page, talk, KING, [])


def test_both_are_streamed_before_the_finding_comes(page, talk) -> None:
    """All but the tokens that end them, with the same shares."""
    page.open(text=KING)
    page.run("pellucid.api.ask = () => new Promise(() => {})")
    page.run("document.querySelector('[data-part=L1H0]').click()")
    page.browser.wait("document.querySelector('.part[aria-pressed=true]') !== null")
    page.browser.wait("document.querySelectorAll('.sides .differs').length > 0")
    page.browser.wait("/as it is: .*changed: /.test(document.querySelector('.sides').innerText)")
    off = [Intervention(**OFF)]
    found = compare(talk, KING, off, temperature=0, max_tokens=24)
    rows = page.run(ROWS)
    for at, own in ((1, found.before), (3, found.after)):
        n = len(own.ids) - (own.reason == "stop token")
        side = [row[at : at + 2] for row in rows if row[at + 1]]
        assert [token for token, _ in side] == [visible(token) for token in own.tokens[:n]]
        assert [float(share) for _, share in side] == pytest.approx(
            np.exp(own.logprobs[:n]).tolist(),
            abs=1e-5,  # in float32, in another order
        )


def test_every_kind_of_change(page, talk) -> None:
    page.open(text=KING, length=4, temperature=0.9, seed=3)
    settings = {"temperature": 0.9, "seed": 3, "max_tokens": 4}
    changes: list[Intervention] = []

    def change(declared: Intervention, **fields: str) -> None:
        page.choose(".more-changes", **fields)
        page.submit(".more-changes")
        changes.append(declared)
        check(page, talk, KING, changes, **settings)

    change(
        Intervention(name="mlp_out", layer=0, op="scale", value=0.25),
        What="an MLP",
        Layer="L0",
        Becomes="times",
        By="0.25",
    )
    change(
        Intervention(name="embed", op="patch", source="The judge went home to", position=1),
        What="a token",
        At="1 ␣king",
        Becomes="from another text",
        Text="The judge went home to",
    )
    change(
        Intervention(
            name="resid_pre", layer=1, op="add", value=Direction(towards=" jail", away=" court")
        ),
        Layer="L1",
        At="all",
        Becomes="towards",
        Towards="jail",
        Away_from="court",
    )
    page.press(".change-text button:nth-child(1)")
    changes.append(Intervention(name="embed", op="suppress", position=0))
    check(page, talk, KING, changes, **settings)
    page.driver.refresh()
    page.settled()
    check(page, talk, KING, changes, **settings)


def edited(page: Page, i: int, value: float) -> None:
    page.run(SET, page.run(f"return document.querySelectorAll('.edited-values input')[{i}]"), value)


def shown_values(page: Page) -> list[float]:
    page.browser.wait(
        "document.querySelector('.stopped:not([aria-busy]) .edited-values input') !== null"
    )
    boxes = (
        "return [...document.querySelectorAll('.edited-values input')].map(e => e.dataset.value)"
    )
    return [float(value) for value in page.run(boxes)]


def test_the_pass_is_stopped_looked_at_and_goes_on(page, talk) -> None:
    page.open(text=KING)
    page.choose(".breakpoint", Value="attn.z", Layer="L1", Head="H0", At="4 ␣to")
    page.submit(".breakpoint")
    z = trace(talk, KING, "attn.z", layers=1)["blocks.1.attn.z"][4, 0]
    assert shown_values(page) == pytest.approx(z.tolist(), abs=1e-6)
    edited(page, 2, -1.5)
    page.press(".main-option")
    value = [*z[:2].tolist(), -1.5, *z[3:].tolist()]
    first = Intervention(name="attn.z", layer=1, head=0, position=4, op="set", value=value)
    check(page, talk, KING, [first])
    assert len(page.address) < 250  # what was changed, not what was seen
    # The next stop sees what was set; a row of a pattern is edited key by key.
    page.choose(".breakpoint", Value="attn.pattern", Layer="L0", Head="H1", At="3 ␣home")
    page.submit(".breakpoint")
    row = trace(talk, KING, "attn.pattern", layers=0)["blocks.0.attn.pattern"][1, 3]
    assert shown_values(page) == pytest.approx(row[:4].tolist(), abs=1e-6)
    for i, share in enumerate((0.0, 1.0, 0.0, 0.0)):
        edited(page, i, share)
    page.press(".main-option")
    second = Intervention(
        name="attn.pattern", layer=0, head=1, position=3, op="set", value=[0.0, 1.0, 0.0, 0.0]
    )
    check(page, talk, KING, [first, second])
    # Opened anew, the same.
    address = page.address
    page.driver.get("about:blank")
    page.driver.get(f"{page.url}/{address}")
    page.settled()
    check(page, talk, KING, [first, second])
    page.choose(".breakpoint", Value="resid_post", Layer="L1", At="4 ␣to")
    page.submit(".breakpoint")
    recorder = inspect.Recorder(talk, "resid_post")
    tap = inspect.compose(intervene(talk, [first, second]), recorder)
    talk.forward([talk.encode(KING)], tap=tap)
    after = np.asarray(recorder.passes[0]["blocks.1.resid_post"])[0, 4]
    assert shown_values(page) == pytest.approx(after.tolist(), abs=1e-5)


def test_in_the_glass_a_reply_is_changed_from_the_token_on(browser, tmp_path) -> None:
    """On the very ids that the model had before that token."""
    gpt = talker()
    with serving(gpt, store=tmp_path / "a.db") as server:
        settings = {"max_tokens": 6, "seed": 1}
        kept = server.post("/v1/conversations", settings=settings).json()["id"]
        said = server.post(f"/v1/conversations/{kept}/messages", text="the cat sat").json()
        place = {"conversation": kept, "message": said["conversation"]["reply"], "token": 2}
        pieces = server.post("/v1/inspect/tokens", reply=place).json()["tokens"]
        page = Page(browser, server.url)
        page.driver.get("about:blank")
        query = "&".join(f"{name}={value}" for name, value in place.items())
        page.driver.get(f"{page.url}/#/chat?{query}&leaf={place['message']}&view=change&length=5")
        page.settled()
        page.press("[data-part=L1H0]")
        ids = [piece["id"] for piece in pieces]
        check(page, gpt, ids, [Intervention(**OFF)], max_tokens=5)
        page.do("history.back()")
        page.browser.wait("document.querySelector('.change-chips .none') !== null")
        assert page.chips == []


def test_what_does_not_fit_the_model_is_said(page) -> None:
    page.driver.get(
        f"{page.url}/#/change?text=The&changes={quote(json.dumps([OFF | {'layer': 9}]))}"
    )
    page.browser.wait("document.querySelector('.note[role=alert]')?.hidden === false")
    said = page.run("return document.querySelector('.note[role=alert]').textContent")
    assert "layer 9" in said
    page.driver.get_log("browser")  # the refused request is one of its lines


def test_strangers_texts_are_texts(page) -> None:
    payload = "<img src=x onerror=alert(1)></script>"
    hostile = {"name": "attn.z", "op": "add", "value": {"towards": payload, "away": payload}}
    page.driver.get("about:blank")
    page.driver.get(
        f"{page.url}/#/change?text={quote('The ' + payload)}&changes={quote(json.dumps([hostile]))}"
    )
    page.browser.wait("document.querySelector('.change-chips li > span') !== null")
    assert payload in page.chips[0]
    assert page.run("return document.querySelectorAll('img, main script').length") == 0
    page.driver.get_log("browser")


def test_the_gallery_shows_what_it_claims(browser) -> None:
    examples = [example for example in GALLERY["EXAMPLES"] if example.model == "induction"]
    with serving(pellucid.load("induction")) as server:
        page = Page(browser, server.url)
        page.open()
        own = "[...document.querySelectorAll('.example:not(.elsewhere)')]"
        assert page.run(f"return {own}.map(e => e.dataset.example)") == [
            example.name for example in examples
        ]
        king = "document.querySelector('[data-example=king]')"
        assert page.run(f"return {king}.querySelector('code').textContent") == (
            "pellucid open --model talk"
        )
        assert page.run(f"return {king}.querySelector('.copy').ariaLabel") == "Copy the command"
        for example in examples:
            page.press(f"[data-example={example.name}] a")
            declared = [Intervention(**change) for change in example.changes]
            gpt = pellucid.load("induction")
            check(page, gpt, example.text, declared, max_tokens=example.length)
            assert (
                page.run("return document.querySelector('.example-look').textContent")
                == example.look
            )
            values = shown_values(page)
            assert values[example.looks[3]] > 0.9
            assert max(values) == values[example.looks[3]]


def test_the_page_knows_every_value() -> None:
    """changes.js names them, with what their last axis is."""
    source = (Path(pellucid.__file__).parent / "web" / "change" / "changes.js").read_text("utf-8")
    table = source.partition("export const VALUES = {")[2].partition("};")[0]
    known = dict(re.findall(r'"?([\w.]+)"?: "([^"]+)"', table))
    expected = {}
    for name in TAPS:
        own = TAPS[name].axes
        heads = "head " if "head" in own else ""
        expected[name.removeprefix("blocks.{i}.")] = heads + own[-1]
    assert known == expected

"""The talk in a real browser, as the file that `pellucid talk --present` writes."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from pellucid import inspect
from pellucid.errors import InputError
from pellucid.sampling import softmax
from support.program import run
from support.skips import AXE, needs

ROOT = Path(__file__).parents[1]
TEXT = "The power clapper"
KEYS = ["title", "question", "field", "alone", "relation", "networks", "network", "transformer",
        "mechanism", "far", "fed", "sizes", "input", "tokens", "dictionary", "embeddings", "norm",
        "attention", "heads", "concat", "output", "mlp", "layers", "prediction", "loop", "end",
        "cited"]  # fmt: skip
HEAD = ("q", "k", "v", "qk", "scores", "pattern", "z")
STREAM = ("attn_out", "resid_mid", "mlp_out", "resid_post")
SCRIPT_BYTES = 150_000


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("talk") / "talk.html"
    run("talk", "--present", str(path))
    return path.read_text(encoding="utf-8")


@pytest.fixture
def driver(browser, html):
    """At the first frame, on a screen of 1920 × 1080."""
    driver = browser.show(html, all_of_it=False)
    screen(driver, 1920, 1080)
    motion(driver, "reduce")
    browser.wait("globalThis.pellucid !== undefined")
    yield driver
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.check()


def screen(driver, width: int, height: int) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def motion(driver, value: str) -> None:
    features = [{"name": "prefers-reduced-motion", "value": value}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def press(driver, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def here(driver) -> tuple[int, int]:
    place = driver.execute_script("return pellucid.talk.place")
    return place["frame"], place["beat"]


def go(driver, key: str, beat: int | None = None) -> None:
    """beat: None for the last."""
    at = "Infinity" if beat is None else beat
    driver.execute_script(f"pellucid.talk.go({KEYS.index(key)}, {at})")


def words(driver, selector: str) -> list[str]:
    """The texts that can be seen."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility("
        "{visibilityProperty: true})).map(e => e.textContent)",
        selector,
    )


def number(text: str) -> float:
    plain = text.replace("−", "-").replace("∞", "inf").rstrip("%")
    return float(plain) / (100 if text.endswith("%") else 1)


# Of every matrix on every press of every frame: name, symbol, cells as they are written.
MATRICES = """const out = {};
for (let i = 0; i < pellucid.frames.length; i++) {
  pellucid.talk.go(i);
  for (let beat = 0; beat < pellucid.talk.shown.beats; beat++) {
    pellucid.talk.go(i, beat);
    for (const f of document.querySelectorAll('.slide .matrix-figure'))
      out[`${pellucid.frames[i].key} ${f.dataset.symbol} ${beat}`] = {
        name: f.dataset.name, symbol: f.dataset.symbol,
        cells: [...f.querySelectorAll('.cell')].map(c => [c.dataset.at, c.textContent])};
  }
}
return Object.values(out);"""


def check_numbers(driver, gpt, ids, *, layer: int, head: int) -> set[str]:
    """Every cell of a matrix that stands for a value or a weight, to its three decimals.

    -> the names that were compared."""
    seen, weights = inspect.trace(gpt, ids), gpt.model.tensors()
    compared = set()
    for matrix in driver.execute_script(MATRICES):
        name, symbol = matrix["name"], matrix["symbol"]
        if name in weights and symbol == "W_Output":
            array = weights[name]
        elif "c_attn.weight" in name:
            part = ["W_Query", "W_Key", "W_Value"].index(symbol)
            whole = weights[f"h.{layer}.attn.c_attn.weight"]
            parts = whole.reshape(gpt.hparams.n_embd, 3, gpt.hparams.n_head, gpt.hparams.d_k)
            array = parts[:, part, head]
        elif name == "logits":
            array = np.sort(seen[name][-1])[::-1][None]
        elif name in seen.arrays:
            array = seen[name]
            if name.endswith(("qk", "scores", "pattern")):
                array = array[head]
            elif re.search(r"attn\.[qkvz]$", name):
                own = int(symbol[1:]) if re.fullmatch(r"z\d+", symbol) else head
                array = array.reshape(len(ids), -1) if symbol == "concat" else array[:, own]
        else:
            continue
        for at, text in matrix["cells"]:
            i, j = map(int, at.split(","))
            if math.isinf(array[i, j]):
                assert text == "−∞"
            else:
                assert abs(number(text) - array[i, j]) < 0.00051, (name, at)
            compared.add(name)
    return compared


def test_every_number_on_a_frame_is_python_s(driver, talk) -> None:
    ids = talk.encode(TEXT)
    compared = check_numbers(driver, talk, ids, layer=0, head=0)
    assert {"embed", "pos_embed", "blocks.0.resid_pre", "blocks.0.ln1.out", "logits"} <= compared
    assert {f"blocks.0.attn.{name}" for name in HEAD} <= compared
    assert {f"blocks.0.{name}" for name in STREAM} <= compared
    assert {"h.0.attn.c_proj.weight", "blocks.0.mlp.post", "ln_final.out"} <= compared
    out = talk.generate(TEXT, greedy=True)
    assert out.text == " went straight to jail"
    go(driver, "fed")
    assert words(driver, ".growing span") == [f"{TEXT} +", " went", " straight", " to", " jail"]
    go(driver, "far")
    share = softmax(talk.logits(TEXT)[-1].astype(np.float64)).max()
    assert number(words(driver, ".comes small")[0]) == pytest.approx(share, abs=6e-4)
    go(driver, "sizes")
    shape = talk.hparams
    numbers = [row.replace(",", "") for row in words(driver, ".sizes tbody td:last-child")]
    assert numbers[:5] == [
        str(n) for n in (shape.n_vocab, shape.n_ctx, shape.n_embd, shape.n_head, shape.n_layer)
    ]
    go(driver, "tokens")
    assert words(driver, ".cards span") == [str(i) for i in ids]
    go(driver, "layers")
    lens = inspect.logit_lens(talk, ids, positions=-1)
    shown = driver.execute_script(
        "return [...document.querySelectorAll('.ladder .number')].map(e => +e.dataset.value)"
    )
    assert shown == pytest.approx(np.exp(lens.top_logprobs[:, 0, 0])[::-1].tolist(), abs=1e-5)
    go(driver, "loop")
    assert "8 of 8" in words(driver, ".shapes")[0]
    assert "context window full" in words(driver, ".loop-said")[0]


def test_the_audience_s_own_sentence(browser, driver, talk) -> None:
    go(driver, "attention", 6)
    press(driver, "t")
    box = driver.switch_to.active_element
    box.clear()
    box.send_keys("The king went home to")
    assert here(driver) == (KEYS.index("attention"), 6)
    assert not driver.execute_script("return pellucid.talk.composer.hidden")
    press(driver, "\ue007")  # Enter
    assert driver.execute_script("return pellucid.talk.composer.hidden")
    driver.execute_script("pellucid.talk.choose({layer: 1, head: 2})")
    ids = talk.encode("The king went home to")
    assert len(check_numbers(driver, talk, ids, layer=1, head=2)) > 20
    go(driver, "fed")
    reply = talk.generate("The king went home to", greedy=True).text
    assert "".join(words(driver, ".growing .comes")).startswith(reply)
    address = driver.current_url
    assert "text=The+king+went+home+to" in address
    browser.check()
    driver.get("about:blank")
    driver.get(address)
    assert driver.execute_script("return pellucid.talk.pass.text") == "The king went home to"
    assert driver.execute_script("return pellucid.talk.place.layer") == 1
    for text, says in (("", "<|endoftext|>"), ("The power " * 6, "Shorten the text")):
        assert says in driver.execute_script("return pellucid.talk.use(arguments[0])", text)
        go(driver, "tokens")
        assert says in words(driver, ".slide .note")[0]
        assert len(words(driver, ".cards li:not(.out)")) == (8 if text else 1)


def test_keys_go_through_all_of_it(driver) -> None:
    from selenium.webdriver.common.keys import Keys

    assert driver.execute_script("return pellucid.frames.map(f => f.key)") == KEYS
    beats = driver.execute_script(
        "const talk = pellucid.talk, kept = talk.onplace; globalThis.seen = [];"
        "const beats = pellucid.frames.map((_, i) => (talk.go(i), talk.shown.beats)); talk.go(0);"
        "talk.onplace = (place) => (seen.push([place.frame, place.beat]), kept(place));"
        "return beats"
    )
    every = [[frame, beat] for frame, n in enumerate(beats) for beat in range(n)]
    assert len(every) > 90
    keys = (Keys.ARROW_RIGHT, Keys.SPACE, Keys.PAGE_DOWN, Keys.ARROW_DOWN)
    press(driver, *(keys[i % 4] for i in range(len(every) - 1)))
    assert driver.execute_script("return seen") == every[1:]
    press(driver, Keys.ARROW_RIGHT)
    assert here(driver) == (len(KEYS) - 1, 0)
    press(driver, Keys.PAGE_UP)
    assert here(driver)[0] == len(KEYS) - 2
    assert here(driver)[1] > 0
    press(driver, Keys.HOME)
    assert here(driver) == (0, 0)
    press(driver, Keys.END, Keys.ARROW_LEFT)
    assert driver.current_url.endswith(f"#/talk?frame={len(KEYS) - 1}&beat=2")
    driver.execute_script("location.hash = '#/talk?frame=6&beat=3'")
    driver.execute_async_script("setTimeout(arguments[0])")
    assert here(driver) == (5, 2)
    assert words(driver, ".networks tbody th") == ["input:", "converted into:"]
    press(driver, *[Keys.ARROW_RIGHT] * 5)
    assert words(driver, ".networks td:nth-child(2)") == [
        "sensory", "signal", "neuron", "synapse", "of neurons", "conscious thought",
    ]  # fmt: skip
    assert words(driver, ".networks td:last-child") == ["text"]
    marks = driver.find_elements("css selector", ".marks a")
    assert marks[5].get_attribute("aria-current") == "step"
    marks[9].click()
    assert here(driver) == (9, 0)


def test_cells_and_symbols_have_the_keyboard_too(driver, talk) -> None:
    from selenium.webdriver.common.keys import Keys

    go(driver, "attention", 6)
    pattern = inspect.trace(talk, TEXT, "attn.pattern")["blocks.0.attn.pattern"][0]
    line = words(driver, ".worked")[0]
    best = int(pattern[-1].argmax())
    assert line.startswith(f"pattern[3, {best}] = e^(")
    assert number(line.split(" = ")[-1]) == pytest.approx(pattern[3, best], rel=1e-5)
    cell = driver.find_element("css selector", "[data-symbol=pattern] .cell[tabindex='0']")
    cell.send_keys(Keys.ARROW_UP)
    assert here(driver) == (KEYS.index("attention"), 6)
    assert words(driver, ".worked")[0].startswith("pattern[2, 0]")
    press(driver, Keys.ESCAPE, Keys.ARROW_RIGHT)
    assert here(driver) == (KEYS.index("attention"), 7)
    symbols = driver.find_elements("css selector", ".code .symbol")
    next(s for s in symbols if s.text == "sqrt(d_k)").click()
    assert here(driver) == (KEYS.index("attention"), 4)
    assert set(words(driver, ".code .symbol.lit")) == {"sqrt(d_k)"}
    press(driver, Keys.ARROW_RIGHT)  # after a click the keys are the talk's
    assert here(driver) == (KEYS.index("attention"), 5)


def test_black(driver) -> None:
    from selenium.webdriver.common.keys import Keys

    press(driver, "b")
    assert words(driver, ".black") == ["The screen is black. Press b to go on."]
    colour = driver.execute_script(
        "return getComputedStyle(document.elementFromPoint(900, 500)).backgroundColor"
    )
    assert colour == "rgb(0, 0, 0)"
    press(driver, ".")
    assert words(driver, ".black") == []
    press(driver, "b", Keys.ARROW_RIGHT)
    assert words(driver, ".black") == []
    assert here(driver) == (1, 0)


def test_notes_and_clock_in_step(driver) -> None:
    driver.execute_script("Date.now = () => 1e12; pellucid.talk.notes.restart()")
    main = driver.current_window_handle
    go(driver, "attention", 0)
    driver.execute_script("Date.now = () => 1e12 + 65e3")
    press(driver, "n")
    (other,) = set(driver.window_handles) - {main}
    driver.switch_to.window(other)
    try:
        said = driver.execute_script(
            "return [...document.querySelectorAll('.notes-said p')].map(e => e.textContent)"
        )
        title = driver.find_element("css selector", "h1").text
        assert title == f"{KEYS.index('attention') + 1} · Self-attention"
        assert driver.find_element("css selector", ".clock").text == "1:05"
        assert driver.find_element("css selector", ".clock-here").text == "on this frame 1:05"
        assert driver.find_element("css selector", ".notes-beat").text == "press 1 of 9"
        press(driver, "\ue014", "\ue014", "b")
        assert driver.find_element("css selector", ".notes-beat").text == "the screen is black"
        press(driver, "b", "\ue010")
        assert driver.find_element("css selector", ".notes-next").text == "This is the last frame."
        assert driver.find_element("css selector", ".clock").text == "1:05"
        assert driver.execute_script("return document.title") == "Notes"
        size = driver.execute_script(
            "return getComputedStyle(document.querySelector('.notes-said')).fontSize"
        )
        assert size == "20px"
    finally:
        driver.close()
        driver.switch_to.window(main)
    frames = driver.execute_script("return pellucid.frames")
    assert said == frames[KEYS.index("attention")]["notes"]
    assert here(driver)[0] == len(KEYS) - 1


def test_less_motion_stands_still(driver) -> None:
    data = "return document.querySelector('canvas.field').toDataURL()"
    frames = (
        "let n = 5; const wait = done => n-- ? requestAnimationFrame(() => wait(done)) : done();"
    )
    frames += "wait(arguments[0])"
    motion(driver, "no-preference")
    go(driver, "relation")
    moving = driver.execute_script(data)
    driver.execute_async_script(frames)
    assert driver.execute_script(data) != moving
    motion(driver, "reduce")
    driver.execute_async_script(frames)
    still = driver.execute_script(data)
    driver.execute_async_script(frames)
    assert driver.execute_script(data) == still
    go(driver, "alone")
    assert driver.execute_script(data) != still
    go(driver, "relation")
    assert driver.execute_script(data) == still
    go(driver, "networks")
    assert not driver.find_element("css selector", "canvas.field").is_displayed()


# Of each frame at its last press: texts that are small or pale, what has no name, what is cut off.
LOOKED_AT = """
const [least] = arguments;
const out = {small: [], pale: [], nameless: [], cut: []};
const linear = c => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = text => {
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = text;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const ground = e => {
  for (; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return rgba('Canvas');
};
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
for (let i = 0; i < pellucid.frames.length; i++) {
  pellucid.talk.go(i, Infinity);
  const key = pellucid.frames[i].key;
  const slide = document.querySelector('.slide');
  for (const box of [slide, slide.querySelector('.slide-body')])
    if (box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1)
      out.cut.push(key);
  for (const e of document.querySelectorAll('.talk *')) {
    if (!e.checkVisibility({visibilityProperty: true})) continue;
    if (e.closest('.unseen, [aria-hidden]')) continue;
    const says = `${key} ${e.className} ${e.textContent.slice(0, 20)}`;
    const style = getComputedStyle(e);
    if ([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
      if (contrast(light(rgba(style.color)), light(ground(e))) < 4.5) out.pale.push(says);
      const size = parseFloat(style.fontSize);
      if (e.closest('.slide') && size < least && !e.closest('.matrix-figure, .worked-foot'))
        out.small.push(`${says} ${size}`);
    }
    const named = e.ariaLabel || e.textContent.trim() || e.labels?.length;
    if (e.matches('button, a, input, select, [role=img]') && !named) out.nameless.push(says);
  }
}
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size !== ids.length) out.nameless.push('ids');
return out;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_readable_from_the_back_row(driver, theme) -> None:
    driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    assert driver.execute_script(LOOKED_AT, 28) == {
        "small": [], "pale": [], "nameless": [], "cut": [],
    }  # fmt: skip
    for width, height in ((1280, 720), (390, 844)):
        screen(driver, width, height)
        found = driver.execute_script(LOOKED_AT, 13)
        assert not found["small"], found
        if width > 900:  # a phone scrolls
            assert not found["cut"]
    slide = driver.find_element("css selector", ".slide")
    assert slide.get_attribute("aria-label").startswith(f"Frame {len(KEYS)} of {len(KEYS)}")
    assert driver.execute_script("return document.querySelectorAll('h1, h2').length") == 2


def test_axe_finds_nothing_serious(driver) -> None:
    needs("axe-core")
    driver.execute_script(AXE.read_text(encoding="utf-8"))
    for key in ("relation", "networks", "fed", "attention", "heads", "prediction", "loop", "cited"):
        go(driver, key)
        found = driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
            ".then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes[0].html])))"
        )
        assert [each for each in found if each[0] in ("serious", "critical")] == [], key


def test_as_a_place_of_the_served_page(browser) -> None:
    """Under the page's own policy; the address is the page's."""
    needs("fastapi")
    from selenium.webdriver.common.keys import Keys

    from support.server import serving, talker

    with serving(talker()) as server:
        driver = browser.visit(f"{server.url}/#/talk?frame=18&beat=7&text=The+king+went+home+to")
        browser.wait("document.querySelector('.talk .worked')?.textContent.startsWith('pattern')")
        motion(driver, "reduce")
        assert "layer 0 · head 0" in words(driver, ".worked-about")[0]
        assert "“to”" in words(driver, ".worked-about")[0].replace("␣", "")
        assert driver.execute_script("return document.getElementById('top').inert")
        press(driver, Keys.ARROW_RIGHT)
        browser.wait("location.hash.includes('beat=8')")
        assert "text=The+king+went+home+to" in driver.current_url
        press(driver, "?")  # the talk's keys, not the page's
        assert words(driver, ".keys-help dt")[0].startswith("→")
        main = driver.current_window_handle
        press(driver, Keys.ESCAPE, "n")
        (other,) = set(driver.window_handles) - {main}
        driver.switch_to.window(other)
        assert words(driver, "h1") == ["18 · Self-attention"]
        style = "return getComputedStyle(document.querySelector('.notes-said')).fontSize"
        assert driver.execute_script(style) == "20px"
        driver.switch_to.window(main)
        browser.check_served()
        driver.execute_script("location.hash = '#/chat'")
        browser.wait("!document.querySelector('.talk')")
        assert not driver.execute_script("return document.getElementById('top').inert")
        assert driver.window_handles == [main]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_one_file_of_bounded_size_and_a_page_of_the_docs(driver, html, talk, chat) -> None:
    script = html.rpartition('<script type="module">')[2].partition("</script>")[0]
    assert len(script.encode()) < SCRIPT_BYTES
    assert "@keithgibson" not in html
    frames, keys = driver.execute_script("return [pellucid.frames, pellucid.keys]")
    generate = runpy.run_path(str(ROOT / "docs" / "generate" / "talk.py"))
    written = (ROOT / "docs" / "talk.md").read_text(encoding="utf-8")
    assert generate["page"](frames, keys) == written
    for key in generate["PICTURED"]:
        assert key in KEYS
        assert (ROOT / "docs" / "talk" / f"{key}.png").is_file()
    with pytest.raises(InputError, match="too many for a page to run"):
        inspect.talk_page(chat)

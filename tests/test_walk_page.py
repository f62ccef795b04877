"""The walk's page in a real browser: every number Python's, every worked cell right, all alive."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from pellucid import inspect
from pellucid.draw.document import PAGE_BYTES
from pellucid.gpt import GPT
from pellucid.hparams import HParams
from pellucid.model import Model
from pellucid.sampling import softmax
from pellucid.tokenizer import IdsOnly
from pellucid.weights import initialise
from support.models import llama_gpt
from support.program import run

TEXT = "The power clapper"
STEPS = ["input", "tokenization", "embeddings", "norm", "attention", "heads", "concat", "output",
         "mlp", "layers", "prediction", "loop"]  # fmt: skip

# Of each matrix: step, name, symbol, cells as they are written, the head they are of.
MATRICES = """for (const key of pellucid.steps) pellucid.walk.section(key);
return [...document.querySelectorAll('.matrix-figure')].map(f => ({
  step: f.closest('section').dataset.step, name: f.dataset.name, symbol: f.dataset.symbol,
  rows: [...f.querySelectorAll('tbody tr')].map(r => [...r.querySelectorAll('td')].map(
    c => [c.dataset.at, c.textContent]))}))"""


def page(gpt, text=TEXT, **places):
    return inspect.walk_page(gpt, inspect.walk(gpt, text, **places), title=str(text))


def opened(browser, html):
    driver = browser.show(html)
    assert driver.execute_script("return pellucid.steps") == STEPS
    return driver


def type_in(driver, text: str) -> None:
    driver.execute_script(
        "const box = document.querySelector('.text-box input'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))",
        text,
    )


def number(text: str) -> float:
    plain = text.replace("−", "-").replace("∞", "inf").rstrip("%")
    return float(plain) / (100 if text.endswith("%") else 1)


def check_matrices(driver, gpt, ids, *, layer=0, head=0, first=0, n=None) -> int:
    """Every cell of a matrix that stands for a recorded value, to its three decimals."""
    seen = inspect.trace(gpt, ids)
    n = len(ids) if n is None else n
    window = slice(first, first + n)
    here = first + driver.execute_script("return pellucid.walk.place.position")
    compared = 0
    for matrix in driver.execute_script(MATRICES):
        name, symbol = matrix["name"], matrix["symbol"]
        if name not in seen.arrays:
            continue
        array = seen[name]
        if name.endswith(("qk", "scores", "pattern")):
            array = array[head][window, window]
        elif re.search(r"attn\.([qkvz]|rot_[qk]|[qk]_norm\.\w+)$", name):
            shared = array.shape[1] < gpt.hparams.n_head  # keys and values of several heads
            own = head // (gpt.hparams.n_head // array.shape[1]) if shared else head
            own = int(symbol[1:]) if re.fullmatch(r"z\d+", symbol) else own
            whole = symbol == "concat"
            array = (array.reshape(len(array), -1) if whole else array[:, own])[window]
        elif name != "logits":
            array = array[window]
        else:
            array = np.sort(array[here])[::-1][None]
        for row in matrix["rows"]:
            for at, text in row:
                i, j = map(int, at.split(","))
                if math.isinf(array[i, j]):
                    assert text == "−∞"
                else:
                    assert abs(number(text) - array[i, j]) < 0.00051, (name, at)
                compared += 1
    return compared


def test_every_number_is_python_s_and_moves_with_the_text(browser, talk) -> None:
    driver = opened(browser, page(talk))
    assert check_matrices(driver, talk, talk.encode(TEXT)) > 900
    type_in(driver, "My head went home to")
    ids = talk.encode("My head went home to")
    driver.execute_script("pellucid.walk.choose({layer: 1, head: 2})")
    assert check_matrices(driver, talk, ids, layer=1, head=2) > 1000
    shown = driver.execute_script(
        "return [...document.querySelectorAll('#step-layers .number')].map(e => e.dataset.value)"
    )
    lens = inspect.logit_lens(talk, ids, positions=-1)
    expected = np.exp(lens.top_logprobs[:, 0, 0])[::-1]
    assert [float(x) for x in shown] == pytest.approx(expected.tolist(), abs=1e-5)
    bars = driver.execute_script(
        "return [...document.querySelectorAll('#step-prediction .distribution li')].map("
        "e => [e.dataset.id, e.dataset.value])"
    )
    shares = softmax(talk.logits(ids)[-1].astype(np.float64))
    for token, share in bars:
        assert float(share) == pytest.approx(shares[int(token)], abs=1e-5)
    browser.check()


def test_sections_without_matrices_are_python_s_too(browser, talk) -> None:
    driver = opened(browser, page(talk, "The king went home to", layer=1, head=2))
    ids = talk.encode("The king went home to")
    sizes = texts_of(driver, "#step-input tbody td:last-child")
    h = talk.hparams
    assert [int(each.replace(",", "")) for each in sizes[:5]] == [
        h.n_vocab, h.n_ctx, h.n_embd, h.n_head, h.n_layer,
    ]  # fmt: skip
    assert texts_of(driver, "#step-tokenization tbody td:last-child") == [str(i) for i in ids]
    pattern = inspect.trace(talk, ids, "attn.pattern")["blocks.1.attn.pattern"][:, -1]
    names = [talk.tokenizer.piece(i).shown for i in ids]
    for said, shares in zip(texts_of(driver, ".head-thumb span"), pattern, strict=True):
        assert said.startswith(f"“{names[-1]}” → “{names[int(shares.argmax())]}” ")
        share = said.rpartition(" ")[2].lstrip("><")
        assert number(share) == pytest.approx(shares.max(), abs=6e-4)
    out = talk.generate(ids, greedy=True)
    shown = texts_of(driver, "#step-loop .window li")
    assert shown[: len(ids) + 1] == [*names, talk.tokenizer.piece(out.steps[0].token).shown]
    browser.check()


WORKED = """for (const key of pellucid.steps) pellucid.walk.section(key);
const out = [];
for (const figure of document.querySelectorAll('.matrix-figure')) {
  const cells = figure.querySelectorAll('.cell');
  for (const at of [1, cells.length >> 1, cells.length - 2]) {
    const cell = cells[at];
    cell.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
    const line = figure.closest('section').querySelector('.worked');
    out.push([line.textContent, line.dataset.value, line.dataset.name,
      figure.closest('section').querySelector('.worked-about').textContent]);
  }
}
return out;"""


def evaluated(text: str) -> float | None:
    """a × b + … of a worked line; None where it says in words what it is."""
    plain = text.replace("−", "-").replace("×", "*").replace("∞", "inf").replace("bias ", "")
    plain = re.sub(r"√(\d+)", r"math.sqrt(\1)", plain)
    plain = plain.replace("e^(", "math.exp(")
    if not re.fullmatch(r"(?:[-+*/(). \d]|math\.(?:sqrt|exp)|gelu|silu)+", plain):
        return None

    def gelu(x: float) -> float:
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def silu(x: float) -> float:
        return x / (1 + math.exp(-x))

    return float(eval(plain, {"math": math, "gelu": gelu, "silu": silu}))


def check_worked(driver) -> list[str]:
    """Each line's arithmetic, done by Python, is the value that the cell holds; -> the lines."""
    lines = driver.execute_script(WORKED)
    done = []
    for text, value, name, about in lines:
        assert name in about
        assert about.endswith(("read", "derived"))
        parts = text.split(" = ")
        expected = number(value)
        if len(parts) == 3 and (own := evaluated(parts[1])) is not None:
            terms = parts[1].count("×") + 1
            # Three decimals of each factor; products of numbers up to about 20.
            assert own == pytest.approx(expected, abs=0.011 * terms + 0.002 * abs(expected)), text
            done.append(text)
        assert number(parts[-1].split(",")[0]) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    return done


def test_worked_cells_come_to_the_cell(browser, talk) -> None:
    driver = opened(browser, page(talk, "The judge went", layer=1, head=1))
    assert len(check_worked(driver)) > 45
    lit = driver.execute_script(
        "document.querySelector('#step-attention .symbol[data-role=query]').dispatchEvent("
        "new MouseEvent('mouseenter')); return [...document.querySelectorAll('.matrix-figure.lit')]"
        ".map(f => f.dataset.symbol)"
    )
    assert lit == ["q"]
    browser.check()


def texts_of(driver, selector: str) -> list[str]:
    return driver.execute_script(
        "for (const key of pellucid.steps) pellucid.walk.section(key);"
        f"return [...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
    )


def press(driver, step: str, label: str) -> None:
    driver.execute_script(
        f"document.querySelector(\"#step-{step} button[aria-label^='{label}']\").click()"
    )


def test_merges_look_up_and_loop_play(browser, talk) -> None:
    driver = opened(browser, page(talk))
    the = talk.tokenizer.merges(TEXT)[0]
    chips = "#step-tokenization .word .chip"
    assert texts_of(driver, chips) == ["The", "␣power", "␣clap", "per"]
    press(driver, "tokenization", "Rewind")
    assert texts_of(driver, chips) == list("The␣power␣clapper")
    press(driver, "tokenization", "One step:")
    assert texts_of(driver, chips)[:2] == ["T", "he"]
    assert texts_of(driver, ".merge-line") == [f"merge {the.merges[0].rank}: h + e → he"]
    waiting = "#step-embeddings [data-symbol=embed] tr.waiting"
    press(driver, "embeddings", "Rewind")
    assert len(texts_of(driver, waiting)) == 4
    press(driver, "embeddings", "One step:")
    assert len(texts_of(driver, waiting)) == 3
    assert "around row 259" in texts_of(driver, ".dictionary figcaption")[0]
    out = talk.generate(TEXT, greedy=True)
    assert out.text == " went straight to jail"
    slots = "#step-loop .window li"
    names = [talk.tokenizer.piece(token).shown for token in (*talk.encode(TEXT), *out.tokens[4:])]
    assert texts_of(driver, slots) == names
    assert "context window full (8 of 8 tokens)" in texts_of(driver, ".loop-said")[0]
    press(driver, "loop", "Rewind")
    assert texts_of(driver, slots) == [*names[:4], "·", "·", "·", "·"]
    press(driver, "loop", "One step:")
    assert texts_of(driver, slots)[4] == "␣went"
    driver.execute_script("document.querySelector('#step-loop .loop-bar > button').click()")
    assert driver.execute_script("return pellucid.walk.pass.text") == TEXT + " went"
    type_in(driver, "The crowd")
    assert "It ends: stop token" in texts_of(driver, "#step-loop .loop-said")[0]
    browser.check()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it begins with <|endoftext|>"),
        ("The power clapper went straight to jail and home", "by 4 tokens or more"),
        ("</script><img src=x onerror=alert(1)>", "Shorten the text"),
    ],
)
def test_what_the_model_cannot_take_as_it_is(browser, talk, text, says) -> None:
    driver = opened(browser, page(talk))
    type_in(driver, text)
    assert says in texts_of(driver, "#step-input .note")[0]
    ids = (talk.encode(text) or [talk.tokenizer.end_of_text])[: talk.hparams.n_ctx]
    assert check_matrices(driver, talk, ids) > 100
    assert driver.execute_script("return document.images.length") == 0
    browser.check()


def test_a_keyboard_goes_everywhere(browser, talk) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = opened(browser, page(talk))
    token = driver.find_element(By.CSS_SELECTOR, ".chips .chip[aria-pressed=true]")
    token.send_keys(Keys.HOME)
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert driver.execute_script("return pellucid.walk.place.position") == 1
    assert driver.switch_to.active_element.text == "␣power"
    assert texts_of(driver, "#step-attention tr.followed th")[0] == "␣power"
    cell = driver.find_element(
        By.CSS_SELECTOR, "#step-attention [data-symbol=pattern] .cell[tabindex='0']"
    )
    cell.send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    line = texts_of(driver, "#step-attention .worked")[0]
    pattern = inspect.trace(talk, TEXT, "attn.pattern")["blocks.0.attn.pattern"]
    assert line.startswith("pattern[2, 0] = e^(")
    assert number(line.split(" = ")[-1]) == pytest.approx(pattern[0, 2, 0], rel=1e-5)
    wide = driver.find_element(By.CSS_SELECTOR, "#step-mlp canvas.overview")
    wide.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    heads = "#step-mlp [data-symbol=pre] thead th"
    assert texts_of(driver, heads) == [str(j) for j in range(2, 14)]
    assert check_matrices(driver, talk, talk.encode(TEXT)) > 900
    browser.check()


def test_an_address_shows_the_same_again(browser, talk) -> None:
    driver = opened(browser, page(talk))
    type_in(driver, "The king & <queen>")
    driver.execute_script("pellucid.walk.choose({layer: 1, head: 2, position: 1})")
    address = driver.current_url
    assert "layer=1&head=2&position=1" in address
    driver.get("about:blank")
    driver.get(address)
    browser.wait("globalThis.pellucid !== undefined")
    assert driver.execute_script("return pellucid.walk.pass.text") == "The king & <queen>"
    assert driver.execute_script("return pellucid.walk.place") == {
        "layer": 1, "head": 2, "position": 1,
    }  # fmt: skip
    # Only what is near the screen is drawn again.
    drawn = driver.execute_script(
        "pellucid.walk.choose({head: 0}); return pellucid.walk.drawn.size"
    )
    assert 0 < drawn < len(STEPS)


def test_what_is_copied_says_what_it_is(browser, talk) -> None:
    driver = opened(browser, page(talk, layer=1, head=1))
    copied = driver.execute_script(
        "const texts = []; Object.defineProperty(navigator, 'clipboard', {value: {writeText: "
        "async (text) => texts.push(text)}}); const section = pellucid.walk.section('attention');"
        "section.querySelector('[data-symbol=pattern] .copy').click();"
        "section.querySelector('[data-symbol=v] .cell').click();"
        "section.querySelector('.workline .copy').click(); return texts"
    )
    whole = json.loads(copied[0])
    assert (whole["name"], whole["layer"], whole["head"]) == ("blocks.1.attn.pattern", 1, 1)
    assert (whole["model"], whole["text"], whole["kind"]) == ("talk", TEXT, "read")
    seen = inspect.trace(talk, TEXT)
    np.testing.assert_allclose(whole["values"], seen["blocks.1.attn.pattern"][1], atol=1e-6)
    value, what = copied[1].split("\t")
    assert float(value) == pytest.approx(seen["blocks.1.attn.v"][0, 1, 0], rel=1e-5)
    assert what == "talk · blocks.1.attn.v · layer 1 · head 1 · position 0 “The” · number 0 · read"
    browser.check()


@pytest.fixture(scope="module")
def larger(talk):
    """More parameters than a page runs."""
    hparams = HParams(talk.hparams.n_vocab, 96, 96, 12, 3)
    model = Model.of(hparams, initialise(hparams, 3), talk.model.backend)
    return GPT(model, talk.tokenizer, name="larger")


def test_other_models_on_recorded_numbers(browser, larger) -> None:
    ids = larger.encode(" power clap" * 5)
    html = page(larger, ids, layer=1, head=7, max_tokens=3)
    driver = opened(browser, html)
    assert texts_of(driver, ".text-box") == []
    assert check_matrices(driver, larger, ids, layer=1, head=7) > 900
    driver.execute_script("pellucid.walk.choose({layer: 2})")
    assert "is not in this file. Write the page anew" in texts_of(driver, "#step-mlp .note")[0]
    browser.check()


@pytest.mark.parametrize("changes", [{"qk_norm": True}, {"tied": True, "qkv_bias": True}])
def test_a_llama_by_its_own_values(browser, changes) -> None:
    """Norms that divide alone, turned queries and keys, heads that share keys, gates, an output
    layer of its own: what a page must know of them comes with the numbers."""
    gpt = llama_gpt(**changes)
    driver = opened(browser, page(gpt, "the cat sat", layer=1, head=3, max_tokens=2))
    assert check_matrices(driver, gpt, gpt.encode("the cat sat"), layer=1, head=3) > 2000
    worked = check_worked(driver)
    assert len(worked) > 30
    assert all(any(x in line for line in worked) for x in ("turn(", "silu(", " / "))
    names = {each["name"] for each in driver.execute_script(MATRICES)}
    assert {f"blocks.1.attn.rot_{x}" for x in "qk"} | {"blocks.1.mlp.pre_linear"} < names
    assert ("blocks.1.attn.q_norm.out" in names) == gpt.hparams.qk_norm
    assert ("lm_head.weight" in names) != gpt.hparams.tied
    assert "pos_embed" not in names
    said = " ".join(texts_of(driver, ".telling"))
    assert "turned" in said
    assert "4 heads of queries share 2" in said
    assert not re.search("deviation|GPT-2 norms|gelu|wpe|nothing else is different", said)
    browser.check()


def test_a_model_that_has_ids_only(browser, talk) -> None:
    hparams = HParams(20, 6, 4, 2, 1)
    model = Model.of(hparams, initialise(hparams, 5), talk.model.backend)
    bare = GPT(model, IdsOnly(20, "bare"), name="bare")
    driver = opened(browser, page(bare, [3, 1, 4]))
    assert check_matrices(driver, bare, [3, 1, 4]) > 100
    assert texts_of(driver, ".chips .chip") == ["␣#3", "␣#1", "␣#4"]
    browser.check()


def test_recorded_pages_are_bounded(browser, larger) -> None:
    ids = larger.encode(" power" * 90)
    way = inspect.walk(larger, ids, position=60, max_tokens=1)
    for n_bytes in (PAGE_BYTES, 1 << 17):
        html = inspect.walk_page(larger, way, title="long", n_bytes=n_bytes)
        assert len(html) < n_bytes * 4 / 3 + 250_000
    driver = opened(browser, html)
    first = driver.execute_script("return pellucid.walk.pass.first")
    n = driver.execute_script("return pellucid.walk.pass.pieces.length")
    assert first > 0
    assert first + n == 61
    assert check_matrices(driver, larger, ids, first=first, n=n) > 300
    assert "positions" in texts_of(driver, "#step-input .note")[0]
    browser.check()


def test_the_command_writes_it(browser, talk, tmp_path) -> None:
    path = tmp_path / "page.html"
    run("walk", TEXT, "--html", path, "--model", "talk", "--head", "2")
    html = path.read_text(encoding="utf-8")
    assert html == page(talk, head=2)
    driver = opened(browser, html)
    assert driver.title == TEXT
    assert driver.execute_script("return pellucid.walk.place") == {
        "layer": 0, "head": 2, "position": 3,
    }  # fmt: skip
    for width in (390, 1280, 1920):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        too_wide = driver.execute_script(
            "const w = document.documentElement.clientWidth; return [...document.querySelectorAll("
            "'body *')].filter(e => !e.closest('.scroll, .matrix-scroll, .chips, .map ol') && "
            "e.getBoundingClientRect().right > w + 1).map(e => e.className)"
        )
        assert too_wide == [], width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.check()

"""The HTML of findings, opened in a real browser: nothing fetched, nothing wrong, same numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from pellucid import inspect as ask
from pellucid.draw.document import FRAGMENT_BYTES, PAGE_BYTES
from pellucid.inspect import fragment, page
from pellucid.sampling import Sampling
from pellucid.visible import visible
from support.program import run
from support.skips import needs

TEXT = "The power clapper went"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\n",
    " ",
    "\ud83d",
)


@pytest.fixture(scope="session")
def found(talk):
    """One finding of every kind."""
    labels = ask.head_labels(talk, threshold=0.05)
    return {
        "Ablation": ask.ablate(talk, TEXT, heads=[(0, 0)]),
        "AttentionSummary": ask.attention(talk, TEXT),
        "Attribution": ask.attribute(talk, TEXT, versus=" out"),
        "Cost": ask.estimate(talk, TEXT),
        "HeadLabel": labels.labels[0],
        "HeadLabels": labels,
        "LogitLens": ask.logit_lens(talk, TEXT),
        "Neighbours": ask.neighbours(talk, " power"),
        "Patching": ask.patch_each(talk, "The power clapper", "The judge went to"[:17]),
        "Patching heads": ask.patch_each(talk, [1, 2, 3], [1, 4, 3], "heads"),
        "Prediction": ask.prediction(talk, TEXT),
        "ResidualNorms": ask.residual_norms(talk, TEXT),
        "Steered": ask.steered(talk, "The", towards=" king", layer=1, strength=4, greedy=True),
        "Sweep heads": ask.ablate_each(talk, TEXT),
        "Sweep mlps": ask.ablate_each(talk, TEXT, "mlps"),
        "Sweep positions": ask.ablate_each(talk, TEXT, "positions"),
        "Step": ask.walk(talk, TEXT).steps[4],
        "Trace": ask.trace(talk, TEXT),
        "View": ask.view(talk, TEXT),
        "Walk": ask.walk(talk, TEXT),
        "Why": ask.why(talk, "The power clapper went straight to", " jail"),
    }


KINDS = (
    "Ablation", "AttentionSummary", "Attribution", "Cost", "HeadLabel", "HeadLabels", "LogitLens",
    "Neighbours", "Patching", "Patching heads", "Prediction", "ResidualNorms", "Steered",
    "Sweep heads", "Sweep mlps", "Sweep positions", "Step", "Trace", "View",
    "Walk", "Why",
)  # fmt: skip


FIRST = {"View": "Prediction", "Walk": "Step"}  # what a page of several begins with


def numbers_of(driver, path: str) -> np.ndarray:
    """An array out of the page, by the JavaScript path of its packed form."""
    flat, shape = driver.execute_script(
        f"const n = pellucid.numbers(pellucid.sections{path}); return [[...n.flat].map(x => "
        "Number.isFinite(x) ? x : String(x)), n.shape]"
    )
    return np.asarray([float(x.replace("Infinity", "inf").replace("NaN", "nan"))
                       if isinstance(x, str) else x for x in flat]).reshape(shape)  # fmt: skip


def data_values(driver, selector: str, name: str = "value") -> list[float]:
    found = driver.execute_script(
        f"return [...document.querySelectorAll({json.dumps(selector)})].map(e => e.dataset.{name})"
    )
    return [float(value) for value in found]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_opens_cleanly(browser, found, kind) -> None:
    assert set(KINDS) == set(found)
    driver = browser.show(page(found[kind], title="A <title>"))
    assert driver.title == "A <title>"
    assert driver.execute_script("return pellucid.sections[0].kind") == FIRST.get(
        kind, kind.split()[0]
    )
    for width in (360, 1400):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        too_wide = driver.execute_script(
            "const w = document.documentElement.clientWidth; return [...document.querySelectorAll("
            "'body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > w)"
            ".map(e => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`)"
        )
        assert too_wide == [], width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    # Every tab of every picture can be drawn, in light and in dark.
    driver.execute_script("document.querySelectorAll('button.option').forEach(b => b.click())")
    driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.see_all()
    browser.check()


def test_attention_in_the_page_is_the_models(browser, found) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    finding = found["AttentionSummary"]
    driver = browser.show(page(finding))
    rows, columns = np.tril_indices(len(finding.ids))
    whole = numbers_of(driver, "[0].pictures[0].pattern")
    np.testing.assert_allclose(whole, finding.pattern[..., rows, columns], atol=1e-6)
    driver.find_elements(By.CSS_SELECTOR, ".thumb")[4].click()  # layer 1, head 1
    assert driver.find_element(By.CSS_SELECTOR, ".single h4").text == "Head 1 of layer 1 (L1H1)"
    canvas = driver.find_element(By.CSS_SELECTOR, ".single canvas.heat")
    canvas.send_keys(Keys.END, Keys.ARROW_UP, Keys.ARROW_LEFT)
    line = driver.find_element(By.CSS_SELECTOR, ".single .readout")
    query, key = map(int, line.get_attribute("data-at").split(","))
    assert (query, key) == (3, 2)
    value = float(line.get_attribute("data-value"))
    assert value == pytest.approx(finding.pattern[1, 1, 3, 2], abs=1e-6)
    shown = data_values(driver, ".single ul.bars li")
    expected = np.sort(finding.pattern[1, 1, 3, :4])[::-1]
    assert shown == pytest.approx(expected.tolist(), abs=1e-6)
    browser.check()


def test_lens_cells_are_the_probabilities(browser, found) -> None:
    finding = found["LogitLens"]
    driver = browser.show(page(finding))
    browser.wait("document.querySelectorAll('.lenscell').length > 0")
    top = np.exp(finding.top_logprobs[:, :, 0]).T.ravel()  # column by column, as in a terminal
    assert data_values(driver, ".lenscell") == pytest.approx(top.tolist(), abs=1e-6)
    last = np.exp(finding.top_logprobs[-1, -1])
    assert data_values(driver, ".detail li") == pytest.approx(last.tolist(), abs=1e-6)
    driver.execute_script("document.querySelectorAll('.choice button')[4].click()")
    own = np.exp(finding.target_logprobs).T.ravel()
    assert data_values(driver, ".lenscell") == pytest.approx(own.tolist(), abs=1e-6)
    browser.check()


def test_tables_on_a_phone_scroll_inside_themselves(browser, found) -> None:
    """Numbers to the right, as in a terminal; nothing cut, and the followed row keeps its name."""
    driver = browser.show(page(found["Walk"], subtitle="model talk"))
    assert driver.execute_script("return document.querySelector('.subtitle').innerText") == (
        "model talk"
    )
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    tables = driver.execute_script(
        "return [...document.querySelectorAll('table.table')].map(t => { const s = t.parentElement;"
        "s.scrollLeft = 1e6; const end = t.getBoundingClientRect().right; "
        "const name = t.querySelector('tbody th'); return {"
        "over: s.scrollWidth > s.clientWidth, scrolls: getComputedStyle(s).overflowX, "
        "inside: s.getBoundingClientRect().right <= innerWidth && end <= innerWidth, "
        "named: !name || name.getBoundingClientRect().left >= 0, "
        "cells: [...t.querySelectorAll('td')].filter(c => /^[<>]?[−+]?[\\d,.]+%?$/.test("
        "c.textContent)).map(c => getComputedStyle(c).textAlign)}; })"
    )
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert any(table["over"] for table in tables)
    for table in tables:
        assert (table["scrolls"], table["inside"], table["named"]) == ("auto", True, True)
        assert set(table["cells"]) <= {"right"}
    browser.check()


def test_bars_maps_and_strips_hold_the_numbers(browser, found) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = browser.show(page([found[kind] for kind in KINDS]))
    sections = driver.execute_script("return pellucid.sections.map(s => s.kind)")

    def of(kind: str, nth: int = 0) -> str:
        places = [i for i, each in enumerate(sections) if each == kind]
        return f"[{places[nth]}].pictures[0]"

    def same(path: str, expected: np.ndarray) -> None:
        np.testing.assert_allclose(numbers_of(driver, path), expected, rtol=1e-6, atol=1e-9)

    share, sweep, patching = found["Attribution"], found["Sweep heads"], found["Patching"]
    by_part = np.column_stack([share.heads, share.mlps, share.attention_biases])
    same(f"{of('Attribution')}.pictures.head.values", by_part)
    same(f"{of('Attribution')}.pictures.token.values", share.by_token)
    layers = [share.embed, share.pos_embed, *share.by_layer, share.norm_bias]
    same(f"{of('Attribution')}.pictures.layer.values", np.asarray(layers))
    same(f"{of('Sweep')}.pictures.KL.values", sweep.divergence)
    same(f"{of('Sweep', 1)}.pictures.logit.values", found["Sweep mlps"].logit_change)
    positions = found["Sweep positions"].logprob_change
    same(f"{of('Sweep', 2)}.pictures['log-probability'].values", positions)
    same(f"{of('Patching')}.pictures.recovered.values", patching.recovered)
    same(f"{of('ResidualNorms')}.pictures.stream.values", found["ResidualNorms"].stream)
    same(f"{of('HeadLabels')}.pictures.induction.values", found["HeadLabels"].scores["induction"])
    same(f"{of('Neighbours')}.values", found["Neighbours"].similarity)
    place = sections.index("Attribution")
    shown = data_values(driver, f"#section-{place} .bars li")
    parts = sorted((value for _, value in share.parts()), key=lambda value: -value)
    assert shown == pytest.approx(parts, rel=1e-6)
    place = sections.index("Ablation")
    ablation = found["Ablation"]
    after = data_values(driver, f"#section-{place} .bars li", "after")
    logits = ablation.logits_after.astype(np.float64)  # saturated: they are shown themselves
    above = logits[ablation.before[0].token] - logits.mean()
    assert after[0] == pytest.approx(float(above), abs=1e-6)
    place, steering = sections.index("Steered"), found["Steered"]
    tokens = {x.token for x in (*steering.before, *steering.after)}
    first = [
        Sampling().stages(logits)[0].probabilities
        for logits in (steering.logits_before, steering.logits_after)
    ]
    tokens = sorted(tokens, key=lambda i: -max(share[i] for share in first))[:8]
    for name, shares in zip(("values", "after"), first, strict=True):
        given = numbers_of(driver, f"[{place}].pictures[1].{name}")
        np.testing.assert_allclose(sorted(given), sorted(shares[tokens]), rtol=1e-6, atol=1e-9)
    # One heat map by hand: the readout of every cell.
    place = sections.index("Sweep")
    heat = driver.find_element(By.CSS_SELECTOR, f"#section-{place} canvas.heat")
    line = driver.find_element(By.CSS_SELECTOR, f"#section-{place} .readout")
    heat.send_keys(Keys.HOME, *[Keys.ARROW_UP] * sweep.logprob_change.shape[0])
    for row in range(sweep.logprob_change.shape[0]):
        heat.send_keys(Keys.HOME)
        for column in range(sweep.logprob_change.shape[1]):
            assert line.get_attribute("data-at") == f"{row},{column}"
            value = float(line.get_attribute("data-value"))
            assert value == pytest.approx(sweep.lead_change[row, column], rel=1e-6, abs=1e-9)
            heat.send_keys(Keys.ARROW_RIGHT)
        heat.send_keys(Keys.ARROW_DOWN)
    browser.check()


def test_trace_values_and_statistics(browser, found) -> None:
    trace = found["Trace"]
    driver = browser.show(page(trace))
    for i, (name, array) in enumerate(trace.items()):
        np.testing.assert_allclose(
            numbers_of(driver, f"[0].pictures[0].rows[{i}].values"), array, rtol=1e-6, err_msg=name
        )
    shown = driver.execute_script(
        "return [...document.querySelectorAll('[data-statistics]')].map(e => e.dataset.statistics)"
    )
    for text, array in zip(shown, trace.values(), strict=True):
        finite = array[np.isfinite(array)]
        low, mean, high, _ = map(float, text.split(","))
        expected = (finite.min(), finite.mean(dtype=np.float64), finite.max())
        assert (low, mean, high) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # A pattern is on a scale from 0; what has signs, around it.
    for name, low in (("blocks.0.attn.pattern", "0"), ("blocks.0.attn.q", "−")):
        of = f"details[data-name='{name}']"
        driver.execute_script(f'document.querySelector("{of}").open = true')
        browser.wait(f'document.querySelector("{of} .legend span") !== null')
        legend = driver.execute_script(f'return document.querySelector("{of} .legend").innerText')
        assert legend.startswith(low)
    browser.check()


SETTINGS = [(1.0, None, None), (0.7, None, None), (1.5, 10, None), (1.0, None, 0.9), (2.0, 40, 0.5),
            (0.0, None, None), (0.05, 3, 0.99), (1.0, 1, None), (1.0, None, 0.0)]  # fmt: skip


def test_sliders_give_samplings_distribution(browser, found) -> None:
    rng = np.random.default_rng(5)
    logits = (rng.normal(size=400) * 2).astype(np.float32)
    logits[7] = logits[3]  # a tie
    logits[11] = -np.inf
    top = tuple(int(i) for i in np.argsort(-logits, kind="stable")[:50])
    texts = tuple(f" t{i}" for i in top)
    finding = type(found["Prediction"])(
        ids=(1,),
        tokens=("a",),
        text="a",
        position=0,
        logits=logits,
        top_ids=top,
        top_tokens=texts,
    )
    driver = browser.show(page(finding))
    for temperature, top_k, top_p in SETTINGS:
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        expected = sampling.stages(logits)[-1].probabilities
        for name, value in (("temperature", temperature), ("top-k", top_k or 101),
                            ("top-p", 1 if top_p is None else top_p)):  # fmt: skip
            driver.execute_script(
                "const e = document.querySelector(`input[name='${arguments[0]}']`);"
                "e.value = arguments[1]; e.dispatchEvent(new Event('input'))",
                name,
                value,
            )
        shown = data_values(driver, ".distribution li")
        assert shown == pytest.approx(expected[list(top[:12])].tolist(), abs=1e-6), sampling
        assert data_values(driver, "output[data-left]", "left") == [np.count_nonzero(expected)]
        whole = driver.execute_script(
            "return [...pellucid.probabilities(pellucid.numbers(pellucid.sections[0].pictures[0]"
            ".logits).flat, arguments[0])]",
            {"temperature": temperature, "topK": top_k, "topP": top_p},
        )
        np.testing.assert_allclose(whole, expected, atol=1e-12)
    browser.check()


def attention_of(tokens, n_layer: int = 1, n_head: int = 1) -> ask.AttentionSummary:
    n = len(tokens)
    rng = np.random.default_rng(0)
    pattern = np.tril(rng.random((n_layer, n_head, n, n), dtype=np.float32)) ** 8
    pattern += np.eye(n, dtype=np.float32) * 1e-3
    pattern /= pattern.sum(-1, keepdims=True)
    zeros = np.zeros((n_layer, n_head))
    return ask.AttentionSummary(
        ids=tuple(range(n)),
        tokens=tuple(tokens),
        text="".join(tokens),
        layers=tuple(range(n_layer)),
        heads=tuple(range(n_head)),
        pattern=pattern,
        strongest=pattern.argmax(-1),
        entropy=zeros,
        distance=zeros,
    )


def test_hostile_tokens_are_shown_as_text(browser) -> None:
    neighbours = ask.Neighbours(
        ids=(1, 2, 3, 4, 5), tokens=HOSTILE, similarity=np.linspace(1, 0.2, 5), by="cosine"
    )
    findings = [attention_of(HOSTILE), neighbours]
    driver = browser.show(page(findings, title=HOSTILE[0]))
    shown = driver.execute_script(
        "return [...document.querySelectorAll('.single .strip .token')].map(e => e.textContent)"
    )
    assert shown[:2] == [visible(token) for token in HOSTILE[:2]]
    assert shown[2:4] == ["⏎", "␣"]
    assert driver.execute_script("return document.images.length") == 0
    assert driver.execute_script("return document.scripts.length") == 2
    assert driver.find_element("css selector", "h1").text == HOSTILE[0]
    browser.check()
    document = fragment(neighbours)
    assert document.count("<iframe") == document.count("</iframe>") == 1


def test_fragments_side_by_side(browser, found, talk) -> None:
    """As JupyterLab puts them in: through innerHTML, which runs no script of the outer document."""
    kinds = ("AttentionSummary", "Prediction", "AttentionSummary")
    pieces = [found[kind]._repr_html_() for kind in kinds]
    as_text = json.dumps(pieces).replace("<", "\\u003c")
    outer = (
        '<!DOCTYPE html><meta charset="utf-8"><title>notebook</title><style>li{color:red}</style>'
        f'<body data-jp-theme-light="false"><script>for (const html of {as_text}) {{'
        "const cell = document.createElement('div'); cell.innerHTML = html;"
        "document.body.append(cell)}</script>"
    )
    driver = browser.show(outer, all_of_it=False)
    inside = "[...document.querySelectorAll('iframe')].map(f => f.contentWindow)"
    driver.execute_script("document.querySelectorAll('iframe').forEach(f => f.loading = 'eager')")
    browser.wait(f"{inside}.every(w => w.pellucid)")
    driver.execute_script("document.body.style.zoom = 0.1")
    browser.wait(f"{inside}.every(w => w.document.querySelector('section[data-drawn]'))")
    driver.execute_script("document.body.style.zoom = ''")
    kinds_seen = driver.execute_script(f"return {inside}.map(w => w.pellucid.sections[0].kind)")
    assert kinds_seen == list(kinds)
    themes = f"return {inside}.map(w => w.document.documentElement.dataset.theme)"
    assert driver.execute_script(themes) == ["dark"] * 3
    # A choice in one leaves the other as it was.
    driver.execute_script(f"{inside}[0].document.querySelectorAll('.thumb')[3].click()")
    titles = driver.execute_script(
        f"return {inside}.map(w => w.document.querySelector('.single h4')?.textContent)"
    )
    assert titles == ["Head 0 of layer 1 (L1H0)", None, "Head 0 of layer 0 (L0H0)"]
    # Each frame is as high as what it holds.
    browser.wait(
        f"{inside}.every(w => Math.abs(w.frameElement.clientHeight - "
        "w.document.body.getBoundingClientRect().height) <= 1)"
    )
    browser.check()


def test_notebooks_get_the_fragment(found) -> None:
    finding = found["Neighbours"]
    assert finding._mime_() == ("text/html", fragment(finding))
    assert "\n" not in fragment(finding)  # marimo joins lines
    needs("IPython")
    from IPython.core import formatters

    bundle, _ = formatters.DisplayFormatter().format(finding)
    assert bundle["text/html"] == fragment(finding)


# How often the page calls the canvas and the document.
COUNTING = """
globalThis.work = {canvas: 0, document: 0};
for (const [type, kind] of [[CanvasRenderingContext2D, 'canvas'], [Document, 'document']])
  for (const [name, {value}] of Object.entries(Object.getOwnPropertyDescriptors(type.prototype)))
    if (typeof value === 'function' && name !== 'constructor')
      type.prototype[name] = function (...rest) {
        work[kind] += 1;
        return value.apply(this, rest);
      };
"""


def test_long_inputs_are_bounded_and_drawn_at_once(browser) -> None:
    finding = attention_of([f" t{i}" for i in range(1024)], 2, 4)
    whole = page(finding)
    for html, most in ((whole, PAGE_BYTES), (fragment(finding), FRAGMENT_BYTES)):
        assert len(html) < most * 4 / 3 + 400_000
    counting = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": COUNTING}
    )
    browser.driver.execute_cdp_cmd("Performance.enable", {})
    driver = browser.show(whole, all_of_it=False)
    browser.wait("[...document.querySelectorAll('.thumb canvas')].some(c => c.width > 1)", 60)
    metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    layouts = next(metric["value"] for metric in metrics if metric["name"] == "LayoutCount")
    driver.execute_cdp_cmd("Performance.disable", {})
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", counting)
    work = driver.execute_script("return work")
    # A map is one image, not a rectangle a cell; a token is one element; nothing is laid out twice.
    assert 8 <= work["canvas"] < 200
    assert 1024 < work["document"] < 2 * 1024
    assert 0 < layouts <= 10
    browser.see_all()
    note = driver.find_element("css selector", ".note").text
    assert "largest" in note
    assert "attention(gpt, text" in note  # how to get the rest
    weights = driver.execute_script(
        "return [...pellucid.numbers(pellucid.sections[0].pictures[0].weights).below(1, 3, 900)]"
    )
    expected = np.sort(finding.pattern[1, 3, 900])[::-1][: len(weights)]
    np.testing.assert_allclose(np.sort(weights)[::-1], expected, atol=1e-6)
    browser.check()


def test_large_traces_say_what_they_leave_out(found) -> None:
    trace = found["Trace"]
    large = {**trace.arrays, "logits": np.zeros((5, 600_000), np.float32)}
    html = page(replace(trace, arrays=large))
    assert len(html) < PAGE_BYTES
    assert "trace['logits']" in html


def test_scales_run_one_way_in_lightness() -> None:
    """What makes them readable without colour."""
    source = (files("pellucid.web") / "picture" / "colour.js").read_text(encoding="utf-8")
    scales = re.findall(r"(sequential|diverging): \[(.*?)\]", source)
    assert len(scales) == 4
    for kind, text in scales:
        stops = re.findall(r"#(\w\w)(\w\w)(\w\w)", text)
        light = np.asarray([[int(c, 16) for c in stop] for stop in stops]) @ (
            0.2126,
            0.7152,
            0.0722,
        )
        half = len(light) // 2 + 1 if kind == "diverging" else len(light)
        for part in (light[:half], light[-half:]):
            change = np.diff(part)
            assert (change > 0).all() or (change < 0).all()


ROOMS = ("machine", "page", "picture", "talk", "walk")


def test_web_parts_are_ours_and_complete() -> None:
    folder = files("pellucid.web")
    scripts = [each for room in ROOMS for each in (folder / room).iterdir()]
    assert len(scripts) > 10
    for each in scripts:
        text = each.read_text(encoding="utf-8")
        assert "http" not in text or each.name == "frames.js"  # the works cited
        assert "innerHTML" not in text
        assert not re.search(r"(^|\s)//", text), "marimo joins lines: no // comments"
        whole = [line.count("`") % 2 == 0 for line in text.splitlines()]
        assert all(whole) or each.name.endswith(".css"), "joined: no template over several lines"


def test_view_from_the_command_line(browser, tmp_path) -> None:
    file = tmp_path / "page.html"
    run("view", TEXT, "--html", file)
    driver = browser.show(file.read_text(encoding="utf-8"))
    kinds = driver.execute_script("return pellucid.sections.map(s => s.kind)")
    assert kinds == ["Prediction", "AttentionSummary", "LogitLens", "Attribution",
                     "ResidualNorms", "HeadLabels"]  # fmt: skip
    browser.check()


def test_residual_norms_are_the_lengths_of_the_stream(talk, found) -> None:
    norms, trace = found["ResidualNorms"], found["Trace"]
    for layer in range(talk.hparams.n_layer):
        for mine, name in ((norms.stream[layer + 1], "resid_post"), (norms.mlps[layer], "mlp_out"),
                           (norms.attention[layer], "attn_out")):  # fmt: skip
            expected = np.sqrt((trace[f"blocks.{layer}.{name}"].astype(np.float64) ** 2).sum(-1))
            np.testing.assert_allclose(mine, expected, rtol=1e-5)
    start = trace["embed"].astype(np.float64) + trace["pos_embed"]
    np.testing.assert_allclose(norms.stream[0], np.sqrt((start**2).sum(-1)), rtol=1e-5)

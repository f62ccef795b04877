"""The tour: not stale, its numbers an independent computation's, its code does what it says."""

from __future__ import annotations

import html
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pellucid import embedded
from pellucid.draw.notation import percent
from support import oracle
from support.program import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
TEXT = "The power clapper"


@pytest.fixture(scope="module")
def seen(talk) -> dict[str, np.ndarray]:
    """Every value from the formulas alone; nothing of the package but its weights and tokens."""
    tensors = load_file(embedded.FOLDER / "talk" / "model.safetensors")
    tensors = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    return oracle.forward(talk.encode(TEXT), tensors, 3, 2)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def arrays(title: str) -> list[np.ndarray]:
    """Every array written as on the slides, [ 1.00, … ]."""
    found = re.findall(r"\[ ([-\d., ]+) \]", section(title))
    return [np.array([float(x) for x in row.split(",")]) for row in found]


def same(written: list[np.ndarray], *expected: np.ndarray) -> None:
    """The arrays of a section are these rows, as far as two decimals go."""
    rows = [row for array in expected for row in np.atleast_2d(array)]
    assert len(written) == len(rows)
    for one, other in zip(written, rows, strict=True):
        np.testing.assert_allclose(one, other, atol=0.00501, rtol=0)


def percents(text: str) -> list[float]:
    """What is below 1% is half of that."""
    return [float(x) / 100 for x in re.findall(r"([\d.]+)%", text.replace("<1%", "0.5%"))]


def test_it_is_what_its_generator_writes() -> None:
    assert runpy.run_path(str(ROOT / "docs" / "generate" / "tour.py"))["page"]() == PAGE


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    named = load_file(embedded.FOLDER / "talk" / "model.safetensors")
    return {name.removeprefix("transformer."): value for name, value in named.items()}


def test_embeddings_and_w_output(seen, tensors) -> None:
    same(arrays("3. Tokens ⇒ embeddings"), seen["embed"])
    near = tensors["wte.weight"][311:316]
    same(arrays("4. Look-up"), near, seen["pos_embed"], seen["blocks.0.resid_pre"])
    concat = seen["blocks.0.attn.z"].reshape(4, -1)
    at = "blocks.0"
    same(arrays("7. concat · W_Output"), concat, seen[f"{at}.attn_out"], seen[f"{at}.resid_mid"])
    layer = arrays("8. Repeat for each of the 2 layers")
    same(layer, seen[f"{at}.mlp_out"], seen[f"{at}.resid_post"])
    same(arrays("9. Output layer"), seen["ln_final.out"])


def test_self_attention(seen, tensors) -> None:
    """Everything that the step shows, its worked cells too."""
    q, k, v, z = (seen[f"blocks.0.attn.{name}"][:, 0] for name in "qkvz")
    x, share = seen["blocks.0.ln1.out"], seen["blocks.0.attn.pattern"][0, -1]
    column = tensors["h.0.attn.c_attn.weight"][:, 0]
    same(
        arrays("5. Self-attention: layer 0, head 0"),
        x, q, np.stack([x[-1], column, x[-1] * column]),
        k, v, np.stack([q[-1], k[1], q[-1] * k[1]]),
        z, np.stack([share, v[:, 0], share * v[:, 0]]),
    )  # fmt: skip


def test_who_looks_where(seen) -> None:
    for layer, head in np.ndindex(2, 3):
        (line,) = re.findall(
            rf"^\| L{layer}H{head} \|.*$", section("6. Heads: all 3 of layer 0"), re.MULTILINE
        )
        row = seen[f"blocks.{layer}.attn.pattern"][head, -1]
        np.testing.assert_allclose(percents(line), row, atol=0.00501)
    for i, name in enumerate(("The", "␣power", "␣clap", "per")):
        lines = re.findall(
            rf"^\| `{name}` \| (.*) \|$",
            section("5. Self-attention: layer 0, head 0"),
            re.MULTILINE,
        )
        rows = [[0.0 if x == "·" else float(x) for x in line.split(" | ")] for line in lines]
        for row, kind in zip(rows, ("qk", "scores", "pattern"), strict=True):
            values = seen[f"blocks.0.attn.{kind}"][0, i]
            values = np.where(np.isinf(values), 0.0, values)
            np.testing.assert_allclose(row, values, atol=0.00501)


def test_what_it_predicts(talk, seen) -> None:
    logits = seen["logits"][-1]
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    top = np.argsort(-shares)[:8]
    cells = re.findall(r"^\| (␣\w+) \| (\S+%) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert [name.replace("␣", " ") for name, _, _ in cells] == [
        talk.tokenizer.decode([int(i)]) for i in top
    ]
    np.testing.assert_allclose([float(logit) for _, _, logit in cells], logits[top], atol=0.00501)
    assert [html.unescape(share) for _, share, _ in cells] == [
        percent(float(p)) for p in shares[top]
    ]


def test_lengths_of_x(seen) -> None:
    streams = [seen["blocks.0.resid_pre"], *(seen[f"blocks.{i}.resid_post"] for i in range(2))]
    text = section("8. Repeat for each of the 2 layers")
    rows = re.findall(r"^\| (?:embed|L\d) \| ([\d.| ]+) \|$", text, re.MULTILINE)
    lengths = [[float(x) for x in row.split(" | ")] for row in rows]
    expected = [np.sqrt((x**2).sum(-1)) for x in streams]
    np.testing.assert_allclose(lengths, expected, atol=0.0501)


def test_float32_differs_by_less_than_it_says(talk, seen) -> None:
    (most,) = re.findall(r"float32, the default, differs by less than (0\.\d+)", PAGE)

    def tap(name: str, value: np.ndarray) -> np.ndarray:
        np.testing.assert_allclose(value[0], seen[name], atol=float(most), rtol=0, err_msg=name)
        return value

    talk.forward(talk.encode(TEXT), tap=tap)


def test_an_equality_that_does_not_hold_is_refused() -> None:
    checked = runpy.run_path(str(ROOT / "docs" / "generate" / "tour.py"))["checked"]
    assert checked("one is one", np.ones(2), 1.0, exactly=True).endswith("(exactly).")
    with pytest.raises(AssertionError, match="one is two"):
        checked("one is two", np.ones(2), 2.0)
    with pytest.raises(AssertionError, match="nearly"):
        checked("nearly", np.ones(2), 1 + 1e-12, exactly=True)


def test_python_on_the_page_runs_and_says_what_it_claims() -> None:
    """One after another, as a reader would."""
    scope: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    claims = 0
    for block in blocks:
        for line in re.finditer(r"^(.+?)\s+# => (.+)$", block, flags=re.MULTILINE):
            block = block.replace(line[0], f"assert repr({line[1]}) == {line[2]!r}, ({line[1]})")
            claims += 1
        exec(compile(block, "tour.md", "exec"), scope)
    assert claims > 8


# Each command on the page shows what stands above it. That all of them run and exit with 0 is held
# by test_docs_commands.py.


def printed(title: str) -> str:
    """What a section's command prints."""
    (command,) = re.findall(r"^pellucid (.+)$", section(title), flags=re.MULTILINE)
    return run(*shlex.split(command), width=80).replace("−", "-")


def printed_rows(title: str) -> list[np.ndarray]:
    """The rows of numbers that it prints."""
    rows = re.findall(r"^\d* ?\S+((?: +[-+]?\d+\.\d\d)+)", printed(title), flags=re.MULTILINE)
    return [np.array(row.split(), float) for row in rows]


def test_its_commands_print_its_tokens() -> None:
    shown, told = section("2. Tokenization"), printed("2. Tokenization")
    for token, number in re.findall(r"^\| \d \| (\S+) \| (\d+) \|$", shown, flags=re.MULTILINE):
        assert re.search(rf"^ +{number}  {token}$", told, flags=re.MULTILINE)
    merges = re.findall(r"^\| (\d+) \| (\S+) (\S+) \| (.+) \|$", shown, flags=re.MULTILINE)
    assert len(merges) > 10
    for rank, one, other, parts in merges:
        assert f"{rank:>7}  {parts.replace(' ', '·')}   ({one} + {other})\n" in told


@pytest.mark.parametrize(
    ("title", "at"), [("3. Tokens ⇒ embeddings", 0), ("7. concat · W_Output", 4)]
)
def test_its_commands_print_its_arrays(title: str, at: int) -> None:
    told = printed_rows(title)
    assert len(told) == 4
    for row, shown in zip(told, arrays(title)[at:], strict=False):
        np.testing.assert_allclose(row, shown[: len(row)], atol=0.0101, rtol=0)


def test_its_commands_print_where_heads_look() -> None:
    title = "5. Self-attention: layer 0, head 0"
    told = printed_rows(title)
    shown = re.findall(r"^\| `\S+` \| ([01].*) \|$", section(title), flags=re.MULTILINE)[-4:]
    for row, cells in zip(told, shown, strict=True):
        assert row.tolist() == [float(cell) for cell in cells.split(" | ") if cell != "·"]
    title = "6. Heads: all 3 of layer 0"
    rows = re.findall(r"^\| L\dH\d \| (.+) \|$", section(title), flags=re.MULTILINE)
    most = [max(percents(row)) for row in rows]
    assert percents(printed(title))[:6] == most


def test_its_commands_print_what_is_predicted() -> None:
    told = printed("8. Repeat for each of the 2 layers")
    shown = re.findall(
        r"^\| (?:embed|L\d) \| `(\S+)` \| ([\d.]+)% \|$",
        section("8. Repeat for each of the 2 layers"),
        flags=re.MULTILINE,
    )
    assert len(shown) == 3
    for token, share in shown:
        short = percent(float(share) / 100, whole=True)
        assert re.search(rf"{token} +{short}$", told, flags=re.MULTILINE)
    assert "The power clapper went straight to jail\n" in printed("11. Fed back in")
    told = " ".join(printed("And why?").split())
    shown = re.findall(r"^- (.+(?:\n  .+)*)", section("And why?"), flags=re.MULTILINE)
    assert len(shown) > 3
    for sentence in shown:
        assert " ".join(sentence.split()) in told


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) > 8
    for link in links:
        assert link[1:] in anchors if link[0] == "#" else (ROOT / "docs" / link).is_file(), link


def test_the_pictures_numbers_are_the_walks(seen) -> None:
    picture = (ROOT / "docs" / "walk.svg").read_text(encoding="utf-8")
    for share in seen["blocks.0.attn.pattern"][0][np.tril_indices(4)]:
        assert f"{share:.3f}" in picture

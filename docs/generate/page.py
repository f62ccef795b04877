"""Take docs/page.md's pictures from the live page, and docs/learned.md's from its file:
python docs/generate/page.py [FOLDER]

Into docs/, or into FOLDER all of them: 390, 1280 and 1920 px wide, light and dark. Needs Chromium
with its chromedriver, selenium and the extra [serve].
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from live import opened, resize, served, wait

from pellucid import history

DOCS = Path(__file__).parents[1]
OFF = '[{"name":"attn.z","layer":0,"head":0,"op":"suppress"}]'
SAID = ("Tell me a story about a dog.", "What was its name?")
SIZES = {390: 844, 1280: 800, 1920: 1080}
# What is done once it is drawn.
THEN = {
    "attention": "const f = document.querySelector('#step-attention [data-symbol=pattern]');"
    "f.scrollIntoView({block: 'center'}); f.querySelector('tr:last-child .cell').dispatchEvent("
    "new PointerEvent('pointerover', {bubbles: true}))",
    "why": "scrollTo(0, 0)",
}
SHOWN = {
    ("home", 1280, "light"): "page_home.png",
    ("why", 1280, "light"): "page_why.png",
    ("compare", 1280, "light"): "page_compare.png",
    ("attention", 1280, "light"): "page_walk.png",
}


def views(url: str) -> dict[str, tuple[str, str]]:
    """name -> (address, when it is drawn)"""
    import httpx

    with httpx.Client(base_url=url, timeout=120) as client:
        settings = {"seed": 4, "max_tokens": 60}
        head = client.post("/v1/conversations", json={"settings": settings}).json()["id"]
        for text in SAID:
            said = client.post(f"/v1/conversations/{head}/messages", json={"text": text}).json()
        reply, tokens = said["conversation"]["reply"], said["tokens"]
        step = min(range(2, len(tokens) - 1), key=lambda i: tokens[i]["logprob"])
        other = next(o["id"] for o in tokens[step]["alternatives"] if o["id"] != tokens[step]["id"])
        branch = client.post(
            f"/v1/conversations/{head}/messages/{reply}/branch", json={"step": step, "token": other}
        ).json()["conversation"]["reply"]
    here = f"conversation={head}&leaf={reply}&message={reply}"
    ready = "document.querySelector('.below #step-input[data-drawn]')"
    return {
        "home": ("", ready),
        "could": (
            f"#/chat?{here}&token={step}&view=could",
            "document.querySelector('.glass .distribution:not(.kept)')",
        ),
        "why": (
            f"#/chat?{here}&token={step}&view=why",
            "document.querySelector('.head-chip') && document.querySelector('[data-gave^=\"0\"]')",
        ),
        "knew": (
            f"#/chat?{here}&token={step}&view=knew",
            "document.querySelector('.rungs li')",
        ),
        "compare": (
            f"#/chat?conversation={head}&message={branch}&compare={reply}",
            "document.querySelector('.compare-heads li')",
        ),
        "tray": (
            f"#/chat?{here}&token={step}&view=change&changes={OFF}",
            "document.querySelector('.glass [data-state=done]')",
        ),
        "walk": (
            f"#/walk?conversation={head}&message={reply}&token={step}",
            "document.querySelector('#step-input[data-drawn]')",
        ),
        "attention": (
            "#/walk?text=The king went home to&step=attention&layer=1&head=0",
            "document.querySelector('#step-attention .worked')",
        ),
        "change": (
            f"#/change?text=Once upon a time&changes={OFF}&stop=attn.z,0,0,2",
            "document.querySelector('.stopped h3') && document.querySelector('[data-state=done]')",
        ),
        "learn": ("#/learn?moment=100", "document.querySelector('.learned-next')"),
        "talk": (
            "#/talk?frame=18&beat=7&text=The king went home to",
            "document.querySelector('.talk .worked')?.textContent.startsWith('pattern')",
        ),
    }


def take(driver: Any, url: str, folder: Path | None) -> list[str]:
    taken = []
    for name, (address, ready) in views(url).items():
        for width, height in SIZES.items():
            for theme in ("light", "dark"):
                shown = SHOWN.get((name, width, theme))
                path = DOCS / shown if shown and folder is None else None
                if folder is not None:
                    path = folder / f"{name}-{width}-{theme}.png"
                if path is None:
                    continue
                driver.get("about:blank")
                resize(driver, width, height)
                driver.get(f"{url}/")
                driver.execute_script(
                    f"localStorage.setItem('pellucid-theme', {json.dumps(theme)})"
                )
                driver.get("about:blank")
                driver.get(f"{url}/{address}")
                wait(driver, ready)
                if name in THEN:
                    time.sleep(0.6)  # a step that the address names is reached once more
                    driver.execute_script(THEN[name])
                time.sleep(0.6)
                path.write_bytes(driver.get_screenshot_as_png())
                taken.append(path.name)
    return taken


def take_learned(driver: Any, path: Path) -> str:
    """One file, which needs no server."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "learned.html"
        file.write_text(history.learned_page("talk", "The power clapper went straight to"))
        driver.get("about:blank")
        resize(driver, 1280, 1090)
        driver.get(f"{file.as_uri()}#63")
        wait(driver, "globalThis.pellucid && document.querySelector('.learned-next')")
        time.sleep(0.6)
        path.write_bytes(driver.get_screenshot_as_png())
    return path.name


def main(folder: Path | None) -> None:
    with served("chat") as url, opened() as driver:
        taken = take(driver, url, folder)
        taken.append(take_learned(driver, (folder or DOCS) / "learned.png"))
    print("wrote", ", ".join(taken))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)

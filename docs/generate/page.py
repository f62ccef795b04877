"""Take docs/page.md's pictures from the live page: python docs/generate/page.py [FOLDER]

Into docs/, or into FOLDER all of them: 390, 1280 and 1920 px wide, light and dark. Needs Chromium
with its chromedriver, selenium and the extra [serve].
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pellucid
from pellucid.serve.access import Access
from pellucid.serve.app import new_app
from pellucid.serve.archive import Archive
from pellucid.serve.events import EngineLimits
from pellucid.serve.server import HttpServer, bind
from pellucid.serve.service import Service

DOCS = Path(__file__).parents[1]
SAID = ("Tell me a story about a dog.", "What was its name?")
SIZES = {390: 844, 1280: 800, 1920: 1080}
SHOWN = {("home", 1280, "light"): "page_home.png", ("why", 1280, "light"): "page_why.png"}


def new_driver() -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service as Driver

    options = webdriver.ChromeOptions()
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    options.binary_location = binary or ""
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver") or ""))


def wait(driver: Any, condition: str) -> None:
    for _ in range(600):
        if driver.execute_script(f"return Boolean({condition})"):
            return
        time.sleep(0.05)
    raise TimeoutError(condition)


def resize(driver: Any, width: int, height: int) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


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
        "walk": (
            f"#/walk?conversation={head}&message={reply}&token={step}",
            "document.querySelector('#step-input[data-drawn]')",
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
                time.sleep(0.6)
                path.write_bytes(driver.get_screenshot_as_png())
                taken.append(path.name)
    return taken


def main(folder: Path | None) -> None:
    import asyncio
    import threading

    with tempfile.TemporaryDirectory() as home:
        archive = Archive(Path(home) / "kept.db")
        service = Service.of(pellucid.load("chat"), EngineLimits(), archive=archive)
        service.start()
        listening = bind("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = HttpServer(new_app(service, Access()), service)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        driver = new_driver()
        try:
            print("wrote", ", ".join(take(driver, url, folder)))
        finally:
            driver.quit()
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)

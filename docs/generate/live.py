"""The page that a server shows, in a browser without a window, for the pictures of the docs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pellucid
from pellucid.serve.access import Access
from pellucid.serve.app import new_app
from pellucid.serve.archive import Archive
from pellucid.serve.events import EngineLimits
from pellucid.serve.server import HttpServer, bind
from pellucid.serve.service import Service

__all__ = ["opened", "resize", "served", "wait"]


@contextmanager
def opened() -> Iterator[Any]:
    """Chromium, as selenium drives it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service as Driver

    options = webdriver.ChromeOptions()
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    options.binary_location = binary or ""
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver") or ""))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def served(model: str) -> Iterator[str]:
    """A server of this model, with a store of its own -> its address."""
    with tempfile.TemporaryDirectory() as home:
        archive = Archive(Path(home) / "kept.db")
        service = Service.of(pellucid.load(model), EngineLimits(), archive=archive)
        service.start()
        listening = bind("127.0.0.1", 0)
        server = HttpServer(new_app(service, Access()), service)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


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

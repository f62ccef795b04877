"""Chromium without a window, for the pages: opens HTML or what is served, waits, and says what went
wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from support.skips import chromium, needs

__all__ = ["Browser"]


class Browser:
    """show(html) -> the driver, when everything is drawn; visit(url): a page that is served;
    check() -> nothing went wrong.

    folder: where the pages are put. Skips the test where there is no browser.
    """

    def __init__(self, folder: Path) -> None:
        needs("selenium", "chromium")
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        installed = chromium()
        assert installed is not None
        options = webdriver.ChromeOptions()
        options.binary_location = installed[0]
        for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
            options.add_argument(f"--{argument}")
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.add_experimental_option("perfLoggingPrefs", {"enablePage": False})  # requests alone
        self.driver: Any = webdriver.Chrome(options=options, service=Service(installed[1]))
        self.driver.set_window_size(1200, 900)
        self.folder = folder
        self.pages = 0

    def show(self, html: str, *, all_of_it: bool = True) -> Any:
        self.pages += 1
        path = self.folder / f"{self.pages}.html"
        path.write_text(html, encoding="utf-8")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(path.as_uri())
        if all_of_it:
            self.wait("globalThis.pellucid !== undefined")
            self.see_all()
        return self.driver

    def visit(self, url: str) -> Any:
        """A page that a server of this machine shows, from a fresh start."""
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.served = url.split("#")[0]
        self.driver.get(url)
        return self.driver

    def wait(self, condition: str, seconds: float = 90) -> None:
        """Until a JavaScript expression is true. seconds: a guard."""
        until = time.monotonic() + seconds
        while not self.driver.execute_script(f"return {condition}"):
            if time.monotonic() > until:
                raise TimeoutError(f"never: {condition}")
            time.sleep(0.02)

    def see_all(self) -> None:
        """Everything that waits to be seen, seen."""
        self.driver.execute_script("document.body.style.zoom = 0.05")
        self.wait("document.querySelectorAll('section:not([data-drawn])').length === 0")
        self.driver.execute_script("document.body.style.zoom = ''")

    def check(self) -> None:
        """Nothing was logged as wrong, and nothing but the page itself was fetched."""
        assert self.driver.get_log("browser") == []
        asked = self.asked()
        own = ("about:", f"file://{self.folder}/")
        assert not [url for url in asked if not url.startswith(own)]
        assert len([url for url in asked if url.startswith("file:")]) == 1

    def check_served(self) -> None:
        """The same of what was visited: only its own server was asked."""
        assert self.driver.get_log("browser") == []
        own = (self.served, "about:", "data:")
        assert not [url for url in self.asked() if not url.startswith(own)]

    def asked(self) -> list[str]:
        """What was fetched since the last look."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        return asked

    def close(self) -> None:
        self.driver.quit()

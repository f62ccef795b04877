"""The served page, open in a browser; and conversations that it shows."""

from __future__ import annotations

import json
from typing import Any

from support.server import Served

__all__ = ["Page", "begun", "kept", "messages"]


class Page:
    """The page, open at an address behind #."""

    def __init__(self, browser, served: Served, address: str = "") -> None:
        self.browser, self.served = browser, served
        self.driver = browser.visit(f"{served.url}/{address}")
        self.wait("globalThis.pellucid?.mounted && globalThis.pellucid.info.model")

    def wait(self, condition: str) -> None:
        self.browser.wait(f"Boolean({condition})")

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def find(self, css: str) -> Any:
        self.wait(f"document.querySelector({json.dumps(css)})")
        return self.driver.find_element("css selector", css)

    def press(self, css: str) -> None:
        self.find(css)
        self.js("document.querySelector(arguments[0]).click()", css)

    def texts(self, css: str) -> list[str]:
        return self.js(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", css
        )

    @property
    def selection(self) -> dict[str, Any]:
        return self.js("return {...pellucid.selection}")

    def say(self, text: str) -> None:
        box = self.find(".composer textarea")
        box.click()
        box.send_keys(text, "\ue007")  # Enter

    def settled(self, n: int) -> None:
        """n replies stand there whole."""
        done = f"document.querySelectorAll('.message.assistant .tok').length && {n} === "
        self.wait(f"{done} document.querySelectorAll('.message.assistant').length")
        self.wait("!pellucid.mounted.writer.busy")


def begun(served: Served, *texts: str, **settings: Any) -> tuple[str, list[dict[str, Any]]]:
    """A conversation -> its id and the replies."""
    settings = {"max_tokens": 8, "seed": 1, "alternatives": 5, **settings}
    head = served.post("/v1/conversations", settings=settings).json()["id"]
    said = [served.post(f"/v1/conversations/{head}/messages", text=each).json() for each in texts]
    return head, said


def kept(served: Served, conversation: str, message: str) -> dict[str, Any]:
    return served.client.get(f"/v1/conversations/{conversation}/messages/{message}").json()


def messages(served: Served, conversation: str) -> list[dict[str, Any]]:
    answer = served.client.get(f"/v1/conversations/{conversation}", params={"tokens": True})
    return answer.json()["messages"]

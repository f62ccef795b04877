"""Record docs/clip.webp from the live page: python docs/generate/clip.py [FILE]

A word is clicked, explained, and changed: on the embedded model `talk`, whose words stay. Needs
Chromium with its chromedriver, selenium, pillow and the extra [serve].
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from live import opened, resize, served, wait
from PIL import Image, ImageDraw

FILE = Path(__file__).parents[1] / "clip.webp"
SIZE = (960, 640)
STEP = 40  # ms of a frame in which something moves
INK, PAPER = (20, 20, 24), (255, 255, 255)
POINTER = ((0, 0), (0, 19), (4.5, 15), (8, 22.5), (11, 21), (7.5, 14), (13.5, 14))


class Clip:
    """Frames, each with the milliseconds that it stands."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.at = (SIZE[0] * 0.62, SIZE[1] * 0.72)
        self.frames: list[tuple[Image.Image, int]] = []

    def take(self, ms: int, pressed: bool = False) -> None:
        shot = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        self.add(shot, ms, pressed)

    def add(self, shot: Image.Image, ms: int, pressed: bool = False) -> None:
        frame = pointed(shot, self.at, pressed)
        if self.frames and self.frames[-1][0].tobytes() == frame.tobytes():
            frame, ms = self.frames[-1][0], ms + self.frames.pop()[1]
        self.frames.append((frame, ms))

    def move(self, css: str, steps: int = 12) -> None:
        """The pointer goes to the middle of an element."""
        box = self.driver.execute_script(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]",
            css,
        )
        shot = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        start = self.at
        for i in range(1, steps + 1):
            share = i / steps
            eased = share * share * (3 - 2 * share)
            self.at = tuple(a + (b - a) * eased for a, b in zip(start, box, strict=True))
            self.add(shot, STEP)
        self.hover()

    def hover(self) -> None:
        x, y = self.at
        event = {"type": "mouseMoved", "x": x, "y": y}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def press(self, css: str) -> None:
        self.move(css)
        self.take(240)
        self.take(160, pressed=True)
        x, y = self.at
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def write(self, path: Path) -> None:
        first, *rest = [frame for frame, _ in self.frames]
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=[ms for _, ms in self.frames],
            loop=0,
            lossless=True,
            method=4,
            minimize_size=True,
        )


def pointed(shot: Image.Image, at: tuple[float, float], pressed: bool) -> Image.Image:
    """With a pointer, drawn four times as large and made small again."""
    frame, scale = shot.copy(), 4
    width, height = 48, 48
    x, y = round(at[0]), round(at[1])
    layer = Image.new("RGBA", (width * scale, height * scale))
    pen = ImageDraw.Draw(layer)
    if pressed:
        middle = (width // 2) * scale
        ring = [middle - 12 * scale, middle - 12 * scale, middle + 12 * scale, middle + 12 * scale]
        pen.ellipse(ring, fill=(54, 137, 201, 70), outline=(54, 137, 201, 160), width=scale)
    corners = [((width / 2 + a) * scale, (height / 2 + b) * scale) for a, b in POINTER]
    pen.polygon(corners, fill=INK, outline=PAPER, width=round(1.4 * scale))
    layer = layer.resize((width, height), Image.Resampling.LANCZOS)
    frame.paste(layer, (x - width // 2, y - height // 2), layer)
    return frame


def record(driver: Any, url: str) -> Clip:
    resize(driver, *SIZE)
    still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
    driver.get(f"{url}/")
    driver.execute_script("localStorage.setItem('pellucid-theme', 'light')")
    driver.get("about:blank")
    driver.get(f"{url}/")
    wait(driver, "document.querySelector('.below #step-input[data-drawn]')")
    clip = Clip(driver)
    clip.take(1200)
    clip.press(".examples .option")
    wait(driver, "document.querySelectorAll('.message.assistant .tok').length === 2")
    wait(driver, "!pellucid.mounted.writer.busy")
    clip.take(900)
    clip.press(".message.assistant .tok")
    wait(driver, "document.querySelector('.glass .distribution:not(.kept)')")
    clip.take(1800)
    clip.press("#tab-why")
    wait(driver, "document.querySelector('[data-gave^=\"0\"]')")
    clip.take(2300)
    clip.move(".head-chip")
    wait(driver, "document.querySelector('.looked-at')")
    clip.take(2200)
    clip.press("#tab-change")
    wait(driver, "document.querySelector('.glass [data-state=done]')")
    clip.take(1100)
    clip.press("[data-part=L1H0]")
    wait(driver, "document.querySelector('.glass .differs')")
    wait(driver, "document.querySelector('.glass [data-state=done]')")
    clip.take(3600)
    return clip


def main(path: Path) -> None:
    with served("talk") as url, opened() as driver:
        clip = record(driver, url)
    clip.write(path)
    seconds = sum(ms for _, ms in clip.frames) / 1000
    print(
        f"wrote {path.name}: {len(clip.frames)} frames, {seconds:.1f} s, "
        f"{path.stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)

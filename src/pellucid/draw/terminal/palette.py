"""Colours that the colour-blind can tell apart too: one ramp for magnitudes, one for signs.

Both begin dark and end bright, so that on light and dark terminals alike bright means strong.
"""

from __future__ import annotations

__all__ = ["LESS", "MORE", "ROLES", "magnitude", "on", "signed"]

# Bars and single words stand on the terminal's own ground: at least 3 : 1 on white and on black.
MORE = "#3b82d0"
LESS = "#d0700a"

# By the roles of `slides.Role`, on the same grounds.
ROLES: dict[str, str] = {
    "query": MORE,
    "key": LESS,
    "value": "#0f8a80",
    "residual": "#7a8794",
    "mlp": "#8f6bd6",
    "prediction": "#dc4672",
}

_Colour = tuple[int, int, int]

# cividis at 0, 1/8, … 1 (Nuñez, Anderton, Renslow, arXiv 1712.01662)
_CIVIDIS: tuple[_Colour, ...] = (
    (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115),
    (138, 134, 120), (166, 157, 117), (196, 181, 108), (254, 232, 56),
)  # fmt: skip
_NOTHING: _Colour = (38, 40, 46)
_BLUES: tuple[_Colour, ...] = (_NOTHING, (36, 76, 128), (62, 130, 208), (150, 205, 255))
_ORANGES: tuple[_Colour, ...] = (_NOTHING, (120, 66, 14), (208, 112, 10), (255, 196, 110))


def magnitude(share: float) -> _Colour:
    """0…1 -> the ground for it; beyond is held at the ends."""
    return _along(_CIVIDIS, share)


def signed(share: float) -> _Colour:
    """-1…1 -> orange, dark at 0, blue."""
    return _along(_BLUES if share >= 0 else _ORANGES, abs(share))


def on(ground: _Colour) -> str:
    """rich's style for text on that ground: white or black, whichever can be read."""
    red, green, blue = ground
    linear = [(channel / 255) ** 2.2 for channel in ground]
    bright = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18
    return f"{'#000000' if bright else '#ffffff'} on rgb({red},{green},{blue})"


def _along(ramp: tuple[_Colour, ...], share: float) -> _Colour:
    at = min(max(share, 0.0), 1.0) * (len(ramp) - 1)
    low = min(int(at), len(ramp) - 2)
    a, b = ramp[low], ramp[low + 1]
    return (
        round(a[0] + (b[0] - a[0]) * (at - low)),
        round(a[1] + (b[1] - a[1]) * (at - low)),
        round(a[2] + (b[2] - a[2]) * (at - low)),
    )

"""What a film says below each picture: return so far, skill, decisions left, the plan's gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rllib_lsp.cli.playing import Moment
from rllib_lsp.plots.style import BLACK, COLOURS

HEIGHT = 52
"""Of the caption, in pixels; even, as H.264 wants it."""
REACH = 2.0
"""The skill's coordinate at which a bar is full: two deviations of N(0, I)."""
_COLOURS = tuple(colour for colour in COLOURS if colour != BLACK)
_BAR = 43
"""Where the bar of the decisions left is."""
_TEXT, _FAINT, _GROUND = "#FFFFFF", "#777777", "#000000"


class Caption:
    """Remembers the plan while its skill is held."""

    def __init__(self) -> None:
        self._gain: float | None = None
        self._longest = 1

    def below(self, moment: Moment) -> np.ndarray:
        """The picture of a moment (height, width, 3) with a caption of `HEIGHT` more rows."""
        picture = np.asarray(moment.env.render())
        strip = Image.new("RGB", (picture.shape[1], HEIGHT), _GROUND)
        pen = ImageDraw.Draw(strip)
        font = ImageFont.load_default(11)
        pen.text((6, 2), f"return {moment.returned:.1f}", _TEXT, font)
        if moment.decision:
            self._draw_skill(pen, font, moment.decision, picture.shape[1])
        return np.concatenate([picture, np.asarray(strip)])

    def _draw_skill(
        self, pen: ImageDraw.ImageDraw, font: Any, decision: Mapping[str, np.ndarray], width: int
    ) -> None:
        left = int(decision["steps_left"])
        if decision["planned"]:
            self._longest = left + 1
            self._gain = float(decision["planner_gain"]) if "planner_gain" in decision else None
        if self._gain is not None:
            pen.text((6, 14), f"plan's gain {self._gain:+.2g}", _TEXT, font)
        pen.text((6, 26), f"{left} decisions left", _TEXT, font)
        pen.rectangle((6, _BAR, width - 6, _BAR + 5), outline=_FAINT)
        pen.rectangle((6, _BAR, 6 + (width - 12) * left / self._longest, _BAR + 5), _TEXT)
        _draw_bars(pen, decision["skill"], width // 2, width - 6)


def _draw_bars(pen: ImageDraw.ImageDraw, skill: np.ndarray, begin: int, end: int) -> None:
    """A bar for each coordinate, up where it is positive."""
    room = _BAR // 2 - 3
    middle = room + 2
    step = (end - begin) / len(skill)
    pen.line((begin, middle, end, middle), _FAINT)
    for index, value in enumerate(np.clip(skill / REACH, -1, 1)):
        low, high = sorted((middle, middle - round(room * float(value))))
        x = begin + index * step
        pen.rectangle((x + 0.2 * step, low, x + 0.8 * step, high), _COLOURS[index % len(_COLOURS)])

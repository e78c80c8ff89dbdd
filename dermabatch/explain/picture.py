"""An explanation to look at: the lesion, heat maps over it, and bars that say how far to trust each map."""

import io
from typing import Final

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dermabatch.explain.absence import Image
from dermabatch.explain.deletion_insertion import Faithfulness, Saliency
from dermabatch.explain.judging import BASELINES, Explained
from dermabatch.exports import NOTICE
from dermabatch.taxonomy import LESION_CLASSES

DISPLAY_EDGE: Final = 512
"""Pixels of the square that a panel is drawn from."""

_COLOURS: Final = matplotlib.colormaps["viridis"]  # of the portal's heat maps: even steps, colour-blind safe
_STRONGEST: Final = 0.8  # opacity: the lesion shines through even where the evidence is strongest
_INK, _SOFT, _FAINT, _RULE = "#1d2a33", "#5b6870", "#8c979d", "#e3e8ea"
_TELLING, _EMPTY, _BASELINE = "#1f8a84", "#c98a2b", "#b4bec3"

_HOW_TO_READ: Final = """\
Hollow: mean score while the picture is blurred away, what is marked most first. Low is good.
Filled: mean score while it comes back in the same order. High is good.
Amber: a map that does no better than random areas or the centre. It tells nothing of this model."""

# Inches. The page grows with the panels and bars; nothing on it is measured in shares of it.
_MARGIN: Final = 0.4
_PANEL: Final = 3.0
_GAP: Final = 0.14
_BARS_BELOW: Final = 0.65
_BAR: Final = 0.3
_LABELS: Final = 1.75
_DOTS_PER_INCH: Final = 160


class _Page:
    """A figure on which things are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def text(
        self,
        left: float,
        top: float,
        words: str,
        *,
        size: float,
        colour: str,
        weight: str = "normal",
        align: str = "left",
    ) -> None:
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            words,
            fontsize=size,
            color=colour,
            fontweight=weight,
            horizontalalignment=align,
            verticalalignment="top",
        )

    def png(self) -> bytes:
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def draw(explained: Explained, image: Image, *, aspect: float, model_name: str) -> bytes:
    """Draw the picture, a panel for each method, and the faithfulness of each map beside the baselines.

    Args:
        explained: maps and figures.
        image: uint8[E, E, 3], what the network saw, at any size; best `DISPLAY_EDGE`.
        aspect: width over height of the picture before it was squashed to a square.
        model_name: for the last line.

    Returns:
        A PNG, the same for the same arguments.
    """
    maps = explained.explanations
    panel_height = _PANEL / aspect
    bars_height = _BAR * (len(maps) + len(explained.baselines))
    below = 1.25 + panel_height
    width = 2 * _MARGIN + (1 + len(maps)) * (_PANEL + _GAP) - _GAP
    page = _Page(width, below + _BARS_BELOW + 0.3 + bars_height + 1.25)
    _header(page, explained)
    panels = [("Picture", image), *((m.label, overlaid(image, e.saliency)) for m, e in maps.items())]
    for number, (title, pixels) in enumerate(panels):
        left = _MARGIN + number * (_PANEL + _GAP)
        page.text(left, 1.0, title, size=9.5, colour=_SOFT)
        _panel(page.axes(left, 1.25, _PANEL, panel_height), pixels)
    _colour_bar(page, image, below + 0.14)
    _bars(page, explained, below + _BARS_BELOW, bars_height)
    page.text(_MARGIN, page.height - 0.32, f"{model_name}.  {NOTICE}", size=7.5, colour=_FAINT)
    return page.png()


def overlaid(image: Image, saliency: Saliency) -> Image:
    """The picture under its heat map, uint8[E, E, 3]: clear where nothing speaks for the class."""
    evidence = np.maximum(saliency, 0)
    strength = evidence / max(evidence.max(), np.finfo(np.float32).tiny)
    return _blended(image, cv2.resize(strength, image.shape[:2], interpolation=cv2.INTER_LINEAR))


def _blended(image: Image, strength: npt.NDArray[np.floating]) -> Image:
    opacity = _STRONGEST * strength[..., None]
    mixed: Image = np.rint(image * (1 - opacity) + 255 * _COLOURS(strength)[..., :3] * opacity).astype(
        np.uint8
    )
    return mixed


def _header(page: _Page, explained: Explained) -> None:
    lesion, own = LESION_CLASSES[explained.target], int(explained.scores.argmax())
    page.text(_MARGIN, 0.32, lesion.label, size=16, colour=_INK, weight="bold")
    score = f"Score {explained.scores[explained.target]:.2f}"
    if own == explained.target:
        words = f"{score}: the class that the model chooses"
    else:
        words = f"{score}. The model chooses {LESION_CLASSES[own].label} with {explained.scores[own]:.2f}"
    page.text(_MARGIN, 0.66, words, size=10, colour=_SOFT)


def _panel(axes: Axes, pixels: Image) -> None:
    axes.imshow(pixels, aspect="auto", interpolation="lanczos")
    axes.set_axis_off()


def _colour_bar(page: _Page, image: Image, top: float) -> None:
    """On the mean colour of this picture, so that it has the very colours that lie over the skin."""
    strength = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (2, 1))
    skin = np.broadcast_to(image.mean(axis=(0, 1)), (2, 256, 3))
    left = _MARGIN + _PANEL + _GAP
    _panel(page.axes(left, top, _PANEL, 0.1), _blended(skin.astype(np.uint8), strength))
    page.text(left, top + 0.14, "no evidence for the class", size=7.5, colour=_SOFT)
    page.text(left + _PANEL, top + 0.14, "most", size=7.5, colour=_SOFT, align="right")


def _bars(page: _Page, explained: Explained, top: float, height: float) -> None:
    """One bar a map, from its deletion to its insertion: the longer, the more the model uses what is marked."""
    rows: list[tuple[str, Faithfulness, str]] = [
        (method.label, one.faithfulness, _TELLING if explained.beats_baselines(method) else _EMPTY)
        for method, one in explained.explanations.items()
    ]
    rows += [(BASELINES[name], one, _BASELINE) for name, one in explained.baselines.items()]
    page.text(_MARGIN, top, "Does the model use what is marked?", size=10, colour=_INK, weight="bold")
    axes = page.axes(_MARGIN + _LABELS, top + 0.3, page.width - 2 * _MARGIN - _LABELS, height)
    for number, (label, judged, colour) in enumerate(rows):
        page.text(_MARGIN, top + 0.3 + (number + 0.28) * _BAR, label, size=8.5, colour=_INK)
        _bar(axes, number, judged, colour)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), yticks=(), xticks=np.linspace(0, 1, 6))
    axes.tick_params(colors=_FAINT, labelsize=7.5, length=0)
    axes.grid(axis="x", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    page.text(_MARGIN, top + 0.3 + height + 0.27, _HOW_TO_READ, size=7.5, colour=_SOFT)


def _bar(axes: Axes, row: int, judged: Faithfulness, colour: str) -> None:
    ends = [judged.deletion, judged.insertion]
    axes.plot(ends, [row, row], color=colour, linewidth=4, alpha=0.55, solid_capstyle="butt")
    axes.plot(ends[:1], [row], "o", markersize=7, color=colour, markerfacecolor="white", markeredgewidth=1.6)
    axes.plot(ends[1:], [row], "o", markersize=7, color=colour, markeredgewidth=1.6)
    for value, side in zip(ends, ("right", "left") if ends[0] <= ends[1] else ("left", "right"), strict=True):
        shift = 8 if side == "left" else -8
        axes.annotate(
            f"{value:.2f}",
            (value, row),
            (shift, 0),
            textcoords="offset points",
            horizontalalignment=side,
            verticalalignment="center",
            fontsize=7.5,
            color=_INK,
        )

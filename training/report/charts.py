"""Curves as SVG that stands inside a page: its colours are the page's, so that it turns dark with it."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dermabatch.taxonomy import CLASSES

# Drawn in colours that nothing else has, which the page then replaces by its variables.
INK, SOFT, LINE, ACCENT, OTHER, GROUND = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES: Final = {
    INK: "var(--ink)",
    SOFT: "var(--ink-soft)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    OTHER: "var(--other)",
    GROUND: "var(--surface)",
}

STYLE: Final[Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the font of the page
    "font.size": 8,  # points: 10.7 pixels at full width
    "text.color": SOFT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.titlesize": 8,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.labelcolor": SOFT,
    "figure.facecolor": "none",
}

WIDE: Final = (4.6, 3.2)  # inches; at most as wide as a telephone, so that no text ever shrinks
MEDIUM: Final = (3.0, 2.1)
SMALL: Final = (2.1, 1.9)

LEFT, BOTTOM, EDGE = 0.48, 0.42, 0.08  # inches around the axes, for ticks of four characters and a label

Draw = Callable[[Axes], None]


def chart(draw: Draw, *, title: str, size: tuple[float, float] = WIDE) -> str:
    """One chart as an `<svg>` element that scales with its place; `title` is read out by a screen reader."""
    with rc_context({**STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=size)
        draw(figure.add_axes(_frame(*size)))
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return _inlined(stream.getvalue(), title)


def _frame(width: float, height: float) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes as shares; a layout engine would take ten times as long to find it."""
    return LEFT / width, BOTTOM / height, 1 - (LEFT + EDGE) / width, 1 - (BOTTOM + EDGE) / height


def _inlined(svg: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' id="[a-zA-Z.]+[a-z0-9.]*_\d+"', "", svg)  # of groups; several charts share a page
    svg = re.sub(r" font-family: [^;]+;", "", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    width = re.search(r'width="([\d.]+)pt"', svg)
    assert width is not None
    # A point of the drawing is 4/3 pixels of the page.
    opening = f'<svg role="img" aria-label="{title}" style="max-width: {float(width[1]) * 4 / 3:.0f}px"'
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    return re.sub(r"<svg", opening, svg, count=1).strip()


def malignant_roc(report: dict[str, Any], readers: Sequence[tuple[str, float, float]]) -> str:
    """ROC curve of malignant against benign with the thresholds of triage and published operating points.

    Args:
        report: of `training.evaluate`.
        readers: label, sensitivity and specificity of whoever was measured elsewhere.
    """
    curve, flagged = report["curves"]["malignant"], report["triage"]["flagged_for_malignant"]

    def draw(axes: Axes) -> None:
        axes.plot(curve["false_positive_rate"], curve["sensitivity"], color=ACCENT, label="this model")
        axes.plot(
            [1 - flagged["specificity"]],
            [flagged["sensitivity"]],
            "o",
            color=ACCENT,
            label="urgent or soon, as triage flags",
        )
        for marker, (label, sensitivity, specificity) in zip("Ds", readers, strict=True):
            axes.plot([1 - specificity], [sensitivity], marker, color=OTHER, mfc=GROUND, ls="", label=label)
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        _unit_square(axes, "1 - specificity", "sensitivity")
        axes.legend(loc="lower right")

    return chart(draw, title="ROC curve, malignant against benign")


def class_curves(report: dict[str, Any]) -> list[dict[str, Any]]:
    """For each class its ROC and its precision-recall curve."""
    return [
        {
            "code": code,
            "roc": chart(_roc(report["curves"][code]), title=f"ROC curve, {code}", size=SMALL),
            "pr": chart(
                _precision_recall(report["curves"][code], report["classes"][code]["images"] / report["n"]),
                title=f"Precision-recall curve, {code}",
                size=SMALL,
            ),
        }
        for code in CLASSES
    ]


def _roc(curve: dict[str, Any]) -> Draw:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axes.plot(curve["false_positive_rate"], curve["sensitivity"], color=ACCENT)
        _unit_square(axes, "1 - specificity", "sensitivity")

    return draw


def _precision_recall(curve: dict[str, Any], prevalence: float) -> Draw:
    def draw(axes: Axes) -> None:
        axes.axhline(prevalence, color=LINE, linewidth=1)  # what chance would reach
        axes.plot(curve["recall"], curve["precision"], color=ACCENT)
        _unit_square(axes, "sensitivity (recall)", "PPV (precision)")

    return draw


def reliability(report: dict[str, Any]) -> str:
    """What the highest probability promised against how often it was right; a dot grows with its share."""
    bins = report["reliability"]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        axes.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], color=ACCENT, linewidth=1)
        areas = [12 + 400 * b["share"] for b in bins]
        axes.scatter(
            [b["confidence"] for b in bins], [b["accuracy"] for b in bins], areas, color=ACCENT, alpha=0.55
        )
        _unit_square(axes, "highest probability", "share of lesions that were of that class")

    return chart(draw, title="Reliability diagram")


def risk_coverage(report: dict[str, Any]) -> str:
    """Wrong answers among those given, if the least certain lesions were left to people alone."""
    curve = report["risk_coverage"]

    def draw(axes: Axes) -> None:
        axes.plot(curve["coverage"], curve["risk"], color=ACCENT)
        axes.set(
            xlim=(0, 1), ylim=(0, None), xlabel="share of lesions answered", ylabel="share answered wrong"
        )

    return chart(draw, title="Risk-coverage curve")


def damage(report: dict[str, Any]) -> list[dict[str, str]]:
    """For each kind of damage the BMA with its interval, and what the quality gate stops, over five grades."""
    undamaged = report["robustness"]["undamaged"]["bma"]
    charts = []
    for kind, of_kind in report["robustness"]["kinds"].items():
        drawing = chart(_damage(undamaged, of_kind["grades"]), title=f"BMA under {kind}", size=SMALL)
        charts.append({"kind": kind, "unit": of_kind["unit"], "svg": drawing})
    return charts


def _damage(undamaged: float, grades: list[dict[str, Any]]) -> Draw:
    places = range(1, len(grades) + 1)

    def draw(axes: Axes) -> None:
        axes.axhline(undamaged, color=LINE, linewidth=1)
        low, high = zip(*(grade["bma_interval"] for grade in grades), strict=True)
        axes.fill_between(places, low, high, color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(places, [grade["bma"] for grade in grades], "o-", color=ACCENT, markersize=3)
        axes.plot(places, [grade["cannot_assess"] for grade in grades], ":", color=OTHER)
        axes.set_xticks(places, [f"{grade['strength']:g}" for grade in grades])
        axes.set_ylim(0, 1)

    return draw


def training_curves(histories: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, str]]:
    """Loss, accuracy and BMA by epoch, of both sides: whatever of them the histories hold, a line for each run."""
    charts = []
    recorded = histories[0][0] if histories and histories[0] else {}
    for quantity, name in (("loss", "Loss"), ("accuracy", "Accuracy"), ("bma", "BMA")):
        of_it = [key for key in recorded if key.split("_")[-1] == quantity]
        if of_it:
            drawing = chart(_by_epoch(histories, of_it), title=f"{name} by epoch", size=MEDIUM)
            charts.append({"name": name, "svg": drawing})
    return charts


def _by_epoch(histories: Sequence[Sequence[dict[str, float]]], names: Sequence[str]) -> Draw:
    def draw(axes: Axes) -> None:
        for name in names:
            on_validation = name.startswith("validation")
            for run, history in enumerate(histories):
                axes.plot(
                    [record["epoch"] for record in history],
                    [record[name] for record in history],
                    ".-",
                    color=ACCENT if on_validation else OTHER,
                    label=None if run else "validation" if on_validation else "training views",
                )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    return draw


def _unit_square(axes: Axes, x: str, y: str) -> None:
    ticks = (0, 0.5, 1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, xticks=ticks, yticks=ticks)

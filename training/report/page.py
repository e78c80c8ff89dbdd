"""Fills the page. Figures become words and bars here; what they are was decided in the JSON."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dermabatch.taxonomy import BY_CODE, CLASSES, LESION_CLASSES
from dermabatch.triage import Triage
from training.evaluate import (
    DERMATOLOGISTS_SENSITIVITY,
    DERMATOLOGISTS_SPECIFICITY,
    PUBLISHED_NETWORK_SPECIFICITY,
)
from training.report import charts
from training.report.checklists import CLEAR_DERM, MI_CLAIM

READERS: Final = (
    ("58 dermatologists*", DERMATOLOGISTS_SENSITIVITY, DERMATOLOGISTS_SPECIFICITY),
    ("a network of 2018*", DERMATOLOGISTS_SENSITIVITY, PUBLISHED_NETWORK_SPECIFICITY),
)
ABSENT: Final = "–"

SECTIONS: Final = {
    "design": "Study design",
    "cohorts": "Cohorts",
    "data": "Data",
    "training": "Training",
    "performance": "Model performance",
    "points": "Malignant against benign",
    "triage": "Triage levels",
    "subgroups": "Subgroups",
    "robustness": "Worse pictures",
    "explanations": "Explanations",
    "limits": "Limits",
    "reproducibility": "Reproducibility",
}
"""What the checklists point to, by anchor."""


def render_report(report: Mapping[str, Any], thumbnails: Mapping[str, bytes] | None = None) -> str:
    """The page as HTML, complete in itself: no script, no font, no picture from elsewhere.

    Args:
        report: as `training.report.of_artifact` puts it together.
        thumbnails: JPEG by image id, for `report["examples"]`. Such a page shows patients' pictures: keep it local.
    """
    environment = Environment(
        loader=PackageLoader("training.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=_share, interval=_interval, count=_count, percent=_percent, quartiles=_quartiles
    )
    template = environment.get_template("page.html.j2")
    report = dict(report)
    return template.render(
        report=report,
        classes=LESION_CLASSES,
        label=lambda code: BY_CODE[code].label,
        codes=CLASSES,
        levels=list(Triage),
        charts=_charts(report),
        checklists=(("MI-CLAIM", MI_CLAIM), ("CLEAR Derm", CLEAR_DERM)),
        pictures={name: base64.b64encode(jpeg).decode() for name, jpeg in (thumbnails or {}).items()},
        sections=SECTIONS,
        style=_style(environment),
    )


def report_bytes(report: Mapping[str, Any]) -> bytes:
    """The report as JSON, from which the same page can be made again: no NaN, keys in the order of the page."""
    return json.dumps(report, indent=1, allow_nan=False).encode()


def _style(environment: Environment) -> str:
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, "page.css")
    return source


def _charts(report: dict[str, Any]) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "malignant_roc": charts.malignant_roc(report, READERS),
        "reliability": charts.reliability(report),
        "risk_coverage": charts.risk_coverage(report),
        "classes": charts.class_curves(report),
        "training": charts.training_curves([run["history"] for run in report.get("runs", ())]),
    }
    if "robustness" in report:
        drawn["damage"] = charts.damage(report)
    return drawn


def _share(value: float | None) -> str:
    """0.672, or a dash where there is no figure."""
    return ABSENT if value is None else f"{value:.3f}"


def _interval(bounds: list[float] | None) -> str:
    """0.594 to 0.768."""
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _percent(value: float | None) -> str:
    """No decimals above 10 %, one below, as the portal writes probabilities."""
    if value is None:
        return ABSENT
    decimals = 0 if value >= 0.1 or value == 0 else 1
    return f"{100 * value:.{decimals}f}\N{NO-BREAK SPACE}%"


def _count(value: int) -> str:
    return f"{value:,}"


def _quartiles(values: list[float] | None) -> str:
    """40, 50, 65."""
    return ABSENT if values is None else ", ".join(f"{value:.0f}" for value in values)

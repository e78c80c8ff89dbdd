"""The card of a model: what it is for, what it was trained on, how good it is, and what it cannot know.

Every figure is one of the report; the card says the least that someone must know who uses the model.
"""

from typing import Any

from dermabatch.manifest import Network, Thresholds, Training
from dermabatch.taxonomy import BY_CODE, CLASSES, MALIGNANT

TEMPLATE = """\
# {name}

Classifies dermatoscopic images of skin lesions into the seven classes of HAM10000.
**Research software. Assistive only: not a medical device, never the sole basis of a diagnosis.**

- Network: {network}, input {size} x {size} pixels, fine-tuned from ImageNet weights
- Licence of the weights: CC BY-NC 4.0, as of the data; research only, no commercial use
- Data: {data};
  trained on {images:,} of the images, epochs: {epochs}, in {minutes:.0f} minutes
- Source of the data: Tschandl P., Rosendahl C., Kittler H. "The HAM10000 dataset, a large collection of
  multi-source dermatoscopic images of common pigmented skin lesions." Scientific Data 5:180161 (2018),
  doi:10.7910/DVN/DBW86T

## What it cannot know

- There is **no squamous-cell class**: an invasive squamous-cell carcinoma gets one of the seven others.
- The training images show **mostly light skin**, from Vienna and Queensland. Nothing is known of other skin.
- It knows lesions of these seven classes only. Most pictures of something else it turns away, not all.
  What it does not turn away is taken for one of the seven.
- It sees {size} x {size} pixels. Detail that is lost at that size, or in a reduced copy, is lost to it.
- Probabilities hold where classes are as frequent as in HAM10000, a referred population, and nowhere else.

## Figures on {n:,} held-out images of {lesions:,} lesions

No lesion of these was used for weights, calibration or thresholds. In brackets 95 % intervals over lesions.

| figure | value |
|---|---|
| balanced multi-class accuracy (BMA), ISIC 2018 rules | {bma} |
{other_sides}{with_fields}| macro AUROC | {macro_auroc} |
| melanoma AUROC | {melanoma_auroc} |
| malignant AUROC | {malignant_auroc} |
| specificity for malignant at 86.6 % sensitivity | {specificity} |
| expected calibration error (ECE) | {ece} |
| conformal set: coverage (aim {aim:.2f}) | {coverage} |
| conformal set: coverage of melanomas | {melanoma_coverage} |
| conformal set: mean size | {mean_size} |

| class | images | sensitivity | specificity | AUROC |
|---|---|---|---|---|
{class_rows}

## Triage

| level | rule | chosen for | sensitivity here | specificity here |
|---|---|---|---|---|
| urgent, for melanoma | p(mel) >= {urgent.value:.4f} | {urgent.chosen_for} {urgent.target:.2f} | {urgent_rates} |
| + soon, for malignant | p(malignant) >= {soon.value:.4f} | {soon.chosen_for} {soon.target:.2f} | {soon_rates} |

The second row counts both levels. Malignant are {malignant}.
Thresholds were chosen on lesions of their own. Curves, subgroups and worse pictures are in `report.html`.
"""


def write_card(
    name: str, network: Network, training: Training, thresholds: Thresholds, report: dict[str, Any]
) -> str:
    """The card as Markdown; `report` holds at least what `training.evaluate.evaluate` gives."""
    figures = ("bma", "macro_auroc", "melanoma_auroc", "malignant_auroc", "ece")
    conformal, triage = report["conformal"], report["triage"]
    return TEMPLATE.format(
        name=name,
        network=network.name,
        size=network.parameters["input_size"],
        data=training.data,
        images=training.images,
        epochs=training.epochs,
        minutes=training.seconds / 60,
        n=report["n"],
        lesions=report["lesions"],
        other_sides=_other_sides(report.get("bma_on_other_sides", {})),
        with_fields=_with_fields(report.get("metadata_fusion")),
        **{figure: _with_interval(report, figure) for figure in figures},
        specificity=_with_interval(report["operating_points"], "specificity_at_86.6_sensitivity"),
        aim=conformal["aim"],
        **{
            figure: _with_interval(conformal, figure)
            for figure in ("coverage", "melanoma_coverage", "mean_size")
        },
        class_rows="\n".join(_class_row(code, report["classes"][code]) for code in CLASSES),
        urgent=thresholds.urgent,
        soon=thresholds.soon,
        urgent_rates=_rates(triage["urgent_for_melanoma"]),
        soon_rates=_rates(triage["flagged_for_malignant"]),
        malignant=", ".join(BY_CODE[code].label for code in CLASSES if code in MALIGNANT),
    )


def _with_interval(figures: dict[str, Any], name: str) -> str:
    low, high = figures[f"{name}_interval"]
    return f"{figures[name]:.3f} ({low:.3f} to {high:.3f})"


def _other_sides(bma_of: dict[str, float]) -> str:
    """A row for each side that shaped no weight either: how far they lie apart is what chance does."""
    row = "| BMA on {} lesions, which shaped no weight either | {:.3f} |\n"
    return "".join(row.format(side, bma) for side, bma in bma_of.items())


def _with_fields(fusion: dict[str, Any] | None) -> str:
    """A row for what age, sex and place on the body add to the picture, where that was measured."""
    if fusion is None:
        return ""
    low, high = fusion["gain_interval"]
    use = "used where known" if fusion["shipped"] else "not used: too little"
    return (
        f"| BMA with age, sex and place on the body ({use}) | {_with_interval(fusion, 'bma')},"
        f" gain {fusion['gain']:+.3f} ({low:+.3f} to {high:+.3f}) |\n"
    )


def _class_row(code: str, figures: dict[str, Any]) -> str:
    rates = " | ".join(_with_interval(figures, name) for name in ("sensitivity", "specificity", "auroc"))
    return f"| {BY_CODE[code].label} | {figures['images']} | {rates} |"


def _rates(rates: dict[str, Any]) -> str:
    return " | ".join(_with_interval(rates, name) for name in ("sensitivity", "specificity"))

"""The card of a model: what it is for, what it was trained on, how good it is, and what it cannot know."""

from typing import Any

from dermabatch.artifacts import Network, Thresholds, Training
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
- It knows lesions of these seven classes only, and has no score yet for images that show something else.
- It sees {size} x {size} pixels. Detail that is lost at that size, or in a reduced copy, is lost to it.
- Probabilities hold where classes are as frequent as in HAM10000, a referred population, and nowhere else.

## Figures on {n:,} held-out images of {lesions:,} lesions

No lesion of these was used for weights, calibration or thresholds.

| figure | value |
|---|---|
| balanced multi-class accuracy (BMA), ISIC 2018 rules | {bma:.3f} (95 %: {low:.3f} to {high:.3f}) |
| BMA on validation and calibration lesions, which shaped no weight either | {validation:.3f}, {calibration:.3f} |
| macro AUROC | {macro_auroc:.3f} |
| melanoma AUROC | {melanoma_auroc:.3f} |
| malignant AUROC | {malignant_auroc:.3f} |
| specificity for malignant at 86.6 % sensitivity | {specificity:.3f} |
| expected calibration error (ECE) | {ece:.3f} |
| conformal set: coverage (aim 0.90), mean size | {coverage:.3f}, {mean_size:.2f} |

| class | images | sensitivity | specificity | AUROC |
|---|---|---|---|---|
{class_rows}

## Triage

| level | rule | chosen for | on the held-out images |
|---|---|---|---|
| urgent | p(mel) >= {urgent.value:.4f} | specificity {urgent.target:.2f} | {urgent_rates} for melanoma |
| + soon | p(malignant) >= {soon.value:.4f} | sensitivity {soon.target:.2f} | {soon_rates} for malignant |

The second row counts both levels. Malignant are {malignant}.
Thresholds were chosen on lesions of their own.
"""


def write_card(
    name: str, network: Network, training: Training, thresholds: Thresholds, report: dict[str, Any]
) -> str:
    """The card as Markdown; `report` is that of `training.evaluate.evaluate`."""
    low, high = report["bma_interval"]
    figures = ("n", "lesions", "bma", "macro_auroc", "melanoma_auroc", "malignant_auroc", "ece")
    return TEMPLATE.format(
        name=name,
        network=network.name,
        size=network.parameters["input_size"],
        data=training.data,
        images=training.images,
        epochs=training.epochs,
        minutes=training.seconds / 60,
        low=low,
        high=high,
        **report["bma_on_other_sides"],
        specificity=report["malignant_specificity_at_86.6_sensitivity"],
        coverage=report["conformal"]["coverage"],
        mean_size=report["conformal"]["mean_size"],
        class_rows="\n".join(_class_row(code, report["classes"][code]) for code in CLASSES),
        urgent=thresholds.urgent,
        soon=thresholds.soon,
        urgent_rates=_rates(report["triage"]["urgent_for_melanoma"]),
        soon_rates=_rates(report["triage"]["flagged_for_malignant"]),
        malignant=", ".join(BY_CODE[code].label for code in CLASSES if code in MALIGNANT),
        **{figure: report[figure] for figure in figures},
    )


def _class_row(code: str, figures: dict[str, float]) -> str:
    rates = " | ".join(f"{figures[name]:.3f}" for name in ("sensitivity", "specificity", "auroc"))
    return f"| {BY_CODE[code].label} | {figures['images']} | {rates} |"


def _rates(rates: dict[str, float]) -> str:
    return f"sensitivity {rates['sensitivity']:.3f}, specificity {rates['specificity']:.3f}"

"""`dermabatch evaluate`: the report of a model on images it has never seen."""

import json
from pathlib import Path
from typing import Any, get_args

import click

from cli.replacing import replacing
from cli.training_progress import progress_bars
from dermabatch.artifacts import Artifact, read_artifact
from dermabatch.engines import EngineKind
from dermabatch.exports import NOTICE
from training.report import report_bytes
from training.report.of_artifact import Effort, How, read_images, report_on
from training.split import SHARES, Side

FOLDER = click.Path(path_type=Path, file_okay=False)
HEADLINE = ("n", "lesions", "bma", "bma_interval", "macro_auroc", "melanoma_auroc", "malignant_auroc", "ece")
WITH_FIELDS = ("bma", "bma_interval", "gain", "gain_interval", "known")


@click.command(context_settings={"show_default": True})
@click.argument(
    "model", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="MODEL_FOLDER"
)
@click.argument("data", type=FOLDER)
@click.option(
    "--split",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table image_id,side as a training run writes it. Without it all images count.",
)
@click.option(
    "--side", type=click.Choice([side.value for side in SHARES]), help="Of the split.  [default: test]"
)
@click.option("--out", type=FOLDER, required=True, help="Folder for report.html and report.json.")
@click.option("--data-name", default="HAM10000", help="What the report calls the images.")
@click.option(
    "--robustness",
    type=click.Choice([effort.value for effort in Effort]),
    default=Effort.QUICK.value,
    help="Worse pictures and eight poses: not at all, worse ones of 25 images a class, or of all.",
)
@click.option(
    "--examples/--no-examples",
    default=False,
    help="Show the worst errors as pictures. Such a report must stay where the images may be.",
)
@click.option("--engine", type=click.Choice(get_args(EngineKind)), default="openvino", help="What computes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
def evaluate(
    model: Path,
    data: Path,
    split: Path | None,
    side: str | None,
    out: Path,
    data_name: str,
    robustness: str,
    examples: bool,
    engine: EngineKind,
    as_json: bool,
) -> None:
    """Evaluate the artifact in MODEL_FOLDER on the images in DATA, and write a report.

    DATA has the published layout of HAM10000. Look at a test side once: a figure that choices were made by
    is no longer one of images that the model has never seen.
    """
    # Whoever names a folder here vouches for it; its files must still be those of its manifest.
    artifact = read_artifact(model, expected_digest=None, verify_key=None)
    images = read_images(data, data_name, split, Side(side) if side else None)
    out.mkdir(parents=True, exist_ok=True)
    how = How(Effort(robustness), examples, engine)
    with replacing(out / "report.json") as report_json, replacing(out / "report.html") as report_html:
        with progress_bars() as bars:
            pages = report_on(artifact, images, how, out, bars.working)
        report_json.write_bytes(report_bytes(pages.report))
        report_html.write_text(pages.html, encoding="utf-8")
    summary = {
        "report": str(out / "report.html"),
        "model": artifact.digest,
        **{figure: pages.report[figure] for figure in HEADLINE},
        "with_fields": _with_fields(artifact, pages.report),
        "notice": NOTICE,
    }
    click.echo(json.dumps(summary) if as_json else _sentences(summary))


def _with_fields(artifact: Artifact, report: dict[str, Any]) -> dict[str, Any] | None:
    """The BMA with age, sex and place, as far as they are known; None where the model weighs none of them."""
    if artifact.manifest.fusion is None:
        return None
    return {figure: report["metadata_fusion"][figure] for figure in WITH_FIELDS}


def _sentences(summary: dict[str, Any]) -> str:
    low, high = summary["bma_interval"]
    return (
        f"BMA {summary['bma']:.3f} (95 %: {low:.3f} to {high:.3f}), macro AUROC {summary['macro_auroc']:.3f}, "
        f"melanoma AUROC {summary['melanoma_auroc']:.3f}, ECE {summary['ece']:.3f}\n"
        f"{_sentence_of_fields(summary['with_fields'])}"
        f"on {summary['n']:,} images of {summary['lesions']:,} lesions. Report: {summary['report']}\n"
        f"{summary['notice']}"
    )


def _sentence_of_fields(fused: dict[str, Any] | None) -> str:
    if fused is None:
        return ""
    low, high = fused["gain_interval"]
    return (
        f"With age, sex and place, as far as they are known: BMA {fused['bma']:.3f}, "
        f"{fused['gain']:+.3f} (95 %: {low:+.3f} to {high:+.3f})\n"
    )

"""`dermabatch explain`: which part of a picture speaks for a class, and whether that can be believed."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, get_args

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.replacing import replacing
from dermabatch.engines import EngineKind, load_engine
from dermabatch.errors import InvalidRequest
from dermabatch.explain import BASELINES, Explained, ExplainedModel, Method, evaluations, explain_and_judge
from dermabatch.explain.picture import DISPLAY_EDGE, draw
from dermabatch.exports import NOTICE
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.prediction import Unreadable, decode
from dermabatch.shipped import shipped_or_named
from dermabatch.taxonomy import CLASSES, LESION_CLASSES

ALL: Final = "all"


@click.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--method",
    type=click.Choice([*(method.value for method in Method), ALL]),
    default=Method.CAM.value,
    show_default=True,
    help="cam: the map that comes with every result. gradcam, lime, shap: other ways to ask. all: side by side.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a model artifact; the shipped model if not given.",
)
@click.option(
    "--class", "code", type=click.Choice(CLASSES), help="Class to explain; the model's own if not given."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG to write; IMAGE.METHOD.png if not given.",
)
@click.option("--engine", type=click.Choice(get_args(EngineKind)), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def explain(
    image: Path,
    method: str,
    model: Path | None,
    code: str | None,
    out: Path | None,
    engine: EngineKind,
    as_json: bool,
) -> None:
    """Draw which part of the picture IMAGE speaks for a class, and measure whether the model uses it.

    Two figures judge a map. Deletion: the mean score while the picture is blurred away, what is marked most first;
    lower is better. Insertion: while it comes back in that order; higher is better. A map that beats neither random
    areas nor the centre of the picture explains nothing.
    """
    methods = list(Method) if method == ALL else [Method(method)]
    artifact = shipped_or_named(model)
    out = out or Path(f"{image.stem}.{method}.png")
    with replacing(out) as partial, DecoderPool(1) as decoders:
        seen = _decoded(image, decoders, artifact.manifest.input_size)
        shown = _decoded(image, decoders, DISPLAY_EDGE)
        with (
            closing(load_engine(artifact.folder, artifact.manifest, engine)) as loaded,
            _progress(evaluations(methods)) as progress,
        ):
            explained = explain_and_judge(
                ExplainedModel.of_artifact(artifact, loaded),
                seen.pixels,
                methods,
                target=CLASSES.index(code) if code else None,
                progress=lambda pictures: progress.advance(progress.task_ids[0], pictures),
            )
        name, aspect = artifact.manifest.name, seen.width / seen.height
        partial.write_bytes(draw(explained, shown.pixels, aspect=aspect, model_name=name))
    if as_json:
        answer = {"image": str(image), "out": str(out), "model": artifact.digest, "engine": loaded.name}
        click.echo(json.dumps({**answer, **_record(explained), "notice": NOTICE}))
    else:
        _print(explained, out)


def _decoded(image: Path, decoders: DecoderPool, size: int) -> Decoded:
    (seen,) = decode([image], decoders, size)
    if isinstance(seen.found, Unreadable):
        raise InvalidRequest(f"Expected a picture in {image}. Received: {seen.found.message}")
    return seen.found


def _progress(total: int) -> Progress:
    progress = Progress(
        TextColumn("asking the model"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.add_task("", total=total)
    return progress


def _record(explained: Explained) -> dict[str, Any]:
    scores = explained.scores.tolist()
    return {
        "class": CLASSES[explained.target],
        "score": scores[explained.target],
        "predicted_class": CLASSES[int(explained.scores.argmax())],
        "scores": dict(zip(CLASSES, scores, strict=True)),
        "methods": {
            method.value: {
                "deletion": one.faithfulness.deletion,
                "insertion": one.faithfulness.insertion,
                "beats_baselines": explained.beats_baselines(method),
                "cpu_seconds": round(one.cpu_seconds, 3),
            }
            for method, one in explained.explanations.items()
        },
        "baselines": {
            name: {"deletion": one.deletion, "insertion": one.insertion}
            for name, one in explained.baselines.items()
        },
    }


def _print(explained: Explained, out: Path) -> None:
    record = _record(explained)
    table = Table("map", box=box.SIMPLE_HEAD)
    for column in ("deletion", "insertion"):
        table.add_column(column, justify="right")
    for method, figures in record["methods"].items():
        table.add_row(Method(method).label, *_two_decimals(figures))
    for name, figures in record["baselines"].items():
        table.add_row(f"[dim]{BASELINES[name]}", *_two_decimals(figures))
    click.echo(f"{LESION_CLASSES[explained.target].label}: score {record['score']:.2f}")
    if record["class"] != record["predicted_class"]:
        click.echo(f"The model chooses {record['predicted_class']}")
    Console().print(table)
    click.echo(
        "Deletion: lower is better. Insertion: higher is better. The last two know nothing of the model."
    )
    click.echo(f"Picture: {out}\n{NOTICE}")


def _two_decimals(judged: dict[str, float]) -> Sequence[str]:
    return f"{judged['deletion']:.2f}", f"{judged['insertion']:.2f}"

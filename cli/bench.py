"""`dermabatch bench`: the whole system against a bare loop with the same engine, on the same cores, in one run."""

import json
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import click
import cv2
import numpy as np
import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from cli.installation import Installation, database_url, running_installation
from cli.portal_client import PortalClient, Upload
from dermabatch import accounts
from dermabatch.artifacts import read_artifact
from dermabatch.cores import available_cores
from dermabatch.database import Sessions, connect
from dermabatch.engines import Engine, load_engine
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.shipped import SHIPPED_MODEL

_PAINTED = 100

# Painted pictures are smoother than photographs. With this much grain and this quality they are as large, and take as
# long to decode, as the published HAM10000 images: about 260 kB.
_GRAIN = 11
_JPEG_QUALITY = 99

_BATCH_SECONDS = 1800
_SINGLES = 20
_TENS = 5

console = Console(stderr=True)


@dataclass(frozen=True)
class Ratio:
    """End-to-end rate over the bare loop's, from interleaved pairs."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """What one run measured. Rates are images a second; medians over the pairs."""

    images: int
    pairs: int
    cores: int
    bare_loop_rate: float
    end_to_end_rate: float
    ratio: Ratio
    cpu_milliseconds_per_image: dict[str, float]
    one_image_seconds: dict[str, float]
    ten_images_seconds: dict[str, float]
    peak_memory_mib: dict[str, float]


@click.command()
@click.option("--quick", "size", flag_value="quick", help="200 images, 5 pairs: about 1 minute.")
@click.option("--full", "size", flag_value="full", help="1,000 images, 7 pairs: about 5 minutes.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output and nothing else there."
)
def bench(size: str | None, as_json: bool) -> None:
    """Measure submit to last committed row against decode + model in one process. Default: 1,000 images, 5 pairs.

    The bare loop reads JPEGs from memory and stores nothing; the system receives, checks, encrypts, stores, queues,
    decodes in a sandbox, classifies, records and audits. Both share the machine with whatever else runs on it: only
    their ratio means something elsewhere.
    """
    images, pairs = {"quick": (200, 5), "full": (1000, 7)}.get(size or "", (1000, 5))
    with (
        TemporaryDirectory(prefix="dermabatch-bench-") as folder,
        running_installation(Path(folder), tell=lambda step: console.print(f"{step} ...")) as installation,
    ):
        report = _measure(installation, images, pairs)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        _show(report)


def _measure(installation: Installation, images: int, pairs: int) -> Report:
    console.print("Painting pictures ...")
    pictures = _Pictures()
    system = _System(installation)
    artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
    engine = load_engine(artifact.folder, artifact.manifest, "openvino")
    console.print("Warming up ...")
    _bare_loop(engine, pictures.take(images // 4))
    system.seconds_for(pictures.take(images // 4))
    before = system.cpu_seconds()
    bare, whole = [], []
    for pair in range(1, pairs + 1):
        bare.append(images / _bare_loop(engine, pictures.take(images)))
        whole.append(images / system.seconds_for(pictures.take(images)))
        console.print(f"Pair {pair} of {pairs}: bare {bare[-1]:.0f}/s, end to end {whole[-1]:.0f}/s")
    spent = {name: after - before[name] for name, after in system.cpu_seconds().items()}
    ratios = sorted(ours / theirs for ours, theirs in zip(whole, bare, strict=True))
    engine.close()
    return Report(
        images=images,
        pairs=pairs,
        cores=available_cores(),
        bare_loop_rate=round(median(bare), 1),
        end_to_end_rate=round(median(whole), 1),
        ratio=Ratio(*(round(value, 3) for value in (median(ratios), ratios[0], ratios[-1]))),
        cpu_milliseconds_per_image={
            name: round(1000 * seconds / (images * pairs), 2) for name, seconds in spent.items()
        },
        one_image_seconds=_percentiles([system.seconds_for(pictures.take(1)) for _ in range(_SINGLES)]),
        ten_images_seconds=_percentiles([system.seconds_for(pictures.take(10)) for _ in range(_TENS)]),
        peak_memory_mib=system.peak_memory(),
    )


class _Pictures:
    """JPEGs of 600x450, no two of the same bytes."""

    def __init__(self) -> None:
        self._painted = [_photograph(seed) for seed in range(_PAINTED)]
        self._numbers = count()

    def take(self, number: int) -> list[Upload]:
        return [self._another() for _ in range(number)]

    def _another(self) -> Upload:
        place = next(self._numbers)
        painted = self._painted[place % _PAINTED]
        # A comment segment behind the start marker makes it another file without another decode.
        comment = struct.pack(">HHI", 0xFFFE, 6, place)
        return Upload(f"{place}.jpg", painted[:2] + comment + painted[2:])


def _photograph(seed: int) -> bytes:
    picture = lesion_image(seed).astype(np.float32)
    grain = np.random.default_rng(seed).normal(0, _GRAIN, picture.shape)
    bgr = (picture + grain).clip(0, 255).astype(np.uint8)[:, :, ::-1]
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert written
    return data.tobytes()


class _System:
    """The installation under measurement: a client, and a look at its rows and processes."""

    def __init__(self, installation: Installation) -> None:
        installation.person("bench@bench.example", "Bench", accounts.STAFF)
        installation.person("admin@bench.example", "Administrator", accounts.ADMINISTRATOR)
        installation.activate_shipped_model("admin@bench.example")
        token = installation.token(
            "bench@bench.example", accounts.Scope.BATCHES_READ, accounts.Scope.BATCHES_WRITE
        )
        self._client = PortalClient(installation.portal_url, token)
        self._behind: Sessions = connect(database_url(installation.services, "worker"))
        self._processes = {
            name: psutil.Process(process_id) for name, process_id in installation.services.pids.items()
        }

    def seconds_for(self, uploads: Sequence[Upload]) -> float:
        """From the first byte sent to the commit of the last result, by the rows' own clock."""
        started = time.time()
        batch_id = self._client.submit(uploads)
        for _ in self._client.follow(batch_id, timeout_seconds=_BATCH_SECONDS):
            pass
        with self._behind.begin() as session:
            finished, classified = session.execute(
                sa.text("""
                    SELECT extract(epoch FROM max(c.finished_at)),
                           (SELECT count(*) FROM images WHERE batch_id = :batch AND prediction_id IS NOT NULL)
                    FROM chunks c WHERE c.batch_id = :batch
                """),
                {"batch": UUID(batch_id)},
            ).one()
        if classified != len(uploads):
            raise AssertionError(f"{classified} of {len(uploads)} images were classified")
        return float(finished) - started

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each program with its children, dead ones included."""
        return {name: sum(_cpu(process) for process in _tree(root)) for name, root in self._processes.items()}

    def peak_memory(self) -> dict[str, float]:
        """The largest resident memory of each program's processes so far, added up, in MiB."""
        return {
            name: round(sum(_peak_bytes(process) for process in _tree(root)) / 2**20, 1)
            for name, root in self._processes.items()
        }


def _tree(root: psutil.Process) -> Iterator[psutil.Process]:
    yield root
    yield from root.children(recursive=True)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    # Children that were waited for are in their parent's account and in no list any more.
    return float(times.user + times.system + times.children_user + times.children_system)


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _bare_loop(engine: Engine, uploads: Sequence[Upload]) -> float:
    """Seconds that decoding, preprocessing and classifying take in this process, with a thread for each core."""

    def classify(upload: Upload) -> None:
        bgr = cv2.imdecode(np.frombuffer(upload.data, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        engine.run(preprocess(rgb, engine.input_size)[np.newaxis])  # type: ignore[arg-type]

    cv2.setNumThreads(1)
    started = time.perf_counter()
    # Twice the cores: while one image of a thread is in the engine, another is decoded.
    with ThreadPoolExecutor(2 * available_cores()) as pool:
        for _ in pool.map(classify, uploads):
            pass
    return time.perf_counter() - started


def _percentiles(seconds: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def _show(report: Report) -> None:
    table = Table(box=None, show_header=False)
    rows: dict[str, Any] = {
        "bare loop": f"{report.bare_loop_rate:.0f} images/s",
        "end to end": f"{report.end_to_end_rate:.0f} images/s",
        "ratio": f"{report.ratio.median:.2f} ({report.ratio.low:.2f} to {report.ratio.high:.2f})",
        "one image": _latency(report.one_image_seconds),
        "ten images": _latency(report.ten_images_seconds),
        "CPU-ms an image": _by_program(report.cpu_milliseconds_per_image),
        "peak memory, MiB": _by_program(report.peak_memory_mib),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _latency(seconds: dict[str, float]) -> str:
    return f"p50 {seconds['p50']:.2f} s, p95 {seconds['p95']:.2f} s"


def _by_program(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())

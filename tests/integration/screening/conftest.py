"""An archive of painted lesions, a worker that classifies whenever the screening waits, and a night that screens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import pytest
import sqlalchemy as sa

from dermabatch.audit import Actor, ActorKind
from dermabatch.lifecycle import ModelState
from dermabatch.schema import Model
from dermabatch.screening.attempt import Means
from dermabatch.screening.counting import RunReport, report_of
from dermabatch.screening.rescoring import rescore
from dermabatch.screening.runs import Night, Wish
from dermabatch.screening.screening import screen
from dermabatch.screening.sources import FolderSource, Source
from dermabatch.screening.tables import ScreeningRun, SourceKind
from dermabatch.shipped import SHIPPED_MODEL
from tests.integration.intake.conftest import picture
from tests.integration.worker.conftest import (  # noqa: F401 - fixtures
    Work,
    decoders,
    intake,
    settings,
    shipped_engine,
    work,
)
from tests.situations import tiny_manifest

NIGHT = Actor(None, ActorKind.SERVICE, "night run of a test")


class WorkForAnyModel(Work):
    """The shipped model's engine speaks for every model that a test registers."""

    def _load(self, digest):
        model = super()._load(SHIPPED_MODEL.digest)
        model.artifact = replace(model.artifact, digest=digest)
        return model


@dataclass
class Archive:
    """A folder of images, and everything that screens it."""

    work: Work
    folder: Path
    stop: Event = field(default_factory=Event)
    told: list[int | None] = field(default_factory=list)

    @property
    def means(self) -> Means:
        intake = self.work.intake  # noqa: F811 - the attribute
        return Means(
            sessions=intake.web,
            store=intake.store,
            keyring=intake.keyring,
            wake_up=intake.wake_up,
            decoders=intake.decoders,
            settings=intake.settings,
        )

    def wish(
        self, source: Source, *, model: str | None = None, night: Night | None = None, budget=None
    ) -> Wish:
        hospital = self.work.intake.hospital
        return Wish(
            source=source.kind,
            identity=source.identity,
            department_id=hospital.department,
            started_by=hospital.nurse,
            model=model,
            night=night,
            image_budget=budget,
        )

    def screen(self, source: Source | None = None, *, tell=None, means=None, **wish) -> RunReport | None:
        source = source or FolderSource(self.folder)
        return screen(
            source,
            self.wish(source, **wish),
            means=means or self.means,
            actor=NIGHT,
            stop=self.stop,
            tell=tell or self.classify,
        )

    def rescore(self, model: str | None = None) -> RunReport:
        hospital = self.work.intake.hospital
        wish = Wish(SourceKind.STORED, "stored", hospital.department, hospital.nurse, model=model)
        return rescore(wish, means=self.means, actor=NIGHT, stop=self.stop, tell=self.classify)

    def classify(self, progress) -> None:
        """The worker has its turn whenever the screening only waits."""
        self.told.append(progress.outstanding)
        if progress.outstanding:
            self.work.drain()

    def add(self, *names: str, first_seed: int = 0) -> None:
        for seed, name in enumerate(names, first_seed):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(seed))

    def runs(self) -> Sequence[ScreeningRun]:
        with self.work.intake.worker.begin() as session:
            return session.scalars(sa.select(ScreeningRun).order_by(ScreeningRun.id)).all()

    def report(self) -> RunReport:
        [run] = self.runs()
        with self.work.intake.worker.begin() as session:
            return report_of(session, run.id)

    def other_model(self, state: ModelState = ModelState.CANDIDATE) -> str:
        """A second model, for which the same engine speaks."""
        digest = "cd" * 32
        with self.work.intake.web.begin() as session:
            session.add(
                Model(
                    digest=digest,
                    name="candidate-1",
                    state=state,
                    manifest=tiny_manifest().model_dump(mode="json"),
                    signature=b"\0" * 64,
                    published_by=self.work.intake.hospital.installer,
                    gate={"passed": False} if state is ModelState.REJECTED else None,
                )
            )
        return digest


def small_uploads(monkeypatch, files: int) -> None:
    """So that a handful of files makes several batches."""
    monkeypatch.setattr("dermabatch.screening.screening.UPLOAD_FILES", files)


def counts(report: RunReport) -> dict[str, int]:
    """The counts that are not 0."""
    found = re.findall(r"(\d+) ([a-z ]+?)(?: [=+]|;)", report.files.line())
    return {name: int(count) for count, name in found if int(count)}


@pytest.fixture
def archive(work, tmp_path) -> Archive:  # noqa: F811 - the fixture
    folder = tmp_path / "archive"
    folder.mkdir()
    return Archive(WorkForAnyModel(work.intake, work.engine), folder)

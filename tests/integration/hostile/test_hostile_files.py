"""Files that were made to hurt go through the whole intake and a worker: each is judged, and no process dies."""

import time
from pathlib import Path

import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging import operations
from dermabatch.imaging.inspection import inspect
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.intake.budget import Budget
from dermabatch.intake.incoming import RefusedFile
from dermabatch.intake.unpacking import unpack
from dermabatch.lifecycle import ImageState
from tests.integration.hostile import crafted
from tests.integration.hostile.conftest import MAX_BYTES, MAX_SECONDS, Ward, Watch
from tests.integration.hostile.mutants import mutants
from tests.integration.intake.conftest import incoming
from tests.integration.pictures import assert_holds_nothing_but_pixels

AT_ONCE_SECONDS = 0.1
MUTANTS_OF_AN_UPLOAD = 50


def pydicom_files() -> list[tuple[str, bytes]]:
    """Those that pydicom brings along to test itself."""
    folder = Path(pydicom.data.__file__).parent
    return [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*.dcm"))]


def test_polyglots_and_bombs_end_as_they_should(ward: Ward):
    files = list((crafted.polyglots() | crafted.bombs()).values())
    images = ward.judge((f"{number}-{file.name}", file.data) for number, file in enumerate(files))
    assert [image.reason_code for image in images] == [file.reason for file in files]
    predictions = ward.work.predictions(images[0].batch_id)
    assert len(predictions) == [file.reason for file in files].count(None)
    for prediction in predictions:
        thumbnail = ward.work.derived_of(prediction).thumbnail
        assert_holds_nothing_but_pixels(thumbnail, crafted.MARK, crafted.EICAR, b"<script>")


@pytest.mark.parametrize("polyglot", crafted.polyglots().values(), ids=crafted.polyglots())
def test_nothing_is_kept_of_a_polyglot_but_its_picture(polyglot: crafted.Crafted):
    if polyglot.reason is None:
        kept = inspect(polyglot.data, polyglot.name, extract_dicom=operations.extract_dicom).stripped
        for planted in (crafted.MARK, crafted.EICAR, b"<script>", b"PK\x03\x04", b"Exif"):
            assert planted not in kept


@pytest.mark.parametrize("bomb", crafted.bombs().values(), ids=crafted.bombs())
def test_a_bomb_is_refused_at_once(bomb: crafted.Crafted):
    """Measured is the time of the CPU, as this machine may have other things to do."""
    budget = Budget(max_files=20_000, max_bytes=4 * 2**30, max_file_bytes=64 * 2**20)
    started = time.thread_time()
    reason = _reason(bomb, budget)
    assert time.thread_time() - started < AT_ONCE_SECONDS
    assert reason == bomb.reason


def _reason(bomb: crafted.Crafted, budget: Budget) -> str | None:
    """As intake and a decoder see it, one after the other."""
    try:
        for received in unpack([incoming(bomb.name, bomb.data)], budget):
            if isinstance(received, RefusedFile):
                return received.reason
            taken = inspect(received.data, received.name, extract_dicom=operations.extract_dicom)
            operations.decode(taken.stripped, taken.orientation, 224)
    except ImageRejected as rejected:
        return rejected.reason
    return None


@pytest.mark.parametrize("suffix", crafted.of_other_codecs())
def test_a_picture_for_another_codec_of_opencv_reaches_none(decoders, watch: Watch, suffix: str):
    """Not even where intake let it through under any name."""
    data = crafted.of_other_codecs()[suffix]
    for name in (f"a{suffix}", "a.jpg", "a"):
        with pytest.raises(ImageRejected) as refusal:
            inspect(data, name)
        assert refusal.value.reason == "not_an_image"
    (decoded,) = decoders.decode([(data, 1)], 224)
    assert isinstance(decoded, ImageRejected)
    with pytest.raises(ImageRejected):
        decoders.render(data, 1, 1600)
    watch.assert_nothing_died()


def test_pydicoms_own_test_files_are_judged(ward: Ward):
    files = pydicom_files()
    assert len(files) > 80
    assert len(ward.judge(files)) == len(files)


def uploads_of_mutants() -> st.SearchStrategy[list[tuple[str, bytes]]]:
    return st.lists(mutants(), min_size=MUTANTS_OF_AN_UPLOAD, max_size=MUTANTS_OF_AN_UPLOAD)


_WITH_SERVICES = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=6, derandomize=True, **_WITH_SERVICES)
@given(files=uploads_of_mutants())
def test_some_mutants_are_judged(ward: Ward, files):
    assert len(ward.judge(files)) >= len(files)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=10_000 // MUTANTS_OF_AN_UPLOAD, **_WITH_SERVICES)
@given(files=uploads_of_mutants())
def test_ten_thousand_mutants_are_judged(ward: Ward, files):
    assert len(ward.judge(files)) >= len(files)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_pillows_own_test_images_are_judged(ward: Ward, pillow_pictures):
    assert len(pillow_pictures) > 1000
    images = ward.judge(pillow_pictures)
    assert sum(image.state is not ImageState.REJECTED for image in images) > 100


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_decoder_that_gets_them_unjudged_takes_neither_much_memory_nor_time(pillow_pictures):
    """As if intake had let through whatever there is."""
    with DecoderPool(1, wall_seconds=120) as pool:
        watch = Watch.over(pool)
        for name, data in [*pillow_pictures, *pydicom_files()]:
            before = watch.seconds
            for outcome in _unjudged(pool, data):
                assert not isinstance(outcome, DecoderDied), name
            assert watch.seconds - before < MAX_SECONDS, name
        watch.assert_nothing_died()
        assert watch.peak_bytes <= MAX_BYTES


def _unjudged(pool: DecoderPool, data: bytes) -> list[object]:
    (decoded,) = pool.decode([(data, 1)], 224)
    try:
        extracted: object = pool.extract_dicom(data)
    except (ImageRejected, DecoderDied) as outcome:
        extracted = outcome
    return [decoded, extracted]

"""The decoder pool with real processes, honest pictures and hostile ones."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from dermabatch.errors import DecoderDied, ImageRejected, ServiceUnavailable
from dermabatch.imaging import decoder_wire, operations
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.dicom import DicomTags
from dermabatch.imaging.quality import Quality
from dermabatch.imaging.sandbox import DecoderPool, SandboxLevel
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg, lesion_png
from dermabatch.imaging.synthetic_dicom import lesion_dicom
from tests.integration.imaging.hostile_operations import attack

HOSTILE = "tests.integration.imaging.hostile_operations"
UNFILTERED = "tests.integration.imaging.unfiltered_operations"
SIZE = 224
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def attacked() -> Iterator[DecoderPool]:
    """A pool whose decoders attack when a picture tells them to."""
    with DecoderPool(2, wall_seconds=1, operations=HOSTILE) as pool:
        yield pool


def pictures(count: int) -> list[tuple[bytes, int]]:
    return [(lesion_jpeg(seed, width=120, height=90), 1 + seed % 8) for seed in range(count)]


def same(outcome: object, picture: tuple[bytes, int]) -> bool:
    expected = operations.decode(*picture, SIZE)
    return isinstance(outcome, Decoded) and np.array_equal(outcome.pixels, expected.pixels)


def processes_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: Collection[psutil.Process]) -> bool:
    """Whether all of them end in time."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    return not alive


def test_outcomes_are_those_of_the_operations_in_the_order_of_the_pictures(pool: DecoderPool) -> None:
    given = [*pictures(40), (lesion_png(1), 1), (b"GIF89a", 1), (lesion_jpeg(1, width=450, height=600), 6)]
    outcomes = pool.decode(given, SIZE)
    assert all(map(same, outcomes[:41], given[:41]))
    assert isinstance(outcomes[41], ImageRejected)
    expected = operations.decode(*given[42], SIZE)
    last = outcomes[42]
    assert isinstance(last, Decoded)
    assert (last.width, last.height, last.quality, last.thumbnail) == (
        600, 450, expected.quality, expected.thumbnail
    )  # fmt: skip


def test_no_pictures_have_no_outcomes(pool: DecoderPool) -> None:
    assert pool.decode([], SIZE) == []


def test_many_threads_may_use_one_pool(pool: DecoderPool) -> None:
    given = pictures(12)
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: pool.decode(given, SIZE), range(12)))
    assert all(all(map(same, outcomes, given)) for outcomes in answers)


def test_large_pictures_are_decoded_too(pool: DecoderPool) -> None:
    pixels = cv2.resize(lesion_image(1, width=120, height=90), (8000, 6000))
    large = (cv2.imencode(".jpg", pixels)[1].tobytes(), 8)
    (outcome,) = pool.decode([large], SIZE)
    assert same(outcome, large)


def test_a_picture_with_a_hole_is_refused_instead_of_judged_half_grey(pool: DecoderPool) -> None:
    whole = lesion_jpeg(1)
    holed, good = (whole[: len(whole) // 2] + b"\xff\xd9", 1), (whole, 1)
    refused, decoded = pool.decode([holed, good], SIZE)
    assert isinstance(refused, ImageRejected)
    assert refused.reason == "corrupt"
    assert same(decoded, good)


def test_a_rendered_picture_is_a_new_jpeg(pool: DecoderPool) -> None:
    rendered = pool.render(lesion_png(1), 6, 300)
    assert cv2.imdecode(np.frombuffer(rendered, np.uint8), 1).shape == (300, 225, 3)


def test_what_cannot_be_rendered_is_refused(pool: DecoderPool) -> None:
    with pytest.raises(ImageRejected):
        pool.render(b"GIF89a", 1, 300)


@pytest.mark.parametrize("coding", ["jpeg", "native"])
def test_dicom_is_read_in_the_sandbox(pool: DecoderPool, coding: str) -> None:
    image = pool.extract_dicom(lesion_dicom(1, coding=coding, patient="Ünal-17", age=54))
    assert image.tags == DicomTags("Ünal-17", 54)
    assert len(image.data) > 30_000


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 144", "ISO 2022 IR 87", "GB18030"])
def test_patient_numbers_of_any_script_are_read_though_no_codec_can_be_loaded(
    pool: DecoderPool, charset: str
) -> None:
    declared = charset.encode().ljust(len(charset) + len(charset) % 2)
    data = lesion_dicom(1, patient="P-17").replace(
        b"CS\x0a\0ISO_IR 192", b"CS" + len(declared).to_bytes(2, "little") + declared
    )
    assert declared in data
    assert pool.extract_dicom(data).tags.patient == "P-17"


def test_damaged_dicom_is_refused(pool: DecoderPool) -> None:
    with pytest.raises(ImageRejected):
        pool.extract_dicom(bytes(128) + b"DICM" + bytes(range(200)))


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("segfault", "SIGSEGV"),
        ("abort", "was killed by SIG"),
        ("exit", "exited with status 0"),
        ("hang", "was stopped after 1 s"),
        ("read", "PermissionError"),
        ("write", "PermissionError"),
        ("socket", "PermissionError"),
        ("fork", "Error"),
        ("exec", "PermissionError"),
        ("kill", "PermissionError"),
        ("escalate", "PermissionError"),
        ("machine code", "PermissionError"),
        ("nonsense", "answered nonsense"),
        ("pickle", "answered nonsense"),
    ],
)
def test_an_attack_fails_and_costs_its_own_picture_only(attacked: DecoderPool, deed: str, told: str) -> None:
    given = pictures(7)
    given[3] = (attack(deed), 1)
    outcomes = attacked.decode(given, SIZE)
    died = outcomes.pop(3)
    given.pop(3)
    assert isinstance(died, DecoderDied)
    assert told in str(died)
    assert all(map(same, outcomes, given))


def test_a_picture_that_eats_memory_is_refused(attacked: DecoderPool) -> None:
    given = pictures(3)
    given[1] = (attack("memory"), 1)
    first, refused, last = attacked.decode(given, SIZE)
    assert isinstance(refused, ImageRejected)
    assert refused.reason == "undecodable"
    assert same(first, given[0])
    assert same(last, given[2])


def test_a_batch_of_nothing_but_attacks_names_each(attacked: DecoderPool) -> None:
    outcomes = attacked.decode([(attack("segfault"), 1)] * 6, SIZE)
    assert [type(outcome) for outcome in outcomes] == [DecoderDied] * 6


def test_an_error_on_this_side_never_gives_one_picture_the_answer_of_another(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> Quality:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Quality, "from_header", fail)
        with pytest.raises(SystemExit):
            pool.decode(pictures(16), SIZE)
    given = pictures(16)[::-1]
    assert all(map(same, pool.decode(given, SIZE), given))


def test_decoders_inherit_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMABATCH_MASTER_KEY", "a secret")
    with DecoderPool(1, operations=HOSTILE) as pool:
        seen = pool.extract_dicom(attack("environment")).data
    assert b"DERMABATCH" not in seen
    assert b"OMP_NUM_THREADS" in seen


def test_decoders_hold_one_socket_no_privilege_and_no_framework(pool: DecoderPool) -> None:
    (parent,) = [
        child for child in processes_of(os.getpid()) if "decoder_parent" in " ".join(child.cmdline())
    ][:1]
    for decoder in parent.children():
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{decoder.pid}/status").read_text().splitlines()
        )
        assert status["Seccomp"].strip() == "2"
        assert status["NoNewPrivs"].strip() == "1"
        assert "0" not in status["Uid"].split()
        targets = [str(entry.readlink()) for entry in Path(f"/proc/{decoder.pid}/fd").iterdir()]
        assert sum(target.startswith("socket:") for target in targets) == 1
        assert set(target.split(":")[0] for target in targets) <= {"socket", "pipe", "/dev/null"}
        mapped = Path(f"/proc/{decoder.pid}/maps").read_text()
        assert not any(name in mapped for name in ("tensorflow", "openvino", "psycopg"))


def test_a_decoder_killed_while_idle_costs_no_picture_anything() -> None:
    with DecoderPool(1) as pool:
        (parent,) = psutil.Process().children()[-1:]
        decoder = parent.children()[-1]
        decoder.kill()
        while decoder.status() != psutil.STATUS_ZOMBIE:
            os.sched_yield()
        given = pictures(3)
        assert all(map(same, pool.decode(given, SIZE), given))


def test_the_parent_of_the_decoders_is_started_again_when_it_was_killed() -> None:
    with DecoderPool(2) as pool:
        (parent,) = psutil.Process().children()[-1:]
        decoders = parent.children()
        parent.kill()
        assert gone(decoders)
        given = pictures(6)
        assert all(map(same, pool.decode(given, SIZE), given))


def test_nothing_is_left_after_closing() -> None:
    before = set(psutil.Process().children(recursive=True))
    descriptors = psutil.Process().num_fds()
    with DecoderPool(2) as pool:
        pool.decode(pictures(4), SIZE)
        started = set(psutil.Process().children(recursive=True)) - before
    assert len(started) == 3
    assert gone(started)
    assert psutil.Process().num_fds() == descriptors
    pool.close()


def test_no_process_outlives_the_sudden_death_of_the_program_that_uses_the_pool() -> None:
    program = (
        "from dermabatch.imaging.sandbox import DecoderPool\n"
        f"pool = DecoderPool(2, wall_seconds=600, operations={HOSTILE!r})\n"
        "print('ready', flush=True)\n"
        "pool.decode([(b'attack:hang', 1)] * 2, 224)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        left = processes_of(running.pid)
        assert len(left) == 3
        decoders = [process for process in left if process.ppid() != running.pid]
        while any(decoder.status() != psutil.STATUS_RUNNING for decoder in decoders):
            os.sched_yield()  # until both hang in their loops
        running.kill()
    assert gone(left)


def test_ctrl_c_and_a_supervisors_stop_leave_the_decoders_to_the_pool() -> None:
    with DecoderPool(1) as pool:
        (parent,) = psutil.Process().children()[-1:]
        for process in (parent, *parent.children()):
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
        given = pictures(2)
        assert all(map(same, pool.decode(given, SIZE), given))


def test_this_system_grants_every_protection(pool: DecoderPool) -> None:
    assert pool.sandbox_level is SandboxLevel.FULL


def test_a_missing_filter_is_logged_once_and_decoding_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), DecoderPool(2, operations=UNFILTERED) as pool:
        given = pictures(3)
        assert all(map(same, pool.decode(given, SIZE), given))
        assert pool.sandbox_level is SandboxLevel.REDUCED
    assert [record.message for record in caplog.records] == [
        "decoders run with less protection than intended, without a system call filter (Invalid argument)"
    ]


def test_a_temporary_file_stands_in_for_sealed_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError("not here")

    monkeypatch.setattr(decoder_wire.os, "memfd_create", refuse)
    with caplog.at_level(logging.WARNING), DecoderPool(1) as pool:
        given = pictures(3)
        assert all(map(same, pool.decode(given, SIZE), given))
        assert len(pool.render(lesion_jpeg(1), 1, 300)) > 1000
    assert "without sealed memory" in caplog.text


def test_a_pool_whose_decoders_cannot_start_says_so() -> None:
    with pytest.raises(ServiceUnavailable):
        DecoderPool(1, operations="dermabatch.imaging.no_such_module")


def test_the_portal_and_the_pool_never_load_the_dicom_parser() -> None:
    program = "import sys, dermabatch.imaging.sandbox, dermabatch.imaging.inspection; print('pydicom' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program]) == b"False\n"


def test_the_parent_of_the_decoders_loads_no_framework_and_no_service() -> None:
    program = (
        "import sys, dermabatch.imaging.decoder_parent, dermabatch.imaging.operations; print(*sys.modules)"
    )
    loaded = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert not loaded & {"tensorflow", "keras", "openvino", "sqlalchemy", "boto3", "redis", "flask", "celery"}


def test_lesions_decode_alike_inside_and_outside(pool: DecoderPool) -> None:
    (outcome,) = pool.decode([(lesion_png(5, width=SIZE, height=SIZE), 1)], SIZE)
    assert isinstance(outcome, Decoded)
    assert np.array_equal(outcome.pixels, lesion_image(5, width=SIZE, height=SIZE))

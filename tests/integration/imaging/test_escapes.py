"""A decoder that was taken over tries to get out: to files, the network, other processes, and secrets."""

import json
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.imaging.synthetic import lesion_jpeg
from tests.integration.imaging.prying_operations import SUCCEEDED, Targets

HERE = "tests.integration.imaging"

# read, write, close, mmap, mprotect, munmap, brk, rt_sigprocmask, sched_yield, mremap, madvise, sendto, recvfrom,
# gettimeofday, futex, restart_syscall, clock_gettime, getrandom: computing, and talking over the one socket it has
ALLOWED_ON_X86_64 = [0, 1, 3, 9, 10, 11, 12, 14, 24, 25, 28, 44, 45, 96, 202, 219, 228, 318]

REFUSED_BY_THE_MACHINE_ITSELF = {"read the memory of its parent", "trace its parent"}
"""Perhaps: containers and Yama forbid them to everybody."""


LEFT_TO_THE_FILTER = {
    "allow others to trace it",
    "become another program",
    "change its resource limits",
    "make memory executable",
    "map executable memory",
    "remove a file",
}
FROM_THE_SAME_USER = {
    "read the memory of its parent",
    "signal its parent",
    "signal the pool",
    "trace its parent",
}
"""Left to the filter as well where the pool does not run as root, and its decoders therefore run as the same user."""


@pytest.fixture(scope="module")
def targets() -> Iterator[Targets]:
    """All that a decoder could want, within reach of every user of this machine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dermabatch-targets-")))
        folder.chmod(0o777)
        for name in ("file", "to be removed"):
            (folder / name).write_text("x")
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix_listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix_listener.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        unix_listener.listen()
        yield Targets(
            port=listener.getsockname()[1],
            unix_socket=str(folder / "socket"),
            file=str(folder / "file"),
            folder=str(folder),
            pool=os.getpid(),
        )


def report_of(operations: str, targets: Targets) -> dict[str, Any]:
    """What a decoder says that tries everything."""
    with DecoderPool(1, operations=f"{HERE}.{operations}") as pool:
        return json.loads(pool.extract_dicom(json.dumps(asdict(targets)).encode()).data)


@pytest.fixture(scope="module")
def report(targets: Targets) -> dict[str, Any]:
    return report_of("prying_operations", targets)


def succeeded(report: dict[str, Any]) -> set[str]:
    return {name for name, outcome in report["attempts"].items() if outcome == SUCCEEDED}


def test_nothing_that_a_decoder_tries_succeeds(report: dict[str, Any]) -> None:
    assert len(report["attempts"]) > 20
    assert succeeded(report) == set()


def test_each_of_these_attempts_would_succeed_without_the_sandbox(targets: Targets) -> None:
    unconfined = report_of("prying_unconfined_operations", targets)
    failed = set(unconfined["attempts"]) - succeeded(unconfined)
    assert failed <= REFUSED_BY_THE_MACHINE_ITSELF
    assert not Path(targets.folder, "to be removed").exists()
    Path(targets.folder, "to be removed").write_text("x")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
def test_no_other_system_call_reaches_the_kernel(report: dict[str, Any]) -> None:
    """Neither io_uring nor open_by_handle_at, keyctl, ptrace, bpf, nor what kernels of tomorrow will add."""
    assert report["syscalls"] == ALLOWED_ON_X86_64


def test_the_filter_alone_holds_where_limits_and_user_do_not(targets: Targets) -> None:
    assert succeeded(report_of("prying_unlimited_operations", targets)) == set()


def test_without_the_filter_a_decoder_still_opens_nothing_and_starts_no_process(targets: Targets) -> None:
    unfiltered = report_of("prying_unfiltered_operations", targets)
    assert succeeded(unfiltered) <= LEFT_TO_THE_FILTER | (FROM_THE_SAME_USER if os.geteuid() else set())


def test_a_decoder_knows_nothing_of_the_pools_environment(
    targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMABATCH_MASTER_KEY", "planted")
    environment = report_of("prying_operations", targets)["environment"]
    assert "planted" not in str(environment)
    assert not any(name.startswith(("DERMABATCH", "AWS", "PG")) for name in environment)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into the memory of a decoder")
def test_neither_decoders_nor_their_parent_hold_a_secret_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = f"planted {os.urandom(12).hex()}"
    settings = SecretStr(planted)
    monkeypatch.setenv("DERMABATCH_MASTER_KEY", planted)
    before = set(psutil.Process().children(recursive=True))
    with DecoderPool(1) as pool:
        pool.decode([(lesion_jpeg(1), 1)], 224)
        processes = set(psutil.Process().children(recursive=True)) - before
        assert len(processes) == 2
        assert _holds(os.getpid(), settings.get_secret_value().encode())
        for process in processes:
            assert not _holds(process.pid, planted.encode())


def _holds(pid: int, secret: bytes) -> bool:
    """Whether these bytes lie anywhere in the memory that a process can write to."""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(edge, 16) for edge in span.split("-"))
                memory.seek(start)
                if secret in memory.read(end - start):
                    return True
    return False

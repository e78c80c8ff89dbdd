"""What a program starts ends with it, in order if it can and at once if it is killed; what crashes comes back."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from redis import Redis, RedisError

from dermabatch.embedded import EmbeddedServices
from dermabatch.embedded.host import wait_until
from dermabatch.errors import ConfigurationError, ServiceUnavailable

SERVICES = {"postgres", "redis", "s3"}
# Does not stop when asked to, and has a child.
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]

PROGRAM = f"""
import os, sys, time
from pathlib import Path
from dermabatch.embedded import EmbeddedServices
with EmbeddedServices(Path(sys.argv[1])) as services:
    services.spawn("stubborn", {STUBBORN}, dict(PATH="/usr/bin:/bin"))
    if sys.argv[2:] == ["fork"] and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("up", flush=True)
    time.sleep(600)
"""


class Holder:
    """Another program that holds services and a stubborn program of its own, and all that it has started."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._popen.stdout.readline() == "up\n"
        self.pid = self._popen.pid
        children = psutil.Process(self.pid).children()
        self.supervisor = next(child for child in children if "supervisor.py" in " ".join(child.cmdline()))
        self.fork = next((child for child in children if child != self.supervisor), None)
        self.started = [self.supervisor, *self.supervisor.children(recursive=True)]

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._popen.stdout.close()

    @property
    def left(self) -> list[psutil.Process]:
        return [process for process in self.started if process.is_running()]


@pytest.fixture
def hold(folder):
    holders = []

    def start(*arguments: str) -> Holder:
        holders.append(Holder(folder, *arguments))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        if holder.fork:
            holder.fork.kill()
        assert wait_until(lambda holder=holder: not holder.left, seconds=15)


def is_answering(url: str) -> bool:
    try:
        with Redis.from_url(url, retry=None) as client:
            return bool(client.ping())
    except RedisError:
        return False


def test_a_second_start_on_a_folder_names_the_folder_and_the_holder(folder, hold):
    holder = hold()
    running = holder.supervisor.children()

    with (
        pytest.raises(ConfigurationError, match=f"{folder} is in use by process {holder.pid}"),
        EmbeddedServices(folder),
    ):
        pass

    assert holder.supervisor.children() == running


def test_when_the_program_is_killed_everything_ends(hold):
    holder = hold()

    holder.kill()

    assert wait_until(lambda: not holder.left, seconds=5), holder.left


def test_when_the_program_is_killed_a_fork_of_it_does_not_keep_the_rest_alive(hold):
    holder = hold("fork")

    holder.kill()

    assert wait_until(lambda: not holder.left, seconds=5), holder.left
    assert holder.fork.is_running()


def test_when_the_supervisor_is_killed_every_service_and_program_ends(hold):
    holder = hold()
    programs = holder.supervisor.children()

    holder.supervisor.kill()

    assert wait_until(lambda: not any(program.is_running() for program in programs), seconds=5)


def test_a_folder_starts_again_right_after_everything_was_killed(folder, hold):
    holder = hold()
    noted = folder / "s3/mini.options"  # written a moment after the service first answers
    port_line = re.compile(r"^s3\.port=(\d+)$", re.MULTILINE)
    assert wait_until(lambda: noted.exists() and port_line.search(noted.read_text()), seconds=10)
    port = port_line.search(noted.read_text()).group(1)
    for process in holder.started:
        with contextlib.suppress(psutil.NoSuchProcess):  # the death of the supervisor was faster
            process.kill()
    holder.kill()

    with EmbeddedServices(folder) as services:
        assert set(services.pids) == SERVICES
        assert not list(Path("/tmp").glob(f"seaweedfs-s3-{port}.sock"))


def test_after_an_orderly_end_neither_a_process_nor_a_socket_is_left(folder):
    with EmbeddedServices(folder) as services:
        processes = [psutil.Process(pid) for pid in services.pids.values()]
        port = urlsplit(services.s3_endpoint).port
        assert list(Path("/tmp").glob(f"seaweedfs-s3-{port}.sock"))

    assert not [process for process in processes if process.is_running()]
    assert not list(Path("/tmp").glob(f"seaweedfs-s3-{port}.sock"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_that_was_killed_stays_down_until_it_is_restarted(services, name):
    environment = services.environment("web")

    services.kill(name)

    assert name not in services.pids
    services.restart(name)
    assert set(services.pids) == SERVICES
    assert services.environment("web") == environment


def test_a_service_that_crashes_comes_back_by_itself(services):
    crashed = services.pids["redis"]

    os.kill(crashed, signal.SIGKILL)

    assert wait_until(lambda: services.pids.get("redis", crashed) != crashed, seconds=5)
    assert wait_until(lambda: is_answering(services.redis_url), seconds=5)


def test_a_program_ends_while_the_services_are_still_there(folder):
    log = folder / "logs/program.log"
    with EmbeddedServices(folder, replaced={"postgres", "s3"}) as services:
        port = urlsplit(services.redis_url).port
        last_words = f"trap 'exec 3<>/dev/tcp/127.0.0.1/{port} && echo redis is there; exit' TERM"
        script = f"{last_words}; echo ready; while :; do sleep 0.05; done"
        services.spawn("program", ["/bin/bash", "-c", script], {"PATH": os.environ["PATH"]})
        assert wait_until(lambda: log.read_text() == "ready\n", seconds=5)

    assert log.read_text() == "ready\nredis is there\n"


def test_only_a_program_that_is_kept_alive_is_started_again(folder):
    with EmbeddedServices(folder, replaced=SERVICES) as services:
        services.spawn("kept", ["/bin/echo", "ran"], {}, kept_alive=True)
        services.spawn("once", ["/bin/echo", "ran"], {})

        assert wait_until(lambda: (folder / "logs/kept.log").read_text() == "ran\nran\n", seconds=10)
        assert (folder / "logs/once.log").read_text() == "ran\n"


def test_a_program_that_does_not_exist_is_named(folder):
    with (
        EmbeddedServices(folder, replaced=SERVICES) as services,
        pytest.raises(ServiceUnavailable, match="/no/such/program"),
    ):
        services.spawn("absent", ["/no/such/program"], {})

"""Programs of the live installation, started so that a test can strike them at a named point."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from dermabatch.embedded.host import wait_until
from tests.faults import launcher
from tests.live import LiveInstallation

PATIENCE_SECONDS = 120


@dataclass
class Striker:
    """Starts programs by the launcher, arms their points, and puts everything back in the end."""

    live: LiveInstallation
    folder: Path
    """Where armed points lie."""
    _started: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    """Name to the program and what was changed for it."""

    def start(self, program: str, *, name: str = "", **environment: str) -> None:
        """Start `portal`, `worker` or `scheduler` in place of the one of that name, or beside it under another name.

        One that was started in the same way before goes on.

        Args:
            environment: changes to what the installation gives it.
        """
        installation, name = self.live.installation, name or program
        if self._started.get(name) == (program, environment):
            return
        self._started[name] = (program, environment)
        python, *arguments = installation.command(program)
        installation.services.spawn(
            name,
            [python, "-m", "tests.faults.launcher", *arguments],
            {**installation.environment(program), launcher.ARMED: str(self.folder), **environment},
            kept_alive=True,
        )
        if program == "portal":
            self.wait_for_portal()

    def wait_for_portal(self) -> None:
        """Until it answers, started anew or again by its supervisor."""
        http = urllib3.PoolManager(retries=False, timeout=2)

        def answers() -> bool:
            try:
                return http.request("GET", f"{self.live.installation.portal_url}/healthz").status == 200
            except urllib3.exceptions.HTTPError:
                return False

        self.wait_until(answers, "the portal answers")

    def arm(self, point: str, action: Callable[[], None] = launcher.die) -> None:
        """Let the next program that comes to this point meet its fate there."""
        prepared = self.folder / f"{point}.prepared"
        prepared.write_text(action.__name__)
        prepared.rename(self.folder / point)

    def wait_until_struck(self, point: str) -> int:
        """Wait until a program came to an armed point; returns its process id."""
        self.wait_until(lambda: not (self.folder / point).exists(), f"a program comes to: {point}")
        [struck] = self.folder.glob("struck by *")
        process_id = int(struck.name.rpartition(" ")[2])
        struck.unlink()
        return process_id

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        assert wait_until(condition, seconds=PATIENCE_SECONDS), f"not within {PATIENCE_SECONDS} s: {what}"

    def end(self, name: str) -> None:
        """SIGKILL a program that was started here, and leave it down."""
        self.live.installation.services.kill(name)
        self._started.pop(name)

    def put_back(self) -> None:
        """Every program as it was before, and no other."""
        for armed in self.folder.iterdir():
            armed.unlink()
        for name, (program, _) in self._started.items():
            self.live.installation.services.kill(name)
            if name == program:
                self.live.installation.start(program)
        if "portal" in self._started:
            self.wait_for_portal()
        self._started.clear()

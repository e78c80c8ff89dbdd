"""A crowd at the door, behind the reverse proxy of the operators' guide."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, islice
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
import urllib3

from cli.installation import Login
from cli.portal_client import PortalClient, Upload
from dermabatch.embedded.host import wait_until
from dermabatch.lifecycle import PREDICTED_STATES
from dermabatch.schema import Image
from tests.faults.reverse_proxy import NAME, certificate, reverse_proxy
from tests.faults.slow_connections import SlowConnections
from tests.live import LiveInstallation, small_lesions

UPLOADS, AT_ONCE, SLOW = 10_000, 100, 500
DIFFERENT = 50
LARGE_PAGE = "/static/vendor/swagger-ui/swagger-ui-bundle.js"
CSRF_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@pytest.fixture
def door(live, striker, tmp_path, monkeypatch):
    """The portal as a hospital runs it: TLS ends at the proxy, cookies are for TLS alone."""
    striker.start("portal", DERMABATCH_TRUSTED_PROXIES="1", DERMABATCH_INSECURE_COOKIES="false")
    with reverse_proxy(live, tmp_path) as address:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
        yield address


@pytest.mark.timeout(2400)
def test_a_crowd_of_uploads_and_of_idlers_keeps_nobody_from_signing_in(live, door, tmp_path):
    pictures = list(islice(cycle(small_lesions(DIFFERENT, first_seed=90_000)), UPLOADS))
    seconds, over = [], threading.Event()
    parts = urlsplit(door)
    with (
        SlowConnections(parts.hostname, parts.port, SLOW, str(certificate(tmp_path)), LARGE_PAGE),
        ThreadPoolExecutor(AT_ONCE + 1) as crowd,
    ):
        signing_in = crowd.submit(_sign_in_again_and_again, door, live.staff, seconds, over)
        started = time.monotonic()
        shares = [pictures[number::AT_ONCE] for number in range(AT_ONCE)]
        batches = set(chain.from_iterable(crowd.map(lambda share: _hand_in(door, live.token, share), shares)))
        took = time.monotonic() - started
        over.set()
        signing_in.result()

    p95 = float(np.percentile(seconds, 95))
    print(
        f"{UPLOADS} uploads in {took:.0f} s; {len(seconds)} sign-ins, p95 {p95:.2f} s, longest {max(seconds):.2f} s"
    )
    assert len(batches) == UPLOADS
    assert wait_until(lambda: live.waiting_chunks() + live.running_chunks() == 0, seconds=900)
    assert _answered(live, batches) == UPLOADS
    assert p95 < 1


def test_who_asks_too_often_is_told_when_to_come_back_and_is_served_then(live, door):
    http = urllib3.PoolManager(retries=False)
    headers = {"Authorization": f"Bearer {live.token}"}

    def ask():
        return http.request("GET", f"{door}/api/v1/batches?limit=1", headers=headers)

    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: ask(), range(1300)))
    assert Counter(answer.status for answer in answers).keys() == {200, 429}
    wait = max(int(answer.headers["Retry-After"]) for answer in answers if answer.status == 429)
    assert 1 <= wait <= 60
    time.sleep(wait)  # what was promised is that exactly this wait is enough
    assert ask().status == 200


def _sign_in_again_and_again(door: str, person: Login, seconds: list[float], over: threading.Event) -> None:
    """Once a second, in a new browser each time; notes how long it took from the form to being let in."""
    http = urllib3.PoolManager(retries=False)
    while not over.wait(1):
        started = time.perf_counter()
        form = http.request("GET", f"{door}/sign-in")
        [token] = CSRF_TOKEN.findall(form.data.decode())
        answer = http.request_encode_body(
            "POST",
            f"{door}/sign-in",
            fields={"email": person.email, "password": person.password, "csrf_token": token},
            headers={
                "Cookie": form.headers["Set-Cookie"].partition(";")[0],
                "Referer": f"https://{NAME}/sign-in",
            },
            encode_multipart=False,
        )
        assert answer.status in (302, 303), answer.data
        seconds.append(time.perf_counter() - started)


def _hand_in(door: str, token: str, pictures: Sequence[Upload]) -> list[str]:
    """One batch for each picture, one after the other; any answer but 202 and 429 is an error."""
    client = PortalClient(door, token)
    return [client.submit([picture]) for picture in pictures]


def _answered(live: LiveInstallation, batches: Iterable[str]) -> int:
    with live.behind.begin() as session:
        return session.scalar(
            sa.select(sa.func.count()).where(
                Image.batch_id.in_([UUID(batch) for batch in batches]), Image.state.in_(PREDICTED_STATES)
            )
        )

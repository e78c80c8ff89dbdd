"""Names of patients and files go in at every door, and every part fails over them: no event, no log, no message tells.

Where they have to be kept (sealed with the key of their patient; in the accounts of people) they are kept, and nowhere
else: whoever reads the trail, the logs, Redis or the storage learns none.
"""

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
import urllib3
from redis import Redis

from cli.portal_client import PortalClient, Upload
from dermabatch.embedded.host import wait_until
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.imaging.synthetic_dicom import lesion_dicom

PATIENT = "Zyxwaldt-4711 Müller"
FILE = "Quaxolini Müller.jpg"
MEMBER = "Zwirbelmann Aufnahme.jpg"
LETTER = "Brief an Knorpelfeld.txt"
BROKEN = "Hoppenstedt kaputt.jpg"
LESION = "Laesion Grunkelbein"
PLACE = "Nase von Blorbofix"
DICOM_PATIENT = "DCM-Fnordheim-77"
EXIF = "Plumbusdoktor war hier"
ADDRESS = "zaphodine@planted.example"
PASSWORD = "Geheimwort Fizzelkorn"
SEARCHED = "Sucheberg 0815"
CALLED = "Kameramann Tüddelke"
PLANTED = (
    *(PATIENT, FILE, MEMBER, LETTER, BROKEN, LESION, PLACE, DICOM_PATIENT, EXIF),
    *(ADDRESS, PASSWORD, SEARCHED, CALLED, "Synthetic^Patient"),
)


def spellings(text: str) -> Iterator[bytes]:
    """As it stands, in JSON, in an address, in small letters, and in base64 wherever in a longer text it begins."""
    for form in (text, text.lower(), quote(text), quote_plus(text), json.dumps(text)[1:-1]):
        yield form.encode()
        yield form.lower().encode()
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + text.encode())
        # The letters at both ends also hold bits of what stands beside the text.
        yield whole[4 if before else 0 : -4]
        yield whole[4 if before else 0 : -4].replace(b"+", b"-").replace(b"/", b"_")


FORMS = sorted({form for text in PLANTED for form in spellings(text)})


def told_by(content: bytes) -> list[bytes]:
    """Which planted texts stand in this."""
    small = content.decode(errors="replace").lower().encode()
    return [form for form in FORMS if form in content or form in small]


def test_every_spelling_is_found():
    for text in PLANTED:
        hidden = (
            text,
            text.upper(),
            quote(text),
            json.dumps(text),
            base64.b64encode(f"ab {text} cd".encode()).decode(),
        )
        assert all(told_by(f"<<{one}>>".encode()) for one in hidden), text


@pytest.fixture(scope="module")
def browser(live):
    """A browser of the administrator, without scripts."""
    return Browser(live.installation.portal_url, live.administrator)


class Browser:
    """Keeps its cookies, and sends forms with the token of a page."""

    def __init__(self, url, login):
        self._url, self._cookies = url, {}
        self.post("/sign-in", {"email": login.email, "password": login.password}, form_on="/sign-in")

    def get(self, path, **headers):
        return self._ask("GET", path, headers=headers)

    def post(self, path, data, *, form_on="/help"):
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(form_on).data.decode())[1]
        return self._ask("POST", path, fields={**data, "csrf_token": token})

    def _ask(self, method, path, **options):
        headers = {
            **options.pop("headers", {}),
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
        }
        answer = urllib3.request(
            method, self._url + path, headers=headers, redirect=False, retries=False, **options
        )
        for cookie in answer.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer


@pytest.fixture(scope="module")
def after_everything(live, browser):
    """The installation once names have gone in at every door and parts have failed over them."""
    hand_in(live)
    sign_in_and_search(live, browser)
    break_a_request(live, browser)
    break_a_worker(live)
    live.assert_trail_holds()
    return live


def hand_in(live) -> None:
    picture = lesion_jpeg(4711, width=160, height=120)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr(f"Ordner/{MEMBER}", lesion_jpeg(4712, width=160, height=120))
        members.writestr(LETTER, "Dear colleague")
    # Its two headers disagree about the name of the member, which `zipfile` quotes.
    forged = archive.getvalue().replace(LETTER.encode(), LETTER.upper().encode(), 1)
    csv = f"file,patient,lesion_id,age,sex,localization\n{FILE},{PATIENT},{LESION},44,female,{PLACE}\n"
    uploads = [
        Upload(FILE, _with_comment(picture, EXIF)),
        Upload(f"{MEMBER}.zip", archive.getvalue()),
        Upload(f"{BROKEN}.zip", forged),
        Upload(BROKEN, picture[:200]),
        Upload(f"{BROKEN}.dcm", lesion_dicom(4713, width=160, height=120, patient=DICOM_PATIENT)),
        Upload(LETTER, b"Dear colleague"),
    ]
    fields = [("files", (upload.name, upload.data, "image/jpeg")) for upload in uploads]
    headers = {"Authorization": f"Bearer {live.token}", "Idempotency-Key": PATIENT.encode("latin-1")}
    url = f"{live.installation.portal_url}/api/v1/batches"
    fields.append(("metadata", (FILE, csv.encode(), "text/csv")))
    answer = urllib3.request("POST", url, fields=fields, headers=headers, retries=False, timeout=60)
    assert answer.status == 202, answer.data
    batch = answer.json()["batch_id"]
    assert live.answered(batch) >= 3
    client = PortalClient(live.installation.portal_url, live.token)
    assert FILE in str(client.results(batch))


def _with_comment(jpeg: bytes, comment: str) -> bytes:
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def sign_in_and_search(live, browser) -> None:
    """Whatever can be typed into an address, a form or a header."""
    browser.post("/sign-in", {"email": ADDRESS, "password": PASSWORD}, form_on="/help")
    found = quote(SEARCHED)
    for path in (
        f"/audit?object={found}&actor={found}",
        f"/audit/events/{found}",
        f"/batches/{found}",
        f"/models/{found}",
        f"/models?at={found}",
        f"/help/{found}",
        f"/static/{found}.css",
        f"/{found}?patient={found}",
    ):
        browser.get(
            path, Referer=f"http://127.0.0.1/{found}", **{"User-Agent": SEARCHED, "X-Request-ID": SEARCHED}
        )
    for path, data in (
        ("/models/roll-back", {"why": SEARCHED}),
        (f"/models/{found}/activate", {}),
        ("/account/tokens", {"name": CALLED, "scopes": "models:read"}),
        ("/account/tokens", {"name": CALLED, "scopes": SEARCHED}),
        ("/audit/verify", {"full": SEARCHED}),
        ("/users", {"name": CALLED, "email": SEARCHED, "password": PASSWORD, "department": SEARCHED}),
        ("/users", _new_user("tueddelke@hospital.example")),
    ):
        browser.post(path, data)
    for path in (f"/batches?cursor={found}", f"/images/{found}", f"/models/{found}"):
        headers = {"Authorization": f"Bearer {live.token}", "User-Agent": SEARCHED}
        urllib3.request("GET", f"{live.installation.portal_url}/api/v1{path}", headers=headers)
    urllib3.request("GET", live.installation.portal_url, headers={"Authorization": f"Bearer {SEARCHED}"})


def _new_user(email: str) -> dict[str, str]:
    return {
        "name": CALLED,
        "email": email,
        "password": "quartz meadow lantern",
        "department": "Dermatology",
        "roles": "staff",
    }


def break_a_request(live, browser) -> None:
    """The database refuses a row inside a request; its error quotes the row."""
    with refusing(live, "users", "email <> 'gone@hospital.example'"):
        assert browser.post("/users", _new_user("gone@hospital.example")).status == 500
    assert "CheckViolation" in log_of(live, "portal")


def break_a_worker(live) -> None:
    """The database refuses what a worker records; the row holds what is known of the patient."""
    with refusing(live, "images", "state NOT IN ('classified', 'unassessable') OR age IS DISTINCT FROM 93"):
        csv = f"file,patient,age\n{FILE},{PATIENT},93\n"
        fields = [
            ("files", (FILE, lesion_jpeg(4714, width=160, height=120), "image/jpeg")),
            ("metadata", ("a.csv", csv.encode(), "text/csv")),
        ]
        headers = {"Authorization": f"Bearer {live.token}"}
        url = f"{live.installation.portal_url}/api/v1/batches"
        batch = urllib3.request("POST", url, fields=fields, headers=headers).json()["batch_id"]
        assert wait_until(lambda: "CheckViolation" in log_of(live, "worker"), seconds=30), log_of(
            live, "worker"
        )
        urllib3.request("POST", f"{url}/{batch}/cancel", headers=headers)


@contextmanager
def refusing(live, table: str, rule: str) -> Iterator[None]:
    """A rule that the next row breaks."""
    with live.superuser() as database:
        database.execute(sa.text(f"ALTER TABLE {table} ADD CONSTRAINT planted CHECK ({rule}) NOT VALID"))
    try:
        yield
    finally:
        with live.superuser() as database:
            database.execute(sa.text(f"ALTER TABLE {table} DROP CONSTRAINT planted"))


def logs_of(live) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in live.installation.services.logs.iterdir()
        if path.stat().st_size
    }


def log_of(live, program: str) -> str:
    return logs_of(live)[f"{program}.log"].decode()


def test_no_event_tells(after_everything):
    with after_everything.superuser() as database:
        for table in ("audit_events", "audit_pending", "audit_checkpoints"):
            rows = database.scalars(sa.text(f"SELECT row_to_json(t)::text FROM {table} t")).all()
            assert told_by("\n".join(rows).encode()) == [], table


def test_no_log_tells(after_everything):
    logs = logs_of(after_everything)
    assert {"portal.log", "worker.log", "scheduler.log", "postgres.log"} <= set(logs)
    for name, content in logs.items():
        assert told_by(content) == [], name
        assert b"Failing row contains" not in content, name


def test_a_log_still_says_which_error_it_was_and_where(after_everything):
    for program in ("portal", "worker"):
        log = log_of(after_everything, program)
        assert "psycopg2.errors.CheckViolation (23514" in log
        assert 'File \\"' in log or 'File "' in log


def test_no_object_of_the_storage_tells(after_everything):
    store = after_everything.installation.store
    keys = [info.key for info in store.list("")]
    assert any(key.startswith("audit/checkpoints/") for key in keys)
    assert told_by("\n".join(keys).encode()) == []
    for key in keys:
        if not key.startswith("models/"):
            assert told_by(store.get(key)) == [], key


def test_no_message_tells(after_everything):
    with Redis.from_url(after_everything.installation.services.redis_url) as redis:
        for key in redis.scan_iter("*"):
            assert told_by(key + b"\n" + (redis.dump(key) or b"")) == [], key


def test_no_export_of_the_trail_tells(after_everything, browser):
    assert told_by(browser.get("/audit/export.jsonl").data) == []


def test_no_table_but_that_of_people_and_of_their_tokens_tells(after_everything):
    """What is known of patients is sealed but for age, sex and place on the body; what people are called is not."""
    with after_everything.superuser() as database:
        tables = database.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).all()
        for table in set(tables) - {"users", "api_tokens", "web_sessions"}:
            rows = database.scalars(sa.text(f"SELECT to_jsonb(t) - 'localization' FROM {table} t")).all()
            assert told_by(json.dumps(rows, ensure_ascii=False).encode()) == [], table

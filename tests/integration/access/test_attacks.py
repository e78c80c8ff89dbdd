"""What an attacker tries from another site, through a forged header, or with what he types into a form."""

import csv
import io
import re
import time
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from dermabatch import results
from dermabatch.accounts import ADMINISTRATOR, STAFF
from dermabatch.exports import csv_lines, isic_row
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.subjects import KeyRing
from tests.integration.access.conftest import OF_ADMINISTRATORS, OF_STAFF
from tests.integration.webui.conftest import Browser
from tests.situations import PASSWORD
from webui.policy import POLICY, Programs

ELSEWHERE = "evil.example"


@pytest.fixture(scope="module")
def insider(house):
    """Somebody who may open every page."""
    return house.person("insider", STAFF, ADMINISTRATOR)


@pytest.fixture
def browser(house, insider):
    opened = Browser(house.app)
    opened.client.set_cookie("sign-in", house.stay(insider))
    return opened


def paths(house, here, method):
    """An address for each route of this method, but those of programs, which show no cookie."""
    values = {
        "batch_id": here.batch,
        "image_id": here.images[0],
        "digest": "ab" * 32,
        "user_id": house.hospital.other_nurse,
        "seq": 1,
        "topic": "upload",
        "filename": "portal.css",
        "session_id": here.batch,
        "token_id": here.batch,
    }
    return {
        rule.endpoint: re.sub(r"<(?:\w+:)?(\w+)>", lambda name: str(values[name[1]]), rule.rule)
        for rule in house.app.url_map.iter_rules()
        if method in rule.methods and not isinstance(POLICY[rule.endpoint], Programs)
    }


# Forms of other sites


@pytest.fixture
def rows(house):
    """Every row that there is, but the trail, which tells of refusals, and the time of a stay's last sign."""

    def _rows():
        with house.database.sessions("postgres").begin() as session:
            tables = session.scalars(
                sa.text(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ '^audit_'"
                )
            ).all()
            session.execute(sa.text("UPDATE web_sessions SET seen_at = created_at"))
            return {
                table: session.scalar(
                    sa.text(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t")
                )
                for table in tables
            }

    return _rows


@pytest.mark.parametrize("token", [None, "made up", "of another stay"])
def test_no_form_of_another_site_changes_anything(house, here, browser, insider, rows, token):
    if token == "of another stay":
        other = Browser(house.app)
        other.client.set_cookie("sign-in", house.stay(insider))
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', other.get("/help").text)[1]
    form = {"password": PASSWORD, "email": "insider@hospital.example", "roles": STAFF, "theme": "dark"}
    before = rows()
    changing = paths(house, here, "POST")
    assert len(changing) > 25
    for address in changing.values():
        answer = browser.client.post(address, data=form | ({"csrf_token": token} if token else {}))
        assert (answer.status_code, "earlier sign-in" in answer.text) == (400, True), address
        assert not [
            cookie for cookie in answer.headers.getlist("Set-Cookie") if not cookie.startswith("session=")
        ]
    assert rows() == before


# Pages in the frames of other sites


def test_no_answer_lets_another_site_frame_it(house, here, browser):
    addresses = [
        *paths(house, here, "GET").values(),
        "/nothing",
        "/api/v1/me",
        "/api/v1/nothing",
        "/batches/x",
    ]
    for address in addresses:
        answer = browser.get(address)
        assert answer.headers["X-Frame-Options"] == "DENY", address
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], address
        assert answer.headers["X-Content-Type-Options"] == "nosniff", address


# Names that are not the portal's


@pytest.fixture(scope="module")
def named(house):
    """A portal that knows its name, behind one proxy."""
    return house.open(trusted_hosts=("portal.example",), trusted_proxies=1).test_client()


@pytest.mark.parametrize(
    "host",
    [
        *(ELSEWHERE, f"portal.example.{ELSEWHERE}", "xportal.example", "sub.portal.example"),
        *(f"portal.example@{ELSEWHERE}", f"portal.example:{ELSEWHERE}", "portal.example, x", "", "127.0.0.1"),
    ],
)
def test_a_request_under_another_name_is_refused(named, host):
    assert named.get("/sign-in", headers={"Host": host}).status_code == 400
    assert named.get("/api/v1/me", headers={"Host": host}).status_code == 400
    assert named.get(
        "/sign-in", headers={"Host": "portal.example", "X-Forwarded-Host": host}
    ).status_code == (400 if host else 200)


@pytest.mark.parametrize("host", ["portal.example", "portal.example:8443", "PORTAL.example"])
def test_the_portals_own_name_is_served(named, host):
    assert named.get("/sign-in", headers={"Host": host}).status_code == 200


def test_a_load_balancer_asks_for_a_sign_of_life_without_knowing_the_name(named):
    assert named.get("/healthz", headers={"Host": "10.0.0.7:8000"}).status_code == 200


def test_of_forwarded_headers_only_what_the_own_proxy_added_counts(named):
    forged = {"Host": "portal.example", "X-Forwarded-Host": f"{ELSEWHERE}, portal.example"}
    assert named.get("/sign-in", headers=forged).status_code == 200
    forged["X-Forwarded-Host"] = f"portal.example, {ELSEWHERE}"
    assert named.get("/sign-in", headers=forged).status_code == 400


@pytest.fixture
def strict(house):
    """A portal that is reached over TLS alone."""
    yield house.open(trusted_hosts=("portal.example",), insecure_cookies=False).test_client()
    house.open()  # Talisman keeps what the last application of a process has set


def test_over_tls_nobody_is_led_to_another_name(strict):
    assert strict.get("/sign-in", headers={"Host": ELSEWHERE}).status_code == 400
    assert (
        strict.get("/sign-in", headers={"Host": "portal.example"}).location
        == "https://portal.example/sign-in"
    )


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Original-Host", "Forwarded"])
def test_no_page_repeats_a_forged_name(house, here, browser, header):
    forged = {header: f"host={ELSEWHERE}" if header == "Forwarded" else ELSEWHERE}
    for address in paths(house, here, "GET").values():
        # The session belongs to the name that it was made under.
        browser.client.set_cookie("sign-in", browser.client.get_cookie("sign-in").value, domain=ELSEWHERE)
        answer = browser.get(address, headers=forged)
        assert ELSEWHERE not in answer.text + str(answer.headers).replace("Domain=", ""), address


@pytest.mark.parametrize(
    ("proxies", "counts"),
    [(0, "192.0.2.7"), (1, "198.51.100.9"), (2, "203.0.113.5")],
    ids=["none", "one", "two"],
)
def test_the_trail_names_the_address_that_the_nearest_trusted_proxy_saw(house, proxies, counts):
    portal = house.open(trusted_proxies=proxies)
    portal.test_client().get(
        "/api/v1/me",
        headers={"Authorization": "Bearer guessed", "X-Forwarded-For": "10.9.8.7, 203.0.113.5, 198.51.100.9"},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    with house.database.sessions("chainer").begin() as session:
        newest = "SELECT source FROM audit_pending WHERE action = 'access.refused' ORDER BY id DESC LIMIT 1"
        assert session.scalar(sa.text(newest)) == counts


# Links that lead elsewhere after signing in


@pytest.mark.parametrize(
    "wanted",
    [
        *(f"//{ELSEWHERE}", f"///{ELSEWHERE}", f"/\\{ELSEWHERE}", f"\\\\{ELSEWHERE}", f"\\/{ELSEWHERE}"),
        *(f"https://{ELSEWHERE}", f"https:{ELSEWHERE}", f"https:/{ELSEWHERE}", f"HTTPS:///{ELSEWHERE}"),
        *(f" //{ELSEWHERE}", f"/\t/{ELSEWHERE}", f"/\n/{ELSEWHERE}", f"\t//{ELSEWHERE}", f"/\0/{ELSEWHERE}"),
        *(
            f"/\r\nLocation: //{ELSEWHERE}",
            "/\r\nSet-Cookie: a=b",
            "javascript:alert(1)",
            "data:text/html,x",
            ELSEWHERE,
        ),
        *(f"@{ELSEWHERE}", f".{ELSEWHERE}", f"%2f%2f{ELSEWHERE}", f"//{ELSEWHERE}%2f..", "/\u2028/x"),
    ],
)
def test_signing_in_leads_to_no_other_site(house, browser, wanted):
    answer = browser.get(f"/sign-in?next={quote(wanted)}")
    assert answer.status_code == (400 if "\0" in wanted else 302)
    assert answer.headers.get("Location", "/") == "/"
    assert "a=b" not in str(answer.headers)


@pytest.mark.parametrize("wanted", ["/batches", "/batches?before=1&state=all", "/%2F/x", "/audit?actor=//x"])
def test_signing_in_leads_to_the_page_that_was_wanted(browser, wanted):
    assert browser.get(f"/sign-in?next={quote(wanted)}").location == wanted


@pytest.mark.parametrize("path", [f"//{ELSEWHERE}/x", f"/\\{ELSEWHERE}", "/batches"])
def test_choosing_a_theme_leads_back_to_this_site(browser, path):
    answer = browser.post("/theme", {"theme": "dark"}, headers={"Referer": f"https://{ELSEWHERE}{path}"})
    assert answer.location == ("/batches" if path == "/batches" else "/")


# Cells that a spreadsheet would run

FORMULAS = (
    "=1+1",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    '"=1',
    ",=1",
    ";=1",
)


@pytest.fixture(scope="module")
def poisoned(house):
    """A batch in which everything that a person may choose begins like a formula."""
    token = house.token(house.hospital.nurse, *OF_STAFF)
    headers = {"Authorization": f"Bearer {token}"}
    names = [f"{formula}-{place}.jpg" for place, formula in enumerate(FORMULAS)]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["file", "patient", "lesion_id", "age", "sex", "localization"])
    writer.writerows(
        [name, formula, formula, 50, "male", formula] for name, formula in zip(names, FORMULAS, strict=True)
    )
    client = house.app.test_client()
    answer = client.post(
        "/api/v1/batches",
        headers=headers,
        data={
            "files": [
                (io.BytesIO(lesion_jpeg(place, width=64, height=48)), name)
                for place, name in enumerate(names)
            ],
            "metadata": (io.BytesIO(table.getvalue().encode()), "metadata.csv"),
        },
    )
    assert answer.status_code == 202, answer.json
    return SimpleNamespace(client=client, headers=headers, batch=answer.json["batch_id"])


def read(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\N{BYTE ORDER MARK}"), newline="")))


def assert_plain(records, *columns):
    """No cell begins like a formula but a number, and the formulas are there all the same."""
    assert any("1+1" in record[column] for record in records for column in columns)
    for record in records:
        for cell in record.values():
            number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)
            assert number or not cell.startswith((*"=+-@\t\r\n", *"＝＋－＠")), cell


def test_no_cell_of_an_export_is_a_formula(house, poisoned):
    browser = Browser(house.app)
    browser.client.set_cookie("sign-in", house.stay(house.hospital.nurse))
    of_the_portal = browser.get(f"/batches/{poisoned.batch}/results.csv").text
    of_the_api = poisoned.client.get(
        f"/api/v1/batches/{poisoned.batch}/results.csv", headers=poisoned.headers
    ).text
    for text in (of_the_portal, of_the_api):
        assert_plain(read(text), "file", "patient", "lesion_id", "localization")
        assert len(read(text)) >= len(FORMULAS)


def test_no_cell_of_a_file_of_the_command_line_is_a_formula(house, poisoned):
    keyring = KeyRing(house.settings.master_key)
    with house.sessions.begin(department=house.hospital.department) as session:
        lines = "".join(csv_lines(results.every(session, poisoned.batch, keyring=keyring)))
    assert_plain(read(lines), "file", "patient", "lesion_id", "localization")
    assert_plain([{"image": isic_row(formula, [0.1] * 7)[0]} for formula in FORMULAS], "image")


# What no keyboard types, and floods


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("/models/aaaaaa%00", None),
        ("/help/%00", None),
        ("/audit?object=%00", None),
        ("/batches?before=%00", None),
        (
            "/users",
            {"name": "a\0b", "email": "nul@hospital.example", "password": "long enough \0", "roles": STAFF},
        ),
        ("/account/tokens", {"name": "\0", "scopes": "batches:read"}),
    ],
)
def test_a_nul_is_bad_input_and_no_failure(browser, address, form):
    answer = browser.get(address) if form is None else browser.post(address, form)
    assert answer.status_code == 400


@pytest.mark.parametrize("address", ["/audit/events?object_id=%00", "/models/aaaaaa%00"])
def test_a_nul_is_bad_input_for_the_api_too(house, address):
    token = house.token(house.hospital.administrator, *OF_ADMINISTRATORS)
    headers = {"Authorization": f"Bearer {token}"}
    assert house.app.test_client().get(f"/api/v1{address}", headers=headers).status_code == 400


def test_whoever_is_held_back_is_told_seconds_that_suffice(house):
    browser = Browser(house.app)
    browser.client.set_cookie("sign-in", house.stay(house.person("hurried", STAFF)))
    house.app.config["WTF_CSRF_ENABLED"] = False
    began = time.time()
    answers = [browser.client.post("/batches", data={"files": ""}) for _ in range(31)]
    house.app.config["WTF_CSRF_ENABLED"] = True
    assert {answer.status_code for answer in answers[:30]} == {400}
    assert answers[30].status_code == 429
    wait = int(answers[30].headers["Retry-After"])
    assert began + 60 <= time.time() + wait <= began + 75

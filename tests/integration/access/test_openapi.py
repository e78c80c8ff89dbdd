"""The API as its own description has it called, by two departments: nothing breaks, and nothing of the other shows."""

import re

import pytest
import schemathesis
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from tests.integration.access.conftest import OF_ADMINISTRATORS, OF_STAFF
from tests.integration.access.test_departments import WORK
from webui import security
from webui.api import register_api

DESCRIPTION = "/api/v1/openapi.json"
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
DAILY, THOROUGH = 8, 100


def operations() -> list[tuple[str, str]]:
    app = Flask("webui")
    register_api(app)
    paths = app.test_client().get(DESCRIPTION).json["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods if method != "parameters"]


@pytest.fixture(scope="module")
def described(house):
    return schemathesis.openapi.from_wsgi(DESCRIPTION, house.app)


@pytest.fixture(scope="module")
def ids(house, here, there):
    """Every identifier that there is of a department's work, by department."""
    with house.database.sessions("worker").begin() as session:
        return {
            department: {
                str(value)
                for table in WORK
                for value in session.scalars(
                    sa.text(f"SELECT id FROM {table} WHERE department_id = :department"),
                    {"department": department},
                )
            }
            for department in (house.hospital.department, house.hospital.other_department)
        }


@pytest.fixture(scope="module")
def callers(house, here, there, ids):
    """For each caller a token, what it may ask for by name, and what no answer to it may hold."""
    hospital = house.hospital
    of_here = {here.mark, str(here.nurse), *ids[hospital.department]}
    of_there = {there.mark, str(there.nurse), *ids[hospital.other_department]}
    return [
        (house.token(here.nurse, *OF_STAFF), here, of_there),
        (house.token(there.nurse, *OF_STAFF), there, of_here),
        # The trail names what was done in every department, by identifiers alone.
        (house.token(hospital.administrator, *OF_ADMINISTRATORS), here, {here.mark, there.mark}),
    ]


@pytest.fixture
def call(callers, here, there, monkeypatch):
    """Sends one generated request as every caller: as it was made up, for their own things and for the others'."""
    monkeypatch.setattr(security.limiter, "enabled", False)

    def _call(case):
        made_up = dict(case.path_parameters or {})
        # A made-up token is an ordinary wrong one, which `test_policy` has.
        headers = {
            name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"
        }
        for token, own, secrets in callers:
            for filled in (None, own, here if own is there else there):
                if filled is not None and not {"batch_id", "image_id"} & set(made_up):
                    continue
                case.path_parameters = made_up | _things(filled, made_up)
                case.headers = headers | {"Authorization": f"Bearer {token}"}
                answer = case.call()
                case.validate_response(answer, checks=CHECKS)
                asked = {value.lower() for value in re.findall(r"[0-9a-fA-F-]{36}", case.formatted_path)}
                assert not [secret for secret in secrets - asked if secret.encode() in answer.content]
                if filled is not None and filled is not own:
                    assert answer.status_code in (403, 404, 422)

    return _call


def _things(filled, wanted):
    if filled is None:
        return {}
    things = {"batch_id": str(filled.batch), "image_id": str(filled.images[0])}
    return {name: value for name, value in things.items() if name in wanted}


def explore(operation, call, *, examples, derandomize):
    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # what is found is readable as it is, and making it smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )
    )
    def every_answer_is_as_described(case):
        call(case)

    every_answer_is_as_described()


@pytest.mark.parametrize(("method", "path"), operations())
def test_no_answer_breaks_or_shows_another_department(described, call, method, path):
    explore(described[path][method], call, examples=DAILY, derandomize=True)


@pytest.mark.long
@pytest.mark.parametrize(("method", "path"), operations())
def test_no_answer_to_many_requests_breaks_or_shows_another_department(described, call, method, path):
    explore(described[path][method], call, examples=THOROUGH, derandomize=False)

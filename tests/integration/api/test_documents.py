"""The OpenAPI document and the page that shows it."""

import re

import pytest

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(nobody):
    answer = nobody.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json


def operations(document):
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_the_document_lists_every_route_of_the_api(app, document):
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/") and rule.endpoint != "api-docs.openapi_json"
    }
    assert set(operations(document)) == routes


def test_every_operation_names_its_scope_and_says_what_it_does(document):
    assert document["openapi"].startswith("3.1")
    scopes = document["components"]["securitySchemes"]["token"]
    assert (scopes["type"], scopes["scheme"]) == ("http", "bearer")
    for where, operation in operations(document).items():
        assert operation["security"] == [{"token": operation["security"][0]["token"]}], where
        assert operation["summary"], where
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/PROBLEM"}, where


def test_errors_are_described_as_they_are_made(nobody, document):
    content = document["components"]["responses"]["PROBLEM"]["content"]
    assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described = document["components"]["schemas"]["Problem"]["properties"]
    assert set(described) == set(nobody.get("/me").json)


def test_every_reference_in_the_document_leads_somewhere(document):
    def references(part):
        if isinstance(part, dict):
            yield from [part["$ref"]] if "$ref" in part else []
            part = list(part.values())
        if isinstance(part, list):
            for inner in part:
                yield from references(inner)

    for reference in set(references(document)):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_the_page_loads_nothing_from_elsewhere(app):
    client = app.test_client()
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/")
        assert client.get(address).status_code == 200
    assert "<script>" not in page.text

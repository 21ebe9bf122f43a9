"""The served description: complete, with examples that fit, at the quality that generated clients need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.main import create_app
from styleflow.settings import Settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(Settings(secret_key="a secret of at least thirty-two bytes")).openapi()


@pytest.fixture(scope="module")
def operations(description: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def test_every_operation_has_a_name_of_its_own_one_tag_a_short_summary_and_says_which_key_it_needs(
    operations: list[tuple[str, dict[str, Any]]],
) -> None:
    names = [operation["operationId"] for _, operation in operations]

    assert len(set(names)) == len(names)
    for where, operation in operations:
        assert re.fullmatch(r"[a-z][A-Za-z0-9]*", operation["operationId"]), where
        assert len(operation["tags"]) == 1, where
        assert 0 < len(operation["summary"]) <= 80, where
        assert operation.get("description"), where
        assert "security" in operation, where


def test_every_body_has_a_named_example_that_fits_its_schema(
    description: dict[str, Any], operations: list[tuple[str, dict[str, Any]]]
) -> None:
    seen = 0
    for where, content in _json_bodies(operations):
        assert content["examples"], where
        validator = Draft202012Validator({**content["schema"], "components": description["components"]})
        for name, example in content["examples"].items():
            problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(example["value"])]
            assert problems == [], (where, name)
            seen += 1
    assert seen > len(operations)


def test_answers_describe_the_headers_that_they_carry(operations: list[tuple[str, dict[str, Any]]]) -> None:
    for where, operation in operations:
        for status, answer in operation["responses"].items():
            headers = answer.get("headers", {})
            assert all("schema" in header for header in headers.values()), (where, status)
            if status == "202" and where.startswith("POST") and ":" not in where:
                assert "Location" in headers, where
            if status in ("429", "503"):
                assert "Retry-After" in headers, (where, status)
            if status == "401":
                assert "WWW-Authenticate" in headers, (where, status)
            if operation["security"]:
                assert {"RateLimit", "RateLimit-Policy"} <= headers.keys(), (where, status)


def test_requests_refuse_unknown_members_and_tell_sources_apart_by_their_type(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    for name in _named_by_requests(description):
        if schemas[name].get("type") == "object":
            assert schemas[name].get("additionalProperties") is False, name
    assert schemas["CreateJob"]["properties"]["source"]["discriminator"]["propertyName"] == "type"


def test_every_event_that_is_sent_is_described_as_a_webhook(description: dict[str, Any]) -> None:
    from styleflow.webhooks.announce import TYPES

    assert set(TYPES) <= description["webhooks"].keys()
    for name, described in description["webhooks"].items():
        content = described["post"]["requestBody"]["content"]["application/json"]
        validator = Draft202012Validator({**content["schema"], "components": description["components"]})
        for example in content["examples"].values():
            assert example["value"]["type"] == name
            assert list(validator.iter_errors(example["value"])) == []


def test_the_description_says_where_it_is_served_and_is_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["servers"]


def _json_bodies(operations: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, operation in operations:
        asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if asked:
            yield f"{where} request", asked
        for status, answer in operation["responses"].items():
            if status.startswith("2") and "application/json" in answer.get("content", {}):
                yield f"{where} {status}", answer["content"]["application/json"]


def _named_by_requests(description: dict[str, Any]) -> set[str]:
    """Every schema that a request's body reaches."""
    schemas, found = description["components"]["schemas"], set()
    waiting = [
        operation["requestBody"]
        for methods in description["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(schemas[name])
            waiting += [value for key, value in part.items() if key != "examples"]
        elif isinstance(part, list):
            waiting += part
    return found

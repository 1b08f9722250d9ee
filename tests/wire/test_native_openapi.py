"""The description of the native API holds: what it allows is served, what it forbids is refused, all is answered as it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from haulier.api.native.openapi import openapi
from haulier.core.lifecycle import JobEvent as E
from wire.serving import Serving

SCHEMA = schemathesis.openapi.from_dict(openapi())
OPERATIONS = {result.ok().definition.raw["operationId"]: result.ok() for result in SCHEMA.get_all_operations()}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
NOTHING_FORBIDDEN = {"progress", "failures"}
"""Calls of which a stream would have to be read, or that take neither a query nor a body."""


def send(served: Serving, case: Any) -> requests.Response:
    """The case as a signed request, about a job that there is."""
    job_id = served.native().create(confirm=True)
    if case.operation.path.endswith("/progress"):
        served.move(job_id, E.CANCEL_SETTLED)  # or the stream would not end
    if case.path_parameters:
        case.path_parameters["id"] = job_id
    case.query.pop("wait", None)
    case.headers.pop("Authorization", None)
    wanted = case.as_transport_kwargs(base_url=served.url)
    prepared = requests.Request(**wanted).prepare()
    target = prepared.path_url
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    headers = served.native().signed(str(prepared.method), target, body, {}, f"127.0.0.1:{served.port}")
    prepared.headers.update(headers)
    with requests.Session() as session:
        return session.send(prepared, timeout=20)


def judged(name: str, mode: GenerationMode, served: Serving, checks: list[Any], *, examples: int) -> None:
    few = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @few
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        response = send(served, case)
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=checks)

    run()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_description_allows_is_answered_as_it_says(served: Serving, name: str) -> None:
    # OpenAPI 3.1 has no words for the messages of a stream.
    checks = CHECKS if name != "progress" else [status_code_conformance, content_type_conformance]
    judged(name, GenerationMode.POSITIVE, served, checks, examples=12)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in NOTHING_FORBIDDEN])
def test_what_the_description_forbids_is_refused_as_it_says(served: Serving, name: str) -> None:
    judged(name, GenerationMode.NEGATIVE, served, [*CHECKS, negative_data_rejection], examples=12)


def test_the_server_serves_the_description(served: Serving) -> None:
    answer = requests.get(f"{served.url}/api/v1/openapi.json", timeout=20)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == json.loads(json.dumps(openapi()))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_every_type_that_is_named_is_described_and_used() -> None:
    document = openapi()
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    described = set(document["components"]["schemas"])
    assert named <= described
    assert described - named <= {"ListQuery", "ProgressMessage", "EndDocument"}, "messages of streams have no other place"

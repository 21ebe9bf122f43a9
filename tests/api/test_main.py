"""The application as a whole: what it loads, and what it says of itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from api.main import create_app
from api.schemas import batches
from styleflow.errors import ConfigurationError
from styleflow.settings import Settings
from tests.api.conftest import SECRET, Running

LIGHT = """
import json, sys
from api.main import create_app
from styleflow.settings import Settings
create_app(Settings(secret_key="a secret for tests, long enough")).openapi()
heavy = sorted({"torch", "torchvision", "av", "numpy", "cv2", "facenet_pytorch"} & set(sys.modules))
kilobytes = int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
print(json.dumps({"heavy": heavy, "megabytes": kilobytes / 1024}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_api_loads_no_tensor_library_and_stays_small() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60, check=True)
    seen = json.loads(done.stdout)
    assert seen["heavy"] == []
    assert seen["megabytes"] < 200


def test_without_a_secret_key_it_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="STYLEFLOW_SECRET_KEY"):
        create_app(Settings(secret_key=""))


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(Settings(secret_key=SECRET)).openapi()


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in description["paths"].items()
        for method, operation in item.items()
    ]


def test_the_description_is_served(running: Running) -> None:
    with running.client() as client:
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
        assert client.get("/docs").status_code == 200


def test_every_operation_has_an_id_one_tag_and_a_short_summary(description: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(description)]
    assert len(ids) == len(set(ids)) > 30
    for method, path, operation in operations(description):
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", operation["operationId"]), operation["operationId"]
        assert len(operation["tags"]) == 1, (method, path)
        assert 0 < len(operation["summary"]) <= 80, (method, path)
        assert operation["description"], (method, path)


def test_every_failure_is_described_as_a_problem(description: dict[str, Any]) -> None:
    for method, path, operation in operations(description):
        failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert {"500", "503", "405"} <= failures.keys(), (method, path)
        if operation["security"]:
            assert {"401", "403"} <= failures.keys(), (method, path)
        for status, answer in failures.items():
            own = (path, status) in {
                ("/predict", "500"),
                ("/predict", "503"),
                ("/readyz", "503"),
                ("/healthcheck", "503"),
            }
            assert own or list(answer["content"]) == ["application/problem+json"], (method, path, status)
    assert not {"HTTPValidationError", "ValidationError"} & description["components"]["schemas"].keys()


def test_the_examples_of_a_job_are_accepted_by_its_body(description: dict[str, Any]) -> None:
    from api.schemas.jobs import CREATE_EXAMPLES, CreateJob

    for example in CREATE_EXAMPLES.values():
        CreateJob.model_validate_json(json.dumps(example["value"]))


def test_the_examples_of_a_batch_are_accepted_by_its_body() -> None:
    for example in batches.CREATE_EXAMPLES.values():
        batches.CreateBatch.model_validate_json(json.dumps(example["value"]))


def test_the_server_is_named_by_its_public_address(api_settings: Callable[..., Settings]) -> None:
    app = create_app(api_settings(public_url="https://styleflow.example.org"))
    assert app.openapi()["servers"] == [{"url": "https://styleflow.example.org"}]

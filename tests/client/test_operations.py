"""Every operation of the service has its call, or stands here with the reason why not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from api.main import create_app
from styleflow.client import AsyncStyleFlow, StyleFlow, asynchronous, sync
from styleflow.client.calls import Call
from styleflow.client.lists import Pages, Rows
from styleflow.settings import Settings

WITHOUT_A_CALL = {
    "getLiveness": "for whoever runs the service",
    "getReadiness": "for whoever runs the service",
    "getMetrics": "for whoever runs the service",
    "getHealthcheck": "for callers of another detector's API",
    "predict": "for callers of another detector's API",
    "getObject": "jobs.download and exports.download are led there",
    "putUploadContent": "upload_file is led there",
    "putUploadPart": "upload_file is led there",
    "streamBatchEvents": "wait_batch asks, the command line listens",
}
WITHIN_OTHERS = {
    "getArtifact": "jobs.download",
    "getExportFile": "exports.download",
    "streamJobEvents": "wait",
}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(secret_key="a secret of at least thirty-two bytes"))


def operations(app: FastAPI) -> dict[tuple[str, str], str]:
    return {
        (method.upper(), path): operation["operationId"]
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def plans(module: Any, client: type[object]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The name and the plan of each method of a client and of its nouns."""
    owners = [client, *(found for found in vars(module).values() if _is_noun(module, found))]
    for owner in owners:
        for name, method in vars(owner).items():
            if isinstance(method, module.One | module.Many):
                yield f"{owner.__name__}.{name}", method._plan


def _is_noun(module: Any, found: object) -> bool:
    noun = module.Noun if hasattr(module, "Noun") else module.AsyncNoun
    return isinstance(found, type) and issubclass(found, noun) and found is not noun


def called(plan: Callable[..., Any]) -> tuple[str, str] | None:
    """Method and path of what the plan would send, where it is one call or one list."""
    stand_ins = {"str": "x", "int": 1, "Sequence[str]": ["x"], "Sequence[int]": [1], "str | Path": "x"}
    wanted = [one for one in inspect.signature(plan).parameters.values() if one.default is one.empty]
    given = {one.name: stand_ins.get(one.annotation, {}) for one in wanted if one.kind is not one.VAR_KEYWORD}
    made = plan(**given)
    if isinstance(made, Call):
        return made.method, made.path
    return ("GET", made.path) if isinstance(made, Pages | Rows) else None


def reached(module: Any, client: type[object], app: FastAPI) -> set[str]:
    patterns = {
        (method, re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/:]+", re.escape(path)))): name
        for (method, path), name in operations(app).items()
    }
    sent = {call for _, plan in plans(module, client) if (call := called(plan)) is not None}
    return {
        name
        for (method, pattern), name in patterns.items()
        if any(verb == method and pattern.fullmatch(path) for verb, path in sent)
    }


def test_every_operation_is_called_by_both_clients_or_named_with_a_reason(app: FastAPI) -> None:
    every = set(operations(app).values())

    for module, client in ((sync, StyleFlow), (asynchronous, AsyncStyleFlow)):
        found = reached(module, client, app)
        assert every - found == WITHOUT_A_CALL.keys() | WITHIN_OTHERS.keys(), client.__name__


def test_both_clients_have_the_same_methods() -> None:
    ours = {name for name, _ in plans(sync, StyleFlow)}
    theirs = {name.replace("Async", "") for name, _ in plans(asynchronous, AsyncStyleFlow)}

    assert ours == theirs

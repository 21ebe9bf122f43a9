"""The service as the commands see it."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin
from uuid import uuid4

import httpx

from styleflow.cli.remote.connection import Address
from styleflow.cli.remote.exits import Exit, of_problem
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.sources import VideoSource, source_of

TIMEOUT_SECONDS = 30.0
PAUSES = (0.3, 1.0, 3.0)
"""Seconds before the second and each further try."""
LONGEST_PAUSE_SECONDS = 30.0
AGAIN = frozenset({408, 429, 502, 503, 504})
IN_PROGRESS = "idempotency_in_progress"
CHUNK_BYTES = 1 << 20
PAGE = 200


class Service:
    """Every call raises Refused for what is not answered with success."""

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._client = httpx.Client(
            base_url=address.url, headers={"Authorization": f"Bearer {address.key}"}, timeout=TIMEOUT_SECONDS
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._json(self._asked("GET", path, params=_given(query)))

    def order(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> dict[str, Any]:
        """POST, under an Idempotency-Key, so that repeating it is safe."""
        answer = self._asked("POST", path, json=body, headers={"Idempotency-Key": key or str(uuid4())})
        return self._json(answer)

    def change(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json(self._asked("PATCH", path, json=body))

    def delete(self, path: str) -> None:
        self._asked("DELETE", path)

    def pages(self, path: str, limit: int | None, **query: Any) -> Iterator[dict[str, Any]]:
        """Members of a list, page by page; at most `limit`, all where it is None."""
        left, cursor = limit, None
        while True:
            at_once = PAGE if left is None else min(PAGE, left)
            page = self.get(path, limit=at_once, cursor=cursor, **query)
            yield from page["data"]
            left = None if left is None else left - len(page["data"])
            cursor = page["next_cursor"]
            if not cursor or left == 0:
                return

    @contextmanager
    def _streamed(self, path: str, **more: Any) -> Iterator[httpx.Response]:
        """An answer that is read as it arrives; one that breaks off raises Refused."""
        try:
            with self._client.stream("GET", path, **more) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refusal_of(answer)
                yield answer
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """JSON Lines, as they arrive."""
        with self._streamed(path, headers={"Accept": "application/x-ndjson"}) as answer:
            yield from (json.loads(line) for line in answer.iter_lines() if line)

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes behind an address of the service, which sends them itself."""
        with self._streamed(path, params={"redirect": "false"}) as answer:
            yield from answer.iter_bytes(CHUNK_BYTES)

    def get_job(self, job_id: str, *, wait_seconds: int = 0) -> dict[str, Any]:
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        return self._json(self._asked("GET", f"/v1/jobs/{part(job_id)}", headers=headers))

    def create_job(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        return self.order("/v1/jobs", body, key)

    def upload(self, source: VideoSource, key: str, sent: Callable[[float], None]) -> str:
        """Raises Refused also for a file that cannot be read, or changed since it was named."""
        assert source.path is not None
        try:
            announced = {
                "filename": source.name[-255:],
                "size_bytes": source.size_bytes,
                "content_type": mimetypes.guess_type(source.name)[0] or "application/octet-stream",
                "sha256": _sha256(source.path),
            }
            if source_of(str(source.path)) != replace(source, text=str(source.path)):
                raise Refused(Exit.REFUSED, "source_changed", "the file is being written to")
            upload = self.order("/v1/uploads", announced, key)
            if upload["state"] == "pending":
                self._put(upload, source.path, source.size_bytes or 1, sent)
        except OSError as error:
            raise Refused(Exit.REFUSED, "invalid_request", f"the file cannot be read: {error.strerror}") from error
        return str(upload["id"])

    def _put(self, upload: Mapping[str, Any], path: Path, size: int, sent: Callable[[float], None]) -> None:
        """To an address that carries its own permission, often of another server: the API key does not go there."""
        address = urljoin(f"{self.url}/", upload["url"])
        with httpx.Client(timeout=TIMEOUT_SECONDS) as stranger:
            self._asked(
                upload["method"],
                address,
                lambda: _content(path, size, sent),
                client=stranger,
                headers=upload["headers"],
            )
        self.order(f"/v1/uploads/{part(upload['id'])}:complete")

    def _asked(
        self,
        method: str,
        path: str,
        content: Callable[[], Iterator[bytes]] | None = None,
        client: httpx.Client | None = None,
        **more: Any,
    ) -> httpx.Response:
        """The answer, asked for again where that may help: every request here is safe to repeat."""
        for pause in (*PAUSES, None):
            try:
                answer = (client or self._client).request(method, path, content=content() if content else None, **more)
            except httpx.HTTPError as error:
                refused, wanted = _unreachable(self.url, error), 0.0
            else:
                if answer.is_success:
                    return answer
                refused, wanted = refusal_of(answer), _retry_after(answer)
                if answer.status_code not in AGAIN and refused.code != IN_PROGRESS:
                    raise refused
            if pause is None or wanted > LONGEST_PAUSE_SECONDS:
                raise refused
            time.sleep(max(wanted, pause * random.uniform(0.5, 1.0)))  # noqa: S311 (spreads callers, guards nothing)
        raise AssertionError

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            return dict(answer.json())
        except (ValueError, TypeError) as error:
            told = f"what answers at {self.url} is not this service: it sends no JSON"
            raise Refused(Exit.UNREACHABLE, "unreadable_answer", told) from error


def part(text: str) -> str:
    """One part of a path, whatever letters are in it. Raises Refused for what would name another path than is meant."""
    if text in ("", ".", ".."):
        raise Refused(Exit.REFUSED, "invalid_request", f"{text!r} is no id")
    return quote(text, safe="")


def _unreachable(url: str, error: httpx.HTTPError) -> Refused:
    return Refused(Exit.UNREACHABLE, "unreachable", f"{url} does not answer ({str(error) or type(error).__name__})")


def _retry_after(answer: httpx.Response) -> float:
    """In seconds; 0 where nothing is said that can be read."""
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else 0.0


def refusal_of(answer: httpx.Response) -> Refused:
    """The problem that the service told, or that it was no problem of ours."""
    try:
        problem = answer.json()
        code, detail, request_id = str(problem["code"]), str(problem["detail"]), problem.get("request_id")
    except (ValueError, KeyError, TypeError):
        code, detail, request_id = f"http_{answer.status_code}", answer.reason_phrase, None
    return Refused(of_problem(answer.status_code, code), code, detail, request_id)


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: Path, size: int, sent: Callable[[float], None]) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(min(CHUNK_BYTES, size - done)):
            yield chunk
            done += len(chunk)
            sent(done / size)

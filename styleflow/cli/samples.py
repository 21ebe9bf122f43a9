"""What the demonstration does with each sample: send it, follow it, keep its report. Only over the public API."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from styleflow.errors import ConfigurationError, StyleFlowError

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
POLL_SECONDS = 0.4


class DemoFailed(StyleFlowError):
    """The demonstration could not be carried to its end."""


@dataclass
class Sample:
    """One file on its way. `job` is the newest answer of the API about it."""

    path: Path
    job: dict[str, Any] = field(default_factory=dict)
    etag: str = ""
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def job_id(self) -> str:
        return str(self.job.get("id", ""))

    @property
    def state(self) -> str:
        return str(self.job.get("state", "sending"))

    @property
    def fraction(self) -> float:
        return 1.0 if self.state in TERMINAL else float((self.job.get("progress") or {}).get("fraction") or 0.0)

    @property
    def phase(self) -> str:
        progress = self.job.get("progress") or {}
        return str(progress.get("phase") or self.state) if self.state == "running" else self.state


def find_samples(folder: Path) -> list[Sample]:
    """The videos of a folder. Raises ConfigurationError when there are none."""
    paths = [
        path
        for path in sorted(folder.glob("*"))
        if path.is_file() and (mimetypes.guess_type(path.name)[0] or "").startswith("video/")
    ]
    if not paths:
        raise ConfigurationError(f"there are no videos in {folder.name}/")
    return [Sample(path) for path in paths]


def submit(client: httpx.Client, sample: Sample, endpoint_id: str) -> None:
    """Announce the file, send its bytes, and hand in the job."""
    sample.started = time.monotonic()
    content = sample.path.read_bytes()
    announced = {
        "filename": sample.path.name,
        "size_bytes": len(content),
        "content_type": mimetypes.guess_type(sample.path.name)[0] or "application/octet-stream",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    upload = _answer(client.post("/v1/uploads", json=announced))
    _answer(client.request(upload["method"], upload["url"], content=content, headers=upload["headers"]))
    _answer(client.post(f"/v1/uploads/{upload['id']}:complete"))
    wanted = {
        "source": {"type": "upload", "upload_id": upload["id"]},
        "lane": "realtime",  # somebody is waiting; it also lets both workers take part
        "client_ref": sample.path.name,
        "tags": {"from": "demo"},
        "callback": {"endpoint_id": endpoint_id},
    }
    sample.job = _answer(client.post("/v1/jobs", json=wanted, headers={"Idempotency-Key": str(uuid4())}))


def follow(
    client: httpx.Client,
    samples: list[Sample],
    *,
    show: Callable[[Sample], None],
    interrupted: Callable[[], bool],
    seconds: float,
) -> None:
    """Poll until every job has settled. Raises DemoFailed after that long, or when interrupted."""
    deadline = time.monotonic() + seconds
    while waiting := [sample for sample in samples if sample.state not in TERMINAL]:
        if interrupted():
            raise DemoFailed("it was interrupted")
        if time.monotonic() > deadline:
            raise DemoFailed(f"{len(waiting)} of {len(samples)} jobs have not settled after {seconds:g} s")
        for sample in waiting:
            _look(client, sample)
            show(sample)
        time.sleep(POLL_SECONDS)


def keep_report(client: httpx.Client, sample: Sample, folder: Path) -> None:
    """Write what the API says about a succeeded job to `folder/<file>.json`."""
    address = f"/v1/jobs/{sample.job_id}"
    sample.report = {
        "file": sample.path.name,
        "job": sample.job,
        "result": _answer(client.get(f"{address}/result")),
        "tracks": _answer(client.get(f"{address}/tracks"))["data"],
        "frames": list(_pages(client, f"{address}/frames")),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sample.path.name}.json").write_text(json.dumps(sample.report, indent=2) + "\n")


def _look(client: httpx.Client, sample: Sample) -> None:
    answer = client.get(f"/v1/jobs/{sample.job_id}", headers={"If-None-Match": sample.etag} if sample.etag else None)
    if answer.status_code == httpx.codes.NOT_MODIFIED:
        return
    sample.job = _answer(answer)
    sample.etag = answer.headers.get("etag", "")
    if sample.state in TERMINAL:
        sample.seconds = time.monotonic() - sample.started


def _pages(client: httpx.Client, address: str) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": 1000}
    while True:
        page = _answer(client.get(address, params=query))
        yield from page["data"]
        if not page.get("next_cursor"):
            return
        query["cursor"] = page["next_cursor"]


def _answer(response: httpx.Response) -> Any:
    """The JSON of a good answer. Raises DemoFailed with the problem of another."""
    if response.is_success:
        return response.json() if response.content else None
    try:
        problem = response.json()
        told = f"{problem.get('code')}: {problem.get('detail')}"
    except ValueError:
        told = response.text[:200]
    raise DemoFailed(f"{response.request.method} {response.request.url.path} answered {response.status_code} ({told})")

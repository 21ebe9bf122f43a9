"""How far does an API process grow while bodies of a gibibyte are sent to it, honest ones and liars?

Run with `python -m benchmarks.upload_memory [MEBIBYTES]` in a checkout with the extras service, embedded and dev, on
Linux. One API process with a local bucket; each line is the highest its resident memory came above where it stood
before the body. The load comes from this process. Needs as much free disk as the body has, twice for the parts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.waiting import installation
from tests.heavy_bodies import Answered, peak_growth, send


@dataclass(frozen=True)
class Bench:
    """The process under load, and what it is sent."""

    client: httpx.Client
    pid: int
    size: int

    def announce(self, **changes: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/uploads", json={"filename": "film.mp4", "size_bytes": self.size, **changes})
        answer.raise_for_status()
        return dict(answer.json())

    def place(self, url: str) -> str:
        parts = urlsplit(url)
        return f"{self.client.base_url}".rstrip("/") + f"{parts.path}?{parts.query}"

    def body(self, *, sent: int, said: int | None, hang_up: bool = False) -> str:
        upload = self.announce()
        answer = send(self.place(upload["url"]), size=sent, content_length=said, hang_up=hang_up)
        self.client.delete(f"/v1/uploads/{upload['id']}").raise_for_status()
        return told(answer)

    def parts(self) -> str:
        upload = self.announce(multipart=True)
        sent = []
        for number in range(1, upload["part_count"] + 1):
            asked = self.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [number]}).json()["data"][0]
            size = asked["size_bytes"]
            answer = send(self.place(asked["url"]), size=size, content_length=size)
            if answer is None:
                return "no answer"
            etag = next(line[6:] for line in answer.headers.splitlines() if line.lower().startswith("etag: "))
            sent.append({"n": number, "etag": etag})
        done = self.client.post(f"/v1/uploads/{upload['id']}:complete", json={"parts": sent})
        self.client.delete(f"/v1/uploads/{upload['id']}").raise_for_status()
        return f"{len(sent)} parts, then {done.status_code}"

    def json(self, key: str, said: int | None) -> str:
        headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        url = f"{self.client.base_url}".rstrip("/") + "/v1/jobs"
        return told(send(url, size=self.size, content_length=said, method="POST", headers=headers))


def told(answer: Answered | None) -> str:
    return "hung up" if answer is None else f"{answer.status} after {answer.sent >> 20} MiB"


def main() -> None:
    size = (int(sys.argv[1]) if len(sys.argv) > 1 else 1024) << 20
    table = Table("body", "answer", "growth", title=f"one API process, bodies of {size >> 20} MiB")
    with installation() as (url, pid, _, key), httpx.Client(base_url=url, timeout=120) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        bench = Bench(client, pid, size)
        bench.body(sent=4 << 20, said=size, hang_up=True)  # what a first body makes for good is not measured
        bodies = {
            "honest": lambda: bench.body(sent=size, said=size),
            "honest, in parts": bench.parts,
            "Content-Length one byte more than announced": lambda: bench.body(sent=size + 1, said=size + 1),
            "Content-Length one byte less than announced": lambda: bench.body(sent=size - 1, said=size - 1),
            "chunked, twice what was announced": lambda: bench.body(sent=2 * size, said=None),
            "chunked, half of what was announced": lambda: bench.body(sent=size // 2, said=None),
            "hangs up half way": lambda: bench.body(sent=size // 2, said=size, hang_up=True),
            "JSON, Content-Length of it all": lambda: bench.json(key, size),
            "JSON, chunked": lambda: bench.json(key, None),
        }
        for name, run in bodies.items():
            with peak_growth(pid) as growth:
                answer = run()
                table.add_row(name, answer, f"{growth() / 2**20:.1f} MiB")
    Console().print(table)


if __name__ == "__main__":
    main()

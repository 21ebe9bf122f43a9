"""The service as the commands see it: the client of `styleflow.client`, and the client's failures as ends of commands.

Bodies stay as the service sent them, so that `--json` writes members which this version does not know as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from styleflow.cli.remote.connection import Address
from styleflow.cli.remote.exits import Exit, of_problem
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.sources import VideoSource, source_of
from styleflow.client import StyleFlow
from styleflow.client.answers import Record
from styleflow.client.calls import Call, exchange, json_of, keyed, nothing, request_of
from styleflow.client.calls import part as quoted
from styleflow.client.failures import ApiProblem, BadArgument, ClientError, ServiceUnreachable, UnreadableAnswer
from styleflow.client.lists import Listing, Rows
from styleflow.client.steps import Broken, Context, Emit, Flow, next_chunk
from styleflow.client.uploading import upload_file

PAGE = 200


class Service:
    """Every call raises Refused for what is not answered with success. Safe to use from several threads."""

    def __init__(self, address: Address) -> None:
        self.url = address.url
        with failures_as_refusals(self.url):
            self._client = StyleFlow(base_url=address.url, api_key=address.key)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._json(Call(method="GET", path=path, query=query, read=json_of))

    def order(self, path: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> dict[str, Any]:
        """POST, under an Idempotency-Key, so that repeating it is safe."""
        return self._json(Call(method="POST", path=path, body=body, headers=keyed(key), repeatable=True, read=json_of))

    def delete(self, path: str) -> None:
        with failures_as_refusals(self.url):
            self._client.run(Call(method="DELETE", path=path, read=nothing))

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

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """JSON Lines, as they arrive."""
        with failures_as_refusals(self.url):
            for record in self._client.iterate(Rows(path, Record)):
                yield record.model_dump(mode="json")

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes behind an address of the service, which sends them itself."""
        with failures_as_refusals(self.url):
            yield from self._client.iterate(Bytes(path))

    def get_job(self, job_id: str, *, wait_seconds: int = 0) -> dict[str, Any]:
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        path = f"/v1/jobs/{part(job_id)}"
        return self._json(Call(method="GET", path=path, headers=headers, held=wait_seconds, read=json_of))

    def create_job(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        return self.order("/v1/jobs", body, key)

    def upload(self, source: VideoSource, key: str, sent: Callable[[float], None]) -> str:
        """Raises Refused also for a file that cannot be read, or changed since it was named."""
        assert source.path is not None
        try:
            with failures_as_refusals(self.url):
                upload = self._client.run(upload_file(source.path, idempotency_key=key, progress=sent))
        except OSError as error:
            raise Refused(Exit.REFUSED, "invalid_request", f"the file cannot be read: {error.strerror}") from error
        now = source_of(str(source.path))
        if (now.size_bytes, now.modified_ns) != (source.size_bytes, source.modified_ns):
            raise Refused(Exit.REFUSED, "source_changed", "the file was written to while it was sent")
        return upload.id

    def _json(self, call: Call[Any]) -> dict[str, Any]:
        with failures_as_refusals(self.url):
            answer = self._client.run(call)
        if not isinstance(answer, dict):
            raise Refused(Exit.UNREACHABLE, UnreadableAnswer.code, f"what answers at {self.url} is not this service")
        return answer


@dataclass(frozen=True)
class Bytes(Listing[Any]):
    """A file of the service, a piece at a time. Raises ServiceUnreachable when it breaks off."""

    path: str

    def __call__(self, context: Context) -> Flow[None]:
        call = Call(method="GET", path=self.path, query={"redirect": False}, headers={"Accept": "*/*"}, read=json_of)
        answer = yield from exchange(context, request_of(context, call), repeatable=True, streamed=True)
        if not answer.is_success:
            raise UnreadableAnswer(f"expected a file, not HTTP {answer.status}", status=answer.status)
        while (chunk := (yield from next_chunk())) is not None:
            if isinstance(chunk, Broken):
                raise ServiceUnreachable(f"the file broke off: {chunk.message}")
            yield Emit(chunk)


@contextmanager
def failures_as_refusals(url: str = "") -> Iterator[None]:
    """What the client raises, as the end of a command; of a service that is away, with its address."""
    try:
        yield
    except ApiProblem as error:
        raise Refused(of_problem(error.status, error.code), error.code, error.detail, error.request_id) from error
    except BadArgument as error:
        raise Refused(Exit.REFUSED, error.code, str(error)) from error
    except ClientError as error:
        raise Refused(Exit.UNREACHABLE, error.code, f"{url}: {error}" if url else str(error)) from error


def part(text: str) -> str:
    """One part of a path, whatever letters are in it. Raises Refused for what would name another path than is meant."""
    with failures_as_refusals():
        return quoted(text)

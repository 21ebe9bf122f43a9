"""What botocore raises, in the project's words: what can never succeed, and what may at the next try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from styleflow.errors import SourceChanged, SourceForbidden, SourceNotFound, StorageUnavailable, UploadMismatch

Refusal = SourceNotFound | SourceForbidden | SourceChanged | StorageUnavailable | UploadMismatch
_WRONG_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})


class BehindTheEnd(StorageUnavailable):
    """The object has fewer bytes than the one that was asked for first."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises SourceNotFound, SourceForbidden, SourceChanged, UploadMismatch and StorageUnavailable in their place."""
    try:
        yield
    except ClientError as error:
        raise refusal_of(error) from error
    except BotoCoreError as error:
        raise StorageUnavailable from error


def refusal_of(error: ClientError) -> Refusal:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if code == "SlowDown" or status >= 500 or status in (408, 429):
        return StorageUnavailable()
    if status == 416 or code == "InvalidRange":
        return BehindTheEnd()
    if status == 412 or code == "PreconditionFailed":
        return SourceChanged()
    if code in _WRONG_PARTS:
        return UploadMismatch("The parts are not those that have arrived, or one of them is too small.")
    if status == 404 or code in ("NoSuchVersion", "InvalidArgument"):  # a made-up version id is an invalid argument
        return SourceNotFound()
    if status in (401, 403):
        return SourceForbidden("the object store refused the service's credentials")
    return StorageUnavailable(f"the object store answered with status {status}")

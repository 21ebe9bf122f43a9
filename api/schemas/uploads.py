"""Bodies of `/v1/uploads`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.body import RequestBody, ResponseBody, Sha256, Text, Timestamp, WholeNumber
from styleflow.storage.multiparts import MAX_PARTS

MAX_ADDRESSES = 100
"""In one answer."""

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
"""RFC 9110 5.6.2: what a header can carry."""


def _distinct(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("must name each part once")
    return numbers


class CreateUpload(RequestBody):
    """Announces a file: exactly so many bytes, and their SHA-256 where it is known."""

    filename: Annotated[Text, StringConstraints(min_length=1, max_length=255)]
    size_bytes: Annotated[WholeNumber, Field(ge=1)]
    content_type: Annotated[str, StringConstraints(max_length=127, pattern=f"^{_WORD}/{_WORD}$")] = (
        "application/octet-stream"
    )
    sha256: Sha256 | None = None
    multipart: Annotated[
        bool, Field(strict=True, description="Send it in parts. What is larger than one PUT may be, always is.")
    ] = False


class AskForParts(RequestBody):
    """Which parts are to be sent next."""

    numbers: Annotated[
        list[Annotated[WholeNumber, Field(ge=1, le=MAX_PARTS)]],
        Field(min_length=1, max_length=MAX_ADDRESSES),
        AfterValidator(_distinct),
        Field(json_schema_extra={"uniqueItems": True}),
    ]


class SentPart(RequestBody):
    """A part that was sent."""

    n: Annotated[WholeNumber, Field(ge=1, le=MAX_PARTS)]
    etag: Annotated[Text, StringConstraints(min_length=1, max_length=256)] = Field(
        description="As the answer to its PUT had it, with its quotes or without."
    )


class CompleteUpload(RequestBody):
    """What an upload in parts is made of."""

    parts: Annotated[list[SentPart], Field(min_length=1, max_length=MAX_PARTS)] | None = None


class PartAddress(ResponseBody):
    """Where one part goes: exactly `size_bytes` bytes, with these headers."""

    n: int
    size_bytes: int
    method: str
    url: str
    headers: dict[str, str]


class PartAddresses(ResponseBody):
    """In the order in which they were asked for."""

    data: list[PartAddress]


class StoredPart(ResponseBody):
    """A part that has arrived."""

    n: int
    etag: str
    size_bytes: int


class StoredPartList(ResponseBody):
    """In order of numbers."""

    data: list[StoredPart]


class Upload(ResponseBody):
    """A place to put the bytes. In mode `put`, `url` and `headers` are given until the upload is complete or expired;
    in mode `multipart`, `POST /v1/uploads/{id}/parts` gives one for each part."""

    id: str
    object: Literal["upload"] = "upload"
    state: Literal["pending", "complete"]
    filename: str
    content_type: str
    size_bytes: int
    sha256: str | None
    mode: Literal["put", "multipart"]
    part_size: Annotated[int | None, Field(description="Of every part but the last; null in mode `put`.")]
    part_count: Annotated[int | None, Field(description="Null in mode `put`.")]
    method: str | None
    url: str | None
    headers: dict[str, str]
    created_at: Timestamp
    expires_at: Timestamp


CREATE_EXAMPLES: dict[str, Any] = {
    "video": {
        "summary": "A file of known length and hash",
        "value": {
            "filename": "clip.mp4",
            "size_bytes": 73400320,
            "content_type": "video/mp4",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
    },
    "large": {
        "summary": "A large file, sent in parts",
        "value": {"filename": "film.mkv", "size_bytes": 4294967296, "content_type": "video/mp4", "multipart": True},
    },
}

ADDRESS_EXAMPLES: dict[str, Any] = {"first": {"summary": "The first four", "value": {"numbers": [1, 2, 3, 4]}}}

COMPLETE_EXAMPLES: dict[str, Any] = {
    "parts": {
        "summary": "Made of two parts",
        "value": {
            "parts": [
                {"n": 1, "etag": '"5f363e0e58a95f06cbe9bbc662c5dfb6"'},
                {"n": 2, "etag": '"827ccb0eea8a706c4c34a16891f84e7b"'},
            ]
        },
    }
}

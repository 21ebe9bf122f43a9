"""Bodies of `/v1/uploads`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from api.schemas.body import RequestBody, ResponseBody, Sha256, Text, Timestamp, WholeNumber

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
"""RFC 9110 5.6.2: what a header can carry."""


class CreateUpload(RequestBody):
    """Announces a file: exactly so many bytes, and their SHA-256 where it is known."""

    filename: Annotated[Text, StringConstraints(min_length=1, max_length=255)]
    size_bytes: Annotated[WholeNumber, Field(ge=1)]
    content_type: Annotated[str, StringConstraints(max_length=127, pattern=f"^{_WORD}/{_WORD}$")] = (
        "application/octet-stream"
    )
    sha256: Sha256 | None = None


class Upload(ResponseBody):
    """A place to put the bytes. `url` and `headers` are given until the upload is complete or expired."""

    id: str
    object: Literal["upload"] = "upload"
    state: Literal["pending", "complete"]
    filename: str
    content_type: str
    size_bytes: int
    sha256: str | None
    mode: Literal["put"] = "put"
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
    }
}

"""Which keys there are in the bucket, and which strings may be one. Pure."""

from __future__ import annotations

from styleflow.errors import InvalidRequest

MAX_KEY_BYTES = 1024
PRIVATE_PREFIXES = ("uploads/", "evidence/", "sources/", "crops/", "exports/")
"""Where the service keeps what belongs to its tenants; an `s3` source may not name it."""
_MAX_SEGMENT_BYTES = 200


def report_key(job_id: str, token: int) -> str:
    """The whole report of one attempt, frames included. The fencing token keeps two attempts apart."""
    return checked(f"evidence/{job_id}/{token}/report.json")


def evidence_prefix(job_id: str) -> str:
    """Where everything lies that belongs to one job's evidence, of all attempts. Ends in `/`."""
    return f"{checked(f'evidence/{job_id}')}/"


def crops_prefix(job_id: str) -> str:
    """Where the crops and heat maps of one job lie. Ends in `/`."""
    return f"{checked(f'crops/{job_id}')}/"


def crop_key(job_id: str, token: int, crop_id: str) -> str:
    """One picture of a face that an attempt made, or took over."""
    return checked(f"{crops_prefix(job_id)}{token}/{crop_id}.jpg")


def upload_key(project_id: str, upload_id: str) -> str:
    """The bytes of one upload; the caller's file name is no part of it."""
    return checked(f"uploads/{project_id}/{upload_id}")


def source_key(project_id: str, job_id: str) -> str:
    """Our copy of a source that was fetched from the web."""
    return checked(f"sources/{project_id}/{job_id}")


def export_prefix(project_id: str, export_id: str) -> str:
    """Where everything lies that one export wrote into our bucket, of all attempts. Ends in `/`."""
    return f"{checked(f'exports/{project_id}/{export_id}')}/"


def checked(key: str) -> str:
    """The key itself, when every kind of bucket can hold it. Raises InvalidRequest.

    1 to 1024 bytes of UTF-8, segments of 1 to 200 bytes between single slashes, none of them `.` or `..` or with a
    dot in front, no backslash and no control character: so that it is also a safe relative path.
    """
    if not key or not _is_encodable(key) or len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidRequest(f"a key has 1 to {MAX_KEY_BYTES} bytes of UTF-8")
    if not all(_is_segment(segment) for segment in key.split("/")):
        raise InvalidRequest("a key is made of plain segments between single slashes")
    return key


def _is_segment(segment: str) -> bool:
    return (
        0 < len(segment.encode()) <= _MAX_SEGMENT_BYTES
        and not segment.startswith(".")
        and all(character.isprintable() and character != "\\" for character in segment)
    )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

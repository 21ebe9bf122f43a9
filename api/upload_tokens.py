"""Signed addresses where the API itself plays the store's part (the local bucket): they are their own permission."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from api.pages import derive_key
from styleflow.errors import Unauthenticated


@dataclass(frozen=True)
class UploadTokens:
    """Makes and checks addresses of bytes to send and of objects to read. A signature binds method, path and end."""

    secret: str
    public_url: str

    def address(self, upload_id: str, expires: int, part: int | None = None) -> str:
        """Where the bytes of an upload, or of one of its parts, are sent."""
        path = _bytes_of(upload_id, part)
        return self._url(f"/v1/uploads/{path}", {}, expires, self._signature("PUT", path, expires))

    def check(self, upload_id: str, expires: int, signature: str, now: float, part: int | None = None) -> None:
        """Raises Unauthenticated when altered or expired."""
        self._check(self._signature("PUT", _bytes_of(upload_id, part), expires), signature, expires, now)

    def object_address(self, key: str, expires: int) -> str:
        """Where an object of the local bucket is read."""
        return self._url("/v1/objects", {"key": key}, expires, self._signature("GET", key, expires))

    def check_object(self, key: str, expires: int, signature: str, now: float) -> None:
        """Raises Unauthenticated when altered or expired."""
        self._check(self._signature("GET", key, expires), signature, expires, now)

    def _url(self, path: str, query: dict[str, str], expires: int, signature: str) -> str:
        signed = urlencode({**query, "expires": expires, "signature": signature})
        return f"{self.public_url.rstrip('/')}{path}?{signed}"

    def _check(self, right: str, signature: str, expires: int, now: float) -> None:
        if not hmac.compare_digest(right.encode(), signature.encode()):
            raise Unauthenticated("The address is not one that this service made.")
        if expires < now:
            raise Unauthenticated("The address has expired; ask for a new one.")

    def _signature(self, method: str, path: str, expires: int) -> str:
        text = f"{method}\n{path}\n{expires}".encode()
        return hmac.digest(derive_key(self.secret, "upload"), text, "sha256").hex()


def _bytes_of(upload_id: str, part: int | None) -> str:
    return f"{upload_id}/content" if part is None else f"{upload_id}/parts/{part}"

"""Signed addresses for the bytes of an upload, where the API itself plays the store's part (the local bucket)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from api.pages import derive_key
from styleflow.errors import Unauthenticated


@dataclass(frozen=True)
class UploadTokens:
    """Makes and checks `/v1/uploads/{id}/content?expires=…&signature=…`."""

    secret: str
    public_url: str

    def address(self, upload_id: str, expires: int) -> str:
        query = urlencode({"expires": expires, "signature": self._signature(upload_id, expires)})
        return f"{self.public_url.rstrip('/')}/v1/uploads/{upload_id}/content?{query}"

    def check(self, upload_id: str, expires: int, signature: str, now: float) -> None:
        """Raises Unauthenticated when altered or expired."""
        if not hmac.compare_digest(self._signature(upload_id, expires).encode(), signature.encode()):
            raise Unauthenticated("The upload's address is not one that this service made.")
        if expires < now:
            raise Unauthenticated("The upload's address has expired; get the upload again for a new one.")

    def _signature(self, upload_id: str, expires: int) -> str:
        text = f"PUT\n{upload_id}\n{expires}".encode()
        return hmac.digest(derive_key(self.secret, "upload"), text, "sha256").hex()

"""API keys, the projects that they belong to, and the box that keeps webhook secrets.

A key reads `sfk_<live|test>_<key id>_<secret><checksum>`: 12 base62 characters by which it is found, 32 random bytes as
43 base62 characters, and a CRC-32 of all before it as 6 more, so that a typo is noticed without asking the database and
a scanner recognises a leaked key. Stored are the id and an HMAC-SHA256 of the secret; a secret of 256 random bits
needs no slow hash. For a while after a rotation the secret before it is good as well.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import bindparam, case, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from styleflow.errors import (
    ConfigurationError,
    ForbiddenScope,
    InvalidRequest,
    NotFound,
    NotRetryable,
    Unauthenticated,
)
from styleflow.ids import new_id
from styleflow.key_grants import Address, Grant, allowed_from
from styleflow.tables import ApiKeyRow, ProjectRow

SCOPES = frozenset(
    {
        "jobs:write",
        "jobs:read",
        "evidence:read",
        "batches:write",
        "webhooks:manage",
        "reviews:decide",
        "models:admin",
        "keys:admin",
        "audit:read",
        "erasure:write",
    }
)

MODES = ("live", "test")
"""What a key says of itself, for scanners and for people. Both may do what their scopes say."""
MINIMUM_SECRET_KEY_CHARACTERS = 16
SEEN = timedelta(minutes=1)
"""So old `last_used_at` may be: enough to see which keys are in use."""
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_ID_CHARACTERS, _SECRET_CHARACTERS, _CHECKSUM_CHARACTERS = 12, 43, 6
_FORM = re.compile(
    rf"sfk_(?P<mode>live|test)_(?P<key_id>[0-9A-Za-z]{{{_KEY_ID_CHARACTERS}}})_(?P<secret>[0-9A-Za-z]{{{_SECRET_CHARACTERS}}})"
    rf"(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})"
)


@dataclass(frozen=True)
class Principal:
    """Who calls: one key of one project, and what it may do."""

    project_id: str
    key_id: str
    scopes: frozenset[str]
    id: str
    """The key's own `key_…`, by which its deeds are recorded; `key_id` is the part of its text by which it is found."""

    def require(self, scope: str) -> None:
        """Raises ForbiddenScope when the key lacks the scope."""
        if scope not in self.scopes:
            raise ForbiddenScope(f"this call needs a key with the scope {scope}")


class SecretBox:
    """Seals short texts for storage under a key derived from the service's secret key."""

    def __init__(self, secret_key: str) -> None:
        """Raises ConfigurationError when the secret key is missing or short."""
        self._fernet = Fernet(base64.urlsafe_b64encode(derived_key(secret_key, "webhook secrets")))

    def seal(self, plaintext: str) -> bytes:
        """An authenticated ciphertext; twice the same text gives different ones."""
        return self._fernet.encrypt(plaintext.encode())

    def open(self, sealed: bytes) -> str:
        """The text. Raises ConfigurationError when it was altered, or sealed under another secret key."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise ConfigurationError("a stored secret was sealed under another secret key") from error


def ensure_project(session: Session, name: str) -> ProjectRow:
    """The project of that name, made when there is none; safe when two do so at once."""
    session.execute(
        insert(ProjectRow).values(id=new_id("prj"), name=name).on_conflict_do_nothing(index_elements=["name"])
    )
    return session.scalars(select(ProjectRow).where(ProjectRow.name == name)).one()


def create(
    session: Session,
    pepper: str,
    project_id: str,
    name: str,
    scopes: Iterable[str],
    days: float | None = None,
    *,
    expires_at: datetime | None = None,
    cidrs: Sequence[str] | None = None,
    mode: str = "live",
) -> tuple[ApiKeyRow, str]:
    """A new key and its text, which cannot be shown again. Neither `days` nor `expires_at`: it never expires.

    `pepper` is the service's secret key. Raises InvalidRequest for an unknown scope or no scope at all.
    """
    wanted = sorted(set(scopes))
    if not wanted or not SCOPES.issuperset(wanted):
        raise InvalidRequest(f"scopes are some of: {', '.join(sorted(SCOPES))}")
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_ID_CHARACTERS))
    secret = _new_secret()
    row = ApiKeyRow(
        id=new_id("key"),
        project_id=project_id,
        name=name,
        key_id=key_id,
        secret_hash=_hash(pepper, secret),
        scopes=wanted,
        expires_at=expires_at if days is None else _days_from_now(session, days),
        cidrs=None if cidrs is None else list(cidrs),
        mode=mode,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, _written(mode, key_id, secret)


def authenticate(session: Session, pepper: str, presented: str, address: Address | None = None) -> Principal:
    """Who presents this key, from `address`. Raises Unauthenticated, in the same words whatever is wrong with it."""
    match = _FORM.fullmatch(presented)
    if match is None or not hmac.compare_digest(presented, _written(match["mode"], match["key_id"], match["secret"])):
        raise Unauthenticated
    row = session.execute(_FOUND, {"key_id": match["key_id"]}).one_or_none()
    # An unknown id costs the same comparisons, so that the time of the answer does not tell ids apart.
    given, known = _hash(pepper, match["secret"]), row.secret_hash if row is not None else bytes(32)
    before = row.overlapping if row is not None and row.overlapping is not None else bytes(32)
    fits = hmac.compare_digest(known, given) | hmac.compare_digest(before, given)
    if not fits or row is None or row.mode != match["mode"] or not allowed_from(row.cidrs, address):
        raise Unauthenticated
    if row.unseen:
        session.execute(_USED, {"id": row.id, "seen": SEEN})
    return Principal(row.project_id, row.key_id, frozenset(row.scopes), row.id)


def get_key(session: Session, project_id: str, row_id: str, *, lock: bool = False) -> ApiKeyRow:
    """Raises NotFound, also for another project's key."""
    wanted = select(ApiKeyRow).where(ApiKeyRow.id == row_id, ApiKeyRow.project_id == project_id)
    if lock:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    row = session.scalars(wanted).one_or_none()
    if row is None:
        raise NotFound
    return row


def grant_of_holder(session: Session, principal: Principal) -> Grant:
    """What the caller's own key may hand on; locked, so that it stays good. Raises Unauthenticated if revoked."""
    held = select(ApiKeyRow).where(ApiKeyRow.id == principal.id, ApiKeyRow.revoked_at.is_(None))
    row = session.scalars(held.with_for_update(read=True)).one_or_none()
    if row is None:
        raise Unauthenticated
    return grant_of(row)


def grant_of(row: ApiKeyRow) -> Grant:
    cidrs = None if row.cidrs is None else tuple(row.cidrs)
    return Grant(scopes=frozenset(row.scopes), expires_at=row.expires_at, cidrs=cidrs)


def page_of_keys(session: Session, project_id: str, limit: int, after: str | None = None) -> list[ApiKeyRow]:
    """Newest first; `after` is the id of the last one seen."""
    wanted = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id)
    if after is not None:
        wanted = wanted.where(ApiKeyRow.id < after)
    return list(session.scalars(wanted.order_by(ApiKeyRow.id.desc()).limit(limit)))


def rotate(session: Session, pepper: str, row: ApiKeyRow, overlap_hours: float) -> str:
    """A new secret for the key, which the caller has locked; returns its text. The secret until now is good for so many
    hours more, one from a rotation before that no longer. Raises NotRetryable for a key that is worth nothing.
    """
    moment: datetime = session.execute(select(func.now())).scalar_one()
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= moment):
        raise NotRetryable("Only a key that is valid can be rotated; make a new one.")
    secret = _new_secret()
    row.previous_secret_hash = row.secret_hash if overlap_hours > 0 else None
    row.previous_expires_at = moment + timedelta(hours=overlap_hours) if overlap_hours > 0 else None
    row.secret_hash = _hash(pepper, secret)
    row.rotated_at = moment
    session.flush()
    return _written(row.mode, row.key_id, secret)


def find_project(session: Session, name: str) -> ProjectRow:
    """Raises NotFound."""
    row = session.scalars(select(ProjectRow).where(ProjectRow.name == name)).one_or_none()
    if row is None:
        raise NotFound("There is no project of that name.")
    return row


def list_keys(session: Session, project_id: str) -> list[ApiKeyRow]:
    """Every key of the project, the revoked and expired among them, oldest first."""
    return list(session.scalars(select(ApiKeyRow).where(ApiKeyRow.project_id == project_id).order_by(ApiKeyRow.id)))


def revoke(session: Session, project_id: str, row_id: str) -> ApiKeyRow:
    """The key is worth nothing from now on. Raises NotFound, also for another project's key."""
    row = session.get(ApiKeyRow, row_id)
    if row is None or row.project_id != project_id:
        raise NotFound
    session.execute(
        update(ApiKeyRow).where(ApiKeyRow.id == row_id, ApiKeyRow.revoked_at.is_(None)).values(revoked_at=func.now())
    )
    session.refresh(row)
    return row


# Asked by every request, and so of the columns that matter alone, put together once.
_FOUND = select(
    *(ApiKeyRow.id, ApiKeyRow.project_id, ApiKeyRow.key_id, ApiKeyRow.mode, ApiKeyRow.secret_hash),
    *(ApiKeyRow.scopes, ApiKeyRow.cidrs),
    or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < func.now() - SEEN).label("unseen"),
    # The secret before the last rotation, while it is good.
    case((ApiKeyRow.previous_expires_at > func.now(), ApiKeyRow.previous_secret_hash)).label("overlapping"),
).where(
    ApiKeyRow.key_id == bindparam("key_id"),
    ApiKeyRow.revoked_at.is_(None),
    or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.now()),
)
# A request never waits for another one's lock on the row.
_USED = text("""
    update api_keys set last_used_at = now() where id in (
        select id from api_keys
        where id = :id and (last_used_at is null or last_used_at < now() - cast(:seen as interval))
        for update skip locked
    )
""")


def _days_from_now(session: Session, days: float) -> Any:
    return session.execute(select(func.now() + func.make_interval(0, 0, 0, 0, 0, 0, days * 86400.0))).scalar_one()


def _new_secret() -> str:
    return _base62(secrets.randbits(256), _SECRET_CHARACTERS)


def _written(mode: str, key_id: str, secret: str) -> str:
    body = f"sfk_{mode}_{key_id}_{secret}"
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    """The number in exactly that many digits, the most significant first."""
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    assert number == 0
    return "".join(reversed(digits))


def _hash(pepper: str, secret: str) -> bytes:
    return hmac.digest(derived_key(pepper, "api keys"), secret.encode(), "sha256")


@lru_cache(maxsize=16)
def derived_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose. Raises ConfigurationError when there is too little to derive them from."""
    if len(secret_key) < MINIMUM_SECRET_KEY_CHARACTERS:
        raise ConfigurationError(
            f"STYLEFLOW_SECRET_KEY must be set to at least {MINIMUM_SECRET_KEY_CHARACTERS} random characters"
        )
    return HKDF(SHA256(), 32, salt=None, info=f"styleflow {purpose}".encode()).derive(secret_key.encode())

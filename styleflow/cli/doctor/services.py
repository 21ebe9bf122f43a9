"""The service's other neighbours: broker, bucket, and the API itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from styleflow.cli.doctor import verdicts
from styleflow.cli.doctor.findings import Finding, fail, ok
from styleflow.settings import Settings

if TYPE_CHECKING:
    from styleflow.storage.bucket import Bucket

TIMEOUT_SECONDS = 3.0
PROBE_BYTES = 4096


def broker(settings: Settings) -> Sequence[Finding]:
    """Whether Redis answers, and whether it forgets."""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    from styleflow.broker import redis_py_url

    try:
        client = Redis.from_url(
            redis_py_url(settings.redis_url),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            told = {**client.info("server"), **client.info("memory")}
    except (RedisError, OSError, ValueError) as error:
        advice = "Start it (`styleflow up` has its own), or mend STYLEFLOW_REDIS_URL. Until then jobs wait, safely."
        return [fail("broker", f"Redis does not answer: {_short(error)}", advice)]
    return [
        verdicts.eviction(
            str(told["redis_version"]),
            str(told.get("maxmemory_policy", "unknown")),
            int(told.get("maxmemory", 0)),
            int(told.get("used_memory", 0)),
        )
    ]


def bucket(settings: Settings) -> Sequence[Finding]:
    """Put, read, compare and delete one small object wherever the service writes: rights are often given by prefix."""
    from styleflow.errors import StyleFlowError
    from styleflow.storage.connect import open_bucket
    from styleflow.storage.keys import PRIVATE_PREFIXES

    url = settings.bucket_url
    if (missing := _missing_folder(url)) is not None:
        advice = "Make it, or mend STYLEFLOW_BUCKET_URL; `styleflow up` makes its own."
        return [fail("bucket", f"The folder {missing} does not exist.", advice)]
    many = len(PRIVATE_PREFIXES)
    try:
        store = open_bucket(url, endpoint_url=settings.s3_endpoint_url, region=settings.s3_region, connections=many)
    except (StyleFlowError, ValueError) as error:  # ValueError: an address that boto3 cannot use
        return [_unusable(url, error)]
    # All at once: a store that takes a third of a second for an answer is a healthy one.
    found: dict[str, Finding | None] = {}
    probes = [Thread(target=_note, args=(found, store, prefix, url), daemon=True) for prefix in PRIVATE_PREFIXES]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    for trouble in filter(None, (found[prefix] for prefix in PRIVATE_PREFIXES)):
        return [trouble]
    return [ok("bucket", f"{url} stores, gives back and deletes under {', '.join(PRIVATE_PREFIXES)}.")]


def _note(found: dict[str, Finding | None], store: Bucket, prefix: str, url: str) -> None:
    """In a thread that may be left behind: a pool's threads would be waited for when the process ends."""
    try:
        found[prefix] = _probe(store, prefix, f"{url} under {prefix}")
    except Exception as error:  # noqa: BLE001 (whatever it is, it is a finding)
        found[prefix] = _unusable(f"{url} under {prefix}", error)


def _probe(store: Bucket, prefix: str, place: str) -> Finding | None:
    """What is wrong with one small object there. It stays where deleting is refused, which is the finding."""
    key, content = f"{prefix}doctor/{secrets.token_hex(16)}", secrets.token_bytes(PROBE_BYTES)
    store.put(key, content, "application/octet-stream")
    try:
        with store.open(key) as chunks:
            read = b"".join(chunks)
    finally:
        store.delete([key])
    if _digest(read) != _digest(content):
        return fail("bucket", f"{place} gave back other bytes than it was given.", "Do not use this store.")
    if store.head(key) is not None:
        return fail("bucket", f"{place} does not delete.", "Give the credentials the right to delete objects.")
    return None


def _unusable(place: str, error: Exception) -> Finding:
    advice = "Look whether it runs, whether the bucket exists, and at the credentials and their rights."
    return fail("bucket", f"{place}: {_short(error)}", advice)


def _missing_folder(url: str) -> Path | None:
    """The folder of a local bucket that is not there: opening it would make it."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.netloc + parts.path))
    return folder.absolute() if parts.scheme == "file" and not folder.is_dir() else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def api(settings: Settings) -> Sequence[Finding]:
    """Whether the API answers where it says that it is."""
    import httpx

    url = settings.public_url.rstrip("/")
    try:
        answer = httpx.get(f"{url}/readyz", timeout=TIMEOUT_SECONDS, trust_env=False)
        told = answer.json()
        checks = told.get("checks") or {}
        status = str(told["status"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, AttributeError):
        return [verdicts.api(url, None, [])]
    return [verdicts.api(url, status, [f"{name} {state}" for name, state in checks.items() if state != "ok"])]


def _short(error: Exception) -> str:
    """The last line of what a library says, at most a line long."""
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__)[:200]

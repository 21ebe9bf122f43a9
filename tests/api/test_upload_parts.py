"""Uploads in parts with the local bucket, where the API plays the store's part."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from styleflow.settings import Settings
from styleflow.storage.multiparts import PART_BYTES
from tests.api.conftest import Office, Running, Tenant, serve
from tests.stack import eventually

REST = b"the rest of a film"
SIZE = PART_BYTES + len(REST)
FIRST = bytes(PART_BYTES)


@pytest.fixture(scope="module")
def running(api_settings: Callable[..., Settings]) -> Iterator[Running]:
    """One that takes files of more than a part."""
    with serve(api_settings(max_upload_bytes=64 << 20)) as running:
        object.__setattr__(running.app.state.services.upload_tokens, "public_url", running.url)
        yield running


def announce(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    body = {"filename": "a.mp4", "size_bytes": SIZE, "content_type": "video/mp4", "multipart": True, **changes}
    answer = tenant.client.post("/v1/uploads", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def addresses(tenant: Tenant, upload: dict[str, Any], *numbers: int) -> list[dict[str, Any]]:
    answer = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": list(numbers)})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def put(address: dict[str, Any], content: Any) -> httpx.Response:
    return httpx.put(address["url"], content=content, trust_env=False)


def send_all(tenant: Tenant, upload: dict[str, Any]) -> list[dict[str, Any]]:
    """Both parts; what `:complete` wants."""
    answers = [put(address, data) for address, data in zip(addresses(tenant, upload, 1, 2), (FIRST, REST), strict=True)]
    assert [answer.status_code for answer in answers] == [204, 204]
    return [{"n": number, "etag": answer.headers["ETag"]} for number, answer in enumerate(answers, start=1)]


def complete(tenant: Tenant, upload: dict[str, Any], parts: list[dict[str, Any]] | None) -> httpx.Response:
    return tenant.client.post(f"/v1/uploads/{upload['id']}:complete", json={} if parts is None else {"parts": parts})


def lying(tenant: Tenant, upload: dict[str, Any]) -> list[str]:
    """What the bucket holds of it: objects, and parts of objects."""
    bucket = tenant.running.app.state.services.bucket
    prefix = f"uploads/{tenant.project_id}/{upload['id']}"
    return [found.key for found in (*bucket.list(prefix), *bucket.multiparts.list_open(prefix))]


def scratch(tenant: Tenant) -> list[str]:
    return [path.name for path in tenant.running.app.state.services.bucket.landing.iterdir()]


def test_a_large_file_is_announced_sent_in_parts_completed_and_submitted(tenant: Tenant) -> None:
    sha256 = hashlib.sha256(FIRST + REST).hexdigest()
    upload = announce(tenant, sha256=sha256)
    assert (upload["mode"], upload["part_size"], upload["part_count"]) == ("multipart", PART_BYTES, 2)
    assert (upload["url"], upload["method"]) == (None, None)
    first, second = addresses(tenant, upload, 1, 2)
    assert (first["size_bytes"], second["size_bytes"]) == (PART_BYTES, len(REST))
    assert second["headers"] == {"Content-Length": str(len(REST))}

    answer = complete(tenant, upload, list(reversed(send_all(tenant, upload))))
    assert (answer.status_code, answer.json()["state"]) == (200, "complete"), "in whatever order they are named"

    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
    assert (job["source"]["sha256"], job["source"]["size_bytes"]) == (sha256, SIZE)
    bucket = tenant.running.app.state.services.bucket
    with bucket.open(f"uploads/{tenant.project_id}/{upload['id']}") as chunks:
        assert hashlib.sha256(b"".join(chunks)).hexdigest() == sha256
    assert scratch(tenant) == []


def test_etags_may_be_named_without_their_quotes(tenant: Tenant) -> None:
    upload = announce(tenant)
    bare = [{**part, "etag": part["etag"].strip('"')} for part in send_all(tenant, upload)]
    assert complete(tenant, upload, bare).status_code == 200


def test_completing_may_be_repeated_also_without_the_parts(tenant: Tenant) -> None:
    upload = announce(tenant)
    parts = send_all(tenant, upload)

    first, again, without = (complete(tenant, upload, named) for named in (parts, parts, None))

    assert (first.status_code, again.status_code, without.status_code) == (200, 200, 200)
    assert first.json() == again.json() == without.json()


def test_many_who_complete_at_once_are_told_of_one_and_the_same_object(tenant: Tenant) -> None:
    upload = announce(tenant)
    parts = send_all(tenant, upload)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: complete(tenant, upload, parts), range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4
    job = tenant.post_job(source={"type": "upload", "upload_id": upload["id"]})
    facts = tenant.running.app.state.services.bucket.head(f"uploads/{tenant.project_id}/{upload['id']}")
    assert job["source"]["etag"] == facts.etag, "jobs are pinned to what lies there"


def test_an_expired_upload_gets_no_more_addresses(tenant: Tenant) -> None:
    upload = announce(tenant)
    with tenant.running.database.transaction() as session:
        session.execute(text("update uploads set expires_at = now() where id = :id"), {"id": upload["id"]})
    answer = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1]})
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


def test_completing_goes_on_where_an_earlier_call_died_behind_the_bucket(tenant: Tenant) -> None:
    upload = announce(tenant)
    parts = send_all(tenant, upload)
    assert complete(tenant, upload, parts).status_code == 200
    with tenant.running.database.transaction() as session:
        session.execute(text("update uploads set state = 'pending', etag = null where id = :id"), {"id": upload["id"]})

    answer = complete(tenant, upload, parts)

    assert (answer.status_code, answer.json()["state"]) == (200, "complete")


def test_parts_that_are_missing_named_twice_or_otherwise_are_a_mismatch(tenant: Tenant) -> None:
    upload = announce(tenant)
    assert complete(tenant, upload, [{"n": 1, "etag": '"x"'}]).json()["code"] == "upload_mismatch", "none was sent"
    one, two = send_all(tenant, upload)
    wrong = [
        [one],
        [two],
        [one, one],
        [one, two, two],
        [one, {"n": 3, "etag": two["etag"]}],
        [one, {**two, "etag": "x"}],
    ]

    for named in wrong:
        answer = complete(tenant, upload, named)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch"), named
    assert complete(tenant, upload, [one, two]).status_code == 200, "nothing was lost by it"


def test_the_mode_decides_whether_parts_are_to_be_named(tenant: Tenant) -> None:
    whole = announce(tenant, multipart=False)
    for upload, parts in ((announce(tenant), None), (whole, [{"n": 1, "etag": '"x"'}])):
        answer = complete(tenant, upload, parts)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/parts")
    answer = tenant.client.post(f"/v1/uploads/{whole['id']}/parts", json={"numbers": [1]})
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


@pytest.mark.parametrize("numbers", [[], [0], [3], [1, 1], list(range(1, 102)), ["1"], [True]])
def test_numbers_that_are_no_parts_are_refused(tenant: Tenant, numbers: list[Any]) -> None:
    answer = tenant.client.post(f"/v1/uploads/{announce(tenant)['id']}/parts", json={"numbers": numbers})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_sender_who_was_interrupted_learns_what_has_arrived(tenant: Tenant) -> None:
    upload = announce(tenant)
    listed = f"/v1/uploads/{upload['id']}/parts"
    assert tenant.client.get(listed).json() == {"data": []}
    (second,) = addresses(tenant, upload, 2)
    etag = put(second, REST).headers["ETag"]

    assert tenant.client.get(listed).json() == {"data": [{"n": 2, "etag": etag, "size_bytes": len(REST)}]}
    assert put(second, REST).status_code == 204, "the address holds for more than one try"


def test_a_body_of_another_length_than_the_part_s_is_not_kept(tenant: Tenant) -> None:
    upload = announce(tenant)
    (second,) = addresses(tenant, upload, 2)

    assert put(second, REST + b"X").status_code == 413
    assert put(second, REST[:-1]).status_code == 409
    assert put(second, iter([REST, b"X"])).status_code == 413, "chunked"
    assert put(second, iter([REST[:-1]])).status_code == 409, "chunked"
    assert tenant.client.get(f"/v1/uploads/{upload['id']}/parts").json()["data"] == []
    assert scratch(tenant) == []


def test_a_part_whose_sender_hangs_up_leaves_nothing(tenant: Tenant) -> None:
    upload = announce(tenant)
    (first,) = addresses(tenant, upload, 1)
    parts = urlsplit(first["url"])
    with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {PART_BYTES}\r\n\r\n"
        connection.sendall(head.encode() + FIRST[: 3 << 20])
    eventually(lambda: scratch(tenant) == [])
    assert tenant.client.get(f"/v1/uploads/{upload['id']}/parts").json()["data"] == []


def test_an_address_serves_one_part_of_one_upload_until_its_end(tenant: Tenant) -> None:
    upload, other = announce(tenant), announce(tenant)
    addresses(tenant, other, 1)
    (second,) = addresses(tenant, upload, 2)
    path, query = second["url"].split("?")
    expired = "&".join(["expires=1", *(pair for pair in query.split("&") if not pair.startswith("expires="))])
    wrong = [
        second["url"].replace("/parts/2", "/parts/1"),
        second["url"].replace(upload["id"], other["id"]),
        second["url"].replace("/parts/2", "/content"),
        f"{path}?{expired}",
    ]
    for url in wrong:
        assert httpx.put(url, content=REST, trust_env=False).status_code == 401, url


def test_a_deleted_upload_is_aborted_in_the_bucket_too(tenant: Tenant) -> None:
    upload = announce(tenant)
    (second,) = addresses(tenant, upload, 2)
    put(second, REST)
    assert lying(tenant, upload)

    assert tenant.client.delete(f"/v1/uploads/{upload['id']}").status_code == 204

    assert lying(tenant, upload) == []
    assert put(second, REST).status_code == 404
    assert complete(tenant, upload, [{"n": 1, "etag": "x"}]).status_code == 404


def test_no_part_comes_after_the_end(tenant: Tenant) -> None:
    upload = announce(tenant)
    (second,) = addresses(tenant, upload, 2)
    complete(tenant, upload, send_all(tenant, upload))

    assert (put(second, REST).status_code, put(second, REST).json()["code"]) == (409, "upload_mismatch")
    answer = tenant.client.post(f"/v1/uploads/{upload['id']}/parts", json={"numbers": [1]})
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


def test_many_who_ask_for_addresses_at_once_get_those_of_one_object(tenant: Tenant) -> None:
    upload = announce(tenant)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: addresses(tenant, upload, 1, 2), range(6)))

    assert len(lying(tenant, upload)) == 1
    assert complete(tenant, upload, send_all(tenant, upload)).status_code == 200


def test_a_job_does_not_take_an_upload_whose_parts_were_not_named(tenant: Tenant) -> None:
    upload = announce(tenant)
    send_all(tenant, upload)
    answer = tenant.client.post("/v1/jobs", json={"source": {"type": "upload", "upload_id": upload["id"]}})
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_mismatch")


def test_parts_are_nobody_else_s(tenant: Tenant, office: Office) -> None:
    upload = announce(tenant)
    stranger, reader = office.tenant(), office.tenant(scopes=("jobs:read",), project_id=tenant.project_id)
    path = f"/v1/uploads/{upload['id']}"
    assert stranger.client.post(f"{path}/parts", json={"numbers": [1]}).status_code == 404
    assert stranger.client.get(f"{path}/parts").status_code == 404
    assert complete(stranger, upload, [{"n": 1, "etag": "x"}]).status_code == 404
    assert reader.client.post(f"{path}/parts", json={"numbers": [1]}).status_code == 403
    assert reader.client.get(f"{path}/parts").status_code == 200


def test_what_no_single_request_could_carry_comes_in_parts(
    tenant: Tenant, api_settings: Callable[..., Settings], office: Office
) -> None:
    with (
        serve(api_settings(max_upload_bytes=1 << 40, max_media_bytes=1 << 40)) as roomy,
        roomy.client(tenant.key) as it,
    ):
        answer = it.post("/v1/uploads", json={"filename": "a.mkv", "size_bytes": (5 << 30) + 1}).json()
        huge = it.post("/v1/uploads", json={"filename": "a.mkv", "size_bytes": 1 << 40}).json()
    assert (answer["mode"], answer["part_size"], answer["part_count"]) == ("multipart", PART_BYTES, 321)
    assert (huge["part_size"], huge["part_count"]) == (105 << 20, 9987)


def test_a_chunked_part_without_end_is_cut_off(tenant: Tenant) -> None:
    (second,) = addresses(tenant, announce(tenant), 2)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    with suppress(httpx.TransportError):
        assert put(second, endless()).status_code == 413
    assert sent < 64 << 20

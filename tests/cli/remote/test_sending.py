"""What is sent when, by a receiver that remembers keys as the service does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from styleflow.cli.remote import journal as journals
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.journal import Journal
from styleflow.cli.remote.sending import Order, Refused, Submission, submit
from styleflow.cli.remote.sources import VideoSource


class Killed(BaseException):
    """The process died here."""


@dataclass
class RememberingReceiver:
    """Idempotent as the service is: a key answers as it did the first time, and refuses another body."""

    url: str = "http://here"
    jobs: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    die_after: str = ""
    lost_uploads: bool = False
    expired: set[str] = field(default_factory=set)

    def upload(self, source: VideoSource, key: str, sent: Callable[[float], None]) -> str:
        if key in self.expired:
            raise Refused(Exit.NOT_FOUND, "erased", "The upload was deleted.")
        upload_id = self.uploads.setdefault(key, f"upl_{len(self.uploads)}")
        sent(1.0)
        self._maybe_die("upload")
        return upload_id

    def create_job(self, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        if self.lost_uploads:
            raise Refused(Exit.NOT_FOUND, "not_found", "Nothing of that id.", "req_1")
        known, job_id = self.jobs.setdefault(key, (body, f"job_{len(self.jobs)}"))
        if known != body:
            raise Refused(Exit.REFUSED, "idempotency_mismatch", "Another body.")
        self._maybe_die("job")
        return {"id": job_id}

    def _maybe_die(self, step: str) -> None:
        if self.die_after == step:
            self.die_after = ""
            raise Killed


@pytest.fixture
def video(tmp_path: Path) -> str:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"123")
    return str(path)


def run(receiver: RememberingReceiver, path: Path | None, text: str, body: Mapping[str, Any]) -> Submission:
    with Journal(path) as journal:
        return submit(receiver, journal, text, Order(body=body), lambda *_: None)


@pytest.mark.parametrize("die_after", ["upload", "job"])
@pytest.mark.parametrize("kind", ["file", "url"])
def test_wherever_a_run_dies_the_next_one_submits_once(tmp_path: Path, video: str, die_after: str, kind: str) -> None:
    receiver = RememberingReceiver(die_after=die_after)
    text = video if kind == "file" else "https://media.test/a.mp4"
    try:
        first = run(receiver, tmp_path / "journal", text, {})
    except Killed:
        first = None
    second = run(receiver, tmp_path / "journal", text, {})
    third = run(receiver, tmp_path / "journal", text, {})
    assert len(receiver.jobs) == 1
    assert second.job == {"id": "job_0"} == third.job
    assert third.from_journal
    assert first is None or second.from_journal


def test_another_order_is_another_submission(tmp_path: Path, video: str) -> None:
    receiver = RememberingReceiver()
    run(receiver, tmp_path / "journal", video, {"lane": "bulk"})
    run(receiver, tmp_path / "journal", video, {"lane": "standard"})
    assert len(receiver.jobs) == 2


def test_a_file_is_known_by_its_name_and_an_address_by_itself(video: str) -> None:
    receiver = RememberingReceiver()
    run(receiver, None, video, {})
    run(receiver, None, video, {"client_ref": "post-1"})
    run(receiver, None, "https://media.test/a.mp4", {})
    assert [body.get("client_ref") for body, _ in receiver.jobs.values()] == ["clip.mp4", "post-1", None]


def test_what_cannot_be_sent_is_told_with_its_code(tmp_path: Path) -> None:
    refused = run(RememberingReceiver(), None, str(tmp_path / "absent.mp4"), {}).refused
    assert refused is not None
    assert (refused.end, refused.code) == (Exit.REFUSED, "invalid_request")
    assert "cannot be read" in refused.sentence


def test_an_upload_that_is_gone_leaves_it_in_doubt_instead_of_submitting_twice(tmp_path: Path, video: str) -> None:
    receiver = RememberingReceiver(die_after="job")
    with pytest.raises(Killed):
        run(receiver, tmp_path / "journal", video, {})
    receiver.lost_uploads = True
    refused = run(receiver, tmp_path / "journal", video, {}).refused
    assert refused is not None
    assert (refused.code, refused.end) == ("in_doubt", Exit.REFUSED)


def test_an_upload_that_expired_before_its_job_was_asked_for_is_sent_anew(tmp_path: Path, video: str) -> None:
    receiver = RememberingReceiver(die_after="upload")
    with pytest.raises(Killed):
        run(receiver, tmp_path / "journal", video, {})
    receiver.expired = set(receiver.uploads)
    for _ in range(2):
        assert run(receiver, tmp_path / "journal", video, {}).job == {"id": "job_0"}
    assert len(receiver.uploads) == 2


def test_an_upload_that_is_not_there_at_the_first_try_is_a_plain_refusal(tmp_path: Path, video: str) -> None:
    refused = run(RememberingReceiver(lost_uploads=True), tmp_path / "journal", video, {}).refused
    assert refused is not None
    assert refused.sentence == "not_found: Nothing of that id. (request req_1)"


def test_a_key_that_may_be_forgotten_is_not_repeated(
    tmp_path: Path, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = RememberingReceiver(die_after="job")
    with pytest.raises(Killed):
        run(receiver, tmp_path / "journal", video, {})
    monkeypatch.setattr(journals, "REMEMBERED", -journals.REMEMBERED)
    refused = run(receiver, tmp_path / "journal", video, {}).refused
    assert refused is not None
    assert refused.code == "in_doubt"
    assert len(receiver.jobs) == 1

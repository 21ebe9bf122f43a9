"""Pictures of faces that a worker keeps: when, where, and what takes them away again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from styleflow import pack_copies
from styleflow.detection.analyze import AnalysisOptions
from styleflow.detection.engine import Detector
from styleflow.errors import StorageUnavailable
from styleflow.jobs import holds, reuse
from styleflow.jobs.erasures import order_job
from styleflow.jobs.keeping import Mode, Retention
from styleflow.jobs.object_erasures import ObjectEraser
from styleflow.jobs.orphans import OrphanReaper
from styleflow.jobs.retention import KINDS
from styleflow.packs import Catalog
from styleflow.report import VideoReport
from styleflow.storage.bucket import ObjectFacts
from styleflow.storage.keys import crop_key, crops_prefix
from styleflow.tables import JobRow, ResultRow
from tests.jobs.desk import AGREED, KEEP, KEY
from tests.jobs.reports import crop, scored_report
from tests.media import SAMPLES
from tests.worker.conftest import Bench
from worker.analyzer import DetectorAnalyzer
from worker.execution import KeepCrop
from worker.fetch import FetchedVideo

ZERO = Retention(mode=Mode.ZERO, source_hours=0, crops_days=0, frames_days=0, results_days=0)
NAMES = ("crop-1", "crop-2")


@pytest.fixture
def pictured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench, with an analyzer that scores, and gives two pictures where they are wanted."""

    def analyze(
        video: FetchedVideo, model: str, options: Any, *, keep_crop: KeepCrop | None = None, **_: Any
    ) -> VideoReport:
        bench.analyzer.asked.append(model)
        bench.analyzer.act(video)
        report = scored_report()
        crops = () if keep_crop is None else (crop(1), crop(2))
        for one in crops:
            assert keep_crop is not None
            keep_crop(one, picture(one.crop_id))
        media = replace(report.media, sha256=video.sha256)
        return replace(report, media=media, pipeline=bench.analyzer.pipeline(model), crops=crops)

    monkeypatch.setattr(bench.analyzer, "analyze", analyze)
    monkeypatch.setattr(bench.analyzer, "pipeline", lambda model: scored_report().pipeline)
    return bench


def picture(crop_id: str) -> bytes:
    return f"a JPEG, {crop_id}".encode()


def done(bench: Bench, **more: Any) -> str:
    job_id = bench.submit(**{"retention": AGREED, **more})
    assert bench.execution.run(job_id=job_id)
    return job_id


def lying(bench: Bench, job_id: str) -> dict[str, bytes]:
    """What there is of a job's crops, by key."""
    found = {}
    for stored in bench.bucket.list(crops_prefix(job_id)):
        with bench.bucket.open(stored.key) as chunks:
            found[stored.key] = b"".join(chunks)
    return found


def expected(bench: Bench, job_id: str) -> dict[str, bytes]:
    token = bench.job(job_id).lease_token
    return {crop_key(job_id, token, name): picture(name) for name in NAMES}


def named(bench: Bench, job_id: str) -> list[str]:
    with bench.database.transaction() as session:
        return [one["crop_id"] for one in session.get_one(ResultRow, job_id).report["crops"]]


def sweep(bench: Bench, kind: str) -> int:
    with bench.database.transaction() as session:
        swept = KINDS[kind](session, KEEP, 100)
    erase_objects(bench)
    return swept


def erase_objects(bench: Bench) -> None:
    while ObjectEraser(database=bench.database, bucket=bench.bucket).erase_due():
        pass


def let_crops_end(bench: Bench, job_id: str) -> None:
    with bench.database.transaction() as session:
        session.get_one(JobRow, job_id).crops_until = datetime(2020, 1, 1, tzinfo=UTC)


def test_crops_are_stored_under_job_and_token_and_named_by_the_result(pictured: Bench) -> None:
    job_id = done(pictured)

    assert lying(pictured, job_id) == expected(pictured, job_id)
    assert named(pictured, job_id) == list(NAMES)
    with pictured.database.transaction() as session:
        key = str(session.get_one(ResultRow, job_id).report_key)
    with pictured.bucket.open(key) as chunks:
        assert [one["crop_id"] for one in json.loads(b"".join(chunks))["crops"]] == list(NAMES)


@pytest.mark.parametrize(
    "wish",
    [
        {"retention": ZERO},
        {"retention": replace(AGREED, crops_days=0)},
        {"options": {"evidence": {"crops": False}}},
    ],
    ids=["zero retention", "no time for crops", "not wanted"],
)
def test_no_crop_is_even_made_where_none_is_kept(pictured: Bench, wish: dict[str, Any]) -> None:
    job_id = done(pictured, **wish)

    assert pictured.job(job_id).state == "succeeded"
    assert list(pictured.bucket.list("crops/")) == []
    if wish.get("retention") is not ZERO:
        assert named(pictured, job_id) == []


def test_an_operator_can_switch_crops_off(pictured: Bench) -> None:
    object.__setattr__(pictured.execution, "crops", False)
    job_id = done(pictured, options={"evidence": {"crops": True}})

    assert (list(pictured.bucket.list("crops/")), named(pictured, job_id)) == ([], [])


def test_crops_go_at_their_time_and_the_result_stays(pictured: Bench) -> None:
    job_id = done(pictured)
    other = done(pictured)
    let_crops_end(pictured, job_id)

    assert sweep(pictured, "crops") == 1
    assert lying(pictured, job_id) == {}
    assert lying(pictured, other) == expected(pictured, other)
    assert named(pictured, job_id) == list(NAMES), "what was found never changes"


def test_erasing_the_job_erases_its_crops(pictured: Bench) -> None:
    job_id = done(pictured)
    with pictured.database.transaction() as session:
        order_job(session, pictured.job(job_id).project_id, job_id, KEY)
    erase_objects(pictured)

    assert lying(pictured, job_id) == {}


def test_crops_under_legal_hold_stay_until_it_is_released(pictured: Bench) -> None:
    job_id = done(pictured)
    project = pictured.job(job_id).project_id
    let_crops_end(pictured, job_id)
    with pictured.database.transaction() as session:
        holds.place(session, project, job_id, "a case", KEY)

    assert sweep(pictured, "crops") == 0
    assert lying(pictured, job_id) == expected(pictured, job_id)
    with pictured.database.transaction() as session:
        holds.release(session, project, job_id, KEY)
    assert sweep(pictured, "crops") == 1
    assert lying(pictured, job_id) == {}


def test_a_reused_result_has_crops_of_its_own(pictured: Bench) -> None:
    first = done(pictured, dedupe="reuse")
    second = done(pictured, dedupe="reuse")

    assert pictured.job(second).deduplicated_from == first
    assert lying(pictured, second) == expected(pictured, second)
    assert named(pictured, second) == list(NAMES)
    with pictured.database.transaction() as session:
        order_job(session, pictured.job(first).project_id, first, KEY)
    erase_objects(pictured)
    assert lying(pictured, second) == expected(pictured, second)


def test_a_result_whose_crops_had_their_time_is_reused_without_them(pictured: Bench) -> None:
    first = done(pictured, dedupe="reuse")
    let_crops_end(pictured, first)
    sweep(pictured, "crops")

    second = done(pictured, dedupe="reuse")

    assert pictured.job(second).deduplicated_from == first
    assert (lying(pictured, second), named(pictured, second)) == ({}, [])


def test_a_crop_that_is_gone_while_it_is_copied_is_not_named(pictured: Bench) -> None:
    first = done(pictured, dedupe="reuse")
    pictured.bucket.delete([crop_key(first, pictured.job(first).lease_token, "crop-1")])

    second = done(pictured, dedupe="reuse")

    assert pictured.job(second).deduplicated_from == first
    assert named(pictured, second) == ["crop-2"]


def test_a_job_that_keeps_no_crops_takes_none_over(pictured: Bench) -> None:
    done(pictured, dedupe="reuse")
    second = done(pictured, dedupe="reuse", retention=replace(AGREED, crops_days=0))

    assert pictured.job(second).deduplicated_from is not None
    assert (lying(pictured, second), named(pictured, second)) == ({}, [])


def test_a_result_of_before_there_were_crops_is_reused(pictured: Bench) -> None:
    first = done(pictured, dedupe="reuse")
    with pictured.database.transaction() as session:
        session.execute(text("update results set report = report - 'crops'"))
        earlier = reuse.find_earlier(session, pictured.job(first).project_id, pictured.job(first).content_key or b"")
    assert earlier is not None
    assert earlier.crops == ()

    second = done(pictured, dedupe="reuse")
    assert (pictured.job(second).deduplicated_from, named(pictured, second)) == (first, [])


@contextmanager
def failing_for(bench: Bench, part: str) -> Iterator[None]:
    """A store that refuses keys with that part."""
    put = bench.bucket.put

    def refuse(key: str, *arguments: Any, **options: Any) -> ObjectFacts:
        if part in key:
            raise StorageUnavailable
        return put(key, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.bucket), "put", lambda bucket, key, *rest, **more: refuse(key, *rest, **more))
        yield


def test_a_store_that_takes_no_crop_is_asked_again_like_for_the_report(pictured: Bench) -> None:
    job_id = pictured.submit(retention=AGREED)
    with failing_for(pictured, "crop-2"):
        pictured.execution.run(job_id=job_id)

    job = pictured.job(job_id)
    assert (job.state, job.outcome, job.attempt) == ("queued", None, 1)
    assert len(lying(pictured, job_id)) == 1, "what the attempt left is named by no result"

    with pictured.database.transaction() as session:
        session.execute(text("update jobs set run_at = now()"))
    assert pictured.execution.run(job_id=job_id)
    again = expected(pictured, job_id)
    assert again.keys() < lying(pictured, job_id).keys()
    age(pictured, job_id)
    OrphanReaper(pictured.database, pictured.bucket).reap()
    assert lying(pictured, job_id) == again


def age(bench: Bench, job_id: str) -> None:
    """The objects of the job's crops are two days old."""
    root = bench.execution.scratch / "bucket"
    for stored in bench.bucket.list(crops_prefix(job_id)):
        moment = time.time() - 2 * 86_400
        os.utime(root / stored.key, (moment, moment))


def test_a_worker_that_lost_its_lease_leaves_crops_that_no_result_names(pictured: Bench) -> None:
    job_id = pictured.submit(retention=AGREED)

    def lose_it(video: FetchedVideo) -> None:
        with pictured.database.transaction() as session:
            job = session.get_one(JobRow, job_id, with_for_update=True)
            job.lease_token += 1

    object.__setattr__(pictured.execution, "heartbeat_seconds", 30.0)
    pictured.analyzer.act = lose_it
    pictured.execution.run(job_id=job_id)

    assert lying(pictured, job_id).keys() == {crop_key(job_id, 1, name) for name in NAMES}
    age(pictured, job_id)
    OrphanReaper(pictured.database, pictured.bucket).reap()
    assert lying(pictured, job_id) == {}


def test_a_sample_leaves_pictures_of_its_face_in_the_bucket(bench: Bench) -> None:
    """With the detector and the pack that comes with StyleFlow."""
    catalog = Catalog(pack_copies.SHIPPED)
    pack = catalog.resolve("styleflow@default")
    detectors = {pack.card.model: Detector.load(pack)}
    object.__setattr__(bench.execution, "analyzer", DetectorAnalyzer(catalog, detectors, "cpu", AnalysisOptions()))
    object.__setattr__(bench.execution, "sources", replace(bench.execution.sources, max_bytes=1 << 24))
    job_id = bench.submit(retention=AGREED, model=pack.card.model)
    bench.bucket.put("videos/one", SAMPLES / "anitalker-aiface3.mp4", "video/mp4")

    bench.execution.run(job_id=job_id)

    assert bench.job(job_id).outcome == "scored"
    assert named(bench, job_id) == ["crop-1", "crop-2", "crop-3"]
    assert {jpeg[:3] for jpeg in lying(bench, job_id).values()} == {b"\xff\xd8\xff"}
    assert len(lying(bench, job_id)) == 3

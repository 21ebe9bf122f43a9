"""Bodies of `/v1/retention`, `/v1/erasures` and legal holds, and of what jobs say about how long they are kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from api.schemas.body import Id, Moment, RequestBody, ResponseBody, Sha256, Text, Timestamp
from styleflow.jobs.keeping import Mode

MAX_ERASED_AT_ONCE = 1000

ErasureState = Literal["pending", "running", "completed"]
Hours = Annotated[float, Field(ge=0, le=1e6, strict=True)]
Days = Annotated[float, Field(ge=0, le=1e5, strict=True)]


class RetentionWishes(RequestBody):
    """How long what is kept. What is left out is the project's, or the operator's default; beyond the operator's
    maximum it is refused."""

    mode: Annotated[
        Mode | None,
        Field(
            description="`zero`: no source, no evidence; the answer alone, for `results_days`, which are 0 if left out."
        ),
    ] = None
    source_hours: Annotated[Hours | None, Field(description="An uploaded video, from when the job is accepted.")] = None
    crops_days: Annotated[Days | None, Field(description="Crops and heat maps, from the end of the job.")] = None
    frames_days: Annotated[Days | None, Field(description="Frame scores and the whole report, from the end.")] = None
    results_days: Annotated[Days | None, Field(description="Results and the job itself, from the end.")] = None


class ClassDates(ResponseBody):
    """When each class is erased; null where there is nothing of it, or nothing any more, or no end yet."""

    source: Timestamp | None
    crops: Timestamp | None
    frames: Timestamp | None
    results: Annotated[Timestamp | None, Field(description="Before the job has ended, an estimate.")]


class EndedClasses(ResponseBody):
    """When a class was erased; null where it was not."""

    source: Timestamp | None = None
    crops: Timestamp | None = None
    frames: Timestamp | None = None


class JobRetention(ResponseBody):
    """What was agreed when the job was accepted. Later changes of the project's retention do not touch it."""

    mode: Annotated[Mode, Field(description="`standard` or `zero`.")]
    source_hours: float
    crops_days: float
    frames_days: float
    results_days: float
    expires_at: ClassDates
    ended: EndedClasses = EndedClasses()
    all_but_the_answer_until: Annotated[
        Timestamp | None, Field(description="Zero retention: when all but the answer goes at the latest.")
    ] = None
    held_at: Annotated[Timestamp | None, Field(description="Under legal hold since then: nothing is erased.")] = None


class Periods(ResponseBody):
    """How long each class is kept."""

    source_hours: float
    crops_days: float
    frames_days: float
    results_days: float


class Effective(Periods):
    """What a job gets that asks for nothing itself."""

    mode: Mode


class ProjectWishes(ResponseBody):
    """What the project asked for; null is the operator's default."""

    mode: Mode
    source_hours: float | None
    crops_days: float | None
    frames_days: float | None
    results_days: float | None


class ProjectRetention(ResponseBody):
    """How long what is kept of this project's jobs."""

    object: Literal["retention"] = "retention"
    project: ProjectWishes
    effective: Effective
    maximum: Annotated[Periods, Field(description="The operator's: neither project nor job may go beyond it.")]
    updated_at: Annotated[Timestamp | None, Field(description="Null when the project never changed it.")]


class CreateErasure(RequestBody):
    """Whose jobs to erase: exactly one of `client_ref`, `sha256` and `job_ids`."""

    client_ref: Annotated[Text, StringConstraints(min_length=1, max_length=256)] | None = None
    sha256: Annotated[Sha256 | None, Field(description="Of the video, as `media` or `source` of a job says it.")] = None
    job_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_ERASED_AT_ONCE)] | None = None
    created_before: Annotated[Moment | None, Field(description="Only jobs that were made until then.")] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.client_ref, self.sha256, self.job_ids)) != 1:
            raise ValueError("name exactly one of client_ref, sha256 and job_ids")
        return self


class ErasureCounts(ResponseBody):
    """Jobs by what became of them."""

    erased: int
    held: Annotated[int, Field(description="Under legal hold, so not erased.")]
    waiting: Annotated[int, Field(description="Still running; told to stop.")]
    undecided: Annotated[
        int,
        Field(
            description="With `sha256`: jobs that were under way and whose video is not hashed yet. They are not "
            "stopped; the erasure waits for them. Not counted to the last where they are many."
        ),
    ]
    items: Annotated[
        int, Field(description="With `client_ref`: lines of batches' items that were canceled before they became jobs.")
    ]
    unknown: Annotated[int, Field(description="Ids that name no job of this project.")]
    uploads: Annotated[int, Field(description="With `sha256`: uploads of that video that no job needs.")]
    objects_waiting: Annotated[int, Field(description="Objects that the store has yet to let go of.")]


class Erasure(ResponseBody):
    """An order to erase, and how far it is. `completed` means that the last object is gone, with all its versions."""

    id: str
    object: Literal["erasure"] = "erasure"
    state: ErasureState
    selector: Annotated[
        dict[str, Any],
        Field(
            description="`type` and `value`; once completed, in the value's place `hmac_sha256`: a digest of it under "
            "the service's key. Orders that an earlier version completed have a plain `sha256`."
        ),
    ]
    created_before: Timestamp
    counts: ErasureCounts
    requested_by: Annotated[str, Field(description="Id of the API key.")]
    created_at: Timestamp
    finished_at: Timestamp | None
    proof: Annotated[
        dict[str, Any] | None,
        Field(
            description="When it is completed: who, when, counts, and `items_sha256` over one line per erased job in "
            "order of their ids: id, summary's SHA-256 and video's SHA-256 (`-` where there is none), parted by spaces."
            " `kept_uploads` names uploads that would have gone and are still there, with who needs them."
        ),
    ]


class PageQuery(RequestBody):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class ErasureQuery(PageQuery):
    """The query of the erasures."""

    state: ErasureState | None = None


class ErasurePage(ResponseBody):
    """Newest first."""

    data: list[Erasure]
    next_cursor: str | None
    has_more: bool


class PlaceHold(RequestBody):
    """Why nothing of the job may be erased."""

    reason: Annotated[Text, StringConstraints(min_length=1, max_length=500)]


class LegalHold(ResponseBody):
    """A legal hold on one job."""

    object: Literal["legal_hold"] = "legal_hold"
    job_id: str
    reason: str
    placed_by: Annotated[str, Field(description="Id of the API key.")]
    placed_at: Timestamp
    released_by: str | None
    released_at: Timestamp | None


class LegalHoldQuery(PageQuery):
    """The query of the legal holds."""

    state: Literal["standing", "released"] | None = None


class LegalHoldPage(ResponseBody):
    """Those placed last first."""

    data: list[LegalHold]
    next_cursor: str | None
    has_more: bool


RETENTION_EXAMPLES: dict[str, Any] = {
    "shorter": {"summary": "Evidence for a week", "value": {"crops_days": 7, "frames_days": 7, "results_days": 90}},
    "zero": {"summary": "Nothing but the answer, for a day", "value": {"mode": "zero", "results_days": 1}},
}
ERASURE_EXAMPLES: dict[str, Any] = {
    "person": {"summary": "Everything about one reference", "value": {"client_ref": "post-991"}},
    "video": {
        "summary": "One video, wherever it was submitted",
        "value": {"sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
    },
    "jobs": {
        "summary": "Jobs by id, if they are old enough",
        "value": {"job_ids": ["job_01JD8QM3P4Q5R6S7T8V9W0X1Y2"], "created_before": "2026-11-01T00:00:00Z"},
    },
}
HOLD_EXAMPLES: dict[str, Any] = {"case": {"summary": "A court's order", "value": {"reason": "case 4711, order of May"}}}

"""Bodies of policies, of their application to stored results, and of what it would change."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from api.schemas.body import Id, Moment, RequestBody, ResponseBody, Text, Timestamp

PolicyName = Annotated[Text, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


class ThresholdValues(RequestBody):
    """Calibrated probabilities from which each verdict is given; they rise, and may be equal."""

    weak: Probability
    suspicious: Probability
    strong: Probability

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.weak <= self.suspicious <= self.strong:
            raise ValueError("weak, suspicious and strong must rise")
        return self


class PutPolicy(RequestBody):
    """The next revision of a policy."""

    thresholds: ThresholdValues
    description: Annotated[Text, StringConstraints(max_length=256)] = ""


class Policy(ResponseBody):
    """One revision. It never changes; results cite it as `name@revision`."""

    object: Literal["policy"] = "policy"
    name: str
    revision: int
    thresholds: dict[str, float]
    description: str
    created_at: Timestamp


class PolicyList(ResponseBody):
    """The newest revision of each, by name."""

    data: list[Policy]


class PolicyPage(ResponseBody):
    """Newest first."""

    data: list[Policy]
    next_cursor: str | None
    has_more: bool


class RevisionQuery(RequestBody):
    """The query of a policy's revisions, and of the relabellings."""

    limit: Annotated[int, Field(ge=1, description="At most 200; more is taken as 200.")] = 50
    cursor: Annotated[Text, StringConstraints(max_length=1024)] | None = None


class RelabelingScope(RequestBody):
    """Which results; what is left out does not limit. Only jobs that were there when this was asked are looked at."""

    batch_id: Id | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class PreviewPolicy(RelabelingScope):
    """Thresholds to try. Those of the policy itself when left out."""

    thresholds: ThresholdValues | None = None


class Preview(ResponseBody):
    """Words now → words then → jobs; of the newest 100,000 scored jobs at most."""

    changes: dict[str, dict[str, int]]
    looked_at: int
    changed: int


class Relabeling(ResponseBody):
    """How far the new words are."""

    id: str
    object: Literal["relabeling"] = "relabeling"
    policy: str
    state: Literal["running", "succeeded"]
    batch_id: str | None
    created_after: Timestamp | None
    created_before: Timestamp | None
    looked_at: int
    changed: Annotated[int, Field(description="Results whose word is another one now.")]
    created_at: Timestamp
    finished_at: Timestamp | None


class RelabelingPage(ResponseBody):
    """Newest first."""

    data: list[Relabeling]
    next_cursor: str | None
    has_more: bool


_VALUES = {"weak": 0.55, "suspicious": 0.8, "strong": 0.95}
PUT_EXAMPLES: dict[str, Any] = {
    "strict": {
        "summary": "Say `strong` late",
        "value": {"thresholds": _VALUES, "description": "what may be removed without a second look"},
    }
}
RELABEL_EXAMPLES: dict[str, Any] = {"everything": {"summary": "All results of the project", "value": {}}}
PREVIEW_EXAMPLES: dict[str, Any] = {"what-if": {"summary": "Thresholds to try", "value": {"thresholds": _VALUES}}}

"""Bodies of a job's artifacts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.body import ResponseBody, Timestamp
from api.schemas.evidence import CropShown


class Artifact(ResponseBody):
    """A file that the analysis left behind."""

    id: str
    object: Literal["artifact"] = "artifact"
    kind: Annotated[
        str,
        Field(
            description="`report`: the whole report, frames included. `crop`: a face on one frame, aligned. More kinds"
            " may come."
        ),
    ]
    content_type: str
    size_bytes: int
    created_at: Timestamp
    url: Annotated[str, Field(description="Answers with 303 to a short-lived address.")]
    shows: Annotated[CropShown | None, Field(description="Of a crop: whose face it is, and when.")] = None


class ArtifactList(ResponseBody):
    """Those that are still kept."""

    data: list[Artifact]

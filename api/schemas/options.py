"""How a video is to be looked at: the `options` of a job or of a batch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from api.schemas.body import Milliseconds, RequestBody, WholeNumber

MAX_CLIPS = 512
"""A track's frames are one row: 512 clips of 32 frames keep it below a few megabytes."""


class Sampling(RequestBody):
    """Which clips of 32 frames are judged."""

    mode: Annotated[
        Literal["auto", "full", "uniform"] | None,
        Field(
            description="`full`: everything from the start on, up to `max_clips`. `uniform`: `clips` windows spread"
            " evenly. `auto` (the default): `full` for a video of at most `clips` windows or of unknown length, else"
            " `uniform`."
        ),
    ] = None
    clips: Annotated[
        Annotated[WholeNumber, Field(ge=1, le=MAX_CLIPS)] | None,
        Field(description="Windows of `uniform`, and where `auto` turns to it; 16 when left out."),
    ] = None
    max_clips: Annotated[
        Annotated[WholeNumber, Field(ge=1, le=MAX_CLIPS)] | None,
        Field(description="Where `full` ends; 512 when left out. The rest is then not looked at: `truncated`."),
    ] = None


class Region(RequestBody):
    """Which part of the video is looked at."""

    start_ms: Annotated[
        Annotated[Milliseconds, Field(strict=True)] | None, Field(description="From the start of the video.")
    ] = None
    end_ms: Annotated[
        Annotated[Milliseconds, Field(strict=True)] | None, Field(description="Not looked at from here on.")
    ] = None

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.end_ms is not None and self.end_ms <= (self.start_ms or 0):
            raise ValueError("end_ms must lie after start_ms")
        return self


class Faces(RequestBody):
    """Which faces are followed."""

    max_tracks: Annotated[WholeNumber, Field(ge=1, le=64)] | None = None
    min_size_px: Annotated[WholeNumber, Field(ge=16, le=2048)] | None = None


class Evidence(RequestBody):
    """What is kept beside the report."""

    crops: Annotated[
        bool | None,
        Field(strict=True, description="Pictures of the faces, where the operator keeps any; `false`: none."),
    ] = None


class Options(RequestBody):
    """What is left out takes the installation's default."""

    sampling: Sampling = Sampling()
    region: Region = Region()
    faces: Faces = Faces()
    evidence: Evidence = Evidence()


def stored_options(options: Options) -> dict[str, Any]:
    """Only what the caller gave."""
    return {name: part for name, part in options.model_dump(exclude_none=True).items() if part}

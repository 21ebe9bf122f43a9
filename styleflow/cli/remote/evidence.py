"""`styleflow jobs evidence`: the files behind a result, listed or fetched."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.fetching import fetch_file
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.service import part
from styleflow.cli.remote.shown import Columns, Output, field_of, remark


def _score(file: Mapping[str, Any]) -> str | None:
    score = (file.get("shows") or {}).get("score")
    return None if score is None else f"{score:.3f}"


COLUMNS: Columns = {
    "file": field_of("id"),
    "kind": field_of("kind"),
    "bytes": field_of("size_bytes"),
    "face": field_of("shows", "track_id"),
    "at ms": field_of("shows", "t_ms"),
    "score": _score,
}


def evidence(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    into: Annotated[Path | None, typer.Option("--into", metavar="FOLDER", help="Fetch the files into it.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """List what is kept behind a result: the whole report and pictures of the faces that decided; or fetch it."""
    with reaching(url, key_file) as service:
        files = list(service.get(f"/v1/jobs/{part(job)}/artifacts")["data"])
        Output(as_json).rows(iter(files), COLUMNS)
        if into is not None:
            for file in files:
                fetch_file(service, {**file, "name": name_of(file)}, into)
            remark(f"{len(files)} {'file' if len(files) == 1 else 'files'} in {into}")


def name_of(file: Mapping[str, Any]) -> str:
    """`report.json`, `crop-1.jpg`."""
    return f"{file['id']}{mimetypes.guess_extension(str(file.get('content_type')), strict=True) or ''}"

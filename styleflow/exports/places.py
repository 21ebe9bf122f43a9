"""Where the files of an export lie. Pure."""

from __future__ import annotations

from styleflow.export_tables import ExportRow
from styleflow.storage.keys import export_prefix


def prefix_of(export: ExportRow) -> str:
    """What the keys of all its objects begin with, ending in `/`: nobody else's begin so."""
    if export.destination is None:
        return export_prefix(export.project_id, export.id)
    return f"{export.destination['prefix']}{export.id}/"

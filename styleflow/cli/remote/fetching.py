"""A file of the service, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.service import Service


def fetch_file(service: Service, file: Mapping[str, Any], folder: Path) -> Path:
    """Write `file` (name, url, and where it is known sha256) into the folder, over one of that name.

    Raises Refused where it lies elsewhere, breaks off, is not what it should be, or cannot be written.
    """
    name = str(file["name"])
    if file.get("url") is None:
        raise Refused(Exit.REFUSED, "in_own_bucket", f"{name} lies in your own bucket, as {file.get('key')}")
    if Path(name).name != name or name.startswith("."):
        raise Refused(Exit.REFUSED, "unsafe_name", f"the service calls a file {name!r:.80}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".fetching-", delete=False) as part:
            try:
                digest = hashlib.sha256()
                for chunk in service.chunks(str(file["url"])):
                    digest.update(chunk)
                    part.write(chunk)
                part.flush()
                if file.get("sha256") not in (None, digest.hexdigest()):
                    raise Refused(Exit.UNREACHABLE, "checksum_mismatch", f"{name} did not arrive as it was written")
                os.replace(part.name, folder / name)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(Exit.REFUSED, "unwritable", f"{folder / name} cannot be written: {error.strerror}") from error
    return folder / name

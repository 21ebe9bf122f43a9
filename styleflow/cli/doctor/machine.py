"""What this machine has: settings, packs, decoders, confinement, an accelerator, room."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from styleflow.cli.doctor import verdicts
from styleflow.cli.doctor.findings import Finding, fail, warn
from styleflow.settings import Settings

ELSEWHERE = frozenset({"STYLEFLOW_HOME", "STYLEFLOW_URL", "STYLEFLOW_API_KEY", "STYLEFLOW_KEY_FILE"})
"""Variables that commands read, and the service does not."""
FILTERS = ("bwdif",)
"""Makes interlaced pictures whole."""


def variables(settings: Settings) -> Sequence[Finding]:
    """Whether everything that was set is read by something."""
    del settings  # they are known to fit
    known = {f"STYLEFLOW_{name.upper()}" for name in Settings.model_fields} | ELSEWHERE
    return [verdicts.settings_known([name for name in os.environ if name.startswith("STYLEFLOW_")], known)]


def packs(settings: Settings) -> Sequence[Finding]:
    """The folder as a whole, then every pack that can be read, with its parameters hashed."""
    from styleflow.errors import PackError
    from styleflow.packs import Catalog, Pack, verify_pack

    def look_at(pack: Pack) -> Finding:
        card = pack.card
        try:
            verify_pack(pack)
        except PackError as error:
            return fail("pack", str(error), "Install or make the pack again.")
        return verdicts.pack(
            card.model,
            calibrated=card.calibration is not None,
            trained=card.training.trained,
            is_default=catalog.default is pack,
        )

    catalog = Catalog(settings.packs_directory, tolerant=True)
    whole = verdicts.served_model(
        settings.default_model, catalog.served, [str(problem) for problem in catalog.problems]
    )
    return [whole, *(look_at(pack) for pack in catalog.packs)]


def codecs(settings: Settings) -> Sequence[Finding]:
    """Whether this build of FFmpeg has a decoder for everything that jobs may bring."""
    del settings
    import av

    from styleflow.video.probe import CODECS, CONTAINERS

    missing = [name for name in sorted(CONTAINERS) if not _known(av.format.ContainerFormat, name, "r")]
    missing += [name for name in sorted(CODECS) if not _known(av.codec.Codec, name, "r")]
    missing += [name for name in FILTERS if not _known(av.filter.Filter, name)]
    return [verdicts.codecs(f"PyAV {av.__version__}", missing)]


def _known(make: Callable[..., object], *names: str) -> bool:
    try:
        make(*names)
    except ValueError:  # what PyAV raises for a name that this build does not have
        return False
    return True


def sandbox(settings: Settings) -> Sequence[Finding]:
    """Start a decoder on nothing, to see what the kernel and the container grant."""
    from styleflow.errors import InternalFailure
    from styleflow.video.confinement import is_enough
    from styleflow.video.decoder_process import SandboxLimits, confinement_here

    limits = SandboxLimits(memory_bytes=settings.sandbox_memory_bytes, stall_seconds=settings.sandbox_stall_seconds)
    try:
        layers = confinement_here(limits)
    except InternalFailure as error:
        advice = "Look at STYLEFLOW_SANDBOX_MEMORY_BYTES and at the limits of this container."
        return [fail("sandbox", str(error), advice)]
    return [verdicts.sandbox(layers, enough=is_enough(layers), required=settings.sandbox_required)]


def device(settings: Settings) -> Sequence[Finding]:
    """Whether torch sees an accelerator, and whether a product of matrices on it is right."""
    import torch

    gpu, computes = None, False
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
        computes = _multiplies(settings.device if settings.device.startswith("cuda") else "cuda")
    return [verdicts.device(settings.device, gpu, computes=computes, precision=settings.precision)]


def _multiplies(device: str) -> bool:
    import torch

    try:
        ones = torch.ones(256, 256, device=device)
        return bool(torch.all(ones @ ones == 256).item())
    except (RuntimeError, AssertionError):
        return False


def scratch(settings: Settings) -> Sequence[Finding]:
    """Room for the video at work."""
    folder = Path(tempfile.gettempdir())
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [warn("scratch", f"The temporary folder cannot be looked at: {error.strerror}.", "Set TMPDIR.")]
    return [verdicts.room(free, settings.max_media_bytes)]

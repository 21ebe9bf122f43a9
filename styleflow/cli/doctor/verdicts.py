"""From what was measured to ok, warn or fail. Pure: no clock, no network, no disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from styleflow.cli.doctor.findings import Finding, fail, ok, warn

SKEW_WARN_SECONDS, SKEW_FAIL_SECONDS = 2.0, 120.0
"""Receivers of webhooks tolerate five minutes, S3 stores fifteen; leases are counted by the database alone."""
SHORT_SECRET, GOOD_SECRET = 16, 32
LATE_SECONDS = {"realtime": 60.0, "standard": 1800.0}
"""How long a due job may wait before it is worth a warning. Bulk jobs may wait: that is what the lane is for."""
FULL_SHARE, NEARLY_FULL_SHARE = 1.0, 0.8
GIB = 1 << 30
ROOM_FAIL_BYTES = GIB


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A lane's backlog: jobs that wait, and how long the oldest has been due."""

    queued: int
    oldest_seconds: float


def schema(found: str | None, expected: str | None) -> Finding:
    """`found` is the database's revision, `expected` this code's; None where there is none, or none is known."""
    name = "schema"
    if expected is None:
        return warn(
            name,
            f"The database has the revision {found or 'none'}; which one is right is known in a checkout only.",
            "Run this from a checkout.",
        )
    if found is None:
        return fail(name, "The database has no tables of StyleFlow.", "Run `styleflow migrate`.")
    if found == expected:
        return ok(name, f"The database has the revision {found}, which this version expects.")
    if found > expected:
        return fail(
            name,
            f"The database has the revision {found}, which is newer than {expected} of this version.",
            "Run the version of StyleFlow that migrated it.",
        )
    return fail(
        name, f"The database has the revision {found}, this version expects {expected}.", "Run `styleflow migrate`."
    )


def clock(skew_seconds: float, uncertainty_seconds: float) -> Finding:
    """`skew_seconds`: database minus here. What the round trip leaves open counts for neither side."""
    name = "clock"
    off = max(0.0, abs(skew_seconds) - uncertainty_seconds)
    if off < SKEW_WARN_SECONDS:
        return ok(
            name, f"This machine and the database agree to within {abs(skew_seconds) + uncertainty_seconds:.2g} s."
        )
    direction = "ahead of" if skew_seconds > 0 else "behind"
    make = fail if off >= SKEW_FAIL_SECONDS else warn
    return make(
        name,
        f"The database's clock is {off:.1f} s {direction} this machine's.",
        "Synchronise both (chrony or systemd-timesyncd): signatures of webhooks and addresses depend on the time.",
    )


def secret_key(characters: int, sealed_readable: bool | None) -> Finding:
    """`sealed_readable`: whether a stored endpoint secret could be opened with it; None when there is none to try."""
    name = "secret key"
    make_one = "Set STYLEFLOW_SECRET_KEY to 48 random characters, the same for every process."
    if characters == 0:
        return fail(name, "No secret key is set.", make_one)
    if characters < SHORT_SECRET:
        return fail(name, f"The secret key has {characters} characters; {SHORT_SECRET} are the least.", make_one)
    if sealed_readable is False:
        return fail(
            name,
            "A stored webhook secret was sealed under another secret key.",
            "Set STYLEFLOW_SECRET_KEY to the one that this database was used with: API keys depend on it, too.",
        )
    if characters < GOOD_SECRET:
        return warn(name, f"The secret key is set, with only {characters} characters.", make_one)
    tried = " and opens what is stored" if sealed_readable else ""
    return ok(name, f"The secret key is set{tried}.")


def light_worker(*, connected: bool) -> Finding:
    name = "light worker"
    if not connected:
        return fail(
            name,
            "No light worker is connected to the database: no job is handed out, no webhook sent.",
            "Start `python -m worker.duties` (`styleflow up` does).",
        )
    return ok(name, "A light worker is connected to the database.")


def workers(lanes_of: Mapping[str, Collection[str]], lanes: Sequence[str]) -> Finding:
    """`lanes_of`: worker → the lanes that it serves, of those seen in the last minute."""
    name = "workers"
    start = "Start `python -m worker` (`styleflow up` starts two); one loads for some seconds before it is seen."
    if not lanes_of:
        return fail(name, "No worker was seen in the last minute: jobs wait.", start)
    unserved = [lane for lane in lanes if not any(lane in served for served in lanes_of.values())]
    if unserved:
        return warn(name, f"{counted(len(lanes_of), 'worker')} alive, but none serves {listed(unserved)}.", start)
    return ok(name, f"{counted(len(lanes_of), 'worker')} alive; every lane is served.")


def queues(backlog: Mapping[str, Queue], max_queued: int) -> Finding:
    """`backlog`: lane → what waits there."""
    name = "queues"
    total = sum(queue.queued for queue in backlog.values())
    waiting = ", ".join(f"{queue.queued} {lane}" for lane, queue in backlog.items() if queue.queued) or "nothing"
    more = "Start more workers, or look in their logs why they are slow."
    if total >= FULL_SHARE * max_queued:
        return fail(name, f"The backlog is full ({total} of {max_queued} jobs): submissions are refused.", more)
    if total >= NEARLY_FULL_SHARE * max_queued:
        return warn(name, f"The backlog is nearly full: {total} of {max_queued} jobs wait.", more)
    late = [lane for lane, limit in LATE_SECONDS.items() if lane in backlog and backlog[lane].oldest_seconds > limit]
    if late:
        ages = listed([f"{lane} for {duration(backlog[lane].oldest_seconds)}" for lane in late])
        return warn(name, f"Waiting: {waiting}; the oldest due job of {ages}.", more)
    return ok(name, f"Waiting: {waiting}.")


def eviction(version: str, policy: str, max_bytes: int, used_bytes: int) -> Finding:
    """What Redis says of itself; `max_bytes` 0 sets no limit, and then nothing is evicted."""
    name = "broker"
    answers = f"Redis {version} answers"
    if policy != "noeviction":
        return warn(
            name,
            f"{answers}, but may evict keys (maxmemory-policy {policy}).",
            "Set maxmemory-policy noeviction: a lost nudge makes its job wait until it is sent again.",
        )
    if max_bytes and used_bytes > NEARLY_FULL_SHARE * max_bytes:
        return warn(
            name,
            f"{answers}, but {100 * used_bytes / max_bytes:.0f} % of its memory limit is used.",
            "Raise maxmemory; StyleFlow itself keeps a few kilobytes in Redis, so see what else does.",
        )
    return ok(name, f"{answers} and evicts nothing.")


def pack(model: str, *, calibrated: bool, trained: bool, is_default: bool) -> Finding:
    """A pack whose card was read and whose parameters have the SHA-256 that it names."""
    name = "pack"
    served = f"{model}{' (styleflow@default)' if is_default else ''}"
    if calibrated:
        return ok(name, f"{served} is whole and calibrated.")
    why = "" if trained else ", its weights are random"
    return warn(
        name,
        f"{served} is whole, but not calibrated{why}: its jobs end inconclusive.",
        "Serve a calibrated pack: `styleflow weights install` has one.",
    )


def served_model(default: str, served: Sequence[str], problems: Sequence[str]) -> Finding:
    """Whether the folder of packs can be served, and has the model that jobs get which name none."""
    name = "packs"
    if problems:
        return fail(name, f"Nothing is served from the folder: {problems[0]}", "Remove or mend that pack.")
    if not served:
        return fail(
            name,
            "There is no weights pack to serve.",
            "Run `styleflow weights install`, or set STYLEFLOW_PACKS_DIRECTORY.",
        )
    if default not in served:
        return fail(
            name,
            f"The default model {default} is not among those served: {listed(served)}.",
            "Set STYLEFLOW_DEFAULT_MODEL to one of them, or install that pack.",
        )
    return ok(name, f"Served: {listed(served)}; jobs that name no model get {default}.")


def codecs(library: str, missing: Sequence[str]) -> Finding:
    name = "codecs"
    if missing:
        return fail(
            name,
            f"{library} lacks {listed(missing)}, which jobs may bring.",
            "Install the wheels of PyAV from PyPI, which have them all.",
        )
    return ok(name, f"{library} reads every container and codec of the allow-list.")


def sandbox(layers: Collection[str], *, enough: bool, required: bool) -> Finding:
    name = "sandbox"
    held = listed(sorted(layers)) or "nothing"
    if enough:
        return ok(name, f"A decoder is confined by {held}, which is enough.")
    make = fail if required else warn
    return make(
        name,
        f"A decoder is confined by {held}, which is not enough for strangers' videos.",
        "Start workers as root, or on Linux 5.13 and later where Landlock and seccomp are permitted.",
    )


def device(wish: str, gpu: str | None, *, computes: bool, precision: str) -> Finding:
    """`wish`: STYLEFLOW_DEVICE. `gpu`: the accelerator's name, None when torch sees none."""
    name, look = "device", "Look at `nvidia-smi` and at the driver's version."
    if gpu is None and wish.startswith("cuda"):
        return fail(name, f"STYLEFLOW_DEVICE is {wish}, and torch sees no GPU.", look)
    if gpu is None and precision == "float16":
        return fail(name, "float16 needs a GPU, and torch sees none.", "Set STYLEFLOW_PRECISION to auto.")
    if gpu is None:
        return ok(name, "torch sees no GPU: the CPU computes.")
    if wish == "cpu":
        return ok(name, f"torch sees {gpu}, and STYLEFLOW_DEVICE says cpu: the CPU computes.")
    if not computes:
        return fail(name, f"torch sees {gpu}, but it does not compute.", look)
    return ok(name, f"{gpu} computes.")


def room(free_bytes: int, largest_bytes: int) -> Finding:
    """Room where workers keep the video at work; `largest_bytes` is the size of the largest that is accepted."""
    name = "scratch"
    free = f"{free_bytes / GIB:.1f} GiB free where videos at work are kept"
    make_room = "Make room, or name another folder by TMPDIR."
    if free_bytes < min(ROOM_FAIL_BYTES, largest_bytes):
        return fail(name, f"Only {free}.", make_room)
    if free_bytes < largest_bytes:
        return warn(name, f"{free}; the largest video accepted has {largest_bytes / GIB:.1f} GiB.", make_room)
    return ok(name, f"{free}.")


def settings_known(given: Collection[str], known: Collection[str]) -> Finding:
    """Variables that begin with STYLEFLOW_: one that nothing reads is a slip of the pen."""
    name = "settings"
    strange = sorted(set(given) - set(known))
    if not strange:
        return ok(name, "Every STYLEFLOW_ variable is known and has a value that fits.")
    first = strange[0]
    close = get_close_matches(first, known, 1)
    advice = f"Did you mean {close[0]}?" if close else "Remove it, or look in docs/operations.md for its name."
    return warn(name, f"Nothing reads {listed(strange)}.", advice)


def api(url: str, status: str | None, ailing: Sequence[str]) -> Finding:
    """`status`: what `/readyz` says; None when nobody answers."""
    name = "api"
    if status is None:
        return warn(name, f"Nobody answers at {url}.", "Start the API, or let STYLEFLOW_PUBLIC_URL name where it is.")
    if status == "ok":
        return ok(name, f"The API at {url} accepts work.")
    make = warn if status == "degraded" else fail
    return make(name, f"The API at {url} is {status}: {listed(ailing)}.", "See the findings about these.")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def duration(seconds: float) -> str:
    """In the largest unit that fits: 90 s, 12 min, 5 h, 3 d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

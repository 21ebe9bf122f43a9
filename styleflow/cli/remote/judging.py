"""What a settled job means for a script: its exit code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from styleflow.cli.remote.exits import Exit
from styleflow.report import Outcome, Verdict

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
TERMINAL_BATCH = frozenset({"completed", "completed_with_errors", "canceled"})


class FailOn(StrEnum):
    """The mildest verdict that counts as a failure."""

    WEAK = "weak"
    SUSPICIOUS = "suspicious"
    STRONG = "strong"


def end_of_job(job: Mapping[str, Any], fail_on: FailOn | None = None, *, need_score: bool = False) -> Exit:
    """DONE for a job that succeeded, and JUDGED_AGAINST for one that did not, or whose verdict is `fail_on` or graver.

    With `need_score` also for one that could not be judged. A verdict that this version does not know counts as grave.
    """
    if job["state"] != "succeeded":
        return Exit.JUDGED_AGAINST
    if job.get("outcome") != Outcome.SCORED:
        return Exit.JUDGED_AGAINST if need_score else Exit.DONE
    if fail_on is None:
        return Exit.DONE
    mildest_first = [str(verdict) for verdict in Verdict]
    verdict = str(job.get("verdict"))
    grave = verdict not in mildest_first or mildest_first.index(verdict) >= mildest_first.index(fail_on)
    return Exit.JUDGED_AGAINST if grave else Exit.DONE


def end_of_batch(batch: Mapping[str, Any]) -> Exit:
    """DONE only where every item of it succeeded."""
    return Exit.DONE if batch["state"] == "completed" else Exit.JUDGED_AGAINST


def said_of(job: Mapping[str, Any]) -> str:
    """Verdict with probability, or why there is none, or how far it is: in a few words."""
    match job["state"]:
        case "succeeded" if job.get("outcome") == Outcome.SCORED:
            probability = job.get("probability")
            return f"{job.get('verdict')}" + ("" if probability is None else f" {probability:.3f}")
        case "succeeded":
            return f"{job.get('outcome')} ({job.get('reason')})" if job.get("reason") else str(job.get("outcome"))
        case "failed":
            return str((job.get("error") or {}).get("code", "no reason given"))
        case "running":
            return f"{job['progress']['phase']} {100 * job['progress']['fraction']:.0f} %"
        case _:
            return ""


def source_of_job(job: Mapping[str, Any]) -> str:
    """Where the video came from, as one gives it on the command line."""
    source = job.get("source") or {}
    if source.get("bucket"):
        return f"s3://{source['bucket']}/{source.get('key')}"
    return str(source.get("url") or source.get("upload_id") or source.get("type"))


def name_of(job: Mapping[str, Any]) -> str:
    """By what its submitter knows it: the reference, else the end of the source's address."""
    source = job.get("source") or {}
    address = source.get("url") or source.get("key") or source.get("upload_id") or ""
    return str(job.get("client_ref") or str(address).rpartition("/")[2])

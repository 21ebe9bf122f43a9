"""Workers without a network: each process claims a queued job, settles it with a report, and takes the next.

Every claim and every settlement is a transaction of its own, as in `worker/execution.py`; heartbeats are left out.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from math import inf

from benchmarks.service.load import Taken
from styleflow.database import Database
from styleflow.jobs import progress, queries
from styleflow.processes import die_with_parent
from tests.jobs.reports import scored_report

LEASE_SECONDS = 60.0
WARMING_SECONDS, WARMING_JOBS = 30.0, 20
"""At most, in each process."""


def claim_and_settle(database: Database, owner: str, seconds: float, most: float = inf) -> list[float]:
    """Milliseconds of each claim with its settlement, until the time is over, `most` are done or nothing waits."""
    report = scored_report()
    taken: list[float] = []
    begin = time.perf_counter()
    while (sent := time.perf_counter()) < begin + seconds and len(taken) < most:
        with database.transaction() as session:
            claim = queries.claim(session, worker=owner, lease_seconds=LEASE_SECONDS, lanes=("bulk",))
        if claim is None:
            break
        with database.transaction() as session:
            progress.succeed(session, claim.job_id, claim.token, report, f"evidence/{claim.job_id}/report.json")
        taken.append((time.perf_counter() - sent) * 1000)
    return taken


def run_claimers(database_url: str, processes: int, seconds: float, rows: int) -> Taken:
    """All of them at once, from the moment when the last is ready, over a backlog of about `rows`. Raises
    CalledProcessError when one failed."""
    warming = min(WARMING_JOBS, rows // (2 * processes))
    command = [sys.executable, "-m", "benchmarks.service.claimers", database_url, str(seconds), str(warming)]
    children = [
        subprocess.Popen(
            [*command, f"claimer-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        for number in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    taken = Taken()
    for child in children:
        output, _ = child.communicate()
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        done = json.loads(output)
        taken.milliseconds += done["milliseconds"]
        # Of the claims alone: sixteen interpreters that end on two cores take seconds for it.
        taken.seconds = max(taken.seconds, done["seconds"])
    return taken


def main() -> None:
    database_url, seconds, warming, owner = sys.argv[1:]
    database = Database(database_url, pool_size=1)
    # A worker lives for days: what its first jobs cost, until every statement is compiled and prepared, is left out.
    claim_and_settle(database, owner, WARMING_SECONDS, int(warming))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    begin = time.perf_counter()
    milliseconds = claim_and_settle(database, owner, float(seconds))
    json.dump({"milliseconds": milliseconds, "seconds": time.perf_counter() - begin}, sys.stdout)
    database.close()


if __name__ == "__main__":
    main()

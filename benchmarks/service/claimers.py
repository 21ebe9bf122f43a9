"""Workers without a network: each process claims a queued job, settles it with a report, and takes the next.

Every claim and every settlement is a transaction of its own, as in `worker/execution.py`; heartbeats are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.service.load import Taken
from styleflow.database import Database
from styleflow.jobs import progress, queries
from tests.jobs.reports import scored_report

LEASE_SECONDS = 60.0
START_SECONDS = 20.0
"""How long the processes get to import and connect before all of them begin together."""


def claim_and_settle(database_url: str, owner: str, begin: float, seconds: float) -> list[float]:
    """Milliseconds of each claim together with its settlement, until the time is over or nothing is queued."""
    database = Database(database_url, pool_size=1)
    report = scored_report()
    taken: list[float] = []
    with database.transaction() as session:
        queries.backlog(session)
    time.sleep(max(0.0, begin - time.time()))
    while (sent := time.time()) < begin + seconds:
        with database.transaction() as session:
            claim = queries.claim(session, worker=owner, lease_seconds=LEASE_SECONDS, lanes=("bulk",))
        if claim is None:
            break
        with database.transaction() as session:
            progress.succeed(session, claim.job_id, claim.token, report, f"evidence/{claim.job_id}/report.json")
        taken.append((time.time() - sent) * 1000)
    database.close()
    return taken


def run_claimers(database_url: str, processes: int, seconds: float) -> Taken:
    """All of them at once. Raises subprocess.CalledProcessError when one failed."""
    begin = time.time() + START_SECONDS
    command = [sys.executable, "-m", "benchmarks.service.claimers", database_url, str(begin), str(seconds)]
    children = [
        subprocess.Popen([*command, f"claimer-{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(processes)
    ]
    taken = Taken(seconds=seconds)
    for child in children:
        output, _ = child.communicate()
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        taken.milliseconds += json.loads(output)
    return taken


def main() -> None:
    database_url, begin, seconds, owner = sys.argv[1:]
    json.dump(claim_and_settle(database_url, owner, float(begin), float(seconds)), sys.stdout)


if __name__ == "__main__":
    main()

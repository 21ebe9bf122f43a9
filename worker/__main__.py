"""`python -m worker --lanes realtime,standard,bulk`: one slot."""

from __future__ import annotations

import argparse
import os
import sys

from prometheus_client import start_http_server

from styleflow.errors import ConfigurationError, PackError
from styleflow.jobs.state import Lane
from styleflow.logging import configure_logging
from styleflow.settings import Settings
from styleflow.telemetry import REGISTRY
from styleflow.video.confinement import keep_memory_to_ourselves
from worker.app import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Carry out jobs, one at a time.")
    parser.add_argument("--lanes", default=",".join(Lane), help="lanes to serve, most urgent first")
    parser.add_argument("--metrics-port", type=int, default=0, help="serve this process's /metrics there; 0 does not")
    arguments = parser.parse_args()
    lanes = tuple(Lane(name) for name in arguments.lanes.split(","))
    # Before there is a secret in memory: the decoder's child may run as the same user.
    keep_memory_to_ourselves()
    settings = Settings()
    configure_logging(settings.log_format)
    if arguments.metrics_port:
        start_http_server(arguments.metrics_port, registry=REGISTRY)
    # Threads that spin while they wait for each other make a busy machine ten times slower; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch and the decoder are imported only now: a wrong argument is refused before seconds are spent on them
    try:
        from worker.analyzer import load_analyzer

        return run(settings, lanes, load_analyzer)
    except (ConfigurationError, PackError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The doorbell: Celery over Redis carries job ids to workers, and nothing else.

A message may be lost, doubled, reordered or flushed away: the row in PostgreSQL is the truth, a worker must claim it,
and dispatch rings again for a job that nobody claimed. Only dispatch publishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from styleflow.errors import DependencyUnavailable
from styleflow.lane_order import LaneOrder

TASK_NAME = "worker.run_job"
QUEUES: Mapping[str, str] = MappingProxyType(
    {"realtime": "styleflow.realtime", "standard": "styleflow.standard", "bulk": "styleflow.bulk"}
)
"""The Celery queue, and Redis list, of each lane; in the order in which a worker looks at them."""

PUBLISH_TIMEOUT_SECONDS = 2.0
WORKER_SOCKET_TIMEOUT_SECONDS = 30.0
"""Above the second for which a consumer's own blocking read lasts, so that only a dead connection trips it."""


class Broker:
    """The publishing side. Every call ends within about two seconds, whatever state Redis is in."""

    def __init__(self, redis_url: str) -> None:
        self._app = celery_app(redis_url, socket_timeout_seconds=PUBLISH_TIMEOUT_SECONDS)
        self._redis = Redis.from_url(
            redis_py_url(redis_url),
            socket_timeout=PUBLISH_TIMEOUT_SECONDS,
            socket_connect_timeout=PUBLISH_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def publish(self, lane: str, job_id: str) -> None:
        """Nudge the workers of a lane to look at a job. Raises DependencyUnavailable."""
        try:
            self._app.send_task(TASK_NAME, args=[job_id], queue=QUEUES[lane], retry=False)
        except (OperationalError, RedisError, OSError) as error:
            raise DependencyUnavailable("The message broker does not answer.") from error

    def waiting(self, lane: str) -> int:
        """Messages of a lane that no worker has taken yet. Raises DependencyUnavailable."""
        try:
            return int(self._redis.llen(QUEUES[lane]))
        except (RedisError, OSError) as error:
            raise DependencyUnavailable("The message broker does not answer.") from error

    def is_reachable(self) -> bool:
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        self._app.close()
        self._redis.close()


def celery_app(redis_url: str, *, socket_timeout_seconds: float = WORKER_SOCKET_TIMEOUT_SECONDS) -> Celery:
    """A Celery application with this project's settings; tasks are registered by the worker door."""
    app = Celery("styleflow", broker=redis_url, set_as_current=False)
    app.conf.update(**_SETTINGS, broker_transport_options=_transport_options(socket_timeout_seconds))
    return app


_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        # Only ids travel, and nothing that could run code when it is read.
        "task_serializer": "json",
        "accept_content": ["json"],
        # The row says how a job went; results in Redis would be a second truth.
        "task_ignore_result": True,
        "result_backend": None,
        # Early acknowledgement: the lease in PostgreSQL finds a dead worker's job, while late acknowledgement on Redis
        # sends a long job's message again at every visibility timeout.
        "task_acks_late": False,
        "task_reject_on_worker_lost": False,
        # A worker takes a message only when it has a free slot, so that the backlog stays where others can reach it.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # Exactly the lanes: a misspelt queue is an error, not a new list in Redis that nobody reads.
        # Each has an exchange of its own: sharing the default one, a message by routing key would reach all three.
        "task_queues": tuple(Queue(name, Exchange(name), routing_key=name) for name in QUEUES.values()),
        "task_default_queue": QUEUES["standard"],
        "task_create_missing_queues": False,
        # A worker outlives an outage of any length; Celery's default gives up after a hundred tries.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": PUBLISH_TIMEOUT_SECONDS,
        # After a reconnect the lease decides who owns a running job; cancelling it here would waste its work.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A cold shutdown (SIGQUIT) leaves a running job this long to be given back at a clip boundary. Not on idle:
        # the wait would be for nothing, since no message here has an eta.
        "worker_soft_shutdown_timeout": 60.0,
        "worker_enable_soft_shutdown_on_idle": False,
        # With a prefork pool: give back what libraries leak.
        "worker_max_tasks_per_child": 500,
        # Cancel, progress and presence are rows. Remote control would add a broadcast connection per worker.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        # Doors set up logging.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Delays live in `run_at`; nothing here is scheduled by the broker.
        "enable_utc": True,
        "timezone": "UTC",
    }
)


def _transport_options(socket_timeout_seconds: float) -> dict[str, Any]:
    """The same for every process but for the timeout: among programs on one Redis the shortest visibility wins."""
    return {
        # Matters only between receipt and early acknowledgement; what it leaves behind is looked for every 5 seconds.
        "visibility_timeout": 900,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Lists are read in the order in which the worker names them, realtime first, with a share for the others.
        "queue_order_strategy": LaneOrder,
        # Lanes are the only priorities: one Redis list per lane.
        "priority_steps": [0],
        # A half-open connection is noticed; a worker that went deaf after a reconnect would wait for ever.
        "socket_keepalive": True,
        "health_check_interval": 25,
        "socket_timeout": socket_timeout_seconds,
        "socket_connect_timeout": PUBLISH_TIMEOUT_SECONDS,
        # One retry while connecting; kombu would otherwise try for ever inside a publishing call.
        "max_retries": 1,
        "interval_start": 0.0,
        "interval_step": 0.1,
        "interval_max": 0.1,
    }


def redis_py_url(url: str) -> str:
    """Kombu writes a socket's address as `redis+socket://`, redis-py as `unix://`."""
    return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=", 1)

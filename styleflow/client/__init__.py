"""The Python client of the service: `StyleFlow` for threads, `AsyncStyleFlow` for asyncio.

`verify_webhook` is for receivers. Needs the bare install only.
"""

from styleflow.client.asynchronous import AsyncStyleFlow
from styleflow.client.retries import Retries
from styleflow.client.signatures import verify_webhook
from styleflow.client.sync import StyleFlow

__all__ = ["AsyncStyleFlow", "Retries", "StyleFlow", "verify_webhook"]

"""Rules between values, which no schema expresses: an interval ends after it began, a key is used for one request.

Requests are mended where they would break one of these alone; what breaks the schema stays as it is.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import schemathesis

_KEY = re.compile(r"[ \t]*[!-~]([ -~]{0,253}[!-~])?[ \t]*")
SHORT = 64
"""Characters of an id or a name, so that one which is too long stays wrong."""
THRESHOLDS = ("weak", "suspicious", "strong")
LONG = 128
"""Characters of the name of a model."""
_INTERVALS = (("start_ms", "end_ms"), ("from_ms", "to_ms"), ("from", "to"))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A good key becomes one of its own, a good wait a short one; a bad one stays as bad as it was meant to be.

    So do the names of models and endpoints: whether there is one of that name is no matter of the schema.
    """
    for name, value in list((case.headers or {}).items()):
        if name.lower() == "idempotency-key" and _KEY.fullmatch(str(value)):
            case.headers[name] = uuid4().hex
        if name.lower() == "prefer" and "wait" in str(value).lower():
            case.headers[name] = "wait=1"
    _mend(case.body)
    _mend(case.query)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= SHORT and "\0" not in value


def _mend(value: Any) -> None:
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        _mend(item)
    if isinstance(value, list):
        value[:] = [int(item) if isinstance(item, float) and item.is_integer() else item for item in value]
    if not isinstance(value, dict):
        return
    for name, number in value.items():
        if isinstance(number, float) and number.is_integer():
            value[name] = int(number)  # JSON schema takes 1.0 for a whole number, this service does not
    for low, high in _INTERVALS:
        first, last = value.get(low) or 0, value.get(high)
        if type(first) is type(last) is int and 0 <= last <= first:
            value[low], value[high] = last, first + 1
    steps = [value.get(name) for name in THRESHOLDS]
    if all(type(step) in (int, float) for step in steps):
        value.update(zip(THRESHOLDS, sorted(steps), strict=True))
    if isinstance(value.get("created_after"), str) and isinstance(value.get("created_before"), str):
        value["created_before"] = None
    if isinstance(value.get("model"), str) and 0 < len(value["model"]) <= LONG:
        value["model"] = "styleflow@default"
    callback = value.get("callback")
    if isinstance(callback, dict) and callback.keys() == {"endpoint_id"} and _is_id(callback["endpoint_id"]):
        value["callback"] = None
    if value.get("on_item_error") == "continue" and isinstance(value.get("max_item_errors"), int):
        value["on_item_error"] = "stop_after_n"
    if value.get("on_item_error") == "stop_after_n" and value.get("max_item_errors") is None:
        value["max_item_errors"] = 1

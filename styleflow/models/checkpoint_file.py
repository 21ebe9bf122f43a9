"""A checkpoint file of unknown origin becomes tensors by name. Nothing in it is ever executed.

`.pt` and `.pth` files are pickles, which can run any program when read the ordinary way. Here torch's weights-only
reader takes them apart: it knows tensors and plain values, and refuses every other name in the file before anything
of it is called. What it lets through is looked over once more.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from styleflow.errors import PackError

STATE_KEYS = ("state_dict", "model")
"""Under these names trainers keep the state dict beside other things."""
PLAIN = (str, bytes, int, float, bool, complex, type(None))
NUMBERS = {
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
}
_REFUSED_NAME = re.compile(r"(?:GLOBAL|function|type|class) ([\w.]+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds. The tensors lie on the CPU, in memory."""

    name: str
    """The file's name, without its folder."""
    sha256: str
    state: Mapping[str, Tensor]
    beside: tuple[str, ...]
    """Names of what lies beside the state dict: `opts`, `epoch`, `latent_avg`."""
    options: Mapping[str, object] = field(default_factory=dict)
    """The trainer's `opts`, where they lie beside it."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises PackError, which names the file and what is wrong: unreadable, altered, truncated, more than tensors."""
    try:
        with path.open("rb") as file:  # one open file for both: what is hashed is what is read
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = _unpickled(path.name, file)
    except OSError as error:
        raise PackError(f"{path.name} cannot be read: {error.strerror}.") from error
    _refuse_anything_but_tensors(path.name, content)
    state, beside = _state_of(path.name, content)
    for key, tensor in state.items():
        _refuse_unusable(path.name, key, tensor)
    options = content.get("opts") if isinstance(content, Mapping) else None
    return Checkpoint(
        name=path.name,
        sha256=sha256,
        state=state,
        beside=beside,
        options=options if isinstance(options, Mapping) and beside else {},
    )


def _unpickled(name: str, file: BinaryIO) -> object:
    """Not mapped into memory: mapped, torch heeds neither a record's compression nor its length, and gives what lies
    behind it for values."""
    try:
        if zipfile.is_zipfile(file):
            # torch reads altered bytes without a word, though each part of the archive carries its checksum
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise PackError(f"{name} is damaged: the checksum of {damaged} does not match.")
        file.seek(0)
        with warnings.catch_warnings():
            # of newer pickle protocols, which the reader goes on to refuse: the refusal says all there is to say
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except (PackError, OSError):
        raise
    except pickle.UnpicklingError as error:
        raise PackError(_refusal(name, str(error))) from error
    except Exception as error:
        # a made-up or cut-off file can make the reader fail in any way; none of them is more than "not readable"
        raise PackError(f"{name} is not a readable checkpoint: truncated, altered, or of another format.") from error


def _refusal(name: str, message: str) -> str:
    named = _REFUSED_NAME.search(message)
    if named:
        return f"{name} holds more than tensors and plain values ({named[1]}); nothing of it was executed."
    return f"{name} is not a readable checkpoint: truncated, altered, or holding more than tensors and plain values."


def _refuse_anything_but_tensors(name: str, content: object) -> None:
    """The weights-only reader also knows a few harmless types that have no place in a checkpoint of this kind."""
    seen: set[int] = set()
    waiting: list[object] = [content]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, (*PLAIN, Tensor)):
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting += item
        else:
            raise PackError(f"{name} holds more than tensors and plain values ({type(item).__name__}).")


def _state_of(name: str, content: object) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict, and the names of what lies beside it."""
    if not isinstance(content, Mapping):
        raise PackError(f"{name} holds no state dict.")
    inner = next((key for key in STATE_KEYS if isinstance(content.get(key), Mapping)), None)
    state: Mapping[Any, Any] = content if inner is None else content[inner]
    strange = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange or not state:
        listing = ", ".join(sorted(strange)[:8])
        raise PackError(f"{name} holds no state dict" + (f": {listing} is no tensor." if strange else "."))
    beside = () if inner is None else tuple(sorted(str(key) for key in content if key != inner))
    return dict(state), beside


def _refuse_unusable(name: str, key: str, tensor: Tensor) -> None:
    """A checkpoint may describe a tensor without having its values, or have values that are no numbers."""
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.dtype not in NUMBERS:
        raise PackError(f"{name}: {key} is no plain dense tensor.")
    if tensor.is_neg() or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        # a sign that stands beside the values is lost where the bytes are kept; few values can stand for terabytes
        raise PackError(f"{name}: {key} is a view of other values than it stores.")
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise PackError(f"{name}: {key} holds values that are not finite.")

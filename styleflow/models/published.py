"""The names of published checkpoints, against the names used here. Only prefixes differ.

| checkpoint | its prefix | here |
| --- | --- | --- |
| pSp `psp_ffhq_encode.pt` | `encoder.` | `style_encoder.` |
| StyleGRU, stage 1 | `module.model.` | `style_gru.` |
| FTCN and StyleFlow stage 2 | `resnet.head.STA.`, `resnet.head.time_T.`, `resnet.` | `style_attention.`,
  `temporal_transformer.`, `content.` |

What serving does not need has no name here: pSp's decoder and StyleGRU's stage-1 head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

PSP = {"encoder.": "style_encoder.", "decoder.": None}
STYLE_GRU = {"dense.": None, "": "style_gru."}
STAGE_TWO = {
    "resnet.head.STA.": "style_attention.",
    "resnet.head.time_T.": "temporal_transformer.",
    "resnet.": "content.",
}
WRAPPERS = ("module.model.", "module.")


def renamed(state: Mapping[str, Value], prefixes: Mapping[str, str | None]) -> dict[str, Value]:
    """A published state dict with the names used here; the first prefix that fits counts, None leaves out.

    A wrapper's prefix (`module.`, `module.model.`) is taken off first. Raises KeyError for a name that no prefix
    fits.
    """
    result: dict[str, Value] = {}
    for key, value in state.items():
        name = _unwrapped(key)
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is None:
            raise KeyError(f"{key} belongs to none of {', '.join(prefixes)}")
        target = prefixes[prefix]
        if target is not None:
            result[target + name.removeprefix(prefix)] = value
    return result


def _unwrapped(key: str) -> str:
    for wrapper in WRAPPERS:
        if key.startswith(wrapper):
            return key.removeprefix(wrapper)
    return key

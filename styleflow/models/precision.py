"""In what arithmetic the network runs. float32 is the reference; the others must stay close to it.

In a reduced precision only what costs time or memory is reduced: the convolutions of both branches and the matrices
of the StyleGRU. What is delicate stays float32: the end of every style head and the style flow (a difference of
close vectors, in which rounding of the vectors themselves would drown it), norms, the StyleGRU's state, which passes
through 31 steps, and everything behind (style attention, transformer, head), where softmax and layer norm stand and
which is a thousandth of the arithmetic.

What that does not save: where a face hardly moves, two latents differ by less than bfloat16 resolves. With the
golden fill rule and a slow clip (flow a thirtieth of the latents) the flow is off by 28 % in bfloat16 and 4 % in
float16, which has three bits more, although the probability moves by less than 0.002 in either. So bfloat16 is only
ever taken when it is asked for by name.
"""

from __future__ import annotations

from typing import Final, Literal, cast, get_args

import torch
from torch import nn

from styleflow.errors import ConfigurationError

Precision = Literal["float32", "bfloat16", "float16"]

DTYPES: Final[dict[Precision, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_CPU_BFLOAT16: Final = ("avx512_bf16", "amx_bf16", "bf16")
"""Instructions that multiply bfloat16, as torch names them: two for x86, one for Arm. Without them a CPU emulates
it, slower than float32."""
_REDUCED_AT_ONCE: Final = ("style_encoder.styles.", "style_gru.gru.weight_")


def chosen_precision(wish: str, device: torch.device | str) -> Precision:
    """`auto`, or one of the precisions -> the precision to run in on this device, decided once at the start.

    `auto` is float16 on a CUDA device and float32 on any other. Raises ConfigurationError where the device cannot.
    """
    place = torch.device(device)
    if wish == "auto":
        return "float16" if place.type == "cuda" else "float32"
    if wish not in get_args(Precision):
        raise ConfigurationError(f"The precision must be one of auto, {', '.join(get_args(Precision))}.")
    precision = cast("Precision", wish)
    if place.type == "cpu" and precision == "float16":
        raise ConfigurationError("The precision float16 needs an accelerator; on a CPU use float32 or bfloat16.")
    if precision == "bfloat16" and not has_bfloat16(place):
        raise ConfigurationError(f"This {_word(place)} has no instructions for bfloat16; use {_instead(place)}.")
    return precision


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in _CPU_BFLOAT16)
    return False


def read_as(name: str, precision: Precision) -> torch.dtype:
    """How the parameter of this name leaves its file: what is large and needs no folding is reduced right there."""
    if name.startswith(_REDUCED_AT_ONCE) and ".linear." not in name:
        return DTYPES[precision]
    return torch.float32


def reduce_convolutions(network: nn.Module, precision: Precision) -> None:
    """Casts convolutions and what stands between them, in place. Norms stay float32: they take either input."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.PReLU):
            module.to(DTYPES[precision])


def _word(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "accelerator"


def _instead(device: torch.device) -> str:
    return "float32" if device.type == "cpu" else "float32 or float16"

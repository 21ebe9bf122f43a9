"""A network's parameters as names, kinds and shapes, and how two such lists differ."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

Layout = Mapping[str, tuple[bool, tuple[int, ...]]]
"""Per name: whether the values are floating point, and the shape."""

NAMED_DIFFERENCES = 8
"""So many differences stand in a message; its details have them all."""


def layout_of(network: nn.Module) -> Layout:
    return entries(network.state_dict())


def entries(state: Mapping[str, Tensor]) -> Layout:
    """A state dict's layout."""
    return {name: (tensor.is_floating_point(), tuple(tensor.shape)) for name, tensor in state.items()}


def differences(expected: Layout, found: Layout) -> list[str]:
    """One sentence part per name that is missing, left over or of another kind, in that order. Empty: they agree."""
    missing = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    left_over = [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    other = [
        f"{name} is {described(found[name])}, expected {described(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    return missing + left_over + other


def listing(problems: list[str]) -> str:
    """The first differences for a message, and how many more there are."""
    more = len(problems) - NAMED_DIFFERENCES
    tail = f"; and {more} more" if more > 0 else ""
    return f"{'; '.join(problems[:NAMED_DIFFERENCES])}{tail}"


def described(entry: tuple[bool, tuple[int, ...]]) -> str:
    floating, shape = entry
    return f"{'floating' if floating else 'integer'} {list(shape)}"

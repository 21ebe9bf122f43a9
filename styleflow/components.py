"""The parts of the network, by the names that cards, parameters and reports give them. Needs nothing installed."""

from __future__ import annotations

from typing import Literal

Component = Literal["style_encoder", "style_gru", "style_attention", "content", "temporal_transformer"]
COMPONENTS: tuple[Component, ...] = (
    "style_encoder",
    "style_gru",
    "style_attention",
    "content",
    "temporal_transformer",
)
"""Of the full network."""
CONTENT_ONLY: tuple[Component, ...] = ("content", "temporal_transformer")
"""Of the network without its style branch, which is FTCN."""

"""Files of parameters that a person names or a step left."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from styleflow.errors import ConfigurationError


def read_parameters(path: Path) -> dict[str, Tensor]:
    """By name. Raises ConfigurationError where there is no file, or none of safetensors."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{path.name} cannot be read as a file of safetensors: {error}") from error

"""StyleFlow: batch deepfake-video detection."""

__version__ = "0.1.0"

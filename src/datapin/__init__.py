"""datapin: data versioning for Git and DVC."""

from __future__ import annotations

__version__ = "0.1.0"

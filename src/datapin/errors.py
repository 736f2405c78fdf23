"""Every error that datapin foresees: `except datapin.errors.DatapinError` catches them all."""

from __future__ import annotations

from datapin.base.errors import *  # noqa: F403  # the tree is the public one
from datapin.base.errors import __all__ as __all__

"""Operators on pictures; and how a file is decoded, by the names under which it was asked for before."""

from datapin.pipeline.operators.images.files import decode_plain, in_mode
from datapin.pipeline.operators.operator import AssetBroken

__all__ = ["AssetBroken", "decode_plain", "in_mode"]

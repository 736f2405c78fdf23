"""The recipe of a manifest that was augmented online: how training makes the copies that were not stored."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

from datapin.base.documents import read_json
from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.operator import AssetBroken, CopyOperator
from datapin.pipeline.operators.partners import with_partner
from datapin.pipeline.record.fingerprint import canonical_json

RECIPE = "datapin.recipe"
"""The property of a manifest that holds the recipe, as canonical JSON; meant for rows of the split train alone."""

TRAIN = "train"

_VERSION = 1
# The module with `from_recipe` of each kind.
_HOMES = {"image": "images.augment_image", "audio": "audio.augment_audio", "text": "text.augment_text"}


def recipe_of(operator: CopyOperator) -> str:
    """Canonical JSON from which `read_recipe` makes this operator again."""
    return canonical_json({"recipe": _VERSION, "fingerprint": operator.fingerprint, **operator.parts})


@lru_cache(maxsize=16)
def read_recipe(recipe: str) -> CopyOperator:
    """The operator that a recipe describes.

    Raises OperatorRefused if it was written for other operators, or other versions of them, than there are here.
    """
    try:
        parts = read_json(recipe, "the recipe")
        kind = parts.get("kind", "image")
        home = import_module(f"datapin.pipeline.operators.{_HOMES[kind]}")  # late: the libraries of one kind only
        operator: CopyOperator = home.from_recipe(parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's errors are ValueErrors
        raise OperatorRefused("augment", f"cannot read the recipe: {_first_line(error)}") from None
    if with_partner(operator) is not None:
        raise OperatorRefused(operator.name, "a copy needs a second asset, which a recipe does not have")
    if recipe_of(operator) != recipe:
        raise OperatorRefused(operator.name, "the recipe was made by another version of these operators")
    return operator


def apply_recipe(recipe: str, data: bytes, asset_id: str, copy: int) -> bytes:
    """Copy number `copy` of an asset: what mode offline stores. With mode online, `copy` is the epoch.

    Raises OperatorRefused if the asset is not of the recipe's kind.
    """
    operator = read_recipe(recipe)
    try:
        derived = operator.derive(data, asset_id, copy)
    except AssetBroken as error:
        raise OperatorRefused(operator.name, f"asset {asset_id[:12]}: {error}") from None
    assert derived.data is not None
    return derived.data


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

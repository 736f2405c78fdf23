"""The recipe of a manifest that was augmented online: how training makes the copies that were not stored."""

from __future__ import annotations

from datapin.pipeline.operators.images.augment_image import apply_recipe, apply_recipe_to_pixels, read_recipe

__all__ = ["RECIPE", "TRAIN", "apply_recipe", "apply_recipe_to_pixels", "read_recipe"]

RECIPE = "datapin.recipe"
"""The property of a manifest that holds the recipe, as canonical JSON; meant for rows of the split train alone."""

TRAIN = "train"

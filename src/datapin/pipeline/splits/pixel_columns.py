"""Columns that name places in an image: they are wrong beside an image whose pixels were moved.

They are known by their names, in any case and spelling (`bbox`, `BBox`, `face_bbox`, `bbox_xyxy`), or by that of a
field inside. Columns of flags (`mask: true`) name no place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import StageRefused, listed
from datapin.base.findings import Finding
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.params.values import Rules


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = _words("""
    bbox bboxes box boxes boundingbox boundingboxes rect rects rectangle rectangles roi rois obb quads
    mask masks segmentation segmentations polygon polygons polyline polylines contour contours rle
    keypoint keypoints landmark landmarks objects
    xmin xmax ymin ymax xyxy xywh cxcywh xcenter ycenter
""")
_OFTEN_OTHER_WORDS = _words("""
    annotation annotations detections instances object point points pose poses joint joints skeleton skeletons
    corners segment segments coords coordinates centroid centroids
""")
"""Meant so only where the values are lists or structs: `pose: frontal` and `object: chair` are labels."""
_ACROSS = _words("x x0 x1 x2 cx left right")
_DOWN = _words("y y0 y1 y2 cy top bottom")
"""Meant so only as the whole name of a number, and together: `y` alone is more often what is to be predicted."""
_ABOUT = _words("id ids count counts num number n type source author")
"""`object_id`, `box_count`, `mask_type`: about such things, but no places."""
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows with what the rule made of their columns, and what is to be said about it."""

    table: pa.Table
    findings: list[Finding]


def pixel_columns(schema: pa.Schema) -> list[str]:
    """The columns that name places in an image."""
    numeric = {field.name.lower() for field in schema if _is_number(field.type)}
    is_paired = bool(numeric & _ACROSS) and bool(numeric & _DOWN)
    return [
        field.name
        for field in schema
        if _is_telling(field) or (is_paired and _is_number(field.type) and field.name.lower() in _ACROSS | _DOWN)
    ]


def settle_pixel_columns(
    table: pa.Table, moved: pa.Array, rule: Rules, *, stage: str, dataset: str, is_copy: bool = False
) -> Settled:
    """What becomes of the columns that name places in rows where `moved` is true.

    Dropped, a column is left out of the table; of copies (`is_copy`), whose originals keep it, it is null.
    Raises StageRefused if the rule is to refuse, or names a column that is not there.
    """
    named = dict(rule) if not isinstance(rule, str) else {}
    _refuse_unknown(named, table, stage, dataset)
    keys = one_array(table["key"])
    findings, refused = [], {}
    for name in dict.fromkeys([*pixel_columns(table.schema), *named]):
        column = one_array(table[name])
        touched = pc.and_(moved, column.is_valid())
        count = pc.sum(touched).as_py() or 0
        if not count:
            continue
        rows = f"{count} row(s) whose pixels are moved, such as {keys.filter(touched)[0].as_py()}"
        wish = rule if isinstance(rule, str) else named.get(name, "refuse")
        if wish == "refuse":
            refused[name] = rows
            continue
        if wish == "drop":
            place = table.column_names.index(name)
            table = table.remove_column(place)
            if is_copy:
                table = table.add_column(place, name, pc.if_else(moved, pa.scalar(None, column.type), column))
        said = {"keep": "was kept as it is", "drop": "was left out of the copies" if is_copy else "was dropped"}[wish]
        findings.append(Finding("note", "pixel-columns", dataset, f"{name} {said}: it names places in {rows}"))
    if refused:
        choice = ", ".join(f"{name}: drop" for name in refused)
        raise StageRefused(
            stage,
            f"{dataset}: column(s) {listed(list(refused))} name places in the image, which would be wrong in "
            f"{next(iter(refused.values()))}",
            f"set pixel_columns: {{{choice}}} (or keep) in the section {stage} of params.yaml",
        )
    return Settled(table, findings)


def _refuse_unknown(named: Mapping[str, str], table: pa.Table, stage: str, dataset: str) -> None:
    unknown = [name for name in named if name not in table.column_names]
    if unknown:
        close = difflib.get_close_matches(unknown[0], table.column_names, n=1)
        advice = f"did you mean {close[0]!r}?" if close else f"columns: {listed(table.column_names)}"
        raise StageRefused(stage, f"pixel_columns names {unknown[0]!r}, which {dataset} does not have", advice)


def _is_telling(field: pa.Field) -> bool:
    kind = field.type
    if pa.types.is_boolean(kind):
        return False
    words = [word for word in re.split(r"[^a-z0-9]+", _CAPITAL.sub("_", field.name).lower()) if word]
    telling = _WORDS | _OFTEN_OTHER_WORDS if pa.types.is_nested(kind) else _WORDS
    pairs = [one + other for one, other in pairwise(words)]  # bounding_box, x_min
    if "".join(words) in telling or (not _ABOUT.intersection(words) and telling.intersection([*words, *pairs])):
        return True
    return any(_is_telling(kind.field(number)) for number in range(kind.num_fields))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

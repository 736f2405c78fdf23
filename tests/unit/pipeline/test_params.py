"""params.yaml: read safely; every mistake is one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datapin.base.errors import BadSettings
from datapin.pipeline.kinds.kind import NAMES, kind_named
from datapin.pipeline.params.bases import SectionOfKind
from datapin.pipeline.params.image import HogParams, ImagePrepareParams
from datapin.pipeline.params.params import MAX_BYTES, ParamsSection, read_params
from datapin.pipeline.params.stages import AugmentParams, FeaturizeParams, PrepareParams


def read(
    tmp_path: Path, text: str | bytes, section: str = "prepare", model: type[ParamsSection] = PrepareParams
) -> Any:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_params(path, section, model)


def refusal(
    tmp_path: Path, text: str | bytes, section: str = "prepare", model: type[ParamsSection] = PrepareParams
) -> BadSettings:
    with pytest.raises(BadSettings) as caught:
        read(tmp_path, text, section, model)
    assert caught.value.exit_code == 10
    assert "\n" not in caught.value.message
    return caught.value


def test_a_section_that_is_not_there_has_all_its_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "other: {anything: 1}\n") == ImagePrepareParams()
    assert read(tmp_path, "prepare:\n") == ImagePrepareParams()
    assert read(tmp_path, "") == ImagePrepareParams()


def test_flip_is_off_unless_asked_for(tmp_path: Path) -> None:
    assert read(tmp_path, "", "augment", AugmentParams).operators.flip is None


def test_values_are_read(tmp_path: Path) -> None:
    params = read(tmp_path, "prepare: {resize: 28, mode: L, split: {train: 0.5, holdout: 0.5}, seed: 3}")
    assert params.resize == [28, 28]
    assert params.mode == "L"
    assert list(params.split) == ["train", "holdout"]
    assert params.seed == 3


def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    error = refusal(tmp_path, "prepare: {duplicate: drop}")
    assert error.message == "params.yaml: prepare.duplicate: unknown name"
    assert error.hint == "did you mean 'duplicates'?"


def test_an_unknown_name_deep_inside_is_placed_and_matched_there(tmp_path: Path) -> None:
    error = refusal(tmp_path, "augment: {operators: {rotate: {degree: 4}}}", "augment", AugmentParams)
    assert error.where == "augment.operators.rotate.degree"
    assert error.hint == "did you mean 'degrees'?"
    error = refusal(tmp_path, "augment: {operators: {rotat: {degrees: 4}}}", "augment", AugmentParams)
    assert error.where == "augment.operators.rotat"
    assert error.hint == "did you mean 'rotate'?"


def test_an_unknown_name_of_an_extractor_is_matched_with_that_extractor(tmp_path: Path) -> None:
    error = refusal(tmp_path, "featurize: {extract: [{use: hog, cells: 4}]}", "featurize", FeaturizeParams)
    assert error.where == "featurize.extract.0.cells"
    assert error.hint == "did you mean 'cell'?"


def test_an_unknown_name_with_no_likeness_lists_what_there_is(tmp_path: Path) -> None:
    assert "known names: " in refusal(tmp_path, "prepare: {zzz: 1}").hint


def test_an_unknown_kind_of_data_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    for section, model in (("prepare", PrepareParams), ("augment", AugmentParams)):
        error = refusal(tmp_path, f"{section}: {{kind: imag, seed: 3}}", section, model)
        assert error.message == f"params.yaml: {section}.kind: unknown kind of data 'imag'"
        assert error.hint == "did you mean 'image'?"


@pytest.mark.parametrize("model", [PrepareParams, AugmentParams])
def test_each_kind_has_a_module_and_a_class_for_each_section(model: type[SectionOfKind]) -> None:
    assert set(model.KINDS) == set(NAMES)
    assert {kind_named(name).name for name in NAMES} == set(NAMES)


def test_several_problems_are_named_together(tmp_path: Path) -> None:
    error = refusal(tmp_path, "prepare: {sed: 1, mode: CMYK}")
    assert "prepare.sed" in error.message + error.hint
    assert "prepare.mode" in error.message + error.hint


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("prepare: {seed: '3'}", "prepare.seed", "seen '3'"),
        ("prepare: {seed: true}", "prepare.seed", "seen True"),
        ("prepare: {seed: -1}", "prepare.seed", "seen -1"),
        ("prepare: {mode: CMYK}", "prepare.mode", "seen 'CMYK'"),
        ("prepare: {resize: [28, 0]}", "prepare.resize.1", "seen 0"),
        ("prepare: {resize: [1, 2, 3]}", "prepare.resize", "seen [1, 2, 3]"),
        ("prepare: {split: {train: 0.8}}", "prepare", "add up to 0.8"),
        ("prepare: {split: {train: .nan, val: 0.5}}", "prepare.split.train", "seen nan"),
        ("prepare: {split: {learn: 1.0}}", "prepare", "must be called train"),
        ("prepare: {input: /etc}", "prepare.input", "below the repository"),
        ("prepare: {input: ../x}", "prepare.input", "below the repository"),
        ("prepare: {output: .git/x}", "prepare.output", "must not lie in .git"),
        ("prepare: {classes: [a, a]}", "prepare", "named twice"),
        ("prepare: [1]", "prepare", "seen [1]"),
    ],
)
def test_an_impossible_value_names_the_place_and_what_was_seen(
    tmp_path: Path, text: str, where: str, said: str
) -> None:
    error = refusal(tmp_path, text)
    assert error.where == where
    assert said in error.message


@pytest.mark.parametrize(
    "operators",
    [
        "rotate: {degrees: 181}",
        "shift: {fraction: 1.5}",
        "shear: {degrees: -1}",
        "zoom: {low: 1.2, high: 0.9}",
        "zoom: {low: 0}",
        "crop: {fraction: 0}",
        "brightness: {low: -1}",
        "contrast: {high: 100}",
        "noise: {sigma: 500}",
        "blur: {radius: -1}",
        "cutout: {fraction: 2}",
        "rotate: {probability: 1.1}",
        "flip: {horizontal: 1}",
    ],
)
def test_ranges_of_operators_are_checked(tmp_path: Path, operators: str) -> None:
    error = refusal(tmp_path, f"augment: {{operators: {{{operators}}}}}", "augment", AugmentParams)
    assert error.where.startswith(f"augment.operators.{operators.split(':')[0]}")


def test_copies_are_a_number_or_one_per_class(tmp_path: Path) -> None:
    assert read(tmp_path, "augment: {copies: 3}", "augment", AugmentParams).copies == 3
    assert read(tmp_path, "augment: {copies: {a: 1, b: 0}}", "augment", AugmentParams).copies == {"a": 1, "b": 0}
    assert read(tmp_path, "augment: {copies: {0: 1}}", "augment", AugmentParams).copies == {"0": 1}
    assert refusal(tmp_path, "augment: {copies: -1}", "augment", AugmentParams).where == "augment.copies"
    assert refusal(tmp_path, "augment: {copies: many}", "augment", AugmentParams).where == "augment.copies"
    assert refusal(tmp_path, "augment: {copies: {a: -1}}", "augment", AugmentParams).where == "augment.copies.a"


def test_classes_that_look_like_numbers_are_names(tmp_path: Path) -> None:
    assert read(tmp_path, "prepare: {classes: [0, 1, two]}").classes == ["0", "1", "two"]


def test_extractors_are_names_or_mappings(tmp_path: Path) -> None:
    text = "featurize: {extract: [pixels, {use: hog, cell: 4}, 'mine.features:embed']}"
    params = read(tmp_path, text, "featurize", FeaturizeParams)
    assert [one.use for one in params.extract] == ["pixels", "hog", "mine.features:embed"]
    assert isinstance(params.extract[1], HogParams)
    assert params.extract[1].cell == 4


@pytest.mark.parametrize("use", ["hogg", "a b:c", "mod:", "../x:f", "mod:f()"])
def test_an_extractor_that_is_neither_built_in_nor_a_function_is_refused(tmp_path: Path, use: str) -> None:
    error = refusal(tmp_path, f"featurize: {{extract: ['{use}']}}", "featurize", FeaturizeParams)
    assert error.where == "featurize.extract.0"
    assert "must be pixels, colorhist, hog, logmel, mfcc, audiostats, ngrams, or module:function" in error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prepare: {seed: 1, seed: 2}", "duplicate key"),
        ("a: &x [1]\nprepare: *x", "alias"),
        ("prepare: " + "[" * 40 + "]" * 40, "nested deeper"),
        ("prepare: {", "not YAML"),
        ("- 1", "must be a mapping"),
        (b"prepare: \xff\xfe", "not UTF-8"),
        ("prepare: !!python/object/apply:os.system ['true']", "not YAML"),
        ("#" * (MAX_BYTES + 1), "at most"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, text).message


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as caught:
        read_params(tmp_path / "params.yaml", "prepare", PrepareParams)
    assert "no such file" in caught.value.message
    assert "datapin init" in caught.value.hint

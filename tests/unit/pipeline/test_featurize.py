"""featurize: one vector per row, whatever the batch, the workers or the memo."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import BadSettings, OperatorRefused, StageRefused
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.context import StageReport
from datapin.pipeline.params.stages import FeaturizeParams
from datapin.pipeline.stages.featurize import featurize, run_featurize
from workspaces import Workspace, digits, labels_of, picture

LENGTHS = (
    "import numpy as np\n\ndef run(assets, scale=1):\n    return np.array([[len(a) * scale, a[-20]] for a in assets])\n"
)


def fill(workspace: Workspace, count: int = 24, **columns: Any) -> dict[str, bytes]:
    assets = digits(count, side=16)
    properties = {"datapin.classes": '["0","1","2"]'}
    workspace.write("data/augmented", assets, properties=properties, label=labels_of(assets), **columns)
    return assets


def run(workspace: Workspace, *extract: Any, jobs: int = 1, **params: Any) -> StageReport:
    given = FeaturizeParams.model_validate({"extract": list(extract) or ["pixels"], **params})
    return featurize(workspace.context(jobs), given)


def matrix(workspace: Workspace) -> np.ndarray:
    column = Manifest.open(workspace.root / "data/features").to_table()["features"].combine_chunks()
    found: np.ndarray = column.flatten().to_numpy().reshape(len(column), -1)
    return found


def module(workspace: Workspace, name: str, code: str) -> str:
    (workspace.root / f"{name}.py").write_text(code)
    return f"{name}:run"


def test_rows_stay_and_get_a_vector_each(workspace: Workspace) -> None:
    fill(workspace, note=[f"{n}" for n in range(24)])
    report = run(workspace, "pixels", {"use": "hog", "cell": 8})
    assert (report.rows, report.computed, report.reused) == (24, 24, 0)
    manifest = Manifest.open(workspace.root / "data/features")
    assert manifest.schema.field("features").type == pa.list_(pa.float32(), 16 * 16 + 36)
    before = workspace.read("data/augmented")
    after = [{k: v for k, v in row.items() if k != "features"} for row in workspace.read("data/features")]
    assert after == before
    assert json.loads(manifest.properties["datapin.extractors"]) == ["pixels", "hog"]
    assert manifest.properties["datapin.classes"] == '["0","1","2"]'


def test_vectors_are_in_the_order_of_their_rows(workspace: Workspace) -> None:
    assets = fill(workspace)
    run(workspace, module(workspace, "order_of_rows", LENGTHS))
    keys = [row["key"] for row in workspace.read("data/features")]
    assert matrix(workspace)[:, 0].tolist() == [len(assets[key]) for key in keys]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_batches_workers_and_memo_do_not_show_in_the_output(workspace: Workspace, jobs: int, batch: int) -> None:
    fill(workspace, 60)
    extract = ["pixels", "colorhist", {"use": "hog", "cell": 4}]
    run(workspace, *extract)
    expected = workspace.files("data/features")
    run(workspace, *extract, jobs=jobs, batch=batch)
    assert workspace.files("data/features") == expected
    for path in sorted((workspace.root / ".datapin/memo").rglob("*.parquet")):
        path.unlink()
    report = run(workspace, *extract, jobs=jobs, batch=batch)
    assert report.computed == 60
    assert workspace.files("data/features") == expected


def test_only_what_changed_is_computed_again(workspace: Workspace) -> None:
    assets = fill(workspace)
    run(workspace)
    assets["1/0001.png"] = picture(500, 16)
    (workspace.root / "data/augmented").rename(workspace.root / "data/old")
    workspace.write("data/augmented", assets, label=labels_of(assets))
    report = run(workspace)
    assert (report.computed, report.reused) == (1, 23)


def test_images_of_several_sizes_are_refused_by_name(workspace: Workspace) -> None:
    workspace.write("data/augmented", {"a.png": picture(1, 8), "b.png": picture(2, 9)})
    with pytest.raises(StageRefused, match=r"row b\.png has 81 features, a\.png has 64") as caught:
        run(workspace)
    assert "resize" in caught.value.hint
    assert run(workspace, {"use": "pixels", "resize": 8}).rows == 2


def test_a_row_that_is_no_image_is_refused_by_name(workspace: Workspace) -> None:
    workspace.write("data/augmented", {"a.png": picture(1), "b.bin": b"text"})
    with pytest.raises(StageRefused, match=r"1 row\(s\) have no features: b\.bin \(not an image"):
        run(workspace)


def test_features_of_features_are_refused(workspace: Workspace) -> None:
    fill(workspace)
    run(workspace)
    with pytest.raises(StageRefused, match="has a column 'features' already"):
        run(workspace, input="data/features", output="data/more")


def test_a_cell_that_does_not_fit_is_refused(workspace: Workspace) -> None:
    fill(workspace)
    with pytest.raises(OperatorRefused, match="16 x 16 pixels"):
        run(workspace, {"use": "hog", "cell": 7})


def test_an_online_recipe_does_not_reach_features(workspace: Workspace) -> None:
    assets = digits(3)
    workspace.write("data/augmented", assets, properties={"datapin.recipe": "{}"})
    report = run(workspace)
    assert [one.check for one in report.findings] == ["recipe-not-in-features"]
    assert "datapin.recipe" not in Manifest.open(workspace.root / "data/features").properties


def test_a_user_function_reads_any_file(workspace: Workspace) -> None:
    assets = {f"{number}.txt": b"word " * (5 + number) for number in range(6)}
    workspace.write("data/augmented", assets)
    use = module(workspace, "any_file", LENGTHS)
    run(workspace, {"use": use, "params": {"scale": 2}})
    assert matrix(workspace)[:, 0].tolist() == [10 * (5 + number) for number in range(6)]


def test_a_user_function_runs_again_only_when_its_code_changes(workspace: Workspace) -> None:
    fill(workspace, 6)
    use = module(workspace, "edited", LENGTHS)
    assert run(workspace, use).computed == 6
    module(workspace, "edited", "# a comment\n" + LENGTHS)
    assert run(workspace, use).computed == 0
    module(workspace, "edited", LENGTHS.replace("a[-20]", "a[-21]"))
    assert run(workspace, use).computed == 6


def test_a_user_function_is_called_with_one_asset_unless_it_says_otherwise(workspace: Workspace) -> None:
    fill(workspace, 6)
    counting = "def run(assets):\n    return [[len(assets)] for a in assets]\n"
    assert run(workspace, module(workspace, "counting", counting)).findings == ()
    assert set(matrix(workspace).ravel().tolist()) == {1.0}


def test_a_user_function_that_depends_on_its_batch_is_found_out(workspace: Workspace) -> None:
    fill(workspace, 12)
    lying = "batch_invariant = True\n\ndef run(assets):\n    return [[len(assets)] for a in assets]\n"
    report = run(workspace, module(workspace, "lying", lying))
    assert [one.check for one in report.findings] == ["not-batch-invariant"]
    assert set(matrix(workspace).ravel().tolist()) == {1.0}


def test_a_user_function_that_keeps_its_promise_is_called_in_batches(workspace: Workspace) -> None:
    fill(workspace, 12)
    log = workspace.root / "calls"
    honest = (
        f"batch_invariant = True\n\ndef run(assets):\n    open({str(log)!r}, 'a').write(f'{{len(assets)}} ')\n"
        "    return [[len(a)] for a in assets]\n"
    )
    assert run(workspace, module(workspace, "honest", honest)).findings == ()
    assert log.read_text().split()[-1] == "12"


def test_what_a_user_function_raises_names_the_row(workspace: Workspace) -> None:
    workspace.write("data/augmented", {"a.txt": b"1", "b.txt": b"x"})
    use = module(workspace, "raising", "def run(assets):\n    return [[int(a)] for a in assets]\n")
    with pytest.raises(StageRefused, match=r"b\.txt \(raising:run raised ValueError"):
        run(workspace, use)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_features_that_are_not_numbers_are_refused_by_name(workspace: Workspace, value: str) -> None:
    workspace.write("data/augmented", {"a.txt": b"1", "b.txt": value.encode()})
    use = module(workspace, "read_numbers", "def run(assets):\n    return [[float(a)] for a in assets]\n")
    with pytest.raises(StageRefused, match=r"not numbers \(NaN or infinity\): b\.txt"):
        run(workspace, use)


def test_a_user_function_that_is_not_there_is_refused_before_anything_runs(workspace: Workspace) -> None:
    fill(workspace, 3)
    with pytest.raises(OperatorRefused, match="no module 'nowhere'"):
        run(workspace, "nowhere:run")
    assert not (workspace.root / "data/features").exists()


def test_what_a_user_function_prints_stays_off_stdout(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    fill(workspace, 3)
    run(
        workspace,
        module(workspace, "noisy", "def run(assets):\n    print('hello')\n    return [[1] for a in assets]\n"),
    )
    printed, said = capfd.readouterr()
    assert printed == ""
    assert "hello" in said


def test_params_come_from_their_file(workspace: Workspace) -> None:
    fill(workspace, 3)
    params = workspace.params("featurize:\n  extract:\n    - use: pixels\n      resize: 4\n")
    assert run_featurize(workspace.context(), params).rows == 3
    assert matrix(workspace).shape == (3, 16)
    with pytest.raises(BadSettings, match="unknown name"):
        run_featurize(workspace.context(), workspace.params("featurize: {extractors: [pixels]}"))


def test_worker_processes_load_no_heavy_library(workspace: Workspace) -> None:
    code = (
        "import sys\n\ndef run(assets):\n"
        "    heavy = {'pandas', 'sklearn', 'duckdb', 'dvc', 'boto3', 'git', 'scipy'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n    return [[1] for a in assets]\n"
    )
    workspace.write("data/augmented", {"a.txt": b"1"})
    assert run(workspace, module(workspace, "light", code)).rows == 1

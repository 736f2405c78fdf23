"""`init --ci`: the job is valid for its server, its commands run in a clean clone, and no file is written over."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clones import BIN, ENVIRONMENT, Clone, write_images
from datapin.verbs.setup.initialise_ci import Server, write_ci

FILES: dict[Server, str] = {"github": ".github/workflows/datapin.yml", "gitlab": ".gitlab-ci.yml"}
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
SERVERS = pytest.mark.parametrize("server", FILES)
LOCKS = {
    None: ["pip install datapin"],
    "requirements.lock": ["pip install -r requirements.lock"],
    "requirements.txt": ["pip install -r requirements.txt"],
    "uv.lock": ["pip install uv", "uv export --frozen --no-emit-project --quiet | pip install -r /dev/stdin"],
    "poetry.lock": ["pip install poetry poetry-plugin-export", "poetry export | pip install -r /dev/stdin"],
}


def check_schema(server: Server, *files: Path) -> None:
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", SCHEMAS[server], *files],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def load(file: Path) -> Any:
    return YAML(typ="safe", pure=True).load(file.read_text())


def steps(server: Server, file: Path) -> tuple[str, str, list[str]]:
    """The commands of the job: what installs, what verifies, and what follows in any case."""
    document = load(file)
    if server == "github":
        job = document["jobs"]["verify"]
        run = {step["name"]: step for step in job["steps"] if "run" in step}
        assert list(run) == ["Install", "Verify", "Summary"]
        assert run["Summary"]["if"] == "always()"
        return run["Install"]["run"], run["Verify"]["run"], [run["Summary"]["run"]]
    job = document["datapin-verify"]
    install, verify = job["script"]
    return install, verify, job["after_script"]


@SERVERS
def test_the_job_is_valid_for_its_server_whatever_lock_and_remote_there_are(server: Server, tmp_path: Path) -> None:
    files = []
    for lock in LOCKS:
        for number, url in enumerate(("s3://team/project", "azure://team/project", "/mnt/lab", None)):
            root = tmp_path / f"{lock}-{number}"
            root.mkdir()
            if lock is not None:
                (root / lock).write_text("datapin==1\n")
            assert write_ci(root, server, url).path == FILES[server]
            files.append(root / FILES[server])
            assert not re.search("@[A-Z]+@", files[-1].read_text())
            install, _, _ = steps(server, files[-1])
            assert [line for line in install.splitlines() if not line.startswith("#")] == LOCKS[lock]
    check_schema(server, *files)


def test_the_schemas_refuse_what_is_no_job(tmp_path: Path) -> None:
    for server in FILES:
        (tmp_path / "job.yml").write_text("jobs: {verify: {steps: 7}}\ndatapin-verify: {script: {a: b}}\n")
        with pytest.raises(AssertionError):
            check_schema(server, tmp_path / "job.yml")


def test_a_lock_without_datapin_gets_it_beside(repo: Clone) -> None:
    (repo.path / "requirements.txt").write_text("numpy\n")
    repo.datapin("init", "--ci", "github")
    install, _, _ = steps("github", repo.path / FILES["github"])
    assert [line.partition(" #")[0] for line in install.splitlines()] == [
        "pip install -r requirements.txt",
        "pip install datapin",
    ]


@SERVERS
def test_credentials_are_named_and_never_written(repo: Clone, server: Server) -> None:
    (repo.path / ".dvc" / "config").write_text("[core]\n    remote = lab\n['remote \"lab\"']\n    url = s3://b/p\n")
    (repo.path / ".dvc" / "config.local").write_text("['remote \"lab\"']\n    secret_access_key = canary\n")
    repo.datapin("init", "--ci", server)
    text = (repo.path / FILES[server]).read_text()
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "canary" not in text
    if server == "github":
        job = load(repo.path / FILES[server])
        assert job["permissions"] == {"contents": "read"}
        assert job["jobs"]["verify"]["env"]["AWS_SECRET_ACCESS_KEY"] == "${{ secrets.AWS_SECRET_ACCESS_KEY }}"
        # What a pull request's author chooses never becomes part of a script.
        assert not [step for step in job["jobs"]["verify"]["steps"] if "${{" in step.get("run", "")]


@SERVERS
def test_a_second_init_changes_nothing_also_after_edits(repo: Clone, server: Server) -> None:
    repo.datapin("init", "--ci", server)
    file = repo.path / FILES[server]
    file.write_text(file.read_text() + "# ours\n")
    before = repo.files()
    assert repo.json("init", "--ci", server) == {"created": [], "changed": []}
    assert repo.files() == before


def test_a_workflow_of_somebody_else_is_left_as_it_is(repo: Clone) -> None:
    file = repo.path / FILES["github"]
    file.parent.mkdir(parents=True)
    file.write_text("name: mine\n")
    said, hint = repo.refusal("init", "--ci", "github", code=40)
    assert FILES["github"] in said
    assert "datapin verify HEAD --remote" in hint
    assert file.read_text() == "name: mine\n"


def test_beside_a_gitlab_file_of_somebody_else_the_job_is_one_to_include(repo: Clone) -> None:
    mine = repo.path / FILES["gitlab"]
    mine.write_text("test: {script: [make]}\n")
    said = repo.datapin("init", "--ci", "gitlab").stdout
    assert "add `include: [{local: .gitlab/datapin.yml}]` to it" in said
    assert mine.read_text() == "test: {script: [make]}\n"
    check_schema("gitlab", repo.path / ".gitlab/datapin.yml")
    mine.write_text("include: [{local: .gitlab/datapin.yml}]\ntest: {script: [make]}\n")
    check_schema("gitlab", mine)
    assert repo.json("init", "--ci", "gitlab") == {"created": [], "changed": []}


@pytest.fixture(scope="module")
def project(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's repository with a remote beside it, both jobs, and a branch that adds rows."""
    top = tmp_path_factory.mktemp("ci")
    clone = Clone(top / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img")
    with (clone.path / ".dvc" / "config").open("a") as settings:
        settings.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    for server in FILES:
        clone.datapin("init", "--ci", server, "-q")
    (clone.path / "words.txt").write_text("b\na\n")
    (clone.path / "dvc.yaml").write_text(
        "stages: {sort: {cmd: LC_ALL=C sort words.txt > sorted.txt, deps: [words.txt], outs: [sorted.txt]}}\n"
    )
    clone.dvc("repro", "-q")
    clone.dvc("push", "-q", "sort")
    clone.datapin("push", "-q")
    clone.commit("v1")
    clone.git("switch", "-qc", "more")
    write_images(clone.path / "img", classes="abc")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("push", "-q")
    clone.commit("more rows")
    return top


def run_job(
    project: Path, into: Path, server: Server, **variables: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Clone, as the server does, and run the commands of the job but the one that installs."""
    subprocess.run(["git", "clone", "-q", "-b", "more", project / "repo", into / "clone"], check=True)
    shutil.copytree(project / "lab", into / "lab")
    _, verify, after = steps(server, into / "clone" / FILES[server])
    environment = {**ENVIRONMENT, "GITHUB_STEP_SUMMARY": str(into / "summary.md"), "REPRO": "", **variables}
    done = _run(verify, into / "clone", environment)
    for command in after:
        assert _run(command, into / "clone", environment).returncode == 0
    return done, into / "clone"


def _run(command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_github_job_runs_in_a_clean_clone_and_shows_the_rows_of_a_pull_request(
    project: Path, tmp_path: Path
) -> None:
    done, clone = run_job(project, tmp_path, "github", GITHUB_BASE_REF="main")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert "| <code>data/raw</code> | 6 | 0 | 0 |" in summary
    assert ElementTree.parse(clone / "datapin-verify.xml").getroot().attrib["failures"] == "0"
    assert not list((clone / ".git" / "datapin" / "store").glob("packs/*/*")), "no asset was fetched"


def test_the_gitlab_job_runs_in_a_clean_clone(project: Path, tmp_path: Path) -> None:
    base = Clone(project / "repo").git("rev-parse", "main").strip()
    done, clone = run_job(project, tmp_path, "gitlab", CI_MERGE_REQUEST_DIFF_BASE_SHA=base, CI_MERGE_REQUEST_IID="7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| <code>data/raw</code> | 6 | 0 | 0 |" in (clone / "datapin-verify.md").read_text()
    assert (clone / "datapin-verify.xml").is_file()


def test_a_push_has_no_base_and_a_red_job_still_has_its_summary(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "broken", symlinks=True)
    for pack in (tmp_path / "broken" / "lab").glob("datapin/packs/*/*"):
        pack.unlink()
    (tmp_path / "at").mkdir()
    done, clone = run_job(tmp_path / "broken", tmp_path / "at", "github")
    assert done.returncode == 1
    assert "::error file=data/raw.dvc,title=presence.packs::data/raw: " in done.stdout
    assert "presence.packs" in (tmp_path / "at" / "summary.md").read_text()
    assert ElementTree.parse(clone / "datapin-verify.xml").getroot().attrib["failures"] == "1"


def test_the_weekly_job_runs_the_pipeline_again_and_goes_red_if_it_gives_something_else(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    done, clone = run_job(project, tmp_path / "good", "gitlab", REPRO="--repro")
    assert done.returncode == 0, done.stdout + done.stderr
    names = {case.attrib["name"] for case in ElementTree.parse(clone / "datapin-verify.xml").iter("testcase")}
    assert "repro.outputs" in names
    shutil.copytree(project, tmp_path / "broken", symlinks=True)
    team = Clone(tmp_path / "broken" / "repo")
    (team.path / "dvc.yaml").write_text(
        "stages: {sort: {cmd: date +%N > sorted.txt, deps: [words.txt], outs: [sorted.txt]}}\n"
    )
    team.dvc("repro", "-q")
    team.dvc("push", "-q", "sort")
    team.commit("a stage that looks at the clock")
    (tmp_path / "bad").mkdir()
    done, clone = run_job(tmp_path / "broken", tmp_path / "bad", "gitlab", REPRO="--repro")
    assert done.returncode == 1
    cases = ElementTree.parse(clone / "datapin-verify.xml").iter("testcase")
    assert [case.attrib["name"] for case in cases if case.find("failure") is not None] == ["repro.outputs"]

"""The pre-push hook, with real pushes: data goes before the commits that pin it, or the push is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone, Ended, write_images
from datapin.base.state import state_of
from datapin.githooks.block import HOOKS

HOOK = ".git/hooks/pre-push"
FOLLOWING = [f".git/hooks/{name}" for name in HOOKS if name != "pre-push"]
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass
class World:
    """A clone, the bare Git repository it pushes to, and the directory that is its DVC remote."""

    clone: Clone
    hub: Clone
    lab: Path

    def push(self, *words: str, code: int = 0, **env: str) -> Ended:
        return self.clone.run("git", "push", "-q", "origin", *words, code=code, env=env)

    def refs(self) -> dict[str, str]:
        lines = self.hub.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def roots(self) -> int:
        """How many dataset versions are on the remote, complete."""
        return len(list((self.lab / "datapin" / "roots").rglob("*.json")))

    def new_version(self, label: str) -> str:
        self.clone.datapin("update", "data/raw", "--set", f"label = '{label}'", "--where", "key LIKE 'a/%'", "-q")
        return self.clone.commit(label)

    def lose_assets(self) -> None:
        shutil.rmtree(self.clone.path / ".git" / "datapin" / "store")
        self.clone.datapin("init", "-q")


@pytest.fixture(scope="session")
def made_world(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("world")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    write_images(clone.path / "img")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    (top / "lab").mkdir()
    with (clone.path / ".dvc" / "config").open("a") as config:
        config.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    clone.commit("v1")
    clone.git("init", "-q", "--bare", "-b", "main", top / "hub.git")
    clone.git("remote", "add", "origin", "../hub.git")
    clone.datapin("init", "--hooks", "-q")
    return top


@pytest.fixture
def world(made_world: Path, tmp_path: Path) -> World:
    top = tmp_path / "world"
    shutil.copytree(made_world, top, symlinks=True)
    return World(Clone(top / "repo"), Clone(top / "hub.git"), top / "lab")


def test_a_first_push_takes_the_data_along(world: World, tmp_path: Path) -> None:
    said = world.push("main").stderr
    assert "datapin: sent 12 assets" in said
    assert world.roots() == 1
    other = Clone(tmp_path / "other")
    world.hub.git("clone", "-q", world.hub.path, other.path)
    (other.path / ".dvc" / "config.local").write_text(f"['remote \"lab\"']\n    url = {world.lab}\n")
    assert other.json("fetch")["assets"] == 12
    assert len(other.json("ls", "data/raw")) == 12


def test_without_the_data_the_push_is_refused_and_says_what_to_do(world: World) -> None:
    world.lose_assets()
    lines = world.push("main", code=1).stderr.splitlines()
    assert any(line.startswith("error: push refused: 12 asset(s)") for line in lines)
    (hint,) = [line for line in lines if line.startswith("hint:")]
    assert "datapin fetch" in hint
    assert "git push --no-verify" in hint
    assert world.refs() == {}
    world.push("--no-verify", "main")
    assert set(world.refs()) == {"refs/heads/main"}
    # What the Git remote has, a later push does not look at again.
    (world.clone.path / "code.py").write_text("x")
    world.clone.commit("code")
    assert world.push("main").stderr == ""


def test_a_remote_that_does_not_answer_keeps_the_refs_back(world: World) -> None:
    world.lab.rmdir()
    world.lab.write_text("a file where the remote should be")
    said = world.push("main", code=1).stderr
    assert "error: push refused: " in said
    assert world.refs() == {}


def test_without_a_dvc_remote_the_ways_on_are_named(world: World) -> None:
    config = world.clone.path / ".dvc" / "config"
    config.write_text("")
    said = world.push("main", code=1).stderr
    assert "dvc remote add" in said
    assert "datapin init --no-hooks" in said
    assert world.clone.json("init", "--no-hooks") == {"created": [], "changed": [HOOK, *FOLLOWING]}
    world.push("main")


def test_where_no_pointer_changes_nothing_is_asked_or_said(world: World) -> None:
    world.push("main")
    shutil.rmtree(world.lab)
    (world.clone.path / "code.py").write_text("x")
    world.clone.commit("code")
    assert world.push("main").stderr == ""
    assert world.push("main").stderr == ""
    world.push("main:side")
    assert world.push(":side").stderr == ""
    assert set(world.refs()) == {"refs/heads/main"}


def test_the_quick_look_needs_no_heavy_library() -> None:
    code = "import sys, datapin.cli.commands.hook, datapin.verbs.hooks.run_hook; "
    code += "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {"numpy", "pyarrow", "pydantic", "dvc", "boto3", "obstore", "git", "tqdm", "ruamel"}


def test_a_push_that_sends_does_not_load_what_only_other_verbs_need() -> None:
    code = "import sys, datapin.verbs.hooks.with_rows; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pyarrow" in loaded
    assert not {
        "duckdb",
        "datapin.repo",
        "datapin.checks",
        "datapin.verbs.verify.verify",
        "datapin.pipeline.mapping.map",
    } & set(loaded)


def test_every_commit_of_the_range_and_of_a_tag_has_its_version_there(world: World) -> None:
    world.push("main")
    for label in ("b", "c"):
        world.new_version(label)
    world.push("main")
    assert world.roots() == 3
    world.clone.git("checkout", "-q", "--detach")
    tagged = world.new_version("d")
    world.clone.git("tag", "-a", "v1", "-m", "v1")
    world.clone.git("checkout", "-q", "main")
    world.push("v1")
    assert world.roots() == 4
    assert world.hub.git("rev-parse", "v1^{commit}").strip() == tagged


def test_a_range_is_refused_for_a_version_in_its_middle(world: World) -> None:
    world.push("main")
    before = world.refs()
    world.new_version("b")
    lost = world.clone.git("rev-parse", "HEAD:data/raw.dvc").strip()
    md5 = next(word for word in world.clone.git("cat-file", "blob", lost).split() if word.endswith(".dir"))
    world.new_version("c")
    for place in (world.clone.path / ".dvc" / "cache", state_of(world.clone.path).objects):
        (place / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    assert "push refused" in world.push("main", code=1).stderr
    assert world.refs() == before


def test_dvcs_hook_runs_after_ours_and_only_if_ours_agrees(world: World) -> None:
    clone = world.clone
    clone.datapin("init", "--no-hooks", "-q")
    clone.dvc("install")
    dvcs = (clone.path / HOOK).read_text()
    assert clone.json("init", "--hooks") == {"created": FOLLOWING[1:], "changed": [HOOK, FOLLOWING[0]]}
    assert clone.json("init", "--hooks") == {"created": [], "changed": []}
    (clone.path / "model.bin").write_bytes(b"weights")
    clone.dvc("add", "-q", "model.bin")
    clone.commit("model")
    objects = world.lab / "files" / "md5"
    saved = shutil.copytree(
        clone.path / ".git" / "datapin" / "store", clone.path / ".git" / "datapin" / "tmp" / "saved"
    )
    world.lose_assets()
    world.push("main", code=1)
    assert not list(objects.rglob("*"))
    shutil.rmtree(clone.path / ".git" / "datapin" / "store")
    saved.rename(clone.path / ".git" / "datapin" / "store")
    world.push("main")
    assert any(path.read_bytes() == b"weights" for path in objects.rglob("*") if path.is_file())
    assert world.roots() == 1
    clone.datapin("init", "--no-hooks", "-q")
    assert (clone.path / HOOK).read_text() == dvcs


USERS = """\
#!/usr/bin/env sh
set -eu
while read -r local_ref local_oid remote_ref remote_oid; do
  echo "$1 $local_ref $local_oid $remote_ref $remote_oid" >> seen.txt
done
echo end >> seen.txt
"""
PRE_COMMITS = """\
#!/usr/bin/env bash
# File generated by pre-commit: https://pre-commit.com
# ID: 138fd403232d2ddd5efb44317e38bf03
# start templated
INSTALL_PYTHON=%s
ARGS=(-c 'import sys; open("seen.txt", "w").write(" ".join(sys.argv[1:]) + chr(10) + sys.stdin.read())')
# end templated
ARGS+=("$@")
exec "$INSTALL_PYTHON" "${ARGS[@]}"
"""


def write_hook(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_the_users_own_hook_reads_the_refs_that_git_named(world: World) -> None:
    clone = world.clone
    write_hook(clone.path / HOOK, USERS)
    clone.datapin("init", "--hooks", "-q")
    world.push("main", "main:side")
    head, zero = clone.git("rev-parse", "HEAD").strip(), "0" * 40
    seen = (clone.path / "seen.txt").read_text().splitlines()
    assert seen == [f"origin refs/heads/main {head} refs/heads/{name} {zero}" for name in ("main", "side")] + ["end"]
    (clone.path / "seen.txt").unlink()
    world.push("main")
    assert (clone.path / "seen.txt").read_text() == "end\n"
    # More than a pipe holds, and the shell's own way of handing it on must not hang.
    many = "".join(f"refs/heads/b{number} {head} refs/heads/b{number} {zero}\n" for number in range(3000))
    (clone.path / "seen.txt").unlink()
    done = subprocess.run(
        [clone.path / HOOK, "origin", "url"], input=many, text=True, env=ENVIRONMENT, cwd=clone.path, timeout=600
    )
    assert done.returncode == 0
    assert (clone.path / "seen.txt").read_text().replace("origin ", "") == f"{many}end\n"


def test_the_pre_commit_tools_hook_runs_after_ours(world: World) -> None:
    clone = world.clone
    write_hook(clone.path / HOOK, PRE_COMMITS % sys.executable)
    clone.datapin("init", "--hooks", "-q")
    world.push("main")
    assert world.roots() == 1
    head = clone.git("rev-parse", "HEAD").strip()
    arguments, refs = (clone.path / "seen.txt").read_text().splitlines()
    assert arguments == "origin ../hub.git"
    assert refs == f"refs/heads/main {head} refs/heads/main {'0' * 40}"


def test_under_the_pre_commit_tool_the_refs_come_by_variables(world: World) -> None:
    def call(**env: str) -> None:
        words: list[str | Path] = [BIN / "git-datapin", "hook", "pre-push"]
        env = {**ENVIRONMENT, "PRE_COMMIT_REMOTE_NAME": "origin", **env}
        subprocess.run(words, stdin=subprocess.DEVNULL, cwd=world.clone.path, env=env, check=True)

    # A whole branch comes by its name, a range by the commit at its end.
    call(PRE_COMMIT_LOCAL_BRANCH="refs/heads/main")
    assert world.roots() == 1
    head = world.new_version("b")
    call(PRE_COMMIT_LOCAL_BRANCH="refs/heads/main", PRE_COMMIT_TO_REF=head)
    assert world.roots() == 2
    listed = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
    assert "entry: git-datapin hook pre-push\n" in listed.read_text()


def test_a_hooks_path_in_the_work_tree_and_a_linked_worktree_are_guarded(world: World, tmp_path: Path) -> None:
    clone = world.clone
    clone.datapin("init", "--no-hooks", "-q")
    clone.git("config", "core.hooksPath", "tools/hooks")
    created = [f"tools/hooks/{name}" for name in HOOKS]
    assert clone.json("init", "--hooks") == {"created": created, "changed": []}
    clone.commit("hooks for everybody")
    clone.git("worktree", "add", "-q", "-b", "side", tmp_path / "linked")
    linked = Clone(tmp_path / "linked")
    linked.git("config", "remote.origin.url", world.hub.path)
    said = linked.run("git", "push", "-q", "origin", "side").stderr
    assert "sent 12 assets" in said  # all worktrees share one store, and the manifests that are pinned
    assert world.push("main").stderr == ""  # the same commits: they and their data are there


def test_where_datapin_is_not_installed_the_push_goes_on_and_says_so(world: World) -> None:
    clone = world.clone
    world.lose_assets()
    # A graphical client knows no virtual environment: this machine's hook names the command it was installed by.
    assert "push refused" in world.push("main", code=1, PATH=SYSTEM_PATH).stderr
    path = clone.path / HOOK
    path.write_text(path.read_text().replace(str(BIN), "/gone"))
    assert "not installed" in world.push("main", PATH=SYSTEM_PATH).stderr
    assert set(world.refs()) == {"refs/heads/main"}


def test_a_project_in_a_folder_is_guarded_by_the_repositorys_hook(world: World) -> None:
    clone = world.clone
    clone.git("rm", "-rq", ".datapin", ".dvc", ".dvcignore", "data")
    shutil.rmtree(clone.path / ".dvc")
    shutil.rmtree(clone.path / ".datapin", ignore_errors=True)
    inner = Clone(clone.path / "inner")
    inner.path.mkdir()
    inner.dvc("init", "-q", "--subdir")
    inner.datapin("init", "--hooks", "-q")
    write_images(inner.path / "img")
    inner.datapin("add", "img", "--to", "rows", "-q")
    clone.commit("inner")
    assert "push refused" in world.push("main", code=1).stderr
    (inner.path / ".dvc" / "config").write_text(
        "[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../../lab\n"
    )
    clone.git("checkout", "-q", "--orphan", "only-inner")
    clone.commit("inner alone")
    world.push("only-inner")
    assert world.roots() == 1


def test_a_branch_without_datapin_cannot_vouch_for_one_with_it(world: World) -> None:
    clone = world.clone
    clone.git("checkout", "-q", "--orphan", "pages")
    clone.git("rm", "-rqf", ".")
    (clone.path / "index.html").write_text("hello")
    clone.commit("pages")
    shutil.rmtree(clone.path / ".datapin", ignore_errors=True)
    assert world.push("pages").stderr == ""
    said = world.push("main", code=1).stderr
    assert "push refused" in said
    assert "data/raw" in said


def test_an_output_that_nobody_here_can_tell_is_named_and_passes(world: World) -> None:
    lock = (
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: models\n      md5: " + "a" * 32 + ".dir\n"
    )
    (world.clone.path / "dvc.lock").write_text(lock)
    world.clone.commit("trained elsewhere")
    assert "datapin: models: not here" in world.push("main").stderr
    # One that lies in the work tree and in Git is known: no dataset.
    (world.clone.path / "models").mkdir()
    (world.clone.path / "models" / "weights.bin").write_bytes(b"w")
    (world.clone.path / "dvc.lock").write_text(lock.replace("a" * 32, "b" * 32))
    world.clone.commit("trained here")
    assert world.push("main").stderr == ""


def test_a_hook_in_another_language_is_refused_with_the_line_to_add(world: World) -> None:
    clone = world.clone
    write_hook(clone.path / HOOK, "#!/usr/bin/env python3\n")
    message, hint = clone.refusal("init", "--hooks", code=40)
    assert HOOK in message
    assert "git-datapin hook pre-push" in hint
    assert (clone.path / HOOK).read_text() == "#!/usr/bin/env python3\n"


def test_doctor_knows_a_hook_that_git_no_longer_runs(world: World) -> None:
    def findings() -> list[dict[str, str]]:
        return [one for one in world.clone.json("doctor")["findings"] if one["check"] == "hooks"]

    assert findings() == []
    world.clone.git("config", "core.hooksPath", "elsewhere")
    (finding,) = findings()
    assert (finding["severity"], finding["hint"]) == ("warning", "run `datapin init --hooks`")
    world.clone.git("config", "--unset", "core.hooksPath")
    world.clone.datapin("init", "--no-hooks", "-q")
    assert [finding["severity"] for finding in findings()] == ["note", "note"]


def test_by_hand_the_hook_says_who_calls_it_and_help_does_not_list_it(world: World) -> None:
    terminal, end = os.openpty()
    words: list[str | Path] = [BIN / "datapin", "hook", "pre-push"]
    done = subprocess.run(words, stdin=end, cwd=world.clone.path, env=ENVIRONMENT, capture_output=True, text=True)
    os.close(end)
    os.close(terminal)
    assert done.returncode == 2
    assert "git push" in done.stderr
    assert "hook " not in world.clone.datapin("--help").stdout.split("Commands:")[1]

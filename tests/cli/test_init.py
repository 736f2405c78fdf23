from __future__ import annotations

from pathlib import Path

from clones import Clone


def test_init_is_idempotent_and_says_what_it_made(repo: Clone) -> None:
    assert repo.json("init") == {"created": [], "changed": []}
    assert repo.git("status", "--porcelain") == ""
    assert {"config.toml", ".gitignore"} <= set(repo.files(".datapin"))


def test_init_keeps_what_the_user_wrote(repo: Clone) -> None:
    config = repo.path / ".datapin" / "config.toml"
    config.write_text("jobs = 1\n# mine\n" + config.read_text())
    ignore = repo.path / ".datapin" / ".gitignore"
    ignore.write_text("/notes.txt\n" + ignore.read_text().replace("/memo/\n", ""))
    assert repo.json("init") == {"created": [], "changed": [".datapin/.gitignore"]}
    assert config.read_text().startswith("jobs = 1\n# mine\n")
    assert ignore.read_text().splitlines()[0] == "/notes.txt"
    assert "/memo/" in ignore.read_text().splitlines()


def test_init_remembers_a_remote_and_refuses_an_unknown_one(repo: Clone, tmp_path: Path) -> None:
    message, hint = repo.refusal("init", "-r", "lab", code=10)
    assert "'lab'" in message
    assert "dvc remote add lab" in hint
    repo.dvc("remote", "add", "lab", tmp_path / "lab")
    repo.datapin("init", "-r", "lab")
    assert 'remote = "lab"' in (repo.path / ".datapin" / "config.toml").read_text()
    repo.dvc("status", "-q")


def test_without_git_or_dvc_the_next_command_is_named(tmp_path: Path) -> None:
    bare = Clone(tmp_path)
    message, hint = bare.refusal("init", code=10)
    assert "Git" in message
    assert "git init" in hint
    bare.git("init", "-q")
    message, hint = bare.refusal("init", code=10)
    assert "DVC" in message
    assert "dvc init" in hint
    bare.dvc("init", "-q")
    message, hint = bare.refusal("status", code=10)
    assert hint == "run `datapin init`"


def test_the_template_is_written_once_and_never_over_the_users_files(repo: Clone) -> None:
    (repo.path / "params.yaml").write_text("mine: 1\n")
    created = repo.json("init", "--template", "image")["created"]
    assert "dvc.yaml" in created
    assert "params.yaml" not in created
    assert (repo.path / "params.yaml").read_text() == "mine: 1\n"
    assert repo.json("init", "--template", "image") == {"created": [], "changed": []}


def test_stock_dvc_and_git_work_beside_it(repo: Clone) -> None:
    repo.dvc("status", "-q")
    assert "datapin" in repo.run("git", "datapin", "-h").stdout

"""What Git knows. Questions that `status` asks go to the `git` command: 3 ms, where importing GitPython takes 70."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from datapin.base.errors import NoRepository, ToolFailed, UnknownVersion
from datapin.base.processes import GIT_PLACES, git_words, guarded_git

_TIMEOUT_S = 120.0
_BLOBS_AT_ONCE = 4096
_COMMIT_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_OF_LFS = re.compile(r"git-lfs (clean|smudge)( --skip)? -- %f|git-lfs filter-process( --skip)?")
_KEPT_BLOB_BYTES, _MOST_KEPT_BLOBS = 1 << 14, 256
_blobs: dict[tuple[str, str, str], bytes] = {}  # by root, commit id and path: what these name never changes
_LOG = (
    "log", "--date-order", "--full-history", "-m", "--root", "--raw", "-z", "--no-abbrev", "--no-renames", "--relative",
    "--no-show-signature", "--format=%x01%H",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that a commit changed against one of its parents: the blobs before and after, None for no file."""

    commit: str
    file: str  # relative to the root
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class CommitState:
    """Where the work tree stands: the commit that is checked out (None before the first) and whether it was changed."""

    commit: str | None
    is_dirty: bool


def find_root(start: Path) -> Path:
    """The folder with `.dvc` around `start`: datapin's root, also where Git's is further up (`dvc init --subdir`).

    Raises NoRepository if there is no Git repository around `start`, or none with DVC.
    """
    here = start.resolve()
    root: Path | None = None
    for folder in (here, *here.parents):
        if root is None and (folder / ".dvc").is_dir():
            root = folder
        if (folder / ".git").exists():
            if root is None:
                raise NoRepository(path=str(start), lacks="DVC")
            return root
    raise NoRepository(path=str(start), lacks="Git")


def git_version() -> tuple[int, ...]:
    """The version of the `git` command, for example (2, 39, 5)."""
    text = ask_git(Path.cwd(), "--version").decode()
    match = re.search(r"\d+(?:\.\d+)+", text)
    if match is None:
        raise ToolFailed("git", f"says {text.strip()!r} instead of its version")
    return tuple(int(part) for part in match.group().split("."))


def has_commit(root: Path) -> bool:
    """Whether anything was committed yet."""
    return _output(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is not None


def resolve(root: Path, rev: str) -> str:
    """The commit id that `rev` names. Raises UnknownVersion."""
    if rev and not rev.startswith("-") and not {":", "\0"} & set(rev):
        answer = _output(root, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
        if answer is not None:
            return answer.decode().strip()
    raise UnknownVersion(selector=rev, problem="no such revision in Git")


def merge_base(root: Path, one: str, other: str) -> str | None:
    """The id of the last commit that both commits go back to, None if there is none."""
    found = _output(root, "merge-base", one, other)
    return found.decode().strip() if found else None


def blob_at(root: Path, rev: str, path: str) -> bytes | None:
    """The bytes of the file `path` (relative to `root`) in revision `rev`, None if it has no such file.

    Raises UnknownVersion if there is no such revision.
    """
    name = (os.fspath(root), rev, path)
    if name in _blobs:
        return _blobs[name]
    if rev and not rev.startswith("-") and ":" not in rev:
        answer = _output(root, "cat-file", "blob", f"{rev}:./{path}")
        if answer is not None:
            if _COMMIT_ID.fullmatch(rev) and len(answer) <= _KEPT_BLOB_BYTES and len(_blobs) < _MOST_KEPT_BLOBS:
                _blobs[name] = answer
            return answer
    resolve(root, rev)
    return None


def commit_state(root: Path) -> CommitState:
    """The commit that is checked out, and whether tracked files differ from it."""
    with guarded_git(filters_off(root)):
        import git

        try:
            with git.Repo(root, search_parent_directories=True) as repository:
                commit = repository.head.commit.hexsha if repository.head.is_valid() else None
                # Git forgets our settings where it looks into a submodule.
                asked = ("--raw", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
                is_dirty = bool(repository.git.diff(*asked, "--cached") or repository.git.diff(*asked))
                return CommitState(commit, is_dirty)
        except git.GitError as error:
            raise ToolFailed("git", " ".join(str(error).split())) from None


def author(root: Path) -> str:
    """Who works here, `name <address>` as Git would write into a commit; empty if Git does not know."""
    answer = _output(root, "var", "GIT_AUTHOR_IDENT")
    return answer.decode("utf-8", "replace").rpartition(">")[0] + ">" if answer else ""


def files_named(root: Path, *patterns: str, rev: str | None = None) -> list[str]:
    """Files below `root` whose names match a pattern (`*.dvc`), sorted: tracked or not, but not git-ignored.

    With `rev`, those of that revision; a pattern is then the end of a name without `*`.
    """
    if rev is not None:
        ends = tuple(pattern.removeprefix("*") for pattern in patterns)
        listed = ask_names(root, "ls-tree", "-r", "-z", "--name-only", resolve(root, rev))
        return sorted(name for name in listed if name.endswith(ends))
    selection = [f":(glob)**/{pattern}" for pattern in patterns]
    listed = ask_names(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *selection)
    return sorted(name for name in set(listed) if (root / name).is_file())


def file_changes(
    root: Path, names: Sequence[str], revs: Sequence[str] | None = None, not_in: Sequence[str] = ()
) -> Iterator[FileChange]:
    """Each change of a file below `root` whose name matches a pattern (`*.dvc`), newest commit first.

    Of the commits that `revs` reach (None: all refs and HEAD) and `not_in` do not; no commit comes before its
    children. A merge is compared with each of its parents, a first commit with nothing. Links and submodules are no
    files. Revisions that name no commit (a tag on a blob) reach nothing; one that does not exist raises ToolFailed.
    """
    if revs is not None and not revs:
        return  # a log without any revision would be that of HEAD
    for rev in (*(revs or ()), *not_in):
        if not rev or rev.startswith(("-", "^")) or "\n" in rev:
            raise UnknownVersion(selector=rev, problem="no such revision in Git")
    asked = "".join(f"{rev}\n" for rev in (*(revs or ()), *(f"^{rev}" for rev in not_in)))
    every = ["--all"] if revs is None else []
    selection = [f":(glob)**/{name}" for name in names]
    listing = ask_git(root, *_LOG, *every, "--stdin", "--", *selection, said=asked.encode())
    commit = ""
    tokens = iter(listing.split(b"\0"))
    for token in tokens:
        word = token.lstrip(b"\n")
        if word.startswith(b"\x01"):
            commit = word[1:].decode()
        elif word.startswith(b":"):
            mode_before, mode_after, before, after, _ = word[1:].decode().split(" ")
            yield FileChange(
                commit,
                os.fsdecode(next(tokens)),
                before if mode_before.startswith("100") else None,
                after if mode_after.startswith("100") else None,
            )


def iter_blobs(root: Path, names: Iterable[str]) -> Iterator[bytes | None]:
    """The bytes of each blob, in the order of `names`: an object id, or `REV:./path`; None if there is no such blob.

    One process per 4,096 names. A name must not hold a newline.
    """
    remaining = iter(names)
    while lot := list(islice(remaining, _BLOBS_AT_ONCE)):
        answers = ask_git(root, "cat-file", "--batch", said=b"".join(os.fsencode(f"{name}\n") for name in lot))
        place = 0
        for _ in lot:
            end = answers.index(b"\n", place)
            words = answers[place:end].split(b" ")
            place = end + 1
            if len(words) != 3 or not words[2].isdigit():
                yield None  # `NAME missing`
                continue
            size = int(words[2])
            yield answers[place : place + size] if words[1] == b"blob" else None
            place += size + 1


def known_objects(root: Path, names: Sequence[str]) -> list[str]:
    """Those of the object ids `names` that are in this repository."""
    if not names:
        return []
    answers = ask_git(root, "cat-file", "--batch-check", said="".join(f"{name}\n" for name in names).encode())
    return [line.split(" ")[0] for line in answers.decode().splitlines() if not line.endswith(" missing")]


def remote_tips(root: Path, remote: str) -> list[str]:
    """The commits that the branches of the Git remote `remote` had when this repository last heard of them."""
    if set(remote) & set("*?[\\\n"):
        return []  # no name of a remote but a pattern
    return sorted(
        set(ask_git(root, "for-each-ref", "--format=%(objectname)", f"refs/remotes/{remote}/").decode().split())
    )


def top_directory(root: Path) -> Path:
    """The top of the work tree around `root`: above it where DVC lies in a folder of a larger repository."""
    return Path(os.fsdecode(ask_git(root, "rev-parse", "--show-toplevel").removesuffix(b"\n")))


def hooks_directory(root: Path, *, by_default: bool = False) -> Path:
    """The folder where Git looks for hooks: `core.hooksPath`, or the one that all worktrees share.

    `by_default` gives the latter whatever `core.hooksPath` says. The folder need not exist.
    """
    top = top_directory(root)  # a relative core.hooksPath starts there
    asked = ("--git-common-dir",) if by_default else ("--git-path", "hooks")
    folder = top / os.fsdecode(ask_git(top, "rev-parse", *asked).removesuffix(b"\n"))
    return Path(os.path.normpath(folder / "hooks" if by_default else folder))


def exclude_file(root: Path) -> Path:
    """The file with patterns that this clone ignores beside those of `.gitignore`; it need not exist."""
    return git_path(top_directory(root), "info/exclude")


def git_path(root: Path, name: str) -> Path:
    """Where Git keeps what is called `name` in its folder, for this work tree; it need not exist."""
    said = os.fsdecode(ask_git(root, "rev-parse", "--git-path", name).removesuffix(b"\n"))
    return Path(os.path.normpath(root / said))


def other_worktrees(root: Path) -> list[Path]:
    """The same folder as `root` in each other worktree of the repository, the main one first; those that are there."""
    said = os.fsdecode(ask_git(root, "worktree", "list", "--porcelain"))
    tops = [Path(line.removeprefix("worktree ")) for line in said.splitlines() if line.startswith("worktree ")]
    top = top_directory(root)
    below = root.resolve().relative_to(top.resolve())
    return [other / below for other in tops if other != top and (other / below).is_dir()]


def tracked_files(root: Path, name: str) -> list[str]:
    """Files below `root` that Git tracks and whose path ends with `name`."""
    return sorted(set(ask_names(root, "ls-files", "-z", "--cached", "--", f":(glob)**/{name}")))


def stash_holds(root: Path, folder: str) -> bool:
    """Whether the newest stash holds files below `folder` that Git does not track (`git stash --all`)."""
    return bool(_output(root, "ls-tree", "--name-only", "refs/stash^3", "--", f"{folder}/"))


def is_ignored(root: Path, path: Path) -> bool:
    """Whether Git ignores `path`."""
    return _output(root, "check-ignore", "--quiet", "--", os.fspath(path)) is not None


def filters_off(root: Path) -> list[tuple[str, str]]:
    """Settings that switch off the filters that this repository's own settings name, but for those of git-lfs.

    Git runs a filter where it looks whether a file is changed; the user's own settings name theirs elsewhere.
    """
    said = _output(root, "config", "--local", "--null", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$")
    entries = [os.fsdecode(entry).partition("\n") for entry in (said or b"").split(b"\0") if entry]
    names = sorted({name.rpartition(".")[0] for name, _, value in entries if not _OF_LFS.fullmatch(value)})
    off = (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    return [(f"{name}.{word}", value) for name in names for word, value in off]


def ask_git(root: Path, *arguments: str, said: bytes = b"") -> bytes:
    """What `git ARGUMENTS` prints in `root`. Raises ToolFailed."""
    done = _call(root, *arguments, said=said)
    if done.returncode != 0:
        raise _failure(arguments, done)
    return done.stdout


def ask_names(root: Path, *arguments: str) -> list[str]:
    """What `git ARGUMENTS`, with `-z` among them, lists: paths, or entries that end with one. Raises ToolFailed."""
    return [os.fsdecode(name) for name in ask_git(root, *arguments).split(b"\0") if name]


def _output(root: Path, *arguments: str) -> bytes | None:
    """What git prints, None if it answers no (status 1) or has no such thing (status 128)."""
    done = _call(root, *arguments)
    if done.returncode == 0:
        return done.stdout
    if b"dubious ownership" in done.stderr or b"not a git repository" in done.stderr:
        raise _failure(arguments, done)
    return None


def _failure(arguments: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> ToolFailed:
    # Git names the cure itself, lines below: whose repository this is, only the user can know.
    cure = re.search(rb"git config --global --add safe\.directory .+", done.stderr)
    problem = first_line(done.stderr)
    if cure is not None:
        advice = f"run `{cure.group().decode('utf-8', 'replace').strip()}` if you trust whoever owns it"
        return ToolFailed("git", problem, advice)
    return ToolFailed("git", f"`git {arguments[0]}` ended with {done.returncode}: {problem}")


def _call(root: Path, *arguments: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # Messages are matched above, and a question must not wait for the lock that refreshing the index takes.
    environment = {name: value for name, value in os.environ.items() if name not in GIT_PLACES}
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    # The user's log.diffMerges would give `log -m` another meaning than one diff per parent.
    words = git_words(root, *arguments, settings=("log.diffMerges=separate",), with_hooks="hooks" in arguments)
    return run_git(words, arguments[0], environment, said)


def run_git(
    words: Sequence[str], name: str, environment: Mapping[str, str], said: bytes
) -> subprocess.CompletedProcess[bytes]:
    """Run the Git command `name`, whatever it answers. Raises ToolFailed if it does not in time."""
    try:
        return subprocess.run(words, input=said, capture_output=True, check=False, env=environment, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ToolFailed("git", f"`git {name}` did not answer within {_TIMEOUT_S:.0f} s") from None


def first_line(text: bytes) -> str:
    """What a program has said on stderr, as far as an error names it."""
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else "no message"

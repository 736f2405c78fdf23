"""Our part of a hook: text between two marks, put in and taken out without touching the user's own lines.

It stands right after the first line, because DVC's and other tools' hooks end in `exec`, and because packs and
manifests must be on the remote before whatever follows runs.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

BEGIN = "# >>> datapin >>>"
END = "# <<< datapin <<<"
SHEBANG = "#!/bin/sh"

_BLOCK = re.compile(rf"^{re.escape(BEGIN)}.*?^{re.escape(END)}[^\n]*(\n|\Z)", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"#!\s*(\S*/)?(env\s+(-\S+\s+)*(\S*/)?)?(sh|bash|dash|ash|ksh|mksh|zsh)(\s|\Z)")
_FALLBACK = re.compile(r" \|\| command -v \S.* \|\| :\)$", re.MULTILINE)

# Where PATH holds a relative folder, the command found in it is whatever the pulled commits put there: not taken.
# Git says on stdin which refs go. They are read once and handed on, since a hook that follows may read them too.
_PRE_PUSH = f"""\
{BEGIN} written by `datapin init --hooks`, taken out by `datapin init --no-hooks`
# The data that the pushed commits pin goes to the remote before the commits do, or the push is refused.
datapin_refs=$(cat)
datapin_command=$(command -v git-datapin || :)
case $datapin_command in /*) ;; *) datapin_command= ;; esac
if [ -z "$datapin_command" ]; then
  echo "datapin is not installed here: nobody looks whether the data of these commits is on the remote" >&2
elif ! printf '%s\\n' "$datapin_refs" | "$datapin_command" hook pre-push "$@"; then
  exit 1
fi
if [ -n "$datapin_refs" ]; then
  exec <<DATAPIN_REFS
$datapin_refs
DATAPIN_REFS
else
  exec </dev/null
fi
unset datapin_refs datapin_command
{END}
"""
# Git's own work is done by now: whatever happens here must not make it look as if it had failed.
_FOLLOW = f"""\
{BEGIN} written by `datapin init --hooks`, taken out by `datapin init --no-hooks`
# The manifests in the work tree follow the pointers that Git has put there.
datapin_command=$(command -v git-datapin || :)
case $datapin_command in /*) ;; *) datapin_command= ;; esac
if [ -n "$datapin_command" ]; then
  "$datapin_command" hook {{hook}} "$@" </dev/null || :
fi
unset datapin_command
{END}
"""
# Git calls this hook at every write of its index, so the shell itself finds out whether pointers were written: the
# index says when each was.
_FOLLOW_INDEX = f"""\
{BEGIN} written by `datapin init --hooks`, taken out by `datapin init --no-hooks`
# The manifests follow the pointers after `git reset`, `stash`, `cherry-pick` and `revert`, which call no other hook.
if [ "$1" = 1 ]; then
  datapin_note=$(git rev-parse --git-path datapin-followed)
  datapin_seen=$(git ls-files --debug --stage -- ':(glob)**/?*.dvc' ':(glob)**/dvc.lock' | cksum)
  datapin_command=$(command -v git-datapin || :)
  case $datapin_command in /*) ;; *) datapin_command= ;; esac
  if [ -n "$datapin_command" ] && [ "$datapin_seen" != "$(cat "$datapin_note" 2>/dev/null)" ]; then
    "$datapin_command" hook post-index-change "$@" </dev/null && echo "$datapin_seen" >"$datapin_note" || :
  fi
  unset datapin_note datapin_seen datapin_command
fi
{END}
"""
FOLLOWING = ("post-checkout", "post-merge", "post-rewrite", "post-index-change")
HOOKS = {
    "pre-push": _PRE_PUSH,
    **{hook: _FOLLOW.replace("{hook}", hook) for hook in FOLLOWING},
    "post-index-change": _FOLLOW_INDEX,
}


def block_of(hook: str, command: Path | None) -> str:
    """The text of our part; `command` is the `git-datapin` to run where none is on PATH, as in a graphical client."""
    if command is None:
        return HOOKS[hook]
    return HOOKS[hook].replace(" || :)", f" || command -v {shlex.quote(str(command))} || :)", 1)


def with_block(text: str, block: str) -> str:
    """The hook with our part, as the only one of its kind, after the first line."""
    rest = without_block(text)
    if not rest:
        return f"{SHEBANG}\n{block}"
    if not rest.startswith("#!"):
        return f"{block}{rest}"
    first, _, rest = rest.partition("\n")
    return f"{first}\n{block}{rest}"


def without_block(text: str) -> str:
    """The hook without our part; empty if nothing but the line that names the shell is left."""
    rest = _BLOCK.sub("", text)
    return "" if rest.strip() in ("", SHEBANG) else rest


def has_block(text: str) -> bool:
    """Whether our part is there, of whichever version."""
    return _BLOCK.search(text) is not None


def is_current(text: str, hook: str) -> bool:
    """Whether our part is there, in its place, as this version writes it; with any fallback for the command."""
    return _FALLBACK.sub(" || :)", text) == _FALLBACK.sub(" || :)", with_block(text, HOOKS[hook]))


def is_shell(text: str) -> bool:
    """Whether a shell runs this hook, so that our part can stand in it: Git runs one without `#!` by `sh`."""
    return "\0" not in text and (not text.startswith("#!") or _SHELL.match(text) is not None)

"""Completion for bash, zsh and fish, by click; what is typed is answered without importing anything heavy."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress

import click
from click.shell_completion import (
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from datapin.base.errors import DatapinError
from datapin.cli.shell.asked import Asked

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_DATAPIN_COMPLETE"

# click's own script passes words, and bash cuts `data/raw@v1` into three of them. `git datapin` is completed by Git's
# completion, which calls `_git_datapin`.
_BASH = """\
_datapin_completion() {
    local IFS=$'\\n' program=datapin answer line
    [[ $1 == */datapin ]] && program=$1
    answer=$(env _DATAPIN_COMPLETE=bash_complete COMP_LINE="${COMP_LINE:0:COMP_POINT}" \\
        COMP_BREAKS="$COMP_WORDBREAKS" "$program" 2>/dev/null)
    COMPREPLY=()
    for line in $answer; do
        case ${line%%,*} in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("${line#*,}") ;;
        esac
    done
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}

_git_datapin() {
    _datapin_completion git
}

complete -o nosort -F _datapin_completion datapin 2>/dev/null || complete -F _datapin_completion datapin
"""
# Without it `compdef` is not there in a bare ~/.zshrc.
_ZSH_START = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"


class _Kept(ShellComplete):
    """Values of `--to=data/r` keep their `--to=`, which click cuts off."""

    begun = ""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        self.begun = incomplete
        self.ctx_args = {"obj": Asked(args)}
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("-"):
            return [CompletionItem(f"{option}={item.value}", item.type, item.help) for item in found]
        return found


class _Bash(_Kept):
    name = "bash"
    source_template = _BASH.replace("%", "%%")

    def get_completion_args(self) -> tuple[list[str], str]:
        # A mark at the end shows whether a new word begins there, also within quotes.
        *words, last = split_arg_string(f"{os.environ['COMP_LINE']}\x01")
        start = words.index("datapin") if words[:1] == ["git"] else 0
        return words[start + 1 :], last.removesuffix("\x01")

    def format_completion(self, item: CompletionItem[str]) -> str:
        if _is_quoted(os.environ["COMP_LINE"]):
            return f"{item.type},{item.value}"
        # bash replaces what follows the last of its own word breaks.
        breaks = [mark for mark in os.environ.get("COMP_BREAKS", "") if mark in "@=:"]
        cut = max((self.begun.rfind(mark) for mark in breaks), default=-1) + 1
        return f"{item.type}," + re.sub(r"([^A-Za-z0-9_./@~^:+=,%-])", r"\\\1", item.value[cut:])


def _is_quoted(line: str) -> bool:
    """Whether a quote is open at the end."""
    quote = ""
    marks = iter(line)
    for mark in marks:
        if mark == "\\" and quote != "'":
            next(marks, None)
        elif mark in ("'", '"') and quote in ("", mark):
            quote = "" if quote else mark
    return bool(quote)


class _Zsh(_Kept, ZshComplete):
    def source(self) -> str:
        first, rest = super().source().split("\n", 1)
        return f"{first}\n{_ZSH_START}\n{rest}"


class _Fish(_Kept, FishComplete):
    pass


_KINDS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def script(shell: str) -> str:
    """What the shell has to read once."""
    return _KINDS[shell](click.Command("datapin"), {}, "datapin", _VARIABLE).source().rstrip()


def answer(root: click.Command) -> None:
    """Answer a shell that asks; if anything goes wrong, nothing: a line of somebody's shell is no place for errors."""
    shell, _, wanted = os.environ.pop(_VARIABLE).partition("_")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(click.ClickException, click.exceptions.Exit, DatapinError, OSError, ValueError, LookupError):
        complete = _KINDS[shell](root, {}, "datapin", _VARIABLE)
        text = complete.source() if wanted == "source" else complete.complete()
        sys.stdout.write(text + "\n" if text else "")
        sys.stdout.flush()

"""The front door: finds the verb, loads only that verb's module, turns errors into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from datapin import __version__
from datapin.base import errors, log
from datapin.base.processes import forget_current_folder, forget_places
from datapin.cli.render import printable
from datapin.cli.shell.asked import Asked, global_options
from datapin.cli.shell.colour import severity

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Verb -> what it does. The module of a verb is loaded when it runs, so that `--help` costs no Arrow (100 ms).
# A test compares these lines with the commands' own help.
VERBS: dict[str, str] = {
    "init": "Make a Git and DVC repository ready for datapin.",
    "add": "Add files and folders to a dataset.",
    "status": "Show what is not added, not committed, not here, not pushed.",
    "show": "Summarise a dataset.",
    "ls": "List rows of a dataset.",
    "query": "Run SQL over datasets and their versions.",
    "log": "Show a dataset's versions over Git's history.",
    "diff": "Show which rows differ between two versions.",
    "update": "Set columns of rows.",
    "remove": "Remove rows from a dataset.",
    "checkout": "Write a dataset's files into a folder.",
    "resolve": "Decide conflicts of a merge, or list them.",
    "rollback": "Bring datasets back as they were; the code stays.",
    "restore": "Bring rows to what the pointers in the work tree pin.",
    "run": "Run a pipeline stage (what dvc.yaml calls).",
    "push": "Send missing assets and manifests to the remote.",
    "fetch": "Bring missing assets and manifests from the remote.",
    "verify": "Check that a commit's pins hold.",
    "trace": "Show which data made a model, or any other output.",
    "uses": "Show which versions, splits and models used an asset.",
    "why": "Show why a row was computed or reused.",
    "rebuild-index": "Rebuild the local index from the packs.",
    "recover": "Finish or undo what a command that was cut off has left.",
    "doctor": "Check the set-up and say how to fix it.",
    "help": "Explain a command, or show a page of the guide.",
    "completion": "Print what makes a shell complete datapin's commands.",
}
# Called by other programs, or by other verbs.
HIDDEN = ("hook", "textconv", "merge-driver", "merge-lock")
_YOUNG_OBJECTS = 50_000  # before the garbage collector looks at them; Python's own number is 700


class Verbs(click.Group):
    """A group whose commands are imported one by one, on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS and cmd_name not in HIDDEN:
            return None
        # Collecting garbage among what is being loaded, here and when `Repo` loads the verb, finds none: 5 % of a short
        # verb's time.
        gc.disable()
        module = importlib.import_module(f"datapin.cli.commands.{cmd_name.replace('-', '_')}")
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        gc.enable()
        command: click.Command = module.command
        if ctx.resilient_parsing:
            importlib.import_module("datapin.cli.shell.candidates").complete_all(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing:  # completion
            return super().resolve_command(ctx, args)
        if args and args[0] not in (*VERBS, *HIDDEN) and not args[0].startswith("-"):
            raise importlib.import_module("datapin.cli.shell.suggestions").unknown_verb(args[0], list(VERBS))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`datapin help COMMAND` says more, `datapin help guide` lists the pages of the guide.",
)
@click.version_option(__version__, prog_name="datapin")
@global_options
@click.pass_context
def root(context: click.Context) -> None:
    """Data versioning for Git and DVC: datasets of rows and assets, pinned by commits.

    DATASET is a manifest folder such as data/raw. DATASET@VERSION is that dataset at a Git revision (@v1), N versions
    back (@~1), or by the first digits of its digest (@3fa9c1d2).
    """
    if context.invoked_subcommand is None:
        # The text on stdout as Git prints it, the code as uv ends: a script that lost its verb must not go on.
        click.echo(context.get_help())
        context.exit(errors.EXIT_USAGE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; without `arguments`, which a program gives, end the process."""
    forget_current_folder()
    forget_places()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_DATAPIN_COMPLETE" in os.environ:
        importlib.import_module("datapin.cli.shell.completion").answer(root)
        sys.exit(0)
    asked = Asked.at_start(words)
    code = _ended(words, asked)
    log.step("command", "exit %d", code)
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _ended(words: list[str], asked: Asked) -> int:
    try:
        code = _run(words, asked)
        if sys.stdout:
            sys.stdout.flush()
    except errors.DatapinError as error:
        code = _tell(asked, error.kind, error.message, _hint(error), error.exit_code, error.details())
        log.detail("command", "%s", _traced(error))
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        verb = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "datapin"
        advice = f"`{verb} --help` lists the options"
        code = _tell(asked, "usage", error.format_message(), advice, errors.EXIT_USAGE)
    except (KeyboardInterrupt, EOFError, click.Abort):
        code = _tell(asked, "interrupted", "interrupted", "", errors.EXIT_INTERRUPTED)
    except OSError as error:
        code = _tell_system(asked, error)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told, and its code is not that of a check
        code = _tell_bug(asked, error)
    return code if isinstance(code, int) else 0


def _hint(error: errors.DatapinError) -> str:
    """The error's hint; where data is lost or damaged, what heals it in this repository."""
    if isinstance(error, errors.Damage | errors.AssetsMissing):
        with suppress(Exception):  # a hint must not hide its error
            hint: str = importlib.import_module("datapin.plumbing").hint_here(error)
            return hint
    return error.hint


def _run(words: list[str], asked: Asked) -> Any:
    if not all(word.strip() for word in words) and not any(word in HIDDEN for word in words):
        advice = "name what was meant, or leave the option out; in a shell, look whether a variable is set"
        raise errors.Usage("one of the words of the command is empty", advice)
    # Not click's own main: it ends with code 1, and without a word, whichever pipe broke.
    try:
        with root.make_context("datapin", words.copy(), obj=asked, color=asked.colour) as context:
            return root.invoke(context)
    except (KeyboardInterrupt, EOFError):
        with suppress(OSError):
            click.echo(err=True)  # closes the line in which a terminal shows ^C
        raise


def _tell_system(asked: Asked, error: OSError) -> int:
    if not _is_of_output(error):
        path = str(error.filename) if error.filename is not None else "a file"
        failed = errors.StorageFailed(action="use", path=path, problem=error.strerror or str(error))
        log.step("command", "%s", _traced(error))
        return _tell(asked, failed.kind, failed.message, failed.hint, failed.exit_code, failed.details())
    # A reader that went away (`datapin ls … | head`) is no error of ours.
    code = 0
    if not isinstance(error, BrokenPipeError):
        lost = errors.OutputLost(problem=error.strerror or str(error))
        code = _tell(asked, lost.kind, lost.message, lost.hint, lost.exit_code)
    _give_up_output()
    return code


def _tell_bug(asked: Asked, error: Exception) -> int:
    with suppress(OSError):
        click.echo(log.redacted(_traced(error)), nl=False, err=True)
    what = f"{type(error).__name__}: {error}".strip().removesuffix(":")
    advice = "this is a bug in datapin: report it with the lines above and those of DATAPIN_LOG=FILE"
    return _tell(asked, "bug", log.redacted(what), advice, errors.EXIT_BUG)


def _is_of_output(error: OSError) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code in (_ended.__code__, click.echo.__code__)


def _leave(code: int) -> None:
    """End the process now, if all that is left to do is to free memory piece by piece: 5 % of a short verb's time."""
    if threading.active_count() > 1:
        return
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream:  # none if the caller closed it
                stream.flush()
    except OSError:
        return  # Python tells it as it does for every program
    os._exit(code)


def _tell(
    asked: Asked, kind: str, message: str, hint: str, code: int, details: Mapping[str, Any] = MappingProxyType({})
) -> int:
    try:
        if asked.wants_json(kind):
            document = {"error": {**details, "kind": kind, "message": message, "hint": hint}}
            click.echo(json.dumps(document, default=str, ensure_ascii=False))
        else:
            for word, text in (("error: ", message), ("hint:  ", hint)):
                if text:
                    click.echo(f"{severity(word)}{printable(text)}", err=True, color=asked.colour)
    except OSError:
        _give_up_output()  # the code says it
    return code


def _traced(error: BaseException) -> str:
    import traceback  # 4 ms that only an error costs

    return "".join(traceback.format_exception(error))


def _give_up_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:  # what is left of it would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()

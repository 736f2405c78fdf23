"""The front door: finds the verb, loads only that verb's module, turns errors into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from datapin import __version__
from datapin.base import errors
from datapin.base.processes import forget_current_folder

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
    "run": "Run a pipeline stage (what dvc.yaml calls).",
    "push": "Send missing assets and manifests to the remote.",
    "fetch": "Bring missing assets and manifests from the remote.",
    "verify": "Check that a commit's pins hold.",
    "trace": "Show which data made a model, or any other output.",
    "uses": "Show which versions, splits and models used an asset.",
    "rebuild-index": "Rebuild the local index from the packs.",
    "doctor": "Check the set-up and say how to fix it.",
}
# Called by other programs, or by other verbs.
HIDDEN = ("hook", "textconv", "merge-driver", "merge-lock", "ask-remote")
# Verbs of which a part starts before the rest is loaded: the module whose `begin` starts it.
_EARLY = {"status": "early_walk", "rollback": "early_look"}


class Verbs(click.Group):
    """A group whose commands are imported one by one, on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS and cmd_name not in HIDDEN:
            return None
        # Collecting garbage among what is being loaded finds none: 5 % of a short verb's time.
        gc.disable()
        module = importlib.import_module(f"datapin.cli.commands.{cmd_name.replace('-', '_')}")
        gc.freeze()
        gc.enable()
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in (*VERBS, *HIDDEN) and not args[0].startswith("-"):
            close = [verb for verb in VERBS if verb.startswith(args[0][:3])]
            advice = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{advice}")
        if args and args[0] in _EARLY and not ctx.resilient_parsing:
            importlib.import_module(f"datapin.cli.{_EARLY[args[0]]}").begin(ctx.params.get("folder"), args[1:])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="datapin")
@click.option("--cd", "folder", metavar="DIR", help="Run as if started in DIR.")
def root(folder: str | None) -> None:
    """Data versioning for Git and DVC: datasets of rows and assets, pinned by commits.

    DATASET is a manifest folder such as data/raw. DATASET@VERSION is that dataset at a Git revision (@v1), N versions
    back (@~1), or by the first digits of its digest (@3fa9c1d2).
    """
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as error:
            raise errors.Usage(f"--cd {folder}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; without `arguments`, which a program gives, end the process."""
    forget_current_folder()
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        code = _run(words)
        if sys.stdout:
            sys.stdout.flush()
    except errors.DatapinError as error:
        code = _tell(error.kind, error.message, error.hint, error.exit_code, error.details(), as_json=as_json)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        verb = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "datapin"
        code = _tell(
            "usage",
            error.format_message(),
            f"`{verb} --help` lists the options",
            errors.EXIT_USAGE,
            {},
            as_json=as_json,
        )
    except (KeyboardInterrupt, EOFError, click.Abort):
        code = _tell("interrupted", "interrupted", "", errors.EXIT_INTERRUPTED, {}, as_json=as_json)
    except OSError as error:
        code = _tell_system(error, as_json=as_json)
    except Exception:  # noqa: BLE001  # the last door
        traceback.print_exc()  # ours to mend: whoever reports it needs all of it
        code = errors.EXIT_BUG
    code = code if isinstance(code, int) else 0
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _run(words: list[str]) -> Any:
    # Not click's own main: it ends with code 1, and without a word, whichever pipe broke.
    if "_DATAPIN_COMPLETE" in os.environ:
        return root.main(args=words, prog_name="datapin", standalone_mode=False)
    try:
        with root.make_context("datapin", words) as context:
            return root.invoke(context)
    except (KeyboardInterrupt, EOFError):
        with suppress(OSError):
            click.echo(err=True)  # closes the line in which a terminal shows ^C
        raise


def _tell_system(error: OSError, *, as_json: bool) -> int:
    if not _is_of_output(error):
        path = str(error.filename) if error.filename is not None else "a file"
        failed = errors.StorageFailed(action="use", path=path, problem=error.strerror or str(error))
        return _tell(failed.kind, failed.message, failed.hint, failed.exit_code, failed.details(), as_json=as_json)
    # A reader that went away (`datapin ls … | head`) is no error of ours.
    code = 0
    if not isinstance(error, BrokenPipeError):
        lost = errors.OutputLost(problem=error.strerror or str(error))
        code = _tell(lost.kind, lost.message, lost.hint, lost.exit_code, {}, as_json=False)
    _give_up_output()
    return code


def _is_of_output(error: OSError) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code in (main.__code__, click.echo.__code__)


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


def _tell(kind: str, message: str, hint: str, code: int, details: dict[str, Any], *, as_json: bool) -> int:
    try:
        if as_json:
            document = {"error": {**details, "kind": kind, "message": message, "hint": hint}}
            click.echo(json.dumps(document, default=str, ensure_ascii=False))
        else:
            click.echo(f"error: {_printable(message)}", err=True)
            if hint:
                click.echo(f"hint:  {_printable(hint)}", err=True)
    except OSError:
        _give_up_output()  # the code says it
    return code


def _give_up_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except OSError:  # what is left of it would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _printable(text: str) -> str:
    # Names come from files: control characters must not reach a terminal and change what it shows.
    return "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in text)


if __name__ == "__main__":
    main()

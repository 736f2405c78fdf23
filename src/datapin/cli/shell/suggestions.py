"""What somebody may have meant who typed a verb that there is not: a neighbour's verb, or a slip."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from datapin.base.errors import Usage

_CLOSE = 0.6

# Verbs of Git, DVC, git-lfs, git-annex, conda and the shell: what does the same here, or who does it.
_NEIGHBOURS = {
    "annotate": "`datapin log DATASET --key KEY` says who changed a row",
    "blame": "`datapin log DATASET --key KEY` says who changed a row",
    "branch": "branches are Git's: `git branch`; the data follows with `datapin fetch`",
    "cat": "`datapin ls DATASET` lists rows; `datapin checkout DATASET --into DIR` writes the files",
    "check": "`datapin verify` checks what a commit pins, `datapin doctor` the set-up",
    "cherry-pick": "commits are Git's: `git cherry-pick`; datapin merges the rows",
    "ci": "commits are Git's: `git commit`; a commit pins the data",
    "clone": "clone with `git clone URL`, then `datapin init` and `datapin fetch` in it",
    "co": "`datapin checkout DATASET --into DIR` writes files, `git checkout` switches branches",
    "commit": "commits are Git's: `git add data/raw.dvc && git commit`; a commit pins the data",
    "config": "settings are in .datapin/config.toml; remotes are DVC's: `dvc remote add`",
    "cp": "`datapin add FOLDER --to DATASET` makes another dataset; equal files are stored once",
    "dag": "`datapin trace PATH` shows what made an output; `dvc dag` draws the stages",
    "delete": "`datapin remove DATASET --where SQL` removes rows",
    "describe": "`datapin show DATASET` summarises a dataset",
    "download": "`datapin fetch` brings what is missing here",
    "edit": "`datapin update DATASET --set COL=SQL` sets columns of rows",
    "exp": "experiments are DVC's: `dvc exp run`",
    "export": "`datapin checkout DATASET --into DIR` writes a dataset's files",
    "find": "`datapin ls DATASET --where SQL` finds rows, `datapin uses ASSET` where one is used",
    "freeze": "stages are DVC's: `dvc freeze STAGE`",
    "gc": "nothing is deleted by itself: every version that Git knows stays readable",
    "get": "`datapin fetch DATASET` brings the assets, `datapin checkout DATASET --into DIR` writes files",
    "head": "`datapin ls DATASET --limit 10` shows the first rows",
    "history": "`datapin log DATASET` shows a dataset's versions",
    "import": "`datapin add FOLDER --to DATASET --metadata FILE` adds files and their table",
    "import-url": "`dvc import-url URL FOLDER` brings files, then `datapin add FOLDER --to DATASET`",
    "info": "`datapin show DATASET` summarises a dataset",
    "install": "`datapin init --hooks` installs Git's hooks",
    "list": "`datapin ls DATASET` lists rows; `datapin status` lists datasets",
    "lock": "nothing has to be locked: datapin merges rows by key and column",
    "ls-files": "`datapin ls DATASET` lists rows, keys first",
    "ls-tree": "`datapin ls DATASET@REV` lists the rows of a version",
    "merge": "merge with `git merge`; datapin merges the rows, `datapin resolve` decides conflicts",
    "mv": "`datapin add FOLDER --to NEW`, then `dvc remove OLD.dvc`; equal files are stored once",
    "pull": "`datapin fetch` brings what is missing here; `git pull` brings the commits",
    "rebase": "commits are Git's: `git rebase`; datapin merges the rows",
    "remote": "remotes are DVC's: `dvc remote add -d NAME URL`",
    "repro": "`dvc repro` runs the pipeline; it calls `datapin run`",
    "reset": "`datapin rollback DATASET --to VERSION` brings a dataset back as it was",
    "revert": "`datapin rollback DATASET --to VERSION` brings a dataset back as it was",
    "rm": "`datapin remove DATASET --where SQL` removes rows; `dvc remove DATASET.dvc` a whole dataset",
    "search": "`datapin ls DATASET --where SQL` finds rows",
    "select": "`datapin query \"SELECT … FROM 'data/raw'\"` runs SQL",
    "sql": "`datapin query \"SELECT … FROM 'data/raw'\"` runs SQL",
    "st": "`datapin status` shows what is not added, committed, here or pushed",
    "stage": "stages are in dvc.yaml: `dvc stage add`; `datapin run STAGE` runs one",
    "stash": "commit the pointer first; `git stash` takes what Git tracks",
    "switch": "branches are Git's: `git switch`; the data follows with `datapin fetch`",
    "sync": "`datapin push` sends what the remote lacks, `datapin fetch` brings what is missing here",
    "tag": "tags are Git's: `git tag v1`; then DATASET@v1 names the data",
    "track": "`datapin add FOLDER --to DATASET` tracks files",
    "unlock": "nothing has to be unlocked: `datapin checkout DATASET --into DIR` writes files to edit",
    "upload": "`datapin push` sends what the remote lacks",
    "version": "`datapin --version` shows it",
    "view": "`datapin show DATASET` summarises, `datapin diff DATASET --html FILE` shows pictures",
    "whereis": "`datapin status -r` asks the remote what it holds",
}


def unknown_verb(word: str, known: Sequence[str], *, asked: str = "datapin") -> Usage:
    """The error for a word after `asked` that there is not, with what was probably meant."""
    what = f"{word!r} is not a datapin command{'' if asked == 'datapin' else ', nor a page of the guide'}"
    advice = _NEIGHBOURS.get(word.lower())
    if advice is None:
        close = [name for name in known if word and name.startswith(word.lower())][:3]
        close = close or difflib.get_close_matches(word.lower(), list(dict.fromkeys(known)), n=3, cutoff=_CLOSE)
        advice = f"did you mean {' or '.join(f'`{asked} {name}`' for name in close)}?" if close else _neighbour(word)
    return Usage(what, advice or "`datapin help` lists the commands")


def _neighbour(word: str) -> str:
    close = difflib.get_close_matches(word.lower(), _NEIGHBOURS, n=1, cutoff=0.75)
    return _NEIGHBOURS[close[0]] if close else ""

"""Our part of a hook, as text: put in, found, taken out."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.githooks.block import block_of, has_block, is_current, is_shell, with_block, without_block

BLOCK = block_of("pre-push", None)
DVCS = "#!/bin/sh\nexec dvc git-hook pre-push $@\n"
USERS = "#!/usr/bin/env bash\nset -eu\n\nwhile read -r line; do echo $line; done\n"


@pytest.mark.parametrize(
    "old", [DVCS, USERS, "#!/bin/sh\n\n# notes\n", "echo no shebang\n", "#!/bin/sh\nno newline at the end"]
)
def test_the_part_stands_before_everything_else_and_comes_out_without_a_trace(old: str) -> None:
    new = with_block(old, BLOCK)
    assert new.index(BLOCK) == (old.index("\n") + 1 if old.startswith("#!") else 0)
    assert without_block(new) == old
    assert with_block(new, BLOCK) == new
    assert is_current(new, "pre-push")


def test_a_new_hook_is_a_shell_script_and_nothing_is_left_without_our_part() -> None:
    new = with_block("", BLOCK)
    assert new == f"#!/bin/sh\n{BLOCK}"
    assert without_block(new) == ""


def test_an_older_part_is_replaced_wherever_it_stands() -> None:
    older = BLOCK.replace("datapin_refs=$(cat)", "datapin_refs=$(head -1)")
    moved = f"{USERS}{older}echo after\n"
    assert has_block(moved)
    assert not is_current(moved, "pre-push")
    assert with_block(moved, BLOCK) == with_block(f"{USERS}echo after\n", BLOCK)
    assert not is_current(f"{USERS}{BLOCK}", "pre-push")


def test_two_parts_become_one() -> None:
    twice = with_block(DVCS, BLOCK).replace(DVCS.splitlines()[1], f"{BLOCK}{DVCS.splitlines()[1]}")
    assert without_block(twice) == DVCS


def test_a_part_without_its_end_is_not_taken_for_ours() -> None:
    cut = DVCS.replace("exec", f"{BLOCK.splitlines()[0]}\nexec")
    assert without_block(cut) == cut
    assert not has_block(cut)


def test_the_fallback_is_quoted_and_does_not_make_a_part_outdated() -> None:
    block = block_of("pre-push", Path("/opt/it's here/bin/git-datapin"))
    assert "command -v '/opt/it'\"'\"'s here/bin/git-datapin'" in block
    assert is_current(with_block(USERS, block), "pre-push")


@pytest.mark.parametrize(
    "first",
    [
        "#!/bin/sh",
        "#!/bin/sh -e",
        "#! /bin/bash",
        "#!/usr/bin/env bash",
        "#!/usr/bin/env -S dash -e",
        "#!/usr/bin/zsh",
        "",
        "#!sh",
    ],
)
def test_shells_are_known(first: str) -> None:
    assert is_shell(f"{first}\necho\n")


@pytest.mark.parametrize(
    "text",
    [
        "#!/usr/bin/env python3\n",
        "#!/usr/bin/perl -w\n",
        "#!/usr/bin/env node\n",
        "\x7fELF\x02\0\0",
        "#!/opt/fish\n",
        "#!/usr/bin/pwsh\n",
    ],
)
def test_what_is_no_shell_script_is_known(text: str) -> None:
    assert not is_shell(text)

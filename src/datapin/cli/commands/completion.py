"""`datapin completion`."""

from __future__ import annotations

import click

from datapin.cli.render import emit_json
from datapin.cli.shell.asked import common_options
from datapin.cli.shell.completion import SHELLS, script


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@common_options
def command(shell: str, as_json: bool, quiet: bool) -> None:
    """Print what makes a shell complete datapin's commands.

    Also their options, and datasets, columns and versions. Switch it on with one of

    \b
      bash: echo 'eval "$(datapin completion bash)"' >> ~/.bashrc
      zsh:  echo 'eval "$(datapin completion zsh)"' >> ~/.zshrc
      fish: datapin completion fish > ~/.config/fish/completions/datapin.fish
    """
    text = script(shell)
    if as_json:
        emit_json({"shell": shell, "script": text})
    else:
        click.echo(text)

"""`datapin help`."""

from __future__ import annotations

import click

from datapin.base.errors import Usage
from datapin.cli.render import emit_json
from datapin.cli.shell.asked import common_options
from datapin.cli.shell.guide_pages import page_names, page_text
from datapin.cli.shell.pager import start_pager
from datapin.cli.shell.suggestions import unknown_verb


@click.command("help")
@click.argument("topic", required=False, metavar="[COMMAND|PAGE[#SECTION]]")
@common_options
@click.pass_context
def command(context: click.Context, topic: str | None, as_json: bool, quiet: bool) -> None:
    """Explain a command, or show a page of the guide.

    `datapin help guide` lists the pages; `man datapin` shows the same text where the manual pages are installed.
    """
    text = _text(context.find_root(), topic)
    if as_json:
        emit_json({"topic": topic, "text": text})
        return
    start_pager()
    click.echo(text)


def _text(root: click.Context, topic: str | None) -> str:
    if topic is None:
        return root.get_help()
    verbs = root.command
    assert isinstance(verbs, click.Group)
    found = verbs.get_command(root, topic)
    if found is not None:
        with click.Context(found, info_name=topic, parent=root) as context:
            return context.get_help()
    text = page_text(topic)
    if text is not None:
        return text
    if topic.partition("#")[0] in page_names():
        raise Usage(
            f"{topic}: the page has no such section", f"`datapin help {topic.partition('#')[0]}` shows all of it"
        )
    raise unknown_verb(topic, [*verbs.list_commands(root), *page_names()], asked="datapin help")

"""Puts a page together: its template, the style that all pages share, and the hash that lets no other style in."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template

from datapin.base.errors import StorageFailed
from datapin.base.files import publish_bytes


def publish_page(path: Path, template: str, **parts: object) -> None:
    """Write the template with its parts, which are HTML already. Raises StorageFailed."""
    style = _packaged("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = Template(_packaged(template)).substitute(style=style, style_hash=f"sha256-{digest}", **parts)
    try:
        publish_bytes(path, page.encode())
    except OSError as error:
        raise StorageFailed("write", str(path), error.strerror or str(error)) from None


def _packaged(name: str) -> str:
    return (files("datapin.verbs.history.page") / name).read_text(encoding="utf-8")

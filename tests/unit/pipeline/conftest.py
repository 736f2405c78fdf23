"""A fresh workspace for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from workspaces import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.make(tmp_path / "repo")

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.base.errors import BadSettings
from datapin.base.settings import read_settings


def write(root: Path, name: str, text: str) -> None:
    (root / ".datapin").mkdir(exist_ok=True)
    (root / ".datapin" / name).write_text(text)


def test_without_files_the_defaults_hold(tmp_path: Path) -> None:
    settings = read_settings(tmp_path)
    assert settings.store.dir is None
    assert settings.store.large_asset == 4 << 20


def test_the_local_file_overrides_single_names(tmp_path: Path) -> None:
    write(tmp_path, "config.toml", 'remote = "lab"\n[store]\npack_size = 8192\n')
    write(tmp_path, "config.local.toml", '[store]\ndir = "/big"\n')
    settings = read_settings(tmp_path)
    assert (settings.remote, settings.store.dir, settings.store.pack_size) == ("lab", "/big", 8192)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[store]\npack_sise = 1\n", "store.pack_sise"),
        ("[store]\npack_size = 1\n", "store.pack_size"),
        ('jobs = "two"\n', "jobs"),
        ("jobs = [\n", "not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    write(tmp_path, "config.toml", text)
    with pytest.raises(BadSettings, match=named) as caught:
        read_settings(tmp_path)
    assert caught.value.exit_code == 10

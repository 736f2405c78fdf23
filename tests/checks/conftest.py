"""A test that plants a fault says which one by a mark, and must see it found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.healing import unhealed
from checks.planted import Planted, fault_of
from clones import ENVIRONMENT


@pytest.fixture(autouse=True)
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    """The faults that the marks of this test name. With --hints, the hints of what was seen are run too."""
    faults = Planted(fault_of(mark) for mark in request.node.iter_markers("planted"))
    yield faults
    assert faults.was_seen or not faults.faults, "a planted fault was not looked for: call planted.seen(findings)"
    place = request.node.funcargs.get("repo") or request.node.funcargs.get("pushed")
    if faults.found and not faults.by_hand and place is not None and request.config.getoption("--hints"):
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        left = unhealed(place.path, faults.found)
        assert not left, "\n".join(left)

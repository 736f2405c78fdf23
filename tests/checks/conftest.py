"""A test that plants a fault says which one by a mark, and must see it found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.planted import Planted, fault_of


@pytest.fixture(autouse=True)
def planted(request: pytest.FixtureRequest) -> Iterator[Planted]:
    """The faults that the marks of this test name."""
    faults = Planted(fault_of(mark) for mark in request.node.iter_markers("planted"))
    yield faults
    assert faults.was_seen or not faults.faults, "a planted fault was not looked for: call planted.seen(findings)"

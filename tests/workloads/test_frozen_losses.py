"""Short runs have the losses that they had: bit for bit on a machine of the same kind, nearly on
any other."""

from __future__ import annotations

import json

import pytest
from frozen_runs import FILE, losses, machine

NEARLY = 1e-4
"""Relative difference that kernels of another processor may make: without vector instructions it
is 1e-5 at most. SOAP's has no bound, since eigenvectors of equal eigenvalues are any."""


def test_short_runs_have_the_losses_they_had() -> None:
    frozen = json.loads(FILE.read_text(encoding="utf-8"))
    found = losses()
    assert found.keys() == frozen["losses"].keys()
    for name, each in found.items():
        if "soap" not in name:
            kept = numbers(frozen["losses"][name])
            assert numbers(each) == pytest.approx(kept, rel=NEARLY), name
    if machine() == frozen["machine"]:
        assert found == frozen["losses"]


def numbers(run: str) -> list[float]:
    return [float.fromhex(each) for each in run.split()]

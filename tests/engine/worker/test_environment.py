"""What a worker says about the code and the machine that a result comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import sweeper
from sweeper.engine.worker.environment import environment


def test_results_name_the_commit_of_the_checkout_that_made_them() -> None:
    root = Path(sweeper.__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("the tests run on an installed package")
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert environment(2)["commit"].removesuffix("-dirty").endswith(head)
    assert environment(2)["threads"] == 2

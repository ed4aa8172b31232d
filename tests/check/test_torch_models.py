"""The check of a torch model of one's own, given as a function of its width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.check import coordinate_check
from sweeper.errors import RequestError


def _maker(*, wrong: str = "") -> Callable[[int], Any]:
    def make(width: int) -> Any:
        ratio = width / 32
        model = nn.Sequential(
            nn.Embedding(11, width), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 5)
        )
        hidden, readout = model[1], model[3]
        nn.init.normal_(hidden.weight, std=width**-0.5)
        nn.init.zeros_(readout.weight)
        if wrong == "init":
            nn.init.normal_(hidden.weight, std=0.2)
        rates = {
            model[0].weight: 1e-3,
            hidden.weight: 1e-3 / ratio,
            readout.weight: 1e-3 if wrong == "rate" else 1e-3 / ratio,
            hidden.bias: 1e-3,
            readout.bias: 1e-3,
        }
        groups = [{"params": [each], "lr": rate} for each, rate in rates.items()]
        batches = [(torch.randint(0, 11, (64,)), torch.randint(0, 5, (64,))) for _ in range(10)]
        return model, torch.optim.AdamW(groups, weight_decay=0.0), batches

    return make


def test_a_sound_model_passes_and_wrong_ones_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    widths = [32, 64, 128]
    assert coordinate_check(_maker(), widths, seeds=3).verdict != "fail"
    out = capsys.readouterr().out
    assert "role" in out and "embedding" in out and "readout" in out

    rate = coordinate_check(_maker(wrong="rate"), widths, seeds=3)
    assert rate.variants[0].causes == (("readout", "update"),)
    said = capsys.readouterr().out
    assert "readout update (3.weight)" in said
    assert "its learning rate multiplier is missing; it would have to go like width^-" in said

    init = coordinate_check(_maker(wrong="init"), widths, seeds=3)
    assert init.variants[0].causes == (("hidden", "initial_rms"),)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(RequestError, match="at least two different"):
        coordinate_check(_maker(), [32, 32])
    with pytest.raises(RequestError, match=r"\(model, optimizer, batches\)"):
        coordinate_check(lambda width: nn.Linear(width, 2), [8, 16])  # type: ignore[arg-type,return-value]
    with pytest.raises(RequestError, match="the batches ended before step 11 of 20"):
        coordinate_check(_maker(), [8, 16], steps=20, seeds=2)
    with pytest.raises(RequestError, match="returned 2 things; it has to return"):
        coordinate_check(lambda width: _maker()(width)[:2], [32, 64])
    with pytest.raises(RequestError, match="whole numbers of at least 1"):
        coordinate_check(_maker(), [0, 64])
    with pytest.raises(RequestError, match="changes with the width"):
        coordinate_check(lambda width: _maker()(8), [8, 16], seeds=2)


def test_tensors_that_no_step_changes_are_not_judged_by_their_updates() -> None:
    def make(width: int) -> Any:
        model, _, batches = _maker()(width)
        return model, torch.optim.AdamW(model[3].parameters(), lr=1e-3 * 32 / width), batches

    found = coordinate_check(make, [32, 64], seeds=3).variants[0]
    rows = {row.layer for row in found.rows if row.quantity == "update"}
    assert rows == {"3.weight", "3.bias"}

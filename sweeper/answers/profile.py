"""Profiles: the loss along an effective hyperparameter, with all that it is made of tuned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweeper.analysis import SAME_LOG2_DECIMALS, Floats

ROUNDING = 1 / 64
"""Octaves by which products of settings may differ that were written with three digits: two
factors are each off by up to half a percent."""


def without_rounding(values: Floats) -> Floats:
    """Returns values of an effective hyperparameter, those made one that rounding sets apart.

    Tables hold settings with a few digits, so that products which mean one value differ in the
    last. Neighbours within :data:`ROUNDING` are one, the middle of the lowest and the highest of
    them. Where a chain of neighbours is longer than twice that, the values were drawn and not
    laid on a grid, and all stay as they are.

    Args:
        values: shape [n]; what is not positive and finite stays as it is.
    """
    out = values.astype(np.float64)
    usable = np.isfinite(out) & (out > 0)
    places, index = np.unique(np.log2(out[usable]), return_inverse=True)
    clusters = np.split(places, np.flatnonzero(np.diff(places) > ROUNDING) + 1)
    if any(len(cluster) and np.ptp(cluster) > 2 * ROUNDING for cluster in clusters):
        return out
    middles = [np.full(len(c), (c[0] + c[-1]) / 2) for c in clusters if len(c)]
    if middles:
        moved = 2.0 ** np.concatenate(middles)[index]
        alone = np.concatenate([np.full(len(c), len(c) == 1) for c in clusters])[index]
        out[usable] = np.where(alone, out[usable], moved)
    return out


def profiled(
    frame: pd.DataFrame, *, place: Sequence[str], axes: Sequence[str], parts: Sequence[str]
) -> pd.DataFrame:
    """Returns, of all combinations of the parts at one place, the rows of the best one.

    Learning rate times weight decay, say, has one value for many pairs of the two; the optimum
    of the product is that of the lowest loss which any of them reaches. The best combination has
    the lowest mean loss over its seeds; a diverged seed makes it infinite, and combinations
    without a result count last. Ties go to the smallest values of the parts.

    Args:
        frame: trials with ``loss``, ``outcome`` and the columns below.
        place: columns that set one curve apart from another: variant, settings and scale.
        axes: columns of the effective hyperparameters, positive numbers; two values are one
            where their log2 agree as on any grid.
        parts: columns that the effective hyperparameters are made of.
    """
    where = [frame[name] for name in place] + [_log2(frame[name]) for name in axes]
    here = frame.groupby(where, dropna=False, sort=False).ngroup()
    pair = frame.groupby([here, *(frame[name] for name in parts)], dropna=False).ngroup()
    if not pair.groupby(here).nunique().gt(1).any():
        return frame
    mean = _losses(frame).groupby(pair).mean()
    ranking = pd.DataFrame({"here": here, "pair": pair}).drop_duplicates()
    # Pairs are numbered by rising parts, so a stable order settles ties the same way always.
    ranking = ranking.assign(mean=ranking["pair"].map(mean)).sort_values(
        ["here", "mean", "pair"], na_position="last"
    )
    best = ranking.drop_duplicates("here")["pair"]
    return frame[pair.isin(best)]


def _log2(values: pd.Series[float]) -> pd.Series[float]:
    numbers = pd.to_numeric(values).astype("float64")
    return pd.Series(np.round(np.log2(numbers), SAME_LOG2_DECIMALS), index=values.index)


def _losses(frame: pd.DataFrame) -> pd.Series[float]:
    """Returns the loss of every row, +inf if it diverged, NaN without a result."""
    loss = frame["loss"].where(frame["outcome"] == "completed")
    return loss.mask(frame["outcome"] == "diverged", np.inf)

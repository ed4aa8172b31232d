"""Powers whose bits do not depend on how many numbers are raised at once."""

from __future__ import annotations

from torch import Tensor


def raised(values: Tensor, exponent: float) -> Tensor:
    """Returns values ** exponent, in the number format of the values.

    A vectorised power rounds in another way than a scalar one, and which of a tensor's numbers
    get which depends on how many there are: on the pack, for one number a matrix. Both are right
    to within a few units of the last place of double precision, so they agree once rounded to
    float32; in float64 they do not.
    """
    return (values.double() ** exponent).to(values.dtype)

"""The statement about two hyperparameters of a study at once."""

from __future__ import annotations

from sweeper.analysis.joint_statement import JointStatement, joint_statement
from sweeper.errors import RequestError
from sweeper.report.inquiry import Inquiry


def joint_answer(inquiry: Inquiry, *, allow_holes: bool = False) -> JointStatement:
    """Returns the joint optima of the two hyperparameters that were asked for.

    Args:
        inquiry: made with two hyperparameters.
        allow_holes: answer although neighbours of a minimum are missing.

    Raises:
        RequestError: not two hyperparameters were asked for.
        AnalysisRefusal: no trial has a result, or no scale has a joint optimum.
    """
    if len(inquiry.asked) != 2:
        raise RequestError(
            f"a joint optimum is of two hyperparameters, not of {len(inquiry.asked)}; name two, "
            "for example learning_rate,weight_decay"
        )
    inquiry.require_results()
    view = inquiry.view(*inquiry.asked)
    one, other = inquiry.asked
    return joint_statement(
        view.rows,
        study=inquiry.study.name,
        scale=inquiry.scale,
        hyperparameters=(one, other),
        settings=view.settings,
        allow_holes=allow_holes,
        notes=view.notes,
    )

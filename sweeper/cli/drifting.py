"""`sweeper drift`: optima, drift, regret and verdicts, of one hyperparameter or of two at once."""

from __future__ import annotations

from sweeper.analysis.estimator import DEFAULT
from sweeper.cli.answers import name_of
from sweeper.cli.joint import joint_command
from sweeper.cli.printing import print_json
from sweeper.cli.statements import claims_broken, print_statements
from sweeper.errors import RequestError
from sweeper.report.answers import statements_of
from sweeper.report.estimates import keep_estimates
from sweeper.store.store import Store


def drift_command(
    study: str,
    *,
    store: str | None,
    hyperparameter: str | None,
    joint: str | None,
    scale: str | None,
    horizon: str | None,
    estimator: str,
    allow_holes: bool,
    strict: bool,
    as_json: bool,
    keys: bool,
) -> int:
    """Prints optima, drift, regret and verdicts; returns the exit code.

    Raises:
        RequestError: ``joint`` stands beside an option that is about one hyperparameter, or
            keys are asked for without JSON.
    """
    if keys and not as_json:
        raise RequestError("--keys names trials in the JSON; add --json, or leave it out")
    with Store.open(store, create=False) as opened:
        name = name_of(study)
        if joint is not None:
            if hyperparameter is not None or strict or estimator != DEFAULT:
                raise RequestError(
                    "--joint names both hyperparameters, fits a paraboloid and judges no claim; "
                    "leave --hyperparameter, --estimator and --strict out"
                )
            joint_command(
                opened,
                name,
                joint,
                scale=scale,
                horizon=horizon,
                allow_holes=allow_holes,
                as_json=as_json,
                keys=keys,
            )
            return 0
        statements = statements_of(
            opened,
            name,
            hyperparameter=hyperparameter,
            scale=scale,
            horizon=horizon,
            estimator=estimator,
            allow_holes=allow_holes,
        )
        # The table of estimates holds the study's own question: its scale, the end of its runs.
        if estimator == DEFAULT and scale is None and horizon is None:
            keep_estimates(opened, statements)
    if as_json:
        documents = [statement.to_json(keys=keys) for statement in statements]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        print_statements(statements)
    return 1 if strict and claims_broken(statements) else 0

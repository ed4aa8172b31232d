"""Runs of a tracking server of MLflow, over its REST interface."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sweeper.errors import RequestError
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.mlflow import Collection
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.web import Site

PAGE = 1000
"""Runs, and experiments, of one answer."""

POINTS = 25_000
"""Values of a metric of one answer."""

API = "/api/2.0/mlflow"


def read_server(address: str, wanted: Wanted, environ: Mapping[str, str] = os.environ) -> Tracked:
    """Returns the runs of a tracking server.

    Args:
        address: ``http://host:port``; as copied from a browser at an experiment, that one alone.
        wanted: what is asked of them.
        environ: may hold user and password, or a token, under the names that MLflow's own client
            looks for: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN.

    Raises:
        RequestError: the server refuses, or is none of MLflow's.
        EnvironmentFault: it is out of reach or out of order.
    """
    parts = urlsplit(address)
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    with Site(
        base,
        login=_login(address, environ),
        token=environ.get("MLFLOW_TRACKING_TOKEN"),
        refused="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN, to those of the server",
    ) as site:
        try:
            return _Reader(site, wanted).read(_experiment_in(parts.fragment))
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise _no_mlflow(site) from fault


def _login(address: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    parts = urlsplit(address)
    user = parts.username or environ.get("MLFLOW_TRACKING_USERNAME")
    password = parts.password or environ.get("MLFLOW_TRACKING_PASSWORD")
    return None if not user else (unquote(user), unquote(password or ""))


def _experiment_in(fragment: str) -> str | None:
    """The experiment of a page, ``#/experiments/3/runs``."""
    _, experiments, rest = fragment.partition("/experiments/")
    return rest.partition("/")[0].partition("?")[0] if experiments and rest else None


class _Reader:
    def __init__(self, site: Site, wanted: Wanted) -> None:
        self._site = site
        self._collection = Collection(wanted)

    def read(self, experiment: str | None) -> Tracked:
        """Returns the runs of one experiment, or of all."""
        names = {
            str(each["experiment_id"]): str(each["name"])
            for each in self._pages("/experiments/search", {"max_results": PAGE}, "experiments")
            if experiment in (None, str(each["experiment_id"]))
        }
        if experiment is not None and not names:
            raise RequestError(f"{self._site.address}: has no experiment {experiment}")
        taken = [number for number, name in names.items() if self._collection.takes(name)]
        for number in taken:
            asked = {"experiment_ids": [number], "max_results": PAGE}
            for found in self._pages("/runs/search", asked, "runs"):
                self._add(names[number], found)
        return self._collection.found(self._site.address)

    def _add(self, experiment: str, found: Mapping[str, Any]) -> None:
        info, data = found["info"], found.get("data", {})
        run_id = str(info.get("run_id") or info["run_uuid"])
        run = self._collection.add(experiment, run_id, info.get("run_name"), info["status"])
        for kind in ("params", "tags"):
            for each in data.get(kind, ()):
                self._collection.describe(run, kind, each["key"], each.get("value", ""))
        for each in data.get("metrics", ()):
            if self._collection.follows(each["key"]):
                self._follow(run, run_id, each["key"])
            else:
                self._log(run, each)

    def _follow(self, run: Run, run_id: str, key: str) -> None:
        asked = {"run_id": run_id, "metric_key": key, "max_results": POINTS}
        for point in self._pages("/metrics/get-history", asked, "metrics"):
            self._log(run, {"key": key, **point})

    def _log(self, run: Run, point: Mapping[str, Any]) -> None:
        # JSON of protobuf has words for NaN and infinities, texts for 64 bits, and leaves 0 out.
        step, value = int(point.get("step", 0)), float(point.get("value", 0.0))
        self._collection.log(run, point["key"], step, value)

    def _pages(self, path: str, asked: Mapping[str, Any], part: str) -> Iterator[Any]:
        """Yields what is in a part of all pages of an answer."""
        get = path.endswith("get-history")
        token: str | None = None
        while True:
            more = {} if token is None else {"page_token": token}
            ask = self._site.get if get else self._site.post
            answer = ask(f"{API}{path}", {**asked, **more})
            if not isinstance(answer, dict) or not isinstance(answer.get(part, []), list):
                raise _no_mlflow(self._site)
            yield from answer.get(part, [])
            last, token = token, answer.get("next_page_token") or None
            if token is None:
                return
            if token == last:
                raise RequestError(f"{self._site.address}: answers with the same page again")


def _no_mlflow(site: Site) -> RequestError:
    return RequestError(f"{site.address}: does not answer as a tracking server of MLflow does")

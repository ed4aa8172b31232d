"""Runs of a project of W&B, over the interface of its server.

They are asked for with the queries of W&B's own client, by plain HTTP: that client starts a server
process of its own for every program, brings 100 MB, and has no more to say than these queries,
which servers have to go on answering for as long as older clients are about.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.imports.cells import state as ended
from sweeper.imports.json_records import Clash, record_of
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers.runs import Run, Tracked
from sweeper.imports.trackers.web import REST_SECONDS, Site
from sweeper.secrets import redacted

STEP, STATE = "_step", "state"
"""Columns of every run."""

SCHEME = "wandb://"
PAGE = 50
"""Runs of one answer."""

POINTS = 1000
"""Points of one answer, as W&B's own client asks for them: where there are fewer, all of them."""

MANY = 10_000
"""Points that are asked for at once at first; a server may answer with fewer."""

_RUNS = """
query Runs($entity: String!, $project: String!, $cursor: String, $perPage: Int, $order: String) {
  project(name: $project, entityName: $entity) {
    runs(after: $cursor, first: $perPage, order: $order) {
      edges {
        node {
          name displayName state group jobType sweepName config summaryMetrics historyKeys
        }
      }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""

_HISTORY = """
query RunSampledHistory(
  $entity: String!, $project: String!, $name: String!, $specs: [JSONString!]!
) {
  project(name: $project, entityName: $entity) {
    run(name: $name) { sampledHistory(specs: $specs) }
  }
}
"""

_PAGES = ("https://wandb.ai/", "http://wandb.ai/", "https://www.wandb.ai/")


def address_of(text: str) -> str | None:
    """Returns the ``wandb://`` address that is meant by one, or by that of a page of wandb.ai;
    None for anything else."""
    page = next((page for page in _PAGES if text.startswith(page)), None)
    if page is not None:
        return SCHEME + text.removeprefix(page)
    return text if text.startswith(SCHEME) else None


@dataclass(frozen=True, kw_only=True)
class _Project:
    entity: str
    name: str
    sweep: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.entity}/{self.name}"


def _project(address: str) -> _Project:
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise RequestError(
            "wandb://: leave the key out of the address; it is taken from the environment, "
            "WANDB_API_KEY"
        )
    names = [unquote(each) for each in (parts.netloc, *parts.path.split("/")) if each]
    if len(names) < 2 or (len(names) > 2 and names[2] not in ("sweeps", "workspace", "table")):
        raise RequestError(
            f"{address}: write wandb://ENTITY/PROJECT, or wandb://ENTITY/PROJECT/sweeps/ID for "
            "the runs of one sweep"
        )
    sweep = names[3] if len(names) > 3 and names[2] == "sweeps" else None
    return _Project(entity=names[0], name=names[1], sweep=sweep)


def read_project(
    address: str,
    wanted: Wanted,
    environ: Mapping[str, str] = os.environ,
    *,
    rest: float = REST_SECONDS,
) -> Tracked:
    """Returns the runs of a project.

    Args:
        address: ``wandb://entity/project``, or with ``/sweeps/ID`` the runs of one sweep.
        wanted: what is asked of them.
        environ: holds WANDB_API_KEY, and WANDB_BASE_URL where the server is one's own.
        rest: seconds of the first rest before a busy server is asked again.

    Raises:
        RequestError: there is no key, the server refuses it, or knows no such project.
        EnvironmentFault: it is out of reach or out of order.
    """
    project = _project(address)
    key = environ.get("WANDB_API_KEY")
    if not key:
        raise RequestError(
            f"{project}: set WANDB_API_KEY to your key (the page /authorize of W&B shows it); it "
            "is sent to the server, and kept nowhere"
        )
    with Site(
        environ.get("WANDB_BASE_URL") or "https://api.wandb.ai",
        login=("api", key),
        refused="WANDB_API_KEY is not a key of this server, or may not read the project",
        rest=rest,
    ) as site:
        try:
            return _Reader(site, project, wanted, environ).read()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise RequestError(
                f"{site.address}: does not answer as a server of W&B does; WANDB_BASE_URL names "
                "another"
            ) from fault


class _Reader:
    def __init__(
        self, site: Site, project: _Project, wanted: Wanted, environ: Mapping[str, str]
    ) -> None:
        self._site, self._project, self._wanted = site, project, wanted
        self._environ = environ

    def read(self) -> Tracked:
        """Returns the runs, with their histories where steps are wanted."""
        runs: dict[str, Run] = {}
        for node in self._nodes():
            if self._project.sweep in (None, node.get("sweepName")):
                runs.setdefault(node["name"], self._run(node))
        return Tracked(path=str(self._project), runs=list(runs.values()), step=STEP, state=STATE)

    def _nodes(self) -> Iterator[Mapping[str, Any]]:
        cursor: str | None = None
        while True:
            asked = {"cursor": cursor, "perPage": PAGE, "order": "+created_at"}
            page = self._ask(_RUNS, asked)["runs"]
            for edge in page["edges"]:
                yield edge["node"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            last, cursor = cursor, page["pageInfo"]["endCursor"]
            if cursor == last:
                raise ValueError("the same page again")

    def _run(self, node: Mapping[str, Any]) -> Run:
        name = node.get("displayName") or node["name"]
        said: dict[str, str | Clash] = {"name": name, "id": node["name"]}
        said[STATE] = state = str(node.get("state") or "")
        for column, part in (("group", "group"), ("job_type", "jobType"), ("sweep", "sweepName")):
            if node.get(part):
                said[column] = str(node[part])
        config = _document(node.get("config"))
        said |= {f"config.{n}": value for n, value in record_of(config).items()}
        summary = record_of(_document(node.get("summaryMetrics")))
        run = Run(name=f"{name} ({node['name']})", said=said)
        keys = (node.get("historyKeys") or {}).get("keys") or {}
        step = summary.get(STEP)
        run.length = int(float(step)) if isinstance(step, str) and step else None
        if self._wanted.step is None:
            said |= {f"summary.{n}": value for n, value in summary.items()}
            return run
        run.last = {n: value for n, value in summary.items() if isinstance(value, str)}
        run.last.pop(STEP, None)
        if self._wanted.outcome is None and ended(state) in ("failed", "missing"):
            return run  # of which no curve is kept
        for column in dict.fromkeys([*keys, *run.last]):
            if column != STEP and self._wanted.follows(column):
                self._follow(run, node["name"], column, keys.get(column))
        return run

    def _follow(self, run: Run, name: str, column: str, key: Any) -> None:
        """Adds the history of a metric: in one answer where that is all of it, else in answers of
        so few steps that none of them is a sample."""
        points = self._points(name, column, {"samples": MANY})
        types = key.get("typeCounts") or () if isinstance(key, dict) else ()
        count = sum(int(each.get("count", 0)) for each in types)
        if len(points) < POINTS or (count and len(points) >= count):
            self._log(run, column, points)
            return
        start = 0
        while points:  # a sample may lack the last step, and so may what is said of the run
            end = max(int(points[-1][STEP]), run.length or 0, start) + 1
            for page in self._pages(name, column, start, end):
                self._log(run, column, page)
            start, points = end, self._points(name, column, {"minStep": end, "samples": POINTS})

    def _pages(
        self, name: str, column: str, low: int, high: int
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yields the points from one step to below another, in the order of the steps."""
        steps = {"minStep": low, "maxStep": high, "samples": POINTS}
        points = self._points(name, column, steps)
        if len(points) < POINTS or high - low <= POINTS:
            yield [point for point in points if low <= point[STEP] < high]
            return
        middle = (low + high) // 2
        yield from self._pages(name, column, low, middle)
        yield from self._pages(name, column, middle, high)

    def _log(self, run: Run, column: str, points: Sequence[Mapping[str, Any]]) -> None:
        for point in points:
            value = point.get(column)
            if value is not None and not isinstance(value, dict | list):
                run.log(column, int(point[STEP]), float(value), follow=True)

    def _points(
        self, name: str, column: str, more: Mapping[str, int]
    ) -> Sequence[Mapping[str, Any]]:
        specs = [json.dumps({"keys": [STEP, column], **more})]
        found = self._ask(_HISTORY, {"name": name, "specs": specs})
        points: Sequence[Mapping[str, Any]] = found["run"]["sampledHistory"][0]
        return points

    def _ask(self, query: str, asked: Mapping[str, Any]) -> Any:
        """Returns what the server says of the project."""
        project = self._project
        variables = {"entity": project.entity, "project": project.name, **asked}
        answer = self._site.post("/graphql", {"query": query, "variables": variables})
        if answer.get("errors"):
            said = redacted(str(answer["errors"][0].get("message", "no reason")), self._environ)
            raise EnvironmentFault(f"{project}: the server of W&B answers with an error: {said}")
        if answer["data"]["project"] is None:
            raise RequestError(
                f"{project}: there is no such project on {self._site.address}, or WANDB_API_KEY "
                "may not read it"
            )
        return answer["data"]["project"]


def _document(found: Any) -> dict[str, Any]:
    """A config or summary without W&B's own part and without media."""
    document = json.loads(found, strict=False) if isinstance(found, str) else found or {}
    return {
        name: value
        for name, value in document.items()
        if name not in ("_wandb", "wandb_version")
        and not (isinstance(value, dict) and "_type" in value)
    }

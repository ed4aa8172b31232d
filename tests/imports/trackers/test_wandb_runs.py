"""A project of W&B over the interface of its server, of which a stand-in answers here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tracked import Site, Take

from sweeper.errors import EnvironmentFault, RequestError
from sweeper.imports.sheet import Wanted
from sweeper.imports.trackers import wandb
from sweeper.imports.trackers.runs import Tracked
from sweeper.imports.trackers.wandb import address_of, read_project
from sweeper.store.store import Store

KEY = "0123456789abcdef0123"


class Server:
    """Answers the queries for runs and histories as W&B does: pages of runs by a cursor, samples
    of a history among those of its rows that have all keys."""

    def __init__(self, runs: list[dict[str, Any]], page: int = 2) -> None:
        self.runs, self.page = runs, page

    def __call__(self, path: str, sent: dict[str, Any]) -> Any:
        assert path == "/graphql"
        asked = sent["variables"]
        if (asked["entity"], asked["project"]) != ("team", "widths"):
            return {"data": {"project": None}}
        if "sampledHistory" in sent["query"]:
            (run,) = (each for each in self.runs if each["name"] == asked["name"])
            sampled = [self.sampled(run["rows"], json.loads(spec)) for spec in asked["specs"]]
            return {"data": {"project": {"run": {"sampledHistory": sampled}}}}
        start = int(asked["cursor"] or 0)
        some = self.runs[start : start + self.page]
        end = start + len(some)
        found = {
            "edges": [{"node": {k: v for k, v in run.items() if k != "rows"}} for run in some],
            "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(self.runs)},
        }
        return {"data": {"project": {"runs": found}}}

    @staticmethod
    def sampled(rows: list[dict[str, Any]], spec: dict[str, Any]) -> list[dict[str, Any]]:
        low, high = spec.get("minStep", 0), spec.get("maxStep", np.inf)
        found = [
            {key: row[key] for key in spec["keys"]}
            for row in rows
            if all(key in row for key in spec["keys"]) and low <= row["_step"] < high
        ]
        if len(found) <= spec["samples"]:
            return found
        places = np.random.default_rng(0).choice(len(found), spec["samples"], replace=False)
        return [found[place] for place in sorted(places)]


def run(
    name: str,
    lr: float,
    losses: list[Any],
    *,
    state: str = "finished",
    width: int = 64,
    every: int = 10,
    sweep: str | None = None,
) -> dict[str, Any]:
    rows = [{"_step": every * i, "val/loss": x, "tokens": 100 * i} for i, x in enumerate(losses)]
    rows += [{"_step": every * i + 1, "train/loss": 1.0} for i in range(len(losses))]
    summary: dict[str, Any] = {"_step": every * len(losses), "_wandb": {"runtime": 5}}
    summary["plot"] = {"_type": "image-file", "path": "x.png"}
    if losses:
        summary |= {"val/loss": losses[-1], "tokens": 100 * (len(losses) - 1), "train/loss": 1.0}
    config = {"lr": {"value": lr, "desc": None}, "model": {"value": {"width": width}}}
    keys = ("val/loss", "tokens", "train/loss")
    return {
        "name": f"id-{name}",
        "displayName": name,
        "state": state,
        "group": "g",
        "jobType": None,
        "sweepName": sweep,
        "config": json.dumps({**config, "_wandb": {"value": {"cli_version": "0.31"}}}),
        "summaryMetrics": json.dumps(summary),
        "historyKeys": {"keys": {key: {} for key in keys} if losses else {}, "lastStep": 30},
        "rows": sorted(rows, key=lambda row: row["_step"]),
    }


RUNS = [
    run("brisk-sun-1", 0.1, [4.0, 3.0, 2.5]),
    run("old-sea-2", 0.2, [4.0, 3.0, 2.0], sweep="s1"),
    run("lost-leaf-3", 0.4, [4.0, 9.0, "NaN"], state="crashed"),
    run("red-hill-4", 0.8, [4.0], state="crashed"),
    run("live-5", 1.6, [4.0, 3.9], state="running"),
    run("empty-6", 3.2, [], state="failed", width=64),
]


@pytest.fixture
def server(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", site.address)
    site.answer = Server(RUNS)
    return site


def read(server: Site, *names: str, step: str | None = None) -> Tracked:
    asked = Wanted(names=names, objective=names[0] if names else None, step=step)
    environ = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address}
    return read_project("wandb://team/widths", asked, environ, rest=0.001)


def test_the_runs_of_a_project_are_read_page_by_page(take: Take, server: Site) -> None:
    done = take("wandb://team/widths", "val/loss")

    assert done.file == "wandb://team/widths"
    assert done.trials == {"completed": 2, "diverged": 1, "failed": 2, "missing": 1}
    assert done.columns == {
        "width": "config.model.width",
        "lr": "config.lr",
        "val/loss": "summary.val/loss",
    }
    (note,) = (each for each in done.notes if "without a result" in each)
    assert note.endswith("by the column state: 1 crashed, 1 failed, 1 running")
    cursors = [sent["variables"]["cursor"] for _, sent in server.asked]
    assert cursors == [None, "2", "4"]


def test_histories_become_curves_where_steps_are_named(
    store: Store, take: Take, server: Site
) -> None:
    done = take("wandb://team/widths", "val/loss", step="_step", tokens="tokens")

    assert done.trials == {"completed": 2, "diverged": 1, "failed": 2, "missing": 1}
    assert done.curves == 3
    assert set(store.marks("theirs")["step"]) == {0, 10, 20}
    frame = store.frame("theirs").set_index("lr")
    assert frame["loss"][0.1] == 2.5 and frame["tokens"][0.1] == 200
    # A run that crashed has no curve that counts, so its history is not asked for.
    asked = {sent["variables"].get("name") for _, sent in server.asked}
    assert asked == {None, "id-brisk-sun-1", "id-old-sea-2"}


@pytest.mark.parametrize("gap", [0, 5000])
def test_a_long_history_is_read_in_pages_that_leave_nothing_out(
    server: Site, monkeypatch: pytest.MonkeyPatch, gap: int
) -> None:
    monkeypatch.setattr(wandb, "POINTS", 100)
    monkeypatch.setattr(wandb, "MANY", 300)
    losses = [1000.0 - i for i in range(950)]
    long = run("long", 0.1, losses, every=2)
    for row in long["rows"][1000:]:  # logged unevenly
        row["_step"] += gap
    steps = [row["_step"] for row in long["rows"] if "val/loss" in row]
    server.answer = Server([long])
    (found,) = read(server, "val/loss", step="_step").runs
    own, values = found.series["val/loss"].curve()
    assert own.tolist() == steps and values.tolist() == losses


@pytest.mark.parametrize(("points", "counted", "asked"), [(99, False, 1), (250, True, 1)])
def test_a_history_that_fits_in_one_answer_is_asked_for_once(
    server: Site, monkeypatch: pytest.MonkeyPatch, points: int, counted: bool, asked: int
) -> None:
    monkeypatch.setattr(wandb, "POINTS", 100)
    one = run("one", 0.1, [3.0] * points)
    if counted:
        types = [{"type": "number", "count": points}]
        one["historyKeys"]["keys"]["val/loss"] = {"typeCounts": types}
    server.answer = Server([one])
    (found,) = read(server, "val/loss", step="_step").runs
    assert found.series["val/loss"].seen == points
    assert len(server.asked) == 1 + asked  # one for the runs


def test_the_runs_of_a_sweep_alone_and_pages_of_the_site_are_understood(
    take: Take, server: Site
) -> None:
    assert take("wandb://team/widths/sweeps/s1", "val/loss").used == 1
    page = "https://wandb.ai/team/widths/sweeps/s1?nw=x"
    assert address_of(page) == "wandb://team/widths/sweeps/s1?nw=x"
    assert take(page, "val/loss").used == 1
    assert address_of("https://other.host/team/widths") is None


def test_the_key_is_sent_and_never_said(
    store: Store, take: Take, server: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    take("wandb://team/widths", "val/loss")
    assert all(headers["Authorization"].startswith("Basic ") for headers in server.headers)
    kept = json.dumps(
        [store.study("theirs").document, store.frame("theirs").to_dict()], default=str
    )
    assert KEY not in kept
    server.answer = lambda path, sent: (401, KEY.encode(), {})
    with pytest.raises(RequestError, match="WANDB_API_KEY is not a key of this server") as told:
        take("wandb://team/widths", "val/loss")
    assert KEY not in str(told.value)
    server.answer = lambda path, sent: {"errors": [{"message": f"bad key {KEY}"}], "data": None}
    with pytest.raises(EnvironmentFault, match="answers with an error: bad key") as fault:
        take("wandb://team/widths", "val/loss")
    assert KEY not in str(fault.value)
    with pytest.raises(RequestError, match="leave the key out of the address") as put:
        take(f"wandb://{KEY}@team/widths", "val/loss")
    assert KEY not in str(put.value)
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(RequestError, match="set WANDB_API_KEY to your key"):
        take("wandb://team/widths", "val/loss")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("wandb://team", "write wandb://ENTITY/PROJECT"),
        ("wandb://team/widths/files/x", "write wandb://ENTITY/PROJECT"),
        ("wandb://team/other", "wandb://team/other: there is no such project"),
    ],
)
def test_an_address_of_nothing_is_refused(
    take: Take, server: Site, address: str, says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        take(address, "val/loss")


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": {"project": {"runs": 1}}}, [1]])
def test_what_is_no_server_of_wandb_is_said(server: Site, answer: Any) -> None:
    server.answer = lambda path, sent: answer
    with pytest.raises(RequestError, match="does not answer as a server of W&B does"):
        read(server, "val/loss")


def test_a_server_that_gives_the_same_page_again_is_no_endless_one(server: Site) -> None:
    found = Server(RUNS)

    def again(path: str, sent: dict[str, Any]) -> Any:
        return found(path, {**sent, "variables": {**sent["variables"], "cursor": None}})

    server.answer = again
    with pytest.raises(RequestError, match="does not answer as a server of W&B does"):
        read(server, "val/loss")
    assert len(server.asked) == 2

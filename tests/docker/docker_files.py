"""The files of docker/, and the commands in them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
SCRIPTS = sorted([*DOCKER.glob("*.sh"), *DOCKER.glob("slurm/*.sbatch")])
KUBERAY = sorted(DOCKER.glob("kuberay/*.yaml"))


def compose() -> dict[str, Any]:
    """Returns compose.yaml as Compose reads it where the environment names nothing."""
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    assert "${" not in filled, "every variable has a default"
    document: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(filled)))
    return document


def service_command(name: str) -> list[str]:
    """Returns the command of a service of compose.yaml."""
    command = compose()["services"][name]["command"]
    return shlex.split(command) if isinstance(command, str) else command


def ray_cluster() -> dict[str, Any]:
    """Returns ray-cluster.yaml."""
    document: dict[str, Any] = yaml.safe_load((DOCKER / "ray-cluster.yaml").read_text())
    return document


def kuberay(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a manifest of KubeRay, and the cluster in it."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document, document["spec"].get("rayClusterSpec") or document["spec"]


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the groups of pods of a cluster of KubeRay, that of the head first."""
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def ray_starts() -> Iterator[tuple[str, list[str]]]:
    """Yields where a `ray start` stands, and its options, of all files."""
    for name in ("head", "worker"):
        yield f"compose.yaml {name}", service_command(name)[2:]
    for kind in ("head", "worker"):
        line = ray_cluster()[f"{kind}_start_ray_commands"][-1]
        yield f"ray-cluster.yaml {kind}", shlex.split(line.partition("ray start ")[2])
    for path in KUBERAY:
        for group in groups(kuberay(path)[1]):
            options = [f"--{key}={value}" for key, value in group["rayStartParams"].items()]
            where = "--head" if group.get("groupName") is None else "--address=head:6379"
            yield f"{path.name} {group.get('groupName', 'head')}", [where, "--block", *options]
    script = (DOCKER / "slurm" / "ray.sbatch").read_text(encoding="utf-8").replace("\\\n", "")
    values = {"head": "10.0.0.1", "PORT": "6379", "cpus": "8", "gpus": "0"}
    for found in re.finditer(r'ray start (--[^&\n"]*(?:"[$]\w+"[^&\n"]*)*)', script):
        line = re.sub(r"\$(\w+)", lambda match: values[match[1]], found[1])
        yield "ray.sbatch", shlex.split(line)

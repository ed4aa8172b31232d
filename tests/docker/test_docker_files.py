"""The files of docker/ against the schemas and linters that are published for them. Docker itself
is not here: docker/smoke.sh is what a person with Docker runs."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker_files import (
    DOCKER,
    DOCKERFILE,
    KUBERAY,
    ROOT,
    SCRIPTS,
    compose,
    groups,
    kuberay,
    ray_cluster,
    ray_starts,
    service_command,
)

BIN = Path(sys.executable).parent


def linter(name: str) -> str:
    """Returns the program of a linter that pip has installed."""
    (program,) = [
        Path(place) / name
        for place in (BIN, *(Path(path) / "bin" for path in sys.path))
        if (Path(place) / name).exists()
    ][:1]
    return str(program)


def test_the_dockerfile_is_clean_to_hadolint(tmp_path: Path) -> None:
    done = subprocess.run([linter("hadolint"), str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text() + "RUN cd /tmp && sudo ls\n")
    assert subprocess.run([linter("hadolint"), str(worse)], capture_output=True).returncode == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_clean_to_shellcheck_and_can_be_run(script: Path) -> None:
    shell = script.read_text().partition("\n")[0].rpartition("/")[2]
    command = [linter("shellcheck"), f"--shell={shell}", str(script)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert script.stat().st_mode & 0o111


SPOILT: list[Callable[[dict[str, Any]], object]] = [
    lambda file: file["services"]["head"].update(prots=[]),
    lambda file: file["services"]["worker"]["deploy"].update(replicas="many"),
    lambda file: file["services"]["minio"]["healthcheck"].update(tset="true"),
]


def test_the_compose_file_follows_the_specification_of_compose() -> None:
    from compose_spec import PyCompose

    PyCompose.from_json(json.dumps(compose()))
    for spoil in SPOILT:
        spoil(spoilt := compose())
        with pytest.raises(ValueError, match="line 1"):
            PyCompose.from_json(json.dumps(spoilt))


def test_what_a_service_waits_for_and_is_given_is_there() -> None:
    document = compose()
    for service in document["services"].values():
        assert set(service.get("depends_on", {})) <= document["services"].keys()
        assert set(service.get("secrets", [])) <= document["secrets"].keys()
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in document["volumes"]
        told = service.get("environment", {})
        for name, value in told.items():
            if name.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_nothing_is_reached_from_other_machines_and_no_secret_stands_in_a_file() -> None:
    document = compose()
    ports = [port for each in document["services"].values() for port in each.get("ports", [])]
    assert ports == ["127.0.0.1:8265:8265"]
    for path in [*DOCKER.rglob("*.yaml"), *SCRIPTS, DOCKERFILE]:
        found = re.findall(r"(?i)(?:password|secret|token)(?:_key)?[:=] *(\S+)", path.read_text())
        words = [word for word in found if word[0] not in "$\"'{[/" and word.lower() not in KNOWN]
        assert not words, f"{path.name}: {words}"


KNOWN = {"...", "token", "postgres_password", "ray_token"}
"""What stands after those words and is none."""


def test_the_images_are_small_and_not_of_root_and_take_what_they_copy() -> None:
    text = DOCKERFILE.read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert [name for _, name in stages][-2:] == ["cpu", "cuda"]
    assert {base for base, name in stages if name in ("cpu", "cuda")} == {"base"}
    base = text.partition("AS base")[2].partition("FROM ")[0]
    assert re.findall(r"^USER (.*)$", base, re.MULTILINE) == ["1000:1000"]
    assert "HEALTHCHECK" in base
    assert "pip install" not in base, "what builds stays behind"
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in [word for word in sources.split() if not word.startswith("--")]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, name) for name in let_in), source
    assert "constraints.txt" in text


def test_the_digest_of_the_base_can_be_given() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim\S*$", text, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    names = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert set(bases) - names == {"${PYTHON_IMAGE}"}


def test_the_cluster_of_ray_up_follows_the_schema_of_ray() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(ray_cluster()))
    with pytest.raises(Exception, match="head_node_typo"):
        validate_config(prepare_config(ray_cluster() | {"head_node_typo": "head"}))


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
def test_pods_follow_the_schema_of_kubernetes(path: Path) -> None:
    import kubernetes_validate

    for group in groups(kuberay(path)[1]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
        pod |= {"spec": group["template"]["spec"]}
        kubernetes_validate.validate(pod, "1.32", strict=True)
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        pod["spec"]["containers"][0]["imagge"] = "typo"
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(pod, "1.32", strict=True)


CLUSTER_FIELDS = {
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec"),
    *("rayVersion", "workerGroupSpecs"),
}
GROUP_FIELDS = {
    "groupName",
    "maxReplicas",
    "minReplicas",
    "rayStartParams",
    "replicas",
    "template",
}
JOB_FIELDS = {
    *("backoffLimit", "entrypoint", "rayClusterSpec", "shutdownAfterJobFinishes"),
    *("submissionMode", "ttlSecondsAfterFinished"),
}
"""Of KubeRay's types for ray.io/v1, those that are used here; its own schema is in no package."""


@pytest.mark.parametrize("path", KUBERAY, ids=lambda path: path.name)
def test_manifests_have_only_fields_that_kuberay_knows(path: Path) -> None:
    document, cluster = kuberay(path)
    assert document["apiVersion"] == "ray.io/v1"
    if document["kind"] == "RayJob":
        assert document["spec"].keys() <= JOB_FIELDS
        assert document["spec"]["backoffLimit"] > 0, "a lost head is followed by another"
    assert cluster.keys() <= CLUSTER_FIELDS
    assert cluster["authOptions"] == {"mode": "token"}
    for group in groups(cluster):
        assert group.keys() <= GROUP_FIELDS
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_both_manifests_have_the_same_cluster_but_for_the_study() -> None:
    (_, standing), (_, of_job) = (kuberay(path) for path in KUBERAY)
    pod = of_job["headGroupSpec"]["template"]["spec"]
    assert [volume["name"] for volume in pod.pop("volumes")] == ["study"]
    assert pod["containers"][0].pop("volumeMounts")[0]["mountPath"] == "/study"
    assert of_job == standing


@pytest.mark.parametrize(("where", "options"), [*ray_starts()], ids=lambda each: str(each)[:30])
def test_every_ray_start_has_options_that_ray_knows(where: str, options: list[str]) -> None:
    from ray.scripts.scripts import start

    context = start.make_context("ray start", list(options))
    assert context.params["head"] == (context.params["address"] is None), where


def test_all_places_that_start_ray_are_looked_at() -> None:
    assert len(list(ray_starts())) == 10
    mentioned = [
        path.name
        for path in [DOCKERFILE, *DOCKER.rglob("*.yaml"), *SCRIPTS]
        if re.search(r"^[^#\n]*ray start -", path.read_text(), re.MULTILINE)
    ]
    assert mentioned == ["compose.yaml", "ray-cluster.yaml", "ray.sbatch"]


def test_versions_that_files_name_are_those_of_the_tests() -> None:
    pins = dict(line.split("==") for line in read("constraints.txt") if "==" in line)
    for path in KUBERAY:
        assert str(kuberay(path)[1]["rayVersion"]) == pins["ray"]
    assert service_command("head")[:3] == ["ray", "start", "--head"]


def read(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_every_yaml_is_looked_at_here() -> None:
    known = {"compose.yaml", "ray-cluster.yaml", *(path.name for path in KUBERAY)}
    assert {path.name for path in DOCKER.rglob("*.y*ml")} == known
    for path in DOCKER.rglob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))

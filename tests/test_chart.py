"""The objects that the Helm chart renders are valid, consistent with each other, and restricted."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import ValidationError

from service.settings import NAMES
from testkit.chart.generated import MANIFESTS, chart_files, rendered_files
from testkit.chart.helm import CHART, helm, members, render
from tests.chart_cases import CASES, rendered, validate

Object = dict[str, Any]
each_case = pytest.mark.parametrize("case", CASES)


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the name and the spec of each pod."""
    for each in objects:
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]


def containers(pod: Object) -> list[Object]:
    """Return the containers of the chart in a pod, with the init containers."""
    names = {"projectkeys", "publish", "edge", "migrate", "command", "test"}
    return [each for each in [*pod.get("initContainers", []), *pod["containers"]] if each["name"] in names]


def test_generated_files_are_current() -> None:
    """`make chart` writes them: the schema, the dashboard, the table of values, and the manifests."""
    generated = {**chart_files(), **rendered_files()}
    assert [path.name for path, text in generated.items() if path.read_text() != text] == [], "run `make chart`"
    # A template that was removed leaves no manifest behind.
    written_by_hand = {MANIFESTS / "namespace.yaml", MANIFESTS / "kustomization.yaml"}
    assert {*MANIFESTS.iterdir()} - generated.keys() == written_by_hand


def test_helm_lint_finds_nothing() -> None:
    """Warnings count as errors."""
    assert "1 chart(s) linted, 0 chart(s) failed" in helm("lint", "--strict", CHART)


# 1.31 is the first version that the chart supports, 1.37 the newest with schemas.
@pytest.mark.parametrize("kubernetes", ["1.31", "1.34", "1.37"])
@each_case
def test_kubernetes_knows_every_field_of_every_object(case: str, kubernetes: str) -> None:
    """Strict: a misspelt field is refused, of a custom resource too."""
    for each in rendered(case):
        validate(each, kubernetes)


def test_a_misspelt_field_of_a_custom_resource_is_detected() -> None:
    """The validation above can fail."""
    [monitor] = members(rendered("everything"), "PodMonitor").values()
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "1s"
    with pytest.raises(ValidationError, match="intervall"):
        validate(monitor, "1.34")


@each_case
def test_names_are_unique_and_every_object_is_in_the_namespace(case: str) -> None:
    """Server-side apply refuses a list that has an item twice, so that names within an object are unique, too."""
    objects = rendered(case)
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    extra = {"ConfigMap/projectkeys-ca"}
    for each in objects:
        if f"{each['kind']}/{each['metadata']['name']}" not in extra:
            assert each["metadata"]["namespace"] == "projectkeys"
    for _, pod in pods(objects):
        for items in (pod.get("volumes", []), containers(pod)):
            assert len({item["name"] for item in items}) == len(items)
        for each in containers(pod):
            for items, key in ((each.get("env", []), "name"), (each.get("volumeMounts", []), "mountPath")):
                assert len({item[key] for item in items}) == len(items)


@each_case
def test_every_container_satisfies_the_restricted_profile_and_is_read_only(case: str) -> None:
    """Requests and a memory limit, no CPU limit, no rights in the cluster; ids are fixed except on OpenShift."""
    ids = {} if case == "openshift" else {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    added: dict[str, Any] = CASES[case].get("podSecurityContext", {})
    added_to_containers: dict[str, Any] = CASES[case].get("containerSecurityContext", {})
    for _, pod in pods(rendered(case)):
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["securityContext"] == security | ids | added
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        assert containers(pod)
        for each in containers(pod):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                **added_to_containers,
            }
            assert each["resources"]["requests"].keys() == {"cpu", "memory"}
            assert each["resources"]["limits"].keys() == {"memory"}
            assert not each["image"].endswith((":latest", ":"))
            mounted = {mount["name"] for mount in each.get("volumeMounts", [])}
            assert mounted <= {volume["name"] for volume in pod.get("volumes", [])}
            # Every volume that can be written has a limit.
            for volume in pod.get("volumes", []):
                assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


@each_case
def test_servers_have_three_probes_on_the_ops_port(case: str) -> None:
    """Only readiness requests /readyz, because liveness must not depend on Postgres and Kafka."""
    for deployment in members(rendered(case), "Deployment").values():
        [server] = [each for each in containers(deployment["spec"]["template"]["spec"]) if each["name"] != "migrate"]
        probes = {name: probe["httpGet"] for name, probe in server.items() if name.endswith("Probe")}
        assert probes == {
            "startupProbe": {"path": "/livez", "port": "ops"},
            "livenessProbe": {"path": "/livez", "port": "ops"},
            "readinessProbe": {"path": "/readyz", "port": "ops"},
        }


@each_case
def test_selectors_select_the_pods_of_one_deployment(case: str) -> None:
    """Services, budgets, policies, spread constraints and monitors, also beside another release in the namespace."""
    objects = rendered(case) + rendered(case, release="second")
    labels = {
        name: deployment["spec"]["template"]["metadata"]["labels"]
        for name, deployment in members(objects, "Deployment").items()
    }
    for name, deployment in members(objects, "Deployment").items():
        spec = deployment["spec"]
        spreads = spec["template"]["spec"]["topologySpreadConstraints"]
        for selector in (spec["selector"], *(spread["labelSelector"] for spread in spreads)):
            assert _selected(selector["matchLabels"], labels) == {name}
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        for name, each in members(objects, kind).items():
            if not name.endswith(("-metrics", "-command")):
                spec = each["spec"]
                selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
                assert _selected(selector.get("matchLabels", selector), labels) == {name}
    for monitor in members(objects, "PodMonitor").values():
        release = monitor["metadata"]["labels"]["app.kubernetes.io/instance"]
        own = {name for name in labels if labels[name]["app.kubernetes.io/instance"] == release}
        assert _selected(monitor["spec"]["selector"]["matchLabels"], labels) == own


def _selected(selector: dict[str, str], labels: dict[str, dict[str, str]]) -> set[str]:
    return {name for name in labels if selector.items() <= labels[name].items()}


@each_case
def test_the_service_monitor_selects_the_headless_service_of_all_ops_ports(case: str) -> None:
    """The Service of the API does not expose the ops port."""
    objects = rendered(case)
    services = members(objects, "Service")
    for monitor in members(objects, "ServiceMonitor").values():
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        [selected] = [each for each in services.values() if selector <= each["metadata"]["labels"].items()]
        assert [port["name"] for port in selected["spec"]["ports"]] == ["ops"]
    exposed = [services[name]["spec"]["ports"] for name in services if not name.endswith("-metrics")]
    assert {port["targetPort"] for ports in exposed for port in ports} <= {"http", "edge"}


@each_case
def test_config_maps_contain_settings_and_no_secrets(case: str) -> None:
    """Every setting exists, and every value is a text without an exponent."""
    objects = rendered(case)
    for name, each in members(objects, "ConfigMap").items():
        if not name.endswith(("-dashboard", "-ca")):
            assert each["data"].keys() <= NAMES
            assert not each["data"].keys() & {
                "DATABASE_URL",
                "KAFKA_SASL_PASSWORD",
                "EDGE_TOKEN",
                "RELAY_SECRET",
            }
    assert "postgresql://" not in json.dumps([each for each in objects if each["kind"] != "Secret"])


def test_numbers_are_written_without_an_exponent() -> None:
    """Helm holds every number of the values as a floating point number."""
    data = members(rendered("numbers"), "ConfigMap")["projectkeys"]["data"]
    values = data["BODY_LIMIT"], data["ORG_SUBDOMAINS"], data["SHUTDOWN_DELAY"]
    assert values == ("16777216", "true", "0.5")


def test_the_settings_of_a_process_override_those_of_all() -> None:
    """Also with false and 0, which functions of Helm regard as not set."""
    configs = members(rendered("numbers"), "ConfigMap")
    assert [config["data"]["USAGE"] for config in configs.values()] == ["false", "true"]
    assert configs["projectkeys"]["data"]["MAX_NEW_CONNECTIONS"] == "0"


@each_case
def test_only_the_migration_and_the_command_pod_mount_the_owners_secret(case: str) -> None:
    """The edge has no init container; the API's pods mount the service's Secret, the edge mounts no database URL."""
    objects = rendered(case)
    for name, pod in pods(objects):
        owner = {
            volume["name"]
            for volume in pod.get("volumes", [])
            if volume.get("secret", {}).get("secretName") == "projectkeys-owner"
        }
        mounting = {
            each["name"]
            for each in [*pod.get("initContainers", []), *pod["containers"]]
            if owner & {mount["name"] for mount in each.get("volumeMounts", [])}
        }
        has_migration = name == "projectkeys" and case != "no migration"
        assert mounting == ({"migrate"} if has_migration else {"command"} if name.endswith("-command") else set())
        assert ("initContainers" in pod) == has_migration


@each_case
def test_scalers_and_budgets_fit_the_deployments(case: str) -> None:
    """A scaled Deployment has no number of replicas; a budget never blocks draining a node."""
    objects = rendered(case)
    deployments = members(objects, "Deployment")
    scalers = [
        *members(objects, "HorizontalPodAutoscaler").values(),
        *members(objects, "ScaledObject").values(),
    ]
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in scalers}
    assert {name for name in deployments if "replicas" not in deployments[name]["spec"]} == scaled
    for budget in members(objects, "PodDisruptionBudget").values():
        assert budget["spec"]["maxUnavailable"] in {1, "25%"}
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for deployment in deployments.values():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize(("case", "seconds"), [("default", 37), ("numbers", 28), ("long drain", 61)])
def test_the_grace_period_covers_delay_and_drain(case: str, seconds: int) -> None:
    """Kubernetes kills no pod before SHUTDOWN_DELAY and SHUTDOWN_TIMEOUT are over."""
    pod = dict(pods(rendered(case)))["projectkeys"]
    assert pod["terminationGracePeriodSeconds"] == seconds
    assert not any("lifecycle" in each for each in pod["containers"])


@each_case
def test_only_the_relays_path_of_the_edge_is_exposed(case: str) -> None:
    """By Ingress and HTTPRoute; /auth and /keys/ stay inside the cluster."""
    objects = rendered(case)
    paths = {
        each["metadata"]["name"]: [path["path"] for rule in each["spec"]["rules"] for path in rule["http"]["paths"]]
        for each in members(objects, "Ingress").values()
    }
    matches = {
        each["metadata"]["name"]: [
            match["path"]["value"] for rule in each["spec"]["rules"] for match in rule["matches"]
        ]
        for each in members(objects, "HTTPRoute").values()
    }
    expected = {"projectkeys": ["/"], "projectkeys-edge": ["/api/0/relays/"]} if case == "everything" else {}
    assert paths == matches == expected


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("projectkeys", "projectkeys"),
        ("keys", "keys-projectkeys"),
        ("my-projectkeys", "my-projectkeys"),
        ("a.b", "a-b-projectkeys"),
        ("2nd", "projectkeys-2nd"),
        ("a" * 53, "a" * 45),
    ],
)
def test_the_names_of_all_objects_follow_from_the_release(release: str, name: str) -> None:
    """They are valid names of Services, which allow fewer characters than releases and at most 63."""
    objects = render({"edge": {"enabled": True}}, release=release)
    names = {each["metadata"]["name"] for each in objects}
    assert {each.removeprefix(name) for each in names} == {"", "-edge", "-test"}
    assert all(re.fullmatch("[a-z][-a-z0-9]{0,61}[a-z0-9]", each) for each in names)


def test_no_object_is_a_hook_except_the_pod_of_helm_test() -> None:
    """Argo CD and Flux apply the same objects as Helm."""
    objects = [each for case in CASES for each in rendered(case)]
    hooks = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert {each["metadata"]["annotations"]["helm.sh/hook"] for each in hooks} == {"test"}
    assert {each["kind"] for each in hooks} == {"Pod"}

"""A real API server admits everything that the chart renders, with strict validation and the restricted profile."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testkit.chart.helm import render
from testkit.kube.client import Client, RefusedError
from testkit.kube.server import running_server
from testkit.polling import poll_until
from tests.chart_cases import CASES, CRDS, rendered
from tests.test_deploy import MANIFESTS, manifests, released_manifests
from tests.test_deploy_examples import OBJECTS, VALUES, objects_of, values_of

Object = dict[str, Any]


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An API server with the custom resources and a namespace that enforces the restricted profile."""
    with running_server(tmp_path_factory.mktemp("kube")) as server:
        [namespace] = yaml.safe_load_all((MANIFESTS / "namespace.yaml").read_text())
        server.apply(namespace)
        for name in ("relays", "argocd"):
            server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        server.apply(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "high"},
                "value": 1000,
            }
        )
        server.apply(
            {
                "apiVersion": "node.k8s.io/v1",
                "kind": "RuntimeClass",
                "metadata": {"name": "gvisor"},
                "handler": "runsc",
            }
        )
        definitions = [_definition(path) for path in sorted(CRDS.glob("*.json"))]
        for definition in definitions:
            server.apply(definition)
        for each in definitions:
            version = f"{each['spec']['group']}/{each['spec']['versions'][0]['name']}"
            kind = each["spec"]["names"]["kind"]

            async def is_served(version: str = version, kind: str = kind) -> bool:
                return server.has_resource(version, kind)

            await poll_until(is_served, timeout=30)
        yield server


KINDS = {
    kind.lower(): kind
    for kind in (
        *(
            "ServiceMonitor",
            "PodMonitor",
            "PrometheusRule",
            "ScaledObject",
            "ExternalSecret",
            "HTTPRoute",
            "Kafka",
        ),
        *(
            "KafkaNodePool",
            "KafkaTopic",
            "KafkaUser",
            "Cluster",
            "Application",
            "HelmRelease",
            "GitRepository",
        ),
    )
}


def _definition(path: Path) -> Object:
    """Return the definition of a custom resource from its JSON Schema; the server refuses unknown fields."""
    group, kind, version = path.stem.rsplit("_", 2)
    schema = _structural(json.loads(path.read_text()))
    schema["properties"] = {"spec": schema["properties"]["spec"]}
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Required for groups of the project Kubernetes.
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/1"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind, "kind": KINDS[kind]},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _structural(node: Any) -> Any:
    """Return a schema in the form that the server requires: each node has one type and no alternatives."""
    if not isinstance(node, dict):
        return node
    if "type" not in node:
        return (
            {"x-kubernetes-int-or-string": True}
            if "anyOf" in node
            else {"x-kubernetes-preserve-unknown-fields": True}
        )
    kept = {name: node[name] for name in ("type", "format", "enum", "pattern", "required") if name in node}
    if "properties" in node:
        return kept | {"properties": {name: _structural(each) for name, each in node["properties"].items()}}
    if isinstance(node.get("additionalProperties"), dict):
        return kept | {"additionalProperties": _structural(node["additionalProperties"])}
    if "items" in node:
        return kept | {"items": _structural(node["items"])}
    return kept | ({"x-kubernetes-preserve-unknown-fields": True} if node["type"] == "object" else {})


def with_pods(objects: list[Object]) -> Iterator[Object]:
    """Yield objects, and a pod of each Deployment, which a controller would create and the profile would refuse."""
    for each in objects:
        yield each
        if each["kind"] == "Deployment":
            pod = json.loads(json.dumps(each["spec"]["template"]))
            name, namespace = each["metadata"]["name"], each["metadata"]["namespace"]
            pod["metadata"] |= {"name": f"{name}-pod", "namespace": namespace}
            for constraint in pod["spec"].get("topologySpreadConstraints", []):
                constraint.pop("matchLabelKeys", None)  # names a label that the controller adds
            yield {"apiVersion": "v1", "kind": "Pod", **pod}


def replace(client: Client, former: list[Object], objects: list[Object]) -> list[Object]:
    """Apply objects over former ones and delete the former ones that are no longer among them."""
    for each in former:
        if each["kind"] == "Pod":  # pods are replaced, not changed
            client.delete(each)
    applied = list(with_pods(objects))
    for each in applied:
        client.apply(each)
    kept = {(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in applied}
    for each in former:
        if each["kind"] != "Pod" and (each["apiVersion"], each["kind"], each["metadata"]["name"]) not in kept:
            client.delete(each)
    return applied


async def test_every_value_set_is_admitted_over_every_other(client: Client) -> None:
    """With pruning, from the manifests of release 0.1.0 on: no field changes that cannot."""
    former = replace(client, [], [each for each in released_manifests() if each["kind"] != "Namespace"])
    former = replace(client, former, [each for each in manifests() if each["kind"] != "Namespace"])
    for case in [*CASES, *reversed(CASES)]:
        former = replace(client, former, in_namespace(rendered(case)))
    for example in VALUES:
        former = replace(client, former, render(values_of(example)))
    replace(client, former, [])


def in_namespace(objects: list[Object]) -> list[Object]:
    """Return objects with the namespace of the release, which `helm install` adds where it is missing."""
    return [{**each, "metadata": {"namespace": "projectkeys", **each["metadata"]}} for each in objects]


@pytest.mark.parametrize("example", OBJECTS)
async def test_the_objects_of_an_example_are_admitted(client: Client, example: str) -> None:
    """The relays' pods too, although their namespace does not enforce the profile."""
    for each in with_pods(objects_of(example)):
        client.apply(each)


async def test_the_server_refuses_what_the_tests_above_would_not_notice(client: Client) -> None:
    """Unknown fields, of custom resources too, and pods that are not restricted."""
    objects = list(with_pods(rendered("everything")))
    [monitor] = [each for each in objects if each["kind"] == "PodMonitor"]
    monitor["spec"]["selectors"] = {}
    pod = next(each for each in objects if each["kind"] == "Pod")
    privileged = json.loads(json.dumps(pod))
    privileged["spec"]["securityContext"]["runAsNonRoot"] = False
    pod["spec"]["containers"][0]["readynessProbe"] = {}
    for each, reason in (
        (monitor, "selectors"),
        (pod, "readynessProbe"),
        (privileged, "violates PodSecurity"),
    ):
        with pytest.raises(RefusedError, match=reason):
            client.apply(each)

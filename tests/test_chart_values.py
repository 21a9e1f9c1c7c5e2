"""The schema of the chart's values refuses what would be ignored or could not work."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from testkit.chart.helm import CHART, HelmError, members, render, render_text
from testkit.chart.values import read_values
from tests.chart_cases import CASES, rendered

Schema = dict[str, Any]
SCHEMA: Schema = json.loads((CHART / "values.schema.json").read_text())
FREE = {"global", "extraObjects"}
"""Values whose members the chart cannot know."""


def objects(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every object in the values that has named members."""
    for part in [schema, *(_resolved(each) for each in schema.get("allOf", []))]:
        if "properties" in part and part.get("type") == "object":
            yield path
            for name, member in part["properties"].items():
                yield from objects(_resolved(member), (*path, name))


def _resolved(schema: Schema) -> Schema:
    name = schema.get("$ref", "").removeprefix("#/definitions/")
    resolved: Schema = SCHEMA["definitions"].get(name, schema)
    return resolved


def test_an_unknown_name_is_refused_in_every_object() -> None:
    """Also below lists of values, and in the objects of Kubernetes that values contain."""
    validator, found = Draft7Validator(SCHEMA), 0
    for path in objects({key: SCHEMA[key] for key in ("type", "properties")}):
        if not FREE & {*path}:
            values: Any = {"mispelt": 1}
            for name in reversed(path):
                values = {name: values}
            messages = "".join(
                error.message + "".join(inner.message for inner in error.context or [])
                for error in validator.iter_errors(values)
            )
            assert "mispelt" in messages, path
            found += 1
    assert found > 100


def test_every_definition_refuses_unknown_names() -> None:
    """Those of Kubernetes too, which list items have."""
    for name, schema in SCHEMA["definitions"].items():
        for each in _with_properties(schema):
            assert each.get("additionalProperties") is False, name


def _with_properties(node: Any) -> Iterator[Schema]:
    if isinstance(node, list):
        for item in node:
            yield from _with_properties(item)
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and "type" in node:
            yield node
        for member in node.values():
            yield from _with_properties(member)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replica": 3}, "replica"),
        ({"serve": {"replica": 3}}, "replica"),
        ({"serve": {"resources": {"limit": {"memory": "1Gi"}}}}, "limit"),
        ({"serve": {"affinity": {"podAntiAffinty": {}}}}, "podAntiAffinty"),
        ({"serve": {"tolerations": [{"keys": "a"}]}}, "keys"),
        ({"edge": {"autoscaling": {"hpa": {"enable": True}}}}, "enable"),
        ({"settings": {"KAFKA_TOPICS": "a"}}, "KAFKA_TOPICS"),
        ({"settings": {"DATABASE_URL": "postgresql://a"}}, "DATABASE_URL"),
        ({"settings": {"PORT": 80}}, "PORT"),
        ({"serve": {"secretSettings": {"DATABASE_URLS": {"key": "a"}}}}, "DATABASE_URLS"),
        ({"serve": {"secretSettings": {"DATABASE_URL": {"keys": "a"}}}}, "keys"),
        ({"extraEnv": [{"name": "A", "valu": "b"}]}, "valu"),
        ({"networkPolicy": {"apiFrom": [{"podSelectors": {}}]}}, "podSelectors"),
        ({"serve": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}}, "not"),
        ({"serve": {"autoscaling": {"hpa": {"enabled": True, "cpu": 0}}}}, "cpu"),
        ({"serve": {"autoscaling": {"keda": {"enabled": True, "requestsInFlight": 5}}}}, "prometheusAddress"),
        (
            {"serve": {"autoscaling": {"minReplicas": 9}}},
            "serve.autoscaling.minReplicas is greater than maxReplicas",
        ),
        ({"serve": {"secret": {"externalSecret": {"enabled": True}}}}, "secretStoreRef"),
        ({"serve": {"httpRoute": {"enabled": True}}}, "parentRefs"),
        ({"serve": {"podDisruptionBudget": {"maxUnavailable": 0}}}, "maxUnavailable"),
        ({"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "metrics"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"podSecurityContext": {"runAsUsr": 1}}, "runAsUsr"),
        ({"dnsConfig": {"nameserver": ["10.0.0.1"]}}, "nameserver"),
        ({"serve": {"lifecycle": {"preStop": {"execute": {}}}}}, "execute"),
        ({"serve": {"service": {"loadBalancerSourceRanges": ["10.0.0.1"]}}}, "loadBalancerSourceRanges"),
        ({"metrics": {"podMonitor": {"relabelings": [{"sourceLabel": ["a"]}]}}}, "sourceLabel"),
        ({"commonLabels": {"a": "not a label"}}, "commonLabels"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_helm_refuses_values_that_cannot_work(values: dict[str, Any], reason: str) -> None:
    """It names the value, and renders nothing."""
    with pytest.raises(HelmError, match=reason):
        render_text(values)


def test_the_chart_can_be_a_dependency_of_another_chart() -> None:
    """Helm passes `global` to it."""
    assert render({"global": {"registry": "a", "nested": {"b": 1}}})


def test_every_value_has_a_description() -> None:
    """The comment above it, which the table in README.md and the schema contain."""
    undescribed = {value.path for value in read_values() if not value.description and not value.has_members}
    assert undescribed == {value.path for value in read_values() if value.path.endswith("DATABASE_URL")}


def test_members_of_pods_services_and_monitors_are_passed_on() -> None:
    """Those that only some clusters need reach every pod, also the one for commands."""
    case = "a cluster of its own kind"
    values, objects = CASES[case], rendered(case)
    pods = [each["spec"] for each in members(objects, "Pod").values()]
    pods += [each["spec"]["template"]["spec"] for each in members(objects, "Deployment").values()]
    for pod in pods:
        for member in ("dnsPolicy", "dnsConfig", "hostAliases", "runtimeClassName", "schedulerName"):
            assert pod[member] == values[member]
    for deployment in members(objects, "Deployment").values():
        assert deployment["metadata"]["annotations"] == {"reloader.stakater.com/auto": "true"}
        assert deployment["spec"]["revisionHistoryLimit"] == 0
        server = deployment["spec"]["template"]["spec"]["containers"][0]
        assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
        assert server["envFrom"][1:] == [{"secretRef": {"name": "shared"}, "prefix": "KEYS_"}]
    services = members(objects, "Service")
    balancer = {name: each for name, each in values["serve"]["service"].items() if name != "labels"}
    assert services["projectkeys"]["spec"].items() >= balancer.items()
    assert services["projectkeys"]["metadata"]["labels"]["exposed"] == "yes"
    assert services["projectkeys-edge"]["spec"]["ports"][0]["nodePort"] == 30080
    [endpoint] = members(objects, "PodMonitor")["projectkeys"]["spec"]["podMetricsEndpoints"]
    assert (
        endpoint.items()
        >= {name: each for name, each in values["metrics"]["podMonitor"].items() if name != "enabled"}.items()
    )
    assert members(objects, "ServiceAccount")["projectkeys"]["metadata"]["labels"]["identity"] == "keys"


def test_another_name_replaces_that_of_the_chart() -> None:
    """In the names of all objects of a release whose name does not contain it."""
    assert "blue-keys" in members(render({"nameOverride": "keys"}, release="blue"), "Deployment")

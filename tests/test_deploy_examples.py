"""The examples in deploy/examples/ render and validate, and fit each other."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from testkit.chart.helm import members, objects_in, render
from tests.chart_cases import validate
from tests.test_chart import containers, pods
from tests.test_deploy_secrets import secrets_in

EXAMPLES = Path(__file__).resolve().parent.parent / "deploy" / "examples"
VALUES = sorted(path.name.removesuffix(".values.yaml") for path in EXAMPLES.glob("*.values.yaml"))
OBJECTS = sorted(path.stem for path in EXAMPLES.glob("*.yaml") if ".values" not in path.name)
CREATED = {
    "projectkeys-service",
    "projectkeys-owner",
    "projectkeys-edge",
    "keys-cluster-ca-cert",
    "keys-db-ca",
}
"""The Secrets of deploy/, and those that the operators create for the clusters `keys` and `keys-db`."""


def values_of(name: str) -> dict[str, Any]:
    """Return the values of an example."""
    values = yaml.safe_load((EXAMPLES / f"{name}.values.yaml").read_text())
    assert isinstance(values, dict)
    return values


def objects_of(name: str) -> list[dict[str, Any]]:
    """Return the objects of an example."""
    return objects_in((EXAMPLES / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", OBJECTS)
def test_the_schemas_know_every_field_of_an_example(name: str) -> None:
    """Strict, the custom resources of the operators included."""
    for each in objects_of(name):
        validate(each, "1.34")


@pytest.mark.parametrize("name", VALUES)
def test_the_chart_accepts_the_values_of_an_example(name: str) -> None:
    """And Kubernetes what it renders, with the command pod."""
    values = values_of(name)
    rendered = render(values | {"command": values.get("command", {}) | {"enabled": True}})
    for each in rendered:
        validate(each, "1.34")
    users = {each["metadata"]["name"] for each in objects_of("strimzi") if each["kind"] == "KafkaUser"}
    assert {*secrets_in([pod for _, pod in pods(rendered)])} <= CREATED | users


@pytest.mark.parametrize(
    "values",
    [
        objects_of("argocd")[0]["spec"]["source"]["helm"]["valuesObject"],
        members(objects_of("flux"), "HelmRelease")["projectkeys"]["spec"]["values"],
    ],
    ids=["argocd", "flux"],
)
def test_the_chart_accepts_the_values_in_the_objects_of_a_gitops_controller(values: dict[str, Any]) -> None:
    """Their schemas accept any values."""
    assert render(values)


def test_each_process_connects_to_kafka_as_a_user_with_the_rights_that_it_needs() -> None:
    """`serve` writes with transactions; it, the edge and commands read; none may create or delete."""
    users = members(objects_of("strimzi"), "KafkaUser")
    rendered = render(values_of("strimzi") | {"command": values_of("strimzi")["command"] | {"enabled": True}})
    configs = members(rendered, "ConfigMap")
    [command] = [
        container for _, pod in pods(rendered) for container in containers(pod) if container["name"] == "command"
    ]
    names = [
        configs["projectkeys"]["data"]["KAFKA_SASL_USERNAME"],
        configs["projectkeys-edge"]["data"]["KAFKA_SASL_USERNAME"],
        next(each["value"] for each in command["env"] if each["name"] == "KAFKA_SASL_USERNAME"),
    ]
    rights = [
        {
            (acl["resource"]["type"], acl["resource"]["name"]): set(acl["operations"])
            for acl in users[name]["spec"]["authorization"]["acls"]
        }
        for name in names
    ]
    topic = configs["projectkeys"]["data"]["KAFKA_TOPIC"]
    assert rights == [
        {
            ("topic", topic): {"Read", "Write", "Describe", "DescribeConfigs"},
            ("topic", "outcomes"): {"Read", "Describe"},
            ("transactionalId", f"{topic}-"): {"Write", "Describe"},
        },
        {
            ("topic", topic): {"Read", "Describe", "DescribeConfigs"},
            ("topic", "outcomes"): {"Write", "Describe"},
        },
        {("topic", topic): {"Read", "Describe", "DescribeConfigs"}},
    ]


def test_the_database_urls_name_the_roles_and_the_service_of_the_cluster() -> None:
    """CloudNativePG takes the password from `password`, the service from the URL of the same Secret."""
    objects = objects_of("cloudnativepg")
    [cluster] = members(objects, "Cluster").values()
    spec, secrets = cluster["spec"], members(objects, "Secret")
    [managed] = spec["managed"]["roles"]
    owner = spec["bootstrap"]["initdb"]
    for role, name in (
        (owner["owner"], owner["secret"]["name"]),
        (managed["name"], managed["passwordSecret"]["name"]),
    ):
        data = secrets[name]["stringData"]
        host = f"{cluster['metadata']['name']}-rw.projectkeys.svc:5432/{owner['database']}"
        assert data["username"] == role
        assert data["database-url"] == f"postgresql://{role}:{data['password']}@{host}"


def test_the_topic_has_the_configuration_of_the_instructions() -> None:
    """As docs/kubernetes.md creates it."""
    topic = members(objects_of("strimzi"), "KafkaTopic")["project-keys"]["spec"]
    page = (EXAMPLES.parents[1] / "docs" / "kubernetes.md").read_text()
    assert f"--partitions {topic['partitions']} --replication-factor {topic['replicas']}" in page
    assert [f"--config {name}={value}" in page for name, value in topic["config"].items()] == [True] * 3

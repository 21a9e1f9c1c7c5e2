"""The manifests of the edge; `test_deploy.py` checks all pods."""

from tests.test_deploy import EDGE, container, load


def test_the_ports_of_the_edge_match_its_settings() -> None:
    """ConfigMap, Deployment, Service and NetworkPolicy."""
    settings, policy = load("edge-config-map.yaml")["data"], load("edge-network-policy.yaml")["spec"]
    ports = {port["name"]: port["containerPort"] for port in container(EDGE)["ports"]}
    assert ports == {"edge": int(settings["EDGE_PORT"]), "ops": int(settings["OPS_PORT"])}
    assert load("edge-service.yaml")["spec"]["ports"] == [{"name": "edge", "port": 80, "targetPort": "edge"}]
    assert policy["ingress"] == [{"from": [{"namespaceSelector": {}}], "ports": [{"port": "edge"}]}]
    labels = load(EDGE)["spec"]["template"]["metadata"]["labels"]
    assert load("edge-service.yaml")["spec"]["selector"] == policy["podSelector"]["matchLabels"] == labels
    assert load("edge-pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == labels

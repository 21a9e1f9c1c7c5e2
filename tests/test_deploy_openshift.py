"""The overlay for OpenShift, which rejects pods with fixed user and group ids."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.test_deploy import MANIFESTS, load

OVERLAY = MANIFESTS.parent / "openshift"


def _pods() -> dict[str, dict[str, Any]]:
    """Return the manifests that describe pods, by name."""
    manifests = {name: load(name) for name in load("kustomization.yaml")["resources"]}
    return {name: manifest for name, manifest in manifests.items() if "template" in manifest.get("spec", {})}


def _without(manifest: dict[str, Any], path: str) -> None:
    """Remove a member, as a JSON patch does; fail if it is absent."""
    *parents, name = path.strip("/").split("/")
    for parent in parents:
        manifest = manifest[parent]
    del manifest[name]


def test_the_overlay_removes_the_fixed_ids_from_every_pod_and_changes_nothing_else() -> None:
    """The pods still must not run as root."""
    overlay = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())
    assert [Path(OVERLAY / each).resolve() for each in overlay["resources"]] == [MANIFESTS]
    [patch] = overlay["patches"]
    operations = yaml.safe_load(patch["patch"])
    assert {operation["op"] for operation in operations} == {"remove"}
    pods = _pods()
    assert len(pods) > 1
    for manifest in pods.values():
        assert re.fullmatch(patch["target"]["kind"], manifest["kind"])
        for operation in operations:
            _without(manifest, operation["path"])
        security = manifest["spec"]["template"]["spec"]["securityContext"]
        assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

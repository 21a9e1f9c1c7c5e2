"""Value sets that the chart is tested with, and the validation of the objects that it renders."""

import functools
import json
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource

from testkit.chart.helm import render

CRDS: Final = Path(__file__).parent / "crds"
"""The strict schemas of custom resources."""

_KUBERNETES: Final = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"

_EXTERNAL: Final = {
    "enabled": True,
    "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
    "data": [{"secretKey": "database-url", "remoteRef": {"key": "keys", "property": "url"}}],
}
_SCHEDULING: Final = {
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "priorityClassName": "high",
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}]
            }
        }
    },
    "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
    "podLabels": {"team": "keys"},
    "podAnnotations": {"example.com/checked": "yes"},
}
_METRICS: Final = {
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "runbookBaseUrl": "https://git.example.com/keys/"},
    "dashboard": {"enabled": True},
}
_SIDECAR: Final = {
    "name": "proxy",
    "image": "proxy:1",
    "resources": {"limits": {"memory": "64Mi"}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
_VOLUME: Final = {
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
}
_ROUTE: Final = {
    "enabled": True,
    "parentRefs": [{"name": "gateway", "namespace": "infra"}],
    "hostnames": ["a.example"],
}
_INGRESS: Final = {
    "enabled": True,
    "className": "nginx",
    "hosts": ["keys.example.com"],
    "tls": [{"secretName": "tls", "hosts": ["keys.example.com"]}],
}
_OWN_PROCESS: Final = {
    "annotations": {"reloader.stakater.com/auto": "true"},
    "extraEnvFrom": [{"secretRef": {"name": "shared"}, "prefix": "KEYS_"}],
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
}
_BALANCER: Final = {
    "type": "LoadBalancer",
    "labels": {"exposed": "yes"},
    "loadBalancerClass": "internal",
    "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
    "externalTrafficPolicy": "Local",
}
_MONITOR: Final = {
    "enabled": True,
    "scrapeTimeout": "10s",
    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
    "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "python_.*", "action": "drop"}],
}

CASES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "everything": {
        "publish": {"enabled": True, **_SCHEDULING},
        "edge": {"enabled": True, **_SCHEDULING, "ingress": _INGRESS, "httpRoute": _ROUTE},
        "serve": {**_SCHEDULING, "ingress": _INGRESS, "httpRoute": _ROUTE},
        "command": {"enabled": True},
        "metrics": _METRICS,
        "commonLabels": {"owner": "platform"},
        "commonAnnotations": {"example.com/owner": "platform"},
    },
    "a cluster of its own kind": {
        "nameOverride": "keys",
        "podSecurityContext": {"fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [1000]},
        "containerSecurityContext": {"runAsUser": 1001, "privileged": False},
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "10.0.0.5", "hostnames": ["kafka.internal"]}],
        "runtimeClassName": "gvisor",
        "schedulerName": "packing",
        "revisionHistoryLimit": 0,
        "serviceAccount": {"labels": {"identity": "keys"}},
        "serve": {**_OWN_PROCESS, "service": _BALANCER},
        "publish": {"enabled": True, **_OWN_PROCESS},
        "edge": {"enabled": True, **_OWN_PROCESS, "service": {"type": "NodePort", "nodePort": 30080}},
        "command": {"enabled": True},
        "metrics": {"podMonitor": _MONITOR},
    },
    "one replica": {"serve": {"replicas": 1}, "edge": {"enabled": True, "replicas": 1}},
    "edge with relays": {
        "edge": {
            "enabled": True,
            "secretSettings": {
                "EDGE_TOKEN": {"key": "token"},
                "RELAY_PUBLIC_KEYS_FILE": {"key": "relays.json", "secret": "relays"},
                "RELAY_SECRET": {"key": "secret", "secret": "relays"},
            },
        }
    },
    "hpa": {
        "serve": {"autoscaling": {"hpa": {"enabled": True, "requestsInFlight": 50}}},
        "edge": {"enabled": True, "autoscaling": {"hpa": {"enabled": True}}},
    },
    "keda": {
        "serve": {
            "autoscaling": {
                "keda": {
                    "enabled": True,
                    "requestsInFlight": 50,
                    "prometheusAddress": "http://prometheus:9090",
                }
            }
        },
        "edge": {"enabled": True, "autoscaling": {"keda": {"enabled": True}}},
    },
    "external secrets": {
        "serve": {"secret": {"externalSecret": _EXTERNAL}},
        "migrate": {"secret": {"externalSecret": _EXTERNAL}},
    },
    "trial secrets": {
        "serve": {"secret": {"data": {"database-url": "postgresql://service:a@db/keys"}}},
        "migrate": {"secret": {"data": {"database-url": "postgresql://owner:b@db/keys"}}},
    },
    "kafka with tls": {
        "settings": {
            "KAFKA_BOOTSTRAP_SERVERS": "a.example:9196, b.example:9196",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        },
        "serve": {
            "settings": {"KAFKA_SASL_USERNAME": "serve"},
            "secretSettings": {
                "KAFKA_SASL_PASSWORD": {"key": "password", "secret": "serve"},
                "KAFKA_SSL_CAFILE": {"key": "ca.crt", "secret": "keys-cluster-ca-cert"},
            },
        },
    },
    "numbers": {
        "settings": {"BODY_LIMIT": 16777216, "ORG_SUBDOMAINS": True, "SHUTDOWN_DELAY": 0.5, "USAGE": True},
        "serve": {"settings": {"USAGE": False, "MAX_NEW_CONNECTIONS": 0}},
        "edge": {"enabled": True},
    },
    "long drain": {"settings": {"SHUTDOWN_DELAY": "15", "SHUTDOWN_TIMEOUT": 40.5}},
    "pgbouncer": {"settings": {"DATABASE_PGBOUNCER": True}, "command": {"enabled": True}},
    "openshift": {"openshift": True, "edge": {"enabled": True}, "command": {"enabled": True}},
    "no migration": {"migrate": {"enabled": False}, "serve": {"secretSettings": {"DATABASE_URL": None}}},
    "closed network": {
        "networkPolicy": {
            "apiFrom": [{"podSelector": {"matchLabels": {"client": "yes"}}}],
            "egress": {
                "postgres": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [5433]},
                "kafka": {"to": [{"namespaceSelector": {}}], "ports": []},
                "extra": [{"ports": [{"port": 443}]}],
            },
        }
    },
    "no network policies": {
        "networkPolicy": {"enabled": False},
        "serve": {"podDisruptionBudget": {"enabled": False}},
    },
    "service monitor": {"metrics": {"serviceMonitor": {"enabled": True}}, "edge": {"enabled": True}},
    "extras": {
        "serve": {
            "extraEnv": [{"name": "PGSSLMODE", "value": "verify-ca"}],
            "extraContainers": [_SIDECAR],
            "extraInitContainers": [_SIDECAR | {"name": "first"}],
        },
        "extraEnv": [{"name": "PGSSLMODE", "value": "verify-full"}, {"name": "TZ", "value": "UTC"}],
        **_VOLUME,
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": '{{ include "projectkeys.fullname" . }}-ca'},
            }
        ],
    },
    "image by digest": {
        "image": {
            "repository": "registry.example.com/keys",
            "digest": f"sha256:{'0a' * 32}",
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"create": False},
    },
    "load balancer": {
        "serve": {
            "service": {
                "type": "LoadBalancer",
                "port": 8443,
                "annotations": {"example.com/internal": "true"},
            },
            "maxSurge": "50%",
            "podDisruptionBudget": {"maxUnavailable": "25%"},
        }
    },
}
"""The values by the name of the case."""


@functools.cache
def _rendered(case: str, release: str) -> str:
    return json.dumps(render(CASES[case], release=release))


def rendered(case: str, *, release: str = "projectkeys") -> list[dict[str, Any]]:
    """Return the objects of a case; each call returns new ones."""
    objects: list[dict[str, Any]] = json.loads(_rendered(case, release))
    return objects


def validate(manifest: dict[str, Any], kubernetes: str) -> None:
    """Validate an object with the strict schema of its kind.

    Args:
        manifest: The object.
        kubernetes: The version of Kubernetes, major and minor.

    Raises:
        jsonschema.ValidationError: The object is invalid or has an unknown field.
    """
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = manifest["kind"].lower()
    if (file := CRDS / f"{group}_{kind}_{version}.json").exists():
        _custom_resource(file).validate(manifest)
    else:
        name = "-".join(filter(None, [kind, group.removesuffix(".k8s.io").partition(".")[0], version]))
        _kubernetes(name, f"v{kubernetes}.0-local-strict").validate(manifest)


@functools.cache
def _custom_resource(file: Path) -> Draft7Validator:
    return Draft7Validator(json.loads(file.read_text()))


@functools.cache
def _kubernetes(name: str, version: str) -> Draft202012Validator:
    """Return the validator of a kind; `kubernetes_validate.validate` reads 1.5 MB for each object."""
    schema = json.loads((_KUBERNETES / version / f"{name}.json").read_text())
    return Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Registry[Any]:
    definitions = json.loads((_KUBERNETES / version / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()

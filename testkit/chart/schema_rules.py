"""What values.yaml does not say about its values: their types, and the combinations that are refused."""

from typing import Any, Final

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


_TEXT: Final[Schema] = {"type": "string"}
_DURATION: Final[Schema] = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
_SIZE: Final = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_AT_LEAST_ONE: Final[Schema] = {"type": "integer", "minimum": 1}
_SOME_REPLICAS: Final[Schema] = {
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": "^([1-9][0-9]?|100)%$",
}
_PORTS: Final[Schema] = {"type": "array", "items": _ref("port")}
_HOST: Final = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_OBJECT_NAME: Final = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
_LABEL_NAME: Final = r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"

KUBERNETES_TYPES: Final[dict[str, Schema]] = {
    # Kubernetes's own pattern of quantities.
    "Quantity": {
        "type": ["string", "number"],
        "pattern": r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$",
    },
}

TYPES: Final[dict[str, Schema]] = {
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([-a-z0-9]{0,43}[a-z0-9])?)?$"},
    "nameOverride": {"type": "string", "pattern": "^([a-z]([-a-z0-9]{0,43}[a-z0-9])?)?$"},
    "image.repository": {"type": "string", "minLength": 1},
    "image.tag": {"type": "string", "pattern": r"^(\w[\w.-]{0,127})?$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": _list("LocalObjectReference"),
    "serviceAccount.name": {"type": "string", "pattern": _OBJECT_NAME},
    "podSecurityContext": _ref("PodSecurityContext"),
    "containerSecurityContext": _ref("SecurityContext"),
    "dnsPolicy": {"enum": ["", "ClusterFirst", "Default", "None"]},
    "dnsConfig": _ref("PodDNSConfig"),
    "hostAliases": _list("HostAlias"),
    "runtimeClassName": {"type": "string", "pattern": _OBJECT_NAME},
    "schedulerName": {"type": "string", "pattern": _OBJECT_NAME},
    "revisionHistoryLimit": {"type": "integer", "minimum": 0},
    "settings": _ref("settings"),
    "*.settings": _ref("settings"),
    "*secretSettings": _ref("secretSettings"),
    "*.secret.name": {"type": "string", "pattern": _OBJECT_NAME},
    "*.secret.data": _ref("files"),
    "*.secretStoreRef": _object(
        kind={"enum": ["ClusterSecretStore", "SecretStore"]}, name={"type": "string", "pattern": _OBJECT_NAME}
    ),
    "*.refreshInterval": _DURATION,
    "*.externalSecret.data": _list("externalSecretData"),
    "*.externalSecret.dataFrom": _list("externalSecretDataFrom"),
    "*extraEnv": _list("EnvVar"),
    "*.extraEnvFrom": _list("EnvFromSource"),
    "*.lifecycle": _ref("Lifecycle"),
    "*extraVolumes": _list("Volume"),
    "*extraVolumeMounts": _list("VolumeMount"),
    "*.extraInitContainers": _list("Container"),
    "*.extraContainers": _list("Container"),
    "extraObjects": {
        "type": "array",
        "items": {"type": "object", "required": ["apiVersion", "kind", "metadata"]},
    },
    "migrate.wait": {"type": "integer", "minimum": 0, "maximum": 86400},
    "migrate.grantTo": {"type": "string", "pattern": "^([A-Za-z_][A-Za-z0-9_$-]{0,62})?$"},
    "*.replicas": {"type": "integer", "minimum": 0},
    "*.resources": _ref("ResourceRequirements"),
    "*.probes.*": _object(periodSeconds=_AT_LEAST_ONE, timeoutSeconds=_AT_LEAST_ONE, failureThreshold=_AT_LEAST_ONE),
    "*.maxSurge": _SOME_REPLICAS,
    "*.maxUnavailable": _SOME_REPLICAS,
    "*.minReplicas": _AT_LEAST_ONE,
    "*.maxReplicas": _AT_LEAST_ONE,
    "*.autoscaling.*.cpu": {"type": "integer", "minimum": 0},
    "*.autoscaling.*.requestsInFlight": {"type": "integer", "minimum": 0},
    "*.behavior": _ref("api.autoscaling.v2.HorizontalPodAutoscalerBehavior"),
    "*.pollingInterval": _AT_LEAST_ONE,
    "*.prometheusAddress": {"type": "string", "pattern": "^(https?://.+)?$"},
    "*.service.type": {"enum": ["ClusterIP", "LoadBalancer", "NodePort"]},
    "*.service.port": _ref("port"),
    "*.service.nodePort": {"type": "integer", "minimum": 0, "maximum": 65535},
    "*.loadBalancerSourceRanges": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"},
    },
    "*.externalTrafficPolicy": {"enum": ["", "Cluster", "Local"]},
    "*.hosts": {"type": "array", "items": {"type": "string", "pattern": _HOST}},
    "*.hostnames": {"type": "array", "items": {"type": "string", "pattern": _HOST}},
    "*.ingress.className": {"type": "string", "pattern": _OBJECT_NAME},
    "*.ingress.tls": _list("api.networking.v1.IngressTLS"),
    "*.parentRefs": _list("gateway"),
    "*nnotations": _ref("annotations"),
    "*abels": _ref("labels"),
    "*.nodeSelector": _ref("labels"),
    "*.tolerations": _list("Toleration"),
    "*.affinity": _ref("Affinity"),
    "*.topologySpreadConstraints": _list("TopologySpreadConstraint"),
    "*.priorityClassName": {"type": "string", "pattern": _OBJECT_NAME},
    "*SizeLimit": {"type": "string", "pattern": _SIZE},
    "networkPolicy.*From": _list("api.networking.v1.NetworkPolicyPeer"),
    "networkPolicy.egress.*.to": _list("api.networking.v1.NetworkPolicyPeer"),
    "networkPolicy.egress.*orts": _PORTS,
    "networkPolicy.egress.extra": _list("api.networking.v1.NetworkPolicyEgressRule"),
    "metrics.*.interval": _DURATION,
    "metrics.*.scrapeTimeout": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))*$"},
    "metrics.*elabelings": _list("relabeling"),
    "metrics.*.runbookBaseUrl": {"type": "string", "pattern": "^(https?://.+/)?$"},
}
"""Schemas by a pattern of the value's path; the first match counts. Other schemas follow from the defaults."""

_NOT_EMPTY: Final[Schema] = {"minLength": 1}


def _both(**members: Schema) -> Schema:
    return {"required": [*members], "properties": members}


_ENABLED: Final = _both(enabled={"const": True})
_SOME_TARGET: Final[Schema] = {
    "if": _ENABLED,
    "then": {"anyOf": [_both(cpu={"minimum": 1}), _both(requestsInFlight={"minimum": 1})]},
}

RULES: Final[dict[str, list[Schema]]] = {
    "*.autoscaling": [{"not": _both(hpa=_ENABLED, keda=_ENABLED)}],
    "*.autoscaling.hpa": [_SOME_TARGET],
    "*.autoscaling.keda": [
        _SOME_TARGET,
        {
            "if": _both(enabled={"const": True}, requestsInFlight={"minimum": 1}),
            "then": _both(prometheusAddress=_NOT_EMPTY),
        },
    ],
    "*.secret": [{"not": _both(data={"minProperties": 1}, externalSecret=_ENABLED)}],
    "*.externalSecret": [
        {
            "if": _ENABLED,
            "then": {
                **_both(secretStoreRef=_both(name=_NOT_EMPTY)),
                "anyOf": [_both(data={"minItems": 1}), _both(dataFrom={"minItems": 1})],
            },
        }
    ],
    "*.httpRoute": [{"if": _ENABLED, "then": _both(parentRefs={"minItems": 1})}],
    "metrics": [{"not": _both(podMonitor=_ENABLED, serviceMonitor=_ENABLED)}],
}
"""Rules between the members of an object, by a pattern of its path."""

_REMOTE_REF: Final = _object(
    key={"type": "string", "minLength": 1},
    property=_TEXT,
    version=_TEXT,
    conversionStrategy={"enum": ["Default", "Unicode"]},
    decodingStrategy={"enum": ["Auto", "Base64", "Base64URL", "None"]},
    metadataPolicy={"enum": ["None", "Fetch"]},
) | {"required": ["key"]}

DEFINITIONS: Final[dict[str, Schema]] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "texts": {"type": "object", "additionalProperties": _TEXT},
    "files": {
        "type": "object",
        "propertyNames": {"pattern": "^[-._a-zA-Z0-9]{1,253}$"},
        "additionalProperties": _TEXT,
    },
    "annotations": {
        "type": "object",
        "propertyNames": {"pattern": _LABEL_NAME},
        "additionalProperties": _TEXT,
    },
    "labels": {
        "type": "object",
        "propertyNames": {"pattern": _LABEL_NAME},
        "additionalProperties": {
            "type": "string",
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
        },
    },
    "secretSetting": _object(
        key={"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"},
        secret={"type": "string", "pattern": _OBJECT_NAME},
    )
    | {"required": ["key"]},
    "externalSecretData": _object(
        secretKey={"type": "string", "pattern": "^[-._a-zA-Z0-9]{1,253}$"}, remoteRef=_REMOTE_REF
    )
    | {"required": ["secretKey", "remoteRef"]},
    "externalSecretDataFrom": _object(
        extract=_REMOTE_REF,
        find=_object(
            name=_object(regexp=_TEXT),
            path=_TEXT,
            tags=_ref("texts"),
            conversionStrategy={"enum": ["Default", "Unicode"]},
            decodingStrategy={"enum": ["Auto", "Base64", "Base64URL", "None"]},
        ),
    )
    | {"minProperties": 1, "maxProperties": 1},
    "relabeling": _object(
        sourceLabels={"type": "array", "items": _TEXT},
        separator=_TEXT,
        targetLabel=_TEXT,
        regex=_TEXT,
        modulus={"type": "integer", "minimum": 0},
        replacement=_TEXT,
        action={"type": "string", "pattern": "^[A-Za-z]+$"},
    ),
    "gateway": _object(
        group=_TEXT,
        kind=_TEXT,
        name={"type": "string", "minLength": 1, "maxLength": 253},
        namespace={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
        sectionName={"type": "string", "pattern": _OBJECT_NAME, "minLength": 1},
        port=_ref("port"),
    )
    | {"required": ["name"]},
}
"""Definitions besides those of Kubernetes and of the settings."""

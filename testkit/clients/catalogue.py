"""All clients, in the order in which they run."""

import sys
from typing import Final

from testkit.clients.client import Client, PackagedClient
from testkit.clients.readers import documented_readers
from testkit.clients.sdks import Sdk

_GO: Final = ("go build -o client .",)
_NPM: Final = ("npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error",)
_TOFU: Final = (
    "installed=$(command -v tofu) && ln -s $installed tofu && exit",
    'module=$(go mod download -json github.com/opentofu/opentofu@v1.12.6 | sed -n \'s/.*"Dir": "\\(.*\\)".*/\\1/p\')',
    "go build -C $module -o $PWD/tofu ./cmd/tofu",
)
_NODE: Final = ("node", "npm")

_PACKAGED: Final = (
    PackagedClient("go-sentry", "github.com/jianyuan/go-sentry/v2 v2.8.4", ["go"], _GO, "./client"),
    PackagedClient(
        "otel-collector",
        "exporter/sentryexporter v0.161.0",
        ["go"],
        _GO,
        "./client",
    ),
    PackagedClient(
        "tofu",
        "github.com/opentofu/opentofu v1.12.6",
        ["go", "terraform-provider-sentry"],
        _TOFU,
        "sh run.sh",
    ),
    PackagedClient("sentry-cli", "sentry 0.49.0", _NODE, _NPM, "node run.mjs"),
    PackagedClient("sentry-api", "@sentry/api 0.1.0", _NODE, _NPM, "node run.mjs"),
    PackagedClient("sentry-mcp", "@sentry/mcp-server 0.39.0", _NODE, _NPM, "node run.mjs"),
    PackagedClient(
        "backstage", "@backstage/plugin-scaffolder-backend-module-sentry 0.4.0", _NODE, _NPM, "node run.cjs"
    ),
    Sdk("sdk-python", "sentry-sdk 2.75.0", [], [], f"{sys.executable} send.py"),
    Sdk("sdk-javascript", "@sentry/node 11.12.0", _NODE, _NPM, "node send.mjs"),
    Sdk("sdk-go", "github.com/getsentry/sentry-go v0.50.0", ["go"], _GO, "./client"),
    Sdk(
        "sdk-java",
        "io.sentry:sentry 8.63.0",
        ["java", "mvn"],
        ["mvn --batch-mode --quiet dependency:copy-dependencies"],
        "java -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=$PROXY_PORT -cp 'target/dependency/*' Send.java",
    ),
)

CLIENTS: Final[tuple[Client, ...]] = (*documented_readers(), *_PACKAGED)

// Sends spans and logs with the collector's Sentry exporter, which creates their project.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/sentryexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
)

const created = "checkout"

var background = context.Background()

func main() {
	factory := sentryexporter.NewFactory()
	configuration := factory.CreateDefaultConfig().(*sentryexporter.Config)
	configuration.URL = os.Getenv("API_URL")
	configuration.OrgSlug = os.Getenv("ORG")
	configuration.AuthToken = configopaque.String(os.Getenv("TOKEN"))
	configuration.AutoCreateProjects = true
	configuration.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]() // each error is returned
	settings := exportertest.NewNopSettings(factory.Type())
	settings.Logger = logger()
	traces, err := factory.CreateTraces(background, settings, configuration)
	check("create the exporter of traces", err)
	logs, err := factory.CreateLogs(background, settings, configuration)
	check("create the exporter of logs", err)
	for _, each := range []component.Component{traces, logs} {
		check("start", each.Start(background, componenttest.NewNopHost()))
	}
	sendAll(traces, logs)
	for _, each := range []component.Component{traces, logs} {
		check("stop", each.Shutdown(background))
	}
}

func sendAll(traces exporter.Traces, logs exporter.Logs) {
	spans := func(project string) func() error {
		return func() error { return traces.ConsumeTraces(background, newSpan(project)) }
	}
	until("send a span to a project", "traces/", 1, spans(os.Getenv("PROJECT")))
	until("create a project and send a span to it", "traces/", 2, spans(created))
	until("send a log to it", "logs/", 1, func() error { return logs.ConsumeLogs(background, newLog(created)) })
	replaceKey()
	until("find the new key after the former one is disabled", "traces/", 3, spans(created))
}

// Repeats an operation, since the exporter drops what it receives while it creates a project.
func until(operation, kind string, expected int, send func() error) {
	var err error
	for range 50 {
		err = send()
		if accepted(kind) == expected {
			fmt.Println(operation)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	check(operation, fmt.Errorf("%d requests accepted instead of %d; %w", accepted(kind), expected, err))
}

// Returns how many requests for data of this kind of the organization's project the ingest service accepted.
func accepted(kind string) int {
	response, err := http.Get(os.Getenv("INGEST_URL") + "/received")
	check("ask the ingest service", err)
	defer response.Body.Close()
	var received []struct {
		Path   string
		Status int
	}
	check("decode", json.NewDecoder(response.Body).Decode(&received))
	found := 0
	for _, each := range received {
		if strings.HasSuffix(each.Path, "/integration/otlp/v1/"+kind) && each.Status == http.StatusOK {
			found++
		}
	}
	return found
}

// Creates a key, disables the former one, and waits until the ingest service refuses it.
func replaceKey() {
	keys := fmt.Sprintf("%s/api/0/projects/%s/%s/keys/", os.Getenv("API_URL"), os.Getenv("ORG"), created)
	var former []struct{ ID string }
	call("GET", keys, "", &former)
	call("POST", keys, `{"name": "Second"}`, nil)
	call("PUT", keys+former[0].ID+"/", `{"isActive": false}`, nil)
}

func call(method, url, body string, result any) {
	request, err := http.NewRequest(method, url, bytes.NewBufferString(body))
	check(method, err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Prefer", "wait=10")
	response, err := http.DefaultClient.Do(request)
	check(method, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	check(method, err)
	if result != nil {
		check(method+" "+url, json.Unmarshal(content, result))
	}
}

func newSpan(project string) ptrace.Traces {
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", project)
	span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetName("request")
	span.SetTraceID([16]byte{1})
	span.SetSpanID([8]byte{1})
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return traces
}

func newLog(project string) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", project)
	resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("a line")
	return logs
}

func logger() *zap.Logger {
	configuration := zap.NewDevelopmentConfig()
	configuration.OutputPaths = []string{"stderr"}
	return zap.Must(configuration.Build())
}

func check(operation string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", operation, err)
		os.Exit(1)
	}
}

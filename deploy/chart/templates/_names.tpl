{{/* Prefix of the names of all objects; room is left for the longest suffix. */}}
{{- define "projectkeys.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (.Values.nameOverride | default .Chart.Name) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- /* The name of a Service begins with a letter. */ -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $parts := ternary (list $name .Release.Name) (list .Release.Name $name) (regexMatch "^[0-9]" .Release.Name) -}}
{{- join "-" $parts | replace "." "-" | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "projectkeys.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "projectkeys.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "projectkeys.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component. They never change, because a Deployment's selector cannot. The name is that
     of the release, so that two releases in one namespace do not select each other's pods.
     Argument: root, component. */}}
{{- define "projectkeys.selector" -}}
app.kubernetes.io/name: {{ include "projectkeys.fullname" .root }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* The member `metadata` of an object. Argument: root, component (or none), suffix, and optionally labels, annotations. */}}
{{- define "projectkeys.metadata" -}}
{{- $root := .root -}}
{{- $labels := dict
    "app.kubernetes.io/instance" $root.Release.Name
    "app.kubernetes.io/part-of" "projectkeys"
    "app.kubernetes.io/version" $root.Chart.AppVersion
    "app.kubernetes.io/managed-by" $root.Release.Service
    "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
metadata:
  name: {{ .name | default (printf "%s%s" (include "projectkeys.fullname" $root) (.suffix | default "")) }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- merge (include "projectkeys.selector" . | fromYaml) $labels (.labels | default dict) $root.Values.commonLabels | toYaml | nindent 4 }}
  {{- with merge (dict) (.annotations | default dict) $root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The processes to run, as a list. `key` is their member of the values. */}}
{{- define "projectkeys.components" -}}
- key: serve
  component: server
  suffix: ""
  container: projectkeys
  args: {{ ternary (list "serve" "--no-publish") (list "serve") .Values.publish.enabled | toJson }}
  port: {name: http, number: 8080, setting: PORT}
  path: /
  peers: apiFrom
  usesPostgres: true
{{- if .Values.publish.enabled }}
- key: publish
  component: publisher
  suffix: -publish
  container: publish
  args: [publish]
  usesPostgres: true
{{- end }}
{{- if .Values.edge.enabled }}
- key: edge
  component: edge
  suffix: -edge
  container: edge
  args: [edge]
  port: {name: edge, number: 8082, setting: EDGE_PORT}
  path: /api/0/relays/
  peers: edgeFrom
  usesPostgres: false
{{- end }}
{{- end -}}

{{/* Name of the Secret of a part. Argument: root, key (serve, publish, edge or migrate). */}}
{{- define "projectkeys.secretName" -}}
{{- $suffix := get (dict "serve" "-service" "migrate" "-owner" "edge" "-edge") .key -}}
{{- if (get .root.Values .key).secret.name -}}
{{- (get .root.Values .key).secret.name -}}
{{- else if eq .key "publish" -}}
{{- include "projectkeys.secretName" (dict "root" .root "key" "serve") -}}
{{- else -}}
{{- include "projectkeys.fullname" .root }}{{ $suffix }}
{{- end -}}
{{- end -}}

{{/* A value as the text of an environment variable: large whole numbers without exponent. */}}
{{- define "projectkeys.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{/* The settings in the ConfigMap of a component, as YAML. Argument: root, part (an item of projectkeys.components). */}}
{{- define "projectkeys.settings" -}}
{{- $fixed := dict "OPS_PORT" "8081" -}}
{{- with .part.port }}{{ $_ := set $fixed .setting (toString .number) }}{{ end -}}
{{- if eq .part.key "edge" }}{{ $_ := set $fixed "EDGE_SNAPSHOT" "/var/lib/projectkeys/keys.snapshot" }}{{ end -}}
{{- /* Not `merge`, which regards false and 0 as not set. */ -}}
{{- $settings := dict -}}
{{- range $given := list .root.Values.settings (get .root.Values .part.key).settings $fixed -}}
{{- range $name, $value := $given }}{{ $_ := set $settings $name $value }}{{ end -}}
{{- end -}}
{{- range $name, $value := $settings }}
{{ $name }}: {{ include "projectkeys.text" $value | quote }}
{{- end }}
{{- end -}}

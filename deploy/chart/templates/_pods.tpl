{{/* Members of every pod spec: no rights in the cluster, the restricted Pod Security Standard. Argument: the root. */}}
{{- define "projectkeys.podSecurity" -}}
serviceAccountName: {{ include "projectkeys.serviceAccountName" . }}
automountServiceAccountToken: false
# Service links would set variables such as KAFKA_PORT if a Service were named `kafka`.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $member := list "dnsPolicy" "dnsConfig" "hostAliases" "runtimeClassName" "schedulerName" }}
{{- with get $.Values $member }}
{{ $member }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
securityContext:
  {{- $security := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- if not .Values.openshift }}
  {{- /* The group may read the files of the Secrets. */}}
  {{- $security = merge $security (dict "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532) }}
  {{- end }}
  {{- range $member, $value := .Values.podSecurityContext }}{{ $_ := set $security $member $value }}{{ end }}
  {{- toYaml $security | nindent 2 }}
{{- end -}}

{{- define "projectkeys.containerSecurity" -}}
securityContext:
  {{- $security := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
  {{- range $member, $value := .Values.containerSecurityContext }}{{ $_ := set $security $member $value }}{{ end }}
  {{- toYaml $security | nindent 2 }}
{{- end -}}

{{- define "projectkeys.containerImage" -}}
image: {{ include "projectkeys.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* The directory of a Secret's files, and the name of its volume. Argument: name, own (the name of the own Secret). */}}
{{- define "projectkeys.secretDirectory" -}}
/etc/projectkeys/{{ ternary "secrets" .name (eq .name .own) }}
{{- end -}}

{{- define "projectkeys.secretVolume" -}}
secret-{{ sha256sum . | trunc 10 }}
{{- end -}}

{{/* Names of the Secrets that settings refer to, as a list. Argument: settings, own. */}}
{{- define "projectkeys.secretsOf" -}}
{{- $names := list -}}
{{- range $reference := .settings }}{{ $names = append $names ($reference.secret | default $.own) }}{{ end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* The members `env`, `envFrom` and `volumeMounts` of a container.
     Argument: root, config (name of the ConfigMap), settings (secretSettings), own (name of its Secret), mounts, and optionally
     envFrom, env and fixedEnv: of two variables of one name the last one counts. */}}
{{- define "projectkeys.containerInput" -}}
{{- $files := list "KAFKA_SSL_CAFILE" "KAFKA_SSL_CERTFILE" "KAFKA_SSL_KEYFILE" "RELAY_PUBLIC_KEYS_FILE" "PGSSLROOTCERT" "PGSSLCERT" "PGSSLKEY" "PGPASSFILE" -}}
{{- $env := concat .root.Values.extraEnv (.env | default list) -}}
{{- range $name, $reference := .settings }}
{{- $directory := include "projectkeys.secretDirectory" (dict "name" ($reference.secret | default $.own) "own" $.own) -}}
{{- $env = append $env (dict "name" (ternary $name (printf "%s_FILE" $name) (has $name $files)) "value" (printf "%s/%s" $directory $reference.key)) -}}
{{- end -}}
{{- $env = concat $env (.fixedEnv | default list) -}}
{{- $last := dict -}}
{{- range $env }}{{ $_ := set $last .name . }}{{ end -}}
envFrom:
  - configMapRef:
      name: {{ .config }}
  {{- with .envFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $env }}
env:
  {{- range . }}
  {{- if hasKey $last .name }}
  - {{ get $last .name | toYaml | nindent 4 | trim }}
  {{- $_ := unset $last .name }}
  {{- end }}
  {{- end }}
{{- end }}
volumeMounts:
  {{- range include "projectkeys.secretsOf" (dict "settings" .settings "own" .own) | fromJsonArray }}
  - name: {{ include "projectkeys.secretVolume" . }}
    mountPath: {{ include "projectkeys.secretDirectory" (dict "name" . "own" $.own) }}
    readOnly: true
  {{- end }}
  {{- toYaml (concat .mounts .root.Values.extraVolumeMounts (.extraMounts | default list)) | nindent 2 }}
{{- end -}}

{{/* Volumes of Secrets. Argument: a list of their names. */}}
{{- define "projectkeys.secretVolumes" -}}
{{- range uniq . }}
- name: {{ include "projectkeys.secretVolume" . }}
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* A probe. Argument: path, times. */}}
{{- define "projectkeys.probe" -}}
httpGet:
  path: {{ .path }}
  port: ops
{{- toYaml .times | nindent 0 }}
{{- end -}}

{{/* Names, labels and images. Every define that concerns one component takes (dict "root" $ "name" "asr"). */}}

{{- define "halfbeat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "halfbeat" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-halfbeat" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "halfbeat.tag" -}}{{ .Values.image.tag | default .Chart.AppVersion }}{{- end -}}

{{/* What a selector says: these never change in the life of a release. */}}
{{- define "halfbeat.selector" -}}
app.kubernetes.io/name: halfbeat
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "halfbeat.labels" -}}
{{- if .name }}
{{ include "halfbeat.selector" . }}
{{- else }}
app.kubernetes.io/name: halfbeat
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}
app.kubernetes.io/part-of: halfbeat
app.kubernetes.io/version: {{ include "halfbeat.tag" .root | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "halfbeat.metadata" -}}
name: {{ include "halfbeat.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "halfbeat.labels" . | trim | nindent 2 }}
{{- end -}}

{{- define "halfbeat.image" -}}
{{- $image := .root.Values.image -}}
{{- $variant := (index .root.Values .name).variant | default "" -}}
{{- printf "%s/%s/%s:%s%s" $image.registry $image.repository .name (include "halfbeat.tag" .root) (empty $variant | ternary "" (printf "-%s" $variant)) -}}
{{- end -}}

{{- define "halfbeat.priorityClass" -}}
{{- .Values.priorityClass.name | default (printf "%s-calls" (include "halfbeat.fullname" .)) -}}
{{- end -}}

{{- define "halfbeat.modelClaim" -}}
{{- .Values.modelCache.existingClaim | default (printf "%s-models" (include "halfbeat.fullname" .)) -}}
{{- end -}}

{{- define "halfbeat.drainSeconds" -}}
{{- kindIs "invalid" .Values.drainSeconds | ternary (add .Values.maxCallSeconds 10) .Values.drainSeconds | int -}}
{{- end -}}

{{/* The services of this release: a second site has no router of its own. */}}
{{- define "halfbeat.services" -}}
{{ .Values.router.enabled | ternary "router " "" }}asr dialogue tts
{{- end -}}

{{/* Where the language model listens. */}}
{{- define "halfbeat.llmPort" -}}{{ eq .Values.llm.engine "vllm" | ternary 8000 8081 }}{{- end -}}

{{- define "halfbeat.llmUrl" -}}
{{- if eq .Values.llm.engine "external" -}}
{{- required "llm.engine is external: set llm.url to the base URL of the server, ending in /v1" .Values.llm.url -}}
{{- else -}}
http://{{ include "halfbeat.fullname" . }}-llm:{{ include "halfbeat.llmPort" . }}/v1
{{- end -}}
{{- end -}}

{{- define "halfbeat.natsUrl" -}}
{{- if .Values.nats.bundled -}}
{{ .Values.nats.tls.enabled | ternary "tls" "nats" }}://{{ include "halfbeat.fullname" . }}-nats:4222
{{- else -}}
{{- required "nats.bundled is false: set nats.url to the server" .Values.nats.url -}}
{{- end -}}
{{- end -}}

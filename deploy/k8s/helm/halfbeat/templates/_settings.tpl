{{/* What the services read from their environment: ConfigMaps for the rest, Secrets by name. */}}

{{/* YAML's whole numbers arrive as floats; 1000000 must not become 1e+06. */}}
{{- define "halfbeat.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- define "halfbeat.variables" -}}
{{- $prefix := .prefix -}}
{{- range $name, $value := .settings }}
{{ $prefix }}{{ $name }}: {{ include "halfbeat.text" $value | quote }}
{{- end }}
{{- end -}}

{{/* Of all four services. What the user sets wins over what the chart finds out. */}}
{{- define "halfbeat.commonConfig" -}}
{{- $v := .root.Values -}}
{{- $found := dict "NATS_URL" (include "halfbeat.natsUrl" .root) "NATS_REPLICAS" $v.nats.replicas "DRAIN_S" (include "halfbeat.drainSeconds" .root) -}}
{{- if $v.nats.tls.enabled }}{{ $_ := set $found "NATS_TLS_CA" "/etc/halfbeat/nats-ca/ca.crt" }}{{ end -}}
{{- if eq $v.nats.auth.kind "credentials" }}{{ $_ := set $found "NATS_CREDENTIALS" "/etc/halfbeat/nats/nats.creds" }}{{ end -}}
{{- include "halfbeat.variables" (dict "prefix" "HALFBEAT_" "settings" (merge (deepCopy $v.settings) $found)) }}
{{- with $v.telemetry.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "halfbeat.serviceConfig" -}}
{{- $v := .root.Values -}}
{{- $found := dict -}}
{{- if eq .name "router" }}
{{- $found = dict "MAX_CALL_S" $v.maxCallSeconds }}
{{- else if eq .name "dialogue" }}
{{- $found = dict "LLM_URL" (include "halfbeat.llmUrl" .root) "LLM_MODEL" $v.llm.model }}
{{- if ne $v.llm.engine "llama" }}{{ $found = merge $found (dict "DIALECT" "native" "PREFILL" "one-token") }}{{ end }}
{{- end }}
{{- include "halfbeat.variables" (dict "prefix" (printf "HALFBEAT_%s_" (upper .name)) "settings" (merge (deepCopy (index $v .name).settings) $found)) }}
{{- if eq .name "dialogue" }}
{{- include "halfbeat.variables" (dict "prefix" "HALFBEAT_CITY311_" "settings" $v.city311.settings) }}
{{- end }}
{{- end -}}

{{/* Who the service is on the bus, and what only it may know. */}}
{{- define "halfbeat.identity" -}}
{{- $v := .root.Values -}}
{{- $user := empty $v.nats.auth.account | ternary .name (printf "%s-%s" $v.nats.auth.account .name) -}}
{{- if ne $v.nats.auth.kind "none" }}
- {name: HALFBEAT_NATS_INBOX_PREFIX, value: _INBOX_{{ $user }}}
{{- end }}
{{- if eq $v.nats.auth.kind "password" }}
- {name: HALFBEAT_NATS_USER, value: {{ $user }}}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_NATS_PASSWORD" "secret" $v.nats.auth.existingSecret "key" .name) }}
{{- end }}
{{- if eq .name "router" }}
{{- with $v.router.existingSecret }}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_ROUTER_API_KEYS" "secret" . "key" "api-keys") }}
{{- end }}
{{- with $v.router.twilioSecret }}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_ROUTER_TWILIO_AUTH_TOKEN" "secret" . "key" "twilio-auth-token") }}
{{- end }}
{{- else if eq .name "dialogue" }}
{{- with $v.llm.existingSecret }}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_DIALOGUE_LLM_API_KEY" "secret" . "key" "api-key") }}
{{- end }}
{{- with $v.city311.databaseSecret }}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_CITY311_DATABASE_URL" "secret" . "key" "url") }}
{{- end }}
{{- with $v.city311.twilioSecret }}
{{ include "halfbeat.secretEnv" (dict "env" "HALFBEAT_CITY311_TWILIO_AUTH_TOKEN" "secret" . "key" "auth-token") }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Mistakes that the schema cannot see. */}}
{{- define "halfbeat.check" -}}
{{- $v := .Values -}}
{{- if and $v.router.enabled (not $v.router.existingSecret) (not $v.router.settings.ALLOW_OPEN) -}}
{{- fail "anybody could call: set router.existingSecret (key api-keys), or router.settings.ALLOW_OPEN=true if something else guards the router" -}}
{{- end -}}
{{- $app := $v.dialogue.settings.APP | default "apps.city311" -}}
{{- $several := or (ne $v.autoscaling.kind "none") (gt (int $v.dialogue.replicas) 1) -}}
{{- if and (eq $app "apps.city311") (not $v.city311.databaseSecret) $several -}}
{{- fail "several dialogue pods would each have a city of their own: set city311.databaseSecret (key url), or dialogue.replicas=1 and autoscaling.kind=none" -}}
{{- end -}}
{{- if and $v.nats.bundled (eq $v.nats.auth.kind "credentials") -}}
{{- fail "the bundled NATS server has passwords or nothing: set nats.auth.kind, or nats.bundled=false" -}}
{{- end -}}
{{- if and $v.nats.bundled $v.nats.auth.account -}}
{{- fail "the bundled NATS is one tenant's own and has no accounts: leave nats.auth.account empty, or set nats.bundled=false" -}}
{{- end -}}
{{- if and $v.nats.bundled (gt (int $v.nats.replicas) 1) -}}
{{- fail "the bundled NATS is one server: set nats.replicas=1, or nats.bundled=false with a cluster of three" -}}
{{- end -}}
{{- if and (eq $v.modelCache.kind "perPod") (not $v.modelCache.pull) -}}
{{- fail "modelCache.kind=perPod begins empty: set modelCache.pull=true" -}}
{{- end -}}
{{- end -}}

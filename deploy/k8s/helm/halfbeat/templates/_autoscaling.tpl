{{/* When a component wants more pods: a query, and how much of it each pod takes. The largest number of pods wins; both
     kinds of autoscaler ask the same. `job` is the component, see the PodMonitor. */}}
{{- define "halfbeat.calls" -}}
sum(halfbeat_active_sessions{ {{- . -}} })
{{- end -}}

{{/* Calls as they will be in leadSeconds. */}}
{{- define "halfbeat.callsAhead" -}}
{{- $calls := include "halfbeat.calls" .labels -}}
({{ $calls }} + {{ .a.leadSeconds }} * clamp_min(deriv({{ $calls }}[{{ .a.trendSeconds }}s:15s]), 0))
{{- end -}}

{{- define "halfbeat.queries" -}}
{{- $a := .root.Values.autoscaling -}}
{{- $namespace := printf "namespace=%q" .root.Release.Namespace -}}
{{- $labels := printf "%s,job=%q" $namespace .name -}}
{{- $ahead := include "halfbeat.callsAhead" (dict "labels" (printf "%s,job=%q" $namespace (eq .name "llm" | ternary "dialogue" .name)) "a" $a) -}}
{{- $pods := printf "count(halfbeat_capacity_sessions{%s})" $labels -}}
{{- $more := divf (add 100 $a.troublePercent) 100 -}}
{{- $trouble := printf "%s * %v *" $pods $more -}}
{{- if eq .name "llm" }}
calls:
  query: {{ $ahead }} + {{ $a.warmSlots }}
  perPod: {{ .root.Values.llm.callsPerPod }}
waiting:
  query: sum({__name__=~"vllm:num_requests_waiting|llamacpp:requests_deferred",{{ $labels }}})
  perPod: {{ $a.llmWaiting }}
{{- else }}
filled:
  query: {{ $ahead }} / avg(halfbeat_capacity_sessions{ {{- $labels -}} })
  perPod: {{ $a.fill }}
warm:
  query: ({{ $ahead }} + {{ $a.warmSlots }}) / avg(halfbeat_capacity_sessions{ {{- $labels -}} })
  perPod: 1
{{- $refused := printf `(sum(increase(halfbeat_errors_total{%s,code="ERROR_CODE_AT_CAPACITY"}[1m])) or vector(0))` $labels }}
{{- if eq .name "router" }}{{/* Its doors refuse too, before a call begins. */}}
{{- $refused = printf `(%s + (sum(increase(halfbeat_edge_refused_total{%s,reason="at_capacity"}[1m])) or vector(0)))` $refused $labels }}
{{- end }}
refused:
  query: {{ $trouble }} ({{ $refused }} > bool 0)
  perPod: 1
{{- if ne .name "router" }}
missed:
  query: {{ $trouble }} ((sum(rate(halfbeat_missed_deadlines_total{ {{- $namespace -}} ,hop=~"{{ eq .name "dialogue" | ternary "llm" .name }}[.].*"}[2m])) / sum(rate(halfbeat_v2v_seconds_count{ {{- $namespace -}} }[2m])) or vector(0)) > bool {{ $a.missedShare }})
  perPod: 1
{{- end }}
{{- end }}
{{- end -}}

{{/* Name of a query's value in the external metrics API. */}}
{{- define "halfbeat.externalMetric" -}}
halfbeat_{{ .name }}_{{ .query }}
{{- end -}}

{{/* Up at once, down slowly. */}}
{{- define "halfbeat.scaling" -}}
scaleUp:
  stabilizationWindowSeconds: {{ .scaleUp.windowSeconds }}
  policies:
    - {type: Percent, value: {{ .scaleUp.percent }}, periodSeconds: {{ .scaleUp.periodSeconds }}}
    - {type: Pods, value: {{ .scaleUp.pods }}, periodSeconds: {{ .scaleUp.periodSeconds }}}
scaleDown:
  stabilizationWindowSeconds: {{ .scaleDown.windowSeconds }}
  policies:
    - {type: Percent, value: {{ .scaleDown.percent }}, periodSeconds: {{ .scaleDown.periodSeconds }}}
{{- end -}}

{{/* Components that scale. */}}
{{- define "halfbeat.scaled" -}}
{{- include "halfbeat.services" . }}{{ eq .Values.llm.engine "external" | ternary "" " llm" }}
{{- end -}}

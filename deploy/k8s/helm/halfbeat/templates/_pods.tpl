{{/* Parts of pods that all components share. */}}

{{/* The restricted profile of the Pod Security Standards. */}}
{{- define "halfbeat.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "halfbeat.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What stands before a pod's containers. enableServiceLinks: false is no nicety: the variables that Kubernetes makes of
     Services (HALFBEAT_ASR_SERVICE_HOST, ...) would be unknown settings, which a service refuses to start with. */}}
{{- define "halfbeat.podSpec" -}}
serviceAccountName: {{ include "halfbeat.fullname" .root }}-{{ .name }}
automountServiceAccountToken: false
enableServiceLinks: false
priorityClassName: {{ include "halfbeat.priorityClass" .root }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "halfbeat.podSecurity" . | nindent 2 }}
{{- $values := index .root.Values .name }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "halfbeat.selector" $ | nindent 8 }}
    {{- if ne $.name "nats" }}
    # During an upgrade the old pods, which may drain for half an hour, do not count.
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Fetches the models that the service needs; a check of a second when they are there. */}}
{{- define "halfbeat.pullModels" -}}
- name: models
  image: {{ include "halfbeat.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [python, -m, halfbeat.cli, models, pull, {{ join ", " (index .root.Values .name).models }}]
  {{- with .root.Values.modelCache.env }}
  env:
    {{- range $key, $value := . }}
    - {name: {{ $key }}, value: {{ $value | quote }}}
    {{- end }}
  {{- end }}
  resources:
    requests: {cpu: 100m, memory: 256Mi}
    limits: {memory: 512Mi}
  securityContext:
    {{- include "halfbeat.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /cache}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "halfbeat.modelVolume" -}}
- name: models
  {{- if eq .Values.modelCache.kind "perPod" }}
  emptyDir: {sizeLimit: {{ .Values.modelCache.size }}}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ include "halfbeat.modelClaim" . }}}
  {{- end }}
{{- end -}}

{{- define "halfbeat.tmpVolume" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- end -}}

{{/* Files that prove who the service is on the bus, and who the server is. */}}
{{- define "halfbeat.busMounts" -}}
{{- if eq .Values.nats.auth.kind "credentials" }}
- {name: nats-credentials, mountPath: /etc/halfbeat/nats, readOnly: true}
{{- end }}
{{- if .Values.nats.tls.enabled }}
- {name: nats-ca, mountPath: /etc/halfbeat/nats-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "halfbeat.busVolumes" -}}
{{- $nats := .root.Values.nats -}}
{{- if eq $nats.auth.kind "credentials" }}
- name: nats-credentials
  secret:
    secretName: {{ $nats.auth.existingSecret }}
    items: [{key: {{ .name }}.creds, path: nats.creds}]
{{- end }}
{{- if $nats.tls.enabled }}
- name: nats-ca
  secret:
    secretName: {{ $nats.tls.existingSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}

{{/* Liveness is lenient on purpose: a restart ends every call of the pod. */}}
{{- define "halfbeat.probes" -}}
startupProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 150
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{- define "halfbeat.secretEnv" -}}
- name: {{ .env }}
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end -}}

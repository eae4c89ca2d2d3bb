{{/* The name of everything: the release's, with the chart's in it. */}}
{{- define "strandline.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* What pods are found by. */}}
{{- define "strandline.selector" -}}
app.kubernetes.io/name: strandline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "strandline.labels" -}}
{{ include "strandline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "strandline.account" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "strandline.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The roles that serve. */}}
{{- define "strandline.roles" -}}
ingest{{ if .Values.reader.enabled }} reader{{ end }}
{{- end -}}

{{/* Whether pods are told the zone of their machine. */}}
{{- define "strandline.zone" -}}
{{- if and .Values.rack.byZone (semverCompare ">=1.35.0-0" .Capabilities.KubeVersion.Version) -}}true{{- end -}}
{{- end -}}

{{/* The rack of a node; empty: it has none. Called with the root and the role. */}}
{{- define "strandline.rack" -}}
{{- $parts := list -}}
{{- if .root.Values.rack.byRole }}{{ $parts = append $parts .role }}{{ end -}}
{{- if include "strandline.zone" .root }}{{ $parts = append $parts "$(ZONE)" }}{{ end -}}
{{ join "-" $parts }}
{{- end -}}

{{/* Annotations of pods. A changed setting rolls them, since the ConfigMap keeps its name. Called with the root, the role's
     values, and whether Prometheus may ask. */}}
{{- define "strandline.podAnnotations" -}}
checksum/settings: {{ include "strandline.settings" .root | sha256sum }}
{{- if and .scraped .root.Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "9080"
prometheus.io/path: /metrics
{{- end }}
{{- with .values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What all pods are told. */}}
{{- define "strandline.settings" -}}
STRANDLINE_STORE: {{ required "store.url says where everything is, such as s3://bucket/prefix: set it" .Values.store.url | quote }}
{{- with .Values.store.region }}
AWS_REGION: {{ . | quote }}
{{- end }}
{{- with .Values.store.endpoint }}
AWS_ENDPOINT_URL: {{ . | quote }}
{{- end }}
{{- if .Values.store.allowHttp }}
AWS_ALLOW_HTTP: "true"
{{- end }}
STRANDLINE_LOG_FORMAT: {{ .Values.log.format | quote }}
{{- with .Values.log.level }}
STRANDLINE_LOG_LEVEL: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The part of a pod that is the same for all roles. Called with the root and the role's values. */}}
{{- define "strandline.pod" -}}
serviceAccountName: {{ include "strandline.account" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 15
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The same for a container. */}}
{{- define "strandline.container" -}}
image: {{ printf "%s:%s" .root.Values.image.repository (.root.Values.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
envFrom:
  - configMapRef:
      name: {{ include "strandline.name" .root }}
  {{- with .root.Values.credentials.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- end -}}

{{/* Variables of one role, on top. */}}
{{- define "strandline.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

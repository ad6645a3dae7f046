{{/* The chart's name in labels. */}}
{{- define "mcp-hangar-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{/* Prefix of all names of the release. Never cut: see _validate.tpl. */}}
{{- define "mcp-hangar-operator.fullname" -}}
{{- $name := include "mcp-hangar-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name }}
{{- end }}
{{- end }}

{{- define "mcp-hangar-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mcp-hangar-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels that are no selector. */}}
{{- define "mcp-hangar-operator.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: mcp-hangar
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mcp-hangar-operator.labels" -}}
{{ include "mcp-hangar-operator.selectorLabels" . }}
{{ include "mcp-hangar-operator.commonLabels" . }}
{{- end }}

{{- define "mcp-hangar-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "mcp-hangar-operator.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "mcp-hangar-operator.webhookService" -}}
{{ include "mcp-hangar-operator.fullname" . }}-webhook
{{- end }}

{{- define "mcp-hangar-operator.serviceNamespace" -}}
{{ .Release.Namespace }}
{{- end }}

{{- define "mcp-hangar-operator.caSecret" -}}
{{ include "mcp-hangar-operator.fullname" . }}-webhook-ca
{{- end }}

{{/*
One name for every release: a CRD has room for one conversion webhook, so a cluster has room for one operator, and
Helm refuses a second release by this name.
*/}}
{{- define "mcp-hangar-operator.configurationName" -}}
mcp-hangar-operator
{{- end }}

{{- define "mcp-hangar-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a CRD, below its name. */}}
{{- define "mcp-hangar-operator.crdMetadata" -}}
labels:
  {{- include "mcp-hangar-operator.labels" . | nindent 2 }}
{{- if .Values.crds.keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end }}

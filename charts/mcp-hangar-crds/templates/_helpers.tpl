{{- define "mcp-hangar-crds.webhookService" -}}
{{ .Values.operator.serviceName }}
{{- end }}

{{- define "mcp-hangar-crds.serviceNamespace" -}}
{{ .Values.operator.namespace | default .Release.Namespace }}
{{- end }}

{{/* Labels and annotations of a CRD, below its name. */}}
{{- define "mcp-hangar-crds.crdMetadata" -}}
labels:
  app.kubernetes.io/name: {{ .Chart.Name }}
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/part-of: mcp-hangar
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
  {{- with .Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if .Values.keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end }}

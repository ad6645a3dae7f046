{{- /* Generated from the Rust code by `make generate`; changes made here are lost. */ -}}
{{- define "mcp-hangar-operator.mutatingWebhooks" -}}
webhooks:
- admissionReviewVersions:
  - v1
  clientConfig:
    service:
      name: {{ include "mcp-hangar-operator.webhookService" . }}
      namespace: {{ include "mcp-hangar-operator.serviceNamespace" . }}
      path: /default
      port: {{ .Values.webhook.service.port }}
  failurePolicy: {{ .Values.webhook.failurePolicy }}
  matchConditions:
  - expression: "!has(object.metadata.deletionTimestamp)"
    name: not-deleting
  - expression: >-
      request.operation == "CREATE" || has(object.spec) != has(oldObject.spec) ||
      (has(object.spec) && object.spec != oldObject.spec) ||
      !object.metadata.?annotations.orValue({}).all(k, k in ['mcp-hangar.io/wake', 'mcp-hangar.io/last-activity'] ||
      (k in oldObject.metadata.?annotations.orValue({}) &&
      object.metadata.annotations[k] == oldObject.metadata.annotations[k])) ||
      !oldObject.metadata.?annotations.orValue({}).all(k, k in ['mcp-hangar.io/wake', 'mcp-hangar.io/last-activity'] || k
      in object.metadata.?annotations.orValue({}))
    name: spec-or-annotations-changed
  matchPolicy: Equivalent
  name: default.mcp-hangar.io
  namespaceSelector: {{ .Values.webhook.namespaceSelector | default dict | toJson }}
  objectSelector: {}
  reinvocationPolicy: IfNeeded
  rules:
  - apiGroups:
    - mcp-hangar.io
    apiVersions:
    - v1alpha1
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - mcpproviders
    - mcpprovidergroups
    - mcpdiscoverysources
    scope: Namespaced
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
{{- end }}
{{- define "mcp-hangar-operator.validatingWebhooks" -}}
webhooks:
- admissionReviewVersions:
  - v1
  clientConfig:
    service:
      name: {{ include "mcp-hangar-operator.webhookService" . }}
      namespace: {{ include "mcp-hangar-operator.serviceNamespace" . }}
      path: /validate
      port: {{ .Values.webhook.service.port }}
  failurePolicy: {{ .Values.webhook.failurePolicy }}
  matchConditions:
  - expression: "!has(object.metadata.deletionTimestamp)"
    name: not-deleting
  - expression: >-
      request.operation == "CREATE" || has(object.spec) != has(oldObject.spec) ||
      (has(object.spec) && object.spec != oldObject.spec) ||
      !object.metadata.?annotations.orValue({}).all(k, k in ['mcp-hangar.io/wake', 'mcp-hangar.io/last-activity'] ||
      (k in oldObject.metadata.?annotations.orValue({}) &&
      object.metadata.annotations[k] == oldObject.metadata.annotations[k])) ||
      !oldObject.metadata.?annotations.orValue({}).all(k, k in ['mcp-hangar.io/wake', 'mcp-hangar.io/last-activity'] || k
      in object.metadata.?annotations.orValue({}))
    name: spec-or-annotations-changed
  matchPolicy: Equivalent
  name: validate.mcp-hangar.io
  namespaceSelector: {{ .Values.webhook.namespaceSelector | default dict | toJson }}
  objectSelector: {}
  rules:
  - apiGroups:
    - mcp-hangar.io
    apiVersions:
    - v1alpha1
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - mcpproviders
    - mcpprovidergroups
    - mcpdiscoverysources
    scope: Namespaced
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
{{- end }}

{{- /* Generated from the Rust code by `make generate`; changes made here are lost. */ -}}
{{- define "mcp-hangar-operator.clusterRules" -}}
- apiGroups:
  - admissionregistration.k8s.io
  resourceNames:
  - {{ include "mcp-hangar-operator.configurationName" . }}
  resources:
  - mutatingwebhookconfigurations
  verbs:
  - get
  - list
  - watch
  - patch
- apiGroups:
  - admissionregistration.k8s.io
  resourceNames:
  - {{ include "mcp-hangar-operator.configurationName" . }}
  resources:
  - validatingwebhookconfigurations
  verbs:
  - get
  - list
  - watch
  - patch
- apiGroups:
  - apiextensions.k8s.io
  resourceNames:
  - mcpproviders.mcp-hangar.io
  - mcpprovidergroups.mcp-hangar.io
  - mcpdiscoverysources.mcp-hangar.io
  resources:
  - customresourcedefinitions
  verbs:
  - get
  - list
  - watch
  - patch
{{- end }}
{{- define "mcp-hangar-operator.providerRules" -}}
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpproviders
  verbs:
  - list
  - watch
  - get
  - create
  - patch
  - delete
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpproviders/status
  verbs:
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpprovidergroups
  verbs:
  - list
  - watch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpprovidergroups/status
  verbs:
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpdiscoverysources
  verbs:
  - get
  - list
  - watch
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpdiscoverysources/status
  verbs:
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpdiscoverysources/finalizers
  verbs:
  - update
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpproviders/finalizers
  verbs:
  - update
- apiGroups:
  - apps
  resources:
  - deployments
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - ""
  resources:
  - services
  verbs:
  - get
  - list
  - watch
  - create
  - patch
  - delete
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - list
  - watch
- apiGroups:
  - ""
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}
{{- define "mcp-hangar-operator.selectionRules" -}}
- apiGroups:
  - ""
  resources:
  - namespaces
  verbs:
  - get
  - list
  - watch
{{- end }}
{{- define "mcp-hangar-operator.providerSecretRules" -}}
- apiGroups:
  - ""
  resources:
  - secrets
  verbs:
  - get
  - list
  - watch
{{- end }}
{{- define "mcp-hangar-operator.eventRules" -}}
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - create
  - patch
{{- end }}
{{- define "mcp-hangar-operator.migrationRules" -}}
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpproviders
  verbs:
  - list
  - patch
- apiGroups:
  - apiextensions.k8s.io
  resourceNames:
  - mcpproviders.mcp-hangar.io
  - mcpprovidergroups.mcp-hangar.io
  - mcpdiscoverysources.mcp-hangar.io
  resources:
  - customresourcedefinitions/status
  verbs:
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpprovidergroups
  verbs:
  - list
  - patch
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpdiscoverysources
  verbs:
  - list
  - patch
{{- end }}
{{- define "mcp-hangar-operator.namespaceRules" -}}
- apiGroups:
  - mcp-hangar.io
  resources:
  - mcpproviders
  verbs:
  - create
{{- end }}
{{- define "mcp-hangar-operator.ownCaRules" -}}
- apiGroups:
  - ""
  resourceNames:
  - {{ include "mcp-hangar-operator.caSecret" . }}
  resources:
  - secrets
  verbs:
  - get
  - list
  - watch
  - update
- apiGroups:
  - ""
  resources:
  - secrets
  verbs:
  - create
{{- end }}
{{- define "mcp-hangar-operator.electionRules" -}}
- apiGroups:
  - coordination.k8s.io
  resourceNames:
  - {{ include "mcp-hangar-operator.fullname" . }}
  resources:
  - leases
  verbs:
  - get
  - update
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - create
{{- end }}

{{/* Whole seconds of a duration such as 1m30s. */}}
{{- define "mcp-hangar-operator.seconds" -}}
{{- $zero := toDate "2006-01-02" "1970-01-02" }}
{{- sub (mustDateModify . $zero | unixEpoch) (unixEpoch $zero) }}
{{- end }}

{{/* What a schema cannot say, or not in words. Included once, by deployment.yaml; each text names the value and what to write. */}}
{{- define "mcp-hangar-operator.validate" -}}
{{- include "mcp-hangar-operator.validateTexts" . }}
{{- include "mcp-hangar-operator.validateNames" . }}
{{- include "mcp-hangar-operator.validatePairs" . }}
{{- end }}

{{/* Texts of a certain form: path, value, form, and what it should be. A schema would only print the form. */}}
{{- define "mcp-hangar-operator.validateTexts" -}}
{{- $v := .Values }}
{{- $duration := list "^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" "a duration: write a number with its unit, such as 15s or 1m30s" }}
{{- $scrape := list "^([0-9]+(ms|s|m|h|d))+$" "a duration of Prometheus: write a whole number with its unit, such as 30s" }}
{{- $name := list "^$|^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$" "a name: at most 253 lowercase letters, digits, '-' and '.'" }}
{{- $namespace := list "^$|^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" "a namespace: at most 63 lowercase letters, digits and '-'" }}
{{- $some := list "^[0-9]+%?$" "a number of pods or a percentage such as 50%" }}
{{- $checks := list
  (list "nameOverride" $v.nameOverride (list "^$|^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" "a name: at most 63 lowercase letters, digits and '-'"))
  (list "image.repository" $v.image.repository (list "^[^:@\\s]+(:[0-9]+/[^:@\\s]+)?$" "an image without tag and digest: they have values of their own, image.tag and image.digest"))
  (list "image.tag" $v.image.tag (list "^$|^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" "a tag"))
  (list "image.digest" $v.image.digest (list "^$|^sha256:[0-9a-f]{64}$" "a digest: write sha256: and 64 hexadecimal digits"))
  (list "operator.logLevel" $v.operator.logLevel (list "^[A-Za-z0-9_,=:-]+$" "a level: write error, warn, info, debug, trace, or directives such as info,mcp_hangar_webhooks=debug"))
  (list "operator.drain.minimum" $v.operator.drain.minimum $duration)
  (list "operator.drain.quiet" $v.operator.drain.quiet $duration)
  (list "operator.drain.maximum" $v.operator.drain.maximum $duration)
  (list "operator.leaderElection.leaseDuration" $v.operator.leaderElection.leaseDuration $duration)
  (list "operator.leaderElection.renewDeadline" $v.operator.leaderElection.renewDeadline $duration)
  (list "operator.leaderElection.retryPeriod" $v.operator.leaderElection.retryPeriod $duration)
  (list "serviceMonitor.interval" $v.serviceMonitor.interval $scrape)
  (list "serviceMonitor.scrapeTimeout" $v.serviceMonitor.scrapeTimeout $scrape)
  (list "podMonitor.interval" $v.podMonitor.interval $scrape)
  (list "podMonitor.scrapeTimeout" $v.podMonitor.scrapeTimeout $scrape)
  (list "serviceMonitor.namespace" $v.serviceMonitor.namespace $namespace)
  (list "podMonitor.namespace" $v.podMonitor.namespace $namespace)
  (list "prometheusRule.namespace" $v.prometheusRule.namespace $namespace)
  (list "grafanaDashboard.namespace" $v.grafanaDashboard.namespace $namespace)
  (list "prometheusRule.runbookUrl" $v.prometheusRule.runbookUrl (list "^https?://" "an address: it begins with https:// or http://"))
  (list "serviceAccount.name" $v.serviceAccount.name $name)
  (list "webhook.tls.secretName" $v.webhook.tls.secretName $name)
  (list "priorityClassName" $v.priorityClassName $name)
  (list "podDisruptionBudget.minAvailable" $v.podDisruptionBudget.minAvailable $some)
  (list "podDisruptionBudget.maxUnavailable" $v.podDisruptionBudget.maxUnavailable (list "^([0-9]+%?)?$" (last $some)))
}}
{{- range $index, $value := $v.configMapNamespaces }}
{{- $checks = append $checks (list (printf "configMapNamespaces[%d]" $index) $value (list "^([*]|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$" (printf "%s, or * for all" (last $namespace)))) }}
{{- end }}
{{- range $index, $value := $v.watchNamespaces }}
{{- $checks = append $checks (list (printf "watchNamespaces[%d]" $index) $value (list "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" (last $namespace))) }}
{{- end }}
{{- range $index, $value := $v.secretNamespaces }}
{{- $checks = append $checks (list (printf "secretNamespaces[%d]" $index) $value (list "^([*]|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$" (printf "%s, or * for all" (last $namespace)))) }}
{{- end }}
{{- range $index, $value := $v.networkPolicy.remoteProviders }}
{{- $checks = append $checks (list (printf "networkPolicy.remoteProviders[%d]" $index) $value (list "^[0-9a-fA-F.:]+/[0-9]{1,3}$" "a network: write an address and a length, such as 203.0.113.0/24")) }}
{{- end }}
{{- range $check := $checks }}
{{- $value := index $check 1 | toString }}
{{- if not (regexMatch (index $check 2 | first) $value) }}
{{- fail (printf "%s: %q is not %s" (first $check) $value (index $check 2 | last)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mcp-hangar-operator.validateNames" -}}
{{- $full := include "mcp-hangar-operator.fullname" . }}
{{- $service := include "mcp-hangar-operator.webhookService" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "the full name %q cannot be the name of a Service: it must start with a letter and hold lowercase letters, digits and '-' only; set fullnameOverride" $full) }}
{{- end }}
{{- if gt (len $service) 63 }}
{{- fail (printf "the name of the webhook Service, %q, has %d characters and the API server takes 63; use a shorter release name, or set fullnameOverride to at most 55 characters" $service (len $service)) }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .Release.Namespace) }}
{{- fail (printf "the namespace %q cannot stand in the webhook's certificate (%s.%s.svc): a namespace is at most 63 lowercase letters, digits and '-'" .Release.Namespace $service .Release.Namespace) }}
{{- end }}
{{- end }}

{{- define "mcp-hangar-operator.validatePairs" -}}
{{- range $value, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if hasKey ($labels | default dict) $label }}
{{- fail (printf "%s: %s is the chart's own, it tells our pods from others; use another label, or nameOverride" $value $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* A number from --set is another type than one from a file. */}}
{{- $ports := list (int .Values.webhook.port) (int .Values.operator.health.port) }}
{{- if .Values.operator.metrics.enabled }}
{{- $ports = append $ports (int .Values.operator.metrics.port) }}
{{- end }}
{{- if ne (len ($ports | uniq)) (len $ports) }}
{{- fail "webhook.port, operator.metrics.port and operator.health.port must differ: all three are ports of one pod" }}
{{- end }}
{{- if and (not .Values.operator.metrics.enabled) (or .Values.serviceMonitor.enabled .Values.podMonitor.enabled) }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled need operator.metrics.enabled: there would be nothing to scrape" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled are both true: every series would be counted twice; choose one" }}
{{- end }}
{{- if and (not .Values.operator.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}
{{- fail (printf "operator.leaderElection.enabled is false with replicaCount %d: several replicas would rotate and migrate at the same time; set replicaCount to 1" (int .Values.replicaCount)) }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) .Values.rbac.create }}
{{- fail "serviceAccount.create is false and serviceAccount.name empty: the roles would be bound to the account default, and with it to every pod of the namespace; name an account, or set rbac.create to false" }}
{{- end }}
{{- $drain := .Values.operator.drain }}
{{- $longest := include "mcp-hangar-operator.seconds" $drain.maximum | int }}
{{- if gt (include "mcp-hangar-operator.seconds" $drain.minimum | int) $longest }}
{{- fail (printf "operator.drain.minimum (%s) is longer than operator.drain.maximum (%s): set both, or lower the first" $drain.minimum $drain.maximum) }}
{{- end }}
{{- if le (int .Values.terminationGracePeriodSeconds) $longest }}
{{- fail (printf "terminationGracePeriodSeconds (%d) is not longer than operator.drain.maximum (%s): the pod would be killed while it answers" (int .Values.terminationGracePeriodSeconds) $drain.maximum) }}
{{- end }}
{{- with .Values.operator.leaderElection }}
{{- $deadline := include "mcp-hangar-operator.seconds" .renewDeadline | int }}
{{- if ge $deadline (include "mcp-hangar-operator.seconds" .leaseDuration | int) }}
{{- fail (printf "operator.leaderElection.renewDeadline (%s) is not shorter than operator.leaderElection.leaseDuration (%s): a leader must have stopped before another may start" .renewDeadline .leaseDuration) }}
{{- end }}
{{- if ge (include "mcp-hangar-operator.seconds" .retryPeriod | int) $deadline }}
{{- fail (printf "operator.leaderElection.retryPeriod (%s) is not shorter than operator.leaderElection.renewDeadline (%s): a leader must try again before it has to stop" .retryPeriod .renewDeadline) }}
{{- end }}
{{- /* The operator's own limits: a pod that refuses its arguments says so too late. */}}
{{- $lease := include "mcp-hangar-operator.seconds" .leaseDuration | int }}
{{- if or (lt $lease 1) (gt $lease 600) }}
{{- fail (printf "operator.leaderElection.leaseDuration (%s) is not between 1s and 10m" .leaseDuration) }}
{{- end }}
{{- if gt (mul $deadline 6) (mul $lease 5) }}
{{- fail (printf "operator.leaderElection.renewDeadline (%s) is more than five sixths of operator.leaderElection.leaseDuration (%s): a leader must have stopped before another may start, whatever their clocks do" .renewDeadline .leaseDuration) }}
{{- end }}
{{- if gt (mul 2 (include "mcp-hangar-operator.seconds" .retryPeriod | int)) $deadline }}
{{- fail (printf "operator.leaderElection.retryPeriod (%s) is more than half of operator.leaderElection.renewDeadline (%s): a leader must try again before it has to stop" .retryPeriod .renewDeadline) }}
{{- end }}
{{- end }}
{{- end }}

//! Every value of `values.yaml`, changed once: what it does stands in the rendered chart, or in what Helm says afterwards.
//!
//! The table has a row for each leaf; a leaf without a row fails, and so does a row whose words are there without it.
//! The same walk holds docs/chart.md (`UPDATE=1` writes it) and the schema to values.yaml.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::helm::{CRDS, OPERATOR, RELEASE, helm4, read, root};

/// Where the words of a row must stand.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Chart,
    Notes,
    /// They are in the chart with the default, and gone with the value.
    Gone,
}
use In::{Chart, Gone, Notes};

/// A leaf, a value for it, what else has to be set, and words that are there then and not before.
type Row = (&'static str, &'static str, &'static [&'static str], In, &'static str);

const METRICS_OFF: &str = "operator.metrics.enabled=false";
const SERVICE_MONITOR: &[&str] = &["serviceMonitor.enabled=true"];
const POD_MONITOR: &[&str] = &["podMonitor.enabled=true"];
const RULES: &[&str] = &["prometheusRule.enabled=true"];
const DASHBOARD: &[&str] = &["grafanaDashboard.enabled=true"];
const POLICY: &[&str] = &["networkPolicy.enabled=true"];

const ROWS: &[Row] = &[
    ("nameOverride", r#""tools""#, &[], Chart, "name: mcp-hangar-operator-tools-webhook"),
    ("fullnameOverride", r#""tools""#, &[], Chart, "name: tools-webhook\n"),
    ("commonLabels", r#"{"team":"red"}"#, &[], Chart, "    team: red\n"),
    ("replicaCount", "3", &[], Chart, "replicas: 3\n"),
    (
        "image.repository",
        r#""reg.example.com:5000/x/op""#,
        &[],
        Chart,
        "image: \"reg.example.com:5000/x/op:0.1.0\"",
    ),
    ("image.tag", r#""v9""#, &[], Chart, "mcp-hangar-operator:v9\""),
    (
        "image.digest",
        r#""sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#,
        &["image.tag=\"v9\""],
        Chart,
        "mcp-hangar-operator@sha256:e3b0",
    ),
    ("image.pullPolicy", r#""Never""#, &[], Chart, "imagePullPolicy: Never"),
    ("imagePullSecrets", r#"[{"name":"reg"}]"#, &[], Chart, "imagePullSecrets:\n        - name: reg"),
    (
        "serviceAccount.create",
        "false",
        &["serviceAccount.name=\"mine\""],
        Gone,
        "kind: ServiceAccount\nmetadata",
    ),
    ("serviceAccount.name", r#""mine""#, &[], Chart, "serviceAccountName: mine"),
    ("serviceAccount.annotations", r#"{"role":"arn"}"#, &[], Chart, "    role: arn"),
    ("rbac.create", "false", &[], Gone, "kind: ClusterRoleBinding"),
    ("rbac.aggregate", "false", &[], Gone, "rbac.authorization.k8s.io/aggregate-to-view"),
    (
        "rbac.additionalRules",
        r#"[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}]"#,
        &[],
        Chart,
        "    resources:\n    - nodes",
    ),
    ("operator.logLevel", r#""debug""#, &[], Chart, "--log-level=debug"),
    ("operator.logFormat", r#""text""#, &[], Chart, "--log-format=text"),
    ("operator.metrics.enabled", "false", &[], Chart, "--metrics-addr=off"),
    ("operator.metrics.port", "9090", &[], Chart, "--metrics-addr=[::]:9090"),
    ("operator.health.port", "9091", &[], Chart, "--health-addr=[::]:9091"),
    ("operator.leaderElection.enabled", "false", &["replicaCount=1"], Chart, "--leader-elect=false"),
    ("operator.leaderElection.leaseDuration", r#""30s""#, &[], Chart, "--leader-elect-lease-duration=30s"),
    ("operator.leaderElection.renewDeadline", r#""8s""#, &[], Chart, "--leader-elect-renew-deadline=8s"),
    ("operator.leaderElection.retryPeriod", r#""1s""#, &[], Chart, "--leader-elect-retry-period=1s"),
    ("operator.storageMigration.objectsPerSecond", "0", &[], Chart, "--migrate-rate=0"),
    ("operator.imageDigestPolicy", r#""block""#, &[], Chart, "--image-digest-policy=block"),
    ("operator.drain.minimum", r#""1s""#, &[], Chart, "--drain-minimum=1s"),
    ("operator.drain.quiet", r#""2s""#, &[], Chart, "--drain-quiet=2s"),
    ("operator.drain.maximum", r#""40s""#, &[], Chart, "--drain-maximum=40s"),
    (
        "operator.reconcile",
        r#"{"maxConcurrentReconciles":3}"#,
        &[],
        Notes,
        "operator.reconcile.maxConcurrentReconciles",
    ),
    ("hangar", r#"{"url":"http://x"}"#, &[], Notes, "first release have them: hangar.url."),
    ("configMapNamespaces", r#"["a","b"]"#, &[], Chart, "--configmap-namespaces=a,b"),
    ("watchNamespaces", r#"["a","b"]"#, &[], Chart, "--watch-namespaces=a,b"),
    ("secretNamespaces", r#"["a","b"]"#, &[], Chart, "--secret-namespaces=a,b"),
    ("crds.install", "false", &[], Gone, "kind: CustomResourceDefinition"),
    ("crds.keep", "false", &[], Gone, "helm.sh/resource-policy: keep"),
    ("webhook.port", "10250", &[], Chart, "--webhook-addr=[::]:10250"),
    ("webhook.service.port", "8443", &[], Chart, "path: /convert\n          port: 8443"),
    ("webhook.service.annotations", r#"{"lb":"no"}"#, &[], Chart, "    lb: \"no\"\n"),
    ("webhook.failurePolicy", r#""Ignore""#, &[], Chart, "failurePolicy: Ignore"),
    ("webhook.timeoutSeconds", "9", &[], Chart, "timeoutSeconds: 9"),
    (
        "webhook.namespaceSelector",
        r#"{"matchLabels":{"a":"b"}}"#,
        &[],
        Chart,
        r#"namespaceSelector: {"matchLabels":{"a":"b"}}"#,
    ),
    ("webhook.tls.secretName", r#""own""#, &[], Chart, "secretName: own"),
    ("hostNetwork", "true", &[], Chart, "hostNetwork: true"),
    ("dnsPolicy", r#""Default""#, &[], Chart, "dnsPolicy: Default"),
    ("resources.requests.cpu", r#""70m""#, &[], Chart, "cpu: 70m"),
    ("resources.requests.memory", r#""70Mi""#, &[], Chart, "memory: 70Mi"),
    ("resources.limits.memory", r#""800Mi""#, &[], Chart, "memory: 800Mi"),
    ("podSecurityContext.runAsNonRoot", "false", &[], Chart, "runAsNonRoot: false"),
    ("podSecurityContext.runAsUser", "1234", &[], Chart, "runAsUser: 1234"),
    ("podSecurityContext.runAsGroup", "1234", &[], Chart, "runAsGroup: 1234"),
    ("podSecurityContext.seccompProfile.type", r#""Unconfined""#, &[], Chart, "type: Unconfined"),
    ("securityContext.allowPrivilegeEscalation", "true", &[], Chart, "allowPrivilegeEscalation: true"),
    ("securityContext.readOnlyRootFilesystem", "false", &[], Chart, "readOnlyRootFilesystem: false"),
    ("securityContext.runAsNonRoot", "false", &[], Chart, "runAsNonRoot: false"),
    ("securityContext.capabilities.drop", r#"["NET_RAW"]"#, &[], Chart, "- NET_RAW"),
    ("podAnnotations", r#"{"note":"x"}"#, &[], Chart, "        note: x"),
    ("podLabels", r#"{"tier":"x"}"#, &[], Chart, "        tier: x"),
    ("nodeSelector", r#"{"disk":"ssd"}"#, &[], Chart, "nodeSelector:\n        disk: ssd"),
    ("tolerations", r#"[{"operator":"Exists"}]"#, &[], Chart, "tolerations:\n        - operator: Exists"),
    ("affinity", r#"{"nodeAffinity":{}}"#, &[], Chart, "nodeAffinity: {}"),
    ("topologySpreadConstraints", r#"[{"maxSkew":2}]"#, &[], Chart, "maxSkew: 2"),
    (
        "priorityClassName",
        r#""system-cluster-critical""#,
        &[],
        Chart,
        "priorityClassName: system-cluster-critical",
    ),
    ("terminationGracePeriodSeconds", "90", &[], Chart, "terminationGracePeriodSeconds: 90"),
    ("extraEnv", r#"[{"name":"TZ","value":"UTC"}]"#, &[], Chart, "- name: TZ"),
    ("extraArgs", r#"["--drain-quiet=1s"]"#, &[], Chart, "- \"--drain-quiet=1s\""),
    ("podDisruptionBudget.enabled", "false", &[], Gone, "kind: PodDisruptionBudget"),
    ("podDisruptionBudget.minAvailable", r#""60%""#, &[], Chart, "minAvailable: 60%"),
    ("podDisruptionBudget.maxUnavailable", "1", &[], Chart, "maxUnavailable: 1\n  # A pod"),
    ("networkPolicy.enabled", "true", &[], Chart, "kind: NetworkPolicy"),
    ("networkPolicy.allowMonitoring", "false", POLICY, Gone, "    - ports:\n        - port: 8080"),
    (
        "networkPolicy.metricsFrom",
        r#"[{"podSelector":{"matchLabels":{"a":"b"}}}]"#,
        &["networkPolicy.enabled=true", "networkPolicy.allowMonitoring=false"],
        Chart,
        "    - from:\n        - podSelector:",
    ),
    ("networkPolicy.apiServerPorts", "[8443]", POLICY, Chart, "- port: 8443"),
    ("networkPolicy.allowProviders", "false", POLICY, Gone, "key: mcp-hangar.io/provider"),
    ("networkPolicy.remoteProviders", r#"["203.0.113.0/24"]"#, POLICY, Chart, "cidr: \"203.0.113.0/24\"\n"),
    ("networkPolicy.additionalIngress", r#"[{"ports":[{"port":7}]}]"#, POLICY, Chart, "- port: 7\n"),
    ("networkPolicy.additionalEgress", r#"[{"ports":[{"port":7}]}]"#, POLICY, Chart, "- port: 7"),
    (
        "metricsService.annotations",
        r#"{"prometheus.io/scrape":"true"}"#,
        &[],
        Chart,
        "prometheus.io/scrape: \"true\"",
    ),
    ("serviceMonitor.enabled", "true", &[], Chart, "kind: ServiceMonitor"),
    ("serviceMonitor.namespace", r#""mon""#, SERVICE_MONITOR, Chart, "namespace: mon"),
    ("serviceMonitor.labels", r#"{"release":"p"}"#, SERVICE_MONITOR, Chart, "    release: p"),
    ("serviceMonitor.interval", r#""7s""#, SERVICE_MONITOR, Chart, "interval: 7s"),
    ("serviceMonitor.scrapeTimeout", r#""6s""#, SERVICE_MONITOR, Chart, "scrapeTimeout: 6s"),
    (
        "serviceMonitor.relabelings",
        r#"[{"action":"keep"}]"#,
        SERVICE_MONITOR,
        Chart,
        "relabelings:\n        - action: keep",
    ),
    (
        "serviceMonitor.metricRelabelings",
        r#"[{"action":"drop"}]"#,
        SERVICE_MONITOR,
        Chart,
        "metricRelabelings:\n        - action: drop",
    ),
    ("podMonitor.enabled", "true", &[], Chart, "kind: PodMonitor"),
    ("podMonitor.namespace", r#""mon""#, POD_MONITOR, Chart, "namespace: mon"),
    ("podMonitor.labels", r#"{"release":"p"}"#, POD_MONITOR, Chart, "    release: p"),
    ("podMonitor.interval", r#""7s""#, POD_MONITOR, Chart, "interval: 7s"),
    ("podMonitor.scrapeTimeout", r#""6s""#, POD_MONITOR, Chart, "scrapeTimeout: 6s"),
    ("prometheusRule.enabled", "true", &[], Chart, "kind: PrometheusRule"),
    ("prometheusRule.namespace", r#""mon""#, RULES, Chart, "namespace: mon\n"),
    ("prometheusRule.labels", r#"{"release":"p"}"#, RULES, Chart, "    release: p"),
    ("prometheusRule.alertLabels", r#"{"team":"red"}"#, RULES, Chart, "            team: red"),
    (
        "prometheusRule.runbookUrl",
        r#""https://wiki/x/""#,
        RULES,
        Chart,
        "runbook_url: https://wiki/x/McpHangarNoLeader.md",
    ),
    ("prometheusRule.certificateExpiryHours", "12", RULES, Chart, "- time() < 12 * 3600"),
    ("prometheusRule.rejectionsPer15m", "7", RULES, Chart, "[15m])) > 7"),
    ("prometheusRule.admissionSeconds", "0.5", RULES, Chart, "[5m]))) > 0.5"),
    ("prometheusRule.providerDeadMinutes", "5", RULES, Chart, "state=\"Dead\"}) == 1\n          for: 5m"),
    (
        "prometheusRule.providersFailingPercent",
        "7",
        RULES,
        Chart,
        "sum(mcp_operator_provider_state{namespace=\"mcp-system\"}) > 7",
    ),
    ("prometheusRule.reconcileErrorsPer15m", "7", RULES, Chart, "result!=\"success\"}[15m])) > 7"),
    (
        "prometheusRule.reconcileWaitSeconds",
        "3",
        RULES,
        Chart,
        "reconcile_wait_seconds_bucket{namespace=\"mcp-system\"}[5m]))) > 3",
    ),
    ("prometheusRule.additionalGroups", r#"[{"name":"mine"}]"#, RULES, Chart, "- name: mine"),
    ("grafanaDashboard.enabled", "true", &[], Chart, "mcp-hangar-operator.json: |"),
    ("grafanaDashboard.namespace", r#""mon""#, DASHBOARD, Chart, "namespace: mon"),
    ("grafanaDashboard.labels.grafana_dashboard", r#""yes""#, DASHBOARD, Chart, "grafana_dashboard: \"yes\""),
    ("grafanaDashboard.annotations", r#"{"folder":"mcp"}"#, DASHBOARD, Chart, "folder: mcp"),
    ("tests.enabled", "false", &[], Gone, "helm.sh/hook: test"),
    (
        "extraObjects",
        r#"["kind: ConfigMap\napiVersion: v1\nmetadata: {name: \"{{ .Release.Name }}-x\"}"]"#,
        &[],
        Chart,
        "{name: \"mcp-hangar-operator-x\"}",
    ),
];

/// The same for the other chart.
const CRD_ROWS: &[Row] = &[
    ("keep", "false", &[], Gone, "helm.sh/resource-policy: keep"),
    ("commonLabels", r#"{"team":"red"}"#, &[], Chart, "    team: red"),
    ("operator.serviceName", r#""other""#, &[], Chart, "name: other\n"),
    ("operator.namespace", r#""elsewhere""#, &[], Chart, "namespace: elsewhere"),
    ("webhook.service.port", "8443", &[], Chart, "port: 8443"),
];

/// What one row renders: the chart, or the notes.
fn shown(chart: &str, place: In, path: &str, values: &[&str]) -> String {
    let helm = helm4();
    if place != Notes {
        // CRDs are nine tenths of the text, and few values are about them.
        let about_crds = chart == CRDS || path.starts_with("crds.") || path.starts_with("webhook.service");
        let without: &[&str] = if about_crds { &[] } else { &["crds.install=false"] };
        return helm.template(chart, &[values, without].concat()).ok();
    }
    let mut arguments = vec!["install", RELEASE, chart, "--dry-run=client"];
    values.iter().for_each(|value| arguments.extend(["--set-json", value]));
    helm.run(&arguments).ok().split("NOTES:").nth(1).unwrap().to_owned()
}

fn check_rows(chart: &str, rows: &[Row]) {
    let leaves = leaves(&read(&format!("{chart}/values.yaml")));
    let mut untested: BTreeMap<&str, _> = leaves.iter().map(|leaf| (leaf.path.as_str(), ())).collect();
    let mut wrong = String::new();
    for (path, value, others, place, words) in rows {
        assert!(untested.remove(path).is_some(), "{path} has no leaf in values.yaml, or two rows");
        let set = format!("{path}={value}");
        let with: Vec<&str> = others.iter().copied().chain([set.as_str()]).collect();
        let (before, after) = (shown(chart, *place, path, others), shown(chart, *place, path, &with));
        let (before, after) = (before.contains(words), after.contains(words));
        if (before, after) != (*place == Gone, *place != Gone) {
            writeln!(wrong, "{set}: {words:?} before: {before}, after: {after}").unwrap();
        }
    }
    assert_eq!(wrong, "");
    assert!(untested.is_empty(), "values without a row: {:?}", untested.keys());
}

#[test]
fn each_value_of_the_operators_chart_does_something() {
    check_rows(OPERATOR, ROWS);
}

#[test]
fn each_value_of_the_chart_of_crds_does_something() {
    check_rows(CRDS, CRD_ROWS);
}

#[test]
fn switches_leave_nothing_behind() {
    // CRDs hold all sorts of numbers.
    let off =
        helm4().template(OPERATOR, &[METRICS_OFF, "networkPolicy.enabled=true", "crds.install=false"]).ok();
    assert!(!off.contains("8080") && !off.contains("mcp-hangar-operator-metrics"));
    let one = helm4().template(OPERATOR, &["replicaCount=1"]).ok();
    assert!(!one.contains("PodDisruptionBudget"));
    let files = helm4().template(OPERATOR, &["webhook.tls.secretName=\"own\""]).ok();
    assert!(!files.contains("webhook-ca") && !files.contains("- secrets"));
    // Files of a Secret belong to root: by its group the operator may read them.
    assert!(files.contains("        fsGroup: 65532\n        runAsGroup: 65532\n"), "{files}");
    let own = ["webhook.tls.secretName=\"own\"", "podSecurityContext.fsGroup=7"];
    assert!(
        helm4().template(OPERATOR, &own).ok().contains("        fsGroup: 7\n        runAsGroup: 65532\n")
    );
    let alone = helm4().template(OPERATOR, &["operator.leaderElection.enabled=false", "replicaCount=1"]).ok();
    assert!(!alone.contains("- leases"));
    let still = helm4().template(OPERATOR, &["operator.storageMigration.objectsPerSecond=0"]).ok();
    assert!(!still.contains("customresourcedefinitions/status"));
    let host = helm4().template(OPERATOR, &["hostNetwork=true"]).ok();
    assert!(
        host.contains("maxUnavailable: 1\n      maxSurge: 0") && host.contains("ClusterFirstWithHostNet")
    );
}

/// What Helm says after an install, where a value has consequences that nobody sees in time.
#[test]
fn the_notes_warn_of_what_a_value_brings_about() {
    for (values, words) in [
        (&["crds.keep=false"][..], "deletes the CRDs, and with them EVERY MCPProvider"),
        (&["crds.install=false"], "crds.install is false: the CRDs must come from the chart mcp-hangar-crds"),
        (&["webhook.failurePolicy=\"Ignore\""], "objects are stored unchecked and without defaults"),
        (&["replicaCount=1"], "replicaCount is 1: while that pod is away, our objects cannot be written"),
        (&["replicaCount=0"], "and now there is none"),
        (&["hostNetwork=true"], "ports 9443 and 8081 and 8080 of the nodes are taken"),
        (&["webhook.tls.secretName=\"own\""], "tls.crt for mcp-hangar-operator-webhook.default.svc"),
        (&["hangar={\"apiKey\":\"s3cr3t\"}"], "Without effect"),
    ] {
        let (plain, notes) = (shown(OPERATOR, Notes, "", &[]), shown(OPERATOR, Notes, "", values));
        assert!(notes.contains(words) && !plain.contains(words), "{values:?}: {notes}");
        assert!(!notes.contains("s3cr3t"), "{notes}");
    }
}

/// A leaf of values.yaml.
struct Leaf {
    path: String,
    default: Value,
    text: String,
}

/// Reads values.yaml as its reader does: a comment belongs to the key below it, and to all below that key.
fn leaves(text: &str) -> Vec<Leaf> {
    let values: Value = serde_saphyr::from_str(text).unwrap();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(words) = trimmed.strip_prefix("# ") {
            comment.push(words);
        } else if trimmed.is_empty() {
            comment.clear();
        } else if let Some((key, _)) = trimmed.split_once(':') {
            above.retain(|(depth, _)| *depth < indent);
            let path = above.iter().map(|(_, key)| key.as_str()).chain([key]).collect::<Vec<_>>().join(".");
            above.push((indent, key.to_owned()));
            if !comment.is_empty() {
                texts.insert(path.clone(), comment.join(" "));
            }
            comment.clear();
            order.push(path);
        }
    }
    let mut leaves = Vec::new();
    for path in order {
        let pointer = format!("/{}", path.replace('.', "/"));
        let default = values.pointer(&pointer).unwrap_or_else(|| panic!("{path}")).clone();
        if default.as_object().is_some_and(|map| !map.is_empty()) {
            continue;
        }
        // The nearest comment on the way up.
        let ways = path.match_indices('.').map(|(at, _)| path.get(..at).unwrap()).chain([path.as_str()]);
        let text = ways.filter_map(|way| texts.get(way)).next_back().cloned();
        let text = text.unwrap_or_else(|| panic!("{path} has no comment in values.yaml"));
        leaves.push(Leaf { path, default, text });
    }
    leaves
}

#[test]
fn the_table_of_values_in_the_documents_is_up_to_date() {
    let mut text = read("docs/chart.md");
    for chart in [OPERATOR, CRDS] {
        let mut table = String::from("| value | default | meaning |\n|---|---|---|\n");
        for Leaf { path, default, text } in leaves(&read(&format!("{chart}/values.yaml"))) {
            writeln!(table, "| `{path}` | `{default}` | {} |", text.replace('|', "\\|")).unwrap();
        }
        let (begin, end) = (format!("<!-- values of {chart} -->\n"), "<!-- end -->");
        let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/chart.md has no {begin}"));
        let (_, tail) = rest.split_once(end).unwrap();
        text = format!("{head}{begin}{table}{end}{tail}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(root().join("docs/chart.md"), &text).unwrap();
    }
    assert!(read("docs/chart.md") == text, "docs/chart.md is out of date: make generate");
}

#[test]
fn the_schema_knows_each_value_and_no_other() {
    for chart in [OPERATOR, CRDS] {
        let schema: Value = serde_json::from_str(&read(&format!("{chart}/values.schema.json"))).unwrap();
        let values: Value = serde_saphyr::from_str(&read(&format!("{chart}/values.yaml"))).unwrap();
        let mut strict = 0;
        alike(&schema, &values, chart, &mut strict);
        assert!(strict > 3, "{chart}: {strict}");
    }
}

/// Whether maps with fixed keys have the same keys in both.
fn alike(schema: &Value, values: &Value, path: &str, strict: &mut usize) {
    let Some(known) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], json!(false), "{path}");
    *strict += 1;
    let Some(values) = values.as_object().filter(|values| !values.is_empty()) else { return };
    for (key, value) in values {
        let schema = known.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
        alike(schema, value, &format!("{path}.{key}"), strict);
    }
    for key in known.keys().filter(|key| *key != "global" && *key != "claims") {
        assert!(values.contains_key(key), "{path}.{key} is not in values.yaml");
    }
}

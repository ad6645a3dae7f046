//! Values that are refused, by both Helms, in words that name the value and say why.

use crate::helm::{CRDS, OPERATOR, RELEASE, helms};

/// Values, and all the words that must be said.
type Case = (&'static [&'static str], &'static [&'static str]);

const REFUSED: &[Case] = &[
    // By the schema.
    (&["replicas=3"], &["additional properties 'replicas' not allowed"]),
    (&["image.tagg=\"x\""], &["/image", "'tagg' not allowed"]),
    (&["replicaCount=\"two\""], &["/replicaCount", "got string, want integer"]),
    (&["replicaCount=-1"], &["/replicaCount", "minimum: got -1, want 0"]),
    (&["replicaCount=50"], &["/replicaCount", "maximum: got 50, want 20"]),
    (&["image.repository=\"a:b\""], &["image.repository: \"a:b\" is not an image without tag", "image.tag"]),
    (&["nameOverride=\"a b\""], &["nameOverride: \"a b\" is not a name"]),
    (&["image.tag=\"a:b\""], &["image.tag: \"a:b\" is not a tag"]),
    (
        &["image.digest=\"sha256:1\""],
        &["image.digest: \"sha256:1\" is not a digest", "64 hexadecimal digits"],
    ),
    (&["image.pullPolicy=\"always\""], &["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"]),
    (&["operator.metrics.port=0"], &["/operator/metrics/port", "minimum: got 0, want 1"]),
    (&["operator.imageDigestPolicy=false"], &["/operator/imageDigestPolicy", "'off', 'warn', 'block'"]),
    (
        &["operator.drain.minimum=\"15\""],
        &["operator.drain.minimum: \"15\" is not a duration", "such as 15s"],
    ),
    (&["operator.drain.quiet=5"], &["/operator/drain/quiet", "got number, want string"]),
    (&["operator.logLevel=\"\""], &["operator.logLevel: \"\" is not a level"]),
    (
        &["serviceMonitor.interval=\"30\""],
        &["serviceMonitor.interval: \"30\" is not a duration of Prometheus"],
    ),
    (&["podMonitor.namespace=\"A\""], &["podMonitor.namespace: \"A\" is not a namespace"]),
    (&["webhook.tls.secretName=\"a_b\""], &["webhook.tls.secretName: \"a_b\" is not a name"]),
    (&["webhook.failurePolicy=\"fail\""], &["/webhook/failurePolicy", "'Fail', 'Ignore'"]),
    (&["webhook.timeoutSeconds=31"], &["/webhook/timeoutSeconds", "maximum: got 31, want 30"]),
    (&["webhook.caBundle=\"x\""], &["/webhook", "'caBundle' not allowed"]),
    (&["webhook.namespaceSelector={\"a\":\"b\"}"], &["/webhook/namespaceSelector", "'a' not allowed"]),
    (&["configMapNamespaces=[\"A\"]"], &["configMapNamespaces[0]: \"A\" is not a namespace", "or * for all"]),
    (&["watchNamespaces=[\"*\"]"], &["watchNamespaces[0]: \"*\" is not a namespace"]),
    (&["secretNamespaces=[\"A\"]"], &["secretNamespaces[0]: \"A\" is not a namespace", "or * for all"]),
    (&["secretNamespaces=\"team\""], &["/secretNamespaces", "got string, want array"]),
    (
        &["networkPolicy.remoteProviders=[\"example.com\"]"],
        &["networkPolicy.remoteProviders[0]: \"example.com\" is not a network"],
    ),
    (&["prometheusRule.providerDeadMinutes=0"], &["/prometheusRule/providerDeadMinutes", "want 1"]),
    (
        &["podDisruptionBudget.minAvailable=\"one\""],
        &["podDisruptionBudget.minAvailable: \"one\" is not a number of pods"],
    ),
    (&["networkPolicy.apiServerPorts=[]"], &["/networkPolicy/apiServerPorts", "minItems"]),
    (&["prometheusRule.runbookUrl=\"wiki\""], &["prometheusRule.runbookUrl: \"wiki\" is not an address"]),
    (&["fullnameOverride=\"1st\""], &["the full name \"1st\"", "must start with a letter"]),
    (&["commonLabels={\"a\":1}"], &["/commonLabels/a", "got number, want string"]),
    // By the templates, where two values have to fit.
    (
        &["operator.metrics.port=9443"],
        &["webhook.port, operator.metrics.port and operator.health.port must differ"],
    ),
    (
        &[METRICS_OFF, "serviceMonitor.enabled=true"],
        &["serviceMonitor.enabled", "need operator.metrics.enabled"],
    ),
    (&["podMonitor.enabled=true", "serviceMonitor.enabled=true"], &["every series would be counted twice"]),
    (&["operator.leaderElection.enabled=false"], &["with replicaCount 2", "set replicaCount to 1"]),
    (&["serviceAccount.create=false"], &["bound to the account default", "name an account"]),
    (
        &["operator.drain.maximum=\"5s\""],
        &["operator.drain.minimum (15s) is longer than operator.drain.maximum (5s)"],
    ),
    (
        &["terminationGracePeriodSeconds=30"],
        &["terminationGracePeriodSeconds (30)", "operator.drain.maximum (45s)"],
    ),
    (
        &["operator.leaderElection.renewDeadline=\"20s\""],
        &["operator.leaderElection.renewDeadline (20s)", "leaseDuration (15s)"],
    ),
    (
        &["operator.leaderElection.retryPeriod=\"1m\""],
        &["operator.leaderElection.retryPeriod (1m)", "renewDeadline (10s)"],
    ),
    (
        &["podLabels={\"app.kubernetes.io/instance\":\"x\"}"],
        &["podLabels: app.kubernetes.io/instance is the chart's own"],
    ),
    (
        &["commonLabels={\"app.kubernetes.io/name\":\"x\"}"],
        &["commonLabels: app.kubernetes.io/name is the chart's own"],
    ),
    // What the operator itself would refuse, and only in its log.
    (
        &["operator.leaderElection.renewDeadline=\"14s\""],
        &["operator.leaderElection.renewDeadline (14s)", "five sixths"],
    ),
    (&["operator.leaderElection.leaseDuration=\"11m\""], &["leaseDuration (11m) is not between 1s and 10m"]),
    (&["operator.leaderElection.retryPeriod=\"6s\""], &["retryPeriod (6s) is more than half"]),
];

const METRICS_OFF: &str = "operator.metrics.enabled=false";

#[test]
fn what_cannot_work_is_refused_in_words_that_name_the_value() {
    let mut wrong = String::new();
    for helm in helms() {
        for (values, words) in REFUSED {
            let said = helm.template(OPERATOR, values).fails();
            for words in *words {
                if !said.contains(words) {
                    wrong.push_str(&format!("{} {values:?}: no {words:?} in\n{said}\n", helm.name));
                }
            }
        }
    }
    assert_eq!(wrong, "", "{wrong}");
}

/// `--set` makes another kind of number than a file.
#[test]
fn a_port_that_is_taken_is_refused_however_it_is_written() {
    for helm in helms() {
        let said = helm.run(&["template", RELEASE, OPERATOR, "--set", "webhook.port=8081"]).fails();
        assert!(said.contains("operator.health.port must differ"), "{}: {said}", helm.name);
    }
}

/// A release, a namespace, values, and words of the refusal.
const NAMES: &[(&str, &str, &[&str], &[&str])] = &[
    ("1st", "tools", &["nameOverride=\"st\""], &["\"1st\"", "must start with a letter", "fullnameOverride"]),
    (
        "a-release-with-a-very-long-name-of-fifty-characters",
        "tools",
        &[],
        &["-webhook\", has 79 characters and the API server takes 63", "at most 55 characters"],
    ),
    (
        "x",
        "a-namespace-that-is-longer-than-sixty-three-characters-and-so-none-at-all",
        &[],
        &["the namespace \"a-namespace", "x-mcp-hangar-operator-webhook.a-namespace", "at most 63"],
    ),
];

#[test]
fn names_that_are_too_long_for_a_service_or_a_certificate_are_refused() {
    for helm in helms() {
        for (release, namespace, values, words) in NAMES {
            let said = helm.template_as(release, namespace, OPERATOR, values).fails();
            for words in *words {
                assert!(said.contains(words), "{} {words:?}: {said}", helm.name);
            }
        }
        // The longest that fits.
        let name = "a".repeat(55);
        let value = format!("fullnameOverride=\"{name}\"");
        let text = helm.template_as(RELEASE, &"n".repeat(63), OPERATOR, &[&value]).ok();
        assert!(text.contains(&format!("name: {name}-webhook\n")));
    }
}

#[test]
fn a_cluster_that_is_too_old_is_refused() {
    for helm in helms() {
        for (version, works) in
            [("1.29.9", false), ("1.30.0", true), ("1.30.0-gke.1", true), ("1.37.2", true)]
        {
            let said = helm.run(&["template", RELEASE, OPERATOR, "--kube-version", version]);
            if works {
                said.ok();
            } else {
                assert!(said.fails().contains(">=1.30.0-0"), "{}", helm.name);
            }
        }
    }
}

#[test]
fn the_chart_of_crds_refuses_what_it_does_not_know() {
    for helm in helms() {
        let said = helm.template(CRDS, &["crds.keep=false"]).fails();
        assert!(said.contains("'crds' not allowed"), "{said}");
        let said = helm.template(CRDS, &["operator.serviceName=\"\""]).fails();
        assert!(said.contains("/operator/serviceName"), "{said}");
    }
}

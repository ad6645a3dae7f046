//! The table of codes.
//!
//! To add a rule, add its code here and the rule beside its kind; `make generate` writes docs/rules.md from it. The
//! examples are merged over a minimal object of their kind by a test that runs each.

use super::{Code, Example, Reason};
use crate::kind::{Kind, Version};

const fn v1alpha1(kind: Kind, fields: &'static [&'static str], yaml: &'static str) -> Example {
    Example { kind, version: Version::V1Alpha1, yaml, fields }
}

const fn v1beta1(kind: Kind, fields: &'static [&'static str], yaml: &'static str) -> Example {
    Example { kind, version: Version::V1Beta1, yaml, fields }
}

const fn provider(fields: &'static [&'static str], yaml: &'static str) -> Example {
    v1alpha1(Kind::Provider, fields, yaml)
}

const fn group(fields: &'static [&'static str], yaml: &'static str) -> Example {
    v1alpha1(Kind::Group, fields, yaml)
}

const fn discovery(fields: &'static [&'static str], yaml: &'static str) -> Example {
    v1alpha1(Kind::Discovery, fields, yaml)
}

macro_rules! codes {
    ($($name:ident = $code:expr;)*) => {
        $(
            #[allow(missing_docs, reason = "each entry describes itself in `title` and `why`")]
            pub static $name: Code = $code;
        )*

        /// All codes, in order.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    REQUIRED = Code {
        id: "HGR101",
        title: "A required value is missing",
        reason: Reason::Required,
        why: "Some fields are always needed, others depend on a choice: a container provider needs an image, a remote \
              one an endpoint, a discovery source the block of its type, session affinity by header the header.",
        flag: None,
        rejected: provider(&["spec.image"], "spec:\n  mode: container\n  image: null\n"),
        accepted: provider(&[], "spec:\n  mode: container\n  image: ghcr.io/acme/tools:1.4\n"),
    };
    UNSUPPORTED = Code {
        id: "HGR102",
        title: "The value is none of the supported ones",
        reason: Reason::NotSupported,
        why: "The field takes one of a few words, and case matters. The answer lists them in the spelling of the \
              version that was sent, and suggests the closest.",
        flag: None,
        rejected: group(&["spec.strategy"], "spec:\n  strategy: RoundRobbin\n"),
        accepted: group(&[], "spec:\n  strategy: RoundRobin\n"),
    };
    WRONG_TYPE = Code {
        id: "HGR103",
        title: "The value has the wrong type",
        reason: Reason::TypeInvalid,
        why: "YAML reads 300 as a number and \"300\" as a string, yes as a string and true as a boolean. The answer \
              says which type the field takes and, where it is plain, what to write.",
        flag: None,
        rejected: provider(&["spec.replicas"], "spec:\n  replicas: \"2\"\n"),
        accepted: provider(&[], "spec:\n  replicas: 2\n"),
    };
    TOO_LONG = Code {
        id: "HGR104",
        title: "The value is too long",
        reason: Reason::TooLong,
        why: "Every text has a limit, far above what real values need, so that one object cannot burden the cluster. \
              The value itself is not repeated.",
        flag: None,
        rejected: group(
            &["spec.selector.matchLabels[team]"],
            "spec:\n  selector:\n    matchLabels:\n      team: a-label-value-may-have-sixty-three-characters-and-this-one-has-seventy\n",
        ),
        accepted: group(&[], "spec:\n  selector:\n    matchLabels:\n      team: search\n"),
    };
    TOO_MANY = Code {
        id: "HGR105",
        title: "The list or map has too many entries",
        reason: Reason::TooMany,
        why: "Every list and map has a limit, so that one object cannot burden the cluster.",
        flag: None,
        rejected: group(
            &["spec.failover.retryOn"],
            "spec:\n  failover:\n    retryOn: [timeout, timeout, timeout, timeout, timeout, timeout, timeout, timeout, timeout, \
             timeout, timeout, timeout, timeout, timeout, timeout, timeout, timeout]\n",
        ),
        accepted: group(&[], "spec:\n  failover:\n    retryOn: [timeout, server_error]\n"),
    };
    DURATION = Code {
        id: "HGR110",
        title: "The text is no duration",
        reason: Reason::Invalid,
        why: "A duration is a number with a unit, or several in a row: 500ms, 30s, 1h30m, 1.5h. The units are ns, us, \
              ms, s, m and h, as in Go; days and weeks are written in hours.",
        flag: None,
        rejected: provider(&["spec.idleTTL"], "spec:\n  idleTTL: \"30\"\n"),
        accepted: provider(&[], "spec:\n  idleTTL: 30m\n"),
    };
    OUT_OF_RANGE = Code {
        id: "HGR111",
        title: "The number is out of range",
        reason: Reason::Invalid,
        why: "The answer gives the range; `kubectl explain` gives its meaning.",
        flag: None,
        rejected: provider(&["spec.replicas"], "spec:\n  replicas: 99\n"),
        accepted: provider(&[], "spec:\n  replicas: 10\n"),
    };
    DURATION_RANGE = Code {
        id: "HGR112",
        title: "The duration is out of range",
        reason: Reason::Invalid,
        why: "Time runs forward: durations are more than zero. Zero is allowed for idleTTL (never idle), retryDelay \
              (retry at once) and shutdownGracePeriod (end at once). A discovery source rescans at most once a second.",
        flag: None,
        rejected: provider(&["spec.startupTimeout"], "spec:\n  startupTimeout: 0s\n"),
        accepted: provider(&[], "spec:\n  startupTimeout: 90s\n  idleTTL: 0s\n"),
    };
    QUANTITY = Code {
        id: "HGR113",
        title: "The text is no quantity",
        reason: Reason::Invalid,
        why: "Kubernetes writes amounts as a number with an optional suffix: 500m (thousandths), 2, 128Mi, 1.5Gi. \
              There is no suffix MB or mb: MB is M, MiB is Mi. Amounts are not negative.",
        flag: None,
        rejected: provider(&["spec.resources.limits.memory"], "spec:\n  resources:\n    limits:\n      memory: 256MB\n"),
        accepted: provider(&[], "spec:\n  resources:\n    limits:\n      memory: 256Mi\n"),
    };
    IMAGE = Code {
        id: "HGR114",
        title: "The text is no image reference",
        reason: Reason::Invalid,
        why: "An image reference is [registry/]repository[:tag][@digest] with a repository in lower case and without a \
              scheme. The kubelet would refuse it later, where nobody looks.",
        flag: None,
        rejected: provider(&["spec.image"], "spec:\n  image: https://ghcr.io/acme/tools\n"),
        accepted: provider(&[], "spec:\n  image: ghcr.io/acme/tools:1.4\n"),
    };
    ENDPOINT = Code {
        id: "HGR115",
        title: "The text is no http or https URL",
        reason: Reason::Invalid,
        why: "An endpoint is an absolute http or https URL with a host. It holds no user and password: everybody who \
              may read the object could read them. Headers from Secrets (v1beta1: spec.remote.headersFrom) are the \
              place for credentials.",
        flag: None,
        rejected: provider(
            &["spec.endpoint"],
            "spec:\n  mode: remote\n  image: null\n  endpoint: tools.example.com/mcp\n",
        ),
        accepted: provider(
            &[],
            "spec:\n  mode: remote\n  image: null\n  endpoint: https://tools.example.com/mcp\n",
        ),
    };
    LINK_LOCAL = Code {
        id: "HGR116",
        title: "The endpoint is a link-local address, or one of no server",
        reason: Reason::Forbidden,
        why: "169.254.0.0/16, fe80::/10 and fd00:ec2::254 hold the metadata services of clouds, which hand out \
              credentials. Who may create a provider must not make the operator ask them. The unspecified address is \
              the operator's own pod, and multicast and broadcast addresses belong to no server. A name is looked at \
              when it is called: one that resolves to such an address is never asked.",
        flag: None,
        rejected: provider(
            &["spec.endpoint"],
            "spec:\n  mode: remote\n  image: null\n  endpoint: http://169.254.169.254/latest/meta-data\n",
        ),
        accepted: provider(&[], "spec:\n  mode: remote\n  image: null\n  endpoint: http://10.0.0.7:8080/mcp\n"),
    };
    PATTERN = Code {
        id: "HGR117",
        title: "The text is no regular expression",
        reason: Reason::Invalid,
        why: "Patterns use the syntax that RE2, Go and Rust share: no look-around, no back-references, at most 1,000 \
              repetitions. They are matched in linear time, and a pattern that compiles to more than 256 KiB is refused.",
        flag: None,
        rejected: discovery(&["spec.filters.includePatterns[0]"], "spec:\n  filters:\n    includePatterns: [\"tools-(\"]\n"),
        accepted: discovery(&[], "spec:\n  filters:\n    includePatterns: [\"^tools-.*$\"]\n"),
    };
    SELECTOR = Code {
        id: "HGR118",
        title: "The label selector is invalid",
        reason: Reason::Invalid,
        why: "Keys and values follow the rules for labels. In and NotIn need values; Exists and DoesNotExist take none.",
        flag: None,
        rejected: group(
            &["spec.selector.matchExpressions[0].values"],
            "spec:\n  selector:\n    matchExpressions:\n    - {key: tier, operator: Exists, values: [gold]}\n",
        ),
        accepted: group(
            &[],
            "spec:\n  selector:\n    matchExpressions:\n    - {key: tier, operator: In, values: [gold]}\n",
        ),
    };
    NAME = Code {
        id: "HGR119",
        title: "The name is invalid",
        reason: Reason::Invalid,
        why: "Names of variables, volumes, Secrets, labels, ports and headers each have a grammar, which the answer \
              gives. What breaks it here would be refused later by Kubernetes, when the pod is made.",
        flag: None,
        rejected: provider(
            &["spec.volumes[0].name"],
            "spec:\n  volumes:\n  - {name: My_Data, mountPath: /data, emptyDir: {}}\n",
        ),
        accepted: provider(&[], "spec:\n  volumes:\n  - {name: my-data, mountPath: /data, emptyDir: {}}\n"),
    };
    EXCLUSIVE = Code {
        id: "HGR120",
        title: "Two fields exclude each other",
        reason: Reason::Forbidden,
        why: "An allow list says what is offered and a deny list what is not; with both, a reader has to guess about the \
              rest. An env variable has a value or a source, not both.",
        flag: None,
        rejected: provider(
            &["spec.tools.allowList", "spec.tools.denyList"],
            "spec:\n  tools:\n    allowList: [search]\n    denyList: [delete]\n",
        ),
        accepted: provider(&[], "spec:\n  tools:\n    allowList: [search]\n"),
    };
    TIMEOUT = Code {
        id: "HGR121",
        title: "A health check may take longer than its interval",
        reason: Reason::Invalid,
        why: "Checks of one provider do not overlap: a timeout above the interval would stretch the interval without \
              saying so. A written timeout is also held against the default interval of 30s.",
        flag: None,
        rejected: provider(
            &["spec.healthCheck.timeout"],
            "spec:\n  healthCheck:\n    interval: 30s\n    timeout: 60s\n",
        ),
        accepted: provider(&[], "spec:\n  healthCheck:\n    interval: 60s\n    timeout: 60s\n"),
    };
    REQUEST_OVER_LIMIT = Code {
        id: "HGR122",
        title: "A request is above its limit",
        reason: Reason::Invalid,
        why: "Kubernetes refuses a pod that requests more of a resource than its limit.",
        flag: None,
        rejected: provider(
            &["spec.resources.requests.cpu"],
            "spec:\n  resources:\n    requests: {cpu: \"2\"}\n    limits: {cpu: 500m}\n",
        ),
        accepted: provider(&[], "spec:\n  resources:\n    requests: {cpu: 250m}\n    limits: {cpu: 500m}\n"),
    };
    VOLUME_SOURCE = Code {
        id: "HGR123",
        title: "A volume needs exactly one source",
        reason: Reason::Required,
        why: "A volume comes from one of secret, configMap, persistentVolumeClaim and emptyDir.",
        flag: None,
        rejected: provider(&["spec.volumes[0]"], "spec:\n  volumes:\n  - {name: data, mountPath: /data}\n"),
        accepted: provider(&[], "spec:\n  volumes:\n  - {name: data, mountPath: /data, emptyDir: {}}\n"),
    };
    ENV_SOURCE = Code {
        id: "HGR124",
        title: "An env variable needs a value or exactly one source",
        reason: Reason::Required,
        why: "A variable without value and valueFrom would be empty in the pod, which is hardly ever meant; an empty one \
              is written value: \"\". valueFrom takes exactly one source.",
        flag: None,
        rejected: provider(&["spec.env[0]"], "spec:\n  env:\n  - {name: TOKEN}\n"),
        accepted: provider(
            &[],
            "spec:\n  env:\n  - name: TOKEN\n    valueFrom:\n      secretKeyRef: {name: tools, key: token}\n",
        ),
    };
    DUPLICATE = Code {
        id: "HGR130",
        title: "The value is there twice",
        reason: Reason::Duplicate,
        why: "Names of variables, volumes and tools, mount paths and retry conditions are unique in their list: of two, \
              one would be ignored without a word.",
        flag: None,
        rejected: provider(&["spec.tools.allowList[1]"], "spec:\n  tools:\n    allowList: [search, search]\n"),
        accepted: provider(&[], "spec:\n  tools:\n    allowList: [search, fetch]\n"),
    };
    OBJECT_NAME = Code {
        id: "HGR140",
        title: "The object's name leaves no room for its Services",
        reason: Reason::Invalid,
        why: "The operator derives Services from the name: <name> and <name>-pods for a provider, <name>-group for a \
              group. So the name is a DNS label that starts with a letter, of at most 58 characters for a provider \
              and 57 for a group.",
        flag: None,
        rejected: provider(&["metadata.name"], "metadata:\n  name: 3.tools\n"),
        accepted: provider(&[], "metadata:\n  name: tools-3\n"),
    };
    ANNOTATION = Code {
        id: "HGR141",
        title: "One of our annotations has an invalid value",
        reason: Reason::Invalid,
        why: "mcp-hangar.io/weight (1 to 100), mcp-hangar.io/priority (0 or more), mcp-hangar.io/port (1 to 65535), \
              mcp-hangar.io/path (an absolute path) and mcp-hangar.io/allow-mutable-image (true or false) act like \
              fields and are judged like fields. Other annotations are nobody's business here.",
        flag: None,
        rejected: provider(
            &["metadata.annotations[mcp-hangar.io/weight]"],
            "metadata:\n  annotations:\n    mcp-hangar.io/weight: heavy\n",
        ),
        accepted: provider(&[], "metadata:\n  annotations:\n    mcp-hangar.io/weight: \"20\"\n"),
    };
    STASH = Code {
        id: "HGR142",
        title: "The conversion annotation was changed by hand",
        reason: Reason::Invalid,
        why: "mcp-hangar.io/conversion-data carries, on a v1alpha1 object, what only v1beta1 can say. The operator writes \
              it; on a v1beta1 object it has no place, and a text that is not its own cannot be read back.",
        flag: None,
        rejected: provider(
            &["metadata.annotations[mcp-hangar.io/conversion-data]"],
            "metadata:\n  annotations:\n    mcp-hangar.io/conversion-data: \"{}\"\n",
        ),
        accepted: provider(
            &[],
            "metadata:\n  annotations:\n    mcp-hangar.io/conversion-data: '[{\"p\":[\"spec\",\"container\",\"port\"],\"v\":9000}]'\n",
        ),
    };
    BUDGET = Code {
        id: "HGR143",
        title: "The annotations would be too large in v1alpha1",
        reason: Reason::TooLong,
        why: "Kubernetes allows 262,144 bytes of annotations for an object. In v1alpha1 the values that only v1beta1 can \
              say stand in an annotation too; an object over the limit would make every v1alpha1 list in the cluster fail.",
        flag: None,
        rejected: v1beta1(
            Kind::Provider,
            &["metadata.annotations"],
            "metadata:\n  annotations:\n    example.com/note: <text of 262,000 bytes>\nspec:\n  container:\n    port: 9000\n    path: /a-path-of-some-length/that-has-to-travel/in-an-annotation\n",
        ),
        accepted: v1beta1(Kind::Provider, &[], "spec:\n  container:\n    port: 9000\n"),
    };
    FOREIGN_CONFIGMAP = Code {
        id: "HGR150",
        title: "The source may not read ConfigMaps of that namespace",
        reason: Reason::Forbidden,
        why: "The operator reads ConfigMaps with its own rights. Without this rule, who may create a source could read \
              ConfigMaps that he may not read. Other namespaces are opened one by one by the operator's flag \
              --configmap-namespaces.",
        flag: None,
        rejected: discovery(
            &["spec.configMapRef.namespace"],
            "spec:\n  type: ConfigMap\n  namespaceSelector: null\n  configMapRef: {name: servers, namespace: platform}\n",
        ),
        accepted: discovery(&[], "spec:\n  type: ConfigMap\n  namespaceSelector: null\n  configMapRef: {name: servers}\n"),
    };
    MUTABLE_IMAGE = Code {
        id: "HGR160",
        title: "The image has no digest",
        reason: Reason::Forbidden,
        why: "A tag can be moved to other content; a digest cannot. Exempt one object with the annotation \
              mcp-hangar.io/allow-mutable-image: \"true\".",
        flag: Some("--image-digest-policy=block"),
        rejected: provider(&["spec.image"], "spec:\n  image: ghcr.io/acme/tools:1.4\n"),
        accepted: provider(
            &[],
            "spec:\n  image: ghcr.io/acme/tools@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        ),
    };
    FILE_PATH = Code {
        id: "HGR170",
        title: "The path is invalid",
        reason: Reason::Invalid,
        why: "A mount path and the path of an MCP endpoint are absolute. Paths inside a volume are relative and never \
              lead out of it.",
        flag: None,
        rejected: provider(
            &["spec.volumes[0].mountPath"],
            "spec:\n  volumes:\n  - {name: data, mountPath: data, emptyDir: {}}\n",
        ),
        accepted: provider(&[], "spec:\n  volumes:\n  - {name: data, mountPath: /data, emptyDir: {}}\n"),
    };
    CA_BUNDLE = Code {
        id: "HGR171",
        title: "The CA bundle is unreadable",
        reason: Reason::Invalid,
        why: "spec.remote.caBundle is base64 of one or more certificates in PEM. A bundle that nothing can verify \
              against would make the provider fail later, with a message about TLS.",
        flag: None,
        rejected: v1beta1(
            Kind::Provider,
            &["spec.remote.caBundle"],
            "spec:\n  mode: Remote\n  container: null\n  remote:\n    endpoint: https://tools.example.com/mcp\n    caBundle: bm90IGEgY2VydGlmaWNhdGU=\n",
        ),
        accepted: v1beta1(
            Kind::Provider,
            &[],
            "spec:\n  mode: Remote\n  container: null\n  remote:\n    endpoint: https://tools.example.com/mcp\n",
        ),
    };
    IGNORED = Code {
        id: "HGR201",
        title: "The field has no effect here",
        reason: Reason::Warning,
        why: "A remote provider has no image, a container no endpoint, a source reads only the block of its type. The \
              field is kept, so that a mode can be switched back.",
        flag: None,
        rejected: provider(&["spec.endpoint"], "spec:\n  endpoint: https://tools.example.com/mcp\n"),
        accepted: provider(&[], "spec:\n  mode: container\n"),
    };
    MUTABLE_IMAGE_WARNING = Code {
        id: "HGR202",
        title: "The image has no digest",
        reason: Reason::Warning,
        why: "As HGR160, but the object is let in.",
        flag: Some("--image-digest-policy=warn"),
        rejected: provider(&["spec.image"], "spec:\n  image: ghcr.io/acme/tools:1.4\n"),
        accepted: provider(
            &[],
            "metadata:\n  annotations:\n    mcp-hangar.io/allow-mutable-image: \"true\"\nspec:\n  image: ghcr.io/acme/tools:1.4\n",
        ),
    };
}

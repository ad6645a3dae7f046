//! What it costs to keep providers: until they are Ready, at rest, asleep, and after a restart.
//!
//! The API server is real; remote MCP servers are [`answers`] in this process, on loopback. What the operator writes is
//! counted by the API server, and held against the same writes sent by a client that does nothing else ([`replay`]). Many
//! providers asleep are written straight to storage ([`herd`]). No pods run: this program plays the Deployment controller.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, is_built, object, providers};
use crate::cost::{Cost, memory};
use crate::report::{Report, Row, Spread};

#[path = "providers/answers.rs"]
mod answers;
#[path = "providers/counts.rs"]
mod counts;
#[path = "providers/etcd.rs"]
mod etcd;
#[path = "providers/found.rs"]
mod found;
#[path = "providers/groups.rs"]
mod groups;
#[path = "providers/herd.rs"]
mod herd;
#[path = "providers/replay.rs"]
mod replay;

use answers::Answers;
use counts::Counts;

/// Remote providers of a round.
const MANY: usize = 1_000;
const ROUNDS: usize = 2;
const CONTAINERS: usize = 20;
/// Creates at the same time.
const CREATES: usize = 16;
/// Where providers are looked after.
const KEPT: &str = "kept";
/// Where nobody does: the bare client writes here.
const BARE: &str = "bare";
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the operator is watched at rest.
const REST: Duration = Duration::from_secs(10);

pub(crate) fn measure(report: &mut Report) {
    if !is_built() {
        report.heading("providers: left out, since the API server has not been built");
        report.note("tests/cluster/build.sh builds it, once, in 5 to 9 minutes; then run `make bench` again");
        return;
    }
    report.heading("providers: a real API server, remote MCP servers played by this program, no pods");
    let cluster = Cluster::start("bench-providers");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::connect(&cluster.folder).await;
        let operator = Operator::start(&cluster, &format!("{KEPT},{}", herd::NAMESPACE));
        operator.answers(&api).await;
        for name in [KEPT, BARE, herd::NAMESPACE] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            api.create("/api/v1/namespaces", &namespace).await.unwrap();
        }
        let server = Answers::start();
        let sleeper = herd::Sleeper::bring_up(&api).await;
        let operator = if is_wanted("ready") {
            to_ready(report, &api, &operator, &server).await;
            containers(report, &api, &operator).await;
            at_rest(report, &operator, &server).await;
            restart(report, &cluster, &api, operator).await
        } else {
            operator
        };
        if is_wanted("groups") {
            report.heading("a group over remote providers");
            groups::measure(report, &api, &operator, &server).await;
        }
        let operator = if is_wanted("discovery") {
            report.heading("discovery sources");
            found::measure(report, &cluster, &api, operator).await
        } else {
            operator
        };
        if is_wanted("asleep") {
            report.heading("many providers asleep");
            many_asleep(report, &cluster, &api, operator, &sleeper).await;
        }
    });
}

/// Whether these rows are asked for: `BENCH_PROVIDERS` names some, without it all are.
fn is_wanted(rows: &str) -> bool {
    std::env::var("BENCH_PROVIDERS").map_or(true, |words| words.split_whitespace().any(|word| word == rows))
}

/// A number of things, smaller for whoever only tries this program out.
fn scaled(count: usize) -> usize {
    let part: usize = std::env::var("BENCH_PART").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    count / part
}

/// The operator's release binary beside the cluster, ended when this is dropped.
struct Operator {
    child: Child,
    log: PathBuf,
    began: Instant,
    webhooks: SocketAddr,
}

impl Operator {
    fn start(cluster: &Cluster, namespaces: &str) -> Self {
        // Free a moment ago, and loopback: nobody else takes it so soon.
        let webhooks = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(webhooks, cluster, namespaces)
    }

    /// Another in its place, which the API server calls under the same address: else the CRDs would change.
    fn again(self, cluster: &Cluster, namespaces: &str) -> Self {
        let webhooks = self.webhooks;
        drop(self);
        Self::start_at(webhooks, cluster, namespaces)
    }

    fn start_at(webhooks: SocketAddr, cluster: &Cluster, namespaces: &str) -> Self {
        let log = cluster.folder.join("logs/providers.log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"));
        command.args(["run", "--log-format", "json", "--webhook-addr", &webhooks.to_string()]);
        command.args(["--webhook-url", &format!("https://{webhooks}"), "--watch-namespaces", namespaces]);
        // One that is killed would have its Lease waited for.
        command.args([
            "--leader-elect=false",
            "--metrics-addr",
            "127.0.0.1:0",
            "--health-addr",
            "127.0.0.1:0",
        ]);
        command.arg("--kubeconfig");
        command.arg(cluster.folder.join("kubeconfig")).env_clear().stdin(Stdio::null());
        let began = Instant::now();
        let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        Self { child, log, began, webhooks }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn cost(&self) -> f64 {
        Cost::of_process(self.pid()).cpu as f64
    }

    fn rss(&self) -> f64 {
        memory(self.pid(), "VmRSS")
    }

    /// Waits until the API server asks it.
    async fn answers(&self, api: &Api) {
        let mut bad = object("first-call");
        bad["spec"]["healthCheck"]["timeout"] = json!("90s");
        let path = format!("{}?dryRun=All", providers("v1beta1", "default"));
        within("the webhooks answer", async || {
            let refused = api.create(&path, &bad).await.err();
            refused.is_some_and(|error| error.to_string().contains("HGR")).then_some(())
        })
        .await;
    }

    fn metrics(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let place =
            lines.filter_map(|line| line.get("metrics")?.as_str()?.parse::<SocketAddr>().ok()).next()?;
        let mut stream = TcpStream::connect(place).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// How many scans of discovery sources it has made.
    fn scans(&self) -> u64 {
        let text = self.metrics().unwrap_or_default();
        let mut lines = text.lines();
        let line =
            lines.find_map(|line| line.strip_prefix("mcp_operator_discovery_sync_duration_seconds_count "));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// How many providers are in this state.
    fn count(&self, state: &str) -> usize {
        let of = |line: &&str| {
            line.starts_with("mcp_operator_provider_state{")
                && line.ends_with(" 1")
                && line.contains(&format!(r#"state="{state}""#))
        };
        self.metrics().map_or(0, |text| text.lines().filter(of).count())
    }

    /// Waits until it has done something and does nothing more, by its CPU time, and says since when.
    async fn quiet(&self, least: f64) -> Instant {
        const LOOK: Duration = Duration::from_millis(200);
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (self.cost(), Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.cost();
            if now - last > LOOK.as_nanos() as f64 * 0.02 {
                since = Instant::now();
            }
            last = now;
            if now > least && since.elapsed() > Duration::from_secs(3) {
                return since;
            }
            assert!(Instant::now() < deadline, "the operator never rests");
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something.
async fn within<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn remote(name: &str, url: &str) -> Value {
    json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "agent-tools"}},
        "spec": {"mode": "Remote", "remote": {"endpoint": url},
            "healthCheck": {"enabled": true, "interval": "30s", "timeout": "5s"}}})
}

/// All of these, several at once.
async fn create_all(api: &Api, namespace: &str, objects: impl Iterator<Item = Value>) {
    let path = providers("v1beta1", namespace);
    let path = path.as_str();
    stream::iter(objects)
        .map(async |object| api.create(path, &object).await.unwrap())
        .buffer_unordered(CREATES)
        .count()
        .await;
}

/// Remote providers from created to Ready, against their writes alone, in turns.
async fn to_ready(report: &mut Report, api: &Api, operator: &Operator, server: &Answers) {
    let many = scaled(MANY);
    let round = async |count: usize| {
        let before = Counts::read(api).await;
        let began = Instant::now();
        create_all(api, KEPT, (0..count).map(|n| remote(&format!("remote-{n}"), &server.url()))).await;
        within("all are Ready", async || (operator.count("Ready") >= count).then_some(())).await;
        let took = began.elapsed().as_secs_f64();
        // Events may come after the status that they are about.
        tokio::time::sleep(Duration::from_millis(500)).await;
        (took, Counts::read(api).await.since(&before))
    };
    let (_, writes) = round(many / 10).await;
    let replay = replay::Replay::record(api, KEPT, "remote-0", &writes, many / 10).await;
    replay.run(api, BARE, many / 10).await;
    let mut times = Vec::new();
    let mut writes = Counts::default();
    for turn in 0..ROUNDS {
        clear(api, KEPT).await;
        clear(api, BARE).await;
        within("they are gone", async || (operator.count("Ready") == 0).then_some(())).await;
        let bare_first = turn % 2 == 0;
        let first = if bare_first { replay.run(api, BARE, many).await } else { 0.0 };
        let (own, counted) = round(many).await;
        writes = counted;
        let bare = if bare_first { first } else { replay.run(api, BARE, many).await };
        times.push((own, bare));
    }
    clear(api, BARE).await;
    let ratio = Spread::of(times.iter().map(|(own, bare)| own / bare));
    let own = Spread::of(times.iter().map(|(own, _)| *own)).median;
    report.add(Row::new(
        format!("the writes of {many} remote providers, by a bare client"),
        Spread::of(times.iter().map(|(_, bare)| *bare)).median,
        "s",
    ));
    report.add(
        Row::new(format!("{many} remote providers, created to Ready"), own, "s")
            .against(ratio)
            .ratio_goal("<= 1.5x", 1.5),
    );
    let mine = writes.without(&["POST mcpproviders"]);
    report.note(&format!("written: {}", mine.of_each(many)));
    report.add(
        Row::new("API writes of a remote provider until Ready", mine.sum() as f64 / many as f64, "")
            .goal("<= 6", 6.0),
    );
}

async fn clear(api: &Api, namespace: &str) {
    let path = providers("v1beta1", namespace);
    api.call(axum::http::Method::DELETE, &path, "application/json", Vec::new()).await.unwrap();
    within("nothing is left", async || {
        let (text, _) = api.get(&format!("{path}?limit=1")).await.ok()?;
        let list: Value = serde_json::from_str(&text).ok()?;
        list["items"].as_array()?.is_empty().then_some(())
    })
    .await;
}

/// Container providers whose pods become ready after a while, as far as their Deployments tell.
async fn containers(report: &mut Report, api: &Api, operator: &Operator) {
    let ready = operator.count("Ready");
    let before = Counts::read(api).await;
    let spec = |name: String| {
        let mut object = object(&name);
        object["spec"]["healthCheck"] = json!({"enabled": false});
        object["spec"]["container"]["env"] = json!([{"name": "LOG_LEVEL", "value": "info"}]);
        object["spec"]["container"]["volumes"] = json!([]);
        object
    };
    create_all(api, KEPT, (0..CONTAINERS).map(|n| spec(format!("container-{n}")))).await;
    for pods in [
        json!({"replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 2}),
        json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "unavailableReplicas": null}),
    ] {
        for n in 0..CONTAINERS {
            let path = format!("/apis/apps/v1/namespaces/{KEPT}/deployments/container-{n}/status");
            let pods = json!({ "status": pods });
            within("a Deployment", async || api.merge(&path, &pods).await.ok()).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    within("they are Ready", async || (operator.count("Ready") >= ready + CONTAINERS).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let counted = Counts::read(api).await.since(&before);
    let mine = counted.without(&["POST mcpproviders", "PATCH deployments/status"]);
    report.note(&format!("written: {}", mine.of_each(CONTAINERS)));
    let each = mine.sum() as f64 / CONTAINERS as f64;
    report.add(Row::new("API writes of a container provider until Ready", each, "").goal("<= 6", 6.0));
}

/// What remote providers cost when nothing happens but probes.
async fn at_rest(report: &mut Report, operator: &Operator, server: &Answers) {
    let (cpu, probes) = (operator.cost(), server.probes());
    tokio::time::sleep(REST).await;
    let (cpu, probes) = (operator.cost() - cpu, server.probes() - probes);
    report.add(Row::new(
        "a probe with its look, CPU of the operator",
        cpu / probes.max(1) as f64 / 1000.0,
        "µs",
    ));
}

/// The process is killed and another begins: what it writes, and when it has looked at everything.
async fn restart(report: &mut Report, cluster: &Cluster, api: &Api, operator: Operator) -> Operator {
    let count = operator.count("Ready");
    let before = Counts::read(api).await;
    let operator = operator.again(cluster, KEPT);
    within("all are looked at", async || (operator.count("Ready") >= count).then_some(())).await;
    let took = operator.began.elapsed().as_secs_f64();
    // Each is probed once more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let writes = Counts::read(api).await.since(&before);
    report.note(&format!("written: {}", writes.of_each(1)));
    report.add(
        Row::new(format!("a restart with {count} providers, API writes"), writes.sum() as f64, "")
            .goal("0", 0.0),
    );
    report.add(Row::new("until it has looked at all of them", took, "s"));
    operator
}

/// Container providers that sleep: each with its Deployment and two Services.
async fn many_asleep(
    report: &mut Report,
    cluster: &Cluster,
    api: &Api,
    operator: Operator,
    sleeper: &herd::Sleeper,
) {
    let many = scaled(10 * MANY);
    let began = Instant::now();
    sleeper.multiply(cluster, api, many).await;
    report.note(&format!(
        "{many} providers with {} objects written to storage in {:.1} s; {} bytes each",
        3 * many,
        began.elapsed().as_secs_f64(),
        sleeper.size()
    ));
    let before = Counts::read(api).await;
    let operator = operator.again(cluster, herd::NAMESPACE);
    // A look takes more than that.
    let done = operator.quiet(many as f64 * 50_000.0).await;
    let took = done.duration_since(operator.began).as_secs_f64();
    let rss = operator.rss();
    let (cpu, calls, turns) = (operator.cost(), Counts::read(api).await, wakeups(operator.pid()));
    tokio::time::sleep(REST).await;
    let minute = 60.0 / REST.as_secs_f64();
    let (cpu, turns) = ((operator.cost() - cpu) * minute, (wakeups(operator.pid()) - turns) as f64 * minute);
    let after = Counts::read(api).await;
    report.note(&format!("written: {}", after.since(&before).of_each(1)));
    let asleep = operator.count("Cold");
    assert!(asleep >= many, "{asleep} of {many} are asleep");
    report.add(
        Row::new(format!("memory with {many} providers asleep (RSS)"), rss, "MiB").goal("<= 80 MiB", 80.0),
    );
    report.add(Row::new("the same after a scrape of /metrics", operator.rss(), "MiB"));
    report.add(Row::new("at its highest (VmHWM)", memory(operator.pid(), "VmHWM"), "MiB"));
    report.add(Row::new("from exec until all were looked at", took, "s"));
    report.add(Row::new("API writes since", after.since(&before).sum() as f64, "").goal("0", 0.0));
    report.add(Row::new("in a quiet minute: CPU for each of them", cpu / many as f64 / 1000.0, "µs"));
    report.add(Row::new("in a quiet minute: threads woken up", turns, ""));
    let called = after.calls_since(&calls);
    report.note(&format!("called: {}", called.of_each(1)));
    let called = called.without(&["GET secrets"]).sum() as f64 * minute;
    report.add(Row::new("in a quiet minute: calls to the API server about them", called, "").goal("0", 0.0));
    groups::over_the_herd(api).await;
    let operator = operator.again(cluster, herd::NAMESPACE);
    operator.quiet(many as f64 * 50_000.0).await;
    let name = format!("memory with {} groups over them (RSS)", groups::GROUPS);
    report.add(Row::new(name, operator.rss(), "MiB"));
}

/// How often threads of a process went to sleep by themselves.
fn wakeups(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.map(|task| of(task.path())).sum()
}

#!/usr/bin/env bash
# `make demo`: the tour. A real API server is started, asked everything a user would ask, and ended again; an MCP server too.
#
# In:  nothing. Out: the tour on stdout; exit 0 when every answer was as expected.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CLUSTER_DIR=${CLUSTER_DIR:-$PWD/target/demo}
servers=()
trap 'for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done; scripts/down.sh' EXIT
failures=0

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
note() { printf '    %s\n' "$*"; }
expect() { # expect WHAT COMMAND...: counts what is not as it should be
  local what=$1
  shift
  if "$@"; then note "ok: $what"; else note "NOT AS EXPECTED: $what"; failures=$((failures + 1)); fi
}
indented() { sed 's/^/    /'; }
spec_of() { awk '/^spec:/ {show = 1; next} /^[a-z]/ {show = 0} show'; } # of one YAML object

# leaves: YAML as kubectl prints it, one line a leaf: `healthCheck.interval: 30s`.
leaves() {
  awk '{
    match($0, /^ */); depth = RLENGTH; text = substr($0, depth + 1); item = ""
    while (sub(/^- /, "", text)) { depth += 2; item = "[]" }
    for (at in key) if (at + 0 > depth || (at + 0 == depth && item == "")) delete key[at]
    value = text
    if (text ~ /^[^ "]+:( |$)/) { key[depth] = text; sub(/:.*/, "", key[depth]); sub(/^[^:]*: ?/, "", value) }
    path = ""
    for (at = 0; at <= depth; at++) if (at in key) path = path (path == "" ? "" : ".") key[at]
    if (value != "") print path item ": " value
  }'
}

title "1. A stock kube-apiserver, and the operator beside it"
exports=$(scripts/up.sh)
eval "$exports"
kubectl version 2>/dev/null | grep Server | indented
# For section 7, while the others are shown.
(cd tests/servers/go && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$CLUSTER_DIR/mcp-server" .) 2>"$CLUSTER_DIR/logs/mcp-server.log" &
building=$!

title "2. The five examples, and what the operator added before they were stored"
for file in examples/kubernetes/*.yaml; do
  kubectl apply -f "$file" | indented
  for object in $(kubectl get -f "$file" -o name | grep mcp-hangar.io); do
    version=v1alpha1
    stored=$(kubectl get "${object/./.$version.}" -o yaml | spec_of | leaves)
    written=$(kubectl get "${object/./.$version.}" -o jsonpath='{.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}' |
      kubectl create --dry-run=client --validate=false -f - -o yaml | spec_of | leaves)
    note "${object#*/} (${object%%.*}) is stored as it was written, plus:"
    (diff <(echo "$written") <(echo "$stored") || true) | sed -n 's/^> /    + /p'
  done
done

title "3. One object, seen in both versions"
object=$(kubectl get -f examples/kubernetes/basic-provider.yaml -o name | grep -m1 mcpprovider)
for version in v1alpha1 v1beta1; do
  note "\$ kubectl get mcpproviders.$version.mcp-hangar.io ${object#*/} -o yaml    (its spec)"
  kubectl get "${object/./.$version.}" -o yaml | spec_of | indented
done

title "4. Applied again: nothing changes, in either version"
for file in examples/kubernetes/*.yaml; do
  answer=$(kubectl apply -f "$file")
  expect "$file: every object says unchanged" test "$(grep -vc unchanged <<<"$answer")" = 0
  expect "$file: kubectl diff is empty" kubectl diff -f "$file"
done

title "5. What is refused, and what the user reads"
for file in examples/rejected/*.yaml; do
  note "\$ kubectl apply -f $file"
  answer=$(kubectl apply -f "$file" 2>&1) && answer="(accepted)"
  indented <<<"$answer"
  [[ $answer == "$(cat "${file%.yaml}.txt")" ]] || { note "NOT AS EXPECTED: see ${file%.yaml}.txt"; failures=$((failures + 1)); }
done

title "6. A wiped CA bundle is healed"
bundle() { kubectl get validatingwebhookconfiguration mcp-hangar-operator -o jsonpath='{.webhooks[0].clientConfig.caBundle}'; }
before=$(bundle)
kubectl patch validatingwebhookconfiguration mcp-hangar-operator --type=json \
  -p '[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]' | indented
healed() { local i; for ((i = 0; i < 50; i++)); do [[ $(bundle) == "$before" ]] && return; sleep 0.1; done; return 1; }
expect "the bundle is back" healed

title "7. A provider lives, with a real MCP server (tests/servers/go, made with the official Go SDK)"
wait "$building" || { note "the MCP server could not be built: see $CLUSTER_DIR/logs/mcp-server.log"; exit 1; }
provider() { kubectl get mcpprovider tools "$@"; }
show() { note "\$ kubectl get mcpprovider tools" && provider | indented; }
because() { note "Ready says: $(provider -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}')"; }
becomes() { kubectl wait mcpprovider/tools --for=jsonpath='{.status.state}'="$1" --timeout=60s >/dev/null; }
seen() { expect "it is $1" becomes "$1"; show; }
reads() { local i; for ((i = 0; i < 100; i++)); do [[ $(because) == *"$1"* ]] && return; sleep 0.1; done; return 1; }
serve() { # serve PORT: starts the server, and waits until it listens. Sets $server.
  "$CLUSTER_DIR/mcp-server" -listen "127.0.0.1:$1" >>"$CLUSTER_DIR/logs/mcp-server.log" 2>&1 &
  server=$!
  servers+=("$server")
  until (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do kill -0 "$server" && sleep 0.1; done
}
port=$((20000 + RANDOM % 10000))
while (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
serve "$port"
note "an MCP server listens at http://127.0.0.1:$port/mcp; a provider is written for it, not wanted yet, and with a wrong path:"
tee "$CLUSTER_DIR/tools.yaml" <<EOF | indented
apiVersion: mcp-hangar.io/v1alpha1
kind: MCPProvider
metadata:
  name: tools
spec:
  mode: remote
  endpoint: http://127.0.0.1:$port/
  replicas: 0
  healthCheck: {interval: 1s, timeout: 1s, failureThreshold: 2}
  circuitBreaker: {failureThreshold: 4, resetTimeout: 2s, successThreshold: 1}
EOF
kubectl apply -f "$CLUSTER_DIR/tools.yaml" | indented
seen Cold
note "wanted: \$ kubectl scale mcpprovider tools --replicas=1"
kubectl scale mcpprovider tools --replicas=1 | indented
expect "the path is named, and where to write another" reads "write it in spec.endpoint"
because
note "mended, as it says:"
kubectl patch mcpprovider.v1alpha1.mcp-hangar.io tools --type=merge -p "{\"spec\":{\"endpoint\":\"http://127.0.0.1:$port/mcp\"}}" | indented
seen Ready
note "its tools, asked over MCP: $(provider -o jsonpath='{.status.tools[*]}')"
note "the server is killed:"
kill "$server"
wait "$server" || true # ended by a signal, as asked
seen Degraded
because
seen Dead
note "and started again:"
serve "$port"
seen Ready
note "what happened, one Event for each step:"
kubectl get events --field-selector involvedObject.name=tools --sort-by=.metadata.creationTimestamp \
  -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message | indented

title "8. A group: who is a member, how many of them answer, and whether that is enough"
says() { kubectl get "$1" "$2" -o jsonpath="{.status.conditions[?(@.type==\"$3\")]['reason','message']}"; } # says KIND NAME CONDITION
settles() { # settles TEXT KIND NAME CONDITION: waits until it says that
  local i
  for ((i = 0; i < 200; i++)); do [[ $(says "${@:2}") == *"$1"* ]] && return; sleep 0.1; done
  return 1
}
group() { # group WHAT TEXT: waits until its Ready says that, and shows it
  expect "$1" settles "$2" mcppg toolbox Ready
  note "\$ kubectl get mcppg toolbox"
  kubectl get mcppg toolbox | indented
  note "Ready says: $(says mcppg toolbox Ready)"
}
spare=$((port + 1))
while (: >"/dev/tcp/127.0.0.1/$spare") 2>/dev/null; do spare=$((spare + 1)); done
serve "$spare"
note "a second server listens at http://127.0.0.1:$spare/mcp; a provider for it, and a group of all that have its label:"
tee "$CLUSTER_DIR/group.yaml" <<EOF | indented
apiVersion: mcp-hangar.io/v1alpha1
kind: MCPProvider
metadata:
  name: spare-tools
  labels: {site: demo}
  annotations: {mcp-hangar.io/weight: "30"}
spec:
  mode: remote
  endpoint: http://127.0.0.1:$spare/mcp
  healthCheck: {interval: 1s, timeout: 1s, failureThreshold: 2}
  circuitBreaker: {failureThreshold: 4, resetTimeout: 2s, successThreshold: 1}
---
apiVersion: mcp-hangar.io/v1alpha1
kind: MCPProviderGroup
metadata:
  name: toolbox
spec:
  selector: {matchLabels: {site: demo}}
  healthPolicy: {minHealthyCount: 2, unhealthyThreshold: 2}
EOF
kubectl apply -f "$CLUSTER_DIR/group.yaml" | indented
group "one is not enough" "1 of 1 member is available, healthPolicy.minHealthyCount asks for 2"
note "the provider of section 7 joins: \$ kubectl label mcpprovider tools site=demo"
kubectl label mcpprovider tools site=demo | indented
group "two are" "2 of 2 members are available"
note "who they are, with all that it takes to call them:"
kubectl get mcppg toolbox -o jsonpath='{range .status.providers[*]}{.name}  {.state}  weight {.weight}  priority {.priority}  {.endpoint}{"\n"}{end}' | indented
note "Routable says: $(says mcppg toolbox Routable)"
note "the second server is killed:"
kill "$server"
wait "$server" || true # ended by a signal, as asked
group "one is available, which is not enough" "1 of 2 members are available"
note "and started again:"
serve "$spare"
group "both are back" "PolicyMet 2 of 2 members are available"

title "9. Discovery: what a ConfigMap lists becomes a provider, and goes when it leaves the list"
list() { # list ITEM...: writes the ConfigMap
  printf '%s\n' "apiVersion: v1" "kind: ConfigMap" "metadata: {name: shelf}" "data:" "  providers.yaml: |" "    providers:" "${@/#/      }" |
    tee "$CLUSTER_DIR/shelf.yaml" | indented
  kubectl apply -f "$CLUSTER_DIR/shelf.yaml" | indented
}
found() { # found WHAT NAMES: waits until these providers are there and Ready, and shows them
  expect "$1" eventually_found "$2"
  note "\$ kubectl get mcpproviders --selector found-by=shelf"
  kubectl get mcpproviders --selector found-by=shelf | indented
}
eventually_found() {
  local i each='{range .items[*]}{.metadata.name} {.status.state} {end}'
  for ((i = 0; i < 200; i++)); do [[ $(kubectl get mcpproviders --selector found-by=shelf -o jsonpath="$each") == "$1 " ]] && return; sleep 0.1; done
  return 1
}
books="books: {endpoint: \"http://127.0.0.1:$port/mcp\"}" films="films: {endpoint: \"http://127.0.0.1:$spare/mcp\"}"
note "three servers are listed, one of them with a mistake, and a source reads the list:"
list "$books" "$films" "games: {endpont: \"http://127.0.0.1:$port/mcp\"}"
tee "$CLUSTER_DIR/source.yaml" <<EOF | indented
apiVersion: mcp-hangar.io/v1alpha1
kind: MCPDiscoverySource
metadata:
  name: shelf
spec:
  type: ConfigMap
  configMapRef: {name: shelf}
  mode: Authoritative
  providerTemplate:
    metadata: {labels: {found-by: shelf}}
    spec: {healthCheck: {interval: 1s, timeout: 1s}}
EOF
kubectl apply -f "$CLUSTER_DIR/source.yaml" | indented
found "the two good ones are Ready" "books Ready films Ready"
expect "the bad one is told" settles "1 with an error" mcpds shelf Synced
note "\$ kubectl describe mcpdiscoverysource shelf    (its status)"
kubectl describe mcpdiscoverysource shelf | sed -n '/^Status:/,/^Events:/{/^Events:/!p}' | indented
note "films and games leave the list. With mode Authoritative a provider goes, too:"
list "$books"
expect "Pruning says who went" settles "deleted, not found any more: films" mcpds shelf Pruning
found "books is left" "books Ready"
note "with mode Additive nothing is deleted, only told:"
kubectl patch mcpdiscoverysource shelf --type=merge -p '{"spec":{"mode":"Additive"}}' | indented
list "$films"
expect "Pruning says who would go" settles "these would be deleted, not found any more: books" mcpds shelf Pruning
found "books is there, and films is back" "books Ready films Ready"
note "Pruning says: $(says mcpds shelf Pruning)"
note "what happened:"
kubectl get events --field-selector involvedObject.name=shelf --sort-by=.metadata.creationTimestamp \
  -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message | indented

title "Summary"
note "$(find examples/kubernetes -name '*.yaml' | wc -l) examples stored, $(find examples/rejected -name '*.yaml' | wc -l) refused with every error named, after ${SECONDS} s in all"
if ((failures > 0)); then
  note "$failures answers were not as expected"
  exit 1
fi
note "everything was as expected; try it yourself with: make up"

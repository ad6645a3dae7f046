# shellcheck shell=bash disable=SC2154
# The programs of one node and their flags, for up.sh to source.
#
# In:  $dir, $programs, $netns and what state.sh offers; certificates and tokens are written before who needs them starts.
# Out: start_NAME for each program; write_certificates, write_configuration.
# Leaves to others: in which order, and when each is ready (up.sh).

node_name=node

# write_certificates: everybody calls the API server by token; it calls the kubelet by this certificate. Its own serving certificate it makes itself.
write_certificates() {
  [[ ! -e $dir/certs/kubelet-client.crt ]] || return 0
  (
    cd "$dir/certs" || exit
    openssl ecparam -name prime256v1 -genkey -noout -out authority.key
    openssl req -x509 -new -key authority.key -subj "/CN=mcp-hangar-test-node" -days 30 -out authority.crt \
      -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
    openssl ecparam -name prime256v1 -genkey -noout -out kubelet-client.key
    openssl req -new -key kubelet-client.key -subj "/O=system:masters/CN=kube-apiserver-kubelet-client" -out kubelet-client.csr
    openssl x509 -req -in kubelet-client.csr -CA authority.crt -CAkey authority.key -set_serial 2 -days 30 -out client.crt \
      -extfile <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n')
    mv client.crt kubelet-client.crt
  ) 2>>"$dir/logs/certificates.log" >&2
}

# write_configuration: what programs read from files.
write_configuration() {
  mkdir -p "$dir/cni" "$dir/configuration"
  cat >"$dir/cni/10-bridge.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "${pod_range%.0.0/16}.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE no pod could start otherwise.
  cat >"$dir/configuration/containerd.toml" <<END
version = 2
root = "$dir/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$dir/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "mcp-hangar.io/pause:1"
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
netns_mounts_under_state_dir = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$dir/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
END
  : >"$dir/configuration/resolv.conf"
  cat >"$dir/configuration/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$dir/certs/authority.crt"}}
authorization: {mode: Webhook}
clusterDNS: [$node_address]
clusterDomain: cluster.local
resolvConf: "$dir/configuration/resolv.conf"
cgroupDriver: cgroupfs
cgroupRoot: $group
enforceNodeAllocatable: [none]
failCgroupV1: false
failSwapOn: false
maxPods: 400
oomScoreAdj: 0
volumePluginDir: /var/lib/kubelet/volume-plugins
# Nothing can be pulled again, and the disk is the developer's: nothing is evicted or collected.
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
END
  cat >"$dir/configuration/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: "$dir/configuration/system:kube-proxy"}
clusterCIDR: $pod_range
hostnameOverride: $node_name
conntrack: {maxPerCore: 0, min: 0}
END
  cat >"$dir/configuration/Corefile" <<END
cluster.local:53 in-addr.arpa:53 {
  errors
  ready
  cache 5
  kubernetes cluster.local in-addr.arpa {
    kubeconfig "$dir/configuration/coredns" coredns
    pods insecure
  }
}
END
}

start_etcd() {
  start etcd "$programs/etcd" --data-dir="$dir/data/etcd" --unsafe-no-fsync --logger=zap --quota-backend-bytes=4294967296 \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380
}

start_kube-apiserver() {
  start kube-apiserver "$programs/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --advertise-address="$node_address" --secure-port=6443 --cert-dir="$dir/certs" --token-auth-file="$dir/tokens.csv" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --client-ca-file="$dir/certs/authority.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$dir/certs/kubelet-client.crt" --kubelet-client-key="$dir/certs/kubelet-client.key" \
    --service-cluster-ip-range="$service_range" --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$dir/certs/apiserver.key" --service-account-key-file="$dir/certs/apiserver.key"
}

start_kube-controller-manager() {
  start kube-controller-manager "$programs/kube-controller-manager" --kubeconfig="$dir/configuration/system:kube-controller-manager" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials --allocate-node-cidrs=false \
    --kube-api-qps=300 --kube-api-burst=600 --concurrent-namespace-syncs=40 --horizontal-pod-autoscaler-sync-period=2s \
    --root-ca-file="$dir/certs/issuer.crt" --service-account-private-key-file="$dir/certs/apiserver.key" \
    --cluster-signing-cert-file="$dir/certs/authority.crt" --cluster-signing-key-file="$dir/certs/authority.key" \
    --cert-dir="$dir/certs/manager" --flex-volume-plugin-dir="$dir/data/volume-plugins" --cluster-name="${netns##*/}"
}

start_kube-scheduler() {
  start kube-scheduler "$programs/kube-scheduler" --kubeconfig="$dir/configuration/system:kube-scheduler" \
    --bind-address=127.0.0.1 --leader-elect=false
}

start_containerd() { start_inside containerd containerd --config "$dir/configuration/containerd.toml"; }

start_kubelet() {
  start_inside kubelet "$programs/kubelet" --config="$dir/configuration/kubelet.yaml" --kubeconfig="$dir/configuration/system:node:$node_name" \
    --hostname-override="$node_name" --node-ip="$node_address" --root-dir=/var/lib/kubelet --cert-dir=/var/lib/kubelet/pki
}

start_kube-proxy() { start kube-proxy "$programs/kube-proxy" --config="$dir/configuration/kube-proxy.yaml"; }

start_coredns() { start coredns "$programs/coredns" -conf "$dir/configuration/Corefile"; }

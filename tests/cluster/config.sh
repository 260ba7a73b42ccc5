# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $name, $dir and the like
# The configuration files of one cluster's programs, and of one node's.

config() {
  [ -e "$dir/pki/sa.key" ] || openssl genrsa -out "$dir/pki/sa.key" 2048 2>/dev/null
  local admin kubelet k; admin=$(openssl rand -hex 16)
  printf '%s,admin,admin,system:masters\n' "$admin" >"$dir/tokens.csv"
  kubeconfig_of "$admin" >"$dir/kubeconfig"
  # The API server reads them when it starts, and a second node may come later.
  for k in 1 2; do
    kubelet=$(openssl rand -hex 16)
    printf '%s,system:node:%s-%s,node,system:nodes\n' "$kubelet" "$name" $k >>"$dir/tokens.csv"
    kubeconfig_of "$kubelet" >"$dir/node-$k.kubeconfig"
  done
  chmod 600 "$dir"/*kubeconfig "$dir/tokens.csv"
  printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "%s"}\nlog: {level: error, accesslog: {disabled: true}}\n' "$dir/registry" "$registry" >"$dir/registry.yaml"
  : >"$dir/resolv.conf"
  cat >"$dir/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $dir/kubeconfig}
clusterCIDR: $pods.0/16
mode: nftables
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
EOF
  cat >"$dir/Corefile" <<EOF
.:53 {
  bind $pods.1
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $dir/kubeconfig
    pods insecure
  }
}
EOF
  cat >"$dir/defaults.yaml" <<EOF
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: other}
provisioner: kubernetes.io/host-path
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: late}
provisioner: kubernetes.io/host-path
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: prepared}
provisioner: kubernetes.io/no-provisioner
EOF
}

node_config() {
  # restrict_oom_score_adj: this machine may not lower oom scores (no CAP_SYS_RESOURCE).
  # netns_mounts_under_state_dir and Root: kept under $run, so that `down` finds them.
  cat >"$place/containerd.toml" <<EOF
version = 2
root = "$place/containerd"
state = "$sockets/containerd"
[grpc]
  address = "$sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/sandbox:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$place/registries"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$place/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "$sockets/runc"
EOF
  # One plain registry stands in for every registry there is, so that pulls are real (also imagePullPolicy: Always).
  mkdir -p "$place/registries/_default"
  printf 'server = "http://%s"\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$registry" "$registry" >"$place/registries/_default/hosts.toml"
  cat >"$place/cni/10-bridge.conflist" <<EOF
{"cniVersion":"1.0.0","name":"migrate-$name","plugins":[
 {"type":"bridge","bridge":"pods","isGateway":true,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"$node_pods.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}],"dataDir":"$place/ipam"}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
EOF
  cat >"$place/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$sock
clusterDomain: cluster.local
clusterDNS: [$pods.1]
resolvConf: $dir/resolv.conf
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
# The disk is not the cluster's alone: an image that nothing uses for a moment is not to go because it is 85 % full.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
makeIPTablesUtilChains: true
maxPods: 110
serializeImagePulls: true
syncFrequency: 5s
nodeStatusUpdateFrequency: 5s
volumePluginDir: $place/plugins
podLogsDir: $place/pod-logs
EOF
}

kubeconfig_of() { # kubeconfig_of TOKEN
  cat <<EOF
apiVersion: v1
kind: Config
current-context: test-$name
clusters: [{name: test-$name, cluster: {server: "https://$node:6443", insecure-skip-tls-verify: true}}]
users: [{name: test-$name, user: {token: $1}}]
contexts: [{name: test-$name, context: {cluster: test-$name, user: test-$name, namespace: default}}]
EOF
}

# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $name, $dir and the like
# Wires, routes and cgroups of one cluster.

network() {
  lock 9 network # two clusters may start at once
  ip netns add "$netns"
  ip link add "kmig-$name" type veth peer name uplink netns "$netns"
  ip addr add "$host/30" dev "kmig-$name"; ip link set "kmig-$name" up
  # Whoever dials a pod from the machine gets "no route", and nothing leaves it.
  local net; for net in "$pods.0/16" "$services.0/16"; do ip route replace unreachable "$net"; done
  # The bridge of the CNI plugin, made early: DNS and the registry listen on its address. Services have a
  # route so that the API server's calls to webhooks reach kube-proxy's rules.
  inside sh -ec "ip link set lo up; ip addr add $node/30 dev uplink; ip link set uplink up
    ip link add pods type bridge; ip addr add $pods.1/24 dev pods; ip link set pods up; ip route add $services.0/16 dev pods
    sysctl -qw net.ipv4.ip_forward=1
    iptables -t nat -A POSTROUTING -s $pods.0/16 -o uplink -j MASQUERADE"
  local other
  for other in "${names[@]}"; do [ "$other" = "$name" ] || [ ! -e "/run/netns/kmig-$other" ] || join "$name" "$other"; done
  exec 9>&-
}

# The second node hangs on the first, by a wire of its own: its pods reach everything through it.
second_network() {
  ip netns add "$netns"
  ip link add node-2 netns "kmig-$name" type veth peer name uplink netns "$netns"
  ip -n "kmig-$name" addr add "10.222.$n.1/30" dev node-2; ip -n "kmig-$name" link set node-2 up
  inside sh -ec "ip link set lo up; ip addr add $address/30 dev uplink; ip link set uplink up
    ip link add pods type bridge; ip addr add $node_pods.1/24 dev pods; ip link set pods up
    ip route add default via 10.222.$n.1; sysctl -qw net.ipv4.ip_forward=1"
  ip -n "kmig-$name" route add "$node_pods.0/24" via "$address"
}

# join A B: a wire between two clusters, with routes to each other's pods and no address translation.
join() {
  local first second k; [[ $1 < $2 ]] && first=$1 second=$2 || first=$2 second=$1
  k=$(($(number_of "$first") * 4 + $(number_of "$second")))
  ip link add "to-$second" netns "kmig-$first" type veth peer name "to-$first" netns "kmig-$second"
  ip -n "kmig-$first" addr add "10.221.$k.1/30" dev "to-$second"; ip -n "kmig-$first" link set "to-$second" up
  ip -n "kmig-$second" addr add "10.221.$k.2/30" dev "to-$first"; ip -n "kmig-$second" link set "to-$first" up
  ip -n "kmig-$first" route add "10.$((200 + $(number_of "$second"))).0.0/16" via "10.221.$k.2"
  ip -n "kmig-$second" route add "10.$((200 + $(number_of "$first"))).0.0/16" via "10.221.$k.1"
}

cut_wire() { ip -n "kmig-$1" link del "to-$2"; }

network_down() {
  local one
  for one in "kmig-$name-2" "kmig-$name"; do ip netns del "$one" 2>/dev/null || true; done
  # A namespace takes its ends of the wires along, but a moment later than `down` ends.
  local other; for other in "${names[@]}"; do ip -n "kmig-$other" link del "to-$name" 2>/dev/null || true; done
  ip link del "kmig-$name" 2>/dev/null || true
  local net; for net in "$pods.0/16" "$services.0/16"; do ip route del unreachable "$net" 2>/dev/null || true; done
}

# Each node's pods live under a cgroup of its own (cgroup v1 has one tree per controller).
cgroups() {
  local tree
  for tree in /sys/fs/cgroup/{cpu,cpuacct,cpuset,memory,pids,systemd,blkio,devices,freezer,hugetlb}; do
    [ -d "$tree" ] || continue
    mkdir -p "$tree/$group"
    [ -e "$tree/cpuset.cpus" ] && { cat "$tree/cpuset.cpus" >"$tree/$group/cpuset.cpus"; cat "$tree/cpuset.mems" >"$tree/$group/cpuset.mems"; }
  done
  [ -e /sys/fs/cgroup/cgroup.controllers ] && mkdir -p "/sys/fs/cgroup/$group"
  return 0
}

cgroups_down() {
  local tree
  for _ in {1..600}; do
    for tree in $(cgroup_trees); do find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
    [ "$(cgroup_trees)" ] || return 0
    sleep 0.1 # a killed process leaves its cgroup a moment later
  done
}

cgroup_trees() { find /sys/fs/cgroup -maxdepth 2 -type d -name "kmig-$name" 2>/dev/null; }

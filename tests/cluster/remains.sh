# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $name, $dir and the like
# What a cluster has put on this machine, found without its help: what `down` removes, and what
# `remains` shows. One list for both, and `check` compares it with the whole machine.

remains() {
  local one route netns
  for one in "${@:-"${names[@]}"}"; do
    select_cluster "$one"
    processes | xargs -rn1 ps -o pid=,args= -p | cut -c1-160 | sed "s/^/process /"
    mounts | sed 's/^/mount /'
    loop_devices | sed 's/^/loop device /'
    for netns in "kmig-$name" "kmig-$name-2"; do [ ! -e "/run/netns/$netns" ] || echo "network namespace $netns"; done
    [ ! -e "/sys/class/net/kmig-$name" ] || echo "network interface kmig-$name"
    for route in "$pods.0/16" "$services.0/16"; do [ ! "$(ip route show type unreachable "$route")" ] || echo "route unreachable $route"; done
    cgroup_trees | sed 's/^/cgroup /'
    { cni_results; container_links; shim_sockets; provisioned_volumes; } | sed 's/^/file /'
    [ ! -e "$dir" ] || echo "folder $dir"
    [ ! -e "$run" ] || echo "folder $run"
  done
}

# Programs are known by their pid files, pods by their cgroup, shims by the socket that they answer to.
processes() {
  local what pid
  {
    for what in "$dir"/pid/*; do if running "${what##*/}"; then cat "$what"; fi; done
    for what in $(cgroup_trees); do find "$what" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done
    for pid in $(pgrep -f "^[^ ]*containerd-shim.*$run/" || true); do echo "$pid"; done
  } | sort -un
}

mounts() { awk -v dir="$dir/" -v run="$run/" 'index($2, dir) == 1 || index($2, run) == 1 {print $2}' /proc/mounts; }

# The kubelet puts one of its own over each of ours while a pod uses it; it comes first, by its path.
loop_devices() { losetup -nlO BACK-FILE,NAME | awk -v dir="$dir/" 'index($1, dir) == 1' | sort | awk '{print $NF}'; }

# The controllers' provisioner writes to /tmp/hostpath_pv and nowhere else, for every cluster. Which
# volumes were this one's, is in its etcd's files, whether etcd can still be asked or not.
provisioned_volumes() {
  { grep -rhaoE '/tmp/hostpath_pv/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' "$dir/etcd" 2>/dev/null || true; } |
    sort -u | while read -r path; do [ ! -e "$path" ] || echo "$path"; done
}

shim_sockets() {
  { grep -rhoE --include=address --include=bootstrap.json '/run/containerd/s/[0-9a-f]+' "$run" 2>/dev/null || true; } | sort -u
}

cni_results() {
  local result id
  for result in "/var/lib/cni/results/migrate-$name"-*; do
    [ -e "$result" ] || continue
    id=${result#*"migrate-$name"-} id=${id%%-*}
    find /var/lib/cni/results -name "*-$id-*"
  done
}

container_links() { find /var/log/containers -lname "$dir/*" 2>/dev/null || true; }

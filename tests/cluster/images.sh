# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $home, $sock and the like
# Images made of folders, without Docker, and how they get onto the nodes.

# A function in ( ) is a shell of its own, whose temporary folder goes whichever way it ends.

archive() ( # archive TAG DIR ENTRYPOINT…: a Docker archive of one layer, on standard output
  tag=$1 from=$2 same=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner); shift 2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  tar -C "$from" "${same[@]}" -cf "$work/layer.tar" .
  jq -nc --arg diff "sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)" --arg arch "$(dpkg --print-architecture)" \
    '{architecture: $arch, os: "linux", config: {Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOGC=400"], Entrypoint: $ARGS.positional}, rootfs: {type: "layers", diff_ids: [$diff]}}' \
    --args -- "$@" >"$work/config.json"
  jq -nc --arg tag "$tag" '[{Config: "config.json", RepoTags: [$tag], Layers: ["layer.tar"]}]' >"$work/manifest.json"
  tar -C "$work" "${same[@]}" -cf - manifest.json config.json layer.tar
)

# Into the container runtime of the node that is selected.
sandbox_image() (
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  mkdir -p "$root/bin"; cp /bin/busybox "$root/bin/busybox"
  archive localhost/sandbox:1 "$root" /bin/busybox sleep 2147483647 | ctr -a "$sock" -n k8s.io images import - >/dev/null
)

image() {
  [ $# -ge 2 ] || fail "usage: cluster image TAG DIR [ENTRYPOINT…]"
  local tag=$1 from=$2 file new one; shift 2
  mkdir -p "$home/images"
  file=$home/images/${tag//[^a-z0-9.-]/_}.tar
  new=$(mktemp "$home/images/.new.XXXXXX") # a cluster that starts now must not read half of it
  archive "$tag" "$from" "$@" >"$new"
  mv "$new" "$file"
  for one in "${names[@]}"; do
    select_cluster "$one"
    if running containerd; then load "$file"; fi
    select_node 2
    if running containerd-2; then imported "$file"; fi
  done
}

# The image of the pods that move data: the client's own binary and nothing else, under its version.
mover() {
  local binary=${1:?usage: cluster mover BINARY [TAG]} tag=${2:-}
  [ "$tag" ] || tag=localhost/kubectl-migrate:$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' "$here/../../Cargo.toml")
  single "$binary" kubectl-migrate "$tag"
  echo "$tag"
}

# single PROGRAM NAME TAG: an image of nothing but one static program.
single() (
  [ -x "$1" ] || fail "there is no program $1: build it first"
  # ldd fails for a static program; a dynamic one would find no loader in an image without files.
  if ldd "$1" 2>/dev/null | grep -q '=>'; then fail "$1 is not static: build it with -C target-feature=+crt-static"; fi
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  cp "$1" "$root/$2"
  chmod 755 "$root" "$root/$2"
  image "$3" "$root" "/$2"
)

# The stand-in for Kamaji, the controller's program and its Jobs' in one.
kamaji() {
  local tag=${2:-localhost/kamaji-stand-in:1}
  single "${1:?usage: cluster kamaji BINARY [TAG]}" kamaji-stand-in "$tag"
  echo "$tag"
}

# A tenant's API server is the cluster's own program.
tenant() {
  local tag=localhost/kube-apiserver:$version
  [ "$home/images/${tag//[^a-z0-9.-]/_}.tar" -nt "$bin/.done" ] || single "$bin/kube-apiserver" kube-apiserver "$tag"
  echo "$tag"
}

# imported ARCHIVE: gives it to the selected node, so that it need not pull it.
imported() { ctr -a "$sock" -n k8s.io images import "$1" >/dev/null; }

# load ARCHIVE: gives it to the first node, and to the registry (pull possible).
load() {
  local tag pushed
  tag=$(tar -xOf "$1" manifest.json | jq -r '.[0].RepoTags[0]')
  pushed=$registry/${tag#*/}
  imported "$1"
  ctr -a "$sock" -n k8s.io images tag --force "$tag" "$pushed" >/dev/null
  # What the registry has of an earlier try is not sent again.
  again inside ctr -a "$sock" -n k8s.io images push --plain-http "$pushed"
  ctr -a "$sock" -n k8s.io images rm "$pushed" >/dev/null
}

# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $home, $bin and the like
# Debian's packages, the programs built from Go modules, and the images that every test has.

# What the clusters run on, and what the tests look at volumes with.
packages=(containerd runc containernetworking-plugins iptables conntrack ethtool iproute2 nftables
  docker-registry busybox-static jq openssl util-linux procps attr acl rsync python3-venv curl)
moto=$home/moto-$(sed -n 's/^moto.*==//p' "$here/s3/moto.txt")

install() {
  local begin=$SECONDS
  mkdir -p "$home"
  lock 8 install
  # The compilers need both cores and the packages the network: together they take as long as one.
  { debian_packages && moto; } &
  local other=$!
  build
  wait "$other" || fail "Debian's packages or moto could not be installed: see above"
  ln -sf "$moto/bin/moto_server" "$bin/moto_server"
  base_images
  exec 8>&-
  ((SECONDS - begin < 2)) || echo "cluster: installed in $((SECONDS - begin)) s"
}

debian_packages() {
  dpkg -s "${packages[@]}" >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] || fail "Debian's packages are missing (${packages[*]}): run it as root"
  local patient=(-o DPkg::Lock::Timeout=1800 -o Acquire::Retries=5)
  again apt-get "${patient[@]}" update -q
  DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -q --no-install-recommends "${packages[@]}"
}

# An S3 server beside versitygw that is of other hands: what it does otherwise, others may do.
moto() {
  [ ! -e "$moto/.done" ] || return 0
  rm -rf "$moto"
  /usr/bin/python3 -m venv "$moto"
  again "$moto/bin/pip" install -q --disable-pip-version-check --no-compile -r "$here/s3/moto.txt"
  touch "$moto/.done"
}

# What the programs are made of. Another version of any of it, and they are built again.
build_digest() {
  (cd "$here" && sha256sum {,kine/,kine-0.11/,s3/}go.{mod,sum} dns/main.go kine/drivers.go install.sh | sha256sum | cut -d' ' -f1)
}

# A module for what can share its dependencies' versions: each package of one version is compiled once.
#
# .          Kubernetes, etcd (Debian's 3.4 is too old for Kamaji: no AuthStatus), CoreDNS
# kine       what a tenant stands on where that is not etcd: kine and nats-server
# kine-0.11  the one that Kamaji brings: it keeps a NATS bucket in another way
# s3         versitygw: an S3 server, with folders for buckets
build() {
  local digest; digest=$(build_digest)
  [ "$(cat "$bin/.done" 2>/dev/null)" = "$digest" ] && return
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || fail "go is missing: install Go 1.26 or later (https://go.dev/dl)"
  # Go 1.27's default JSON breaks Kubernetes 1.36's /openapi/v2; another Go fetches the one in go.mod.
  case $(go env GOVERSION) in go1.26*) ;; *) export GOTOOLCHAIN=go1.26.5 ;; esac
  rm -f "$bin/.done"
  rm -rf "$bin/build"
  mkdir -p "$bin/build/older"
  local pkg=k8s.io/component-base/version minor=${version#v1.}
  # CGO off: static programs. The compilers collect only what would not fit: a third of their time. What the
  # linker would throw away is not made.
  export CGO_ENABLED=0 GOBIN=$bin GOGC=off GOMEMLIMIT=3GiB GOFLAGS="-trimpath -gcflags=all=-dwarf=false"
  # All at once: while one downloads, computes its graph or links, another compiles. Again where a download broke off:
  # what is there and what is compiled is not done twice.
  # gitVersion: clients refuse an API server that calls itself v0.0.0.
  (cd "$here" && again go install -ldflags "-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=${minor%%.*}" tool ./dns) &
  local kubernetes=$!
  (kine "$bin/build") &
  local kine=$!
  (cd "$here/kine-0.11" && GOBIN=$bin/build/older again go install -ldflags "-s -w" tool) &
  local older=$!
  (cd "$here/s3" && again go install -ldflags "-s -w" tool) &
  local one
  for one in $kubernetes $kine $older $!; do wait "$one" || fail "the Go build failed: see above"; done
  mv "$bin/server" "$bin/etcd"
  mv "$bin/build/older/kine" "$bin/kine-0.11"
  chmod -R u+w "$bin/build"
  rm -rf "$bin/build"
  echo "$digest" >"$bin/.done"
}

# kine with the drivers that tenants have: a copy of its module in FOLDER, in which the list is ours.
kine() { # kine FOLDER
  cd "$here/kine" || return
  local from
  from=$(go list -m -f '{{.Dir}}' github.com/k3s-io/kine)
  [ "$from" ] || { again go mod download github.com/k3s-io/kine && from=$(go list -m -f '{{.Dir}}' github.com/k3s-io/kine); }
  cp -r "$from" "$1/kine"
  chmod -R u+w "$1/kine"
  cp drivers.go "$1/kine/pkg/endpoint/init.go"
  cp go.mod "$1/kine.mod"
  cp go.sum "$1/kine.sum"
  go mod edit -replace "github.com/k3s-io/kine=$1/kine" "$1/kine.mod"
  again go install -modfile="$1/kine.mod" -ldflags "-s -w" tool
}

# localhost/busybox:1  a shell, tar and the like: the poor image that most workloads have
# localhost/host:1     nothing but links; a pod that mounts this machine's /usr and /etc (read-only
#                      hostPath) has every program installed here: java, rsync, PostgreSQL, …
# localhost/etcd:3.6   etcd and etcdctl
# localhost/kine:1     what stands between an API server and a database
# localhost/nats:2     nats-server
base_images() (
  [ "$home/images/localhost_nats_2.tar" -nt "$bin/.done" ] && return
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  mkdir -p "$root"/busybox/{bin,tmp,etc,root} "$root"/host/{usr,etc,tmp,var,run,proc,sys,dev,root,home,data}
  cp /bin/busybox "$root/busybox/bin/"
  for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/busybox/bin/$applet"; done
  echo 'root:x:0:0::/root:/bin/sh' >"$root/busybox/etc/passwd"
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/host/$link"; done
  touch "$root"/host/etc/{hosts,resolv.conf,hostname,passwd}
  chmod 1777 "$root"/{busybox,host}/tmp
  mkdir -p "$root/etcd/usr/local/bin"; cp "$bin/etcd" "$bin/etcdctl" "$root/etcd/usr/local/bin/"
  image localhost/busybox:1 "$root/busybox"
  image localhost/host:1 "$root/host"
  image localhost/etcd:3.6 "$root/etcd" etcd
  single "$bin/kine" kine localhost/kine:1
  single "$bin/nats-server" nats-server localhost/nats:2
)

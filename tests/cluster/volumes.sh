# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $name, $dir and the like
# Volumes that a StorageClass of host paths cannot give: one with an end, and a raw block device.

prepared_volume() { # prepared_volume tmpfs-volume|block-volume [NAMESPACE/]CLAIM SIZE [NAME[-NODE]]
  [ $# -ge 3 ] || fail "usage: cluster $1 [NAMESPACE/]CLAIM SIZE [NAME[-NODE]], SIZE as in 64Mi"
  local namespace=default claim=$2 size=$3 bytes path mode where=${4:-a}
  [[ $claim == */* ]] && namespace=${claim%%/*} claim=${claim#*/}
  select_cluster "${where%-[12]}"
  [[ $where == *-* ]] || where=$where-1
  running apiserver || fail "cluster $name does not run: start it with \`$self up $name\`"
  bytes=$(numfmt --from=auto "$size") || fail "SIZE is a number of bytes with Ki, Mi or Gi, not \`$size\`"
  if [ "$1" = tmpfs-volume ]; then
    path=$dir/volumes/$namespace-$claim mode=Filesystem
    tmpfs "$path" "$bytes"
  else
    mode=Block
    path=$(block_device "$dir/volumes/$namespace-$claim.img" "$bytes")
  fi
  kube apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $namespace-$claim}
spec:
  capacity: {storage: $size}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: prepared
  volumeMode: $mode
  claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: $namespace, name: $claim}
  local: {path: $path}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$where]}]
YAML
  echo "$namespace-$claim"
}

tmpfs() { # tmpfs DIR BYTES: mounted, or resized
  mkdir -p "$1"
  if mountpoint -q "$1"; then mount -o "remount,size=$2" "$1"; else mount -t tmpfs -o "size=$2,mode=777" "kmig-$name" "$1"; fi
}

block_device() { # block_device FILE BYTES: the loop device of a sparse file, made or resized
  local device
  truncate -s "$2" "$1"
  device=$(losetup -nO NAME -j "$1" | head -1)
  if [ "$device" ]; then losetup -c "$device"; else device=$(losetup -f --show "$1"); fi
  echo "$device"
}

# shellcheck shell=bash disable=SC2154  # `run` reads this file and sets $work, $binary and the like
# A volume to a bucket and back, beside what people do that with. All speak to the same S3 server on this machine and
# work on the same folders, not in memory before; `sync` is counted where files are written. What is timed of ours is
# making and sending the archive, or filling the volume, as the journal has it: the start of the mover is not in it, as
# the peers run beside the files already.

# Two files of random bytes, and two that compress well.
mixed_files='for i in 1 2; do
  dd if=/dev/urandom of=random-$i bs=1M count=1024 2>/dev/null
  { seq ${i}00000000 900000000 2>/dev/null || true; } | head -c 1G >text-$i
done'

# bucket_started: an S3 server with the bucket `bench`, which pods and this machine reach. Sets $endpoint.
bucket_started() {
  local host
  host=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}' | sed 's#https://##; s/:.*//')
  # The machine is the pods' gateway, the address before that of the node.
  host=${host%.*}.$((${host##*.} - 1))
  # What a user has set for others is not for this one; rclone does not even start with a bundle of certificates.
  unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN
  export AWS_ACCESS_KEY_ID=root AWS_SECRET_ACCESS_KEY=root-secret AWS_REGION=us-east-1
  export RCLONE_CONFIG=/dev/null RESTIC_PASSWORD=bench
  endpoint=http://$host:7480
  remote=":s3,provider=Other,env_auth=true,no_check_bucket=true,endpoint=\"$endpoint\":bench/files.tar.zst"
  export RESTIC_REPOSITORY=s3:$endpoint/bench/restic
  mkdir -p "$work/buckets/bench"
  ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
    versitygw --quiet --region $AWS_REGION --port "$host:7480" posix "$work/buckets" >"$work/s3.log" 2>&1 &
  s3_server=$!
  until curl -s -o "$work/answer" "$endpoint"; do
    kill -0 $s3_server || fail "versitygw ended: $(cat "$work/s3.log")"
    sleep 0.1
  done
}

# seconds_of OUTPUT PATH: of the migration that a run speaks of, the seconds at this place of its journal.
seconds_of() {
  local name
  name=$(sed -n 's/.*`kubectl migrate report \([^ ]*\) .*/\1/p' <<<"$1" | tail -n 1)
  "$binary" report "$name" -n "$namespace" -o json | jq ".outputs$2"
}

archived_by_ours() {
  local told
  told=$("$binary" snapshot pvc/from --to s3://bench/ours --endpoint "$endpoint" -n "$namespace" --yes 2>&1) || fail "$told"
  seconds_of "$told" .upload.volumes[0].seconds
}
archived_by_tar() { seconds sh -ec 'tar -C "$1" -cf - . | zstd -q -1 -T0 | rclone rcat "$2"' - "$from" "$remote"; }
# What it has sent before it does not send again: each time it is the first.
archived_by_restic() {
  rm -rf "$work/buckets/bench/restic"
  restic -q --no-cache init >/dev/null
  seconds restic -q --no-cache backup "$from"
}

restored_by_ours() {
  local told id
  id=$("$binary" snapshot list s3://bench/ours --endpoint "$endpoint" -n "$namespace" -o json | jq -r '.items[-1].name')
  told=$("$binary" restore "s3://bench/ours/$id" --into pvc/to --endpoint "$endpoint" -n "$namespace" --yes 2>&1) || fail "$told"
  seconds_of "$told" .fill.seconds[0]
}
restored_by_tar() { seconds sh -ec 'rclone cat "$2" | zstd -q -d | tar -C "$1" -xf -; sync' - "$to" "$remote"; }
restored_by_restic() { seconds sh -ec 'restic -q --no-cache restore latest --target "$1"; sync' - "$to"; }

# in_turn WORK OURS "LEAST-RATIO FUNCTION PEER"…: each round ours, then each peer, on an empty target.
in_turn() {
  local what=$1 ours=$2 round one least peer name
  shift 2
  rm -f "$work"/peer-* "$work/ours"
  for ((round = 0; round < rounds; round++)); do
    emptied; "$ours" >>"$work/ours"
    for one; do
      read -r least peer _ <<<"$one"
      emptied; "$peer" >>"$work/peer-$peer"
    done
  done
  for one; do
    read -r least peer name <<<"$one"
    ratio_of "$what" disk "$name" "$least" "$(median <"$work/ours")" "$(median <"$work/peer-$peer")"
  done
}

row_archive() {
  laid_out bench-archive "$mixed_files"
  bucket_started
  in_turn "snapshot of 4 GiB, half compressible" archived_by_ours \
    "2 archived_by_tar tar, zstd -1 -T0, rclone rcat" "2 archived_by_restic restic backup"
  in_turn "restore of it" restored_by_ours \
    "1 restored_by_tar rclone cat, zstd -d, tar x" "1.5 restored_by_restic restic restore"
  kill "$s3_server"
  wait "$s3_server" || true
  rm -rf "$work/buckets"
  kubectl delete namespace "$namespace" --wait=false >/dev/null
}

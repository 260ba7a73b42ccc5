# shellcheck shell=bash disable=SC2154  # `run` reads this file and sets $work, $binary and the like
# Volume to volume beside what people copy with: rsync over ssh between two pods, `cp -a` on the node, b3sum.
# What is timed is copying alone, for both: of ours the warm rounds, as the report has them, with the last sync. The
# start of our movers and of the peers' pods is in neither.
#
# On folders of this machine's disk, not in memory before, and `sync` counted. Not on tmpfs: what is written there is
# memory of the pod that writes it, and of that a mover has little.

large_files='for i in 1 2 3 4; do dd if=/dev/urandom of=$i bs=1M count=1024 2>/dev/null; done'
small_files='for d in $(seq 100); do mkdir $d; dd if=/dev/urandom bs=4096 count=1000 2>/dev/null | split -b 4096 -a 3 - $d/; done'

# laid_out NAMESPACE FILL: two volumes, the first filled; the peers' pods on both folders. Sets $namespace,
# $from and $to.
laid_out() {
  local claim
  namespace=$1 size=6Gi
  kubectl create namespace "$namespace" >/dev/null
  for claim in from to; do
    sed "s/\<from\>/$claim/g; s/2Gi/$size/" "$bench/claims.yaml" >"$work/$claim.yaml"
    kubectl apply -n "$namespace" -f "$work/$claim.yaml" >/dev/null
    kubectl wait -n "$namespace" --for=condition=Ready "pod/$claim" --timeout=120s >/dev/null
  done
  # Ours refuses a target that a pod has; the peers have the folder.
  kubectl delete -n "$namespace" pod/from pod/to >/dev/null
  from=$(folder "$namespace" from) to=$(folder "$namespace" to)
  (cd "$from" && sh -ec "$2")
  peers_on
  sync
}

# peers_on: pods of $namespace on the folders $from and $to.
peers_on() {
  keys
  sed "s|@KEYS@|$work/keys|; s|@FROM@|$from|; s|@TO@|$to|" "$bench/peers.yaml" | kubectl apply -n "$namespace" -f - >/dev/null
  kubectl wait -n "$namespace" --for=condition=Ready pod/rsync pod/sshd --timeout=120s >/dev/null
}

keys() {
  [ ! -e "$work/keys" ] || return 0
  mkdir "$work/keys"
  chmod 755 "$work" "$work/keys"
  ssh-keygen -q -t ed25519 -N '' -f "$work/keys/host"
  ssh-keygen -q -t ed25519 -N '' -f "$work/keys/user"
}

# emptied: nothing of an earlier round at the target, and nothing in memory. Many small files are set aside until the end
# and not deleted: ext4 looks for minutes at each inode that was freed, before it gives it out again, and who copies next
# pays.
emptied() {
  if [ "$namespace" = bench-small ]; then
    aside=${aside:-$(mktemp -d "$(dirname "$to")/aside-XXXXXX")}
    find "$to" -mindepth 1 -maxdepth 1 -exec mv -t "$(mktemp -d "$aside/XXXXXX")" {} +
  else
    find "$to" -mindepth 1 -delete
  fi
  "$binary" cleanup copy-from-to -n "$namespace" --forget --confirm copy-from-to --yes >/dev/null 2>&1 || true
  sync
  echo 3 >/proc/sys/vm/drop_caches
}

# ours_copied: prints the seconds of copying; those of comparing are the last line of $work/verified.
ours_copied() {
  "$binary" copy pvc/from pvc/to -n "$namespace" --yes >/dev/null
  "$binary" report copy-from-to -n "$namespace" -o json >"$work/report"
  jq '.outputs.verify.volumes[0].seconds' "$work/report" >>"$work/verified"
  jq '.outputs["warm-copy"].volumes[0].seconds' "$work/report"
}

# rsync_over_ssh RSYNC-FLAGS SSH-FLAGS: from the one pod to the other, with all that ours keeps.
rsync_over_ssh() {
  local address
  address=$(kubectl get pod sshd -n "$namespace" -o jsonpath='{.status.podIP}')
  seconds sh -ec 'kubectl exec -n "$1" rsync -- sh -ec "cp /keys/user /run/sshd/user; chmod 600 /run/sshd/user
    rsync -aHAXS --numeric-ids $2 -e \"ssh -p 2222 -i /run/sshd/user -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR $3\" /files/ root@$4:/files/"; sync' \
    - "$namespace" "$1" "$2" "$address"
}
plain_rsync() { rsync_over_ssh "" ""; }
tuned_rsync() { rsync_over_ssh --whole-file "-c aes128-gcm@openssh.com -oCompression=no"; }
copied_by_cp() { seconds sh -ec 'cp -a "$1/." "$2/"; sync' - "$from" "$to"; }
# What no copy can be faster than: as many bytes over one connection between the two pods, and their digest and cipher
# on one core each, with nothing read or written.
sent_raw() {
  local address
  address=$(kubectl get pod sshd -n "$namespace" -o jsonpath='{.status.podIP}')
  kubectl exec -n "$namespace" sshd -- python3 -c '
import socket
with socket.create_server(("", 7000)) as server:
    connection, _ = server.accept()
    buffer = bytearray(1 << 20)
    while connection.recv_into(buffer): pass' &
  kubectl exec -n "$namespace" rsync -- python3 -c '
import socket, sys, time
for _ in range(600):
    try: connection = socket.create_connection((sys.argv[1], 7000)); break
    except ConnectionRefusedError: time.sleep(0.1)
piece = bytes(1 << 20)
begun = time.monotonic()
for _ in range(4096): connection.sendall(piece)
print(time.monotonic() - begun)' "$address"
  wait $!
}
digested_alone() {
  head -c 1G /dev/zero >/dev/shm/bench
  seconds b3sum --num-threads 1 /dev/shm/bench /dev/shm/bench /dev/shm/bench /dev/shm/bench
  rm /dev/shm/bench
}
# OpenSSL tells thousands of bytes a second.
enciphered_alone() {
  openssl speed -evp aes-256-gcm -seconds 1 -bytes 16384 2>/dev/null | awk 'END {sub(/k$/, "", $2); print 4 * 2 ^ 30 / ($2 * 1000)}'
}
both_digested() { seconds sh -ec 'find "$1" -type f -print0 | xargs -0 -n 5000 b3sum >/dev/null & find "$2" -type f -print0 | xargs -0 -n 5000 b3sum >/dev/null; wait' - "$from" "$to"; }

ours_and_compared() {
  emptied
  ours_copied >>"$work/ours"
  sync
  echo 3 >/proc/sys/vm/drop_caches
  both_digested >>"$work/peer-b3sum"
}

# beside WORK "LEAST-RATIO FUNCTION PEER"…: each round ours and both sides compared, and each peer: every other round
# the peers first, as the disk is fuller for who comes later.
beside() {
  local what=$1 round one least peer name
  shift
  rm -f "$work"/peer-* "$work/ours" "$work/verified"
  for ((round = 0; round < rounds; round++)); do
    [ $((round % 2)) = 1 ] || ours_and_compared
    for one; do
      read -r least peer _ <<<"$one"
      emptied
      "$peer" >>"$work/peer-$peer"
    done
    [ $((round % 2)) = 0 ] || ours_and_compared
  done
  for one; do
    read -r least peer name <<<"$one"
    ratio_of "$what" disk "$name" "$least" "$(median <"$work/ours")" "$(median <"$work/peer-$peer")"
  done
  ratio_of "$what: compared" disk "b3sum on both sides at once" 0.8 "$(median <"$work/verified")" "$(median <"$work/peer-b3sum")"
  kubectl delete namespace "$namespace" --wait=false >/dev/null
}

row_large() {
  laid_out bench-large "$large_files"
  beside "4 files of 1 GiB, volume to volume" "0.9 copied_by_cp cp -a on the node" \
    "0 plain_rsync rsync over ssh" "0 tuned_rsync rsync over ssh, tuned" \
    "0 sent_raw raw TCP between the pods" "0 digested_alone BLAKE3 alone, one core" "0 enciphered_alone AES alone, one core"
}

row_small() {
  laid_out bench-small "$small_files"
  beside "100,000 files of 4 KiB" "2 plain_rsync rsync over ssh" "2 copied_by_cp cp -a on the node"
}

# The second of a StatefulSet's warm rounds, which is stopped before anything else is done, beside a second rsync: first
# with nothing changed, all names in memory; then with one file of a hundred changed, and nothing in memory.
row_second() {
  local round what files
  namespace=bench-second to=$work/second
  kubectl create namespace $namespace >/dev/null
  kubectl create namespace $namespace-new >/dev/null
  kubectl apply -n $namespace -f "$bench/second.yaml" >/dev/null
  kubectl rollout status -n $namespace statefulset/files --timeout=120s >/dev/null
  from=$(folder $namespace data-files-0)
  # As long as the large one is copied, the last, the round is not over.
  (cd "$from" && sh -ec "$small_files" && dd if=/dev/urandom of=zz-large bs=1M count=1024 2>/dev/null)
  mkdir "$to"
  peers_on
  sync
  plain_rsync >/dev/null
  for what in nothing_changed some_changed; do
    files=100001
    [ $what = nothing_changed ] || files=101001
    rm -f "$work/ours" "$work/peer"
    for ((round = 0; round < rounds; round++)); do
      looked_again_by_ours $what $files >>"$work/ours"
      # What changed since the peer last looked: all that was changed for ours.
      [ $what = nothing_changed ] || some_changed
      plain_rsync >>"$work/peer"
    done
    if [ $what = nothing_changed ]; then
      ratio_of "100,000 files, nothing changed" memory "rsync over ssh" 2 "$(median <"$work/ours")" "$(median <"$work/peer")"
    else
      ratio_of "100,000 files, 1 % changed" disk "rsync over ssh" 2 "$(median <"$work/ours")" "$(median <"$work/peer")"
    fi
  done
  kubectl delete namespace $namespace $namespace-new --wait=false >/dev/null
  rm -rf "$to"
}

nothing_changed() { :; }

# The first fifty folders in the order in which they are copied: the last files of a round are put in place at its end.
early_folders="1 10 100 $(seq -s ' ' 11 19) 2 $(seq -s ' ' 20 29) 3 $(seq -s ' ' 30 39) 4 $(seq -s ' ' 40 49) 5 $(seq -s ' ' 50 53)"

# Twenty files of each of these folders are others, and none is in memory.
some_changed() {
  (cd "$from" && for folder in $early_folders; do dd if=/dev/urandom bs=4096 count=20 2>/dev/null | split -b 4096 -a 3 - "$folder/"; done)
  sync
  echo 3 >/proc/sys/vm/drop_caches
}

# looked_again_by_ours FUNCTION FILES: seconds of the second of two rounds; FUNCTION is called in the middle of the
# first one, and so many files are sent in both.
looked_again_by_ours() {
  local sent in_time attempt
  # A disk that is busy may let nobody look before it is too late.
  for attempt in 1 2 3 4 5; do
    looked_again "$1"
    [ ! "$in_time" ] || break
  done
  [ "$in_time" ] || fail "the first round was over too early ($attempt times)"
  [ "$sent" = "$2" ] || fail "$sent files were sent in both rounds, not $2"
  jq '.outputs["warm-copy"].volumes[0].round_seconds[1]' "$work/report"
}

# looked_again FUNCTION: two rounds; `in_time` is set if FUNCTION ended before the second began, `sent` to how many files
# were sent in both.
looked_again() {
  local target=""
  in_time=""
  "$binary" run -n "$namespace" -f "$bench/second-plan.yaml" --yes 2>"$work/told" &
  client=$!
  until [ "$target" ]; do
    kill -0 $client || fail "the first round did not begin: $(cat "$work/told")"
    target=$(folder "$namespace-new" data-files-0 2>/dev/null) || true
    sleep 0.1
  done
  # shellcheck disable=SC2086  # a list of folders
  until [ "$(cd "$target" && find $early_folders -type f -size 4k 2>/dev/null | wc -l)" = 50000 ]; do
    kill -0 $client || fail "the first round did not end: $(cat "$work/told")"
    sleep 0.1
  done
  "$1"
  [ -e "$target/zz-large" ] || in_time=yes
  until grep -q 'warm-copy: done' "$work/told"; do
    kill -0 $client || fail "the warm rounds did not end: $(cat "$work/told")"
    sleep 0.1
  done
  kill -INT $client
  # 130: it says how it goes on.
  wait $client || true
  client=""
  "$binary" report again -n "$namespace" -o json >"$work/report"
  sent=$(jq '.outputs["warm-copy"].volumes[0].files_sent' "$work/report")
  "$binary" rollback again -n "$namespace" --yes >/dev/null
  "$binary" cleanup again -n "$namespace" --forget --confirm again --yes >/dev/null
}

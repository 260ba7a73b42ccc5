#!/bin/sh
# What the client runs in a pod of its own next to a target, beside what waits there (hold.sh), to fill it.
#
#   fill.sh FOLDER ROOT RUN FENCE DEED [ARGUMENT…]
#
# Each answer ends with the line `end`: an answer without it was cut off, whatever status came with it. FOLDER is the pod's
# own; ROOT is the volume, with the mark of RUN where it is ours.
LC_ALL=C
export LC_ALL
# What an image says by these would hide files from both sides alike.
unset TAR_OPTIONS TAPE POSIXLY_CORRECT
folder=$1 root=$2 run=$3 fence=$4 deed=$5
shift 5
cd "$folder" || exit 1
: >alive || exit 1
own=.kubectl-migrate-$run
mark="kubectl-migrate working directory 1
$run"
# newest: no client that came after this one was here, and none will find an older one's number.
newest() {
  highest=0
  [ ! -f fence ] || read -r highest <fence
  if [ "$fence" -lt "$highest" ]; then
    echo "fenced $highest"
    echo end
    exit
  fi
  [ "$fence" = "$highest" ] || { echo "$fence" >"fence.$$" && mv "fence.$$" fence; } || exit 1
}
# held: nobody came to change the volume after this one.
held() {
  read -r holder <holder && [ "$holder" = "$$" ]
}
case $deed in
begin | again | append | close | wipe | finish) newest ;;
esac
case $deed in
begin | again | wipe | finish)
  echo "$$" >holder
  newest
  # What takes long is not to count as lost.
  while sleep 20 >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null; do
    : >alive
    echo alive >&2
  done &
  beating=$!
  trap 'kill "$beating" 2>/dev/null' EXIT
  ;;
esac
# each COMMAND: runs it with the name of every entry of the root but those that count for nothing.
each() {
  for entry in "$root"/* "$root"/.[!.]* "$root"/..?*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    name=${entry##*/}
    case $name in
    "lost+found" | "$own") continue ;;
    esac
    "$@" || return 1
  done
}
is_ours() {
  [ -f "$root/$own/mark" ] && [ "$(cat "$root/$own/mark")" = "$mark" ]
}
# theirs: counts what is not ours, after a crash between making our directory and its mark.
theirs() {
  if [ -d "$root/$own" ] && ! [ -L "$root/$own" ] && ! [ -s "$root/$own/mark" ]; then
    rm -f "$root/$own/mark"
    rmdir "$root/$own"
  fi
  each other
  if [ -e "$root/$own" ] || [ -L "$root/$own" ]; then
    count
  fi
}
found=0
count() {
  found=$((found + 1))
}
other() {
  case $name in
  .kubectl-migrate-*)
    if [ -f "$entry/mark" ]; then
      printf 'run %s\n' "${name#.kubectl-migrate-}"
    fi
    ;;
  *[![:print:]]*) ;;
  *) [ "$found" -ge 5 ] || printf 'name %s\n' "$name" ;;
  esac
  count
}
delete() {
  held || return 1
  rm -rf "$entry" && ! [ -e "$entry" ] && ! [ -L "$entry" ] && return
  echo "stays"
  return 1
}
# over SESSION: the tar of a session comes to its end.
over() {
  : >"$1/eof"
  left=30
  until [ -e "$1/status" ]; do
    [ "$left" -gt 0 ] || return 1
    left=$((left - 1))
    sleep 1
  done
}
# all_over: no session is left.
all_over() {
  for session in session.*; do
    [ -d "$session" ] || continue
    over "$session" || return 1
    rm -rf "$session"
  done
}
# open_session SESSION: a tar waits for what comes.
open_session() {
  mkdir "$1" && mkfifo "$1/pipe" && echo 0 >"$1/at" || return 1
  case $(tar --version 2>/dev/null) in
  *"GNU tar"*) options="--numeric-owner --xattrs --xattrs-include=*" ;;
  *) options="" ;;
  esac
  set -f
  # Who writes to it may be cut off: this one keeps it open until all is there, or nobody came for a quarter of an hour.
  (
    exec 3>"$1/pipe"
    left=900
    until [ -e "$1/eof" ] || ! [ -d "$1" ] || [ "$left" -le 0 ]; do
      if [ -e "$1/alive" ]; then
        rm -f "$1/alive"
        left=900
      fi
      left=$((left - 1))
      sleep 1
    done
  ) </dev/null >/dev/null 2>&1 &
  (
    exec <"$1/pipe"
    (cd "$root" && exec tar -x -p $options -f -) 2>"$1/complaints" >/dev/null
    status=$?
    sync
    echo "$status" >"$1/status.new" && mv "$1/status.new" "$1/status"
    # Whoever still writes is not to wait for a reader that does not come.
    cat >/dev/null
  ) </dev/null >/dev/null 2>&1 &
}
case $deed in
look) # which programs are missing
  for program in tar sha256sum head cat tail wc mkfifo mkdir rmdir mv rm sleep sync touch; do
    command -v "$program" >/dev/null 2>&1 || echo "missing $program"
  done
  ;;
inspect) # whose the volume is, and how many entries are in its root
  if is_ours; then
    echo "ours"
  fi
  each other
  echo "entries $found"
  ;;
begin) # SESSION: an empty volume of ours, and a tar that waits for what comes
  if ! is_ours; then
    theirs
    if [ "$found" != 0 ]; then
      echo "foreign $found"
      echo end
      exit
    fi
    mkdir -m 700 "$root/$own" && printf '%s\n' "$mark" >"$root/$own/mark" && sync || exit 1
  fi
  all_over || { echo busy; echo end; exit; }
  each delete || { echo end; exit; }
  open_session "$1" || exit 1
  ;;
again) # SESSION: another tar, for what is there
  is_ours || exit 1
  all_over || { echo busy; echo end; exit; }
  open_session "$1" || exit 1
  ;;
append) # SESSION FIRST COUNT SHA256 NUMBER: so many bytes of standard input, which come after FIRST others
  if [ ! -d "$1" ]; then
    echo "gone"
  elif [ -e "$1/status" ]; then
    echo "over"
  elif [ "$(cat "$1/at")" = "$2" ]; then
    : >"$1/alive"
    head -c "$3" >"$1/piece.$5"
    sum=$(sha256sum <"$1/piece.$5")
    # Of several that bring the same, one pours it.
    if [ "${sum%% *}" = "$4" ] && mkdir "$1/taken.$2" 2>/dev/null; then
      cat "$1/piece.$5" >"$1/pipe" && echo $(($2 + $3)) >"$1/at.$5" && mv "$1/at.$5" "$1/at"
    fi
    rm -f "$1/piece.$5"
  fi
  if [ -e "$1/at" ]; then
    read -r at <"$1/at"
    echo "at $at"
    if [ -d "$1/taken.$at" ]; then
      echo "pouring"
    fi
  fi
  ;;
stay) # SESSION: more comes, but not now
  if [ -d "$1" ]; then
    : >"$1/alive"
  else
    echo "gone"
  fi
  ;;
close) # SESSION: nothing more comes
  : >"$1/eof"
  ;;
ended) # SESSION: how its tar ended, once it has
  if [ ! -d "$1" ]; then
    echo "gone"
  elif [ -e "$1/status" ]; then
    read -r status <"$1/status"
    echo "status $status"
    if [ "$(wc -c <"$1/complaints")" -le 16384 ]; then
      echo "all"
    else
      echo "cut"
    fi
    head -c 16384 "$1/complaints"
    echo
  fi
  ;;
wipe) # all that is ours, the mark last
  all_over || { echo busy; echo end; exit; }
  if is_ours; then
    each count
    each delete && held || { echo end; exit; }
    rm -rf "${root:?}/$own"
    sync
    echo "wiped $found"
  else
    theirs
    echo "foreign $found"
  fi
  ;;
finish) # no trace of us, and the root keeps its time
  all_over || { echo busy; echo end; exit; }
  if is_ours; then
    : >when
    touch -r "$root" when
    rm -rf "${root:?}/$own"
    touch -r when "$root" 2>/dev/null
  fi
  sync
  if [ -e "$root/$own" ]; then
    echo "stays"
  else
    echo "finished"
  fi
  ;;
*) exit 2 ;;
esac
echo end

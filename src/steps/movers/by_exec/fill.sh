#!/bin/sh
# What the client runs next to a target to have it empty, to let a tar wait for what comes, and to take its traces away,
# behind fence.sh.
root=$2 run=$3 deed=$6
shift 6
own=.kubectl-migrate-$run
mark="kubectl-migrate working directory 1
$run"
# held: nobody came to change the volume after this one.
held() {
  read -r holder <holder && [ "$holder" = "$$" ]
}
# goes PROCESS: it has not ended.
goes() {
  [ -n "$1" ] && kill -0 "$1" 2>/dev/null
}
# alone: nobody who came before this one still changes the volume; nor does what it had begun to delete with.
alone() {
  left=30
  for other in working.*; do
    [ "$other" != "working.$$" ] || continue
    while [ -e "$other" ] && { goes "${other#working.}" || goes "$(cat "$other" 2>/dev/null)"; }; do
      held && [ "$left" -gt 0 ] || return 1
      left=$((left - 1))
      sleep 1
    done
    rm -f "$other"
  done
}
case $deed in
begin | again | wipe | finish)
  newest
  echo "$$" >holder
  : >"working.$$"
  newest
  # What takes long is not to count as lost.
  while sleep 20 >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null; do
    : >alive
    echo alive >&2
  done &
  beating=$!
  # What it deletes with may outlive it.
  trap 'kill "$beating" 2>/dev/null; goes "$(cat "working.$$")" || rm -f "working.$$"' EXIT
  alone || answer busy
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
  *[![:print:]]*) ;;
  .kubectl-migrate-*)
    if [ -f "$entry/mark" ]; then
      printf 'run %s\n' "${name#.kubectl-migrate-}"
    fi
    ;;
  *) [ "$found" -ge 5 ] || printf 'name %s\n' "$name" ;;
  esac
  count
}
delete() {
  held || return 1
  rm -rf "$entry" &
  echo "$!" >"working.$$"
  wait "$!" && ! [ -e "$entry" ] && ! [ -L "$entry" ] && return
  echo "stays"
  return 1
}
# synced: what is in the volume is on its disk. One that knows no -f may sync all there is, and warn of that: of what went
# well no word is heard.
synced() {
  if sync -f . 2>/dev/null; then
    words=$(sync -f "$root" 2>&1) && return
    printf '%s\n' "$words" >&2
    return 1
  else
    sync
  fi
}
# over SESSION: the tar of a session comes to its end; or came to it without a word, as when its shell was killed.
over() {
  : >"$1/eof"
  left=30
  until [ -e "$1/status" ]; do
    goes "$(cat "$1/pid" 2>/dev/null)" || return 0
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
  mkdir "$1" && mkfifo "$1/pipe" && echo 0 >"$1/at" || { rm -rf "$1" && return 1; }
  set -f
  options=
  case $(tar --version 2>/dev/null </dev/null) in
  *"GNU tar"*)
    options=--numeric-owner
    attributes="--xattrs --xattrs-include=*"
    # One that was built without attributes says so, and leaves them out.
    if [ -z "$(tar -c $attributes --no-recursion -f /dev/null -C "$root" . 2>&1)" ]; then
      options="$options $attributes"
    fi
    ;;
  esac
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
    synced 2>>"$1/complaints" || echo "sync: failed" >>"$1/complaints"
    echo "$status" >"$1/status.new" && mv "$1/status.new" "$1/status"
    # Whoever still writes is not to wait for a reader that does not come.
    cat >/dev/null
  ) </dev/null >/dev/null 2>&1 &
  echo "$!" >"$1/pid"
}
case $deed in
# inspect: whose the volume is, and how many entries are in its root
inspect)
  if is_ours; then
    echo "ours"
  fi
  each other
  echo "entries $found"
  ;;
# begin SESSION: an empty volume of ours, and a tar that waits for what comes
begin)
  if ! is_ours; then
    theirs
    [ "$found" = 0 ] || answer "foreign $found"
    mkdir -m 700 "$root/$own" && printf '%s\n' "$mark" >"$root/$own/mark" && synced || exit 1
  fi
  all_over || answer busy
  each delete || answer lost
  held || answer lost
  open_session "$1" || exit 1
  echo open
  ;;
# again SESSION: another tar, for what is there
again)
  is_ours || exit 1
  all_over || answer busy
  held || answer lost
  open_session "$1" || exit 1
  echo open
  ;;
# wipe: all that is ours, the mark last
wipe)
  all_over || answer busy
  if is_ours; then
    each count
    each delete && held || answer lost
    rm -rf "${root:?}/$own"
    synced && ! [ -e "$root/$own" ] || answer unsynced
    echo "wiped $found"
  else
    theirs
    echo "foreign $found"
  fi
  ;;
# finish: no trace of us, and the root keeps its time
finish)
  all_over || answer busy
  if is_ours; then
    : >when
    touch -r "$root" when
    held || answer lost
    rm -rf "${root:?}/$own"
    touch -r when "$root" 2>/dev/null
  fi
  synced || answer unsynced
  if [ -e "$root/$own" ]; then
    echo "stays"
  else
    echo "finished"
  fi
  ;;
*) exit 2 ;;
esac
echo end

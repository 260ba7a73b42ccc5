#!/bin/sh
# What the client runs next to a target to see what its image has, and to bring a session its tar, behind fence.sh.
deed=$6
shift 6
case $deed in
append | close) newest ;;
esac
case $deed in
# look: which programs are missing
look)
  for program in tar sha256sum head cat tail wc mkfifo mkdir rmdir mv rm sleep sync touch; do
    command -v "$program" >/dev/null 2>&1 || echo "missing $program"
  done
  case $(tar --version 2>&1 </dev/null) in
  *"GNU tar"*) ;;
  *[Bb]usy[Bb]ox*)
    # Who is not root has it set no modes, and hears nothing of that.
    while read -r key user _; do
      [ "$key" != Uid: ] || [ "$user" = 0 ] || echo "missing root"
    done </proc/self/status
    ;;
  *) echo "missing known-tar" ;;
  esac
  ;;
# append SESSION FIRST COUNT SHA256 NUMBER: so many bytes of standard input, which come after FIRST others
append)
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
# stay SESSION: more comes, but not now
stay)
  if [ -d "$1" ]; then
    : >"$1/alive"
  else
    echo "gone"
  fi
  ;;
# close SESSION: nothing more comes
close)
  : >"$1/eof"
  ;;
# ended SESSION FIRST: how its tar ended, once it has, and what it complained of behind so many bytes, at most a MiB
ended)
  if [ ! -d "$1" ]; then
    echo "gone"
  elif [ -e "$1/status" ]; then
    read -r status <"$1/status"
    size=$(($(wc -c <"$1/complaints")))
    next=$(($2 + 1048576))
    [ "$next" -lt "$size" ] || next=$size
    echo "status $status"
    echo "told $next"
    echo "size $size"
    tail -c "+$(($2 + 1))" "$1/complaints" | head -c "$((next - $2))"
    echo
  fi
  ;;
*) exit 2 ;;
esac
echo end

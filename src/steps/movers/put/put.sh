#!/bin/sh
# What the client runs in a mover's pod, beside what waits there (wait.sh), to put the executable into it.
#
#   put.sh FOLDER DEED [ARGUMENT…]
#
# Each answer ends with the line `end`: an answer without it was cut off, whatever status came with it.
deed=$2
cd "$1" || exit 1
shift 2
: >alive || exit 1
case $deed in
look) # which programs are missing; what checks digests; what was started
  for program in chmod head rm sleep wc; do
    command -v "$program" >/dev/null 2>&1 || echo "missing $program"
  done
  if command -v sha256sum >/dev/null 2>&1; then
    echo "digests sha256sum"
  else
    for program in cat tail; do
      command -v "$program" >/dev/null 2>&1 || echo "missing $program"
    done
  fi
  if [ -s start ]; then
    read -r name <start
    echo "started $name"
  fi
  ;;
begin) # NAME: an empty file, and no other
  for other in part.*; do
    rm -f "$other"
  done
  : >"$1" || exit 1
  ;;
append) # NAME COUNT: so many bytes of standard input
  head -c "$2" >>"$1" || exit 1
  ;;
length) # NAME
  echo "length $(wc -c <"$1")"
  ;;
digest) # NAME
  sha256sum <"$1" || exit 1
  ;;
read) # NAME FIRST COUNT: so many bytes from the FIRST on, which is 1 for the file's first
  tail -c "+$2" "$1" | head -c "$3"
  echo
  ;;
prove) # NAME: what it says of itself
  chmod 500 "$1" || exit 1
  "./$1" version --digest 2>&1
  ;;
start) # NAME: once; who comes later hears of the first
  (set -C; echo "$1" >start) 2>/dev/null
  if [ -s start ]; then
    read -r name <start
    echo "started $name"
  fi
  ;;
*) exit 2 ;;
esac
echo end

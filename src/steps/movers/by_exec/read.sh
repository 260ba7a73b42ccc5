#!/bin/sh
# What the client runs next to a volume to have it told as a tar.
#
#   read.sh ROOT FOLDER DEED NONCE [FIRST]
#
# FOLDER is that of a pod that waits (hold.sh), which is to hear that somebody is there; `-` in a pod of somebody else.
# The volume comes on standard output. What is to be known of it comes on standard error, each line behind NONCE, which no
# file's name can have guessed; the last line is `end`. A stream that was cut lacks it, whatever status came with it.
LC_ALL=C
export LC_ALL
# What an image says by these would hide files from both sides alike.
unset TAR_OPTIONS TAPE POSIXLY_CORRECT CDPATH
folder=$2 deed=$3 nonce=$4
say() {
  echo "$nonce $*" >&2
}
# What a shell says before is of its image, such as a language that it lacks.
say "begin"
cd "$1" || exit 1
version=$(tar --version 2>&1 </dev/null)
# What this tar knows: GNU's or another's.
options=$(
  gnu='--format=posix --pax-option=delete=atime,delete=ctime,exthdr.name=PaxHeaders/%f --numeric-owner --sort=name'
  gnu="$gnu --xattrs --xattrs-include=* --anchored --no-wildcards --exclude=./lost+found"
  case $version in
  *"GNU tar"*) ;;
  *) exit ;;
  esac
  set -f
  sparse='--sparse --sparse-version=0.0'
  # One that was built without attributes says so, and leaves them out.
  [ -z "$(tar -c $gnu $sparse --no-recursion -f /dev/null . 2>&1 || echo no)" ] || exit
  # A file without blocks is one hole to it, whatever there is to read: who compares has everything read.
  [ "$deed" != read ] || gnu="$gnu $sparse"
  echo "$gnu"
)
case $options in
"") dialect=plain ;;
*) dialect=gnu ;;
esac
# So long as nothing is heard, the connection counts as lost. Whoever sleeps longer than the rest is not to hold it.
while
  [ "$folder" = - ] || : >"$folder/alive"
  sleep 20 >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null
do
  say "alive" || exit
done &
beating=$!
trap 'kill "$beating" 2>/dev/null' EXIT
# from BYTE: what comes from there on. Some count no further than 2 GiB.
from() {
  if [ "$1" -gt 1073741824 ]; then
    tail -c +1073741825 | from $(($1 - 1073741824))
  else
    tail -c "+$1"
  fi
}
told() {
  read -r word _
  say "$1 $word"
}
# That it is a volume, and not what an image has there, is told by nothing else; nor what is hidden by what is mounted
# within it.
if [ -r /proc/self/mountinfo ]; then
  here=$(pwd -P)
  while read -r _ _ _ _ point _; do
    case $(printf '%b' "$point") in
    "$here") say "mounted $point" ;;
    "${here%/}"/*) say "mount $point" ;;
    esac
  done </proc/self/mountinfo
else
  say "missing /proc/self/mountinfo"
fi
# Another tar than GNU's cuts off what is above eight octal digits or before 1970, and says nothing.
if [ "$dialect" = plain ]; then
  {
    find . -path './lost+found' -prune -o -exec stat -c '%u %g %Y' {} +
    echo "status $?"
  } | {
    cut=
    while read -r user group time; do
      if [ "$user" = status ]; then
        say "owners $group"
      elif [ -n "$cut" ]; then
        continue
      elif [ "$user" -gt 16777215 ] || [ "$group" -gt 16777215 ]; then
        cut="owner $user:$group"
        say "$cut"
      elif [ "$time" -lt 0 ]; then
        cut="time $time"
        say "$cut"
      fi
    done
  }
fi
case $deed in
# look, size: which programs are missing, what tar knows; and how many KiB are used
look | size)
  for program in tar sha256sum tee tail wc sleep; do
    command -v "$program" >/dev/null 2>&1 || say "missing $program"
  done
  case $version in
  *"GNU tar"* | *[Bb]usy[Bb]ox*) ;;
  *) say "missing known-tar" ;;
  esac
  if [ "$dialect" = plain ]; then
    for program in find stat; do
      command -v "$program" >/dev/null 2>&1 || say "missing $program"
    done
  fi
  [ "$deed" = look ] || du -sk . 2>/dev/null | told used
  ;;
# read, check: from byte FIRST on, which is 1 for the first
read | check)
  set -f
  {
    {
      {
        tar -c $options -f - .
        say "status $?"
      } | tee /proc/self/fd/3 /proc/self/fd/4 | sha256sum | told sha256
    } 4>&1 | wc -c | told length
  } 3>&1 | from "$5"
  ;;
*) exit 2 ;;
esac
say "tar $dialect"
say "end"

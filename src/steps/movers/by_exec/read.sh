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
unset TAR_OPTIONS TAPE POSIXLY_CORRECT
folder=$2 deed=$3 nonce=$4
say() {
  echo "$nonce $*" >&2
}
cd "$1" || exit 1
# What this tar knows: GNU's or another's.
options=$(
  gnu='--format=posix --pax-option=delete=atime,delete=ctime,exthdr.name=PaxHeaders/%f --numeric-owner --sort=name'
  gnu="$gnu --xattrs --xattrs-include=* --anchored --no-wildcards --exclude=./lost+found"
  case $(tar --version 2>/dev/null) in
  *"GNU tar"*) ;;
  *) exit ;;
  esac
  set -f
  sparse='--sparse --sparse-version=0.0'
  tar -c $gnu $sparse -f /dev/null -T /dev/null 2>/dev/null || exit
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
  sleep 20 >/dev/null 2>&1
do
  say "alive"
done &
beating=$!
told() {
  read -r word _
  say "$1 $word"
}
# Another tar than GNU's cuts off what is above eight octal digits, and says nothing.
if [ "$dialect" = plain ]; then
  find . -exec stat -c '%u %g' {} + 2>/dev/null | while read -r user group; do
    if [ "$user" -gt 16777215 ] || [ "$group" -gt 16777215 ]; then
      say "owner $user:$group"
      break
    fi
  done
fi
case $deed in
look | size) # which programs are missing, what tar knows; and how many KiB are used
  for program in tar sha256sum tee tail wc sleep; do
    command -v "$program" >/dev/null 2>&1 || say "missing $program"
  done
  if [ "$dialect" = plain ]; then
    for program in find stat; do
      command -v "$program" >/dev/null 2>&1 || say "missing $program"
    done
  fi
  [ "$deed" = look ] || du -sk . 2>/dev/null | told used
  ;;
read | check) # from byte FIRST on, which is 1 for the first
  set -f
  {
    {
      {
        tar -c $options -f - .
        say "status $?"
      } | tee /proc/self/fd/3 /proc/self/fd/4 | sha256sum | told sha256
    } 4>&1 | wc -c | told length
  } 3>&1 | tail -c "+$5"
  ;;
*) exit 2 ;;
esac
kill "$beating"
say "tar $dialect"
say "end"

#!/bin/sh
# What fill.sh and pour.sh begin with.
#
#   FOLDER ROOT RUN FENCE TURN DEED [ARGUMENT…]
#
# Each answer ends with the line `end`: an answer without it was cut off, whatever status came with it. FOLDER is the pod's
# own; ROOT is the volume, with the mark of RUN where it is ours. A client has a higher FENCE than all before it, and
# each of its commands a higher TURN than what it sent before: one that was lost on its way may come late.
LC_ALL=C
export LC_ALL
# What an image says by these would hide files from both sides alike.
unset TAR_OPTIONS TAPE POSIXLY_CORRECT CDPATH
fence=$4 turn=$5
cd "$1" || exit 1
: >alive || exit 1
# answer WORD…: that, and nothing more.
answer() {
  printf '%s\n' "$*" end
  exit
}
# newest: no client that came after this one was here, nor another command of this one that was sent later; and none will
# find an older number.
taken=
newest() {
  highest=0 last=0
  [ ! -f fence ] || read -r highest last <fence
  [ "$highest $last" != "$taken" ] || return 0
  [ "$fence" -ge "$highest" ] || answer "fenced $highest"
  [ "$fence" -gt "$highest" ] || [ "$turn" -gt "$last" ] || answer "late $last"
  taken="$fence $turn"
  echo "$taken" >"fence.$$" && mv "fence.$$" fence || exit 1
}

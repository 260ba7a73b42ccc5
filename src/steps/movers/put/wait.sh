#!/bin/sh
# What a mover's pod does whose image does not hold the mover: it waits for the executable, then becomes it.
#
#   wait.sh FOLDER SECONDS ARGUMENT…
#
# The client writes the executable's name to FOLDER/start when it has been checked, and touches FOLDER/alive while it
# is on its way. Without a sign of a client for SECONDS the pod ends, as a mover does.
folder=$1 patience=$2
shift 2
cd "$folder" || exit 1
# The first process of a container is not ended by a signal that it does not handle.
trap 'exit 143' TERM INT
left=$patience
until [ -s start ]; do
  if [ -e alive ]; then
    rm -f alive
    left=$patience
  fi
  [ "$left" -gt 0 ] || exit 0
  left=$((left - 1))
  sleep 1
done
read -r name <start
exec "./$name" "$@"

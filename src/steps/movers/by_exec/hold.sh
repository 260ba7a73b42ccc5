#!/bin/sh
# What a pod does in which nothing of ours can run: it waits, with the volume, for commands of the client.
#
#   hold.sh FOLDER SECONDS
#
# The client touches FOLDER/alive with each command. Without a sign of one for SECONDS the pod ends, as a mover does.
folder=$1 patience=$2
cd "$folder" || exit 1
# The first process of a container is not ended by a signal that it does not handle.
trap 'exit 143' TERM INT
left=$patience
until [ "$left" -le 0 ]; do
  if [ -e alive ]; then
    rm -f alive
    left=$patience
  fi
  left=$((left - 1))
  sleep 1
done

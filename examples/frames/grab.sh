#!/bin/sh
# Publish one picture after the other, each taken by a command that writes it to its standard output:
#   sh grab.sh camera image/jpeg rpicam-still --nopreview --immediate --output -
topic=$1 type=$2
shift 2
while "$@" | comet pub "$topic" - --type "$type" >/dev/null; do :; done

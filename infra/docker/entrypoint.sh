#!/bin/sh
# Runs a command with secrets in its environment: each file of /run/secrets that is named as a variable
# is one. So none stands in a compose file, an image, or the description of a container.
set -eu
for file in "${SECRETS_FOLDER:-/run/secrets}"/[A-Z]*; do
  [ -f "$file" ] || continue
  value=$(cat "$file")
  export "${file##*/}=$value"
done
exec "$@"

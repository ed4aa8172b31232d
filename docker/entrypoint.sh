#!/bin/sh
# Runs a command. For each variable below, NAME_FILE in the environment gives NAME the content of
# that file, as the images of databases have it: a secret need not stand in the environment of
# whoever starts the container.
set -eu
for name in PGPASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY RAY_AUTH_TOKEN SWEEPER_STORE; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        value=$(cat "$file")
        export "$name=$value"
    fi
done
exec "$@"

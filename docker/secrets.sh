#!/bin/sh
# Makes the secrets that compose.yaml asks for, in the folder that SECRETS names or docker/secrets/,
# unless they are there. Containers read them as another user: the folder keeps them from others.
set -eu
folder=${SECRETS:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
for name in ray_token postgres_password minio_password; do
    if [ ! -s "$folder/$name" ]; then
        od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
        chmod 644 "$folder/$name"
    fi
done

#!/bin/sh
# What a person with Docker runs once after a change of this folder, or of the versions that the
# images hold: builds the image, starts everything, asks the doctor, runs a study, loses a worker and
# the head on the way, and takes everything down. CI has no Docker. TARGET=cuda tries that image.
set -eu
cd "$(dirname "$0")/.."
SECRETS=$(mktemp -d)
export SECRETS COMPOSE_FILE=docker/compose.yaml COMPOSE_PROJECT_NAME=sweeper-smoke
export DASHBOARD_PORT="${DASHBOARD_PORT:-18265}"
trap 'docker compose down --volumes --timeout 10; rm -r "$SECRETS"' EXIT

docker/secrets.sh
docker compose build
docker compose up --detach --wait --wait-timeout 300 --scale worker=3

inside() { docker compose exec --no-TTY head entrypoint.sh "$@"; }

test "$(inside id -u)" = 1000
inside sweeper doctor studies/quickstart.yaml --address auto
inside timeout 20 sweeper run studies/quickstart.yaml --address auto || test $? = 124
docker compose kill --signal KILL worker
docker compose up --detach --wait --wait-timeout 300 --scale worker=3
inside timeout 20 sweeper run studies/quickstart.yaml --address auto || test $? = 124
docker compose kill --signal KILL head
docker compose up --detach --wait --wait-timeout 300 --scale worker=3
inside sweeper run studies/quickstart.yaml --address auto
inside sweeper verify
inside sweeper status quickstart
echo "all is well"

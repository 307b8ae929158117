#!/usr/bin/env bash
# Makes what docker-compose.yml needs: keys, passwords, Redis users, keyring, enrolled workers and the catalog. Runs
# `npm start -- --once` in a folder of its own for it, so that what it makes has been seen to work.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
COUNTERSIGN_DATA="$work" npm start --silent -- --once
mkdir -p deploy/secrets deploy/config
umask 077
cp "$work"/keys/redis-{api,worker.default,attestor}.password deploy/secrets/
cp "$work"/keys/api.key "$work"/keys/attestor.key "$work"/keys/log.key deploy/secrets/
cp "$work"/keys/worker-1.key deploy/secrets/worker.key
cp "$work"/redis/users.acl deploy/secrets/users.acl
umask 022
cp "$work"/keyring.json "$work"/workers.json deploy/config/
sed 's#"file": ".*/models/#"file": "/app/models/#' "$work"/models.json > deploy/config/models.json
# The containers run as user 1000.
if [ "$(id -u)" = 0 ]; then chown -R 1000:1000 deploy/secrets; fi
echo "made deploy/secrets and deploy/config; next: docker compose up --build"

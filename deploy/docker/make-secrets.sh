#!/usr/bin/env bash
# Makes the passwords that docker-compose.yml reads, once; those that are there stay. Usage: deploy/docker/make-secrets.sh
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p secrets
# Nobody else gets into the directory; the files themselves are read by the containers' users, whose numbers differ.
chmod 0700 secrets
for name in postgres_password app_password router_password grafana_password; do
    [ -s "secrets/$name" ] && continue
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"secrets/$name"
    chmod 0444 "secrets/$name"
done

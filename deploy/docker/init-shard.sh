#!/usr/bin/env bash
# Runs in each shard when its data directory is made: the application's role, and the router's own.
# The superuser stays for the administrator; nobody logs in with it through the router.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set app_password `cat "${SECRETS_DIR:-/run/secrets}/app_password"`
\set router_password `cat "${SECRETS_DIR:-/run/secrets}/router_password"`
-- The passwords stay out of the server's log.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
CREATE ROLE app LOGIN PASSWORD :'app_password';
CREATE ROLE pgloom LOGIN PASSWORD :'router_password';
-- pgloom keeps its decisions and rules in a schema of its own, ends sessions that a deadlock over shards stands on,
-- and moves rows of tables that it distributes, as their owner.
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO pgloom;
GRANT pg_signal_backend, pg_read_all_stats TO pgloom;
GRANT app TO pgloom;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO app;
GRANT CREATE ON SCHEMA public TO app;
SQL

# Sourced by the other scripts: where Postgres is, who runs it, and how we speak to the user.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The directory with initdb, postgres and pg_ctl of the newest Postgres that is at least 14.
find_postgres() {
    local candidate version
    for candidate in "${PGLOOM_PG_BIN:-}" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn) \
        "$(dirname "$(command -v postgres || echo /nonexistent/x)")"; do
        [ -n "$candidate" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/initdb" ] || continue
        version=$("$candidate/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
        if [ "$version" -ge 14 ]; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

# Runs a command as the user that may run Postgres: it refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"
    else
        "$@"
    fi
}

# find_llvm_tool NAME VERSION: the newest of that program that is at least of that version.
find_llvm_tool() {
    local candidate version
    for candidate in $(ls -d /usr/lib/llvm-*/bin 2>/dev/null | sort -t- -k2 -rn) "$(dirname "$(command -v "$1" || echo /nonexistent/x)")"; do
        [ -x "$candidate/$1" ] || continue
        version=$("$candidate/$1" --version | sed -nE 's/.*LLVM version ([0-9]+).*/\1/p')
        if [ "${version:-0}" -ge "$2" ]; then
            echo "$candidate/$1"
            return 0
        fi
    done
    return 1
}

# A port that nothing listens on now.
free_port() {
    local port
    while :; do
        port=$((RANDOM % 20000 + 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
}

# Prometheus's checker: installed, or as scripts/setup has fetched it.
find_promtool() {
    command -v promtool || { [ -x target/tools/promtool ] && echo "$PWD/target/tools/promtool"; }
}

# Where scripts/setup has put those who know schemas, in the versions of their list.
find_schema_tools() {
    local place=target/tools/schemas
    [ "$(cat "$place/done" 2>/dev/null)" = "$(sha256sum <scripts/deploy-checks/requirements.txt)" ] && echo "$PWD/$place/bin"
}

# A Python that reads YAML and TOML: the first on PATH may be another than the one that Debian's packages are for.
find_python_yaml() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import tomllib, yaml' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

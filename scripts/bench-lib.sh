# Sourced by the benchmarks: real servers in a temporary directory, CPU time from /proc, medians.

PG=$(find_postgres) || die "no Postgres >= 14 found: run make setup bench"
# Another one than Debian's can be named: from 1.21 on it keeps prepared statements in transaction pooling.
PGBOUNCER=${PGBOUNCER:-$(command -v pgbouncer || echo /usr/sbin/pgbouncer)}
export PGCONNECT_TIMEOUT=5 PGUSER=postgres LC_ALL=C

BENCH_DIR=$(mktemp -d /tmp/pgloom-bench.XXXXXX)
if [ "$(id -u)" = 0 ]; then chown postgres "$BENCH_DIR"; fi
STARTED=()

finish() {
    local pid data
    for pid in "${STARTED[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null || true; done
    for data in "$BENCH_DIR"/*/postmaster.pid; do
        [ -e "$data" ] && as_postgres "$PG/pg_ctl" -D "$(dirname "$data")" -m immediate stop >/dev/null 2>&1 || true
    done
    rm -rf "$BENCH_DIR"
}
trap finish EXIT
trap 'exit 130' INT TERM

# start_postgres NAME PORT [OPTIONS]: a cluster that trusts local connections and does not wait for the disk.
start_postgres() {
    local data=$BENCH_DIR/$1 port=$2
    as_postgres "$PG/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C -N >/dev/null
    as_postgres "$PG/pg_ctl" -D "$data" -l "$BENCH_DIR/$1.log" -w start -o "-p $port -k $BENCH_DIR -h 127.0.0.1 -F \
        -c shared_buffers=128MB -c max_connections=120 -c autovacuum=off -c max_prepared_transactions=50 ${*:3}" >/dev/null
}

# start_pgbouncer PORT POSTGRES_PORT MODE [SHARD_PORT...]: its database "sN" is the N-th shard, any other is on POSTGRES_PORT.
# PGBOUNCER_MORE: further lines of its configuration, which win. Sets STARTED_PID.
start_pgbouncer() {
    local base=$BENCH_DIR/pgbouncer-$3 listen=$1 postgres=$2 mode=$3 shard=0
    shift 3
    # auth_type any logs in as the user named in the entry of the database.
    cat >"$base.ini" <<END
[databases]
$(for port in "$@"; do shard=$((shard + 1)) && echo "s$shard = host=127.0.0.1 port=$port user=postgres dbname=postgres"; done)
* = host=127.0.0.1 port=$postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $listen
unix_socket_dir =
auth_type = any
pool_mode = $mode
$([ "$(pgbouncer_version)" -lt 121 ] || echo max_prepared_statements = 100)
default_pool_size = 40
max_client_conn = 200
pidfile = $base.pid
logfile = $base.log
ignore_startup_parameters = extra_float_digits
${PGBOUNCER_MORE:-}
END
    as_postgres "$PGBOUNCER" -q "$base.ini" &
    wait_port "$listen"
    STARTED_PID=$(cat "$base.pid")
    STARTED+=("$STARTED_PID")
}

# start_pgbouncers POSTGRES_PORT [SHARD_PORT...]: one for transaction pooling; a second one for session pooling, which measures
# prepared statements where the first can't keep them (before 1.21). Sets PORT_POOLED, PID_POOLED, PORT_PREPARED, PID_PREPARED.
start_pgbouncers() {
    PORT_POOLED=$(free_port)
    start_pgbouncer "$PORT_POOLED" "$1" transaction "${@:2}"
    PID_POOLED=$STARTED_PID PORT_PREPARED=$PORT_POOLED PID_PREPARED=$STARTED_PID
    if [ "$(pgbouncer_version)" -lt 121 ]; then
        PORT_PREPARED=$(free_port)
        start_pgbouncer "$PORT_PREPARED" "$1" session "${@:2}"
        PID_PREPARED=$STARTED_PID
    fi
}

# 118 for 1.18.0.
pgbouncer_version() {
    "$PGBOUNCER" --version | sed -nE 's/^PgBouncer ([0-9]+)\.([0-9]+).*/\1 \2/p' | awk '{ print $1 * 100 + $2 }'
}

# wait_port PORT: until somebody listens there.
wait_port() {
    local tries
    for tries in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        sleep 0.05
    done
    die "nothing listens on port $1 after 10 seconds"
}

# cpu PID: user and system time so far, in microseconds. The sum is the scheduler's own, to the nanosecond; how it is parted comes
# from the clock's ticks.
cpu() {
    cat "/proc/$1"/task/*/schedstat | awk '{ ns += $1 } END { printf "%.0f ", ns / 1000 }'
    awk '{ sub(/.*\) /, ""); print $12, $13 }' "/proc/$1/stat"
}

# memory_mib PID: resident now and at its peak.
memory_mib() {
    awk '/^VmHWM/ { peak = $2 } /^VmRSS/ { now = $2 } END { printf "%.1f %.1f\n", now / 1024, peak / 1024 }' "/proc/$1/status"
}

# median FILE COLUMN KEY...: of the numbers in COLUMN on the lines that begin with KEY.
median() {
    local file=$1 column=$2
    shift 2
    { grep "^$* " "$file" || true; } | awk -v c="$column" '{ print $c }' | sort -n \
        | awk '{ v[NR] = $1 } END { if (NR == 0) print "-"; else if (NR % 2) print v[(NR + 1) / 2]; else print (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# measure FILE NAME PROTOCOL PORT PID SECONDS CLIENTS DATABASES [pgbench arguments]: appends
# "NAME PROTOCOL tps user_us system_us sum_us": the CPU is that of PID for one statement (0 where PID is "-"). With several
# DATABASES (in one word, parted by blanks) as many pgbench run at once, and share the clients.
measure() {
    local file=$1 name=$2 protocol=$3 port=$4 pid=$5 seconds=$6 clients=$7 before="0 0 0" after="0 0 0" out=$BENCH_DIR/pgbench.out
    local databases database pids=() failed=""
    read -ra databases <<<"$8"
    shift 8
    rm -f "$out".*
    [ "$pid" = - ] || before=$(cpu "$pid")
    for database in "${!databases[@]}"; do
        pgbench -h 127.0.0.1 -p "$port" -n -M "$protocol" -c $((clients / ${#databases[@]})) -j 1 -T "$seconds" "$@" \
            "${databases[$database]}" >"$out.$database" 2>&1 &
        pids+=($!)
    done
    for database in "${pids[@]}"; do wait "$database" || failed=yes; done
    if [ -n "$failed" ]; then
        say "$name $protocol: pgbench failed: $(cat "$out".* | grep -m 1 -i error || tail -n 1 "$out.0")"
        return 0
    fi
    [ "$pid" = - ] || after=$(cpu "$pid")
    awk -v name="$name" -v protocol="$protocol" -v before="$before" -v after="$after" '
        /^number of transactions actually processed/ { sub(/\/.*/, "", $6); n += $6 }
        /^tps = / { tps += $3 }
        END {
            split(before, b, " "); split(after, a, " ")
            ticks = a[2] - b[2] + a[3] - b[3]
            user = ticks > 0 ? (a[2] - b[2]) / ticks : 0
            if (n > 0) { all = (a[1] - b[1]) / n; printf "%s %s %.0f %.2f %.2f %.2f\n", name, protocol, tps, all * user, all * (1 - user), all }
        }' "$out".* >>"$file"
}

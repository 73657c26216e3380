"""pgcli: commands at its own command line, and what it asks the catalog to complete words."""

import os
import subprocess
import sys

from pgcli.pgexecute import PGExecute
from told import end, say

tool = os.path.join(os.path.dirname(sys.executable), "pgcli")
for command in ["SELECT tenant_id, count(*) FROM orders GROUP BY tenant_id ORDER BY tenant_id", "\\d orders", "\\dt", "\\di", "\\df vat", "\\dT size",
                "SELECT * FROM customers WHERE tenant_id = 7 ORDER BY id", "INSERT INTO customers VALUES (5, 70, 'pgcli')", "DELETE FROM customers WHERE id = 70", "SELECT nothing"]:
    done = subprocess.run([tool, "--less-chatty", "--no-password", "--row-limit", "0", "-y", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PAGER": "cat", "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "dumb"})
    print("$", command, done.returncode)
    # How long it took is never twice the same.
    print("\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines() if not line.startswith("Time:")))

execute = PGExecute(os.environ["PGDATABASE"], os.environ["PGUSER"], None, os.environ["PGHOST"], os.environ["PGPORT"])


def own(schema):
    """Of the application: not of Postgres, of the router, or of other sessions' temporary tables."""
    return schema in ("public", "stock")


say("schemata", [name for name in execute.schemata() if own(name)])
say("search path", execute.search_path())
say("views", sorted(row for row in execute.views() if own(row[0])))
say("tables", sorted(row for row in execute.tables() if own(row[0])))
say("columns", [tuple(row) for row in execute.table_columns() if own(row[0])])
say("view columns", [tuple(row) for row in execute.view_columns() if own(row[0])])
say("keys", [tuple(row) for row in execute.foreignkeys()])
say("functions", sorted(str(f) for f in execute.functions() if own(f.schema_name)))
say("types", sorted(row for row in execute.datatypes() if own(row[0])))
say("definitions", execute.view_definition("unpaid"), execute.function_definition("vat"))
say("server", execute.server_version)
end()

// pgjdbc: prepareThreshold, binary transfer, fetchSize, batches with and without reWriteBatchedInserts, autosave, CopyManager, metadata,
// generated keys, savepoints, notifications, query time-outs, and the simple query mode.

import java.io.*;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.*;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static String url;

    interface Act { void run() throws Exception; }

    static void say(String label, Object... values) {
        StringBuilder line = new StringBuilder(label).append(':');
        for (Object value : values) line.append(' ').append(shown(value));
        System.out.println(line);
    }

    static String shown(Object value) {
        try {
            if (value instanceof byte[]) return HexFormat.of().formatHex((byte[]) value);
            if (value instanceof int[]) return Arrays.toString((int[]) value);
            if (value instanceof java.sql.Array) return Arrays.deepToString((Object[]) ((java.sql.Array) value).getArray());
        } catch (SQLException e) {
            throw new RuntimeException(e);
        }
        return String.valueOf(value);
    }

    static void refused(String label, Act act) throws Exception {
        try {
            act.run();
        } catch (SQLException error) {
            say(label, error.getSQLState(), error.getMessage().replace('\n', ' '));
            return;
        }
        throw new IllegalStateException(label + ": no error");
    }

    static List<String> rows(ResultSet found) throws SQLException {
        List<String> rows = new ArrayList<>();
        int columns = found.getMetaData().getColumnCount();
        while (found.next()) {
            List<String> row = new ArrayList<>();
            for (int column = 1; column <= columns; column++) row.add(shown(found.getObject(column)));
            rows.add(row.toString());
        }
        return rows;
    }

    static List<String> all(Connection conn, String sql) throws SQLException {
        try (Statement statement = conn.createStatement()) {
            return rows(statement.executeQuery(sql));
        }
    }

    static Connection connect(String options) throws SQLException {
        return DriverManager.getConnection(url + "&" + options);
    }

    static void types(String options) throws Exception {
        try (Connection conn = connect(options)) {
            PreparedStatement select = conn.prepareStatement("SELECT * FROM orders WHERE tenant_id = ? ORDER BY id");
            for (int tenant = 1; tenant <= 8; tenant++) {
                select.setInt(1, tenant);
                say("prepared", rows(select.executeQuery()));
            }
            ResultSetMetaData meta = select.getMetaData();
            for (int column = 1; column <= meta.getColumnCount(); column++)
                say("column", meta.getColumnName(column), meta.getColumnTypeName(column), meta.getColumnType(column), meta.getPrecision(column), meta.getScale(column));
            // In simple mode this version writes bytes so that no Postgres reads them.
            if (options.contains("simple")) return;
            PreparedStatement insert = conn.prepareStatement("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?, ?)");
            for (int tenant = 1; tenant <= 7; tenant++) {
                insert.setInt(1, tenant);
                insert.setInt(2, 700);
                insert.setInt(3, 1);
                insert.setString(4, "bee");
                insert.setBigDecimal(5, new BigDecimal("10.25"));
                insert.setBoolean(6, true);
                insert.setObject(7, OffsetDateTime.of(2026, 5, 6, 7, 8, 9, 1000, ZoneOffset.UTC));
                insert.setArray(8, conn.createArrayOf("text", new String[] {"a", null, "b \"c\""}));
                insert.setString(9, "{\"t\": " + tenant + "}");
                insert.setObject(10, new UUID(1, tenant));
                insert.setBytes(11, new byte[] {0, 1, (byte) tenant});
                insert.executeUpdate();
            }
            say("written", all(conn, "SELECT * FROM orders WHERE id = 700 ORDER BY tenant_id"));
            PreparedStatement delete = conn.prepareStatement("DELETE FROM orders WHERE id = ? AND tenant_id = ANY(?)");
            delete.setInt(1, 700);
            delete.setArray(2, conn.createArrayOf("int4", new Integer[] {1, 2, 3, 4, 5, 6, 7}));
            say("deleted", delete.executeUpdate());
            PreparedStatement dates = conn.prepareStatement("SELECT ?::date, ?::timestamp, ?::time, ?::float8, ?::int2");
            dates.setObject(1, LocalDate.of(2026, 2, 3));
            dates.setObject(2, LocalDateTime.of(2026, 2, 3, 4, 5));
            dates.setObject(3, LocalTime.of(4, 5, 6));
            dates.setDouble(4, 1.5);
            dates.setShort(5, (short) 3);
            for (int i = 0; i < 6; i++) say("dates", rows(dates.executeQuery()));
            say("enum", all(conn, "SELECT code, size FROM products ORDER BY code"));
        }
    }

    static void batches(String options) throws Exception {
        try (Connection conn = connect(options)) {
            conn.setAutoCommit(false);
            PreparedStatement insert = conn.prepareStatement("INSERT INTO customers (tenant_id, id, name) VALUES (?, ?, ?)");
            for (int n = 0; n < 300; n++) {
                insert.setInt(1, 1 + n % 12);
                insert.setInt(2, 1000 + n);
                insert.setString(3, "batch " + n);
                insert.addBatch();
            }
            int[] counts = insert.executeBatch();
            say("batch", counts.length, counts[0] == 1 || counts[0] == Statement.SUCCESS_NO_INFO);
            conn.commit();
            say("rows", all(conn, "SELECT count(*), min(name), max(id) FROM customers WHERE id >= 1000"));
            // Rows are fetched in pieces, by a portal.
            PreparedStatement select = conn.prepareStatement("SELECT tenant_id, id, name FROM customers WHERE id >= 1000 ORDER BY tenant_id, id");
            select.setFetchSize(50);
            List<String> fetched = rows(select.executeQuery());
            say("fetched", fetched.size(), fetched.get(0), fetched.get(299));
            select.setMaxRows(5);
            say("five", rows(select.executeQuery()));
            insert.setInt(1, 5);
            insert.setInt(2, 1);
            insert.setString(3, "again");
            insert.addBatch();
            insert.setInt(1, 6);
            insert.setInt(2, 2000);
            insert.addBatch();
            try {
                insert.executeBatch();
                throw new IllegalStateException("no error");
            } catch (BatchUpdateException error) {
                say("broken batch", error.getSQLState(), error.getNextException().getMessage().replace('\n', ' '));
            }
            conn.rollback();
            PreparedStatement returning = conn.prepareStatement("INSERT INTO notes (body) VALUES (?)", Statement.RETURN_GENERATED_KEYS);
            for (String body : new String[] {"j1", "j2", "j3"}) {
                returning.setString(1, body + options);
                returning.addBatch();
            }
            returning.executeBatch();
            int keys = 0;
            ResultSet generated = returning.getGeneratedKeys();
            while (generated.next()) keys++;
            say("keys", keys);
            Statement mixed = conn.createStatement();
            mixed.addBatch("UPDATE customers SET name = 'x' WHERE id >= 1000");
            mixed.addBatch("DELETE FROM customers WHERE id >= 1000");
            say("mixed", mixed.executeBatch());
            conn.commit();
        }
    }

    static void autosave() throws Exception {
        for (String mode : new String[] {"always", "conservative", "never"}) {
            try (Connection conn = connect("autosave=" + mode)) {
                conn.setAutoCommit(false);
                Statement statement = conn.createStatement();
                statement.executeUpdate("UPDATE customers SET name = 'saved' WHERE tenant_id IN (1, 2, 3) AND id = 1");
                refused("autosave " + mode, () -> statement.executeUpdate("INSERT INTO customers VALUES (4, 1, 'again')"));
                try {
                    say("goes on", rows(statement.executeQuery("SELECT count(*) FROM customers WHERE name = 'saved'")));
                } catch (SQLException error) {
                    say("does not go on", error.getSQLState());
                }
                conn.rollback();
            }
        }
        // A table that changes under a prepared statement.
        try (Connection conn = connect("prepareThreshold=1&autosave=conservative")) {
            PreparedStatement select = conn.prepareStatement("SELECT * FROM customers WHERE tenant_id = ? AND id = 1");
            for (int n = 0; n < 3; n++) {
                select.setInt(1, 8);
                say("before", rows(select.executeQuery()));
            }
            conn.createStatement().execute("ALTER TABLE customers ADD COLUMN extra int DEFAULT 3");
            say("with it", rows(select.executeQuery()));
            conn.createStatement().execute("ALTER TABLE customers DROP COLUMN extra");
            say("without it", rows(select.executeQuery()));
        }
    }

    static void copies() throws Exception {
        try (Connection conn = connect("ApplicationName=copy")) {
            CopyManager copy = conn.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 500; n++) lines.append(1 + n % 12).append('\t').append(3000 + n).append("\tcopied ").append(n).append('\n');
            say("copied in", copy.copyIn("COPY customers (tenant_id, id, name) FROM STDIN", new StringReader(lines.toString())));
            StringWriter out = new StringWriter();
            say("copied out", copy.copyOut("COPY (SELECT tenant_id, id, name FROM customers WHERE id BETWEEN 3000 AND 3003 ORDER BY id) TO STDOUT CSV HEADER", out), out);
            refused("bad row", () -> copy.copyIn("COPY customers (tenant_id, id, name) FROM STDIN", new StringReader("1\t4000\tx\ny\t1\tz\n")));
            say("deleted", conn.createStatement().executeUpdate("DELETE FROM customers WHERE id >= 3000"));
        }
    }

    static void transactions() throws Exception {
        try (Connection conn = connect("reWriteBatchedInserts=false")) {
            conn.setAutoCommit(false);
            conn.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            say("isolation", all(conn, "SHOW transaction_isolation"));
            Savepoint before = conn.setSavepoint();
            conn.createStatement().executeUpdate("DELETE FROM orders");
            conn.rollback(before);
            Savepoint named = conn.setSavepoint("named");
            conn.createStatement().executeUpdate("UPDATE orders SET paid = true WHERE tenant_id = 5");
            conn.releaseSavepoint(named);
            say("paid", all(conn, "SELECT count(*), bool_and(paid) FROM orders WHERE tenant_id = 5"));
            conn.rollback();
            conn.setReadOnly(true);
            refused("read only", () -> conn.createStatement().executeUpdate("DELETE FROM notes"));
            conn.rollback();
            conn.setReadOnly(false);
            conn.setAutoCommit(true);
            Statement slow = conn.createStatement();
            slow.setQueryTimeout(1);
            refused("timed out", () -> slow.execute("SELECT pg_sleep(60)"));
            say("valid", conn.isValid(10));
            Statement scrolled = conn.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
            ResultSet found = scrolled.executeQuery("SELECT tenant_id, id, name FROM customers WHERE tenant_id = 3 ORDER BY id");
            found.last();
            say("last", found.getRow(), found.getString(3));
            CallableStatement call = conn.prepareCall("{? = call vat(?)}");
            call.registerOutParameter(1, Types.NUMERIC);
            call.setBigDecimal(2, new BigDecimal("10"));
            call.execute();
            say("function", call.getBigDecimal(1));
            conn.createStatement().execute("LISTEN word");
            conn.createStatement().execute("NOTIFY word, 'spoken'");
            PGNotification[] heard = conn.unwrap(PGConnection.class).getNotifications(20000);
            say("heard", heard[0].getName(), heard[0].getParameter());
            conn.setSchema("stock");
            say("schema", conn.getSchema(), all(conn, "SELECT * FROM places ORDER BY 1"));
        }
    }

    static void metadata() throws Exception {
        try (Connection conn = connect("assumeMinServerVersion=9.0")) {
            DatabaseMetaData meta = conn.getMetaData();
            say("server", meta.getDatabaseProductVersion(), meta.getUserName());
            for (String table : new String[] {"customers", "orders", "products", "notes", "unpaid"}) {
                for (ResultSet found : List.of(meta.getTables(null, "public", table, null), meta.getColumns(null, "public", table, "%"), meta.getPrimaryKeys(null, "public", table),
                    meta.getImportedKeys(null, "public", table), meta.getExportedKeys(null, "public", table), meta.getIndexInfo(null, "public", table, false, true), meta.getTablePrivileges(null, "public", table)))
                    for (String row : rows(found)) say(table, row);
            }
            for (String row : rows(meta.getFunctions(null, "public", "%"))) say("function", row.replaceAll("_[0-9]+\\]$", "_OID]"));
            for (String row : rows(meta.getSchemas())) if (!row.contains("pgloom") && !row.contains("pg_t")) say("schema", row);
        }
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE") + "?user=" + System.getenv("PGUSER");
        for (String options : new String[] {"prepareThreshold=5", "prepareThreshold=1&binaryTransfer=true", "prepareThreshold=-1", "prepareThreshold=0", "preferQueryMode=simple"}) types(options);
        for (String options : new String[] {"reWriteBatchedInserts=true", "reWriteBatchedInserts=false&prepareThreshold=1"}) batches(options);
        autosave();
        copies();
        transactions();
        metadata();
        System.out.println("END");
    }
}

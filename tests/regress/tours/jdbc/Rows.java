import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;

/** Values, transactions and batches. */
final class Rows {
  private static final String[] TYPES = {
    "true", "null::int", "(-32768)::int2", "2147483647::int4", "1.5::float4", "'NaN'::float8",
    "12345678901234567890.123::numeric", "'ünïcödé ☃'::text", "''::text", "'c'::char(5)",
    "'2026-02-28'::date", "'1 day 02:03:04'::interval", "'6f1d1a0c-8f1e-4c1e-9b7e-0123456789ab'::uuid",
    "'{\"a\": [1, null]}'::jsonb", "array[1,2,null]::int[]", "'10.1.2.3'::inet", "'(1,2)'::point",
    "'a=>1'::hstore",
  };

  private Rows() {}

  /** Seven times each: from the fifth on it is prepared by name, and binary. */
  static void types(Connection db) throws Exception {
    for (String type : TYPES) {
      Object first = Talk.one(db, "select " + type + " as v");
      Object last = first;
      for (int i = 0; i < 6; i++) {
        last = Talk.one(db, "select " + type + " as v");
      }
      Talk.say(type, String.valueOf(first), String.valueOf(last));
    }
    Timestamp time = Timestamp.valueOf("2026-02-28 12:34:56");
    Talk.say("parameters", Talk.one(db, "select ?::text || ?::int || ?::bool", "x", 7, true),
        Talk.one(db, "select ?::timestamp", time));
  }

  static void transactions(Connection db) throws Exception {
    Talk.exec(db, "create table t (id serial primary key, v text)");
    db.setAutoCommit(false);
    try (PreparedStatement insert =
        db.prepareStatement("insert into t (v) values (?)", Statement.RETURN_GENERATED_KEYS)) {
      int key = 0;
      for (int i = 0; i < 12; i++) {
        insert.setString(1, "r" + i);
        insert.executeUpdate();
        try (ResultSet keys = insert.getGeneratedKeys()) {
          keys.next();
          key = keys.getInt(1);
        }
      }
      Talk.say("key", key);
    }
    Savepoint savepoint = db.setSavepoint("s");
    Talk.failed("unique", () -> Talk.exec(db, "insert into t values (1, 'again')"));
    Talk.failed("aborted", () -> Talk.exec(db, "select 1"));
    db.rollback(savepoint);
    db.commit();
    Talk.exec(db, "delete from t");
    db.rollback();
    Talk.say("rows", Talk.one(db, "select count(*) from t"));
    db.commit();
    db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    Talk.say("isolation", db.getTransactionIsolation(), Talk.one(db, "show transaction_isolation"));
    db.commit();
    db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    db.setAutoCommit(true);
    Talk.exec(db, "begin", "insert into t (v) values ('by text')", "rollback");
    Talk.say("rows", Talk.one(db, "select count(*) from t"));
  }

  static void accessModes(Connection db) throws Exception {
    for (boolean auto : new boolean[] {false, true}) {
      db.setAutoCommit(auto);
      db.setReadOnly(true);
      Talk.failed("read only", () -> Talk.exec(db, "insert into t (v) values ('x')"));
      if (!auto) {
        db.rollback();
      }
      db.setReadOnly(false);
    }
    Talk.say("valid", db.isValid(5), db.getSchema());
    db.setSchema("public");
    Talk.say("schema", db.getSchema());
    db.setSchema(Talk.SCHEMA);
    Talk.say("schema", db.getSchema());
  }

  static void batches(Connection db) throws Exception {
    Talk.exec(db, "create table b (a int primary key, b text)");
    for (boolean auto : new boolean[] {true, false}) {
      db.setAutoCommit(auto);
      fill(db, auto ? 0 : 100_000);
      if (!auto) {
        db.rollback();
      }
      Talk.say("count", Talk.one(db, "select count(*) from b"));
      if (!auto) {
        db.commit();
      }
    }
    db.setAutoCommit(true);
    try (Statement texts = db.createStatement()) {
      texts.addBatch("update b set b = 'y' where a < 10");
      texts.addBatch("delete from b where a > 200000");
      texts.addBatch("set statement_timeout = '30s'");
      Talk.say("texts", texts.executeBatch());
    }
    Talk.say("timeout", Talk.one(db, "show statement_timeout"));
    Talk.exec(db, "reset statement_timeout");
    try (PreparedStatement insert = db.prepareStatement(
        "insert into b values (?, ?) returning a", Statement.RETURN_GENERATED_KEYS)) {
      add(insert, 700_000, 50);
      insert.executeBatch();
      Talk.say("keys", Talk.count(insert.getGeneratedKeys()));
    }
  }

  /** Four batches that go well, and one that does not. */
  private static void fill(Connection db, int first) throws SQLException {
    try (PreparedStatement insert = db.prepareStatement("insert into b values (?, ?)")) {
      for (int round = 0; round < 4; round++) {
        add(insert, first + 1000 * round, 1000);
        int[] counts = insert.executeBatch();
        Talk.say("batch", counts.length, counts[0], counts[999]);
      }
      add(insert, 500_000, 150);
      add(insert, first, 1);
      add(insert, 500_151, 149);
      try {
        insert.executeBatch();
        Talk.say("broken", "no error");
      } catch (BatchUpdateException e) {
        Talk.say("broken", e.getSQLState(), e.getUpdateCounts().length);
      }
    }
  }

  private static void add(PreparedStatement insert, int first, int count) throws SQLException {
    for (int i = first; i < first + count; i++) {
      insert.setInt(1, i);
      insert.setString(2, "row " + i);
      insert.addBatch();
    }
  }

  /** Several statements in one text. */
  static void several(Connection db) throws Exception {
    try (Statement statement = db.createStatement()) {
      boolean rows = statement.execute(
          "select 1 as a; update b set b = 'z' where a = 1; select 'x' as b, 2 as c");
      while (rows || statement.getUpdateCount() != -1) {
        if (rows) {
          try (ResultSet result = statement.getResultSet()) {
            result.next();
            Talk.say("rows", result.getObject(1));
          }
        } else {
          Talk.say("count", statement.getUpdateCount());
        }
        rows = statement.getMoreResults();
      }
    }
  }
}

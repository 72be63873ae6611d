import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/** What a session is told, what it keeps, and what changes under it. */
final class Sessions {
  private Sessions() {}

  static void messages(Connection db) throws Exception {
    try (Statement statement = db.createStatement()) {
      statement.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$");
      SQLWarning warning = statement.getWarnings();
      for (; warning != null; warning = warning.getNextWarning()) {
        Talk.say("warning", warning.getSQLState(), warning.getMessage());
      }
    }
    Talk.exec(db, "listen drv_jdbc");
    try (Connection other = Talk.connect("")) {
      Talk.exec(other, "notify drv_jdbc, 'other'");
    }
    Talk.exec(db, "notify drv_jdbc, 'own'");
    List<String> heard = new ArrayList<>();
    for (int i = 0; i < 50 && heard.size() < 2; i++) {
      PGNotification[] some = db.unwrap(PGConnection.class).getNotifications(200);
      for (PGNotification one : some == null ? new PGNotification[0] : some) {
        heard.add(one.getName() + " " + one.getParameter());
      }
    }
    Talk.say("heard", heard);
    Talk.exec(db, "unlisten *");
  }

  static void cancel(Connection db) throws Exception {
    try (Statement statement = db.createStatement()) {
      statement.setQueryTimeout(1);
      Talk.failed("timeout", () -> statement.execute("select pg_sleep(60)"));
    }
    Talk.say("alive", Talk.one(db, "select 1"));
    try (Statement statement = db.createStatement()) {
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(700);
          statement.cancel();
        } catch (Exception e) {
          Talk.say("cancel", e.toString());
        }
      });
      canceller.start();
      Talk.failed("cancelled", () -> statement.execute("select pg_sleep(60)"));
      canceller.join();
    }
    Talk.say("alive", Talk.one(db, "select 1"));
  }

  static void catalog(Connection db) throws Exception {
    DatabaseMetaData data = db.getMetaData();
    Talk.say("product", data.getDatabaseProductName(), data.getDatabaseMajorVersion(),
        data.getUserName(), data.isReadOnly());
    Talk.say("tables", Talk.count(data.getTables(null, Talk.SCHEMA, "%", null)));
    Talk.say("columns", Talk.count(data.getColumns(null, Talk.SCHEMA, "%", "%")));
    Talk.say("indexes", Talk.count(data.getIndexInfo(null, Talk.SCHEMA, "b", false, false)));
    Talk.say("keys", Talk.count(data.getPrimaryKeys(null, Talk.SCHEMA, "b")));
    Talk.say("types", Talk.count(data.getTypeInfo()));
    Talk.say("functions", Talk.count(data.getFunctions(null, Talk.SCHEMA, "%")));
    Talk.say("schemas", Talk.count(data.getSchemas()));
    try (PreparedStatement statement =
        db.prepareStatement("select a, b from b where a = ? and b like ?")) {
      Talk.say("statement", statement.getParameterMetaData().getParameterTypeName(1),
          statement.getMetaData().getColumnName(2));
    }
  }

  private static Object several(Connection db, String text, Object... values) throws SQLException {
    Object last = null;
    for (int i = 0; i < 7; i++) {
      last = Talk.one(db, text, values);
    }
    return last;
  }

  /** A prepared statement whose table gets columns, by its own session and by another. */
  static void changed(Connection db) throws Exception {
    Talk.exec(db, "create table p (a int)", "insert into p values (1)");
    several(db, "select * from p");
    Talk.exec(db, "alter table p add column b int default 5");
    Talk.failed("own", () -> Talk.say("row", Talk.one(db, "select * from p")));
    db.setAutoCommit(false);
    several(db, "select * from p");
    db.commit();
    try (Connection other = Talk.connect("&currentSchema=" + Talk.SCHEMA)) {
      Talk.exec(other, "alter table p add column c text default 'c'");
    }
    Talk.failed("another's", () -> Talk.say("row", Talk.one(db, "select * from p")));
    db.rollback();
    db.setAutoCommit(true);
    Talk.say("row", Talk.one(db, "select * from p"));
  }

  /** The driver's statements, dropped behind its back. */
  static void deallocated(Connection db) throws Exception {
    Talk.say("before", several(db, "select ?::int + 1", 4));
    Talk.exec(db, "deallocate all");
    Talk.failed("deallocate", () -> Talk.say("value", Talk.one(db, "select ?::int + 1", 5)));
    Talk.exec(db, "discard all", "set search_path to " + Talk.SCHEMA);
    Talk.failed("discard", () -> Talk.say("value", Talk.one(db, "select ?::int + 1", 5)));
  }

  static void settings(Connection db) throws Exception {
    Talk.exec(db, "create temp table kept (a int)", "insert into kept values (5)");
    Talk.say("temporary", Talk.one(db, "select a from kept"));
    Talk.exec(db, "drop table kept", "set application_name = 'tour'");
    db.setClientInfo("ApplicationName", "another tour");
    Talk.say("application", Talk.one(db, "show application_name"), db.getClientInfo("ApplicationName"));
    Talk.exec(db, "set timezone to 'America/New_York'");
    Talk.say("timezone", Talk.one(db, "show timezone"));
    Talk.exec(db, "reset timezone");
    Talk.say("work_mem", Talk.one(db, "show work_mem"));
    Talk.say("version", ((String) Talk.one(db, "select version()")).substring(0, 13));
  }
}

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** What comes in parts: cursors, COPY, large objects and values. */
final class Streams {
  private Streams() {}

  /** Rows by the hundred, another statement in between. */
  static void cursors(Connection db) throws Exception {
    db.setAutoCommit(false);
    for (int round = 0; round < 8; round++) {
      Talk.say("sum", sum(db));
      if (round == 3) {
        db.commit();
      }
    }
    db.commit();
    held(db);
    db.rollback();
    db.setAutoCommit(true);
    try (Statement few = db.createStatement()) {
      few.setMaxRows(7);
      Talk.say("max rows", Talk.count(few.executeQuery("select generate_series(1, 100)")));
    }
  }

  private static long sum(Connection db) throws SQLException {
    long sum = 0;
    try (PreparedStatement series = db.prepareStatement("select g from generate_series(1, ?) g")) {
      series.setFetchSize(100);
      series.setInt(1, 1050);
      try (ResultSet rows = series.executeQuery()) {
        while (rows.next()) {
          sum += rows.getInt(1);
          if (rows.getInt(1) == 55) {
            Talk.say("inner", Talk.one(db, "select 'in between'"));
          }
        }
      }
    }
    return sum;
  }

  /** A cursor that outlives its transaction. */
  private static void held(Connection db) throws SQLException {
    try (Statement statement = db.createStatement(ResultSet.TYPE_FORWARD_ONLY,
        ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT)) {
      statement.setFetchSize(10);
      ResultSet rows = statement.executeQuery("select g from generate_series(1, 100) g");
      for (int i = 0; i < 15; i++) {
        rows.next();
      }
      db.commit();
      Talk.failed("held", () -> Talk.say("rest", Talk.count(rows)));
    }
  }

  static void functions(Connection db) throws Exception {
    db.setAutoCommit(false);
    Talk.exec(db, "create function five() returns refcursor language plpgsql as "
        + "$$ declare r refcursor; begin open r for select generate_series(1, 5); return r; end $$");
    db.commit();
    try (CallableStatement call = db.prepareCall("{? = call five()}")) {
      call.registerOutParameter(1, Types.REF_CURSOR);
      call.execute();
      Talk.say("cursor", Talk.count((ResultSet) call.getObject(1)));
    }
    db.commit();
  }

  static void updatable(Connection db) throws Exception {
    db.setAutoCommit(false);
    try (Statement statement =
            db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rows = statement.executeQuery("select * from b where a < 5 order by a")) {
      rows.last();
      Talk.say("last", rows.getInt(1));
      rows.updateString(2, "updated");
      rows.updateRow();
      rows.absolute(1);
      Talk.say("first", rows.getInt(1));
    }
    db.commit();
    db.setAutoCommit(true);
    Talk.say("updated", Talk.one(db, "select count(*) from b where b = 'updated'"));
  }

  static void copies(Connection db) throws Exception {
    Talk.exec(db, "create table c (a int, b text)");
    CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder rows = new StringBuilder();
    for (int i = 0; i < 3000; i++) {
      rows.append(i).append("\trow\n");
    }
    Talk.say("in", copy.copyIn("copy c from stdin", new StringReader(rows.toString())));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Talk.say("out", copy.copyOut("copy c to stdout (format binary)", out), out.size());
    Talk.say("back", copy.copyIn("copy c from stdin (format binary)",
        new ByteArrayInputStream(out.toByteArray())));
    Talk.failed("broken", () -> copy.copyIn("copy c from stdin", new StringReader("1\tx\nbad\n")));
    CopyIn cancelled = copy.copyIn("copy c from stdin");
    byte[] row = "7\tseven\n".getBytes(StandardCharsets.UTF_8);
    cancelled.writeToCopy(row, 0, row.length);
    cancelled.cancelCopy();
    Talk.failed("nowhere", () -> copy.copyIn("copy nowhere from stdin", new StringReader("")));
    Talk.say("count", Talk.one(db, "select count(*) from c"));
  }

  static void large(Connection db) throws Exception {
    db.setAutoCommit(false);
    LargeObjectManager objects = db.unwrap(PGConnection.class).getLargeObjectAPI();
    long oid = objects.createLO(LargeObjectManager.READ | LargeObjectManager.WRITE);
    try (LargeObject object = objects.open(oid, LargeObjectManager.WRITE)) {
      object.write(new byte[100_000]);
    }
    try (LargeObject object = objects.open(oid, LargeObjectManager.READ)) {
      object.seek(90_000);
      Talk.say("object", object.read(20_000).length, object.size());
    }
    objects.unlink(oid);
    db.commit();
    db.setAutoCommit(true);
    Object length = Talk.one(db, "select length(?)", "0123456789".repeat(1_000_000));
    String value = (String) Talk.one(db, "select repeat('x', 50000000)");
    Talk.say("value", length, value.length());
  }
}

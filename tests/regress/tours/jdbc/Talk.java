import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Properties;

/** What every part of the tour needs: a connection, a statement, and a line of the transcript. */
final class Talk {
  /** The schema everything is in. */
  static final String SCHEMA = "drv_jdbc";

  interface Act {
    void run() throws Exception;
  }

  private Talk() {}

  static Connection connect(String more) throws SQLException {
    Properties login = new Properties();
    login.setProperty("user", env("PGUSER"));
    login.setProperty("password", env("PGPASSWORD"));
    String place = env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");
    return DriverManager.getConnection("jdbc:postgresql://" + place + "?sslmode=disable" + more, login);
  }

  private static String env(String name) {
    return System.getenv().getOrDefault(name, "");
  }

  static void section(String name) {
    System.out.println("== " + name);
  }

  static void say(String what, Object... values) {
    System.out.println(what + ": " + Arrays.deepToString(values));
  }

  /** Says what an act came to. */
  static void failed(String what, Act act) {
    try {
      act.run();
      say(what, "no error");
    } catch (SQLException e) {
      SQLException next = e.getNextException();
      String message = e.getMessage().split("\n")[0];
      say(what, e.getClass().getSimpleName(), e.getSQLState(), message, next == null ? null : next.getSQLState());
    } catch (Exception e) {
      say(what, e.toString());
    }
  }

  static void exec(Connection db, String... texts) throws SQLException {
    try (Statement statement = db.createStatement()) {
      for (String text : texts) {
        statement.execute(text);
      }
    }
  }

  /** The first column of the first row. */
  static Object one(Connection db, String text, Object... values) throws SQLException {
    try (PreparedStatement statement = db.prepareStatement(text)) {
      for (int i = 0; i < values.length; i++) {
        statement.setObject(i + 1, values[i]);
      }
      try (ResultSet rows = statement.executeQuery()) {
        return rows.next() ? rows.getObject(1) : null;
      }
    }
  }

  static int count(ResultSet rows) throws SQLException {
    int n = 0;
    try (rows) {
      while (rows.next()) {
        n++;
      }
    }
    return n;
  }
}

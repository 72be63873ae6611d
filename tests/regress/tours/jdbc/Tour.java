import java.sql.Connection;
import java.sql.SQLException;
import java.util.LinkedHashMap;
import java.util.Map;

/** pgjdbc in every way its url has it talk to the server. */
public final class Tour {
  private static final String[] VARIANTS = {
    "",
    "&preferQueryMode=simple",
    "&preferQueryMode=extendedForPrepared",
    "&preferQueryMode=extendedCacheEverything",
    "&reWriteBatchedInserts=true&binaryTransfer=true&prepareThreshold=1&defaultRowFetchSize=50",
    "&autosave=always&cleanupSavepoints=true",
    "&prepareThreshold=-1",
    "&preparedStatementCacheQueries=2&prepareThreshold=1",
    "&readOnlyMode=always",
    "&assumeMinServerVersion=15&escapeSyntaxCallMode=callIfNoReturn&currentSchema=" + Talk.SCHEMA
        + "&options=-c%20work_mem%3D7MB",
  };

  interface Part {
    void run(Connection db) throws Exception;
  }

  private static final Map<String, Part> PARTS = new LinkedHashMap<>();

  static {
    PARTS.put("types", Rows::types);
    PARTS.put("transactions", Rows::transactions);
    PARTS.put("access modes", Rows::accessModes);
    PARTS.put("batches", Rows::batches);
    PARTS.put("several", Rows::several);
    PARTS.put("cursors", Streams::cursors);
    PARTS.put("functions", Streams::functions);
    PARTS.put("updatable", Streams::updatable);
    PARTS.put("copy", Streams::copies);
    PARTS.put("large", Streams::large);
    PARTS.put("messages", Sessions::messages);
    PARTS.put("cancel", Sessions::cancel);
    PARTS.put("catalog", Sessions::catalog);
    PARTS.put("changed", Sessions::changed);
    PARTS.put("deallocated", Sessions::deallocated);
    PARTS.put("settings", Sessions::settings);
  }

  private Tour() {}

  /** Every part has a connection of its own: one that is broken takes no other with it. */
  private static void variant(String more) throws SQLException {
    System.out.println("=== jdbc " + more);
    execute(more, "set client_min_messages to warning",
        "drop schema if exists " + Talk.SCHEMA + " cascade", "create schema " + Talk.SCHEMA);
    for (Map.Entry<String, Part> part : PARTS.entrySet()) {
      Talk.section(part.getKey());
      try (Connection db = Talk.connect(more)) {
        Talk.exec(db, "set search_path to " + Talk.SCHEMA + ", public");
        part.getValue().run(db);
      } catch (Exception e) {
        System.out.println("ENDED " + e.toString().split("\n")[0]);
      }
    }
    execute(more, "set client_min_messages to warning", "drop schema " + Talk.SCHEMA + " cascade");
  }

  private static void execute(String more, String... texts) throws SQLException {
    try (Connection db = Talk.connect(more)) {
      Talk.exec(db, texts);
    }
  }

  public static void main(String[] words) throws Exception {
    for (String more : VARIANTS) {
      variant(more);
    }
    Talk.section("end");
  }
}

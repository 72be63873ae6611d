//! The questions about functions, as SQL.

use std::fmt::Write as _;

use crate::server::quote_literal;

/// The session's settings do not count while pgusher asks: its timeouts, its `search_path`, its
/// encoding, its isolation level. To write a body out PostgreSQL locks the tables in it, and others
/// wait behind this: where somebody is altering one, it is given up.
const UNTOUCHED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\
    SET LOCAL statement_timeout TO 0;SET LOCAL lock_timeout TO '100ms';\
    SET LOCAL client_encoding TO 'UTF8';SET LOCAL search_path TO pg_catalog, pg_temp;";

/// Whatever the lexer would find has one of these words in it. Case does not count.
const LIKELY: &str = r"set_config|set_limit|pg_settings|setseed|currval|lastval|pg_prepared_statement|_to_xml|ts_stat|ts_rewrite|crosstab|connectby|xpath_table|dblink|advisory_|pg_temp|replication_|\y(set|reset|temp|temporary|hold|load|listen|unlisten|prepare|deallocate|discard|execute)\y";

/// PostgreSQL's own functions that say something of a view that calls them.
const BUILT_IN: &str = "^(set_config|setseed|currval|lastval|pg_prepared_statement|\
    pg_(try_)?advisory_(un)?lock(_shared|_all)?|ts_stat|ts_rewrite|\
    (query|table|schema|database)_to_xml(_and_xmlschema)?)$";

/// Calls of PostgreSQL's own `nextval` and `setval` in a query tree.
const TAKING: &str = ":funcid (1574|1576|1765) ";

/// Of these extensions the C functions keep something in the session. Those of other extensions
/// compute; a C function outside an extension may do anything.
const STATEFUL_EXTENSIONS: &str = "'pg_variables','set_user','orafce','dblink'";

/// Bytes of a body that are read.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Of a longer one so many characters are, at most as many bytes in any of PostgreSQL's encodings.
const BODY_CHARACTERS_MAX: usize = BODY_BYTES_MAX / 4;

/// Bytes of bodies in one answer, as PostgreSQL stores them. As UTF-8 they may be three times that.
const PAGE_BYTES: usize = 192 << 10;

/// What a function costs besides its body.
const ROW_BYTES: usize = 128;

/// Rows in one answer of [`callers`]; with one more of them it is not the whole answer.
pub(super) const CALLERS_MAX: usize = 1_000;

/// Bytes of what a caller leads to; longer lists are [`TOO_MANY`].
const LEADS_BYTES_MAX: usize = 128;

/// Stands for more words than are told.
pub(super) const TOO_MANY: &str = "\u{2}";

/// How bodies are asked for that PostgreSQL keeps as query trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Bodies {
    /// As SQL. Needs a lock on each table in them.
    #[default]
    Written,
    /// Only the names of the functions and relations in them, which needs none.
    Named,
}

impl Bodies {
    /// The text of `tree`, as `written` has it or made of its names.
    fn text(self, written: &str, tree: &str) -> String {
        match self {
            Self::Written => written.to_owned(),
            // What it calls it may call with anything, and write to what it reads.
            Self::Named => format!(
                "(SELECT string_agg(name, ' ') FROM (\
                 SELECT quote_ident(f.proname) || '(any)' \
                 FROM regexp_matches({tree}::text, ':funcid ([0-9]+) ', 'g') m \
                 JOIN pg_proc f ON f.oid = m[1]::oid \
                 UNION SELECT 'UPDATE ' || quote_ident(r.relname) \
                 FROM regexp_matches({tree}::text, ':relid ([0-9]+) ', 'g') m \
                 JOIN pg_class r ON r.oid = m[1]::oid) names (name))"
            ),
        }
    }
}

/// Whether there is anything that the questions below could find: functions, views and rules,
/// policies. Most schemas that an ORM made have none, and those questions cost a new server connection
/// ten times this one. pgusher's own functions are not counted, in a schema whose owner the tenant is
/// not: nobody but pgusher may call them.
pub(super) fn anything() -> String {
    format!(
        "{UNTOUCHED}\
         SELECT EXISTS (SELECT FROM pg_proc p WHERE p.oid >= 16384 AND NOT EXISTS \
                 (SELECT FROM pg_namespace n WHERE n.oid = p.pronamespace \
                      AND n.nspname = 'pgusher' AND n.nspowner = p.proowner \
                      AND NOT pg_has_role(session_user, p.proowner, 'MEMBER'))) \
             OR EXISTS (SELECT FROM pg_rewrite WHERE oid >= 16384) \
             OR EXISTS (SELECT FROM pg_policy)"
    )
}

/// Functions that may touch session state, behind the object id `after`: object id, name, whether
/// the body can be read, the body, its length, how many there are in all.
pub(super) fn suspects(after: u32, bodies: Bodies) -> String {
    let likely = quote_literal(LIKELY);
    let body = bodies.text("pg_get_function_sqlbody(p.oid)", "p.prosqlbody");
    format!(
        "{UNTOUCHED}\
         SELECT oid, proname, readable, \
                CASE WHEN octet_length(body) <= {BODY_BYTES_MAX} THEN body \
                     ELSE left(body, {BODY_CHARACTERS_MAX}) END, octet_length(body), of_all \
         FROM (SELECT *, count(*) OVER () AS of_all, \
                      sum({ROW_BYTES} + least(octet_length(body), {BODY_BYTES_MAX})) \
                          OVER (ORDER BY oid) AS sum \
               FROM (SELECT p.oid, p.proname, l.lanname IN ('sql', 'plpgsql') AS readable, \
                            CASE WHEN p.prosqlbody IS NULL THEN p.prosrc \
                                 ELSE {body} END AS body \
                     FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
                     WHERE p.oid >= 16384 AND p.oid > {after} AND p.prokind <> 'a' \
                       AND p.pronamespace NOT IN \
                           (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_temp_') \
                       AND NOT (l.lanname IN ('c', 'internal') AND EXISTS \
                           (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid \
                              AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' \
                              AND e.extname NOT IN ({STATEFUL_EXTENSIONS})))) all_of_them \
               WHERE NOT readable OR body ~* {likely}) suspects \
         WHERE sum - {ROW_BYTES} - least(octet_length(body), {BODY_BYTES_MAX}) < {PAGE_BYTES} \
         ORDER BY oid"
    )
}

/// Views that name session state themselves: object id, name, definition.
pub(super) fn views(max: usize, bodies: Bodies) -> String {
    let definition = bodies.text("pg_get_ruledef(w.oid)", "w.ev_action");
    format!(
        "{UNTOUCHED}\
         SELECT c.oid, c.relname::text, left({definition}, {BODY_BYTES_MAX}) \
         FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class \
         WHERE w.oid >= 16384 AND w.ev_action::text ~ (\
             SELECT ':(funcid|relid) (' || string_agg(oid::text, '|') || ') ' FROM (\
                 SELECT oid FROM pg_proc WHERE oid < 16384 AND proname ~ {names} \
                     OR oid >= 16384 AND proname = 'set_limit' \
                 UNION ALL SELECT 'pg_catalog.pg_prepared_statements'::regclass) named) \
         ORDER BY c.oid LIMIT {max}",
        names = quote_literal(BUILT_IN)
    )
}

/// Names that lead to an advanced sequence from a SELECT, no more than `max`: functions that may
/// write, or name `nextval`, and views and policies that lead to these or name it themselves. What
/// else a table does it does when it is written to, and that is seen.
pub(super) fn advancers(max: usize) -> String {
    format!(
        "{UNTOUCHED}\
         WITH RECURSIVE f AS MATERIALIZED (\
             SELECT p.oid, p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
             WHERE p.oid >= 16384 AND p.prokind IN ('f', 'w') AND p.prorettype NOT IN \
                   ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype) \
               AND p.pronamespace NOT IN \
                   (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_temp_') \
               AND (p.provolatile = 'v' OR p.prosrc ~* 'nextval|setval' \
                    OR p.prosqlbody::text ~ {taking}) \
               AND NOT (l.lanname IN ('c', 'internal') AND EXISTS \
                   (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass \
                      AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass \
                      AND d.deptype = 'e'))), \
         d AS MATERIALIZED (\
             SELECT d.classid, d.objid FROM pg_depend d JOIN f ON f.oid = d.refobjid \
             WHERE d.refclassid = 'pg_proc'::regclass), \
         v(oid) AS (\
             SELECT w.ev_class FROM pg_rewrite w WHERE w.oid >= 16384 \
                AND (w.ev_action::text ~ {taking} OR EXISTS (SELECT FROM d \
                     WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid)) \
             UNION SELECT l.polrelid FROM pg_policy l \
             WHERE l.polqual::text ~ {taking} OR EXISTS (SELECT FROM d \
                     WHERE d.classid = 'pg_policy'::regclass AND d.objid = l.oid) \
             UNION SELECT w.ev_class FROM v JOIN pg_depend d ON d.refobjid = v.oid \
                AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass \
             JOIN pg_rewrite w ON w.oid = d.objid) \
         SELECT proname::text FROM f \
         UNION SELECT c.relname::text FROM v JOIN pg_class c ON c.oid = v.oid LIMIT {max}",
        taking = quote_literal(TAKING)
    )
}

/// What calls the functions and relations of these object ids, and the functions whose bodies
/// spell one of `words`: kind (`r`elation, `f`unction, anything else), object id, name, the object
/// id it leads to, or the words.
pub(super) fn callers(functions: &[u32], relations: &[u32], words: &[&str]) -> String {
    let (functions, relations) = (oids(functions), oids(relations));
    let spelled = quote_literal(&format!(r"\y({})\y", alternatives(words)));
    format!(
        "{UNTOUCHED}\
         WITH f AS (SELECT unnest({functions}) AS oid), r AS (SELECT unnest({relations}) AS oid), \
         d AS MATERIALIZED (\
             SELECT d.classid, d.objid, d.refobjid FROM pg_depend d JOIN f ON f.oid = d.refobjid \
             WHERE d.refclassid = 'pg_proc'::regclass \
             UNION SELECT d.classid, d.objid, d.refobjid FROM pg_depend d JOIN r ON r.oid = d.refobjid \
             WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass), \
         tables AS (\
             SELECT w.ev_class AS oid, d.refobjid FROM d JOIN pg_rewrite w ON w.oid = d.objid \
             WHERE d.classid = 'pg_rewrite'::regclass \
             UNION SELECT t.tgrelid, t.tgfoid FROM pg_trigger t JOIN f ON f.oid = t.tgfoid \
             UNION SELECT a.adrelid, d.refobjid FROM d JOIN pg_attrdef a ON a.oid = d.objid \
             WHERE d.classid = 'pg_attrdef'::regclass \
             UNION SELECT c.conrelid, d.refobjid FROM d JOIN pg_constraint c ON c.oid = d.objid \
             WHERE d.classid = 'pg_constraint'::regclass \
             UNION SELECT p.polrelid, d.refobjid FROM d JOIN pg_policy p ON p.oid = d.objid \
             WHERE d.classid = 'pg_policy'::regclass \
             UNION SELECT coalesce(i.indrelid, d.objid), d.refobjid FROM d \
             LEFT JOIN pg_index i ON i.indexrelid = d.objid WHERE d.classid = 'pg_class'::regclass \
             UNION SELECT h.inhparent, h.inhrelid FROM pg_inherits h JOIN r ON r.oid = h.inhrelid \
             UNION SELECT c.confrelid, c.conrelid FROM pg_constraint c JOIN r ON r.oid = c.conrelid \
             WHERE c.contype = 'f' \
               AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))) \
         SELECT kind, oid, name, CASE WHEN octet_length(leads) <= {LEADS_BYTES_MAX} THEN leads \
                                      ELSE chr(2) END FROM (\
         SELECT 'r' AS kind, c.oid, c.relname::text AS name, t.refobjid::text AS leads \
         FROM tables t JOIN pg_class c ON c.oid = t.oid \
         UNION ALL SELECT 'f', p.oid, p.proname::text, d.refobjid::text \
         FROM d JOIN pg_proc p ON p.oid = d.objid WHERE d.classid = 'pg_proc'::regclass \
         UNION ALL SELECT 'w', p.oid, p.proname::text, array_to_string(ARRAY(SELECT DISTINCT lower(m[1]) \
             FROM regexp_matches(p.prosrc, {spelled}, 'gi') m), chr(1)) \
         FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
         WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND p.prosrc ~* {spelled} \
         UNION ALL SELECT '*', 0, '', d.refobjid::text FROM d \
         WHERE d.classid IN ('pg_operator'::regclass, 'pg_cast'::regclass, 'pg_type'::regclass, \
                             'pg_amproc'::regclass) \
            OR (d.classid = 'pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint c \
                WHERE c.oid = d.objid AND c.contypid <> 0))) callers LIMIT {CALLERS_MAX} + 1"
    )
}

fn oids(list: &[u32]) -> String {
    let list: Vec<String> = list.iter().map(u32::to_string).collect();
    format!("'{{{}}}'::oid[]", list.join(","))
}

/// The words as a regular expression that matches just these.
fn alternatives(words: &[&str]) -> String {
    let mut all = String::new();
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            all.push('|');
        }
        for letter in word.chars() {
            if letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '_' {
                let _ = write!(all, "\\x{:02x}", u32::from(letter));
            } else {
                all.push(letter);
            }
        }
    }
    all
}

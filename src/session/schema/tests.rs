use super::*;
use crate::server::Params;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("valid")
}

impl Schemas {
    fn here(&self, name: &str, now: u64) -> Schema {
        self.at(&tenant(name), 1, now)
    }
}

fn welcome() -> Welcome {
    let none = Settings::default;
    Welcome { class: Class::ONLY, asked: none(), params: Params::default(), own: none() }
}

fn is_known(schema: &Schema) -> bool {
    !schema.is_outdated(&schema.reading())
}

#[test]
fn what_was_read_is_good_for_a_minute_behind_the_last_session() {
    let (schemas, now) = (Schemas::default(), millis_now());
    let first = schemas.here("a", now);
    assert!(!is_known(&first));
    let changes = first.changes();
    first.was_read(None, changes);
    drop(first);
    assert!(is_known(&schemas.here("a", now)), "forgotten at once");
    assert!(!is_known(&schemas.here("b", now)), "another tenant's");
    let moved = schemas.at(&tenant("a"), 2, now);
    assert!(!is_known(&moved), "another database's");
    assert!(!is_known(&schemas.here("a", now)), "it was somewhere else meanwhile");
    let again = schemas.here("a", now);
    again.was_read(None, again.changes());
    drop(again);
    let late = now + 2 * as_millis(READ_EVERY);
    schemas.here("a", now).0.remember(welcome(), late);
    let again = schemas.here("a", late);
    assert!(again.welcome(Class::ONLY, &Settings::default()).is_some(), "it is good for longer");
    assert!(!is_known(&again), "kept for longer than it is good");
}

#[test]
fn sessions_share_one_schema_for_as_long_as_there_is_one() {
    let (schemas, now) = (Schemas::default(), millis_now());
    let first = schemas.here("a", now);
    let second = schemas.here("a", now + 10 * as_millis(READ_EVERY));
    assert!(Arc::ptr_eq(&first.0, &second.0));
}

#[test]
fn welcomes_of_all_tenants_together_are_bounded() {
    let (schemas, now) = (Schemas::default(), millis_now());
    let large = |n| {
        let asked = Settings::from_pairs([(format!("x.{n}"), "x".repeat(60 << 10))]);
        Welcome { asked, ..welcome() }
    };
    let tell = |n: usize| {
        let schema = schemas.here(&format!("t{n}"), now);
        let welcome = large(n);
        let asked = welcome.asked.clone();
        schemas.remember(&schema, welcome);
        schema.welcome(Class::ONLY, &asked).is_some()
    };
    let told = (0..1_000).filter(|n| tell(*n)).count();
    assert!((500..600).contains(&told), "{told}");
    schemas.sweep_at(now + 2 * as_millis(GOOD_FOR));
    assert!(tell(1_000), "there is room again");
}

#[test]
fn what_nobody_has_and_is_old_is_swept() {
    let (schemas, now) = (Schemas::default(), millis_now());
    for n in 0..100 {
        drop(schemas.here(&format!("t{n}"), now));
    }
    let held = schemas.here("held", now);
    let read = schemas.here("read", now);
    read.was_read(None, read.changes());
    drop(read);
    let left = |late| {
        schemas.sweep_at(now + late);
        schemas.known().len()
    };
    assert_eq!((left(0), left(2 * as_millis(READ_EVERY))), (2, 1));
    drop(held);
}

//! What is counted, under names that say where and in which unit.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use world::{World, bare, tools};

/// What a gauge may count instead of seconds and bytes: things, by their name, and 0 or 1.
const COUNTED: [&str; 14] = [
    "clients",
    "connections",
    "live",
    "missed",
    "open",
    "pins",
    "revocations",
    "server_max",
    "servers",
    "tenants",
    "tenants_broken",
    "up",
    "waiting",
    "waiting_clients_by_limit",
];

/// Units that are not Prometheus' base units.
const UNUSUAL: [&str; 10] = [
    "milliseconds",
    "millis",
    "ms",
    "microseconds",
    "us",
    "minutes",
    "hours",
    "days",
    "kib",
    "mib",
];

#[test]
fn a_metric_is_named_after_its_room_and_its_unit() {
    if bare::wanted() {
        return;
    }
    let rooms: Vec<String> = std::fs::read_dir(tools::root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let figures = World::busy().figures();
    assert!(figures.len() > 40, "{:?}", figures.keys());
    let mut wrong = Vec::new();
    for (name, family) in &figures {
        let what = name.strip_prefix("pgusher_").unwrap_or_default();
        let Some((room, what)) = what.split_once('_') else {
            wrong.push(format!("{name}: pgusher_<room>_<what>_<unit>"));
            continue;
        };
        if !rooms.iter().any(|known| known == room) {
            wrong.push(format!("{name}: `{room}` is no room"));
        }
        let base = what.ends_with("_seconds") || what.ends_with("_bytes");
        let fits = match &*family.kind {
            _ if what.split('_').any(|word| UNUSUAL.contains(&word)) => false,
            "counter" => what.ends_with("_total"),
            "histogram" => base,
            _ => {
                base || COUNTED
                    .iter()
                    .any(|noun| what == *noun || what.ends_with(&format!("_{noun}")))
            }
        };
        if !fits {
            wrong.push(format!("{name}: a {} in no unit that is known here", family.kind));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

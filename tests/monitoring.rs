//! What Prometheus and Grafana are given: every name in it is one a process shows, every alert the
//! manual names is there, and a real Prometheus takes all of it.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use world::figures::Family;
use world::http::call;
use world::{World, bare, eventually, report, tools};

/// Labels that Prometheus adds, and the one of a histogram's buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];

type Figures = BTreeMap<String, Family>;

struct Shown {
    world: World,
    /// Before anything has happened.
    fresh: Figures,
    busy: Figures,
}

fn shown() -> &'static Shown {
    static SHOWN: OnceLock<Shown> = OnceLock::new();
    SHOWN.get_or_init(|| {
        let world = World::countable();
        let fresh = world.figures();
        world.have_one_of_each();
        let busy = world.figures();
        Shown { world, fresh, busy }
    })
}

fn file(name: &str) -> String {
    std::fs::read_to_string(tools::root().join(name)).unwrap()
}

struct Alert {
    name: String,
    expr: String,
    /// The rest of it.
    text: String,
}

fn alerts() -> Vec<Alert> {
    let rules = file("config/prometheus/rules.yml");
    let blocks = rules.split("- alert: ").skip(1);
    let alert = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("expr:").expect(name);
        let (expr, text) = rest.split_once("for:").expect(name);
        Alert { name: name.to_owned(), expr: expr.to_owned(), text: text.to_owned() }
    };
    blocks.map(alert).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&file("config/grafana/pgusher.json")).expect("JSON")
}

/// Title, query and legend of every query.
fn queries(board: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let title = text(&panel["title"]);
        targets
            .into_iter()
            .map(move |t| (title.clone(), text(&t["expr"]), text(&t["legendFormat"])))
    };
    board["panels"].as_array().expect("panels").iter().flat_map(of).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Each metric of a query with what stands in its braces.
fn selectors(expr: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(at) = rest.find(|c: char| c.is_ascii_lowercase()) {
        rest = &rest[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let inside = behind.strip_prefix('{').and_then(|b| b.split_once('}'));
        if word.starts_with("pgusher_") || word.starts_with("process_") {
            found.push((word.to_owned(), inside.map_or("", |(inside, _)| inside).to_owned()));
        }
        rest = inside.map_or(behind, |(_, behind)| behind);
    }
    found
}

/// Of which family a series is.
fn family<'a>(name: &str, figures: &'a Figures) -> Option<&'a Family> {
    let stem = |suffix: &str| name.strip_suffix(suffix).and_then(|stem| figures.get(stem));
    let histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(stem);
    histogram.filter(|family| family.kind == "histogram").or_else(|| {
        // Without its suffix there is no series of a histogram's name.
        figures.get(name).filter(|family| family.kind != "histogram")
    })
}

/// What is wrong with a query, and with the labels that are written out beside it.
fn problems(place: &str, expr: &str, beside: &str, figures: &Figures) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut labels: BTreeSet<&str> = ADDED.into();
    for (name, inside) in selectors(expr) {
        let Some(family) = family(&name, figures) else {
            wrong.push(format!("{place}: no process shows {name}"));
            continue;
        };
        labels.extend(family.labels.iter().map(String::as_str));
        for matcher in inside.split(',').filter(|matcher| !matcher.is_empty()) {
            // =, !=, =~ or !~ is between them.
            let (label, value) = matcher.split_once('"').expect(place);
            let label = label.trim_end_matches(['=', '!', '~']).trim();
            if !labels.contains(label) {
                wrong.push(format!("{place}: {name} has no label {label}"));
            }
            if ADDED.contains(&label) {
                continue;
            }
            for word in value.trim_end_matches('"').split('|') {
                let series = format!("{label}=\"{word}\"");
                if !family.series.iter().any(|(line, _)| line.contains(&series)) {
                    wrong.push(format!("{place}: {name} has no {series}"));
                }
            }
        }
    }
    let mut told: Vec<&str> = beside.split("$labels.").skip(1).collect();
    told.extend(beside.split("{{").skip(1).filter(|rest| !rest.contains('$')));
    for grouping in ["by (", "ignoring(", "on("] {
        let lists = expr.split(grouping).skip(1).filter_map(|rest| rest.split_once(')'));
        told.extend(lists.flat_map(|(list, _)| list.split(',').map(str::trim)));
    }
    for label in told {
        let label = &label[..label.find(|c| !is_name(c)).unwrap_or(label.len())];
        if !labels.contains(label) {
            wrong.push(format!("{place}: nothing there has a label {label}"));
        }
    }
    wrong
}

#[test]
fn what_is_asked_for_is_what_a_process_shows() {
    if bare::wanted() {
        return;
    }
    let shown = shown();
    let mut wrong = Vec::new();
    for Alert { name, expr, text } in alerts() {
        // A counter that appears as 1 has not risen: what is waited for is there from the start.
        // Faults have a SQLSTATE; their alerts are about many.
        let late = expr.contains("pgusher_session_faults_total");
        let words = if late { figures_with_faults(&shown.busy) } else { shown.fresh.clone() };
        wrong.extend(problems(&name, &expr, &text, &words));
    }
    let board = dashboard();
    for (title, expr, legend) in queries(&board) {
        wrong.extend(problems(&title, &expr, &legend, &shown.busy));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As they are, with one of every fault that is waited for.
fn figures_with_faults(busy: &Figures) -> Figures {
    let mut figures = busy.clone();
    let faults = figures.get_mut("pgusher_session_faults_total").expect("a login was refused");
    for (blame, state) in [("proxy", "XX000"), ("control", "57P03"), ("client", "28000")] {
        faults.series.push((format!("{{blame=\"{blame}\",sqlstate=\"{state}\"}}"), 1.0));
    }
    figures
}

#[test]
fn an_alert_says_how_bad_it_is_and_the_manual_names_none_that_is_not_there() {
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| &*alert.name).collect();
    assert!(names.len() == alerts.len() && names.len() > 20, "{names:?}");
    for Alert { name, text, .. } in &alerts {
        let severe = text.contains("severity: critical") || text.contains("severity: warning");
        assert!(
            severe && text.contains("summary: \"") && text.contains("description: \""),
            "{name}"
        );
    }
    let manual = file("docs/OPERATING.md");
    let told: BTreeSet<&str> = manual
        .split(|c: char| !is_name(c))
        .filter(|word| word.strip_prefix("Pgusher").is_some_and(|rest| !rest.is_empty()))
        .collect();
    let gone: Vec<_> = told.difference(&names).collect();
    assert!(gone.is_empty(), "docs/OPERATING.md names alerts there are none of: {gone:?}");
    let untold: Vec<_> = names.difference(&told).collect();
    assert!(untold.is_empty(), "docs/OPERATING.md does not name {untold:?}");
}

#[test]
fn the_dashboard_can_be_imported() {
    let board = dashboard();
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut cells = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{panel}");
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "two panels at {x}, {y}: {}", panel["title"]);
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            for target in panel["targets"].as_array().expect("queries") {
                let expr = target["expr"].as_str().unwrap();
                assert!(expr.contains("instance=~\"$instance\""), "{expr}");
            }
        }
    }
    let variables: Vec<_> = board["templating"]["list"].as_array().unwrap().iter().collect();
    let names: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance"]);
}

/// A running Prometheus, ended when dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Where `prometheus` and `promtool` are: on the machine, or where `make test` puts them.
fn programs() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or(tools::root().join("target"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([target.join("prometheus/usr/bin")]);
    places.find(|dir| ["prometheus", "promtool"].iter().all(|name| dir.join(name).is_file()))
}

#[test]
fn a_real_prometheus_takes_the_alerts_and_the_dashboards_queries() {
    if bare::wanted() {
        return;
    }
    let Some(programs) = programs() else {
        assert!(std::env::var_os("CI").is_none(), "no prometheus");
        return report("no prometheus: skipped");
    };
    let shown = shown();
    let dir = tempfile::tempdir().unwrap();
    let config = file("config/prometheus/scrape.yml")
        .replace("127.0.0.1:9432", &shown.world.ops.to_string())
        .replace("15s", "1s");
    let config = format!("global:\n  evaluation_interval: 1s\n{config}");
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    std::fs::write(dir.path().join("rules.yml"), file("config/prometheus/rules.yml")).unwrap();
    let tests = file("tests/prometheus/rules_test.yml");
    std::fs::write(dir.path().join("rules_test.yml"), tests).unwrap();
    for words in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ] {
        tools::run(Command::new(programs.join("promtool")).args(words).current_dir(dir.path()));
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(programs.join("prometheus"));
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg(format!("--web.listen-address={free}")).current_dir(dir.path());
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _prometheus = Prometheus(child);
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    let ask = |path: &str| {
        let answer = world::http::try_call(free, "GET", path, &[], "").ok();
        answer.filter(|answer| answer.status == 200).map(|answer| answer.json)
    };
    let patience = Duration::from_secs(60);
    let query = |expr: &str| ask(&format!("/api/v1/query?query={}", encoded(expr)));
    eventually(patience, "pgusher is scraped", || {
        let ready = query("pgusher_boot_ready{job=\"pgusher\"} and on(instance) up == 1");
        (ready?["data"]["result"][0]["value"][1] == "1").then_some(())
    });
    let judged = eventually(patience, "every alert has been looked at", || {
        let groups = ask("/api/v1/rules")?["data"]["groups"].as_array()?.clone();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        let done = !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown");
        done.then_some(rules)
    });
    assert_eq!(judged.len(), alerts().len(), "{}", log());
    for rule in &judged {
        assert_eq!(rule["health"], "ok", "{}: {}\n{}", rule["name"], rule["lastError"], log());
    }
    for (title, expr, _) in queries(&dashboard()) {
        let expr = expr.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let answer = call(free, "GET", &format!("/api/v1/query?query={}", encoded(&expr)), &[], "");
        assert_eq!(answer.json["status"], "success", "{title}: {expr}: {}", answer.text);
    }
}

/// A query as a part of a URL.
fn encoded(text: &str) -> String {
    let bytes = text
        .bytes()
        .map(|b| if is_name(b.into()) { (b as char).into() } else { format!("%{b:02X}") });
    bytes.collect()
}

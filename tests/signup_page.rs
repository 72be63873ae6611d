//! `/signup` in a headless browser, from the form to a connection string that psql takes.
//!
//! `PGUSHER_SHOTS=DIR` keeps what it looked like.
#![allow(clippy::unwrap_used, clippy::format_push_string)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use world::{Plan, World, report, tools};

fn browser() -> Option<PathBuf> {
    let names = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"];
    names.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
}

fn psql(url: &str) -> String {
    let mut command = Command::new(tools::program("psql"));
    let sql = "select current_database() || ' ' || count(*) from \"Admin\"";
    tools::run(command.args([url, "-X", "-A", "-t", "-c", sql]))
}

#[test]
fn the_page_leads_from_the_form_to_a_connection_string() {
    let Some(browser) = browser() else {
        // `scripts/install test` installs it where there is apt; CI is such a place.
        assert!(std::env::var_os("CI").is_none(), "no chromium");
        return report("no chromium: skipped");
    };
    let world = World::start(Plan::default().set("warm.target", "1"));
    let mut command = Command::new("timeout");
    command.arg("180").arg(tools::node()).arg(tools::file("browser/signup.js"));
    command.env("B_PAGE", format!("http://{}/signup", world.http)).env("B_BROWSER", browser);
    command.env("B_EMAIL", "ada@page.example").env("B_TAKEN", &world.tenants[0].email);
    if let Some(shots) = std::env::var_os("PGUSHER_SHOTS") {
        command.env("B_SHOTS", shots);
    }
    let said = tools::run(&mut command);
    let saw: Value = serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{e}: {said}"));
    for nothing in ["errors", "outside"] {
        assert_eq!(saw[nothing], Value::Array(Vec::new()), "{saw}");
    }
    let text = |key: &str| saw[key].as_str().unwrap_or_else(|| panic!("no {key}: {saw}"));
    for field in ["churchName", "firstName", "lastName", "email", "password"] {
        assert!(saw["wrong"][field].as_str().unwrap().starts_with("Must "), "{field}: {saw}");
    }
    assert_eq!((text("focus"), text("taken")), ("email", "This e-mail is registered already."));
    let steps: Vec<_> =
        saw["steps"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(steps.starts_with(&["claimed"]) && steps.ends_with(&["written", "done"]), "{saw}");
    assert_eq!(saw["percent"], 100);
    assert!(text("hint").contains("15 more minutes"), "{saw}");
    assert!(text("trial").starts_with("Harbor Church · trial until "), "{saw}");
    for width in ["narrow", "narrowForm"] {
        assert!(saw[width].as_u64().unwrap() <= 360, "{width}: {saw}");
    }
    assert_eq!(saw["labels"], 0, "fields without a label: {saw}");
    // The string as it stands, with the token and with the key.
    assert!(text("key").contains("//key_"), "{saw}");
    for url in [text("url"), text("key")] {
        let database = url.rsplit('/').next().unwrap();
        assert_eq!(psql(url).trim(), format!("{database} 1"), "{url}");
    }
    world.assert_no_panic();
}

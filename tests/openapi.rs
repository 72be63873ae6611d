//! The API does what its description says: schemathesis reads `/openapi.json` and tries to find an
//! answer that is not in it. The same requests every day, others for `PGUSHER_OPENAPI_SECONDS=n`;
//! `PGUSHER_OPENAPI_SEED=n` to repeat them.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::process::Command;

use world::{Plan, World, bare, report, tools};

#[test]
fn no_answer_is_undocumented_and_none_is_a_500() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().telnyx().set("stripe.webhook_secret", "whsec_test"));
    // The same few requests of every kind, however long they take; or new ones for a time.
    let (amount, seed) = match std::env::var("PGUSHER_OPENAPI_SECONDS") {
        Ok(seconds) => (["--max-time".to_owned(), seconds], u64::from(std::process::id())),
        Err(_) => (["--max-examples".to_owned(), "5".to_owned()], 7),
    };
    let seed = tools::env_or("PGUSHER_OPENAPI_SEED", seed);
    report(&format!("schemathesis: seed {seed}"));
    let http = format!("http://{}", world.http);
    let mut st = Command::new(tools::python());
    st.args(["-m", "schemathesis.cli", "run", &format!("{http}/openapi.json")])
        .args(["--no-color", "--continue-on-failure", "--checks", "all", "--warnings", "off"])
        .args(["--phases", "coverage,fuzzing", "--request-timeout", "20"])
        .args(amount)
        .args(["--seed", &seed.to_string(), "--output-sanitize", "false"])
        .current_dir(&world.dir)
        .env("PYTHONPATH", tools::file("openapi"))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PGUSHER_HTTP", &http)
        .env("PGUSHER_EMAIL", &world.tenants[0].email)
        .env("PGUSHER_PASSWORD", &world.tenants[0].password);
    let output = st.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = said.find("= SUMMARY =").map_or(&*said, |at| &said[at..]);
    summary.lines().filter(|line| line.contains("generated")).for_each(report);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    let tried = summary.lines().find_map(|line| line.trim().split_once(" generated"));
    let tried = tried.and_then(|(count, _)| count.parse::<u32>().ok());
    assert!(tried.is_some_and(|tried| tried > 300), "it has tried too little:\n{said}");
    world.assert_no_panic();
}

//! The command line's promises: exit codes, JSON, every problem at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Long enough for a master key and for HS256.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn pgusher(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    command.args(arguments).env_remove("PGUSHER_CONFIG");
    command.output().expect("runs")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A configuration that `check --offline` finds good, written into `dir`: its path.
fn good(dir: &Path) -> String {
    let text = "[registry]\nurl = 'postgresql://h/registry'\n[auth]\nmaster_key = '{secret}'\n\
                [[auth.signer.keys]]\nkid = 'a'\nalgorithm = 'HS256'\nsecret = '{secret}'\n";
    let file = dir.join("pgusher.toml");
    std::fs::write(&file, text.replace("{secret}", SECRET)).expect("writes");
    file.to_str().expect("UTF-8").to_owned()
}

/// What `check --offline` says of that configuration with these `--set`.
fn checked(set: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = good(dir.path());
    let mut arguments = vec!["check", "--offline", "--config", &file];
    arguments.extend(set.iter().flat_map(|set| ["--set", *set]));
    let (code, _, err) = said(&pgusher(&arguments));
    (code, err)
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    for wrong in [&["dance"][..], &["check", "--colour"], &[]] {
        assert_eq!(pgusher(wrong).status.code(), Some(2), "{wrong:?}");
    }
    for right in [&["--help"][..], &["check", "--help"], &["version"], &["--version"]] {
        assert_eq!(pgusher(right).status.code(), Some(0), "{right:?}");
    }
    let (code, out, _) = said(&pgusher(&["version", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&out).expect("one JSON value");
    assert_eq!((code, json["version"].as_str()), (Some(0), Some(env!("CARGO_PKG_VERSION"))));
}

#[test]
fn check_names_every_problem_with_its_file_and_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pgusher.toml");
    let file_name = file.to_str().expect("UTF-8");
    std::fs::write(&file, "[log]\nlevle = 'info'\nformat = 'xml'\n").expect("writes");
    let (code, _, err) = said(&pgusher(&["check", "--config", file_name]));
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("{file_name}: log.levle: unknown key")), "{err}");
    assert!(err.contains(&format!("{file_name}: log.format: ")), "{err}");

    let (code, out, _) = said(&pgusher(&["check", "--json", "--config", file_name]));
    let json: serde_json::Value = serde_json::from_str(&out).expect("one JSON value");
    assert_eq!((code, json["problems"].as_array().map(Vec::len)), (Some(1), Some(2)), "{out}");

    let (code, err) = checked(&[]);
    assert_eq!(code, Some(0), "{err}");
    // A value of the right type may be wrong all the same, and keeps its place.
    let (code, err) = checked(&["log.level=a=b=c"]);
    assert_eq!(code, Some(2), "the command line is at fault: {err}");
    assert!(err.contains("--set: log.level: "), "{err}");
    // What is missing altogether is missed: with nothing set, nothing could be started.
    let (code, _, err) = said(&pgusher(&["check", "--offline"]));
    assert_eq!(code, Some(1));
    for key in ["auth.master_key", "auth.signer"] {
        assert!(err.contains(key), "{key}: {err}");
    }
}

#[test]
fn tls_settings_that_come_to_nothing_are_a_fault() {
    // Whoever asks for certificates of clients must not be served without any TLS.
    for (key, value) in
        [("client_certificates", "required"), ("client_ca", "/ca.pem"), ("minimum", "1.3")]
    {
        let (code, err) = checked(&[&format!("tls.{key}={value}")]);
        assert_eq!(code, Some(2), "{key}: {err}");
        assert!(err.contains(&format!("--set: tls.{key}: ")), "{err}");
        assert!(err.contains("tls.certificate"), "{err}");
    }
    let (code, err) = checked(&["tls.client_certificates=off", "tls.minimum=1.2"]);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_file_mode_that_was_meant_in_octal_is_a_fault_that_says_how() {
    let (code, err) = checked(&["listen.unix_socket_mode=770"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--set: listen.unix_socket_mode: "), "{err}");
    assert!(err.contains("0o770") && err.contains("504"), "{err}");
    assert_eq!(checked(&["listen.unix_socket_mode=504"]).0, Some(0));
    let (_, err) = checked(&["listen.unix_socket_mode=4096"]);
    assert!(err.contains("0o777"), "{err}");
}

#[test]
fn what_serve_would_refuse_check_names_all_at_once() {
    let bad = [
        ("passwords.memory_kib", "4"),
        ("stripe.secret_key", "two words"),
        ("stripe.api_url", "http://a.b"),
        ("sms.telnyx.api_url", "http://a.b"),
    ];
    let set: Vec<_> = bad.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut set: Vec<_> = set.iter().map(String::as_str).collect();
    set.push("sms.telnyx.api_key=x");
    let (code, err) = checked(&set);
    assert_eq!(code, Some(2), "{err}");
    for (key, _) in bad {
        assert!(err.contains(&format!("--set: {key}: ")), "{key}: {err}");
    }
    assert!(!err.contains("two words"), "a key is not shown: {err}");
    // What lies in files is read by those who need it.
    let missing = ["stripe.secret_key=x", "stripe.ca_file=/nowhere.pem"];
    assert!(checked(&missing).1.contains("stripe.ca_file: "));
    let set: Vec<_> = missing.iter().flat_map(|set| ["--set", set]).collect();
    let (_, _, err) = said(&pgusher(&[&["tenant", "list"][..], &set].concat()));
    assert!(err.contains("no registry") && !err.contains("ca_file"), "{err}");
    // Without a key nobody is asked, and nothing is wrong.
    let (code, err) = checked(&["stripe.api_url=http://a.b", "sms.telnyx.api_url=http://a.b"]);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_command_about_tenants_says_what_it_lacks() {
    let away = ["--registry", "postgresql://127.0.0.1:1/none"];
    for (arguments, code, words) in [
        (&["tenant", "list"][..], 2, "no registry"),
        (&["tenant", "show", "Not-An-Id"], 2, "1 to 56 characters"),
        (&["tenant", "show", "a", "--registry", "mysql://h/d"], 2, "does not begin with"),
        (&[&["tenant", "show", "a"][..], &away].concat(), 1, "cannot be reached"),
        (&[&["tenant", "limits", "a", "--weight", "1001"][..], &away].concat(), 2, "1 to 1000"),
        (&[&["tenant", "limits", "a", "--queue-timeout", "5"][..], &away].concat(), 2, "5s"),
        (&[&["migrate", "registry"][..], &away].concat(), 1, "refused"),
        (&[&["tenant", "drop", "a"][..], &away].concat(), 2, "--yes"),
    ] {
        let (exit, out, err) = said(&pgusher(arguments));
        assert_eq!(exit, Some(code), "{arguments:?}: {out}{err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
        assert!(out.is_empty(), "{arguments:?}: {out}");
    }
    let (_, out, _) = said(&pgusher(&[&["tenant", "show", "a", "--json"][..], &away].concat()));
    let json: serde_json::Value = serde_json::from_str(&out).expect("one JSON value");
    assert!(json["error"].is_string(), "{out}");
}

#[test]
fn tokens_are_signed_with_the_configured_key_and_ask_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pgusher.toml");
    let key =
        format!("[[auth.signer.keys]]\nkid = 'a'\nalgorithm = 'HS256'\nsecret = '{SECRET}'\n");
    std::fs::write(&file, key).expect("writes");
    let file = file.to_str().expect("UTF-8");
    let issue =
        |more: &[&str]| said(&pgusher(&[&["token", "issue", "--config", file][..], more].concat()));
    let (code, out, err) = issue(&["--tenant", "acme", "--role", "readonly", "--ttl", "2h"]);
    assert_eq!((code, out.trim().split('.').count()), (Some(0), 3), "{out}{err}");
    let claims = |out: &str| -> serde_json::Value {
        use base64::Engine as _;
        let part = out.trim().split('.').nth(1).expect("claims").to_owned();
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice(&raw).expect("JSON")
    };
    let claimed = claims(&out);
    assert_eq!(
        (claimed["tenantId"].as_str(), claimed["role"].as_str()),
        (Some("acme"), Some("readonly"))
    );
    let lives = claimed["exp"].as_u64().expect("exp") - claimed["iat"].as_u64().expect("iat");
    assert_eq!(lives, 7200);
    let (code, out, _) = issue(&["--operator", "stats", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("one JSON value");
    assert_eq!((code, json["operator"].as_str()), (Some(0), Some("stats")));
    let claimed = claims(json["token"].as_str().expect("token"));
    assert!(claimed["tenantId"].is_null(), "an operator's token opens no tenant: {claimed}");
    for wrong in [
        &["--tenant", "a", "--role", "sidecar"][..],
        &["--tenant", "a", "--operator", "stats"],
        &["--operator", "root"],
        &["--tenant", "a", "--ttl", "0"],
        &[],
    ] {
        assert_eq!(issue(wrong).0, Some(2), "{wrong:?}");
    }
    let (code, _, err) = said(&pgusher(&["token", "issue", "--tenant", "a"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("no key to sign with"), "{err}");
}

#[test]
fn the_images_environment_is_configuration_and_listens_on_every_address() {
    let dockerfile = include_str!("../Dockerfile");
    let set: Vec<(&str, &str)> = dockerfile
        .lines()
        .filter_map(|line| line.trim_start_matches("ENV ").trim().strip_prefix("PGUSHER_"))
        .filter_map(|line| line.trim_end_matches(" \\").split_once('='))
        .filter(|(name, _)| name.contains("__"))
        .collect();
    assert_eq!(set.len(), 3, "{set:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    command.args(["check", "--offline", "--json"]);
    for (name, value) in set {
        let value = value.trim_matches('\'');
        assert!(value.contains("0.0.0.0:"), "{name}={value}");
        command.env(format!("PGUSHER_{name}"), value);
    }
    // Keys and registry are the operator's to give; nothing the image sets is at fault.
    let (_, out, _) = said(&command.output().expect("runs"));
    assert!(!out.contains("$PGUSHER_"), "{out}");
    for key in ["listen", "http", "ops"] {
        assert!(!out.contains(&format!("\"key\":\"{key}")), "{out}");
    }
}

#[test]
fn what_the_image_is_built_from_is_all_that_cargo_asks_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().expect("a directory");
    // Cargo is to come as far as the compiler, and no further.
    let shell = "set -e; strip() { :; }\n\
                 cargo() { said=$(\"$CARGO\" \"$@\" 2>&1) || case $said in\n\
                 *'process didn'*exit*-vV*) : ;; *) echo \"$said\" >&2; return 1 ;; esac; }\n";
    let run = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}{script}")]).current_dir(dir.path());
        command.envs([("CARGO", env!("CARGO")), ("RUSTC", "false"), ("CARGO_NET_OFFLINE", "true")]);
        let (code, _, err) = said(&command.output().expect("runs"));
        assert_eq!(code, Some(0), "RUN {script}: {err}");
    };
    let sent = include_str!("../.dockerignore");
    let stages = include_str!("../Dockerfile").replace("\\\n", " ");
    let build = stages.split("\nFROM ").nth(1).expect("the build's stage");
    let mut ran = 0;
    for line in build.lines() {
        if let Some(script) = line.strip_prefix("RUN ") {
            run(script);
            ran += script.matches("cargo build").count();
        } else if let Some(names) = line.strip_prefix("COPY ") {
            let names: Vec<_> = names.split_whitespace().collect();
            let (to, from) = names.split_last().expect("a place");
            for name in from {
                assert!(sent.lines().any(|line| line == format!("!{name}")), "{name} is not sent");
                let from = root.join(name);
                run(&format!("cp -r '{}' '{to}'", from.display()));
            }
        }
    }
    assert_eq!(ran, 2, "the dependencies, then the program");
}

/// A `pgusher serve`, ended when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn until_the_registry_has_answered_serve_is_not_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = good(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    command.args(["serve", "--config", &file]);
    for set in [
        "registry.url=postgresql://127.0.0.1:1/none",
        "listen.addresses=[\"127.0.0.1:0\"]",
        "http.address=127.0.0.1:0",
        "ops.address=127.0.0.1:0",
        "log.format=json",
    ] {
        command.args(["--set", set]);
    }
    let mut serving = Serving(command.stderr(Stdio::piped()).spawn().expect("runs"));
    let log = BufReader::new(serving.0.stderr.take().expect("piped"));
    let mut lines = log.lines().map_while(Result::ok);
    let ready = lines.find(|line| line.contains("\"ready\"")).expect("it starts all the same");
    std::thread::spawn(move || lines.for_each(drop));
    let ops = ready.split("\"ops\"").nth(1).and_then(|rest| rest.split("127.0.0.1:").nth(1));
    let port: String = ops.expect("its address").chars().take_while(char::is_ascii_digit).collect();
    let ops = format!("127.0.0.1:{port}");
    assert_eq!(pgusher(&["healthcheck", "--ops", &ops]).status.code(), Some(0), "it lives");
    let (code, _, err) = said(&pgusher(&["healthcheck", "--ready", "--ops", &ops]));
    assert_eq!(code, Some(1));
    assert!(err.contains("503") && err.contains("other processes are not known"), "{err}");
}

#[test]
fn without_ops_healthcheck_asks_where_the_configuration_says() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut socket, _) = listener.accept().expect("accepts");
            let _ = socket.read(&mut [0; 1024]).expect("reads");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(answer.as_bytes()).expect("writes");
        }
    });
    for (host, pool) in [("127.0.0.1", "1"), ("0.0.0.0", "1"), ("127.0.0.1", "broken since")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.arg("healthcheck").env_remove("PGUSHER_CONFIG");
        command.env("PGUSHER_OPS__ADDRESS", format!("{host}:{port}"));
        command.env("PGUSHER_POOL__SERVER_BUDGET", pool);
        let (code, _, err) = said(&command.output().expect("runs"));
        assert_eq!(code, Some(0), "{host}: {err}");
    }
    server.join().expect("no panic");
    // A configuration that cannot be loaded says nothing: pgusher's own default is asked.
    let (_, _, err) = said(&pgusher(&["healthcheck", "--config", "/nowhere.toml"]));
    assert!(err.is_empty() || err.contains("127.0.0.1:9432"), "{err}");
}

#[test]
fn healthcheck_is_the_answer_of_the_ops_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let ops = listener.local_addr().expect("bound").to_string();
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for status in ["200 OK", "503 Service Unavailable"] {
            let (mut socket, _) = listener.accept().expect("accepts");
            let mut request = [0; 1024];
            let length = socket.read(&mut request).expect("reads");
            asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhm\r\n"
            );
            socket.write_all(answer.as_bytes()).expect("writes");
        }
        asked
    });
    assert_eq!(pgusher(&["healthcheck", "--ops", &ops]).status.code(), Some(0));
    let (code, _, err) = said(&pgusher(&["healthcheck", "--ready", "--ops", &ops]));
    assert_eq!(code, Some(1));
    assert!(err.contains("503"), "{err}");
    let asked = server.join().expect("no panic");
    assert!(asked[0].starts_with("GET /healthz "), "{asked:?}");
    assert!(asked[1].starts_with("GET /readyz "), "{asked:?}");
    let (code, _, err) = said(&pgusher(&["healthcheck", "--ops", &ops]));
    assert_eq!(code, Some(1), "nobody listens any more");
    assert!(err.contains("no answer"), "{err}");
}

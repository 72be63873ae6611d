//! The command line's promises: exit codes, JSON, every problem at once.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

fn pgusher(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    command.args(arguments).env_remove("PGUSHER_CONFIG");
    command.output().expect("runs")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
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

    std::fs::write(&file, "[log]\nlevel = 'info'\n").expect("writes");
    assert_eq!(pgusher(&["check", "--config", file_name]).status.code(), Some(0));
    // A value of the right type may be wrong all the same, and keeps its place.
    let (code, _, err) =
        said(&pgusher(&["check", "--config", file_name, "--set", "log.level=a=b=c"]));
    assert_eq!(code, Some(2), "the command line is at fault: {err}");
    assert!(err.contains("--set: log.level: "), "{err}");
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

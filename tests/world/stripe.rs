//! What stands in for Stripe: its customers' API, and its signature.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use pgusher::units::hex;

/// How the next calls go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Not at all.
    Well,
    /// 500.
    Failing,
    /// The customer is made, the answer is lost.
    Mute,
    /// 402, for good.
    Refusing,
}

#[derive(Default)]
struct Books {
    moods: Vec<Mood>,
    calls: Vec<(String, String)>,
    customers: HashMap<String, String>,
}

/// Stripe, as far as pgusher calls it.
#[derive(Clone)]
pub struct MockStripe {
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

impl MockStripe {
    /// Starts it; the first calls go as `moods` say, the rest well.
    pub fn start(moods: &[Mood]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut moods = moods.to_vec();
        moods.reverse();
        let books = Arc::new(Mutex::new(Books { moods, ..Books::default() }));
        let stripe = Self { address, books };
        let serving = stripe.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let stripe = serving.clone();
                std::thread::spawn(move || while stripe.answer(&socket).is_some() {});
            }
        });
        stripe
    }

    /// How the next call goes.
    pub fn next(&self, mood: Mood) {
        self.books.lock().unwrap().moods.push(mood);
    }

    /// The calls so far: Idempotency-Key and body.
    pub fn calls(&self) -> Vec<(String, String)> {
        self.books.lock().unwrap().calls.clone()
    }

    /// How many customers there are.
    pub fn customers(&self) -> usize {
        self.books.lock().unwrap().customers.len()
    }

    fn answer(&self, socket: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(socket);
        let mut headers: HashMap<String, String> = HashMap::new();
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        assert_eq!(line.trim(), "POST /v1/customers HTTP/1.1");
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        assert_eq!(headers["authorization"], "Bearer sk_test_mock");
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let key = headers["idempotency-key"].clone();
        let mut books = self.books.lock().unwrap();
        books.calls.push((key.clone(), String::from_utf8(body).unwrap()));
        let mood = books.moods.pop().unwrap_or(Mood::Well);
        let (status, json) = match mood {
            Mood::Failing => ("500 Oops", r#"{"error":{"type":"api_error"}}"#.to_owned()),
            Mood::Refusing => ("402 No", r#"{"error":{"code":"email_invalid"}}"#.to_owned()),
            Mood::Well | Mood::Mute => {
                let next = format!("cus_{}", books.customers.len());
                let id = books.customers.entry(key).or_insert(next).clone();
                ("200 OK", format!(r#"{{"id":"{id}","object":"customer"}}"#))
            }
        };
        drop(books);
        if mood == Mood::Mute {
            let _ = socket.shutdown(std::net::Shutdown::Both);
            return None;
        }
        let length = json.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
        (&mut &*socket).write_all(format!("{head}{json}").as_bytes()).ok()
    }
}

/// `Stripe-Signature` of a body, made now.
pub fn signature(secret: &str, body: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex(tag.as_ref()))
}

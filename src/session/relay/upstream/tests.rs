//! What a client says, and what becomes of it before a server hears it.

use super::note::SETTINGS_MAX;
use super::*;

/// An upstream, what is on its desk, and a client's messages to it.
#[derive(Default)]
struct Books {
    exchange: Exchange,
    client: ClientStatements,
    server: ServerStatements,
}

impl Books {
    fn parse(&mut self, up: &mut Upstream, bytes: &[u8]) -> Result<Stop, Malformed> {
        up.buffer.append(bytes);
        up.parse(&mut Desk {
            exchange: &mut self.exchange,
            client: &mut self.client,
            server: &mut self.server,
            shared: true,
            salt: Some(0),
            prepares: false,
            server_statements_max: 100,
            client_max: (100_000, 1 << 20),
        })
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

#[test]
fn a_password_after_the_login_is_no_message() {
    let late = message(tag::PASSWORD, b"");
    let (mut up, mut books) = (Upstream::new(1 << 10), Books::default());
    assert!(matches!(books.parse(&mut up, &late), Err(Malformed::Type)));
    assert!(up.is_flushed() && books.exchange.is_done(), "nothing of it goes to a server");
    assert_eq!(up.is_ready(), Err(Malformed::Type), "no server is taken for it");
    for skip in [|up: &mut Upstream| up.skip_refused(false), Upstream::skip_late_copy] {
        let mut up = Upstream::new(1 << 10);
        up.buffer.append(&late);
        assert_eq!(skip(&mut up), Err(Malformed::Type));
    }
}

#[test]
fn so_many_settings_are_known_by_name_and_behind_them_none() {
    let (mut up, mut books) = (Upstream::new(64 << 10), Books::default());
    let set = |n: usize| message(tag::QUERY, format!("SET a.n{n}=1\0").as_bytes());
    let many: Vec<u8> = (0..SETTINGS_MAX).flat_map(set).collect();
    books.parse(&mut up, &[&many[..], &set(0)].concat()).expect("parses");
    assert_eq!(up.settings.len(), SETTINGS_MAX);
    assert!(!up.done().intersects(Hints::UNSURE | Hints::COMPUTED), "all are known");
    books.parse(&mut up, &set(SETTINGS_MAX)).expect("parses");
    assert_eq!(up.settings.len(), SETTINGS_MAX);
    assert!(up.done().contains(Hints::UNSURE | Hints::COMPUTED), "one is not");
}

#[test]
fn what_an_error_would_bring_back_is_bounded() {
    let (mut up, mut books) = (Upstream::new(64 << 10), Books::default());
    let text = [b"n\0select 1 /*".as_slice(), &vec![b'x'; 20_000], b"*/\0\0\0"].concat();
    let pair = [message(tag::PARSE, &text), message(tag::CLOSE, b"Sn\0")].concat();
    let mut say = |books: &mut Books, bytes: &[u8]| {
        let stop = books.parse(&mut up, bytes).expect("parses");
        let sent = up.buffer.forward().len();
        up.buffer.sent(sent);
        up.outbox.reset();
        (stop, up.waits())
    };
    // Without a Sync no answer need ever come: more is refused.
    let refused = (0..100).any(|_| matches!(say(&mut books, &pair).0, Stop::TooManyStatements));
    assert!(refused);
    assert!(books.exchange.undo_bytes() < (1 << 20) + 50_000);
}

#[test]
fn what_an_error_would_bring_back_is_waited_for_where_answers_come() {
    let (mut up, mut books) = (Upstream::new(64 << 10), Books::default());
    let text = [b"n\0select 1 /*".as_slice(), &vec![b'x'; 20_000], b"*/\0\0\0"].concat();
    let group = [message(tag::PARSE, &text), message(tag::CLOSE, b"Sn\0"), message(tag::SYNC, b"")];
    let group = group.concat();
    let waits = (0..100).any(|_| {
        assert!(matches!(books.parse(&mut up, &group), Ok(Stop::Starved)));
        let sent = up.buffer.forward().len();
        up.buffer.sent(sent);
        up.outbox.reset();
        up.waits()
    });
    assert!(waits);
    assert!(books.exchange.undo_bytes() < (1 << 20) + 50_000);
    // A Close and a Parse for pgusher, or a stand-in, then the client's Close and Sync.
    while books.exchange.undo_bytes() > 0 {
        let answered = [tag::CLOSE_COMPLETE, tag::PARSE_COMPLETE, tag::READY_FOR_QUERY]
            .into_iter()
            .any(|tag| books.exchange.received(tag, b'I').is_ok());
        assert!(answered);
    }
    books.parse(&mut up, b"").expect("parses");
    assert!(!up.waits());
}

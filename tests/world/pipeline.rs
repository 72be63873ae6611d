//! Extended-protocol exchanges, said at once and told in a line.

use super::wire::{self, Conn, Message, Refusal, columns};

/// Bind and Execute of a statement without parameters.
pub fn run(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), wire::execute()].concat()
}

/// Says all this in one write and hears as many answers to a Sync or Query: what each says, by tag,
/// with the SQLSTATEs and the values.
pub fn told(conn: &mut Conn, said: &[Vec<u8>], answers: usize) -> String {
    conn.say(&said.concat()).unwrap();
    let mut told = String::new();
    for _ in 0..answers {
        told.extend(conn.hear_all().unwrap().iter().map(word));
    }
    told
}

/// What one message says.
pub fn word(message: &Message) -> String {
    match message.tag {
        b'E' => format!("E{} ", Refusal::parse(&message.body).code),
        b'D' => format!("D{} ", columns(&message.body)[0].as_deref().unwrap_or("null")),
        b'Z' => format!("Z{} ", message.body[0] as char),
        b'S' | b'N' => String::new(),
        tag => format!("{} ", tag as char),
    }
}

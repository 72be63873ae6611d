//! Conversations as letters: what is sent, what is received.

use super::*;

/// Sends every letter of `sent` as the message of that tag.
fn after(sent: &str) -> Exchange {
    let mut exchange = Exchange::default();
    send(&mut exchange, sent);
    exchange
}

fn send(exchange: &mut Exchange, sent: &str) {
    for letter in sent.bytes() {
        let message = match letter {
            b'P' => Sent::Parse(None),
            b'B' => Sent::Bind,
            b'D' => Sent::Describe(None),
            b'E' => Sent::Execute,
            b'C' => Sent::Close,
            b'S' => Sent::Sync,
            b'Q' => Sent::Query,
            b'F' => Sent::Function,
            b'c' => Sent::CopyEnd,
            other => panic!("{other}"),
        };
        exchange.sent(message, Reply::Forward);
    }
}

fn receive(exchange: &mut Exchange, tags: &str) {
    for tag in tags.bytes() {
        exchange.received(tag, b'I').unwrap_or_else(|_| panic!("{}", char::from(tag)));
    }
}

#[test]
fn a_conversation_is_done_when_every_answer_came() {
    for (sent, received) in [
        ("Q", "TDDCZ"),
        ("Q", "TDCTDCIZ"),
        ("PBDES", "12TDDCZ"),
        ("PDS", "1tnZ"),
        ("PBESPBES", "12CZ12CZ"),
        ("BES", "2DDsZ"),
        ("F", "VZ"),
        ("Q", "HddcCZ"),
        ("CS", "3Z"),
        ("Q", "EZ"),
    ] {
        let mut exchange = after(sent);
        assert!(!exchange.is_done(), "{sent}");
        receive(&mut exchange, received);
        assert!(exchange.is_done(), "{sent} {received}");
    }
}

#[test]
fn an_error_skips_to_the_next_sync_and_no_further() {
    let mut exchange = after("PBDESPBES");
    receive(&mut exchange, "1EZ12CZ");
    assert!(exchange.is_done());
}

#[test]
fn what_is_sent_while_the_server_skips_is_not_answered() {
    let mut exchange = after("PB");
    receive(&mut exchange, "E");
    assert!(exchange.is_skipping());
    send(&mut exchange, "DEQPB");
    assert!(!exchange.is_done());
    send(&mut exchange, "S");
    receive(&mut exchange, "Z");
    assert!(exchange.is_done());
}

#[test]
fn a_sync_ahead_of_copy_data_is_not_answered() {
    let mut exchange = after("PBDES");
    receive(&mut exchange, "12nG");
    assert!(!exchange.is_done());
    send(&mut exchange, "cS");
    receive(&mut exchange, "CZ");
    assert!(exchange.is_done());
}

#[test]
fn copy_data_may_be_sent_before_it_is_asked_for() {
    let mut exchange = after("PBEcS");
    receive(&mut exchange, "12GCZ");
    assert!(exchange.is_done());
    let mut exchange = after("Qc");
    receive(&mut exchange, "GCZ");
    assert!(exchange.is_done());
}

#[test]
fn a_client_that_leaves_is_waited_for_only_while_answers_come() {
    assert!(!after("PBE").will_be_quiet(false), "held back for a Sync");
    assert!(after("PBES").will_be_quiet(false));
    assert!(after("PBESPBE").will_be_quiet(false), "the first half is answered");
    assert!(after("QQ").will_be_quiet(true));
    assert!(!after("Q").will_be_quiet(true), "its text is not all there");
    let mut exchange = after("Q");
    receive(&mut exchange, "G");
    assert!(!exchange.will_be_quiet(false), "it wants data");
    send(&mut exchange, "c");
    assert!(exchange.will_be_quiet(false));
}

#[test]
fn a_copy_that_fails_ends_at_the_sync_behind_it() {
    let mut exchange = after("PBES");
    receive(&mut exchange, "12GE");
    send(&mut exchange, "cS");
    receive(&mut exchange, "Z");
    assert!(exchange.is_done());
}

#[test]
fn own_messages_are_dropped_and_stand_ins_translated() {
    let mut exchange = Exchange::default();
    exchange.sent(Sent::Parse(None), Reply::Drop);
    exchange.sent(Sent::Close, Reply::AsParse);
    exchange.sent(Sent::Sync, Reply::Forward);
    assert_eq!(exchange.received(b'1', 0), Ok(Verdict::Drop));
    assert_eq!(exchange.received(b'3', 0), Ok(Verdict::AsParse));
    assert_eq!(exchange.received(b'Z', b'T'), Ok(Verdict::Forward));
    assert!(exchange.is_quiet() && !exchange.is_done());
}

#[test]
fn a_statement_behind_an_error_is_unmade() {
    let id = crate::server::Prepared::new(b"x", 0, 0).id;
    let mut exchange = after("B");
    exchange.sent(Sent::Parse(Some(id)), Reply::Forward);
    receive(&mut exchange, "E");
    assert_eq!(exchange.unmade().collect::<Vec<_>>(), [id]);
}

#[test]
fn what_answers_nothing_is_doubted() {
    assert_eq!(Exchange::default().received(b'Z', b'I'), Err(Doubt));
    assert_eq!(Exchange::default().received(b'C', 0), Err(Doubt));
    assert_eq!(after("P").received(b'2', 0), Err(Doubt));
    assert_eq!(after("PS").received(b'Z', b'I'), Err(Doubt));
    assert_eq!(after("Q").received(b'Z', b'X'), Err(Doubt));
    assert_eq!(after("Q").received(b'R', 0), Err(Doubt));
}

#[test]
fn flush_without_sync_is_not_the_end() {
    let mut x = after("PBE");
    receive(&mut x, "12C");
    assert!(!x.is_done(), "an implicit transaction is open until Sync");
}
#[test]
fn stray_copy_end_is_not_owed() {
    let mut x = after("Qc");
    receive(&mut x, "TDCZ");
    assert!(x.is_done());
}
#[test]
fn copy_end_between_error_and_ready() {
    let mut x = after("Q");
    receive(&mut x, "GE");
    send(&mut x, "c");
    receive(&mut x, "Z");
    assert!(x.is_done());
}
#[test]
fn copy_refused_after_its_start_answers_the_sync_ahead() {
    let mut x = after("BES");
    receive(&mut x, "2GEZ");
}
#[test]
fn sync_in_copy_answered_when_copy_failed_first() {
    let mut x = after("BE");
    receive(&mut x, "2G");
    send(&mut x, "S");
    receive(&mut x, "EZ");
}
#[test]
fn a_sync_behind_a_simple_copy_leaves_nothing_open() {
    let mut x = after("QS");
    receive(&mut x, "G");
    send(&mut x, "c");
    receive(&mut x, "CZ");
    assert!(x.is_done() && x.is_certain());
}

#[test]
fn a_server_that_waits_for_the_client_is_known() {
    let mut x = after("Q");
    receive(&mut x, "G");
    assert!(!x.will_be_quiet(false), "COPY data");
    let mut x = after("P");
    assert!(!x.will_be_quiet(false), "a Sync");
    receive(&mut x, "E");
    assert!(!x.will_be_quiet(false), "a Sync");
    assert!(after("PBES").will_be_quiet(false));
}

#[test]
fn one_copy_end_ends_one_copy() {
    let mut x = after("Qc");
    receive(&mut x, "GCG");
    assert!(!x.will_be_quiet(false), "the second copy waits for data");
    send(&mut x, "c");
    receive(&mut x, "CZ");
    assert!(x.is_done() && x.is_certain());
    let mut x = after("Qcc");
    receive(&mut x, "GCG");
    assert!(x.will_be_quiet(false), "both ends are on their way");
    receive(&mut x, "CZ");
    assert!(x.is_done() && x.is_certain());
}
#[test]
fn a_sync_read_in_a_copy_does_not_end_the_next_one() {
    let mut x = after("QSc");
    receive(&mut x, "GCG");
    assert!(!x.will_be_quiet(false));
    send(&mut x, "c");
    receive(&mut x, "CZ");
    assert!(x.is_done());
}
#[test]
fn a_server_that_refuses_what_nobody_asked_is_not_given_to_others() {
    let mut x = after("Q");
    receive(&mut x, "CZ");
    assert!(x.is_certain());
    receive(&mut x, "E");
    assert!(!x.is_certain(), "it may be skipping to a Sync");
    x.reset();
    assert!(x.is_certain());
}

/// What an unnamed statement was before, by its length.
fn unnamed(bytes: u8) -> Undo {
    let mut statements = crate::session::statements::ClientStatements::default();
    drop(statements.remember_unnamed(&vec![0; usize::from(bytes)], None));
    Undo::Unnamed(statements.forget_unnamed())
}

#[test]
fn what_stands_behind_what_may_fail_is_in_doubt_for_later_groups() {
    let mut x = Exchange::default();
    x.sent_undoable(Sent::Parse(None), Reply::Forward, unnamed(1));
    send(&mut x, "S");
    assert!(!x.doubts_unnamed(), "nothing throws it away");
    send(&mut x, "B");
    x.sent_undoable(Sent::Parse(None), Reply::Forward, unnamed(2));
    assert!(!x.doubts_unnamed(), "the same group shares its fate");
    send(&mut x, "S");
    assert!(x.doubts_unnamed());
    receive(&mut x, "1Z2");
    assert!(x.doubts_unnamed());
    x.sent_undoable(Sent::Parse(None), Reply::Forward, unnamed(3));
    assert!(!x.doubts_unnamed(), "nothing throws away the head of a group");
    receive(&mut x, "1");
    assert!(!x.doubts_unnamed());
}

#[test]
fn what_an_unnamed_statement_was_is_handed_on_to_the_next() {
    let mut x = after("B");
    x.sent_undoable(Sent::Parse(None), Reply::Forward, unnamed(1));
    x.sent_undoable(Sent::Close, Reply::Forward, unnamed(2));
    send(&mut x, "SB");
    x.sent_undoable(Sent::Parse(None), Reply::Forward, unnamed(0));
    assert_eq!(x.undo_bytes(), 3);
    receive(&mut x, "EZ");
    assert_eq!((x.undone().count(), x.undo_bytes()), (0, 1), "the third stands");
    receive(&mut x, "E");
    let before: Vec<_> = x.undone().map(|undo| undo.bytes()).collect();
    assert_eq!((before, x.undo_bytes()), (vec![1], 0));
}

use super::*;

fn entry(roster: &Arc<Roster>, known: Known, secret: u8) -> Entry {
    let tenant = TenantId::parse("a").expect("valid");
    let identity = Identity::unproven(&tenant, Role::App);
    roster.enter((identity, Role::App, 0), None, known, vec![secret; 32].into(), Arc::default())
}

#[test]
fn a_key_finds_its_own_session_only() {
    let roster = Arc::new(Roster::default());
    let (a, b) = (entry(&roster, Known::As(7), 1), entry(&roster, Known::As(7), 2));
    assert!(Arc::ptr_eq(&roster.find(7, &[2; 32]).expect("there"), b.card()));
    assert!(roster.find(7, &[3; 32]).is_none());
    assert!(roster.find(7, &[1; 4]).is_none());
    assert!(roster.find(8, &[1; 32]).is_none());
    drop(a);
    assert!(roster.find(7, &[1; 32]).is_none());
    assert_eq!(roster.len(), 1);
}

#[test]
fn the_first_reason_stands() {
    let roster = Arc::new(Roster::default());
    let entry = entry(&roster, Known::Otherwise, 1);
    assert_eq!(roster.cut(Cut::Revoked, |_| true), 1);
    roster.cut(Cut::Drain, |_| true);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(entry.card().poll_cut(&mut cx, false), Poll::Ready(Cut::Revoked));
}

#[test]
fn what_may_pass_gives_way_to_what_does_not() {
    let roster = Arc::new(Roster::default());
    let entry = entry(&roster, Known::Otherwise, 1);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let idle = Cut::Overdue(Timeout::ClientIdle);
    entry.card().cut(idle);
    entry.card().pardon(idle);
    assert_eq!(entry.card().poll_cut(&mut cx, false), Poll::Pending);
    entry.card().cut(idle);
    entry.card().cut(Cut::Drain);
    entry.card().pardon(idle);
    entry.card().cut(idle);
    assert_eq!(entry.card().poll_cut(&mut cx, false), Poll::Ready(Cut::Drain));
}

/// A transaction outlasts its token, but neither its revocation nor the tenant's timeouts.
#[test]
fn an_expiry_that_is_outlasted_hides_nothing() {
    let roster = Arc::new(Roster::default());
    let entry = entry(&roster, Known::Otherwise, 1);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    entry.card().cut(Cut::Expired);
    assert_eq!(entry.card().poll_cut(&mut cx, true), Poll::Pending, "it is waited for");
    assert_eq!(entry.card().poll_cut(&mut cx, false), Poll::Ready(Cut::Expired));
    entry.card().cut(Cut::Revoked);
    entry.card().cut(Cut::Expired);
    assert_eq!(entry.card().poll_cut(&mut cx, false), Poll::Ready(Cut::Revoked));
}

#[test]
fn a_flood_of_cancels_is_cut_short() {
    let roster = Arc::new(Roster::default());
    let entry = entry(&roster, Known::Otherwise, 1);
    let let_through = (0..1_000).filter(|_| entry.card().may_cancel()).count();
    assert!((20..40).contains(&let_through), "{let_through}");
}

#[test]
fn a_session_without_a_server_cannot_be_cancelled() {
    let roster = Arc::new(Roster::default());
    assert!(entry(&roster, Known::Otherwise, 1).card().begin_cancel().is_none());
}

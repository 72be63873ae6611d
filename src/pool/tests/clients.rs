//! Sessions that come again, and what must hold of the servers they find.

use std::collections::HashMap;
use std::time::Instant;

use super::fake::{Dice, Fake};
use crate::pool::ledger::HOLD;
use crate::pool::{Asker, Class, Lease};

/// A session of a tenant, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) tenant: usize,
    pub(super) number: usize,
}

impl Client {
    /// Two logins, three flavours.
    pub(super) fn class(self) -> Class {
        Class::new(self.number % 2).flavoured(self.number / 2 % 3)
    }
}

const SESSIONS: usize = 24;

struct One {
    asker: Asker,
    is_busy: bool,
    /// The server it had last.
    last: Option<u32>,
}

/// All sessions, and who had which server last.
pub(super) struct Clients {
    all: Vec<Vec<One>>,
    /// By server: the session that had it last.
    users: HashMap<u32, Client>,
    /// By server: for whom it is held, and until when.
    held: HashMap<u32, (Client, Instant)>,
    pub(super) found: u64,
}

impl Clients {
    pub(super) fn new(tenants: usize) -> Self {
        let one = || One { asker: Asker::new(), is_busy: false, last: None };
        let all = (0..tenants).map(|_| (0..SESSIONS).map(|_| one()).collect()).collect();
        Self { all, users: HashMap::new(), held: HashMap::new(), found: 0 }
    }

    fn one(&mut self, client: Client) -> &mut One {
        &mut self.all[client.tenant][client.number]
    }

    /// A session of `tenant` that asks for nothing yet, now busy.
    pub(super) fn idle(&mut self, tenant: usize, dice: &mut Dice) -> Option<Client> {
        let client = Client { tenant, number: dice.below(SESSIONS) };
        let one = self.one(client);
        (!std::mem::replace(&mut one.is_busy, true)).then_some(client)
    }

    /// It asks, one time in four for what only its last server knows.
    pub(super) fn asks(&mut self, client: Client, dice: &mut Dice) -> Asker {
        let returns = dice.below(4) == 0;
        let one = self.one(client);
        one.asker.set_returns(returns);
        let (asker, last) = (one.asker, one.last);
        if !returns && let Some(last) = last {
            self.held.retain(|server, (of, _)| *server != last || *of != client);
        }
        asker
    }

    /// It got a server.
    pub(super) fn lent(&mut self, lease: &Lease<Fake>, client: Client, now: Instant) {
        let server = lease.id;
        assert!(client.class().takes(lease.class), "{:?} for {client:?}", lease.class);
        if let Some((of, until)) = self.held.remove(&server) {
            assert!(of == client || until <= now, "{server} is held for {of:?}: {client:?}");
        }
        let user = self.users.insert(server, client);
        let last = self.one(client).last.replace(server);
        if lease.is_return() {
            assert_eq!((user, last), (Some(client), Some(server)), "not its own");
            self.found += 1;
        }
    }

    /// It gives one back.
    pub(super) fn returns(&mut self, lease: Lease<Fake>, client: Client, hold: bool, now: Instant) {
        let server = lease.id;
        let one = self.one(client);
        lease.finish_for_at(&mut one.asker, hold, now);
        if one.asker.is_held() {
            self.held.insert(server, (client, now + HOLD));
        }
    }

    /// It has nothing any more.
    pub(super) fn done(&mut self, client: Client) {
        self.one(client).is_busy = false;
    }

    /// It leaves, and another comes in its place.
    pub(super) fn leaves(&mut self, client: Client) -> Asker {
        let one = self.one(client);
        let gone = std::mem::take(&mut one.asker);
        one.last = None;
        self.held.retain(|_, (of, _)| *of != client);
        self.users.retain(|_, of| *of != client);
        gone
    }
}

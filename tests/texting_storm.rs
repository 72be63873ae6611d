//! Every message that was acknowledged is in exactly one tenant's database, exactly once, though
//! PostgreSQL and pgusher die meanwhile.
//!
//! A few hundred webhooks by default; the whole storm by `PGUSHER_TEST_WEBHOOKS=10000`
//! `PGUSHER_TEST_TENANTS=100` `PGUSHER_TEST_DEATHS=2`.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use world::postmaster::Postmaster;
use world::telnyx::{inbound, try_bring};
use world::tools::{env_or, run};
use world::{Plan, World, report};

/// How many bring webhooks at once, as the provider's own workers do.
const SENDERS: usize = 50;

/// What an attempt may take: beyond it the provider gives up.
const PATIENCE: Duration = Duration::from_secs(2);

struct Letter {
    tenant: usize,
    text: String,
    body: String,
}

/// The provider: an order of deliveries, and what it was told of each.
struct Provider {
    letters: Vec<Letter>,
    /// Deliveries, 30 % of them again, shuffled.
    order: Vec<usize>,
    next: AtomicUsize,
    acknowledged: Vec<AtomicUsize>,
    attempts: AtomicUsize,
    refused: AtomicUsize,
    silent: AtomicUsize,
    late: AtomicUsize,
    slowest: Mutex<Duration>,
    http: RwLock<SocketAddr>,
}

/// xorshift: the same seed, the same storm.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
    }
}

fn phone(tenant: usize) -> String {
    format!("+1555{tenant:07}")
}

impl Provider {
    fn new(webhooks: usize, tenants: usize, seed: u64, http: SocketAddr) -> Self {
        let mut dice = Dice(seed | 1);
        let messages = webhooks * 7 / 10;
        let letters: Vec<_> = (0..messages)
            .map(|n| {
                let tenant = dice.below(tenants);
                let from = format!("+1666{:07}", dice.below(SENDERS));
                let text = format!("letter {n}.");
                let body = inbound(&from, &[&phone(tenant)], &text).to_string();
                Letter { tenant, text, body }
            })
            .collect();
        let mut order: Vec<usize> = (0..messages).collect();
        order.extend((messages..webhooks).map(|_| dice.below(messages)));
        for i in (1..order.len()).rev() {
            order.swap(i, dice.below(i + 1));
        }
        let acknowledged = (0..messages).map(|_| AtomicUsize::new(0)).collect();
        Self {
            letters,
            order,
            next: AtomicUsize::new(0),
            acknowledged,
            attempts: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            slowest: Mutex::default(),
            http: RwLock::new(http),
        }
    }

    /// One worker: takes the next delivery, brings it until it is acknowledged.
    fn work(&self, deadline: Instant) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&letter) = self.order.get(at) else { return };
            while !self.bring(letter) {
                assert!(Instant::now() < deadline, "the storm does not end");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn bring(&self, letter: usize) -> bool {
        let http = *self.http.read().unwrap();
        let begun = Instant::now();
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let answer = try_bring(http, &self.letters[letter].body);
        let took = begun.elapsed();
        match answer {
            // Too late: the provider has hung up, and brings it again.
            Ok(answer) if answer.status == 200 && took > PATIENCE => {
                self.late.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            Ok(answer) if answer.status == 200 => {
                let told = |key: &str| answer.json[key].as_u64().unwrap();
                assert_eq!(told("stored") + told("duplicate"), 1, "{:?}", answer.json);
                self.acknowledged[letter].fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                self.refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            // Nobody there, or killed while it answered: nothing was promised.
            Err(_) => {
                self.silent.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = (*slowest).max(took);
        true
    }

    /// Waits until so many deliveries were begun.
    fn reached(&self, share: f64) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a few thousand"
        )]
        let wanted = (self.order.len() as f64 * share) as usize;
        while self.next.load(Ordering::Relaxed) < wanted {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn every_acknowledged_message_is_in_one_database_once() {
    let webhooks = usize::try_from(env_or("PGUSHER_TEST_WEBHOOKS", 600)).unwrap();
    let tenants = usize::try_from(env_or("PGUSHER_TEST_TENANTS", 6)).unwrap();
    let deaths = u32::try_from(env_or("PGUSHER_TEST_DEATHS", 1)).unwrap();
    let seed = env_or("PGUSHER_TEST_SEED", u64::from(std::process::id()));
    report(&format!("seed {seed}: {webhooks} webhooks to {tenants} tenants, {deaths} deaths each"));
    let plan = Plan::tenants(tenants).telnyx().set("passwords.memory_kib", "64");
    let mut world = World::start(plan);
    for (n, tenant) in world.tenants.iter().enumerate() {
        let path = format!("/tenants/{}/phone-numbers/{}", tenant.id, phone(n));
        assert_eq!(world::http::call(world.ops, "PUT", &path, &[], "{}").status, 204);
    }
    let provider = Provider::new(webhooks, tenants, seed, world.http);
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(900);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| provider.work(deadline));
        }
        for death in 0..deaths {
            let at = |part: f64| (f64::from(death) + part) / f64::from(deaths) * 0.9;
            provider.reached(at(0.3));
            let postmaster = Postmaster::of(&world);
            postmaster.kill();
            postmaster.revive(&world);
            report(&format!("PostgreSQL died and is back at {:?}", begun.elapsed()));
            provider.reached(at(0.7));
            run(Command::new("kill").args(["-KILL", &world.pid().to_string()]));
            world.restart();
            *provider.http.write().unwrap() = world.http;
            report(&format!("pgusher died and is back at {:?}", begun.elapsed()));
        }
    });
    let took = begun.elapsed();
    judge(&world, &provider);
    let count = |n: &AtomicUsize| n.load(Ordering::Relaxed);
    report(&format!(
        "in {took:?}: {} attempts, {} told to come again, {} unanswered, {} too late; \
         slowest acknowledgement {:?}",
        count(&provider.attempts),
        count(&provider.refused),
        count(&provider.silent),
        count(&provider.late),
        provider.slowest.lock().unwrap()
    ));
    world.assert_no_panic();
}

/// Every letter is where it belongs, once, and nowhere else.
fn judge(world: &World, provider: &Provider) {
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    let (mut members, mut conversations, mut dead) = (0_usize, 0_usize, 0_usize);
    for (n, tenant) in world.tenants.iter().enumerate() {
        let mut inside = world.superuser(&tenant.database());
        for row in inside.query(r#"SELECT "content" FROM "ConversationMessage""#).unwrap() {
            let text = row[0].clone().unwrap();
            // The samples' own row is not a letter.
            if text.starts_with("letter ") {
                found.entry(text).or_default().push(n);
            }
        }
        let mut count = |sql: &str| inside.one(sql).unwrap().parse::<usize>().unwrap();
        let written = r#"FROM "Member" WHERE "phone" LIKE '+1666%'"#;
        let here = count(&format!("SELECT count(*) {written}"));
        assert_eq!(here, count(&format!(r#"SELECT count(DISTINCT "phone") {written}"#)));
        members += here;
        conversations += count(
            r#"SELECT count(*) FROM "Conversation" c JOIN "Member" m
            ON m."id" = c."memberId" WHERE m."phone" LIKE '+1666%'"#,
        );
        dead += count(r#"SELECT count(*) FROM "DeadLetterQueue""#);
    }
    let mut acknowledged = 0;
    let mut seen = HashSet::new();
    for (n, letter) in provider.letters.iter().enumerate() {
        let times = provider.acknowledged[n].load(Ordering::Relaxed);
        assert!(times > 0, "{} was never acknowledged", letter.text);
        acknowledged += times;
        assert_eq!(found.get(&letter.text), Some(&vec![letter.tenant]), "{}", letter.text);
        seen.insert(&letter.text);
    }
    assert_eq!(found.len(), seen.len(), "letters nobody sent");
    assert_eq!((members, dead), (conversations, 0));
    report(&format!(
        "{} webhooks acknowledged: {} messages, each in one database once, none in another's; \
         {} duplicates; {members} members, {conversations} conversations, {dead} dead letters",
        acknowledged,
        seen.len(),
        acknowledged - seen.len()
    ));
}

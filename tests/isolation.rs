//! x
#![allow(clippy::unwrap_used)]
mod world;
use world::World;
#[test]
fn starts() {
    let w = World::shared();
    assert_eq!(w.session(0).one("select 1").unwrap(), "1");
}

//! A million generated requests against promises 1 and 2 of the design: no identity stores guarded content that is not at
//! the head, and what is not known is refused. `oracle.rs` says in its own words what may pass; it looks at how a request
//! was made up, and calls nothing of the product.

#![expect(clippy::indexing_slicing, reason = "small tables, made in this file")]
#![expect(clippy::unwrap_used, reason = "fixtures")]
#![expect(clippy::struct_excessive_bools, reason = "an alphabet of what is or is not")]

mod oracle;
mod requests;
mod worlds;

use std::collections::{BTreeMap, HashSet};

use headgate::gate::{Basis, GrantSet, Reason, decide};

use oracle::permission;
use requests::Requests;
use worlds::Worlds;

/// Requests in all, on two threads.
const REQUESTS: usize = 1_000_000;
/// Requests that meet each generated cluster.
const EACH: usize = 25;

/// How often each allowance and each refusal came up.
type Tally = BTreeMap<String, usize>;

#[test]
fn only_what_is_at_the_head_or_on_the_closed_list_passes() {
    let run = |seed| move || judge(seed, REQUESTS / 2);
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(run(1)), scope.spawn(run(2)));
        (one.join(), two.join())
    });
    let mut tally = one.unwrap();
    for (name, count) in two.unwrap() {
        *tally.entry(name).or_default() += count;
    }
    // Nothing was left out: a rule that no request meets would not be tested.
    for name in oracle::Permission::ALL.map(|permission| format!("{permission:?}")) {
        assert!(
            tally.get(&name).is_some_and(|count| *count >= 100),
            "{name} is too rare: {tally:?}"
        );
    }
    // Neither reviews that cannot be read nor deletions of namespaces are generated.
    let never = [Reason::Unreadable, Reason::Internal, Reason::NamespaceDeclared];
    for reason in Reason::ALL
        .iter()
        .filter(|reason| !reason.allows() && !never.contains(reason))
    {
        let count = tally.get(reason.as_str()).copied().unwrap_or_default();
        assert!(count >= 100, "{} is too rare: {tally:?}", reason.as_str());
    }
}

fn judge(seed: u64, requests: usize) -> Tally {
    let (mut random, mut tally) = (fastrand::Rng::with_seed(seed), Tally::new());
    let (mut table, worlds) = (Requests::new(), Worlds::new());
    let grants = GrantSet::default();
    for _ in 0..requests / EACH {
        let world = worlds.draw(&mut random);
        let terminating: HashSet<String> = world.terminating.iter().map(|name| (*name).to_owned()).collect();
        for _ in 0..EACH {
            let (request, subject) = table.draw(&mut random);
            let verdict = decide(
                subject,
                Basis {
                    desired: &world.desired,
                    rules: &world.rules,
                    grants: &grants,
                    terminating: &terminating,
                    now: worlds::now(),
                },
            );
            let permission = permission(&request, &world);
            assert_eq!(
                verdict.allowed,
                permission.is_some(),
                "seed {seed}: decided {:?}, permitted by {permission:?}\n{request:#?}\n{:#?}\n{:#?}",
                verdict.reason,
                world.sources,
                world.terminating,
            );
            let name = permission.map_or_else(|| verdict.reason.as_str().to_owned(), |found| format!("{found:?}"));
            *tally.entry(name).or_default() += 1;
        }
    }
    tally
}

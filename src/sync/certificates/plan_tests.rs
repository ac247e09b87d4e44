use super::*;

const SETTLE: Duration = Duration::from_secs(30);
const OLD: Fingerprint = [1; 32];
const NEW: Fingerprint = [2; 32];

/// A day of the tests' calendar.
fn day(number: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * number)
}

fn leaf(authority: Fingerprint, from: i64) -> Leaf {
    Leaf {
        authority,
        from: day(from),
        until: day(from + 90),
        fits: true,
    }
}

fn trusted(authorities: &[(Fingerprint, i64)]) -> Vec<Trusted> {
    let one = |(fingerprint, from): &(Fingerprint, i64)| Trusted {
        fingerprint: *fingerprint,
        until: day(from + 90),
    };
    authorities.iter().map(one).collect()
}

fn sight(now: i64, state: State) -> Sight {
    Sight {
        now: day(now),
        state,
        configured: Some(SETTLE),
        replicas: Replicas::Current,
    }
}

/// Made on day 0, and the only one.
fn resting() -> State {
    State {
        trusted: trusted(&[(OLD, 0)]),
        serving: Some(leaf(OLD, 0)),
        ..State::default()
    }
}

/// Renewed on day 60: the next one is prepared.
fn prepared() -> State {
    State {
        trusted: trusted(&[(OLD, 0), (NEW, 60)]),
        serving: Some(leaf(OLD, 0)),
        next: Some(leaf(NEW, 60)),
        asked: false,
    }
}

/// The next one is served, and the old authority still trusted.
fn served() -> State {
    State {
        trusted: trusted(&[(OLD, 0), (NEW, 60)]),
        serving: Some(leaf(NEW, 60)),
        ..State::default()
    }
}

#[test]
fn an_empty_secret_gets_a_certificate() {
    assert_eq!(plan(&sight(0, State::default()), SETTLE), Step::Begin);
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    assert_eq!(plan(&sight(59, resting()), SETTLE), Step::Wait(Wait::Renewal(day(60))));
    assert_eq!(plan(&sight(60, resting()), SETTLE), Step::Prepare);
}

#[test]
fn a_certificate_is_renewed_when_somebody_asks_and_no_rotation_is_under_way() {
    let asked = |state: State| State { asked: true, ..state };
    assert_eq!(plan(&sight(1, asked(resting())), SETTLE), Step::Prepare);
    assert_eq!(plan(&sight(61, asked(prepared())), SETTLE), Step::Serve);
    assert_eq!(plan(&sight(61, asked(served())), SETTLE), Step::Retire(vec![OLD]));
}

#[test]
fn a_certificate_that_lacks_a_name_is_replaced_at_once() {
    let mut state = served();
    state.serving = state.serving.map(|leaf| Leaf { fits: false, ..leaf });
    assert_eq!(plan(&sight(61, state), SETTLE), Step::Prepare);
}

#[test]
fn the_next_certificate_is_served_only_when_api_servers_had_time_to_trust_it() {
    for configured in [None, Some(Duration::ZERO), SETTLE.checked_sub(Duration::from_millis(1))] {
        let sight = Sight {
            configured,
            ..sight(60, prepared())
        };
        assert_eq!(plan(&sight, SETTLE), Step::Wait(Wait::Trust), "{configured:?}");
    }
    assert_eq!(plan(&sight(60, prepared()), SETTLE), Step::Serve);
}

#[test]
fn the_old_authority_is_trusted_until_every_replica_serves_the_new_certificate() {
    for replicas in [Replicas::Unknown, Replicas::Behind] {
        let sight = Sight {
            replicas,
            ..sight(61, served())
        };
        assert_eq!(plan(&sight, SETTLE), Step::Wait(Wait::Replicas), "{replicas:?}");
    }
    assert_eq!(plan(&sight(61, served()), SETTLE), Step::Retire(vec![OLD]));
}

#[test]
fn an_authority_that_has_ended_goes_whatever_replicas_serve() {
    let behind = Sight {
        replicas: Replicas::Behind,
        ..sight(90, served())
    };
    assert_eq!(plan(&behind, SETTLE), Step::Retire(vec![OLD]));
}

#[test]
fn a_cluster_that_was_off_for_long_starts_anew_whatever_was_left_off() {
    for state in [resting(), prepared(), served()] {
        let behind = Sight {
            configured: None,
            replicas: Replicas::Unknown,
            ..sight(1000, state)
        };
        assert_eq!(plan(&behind, SETTLE), Step::Begin);
    }
}

#[test]
fn what_was_prepared_is_served_at_once_when_the_old_one_has_ended_meanwhile() {
    // The loop was away from day 60 to day 95: API servers refuse what is served, and cannot refuse more.
    let away = Sight {
        configured: None,
        ..sight(95, prepared())
    };
    assert_eq!(plan(&away, SETTLE), Step::Serve);
}

#[test]
fn what_was_prepared_long_ago_is_prepared_again() {
    let mut state = prepared();
    state.serving = Some(leaf(OLD, 50));
    state.trusted = trusted(&[(OLD, 50), (NEW, 0)]);
    state.next = Some(leaf(NEW, 0));
    assert_eq!(plan(&sight(70, state), SETTLE), Step::Prepare);
}

#[test]
fn what_replicas_serve_from_elsewhere_stays_trusted_while_the_first_certificate_comes() {
    // As after another mode, or after the Secret was deleted: nothing is stored, but something is served.
    let adopting = State {
        serving: None,
        ..prepared()
    };
    let unsettled = Sight {
        configured: None,
        ..sight(60, adopting.clone())
    };
    assert_eq!(plan(&unsettled, SETTLE), Step::Wait(Wait::Trust));
    assert_eq!(plan(&sight(60, adopting), SETTLE), Step::Serve);
}

#[test]
fn a_certificate_from_the_future_is_not_served() {
    let clock_was_ahead = State {
        trusted: trusted(&[(OLD, 10)]),
        serving: Some(leaf(OLD, 10)),
        ..State::default()
    };
    assert_eq!(plan(&sight(0, clock_was_ahead), SETTLE), Step::Begin);
}

/// Whatever happens in between, and wherever the process is when it dies: at no moment is something served that API
/// servers do not trust yet, and nothing is trusted no more while a replica serves it.
#[test]
fn no_interleaving_of_a_rotation_serves_what_is_not_trusted() {
    // The world: what is stored, what API servers have taken up, what each of two replicas serves.
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct World {
        state: State,
        configured: bool,
        taken_up: Vec<Fingerprint>,
        replicas: [Fingerprint; 2],
    }
    let fingerprints = |state: &State| state.trusted.iter().map(|one| one.fingerprint).collect::<Vec<_>>();
    let begin = World {
        state: resting(),
        configured: true,
        taken_up: vec![OLD],
        replicas: [OLD; 2],
    };
    let mut seen = vec![begin.clone()];
    let mut open = vec![begin];
    let mut ended = false;
    while let Some(world) = open.pop() {
        assert!(
            world.replicas.iter().all(|served| world.taken_up.contains(served)),
            "{world:?}"
        );
        let mut reachable = Vec::new();
        // The loop takes a step. What it saw of API servers is right: they had their time, or it has not seen it.
        let has_taken_up = world.configured && world.taken_up == fingerprints(&world.state);
        let current = |leaf: &Leaf| world.replicas.iter().all(|served| *served == leaf.authority);
        for configured in [None, has_taken_up.then_some(SETTLE)] {
            let sight = Sight {
                now: day(60),
                state: world.state.clone(),
                configured,
                replicas: match &world.state.serving {
                    Some(leaf) if current(leaf) => Replicas::Current,
                    _ => Replicas::Behind,
                },
            };
            let mut after = world.clone();
            after.state = match plan(&sight, SETTLE) {
                Step::Prepare => prepared(),
                Step::Serve => served(),
                Step::Retire(gone) => {
                    let mut state = world.state.clone();
                    state.trusted.retain(|one| !gone.contains(&one.fingerprint));
                    state
                }
                Step::Wait(wait) => {
                    ended |= matches!(wait, Wait::Renewal(at) if at == day(120));
                    world.state.clone()
                }
                Step::Begin => unreachable!("{world:?}"),
            };
            after.configured &= after.state.trusted == world.state.trusted;
            reachable.push(after);
        }
        // The configuration follows the Secret, API servers the configuration, and each replica the Secret.
        reachable.push(World {
            configured: true,
            ..world.clone()
        });
        if world.configured {
            reachable.push(World {
                taken_up: fingerprints(&world.state),
                ..world.clone()
            });
        }
        for replica in 0..2 {
            let mut after = world.clone();
            if let (Some(leaf), Some(served)) = (&world.state.serving, after.replicas.get_mut(replica)) {
                *served = leaf.authority;
            }
            reachable.push(after);
        }
        for world in reachable {
            if !seen.contains(&world) {
                seen.push(world.clone());
                open.push(world);
            }
        }
    }
    assert!(ended, "the rotation never ends");
    assert!(seen.len() >= 9, "{}", seen.len());
}

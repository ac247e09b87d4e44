mod world;

use std::collections::HashSet;

use serde_json::json;

use super::*;
use crate::policy::Placement;
use crate::sync::live::Content;
use world::{ADOPTED, BEFORE, SINCE, WEB, World, digest};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn delete_of(place: &str, reason: DeleteReason) -> Result<Step, crate::policy::key::KeyError> {
    Ok(Step::Delete {
        place: place.parse()?,
        uid: "uid".into(),
        resource_version: "7".into(),
        reason,
    })
}

#[test]
fn what_is_missing_is_created_and_what_is_as_declared_is_left() -> Outcome {
    let world = World::new().source("s", &json!({}), &[(WEB, "1")])?;
    assert_eq!(world.judge(WEB)?.steps, vec![Step::Create]);
    let world = world.holds(WEB, "1", BEFORE)?;
    assert_eq!(world.standing(WEB)?, (Standing::InSync, 0));
    Ok(())
}

#[test]
fn what_differs_is_replaced() -> Outcome {
    let world = World::new()
        .source("s", &json!({}), &[(WEB, "1")])?
        .holds(WEB, "2", BEFORE)?;
    let finding = world.judge(WEB)?;
    assert_eq!(finding.standing, Standing::Changed);
    assert_eq!(finding.live, Some(digest("2")?));
    assert_eq!(
        finding.declaration.map(|declaration| declaration.entry.digest),
        Some(digest("1")?)
    );
    let through = Through::Written;
    assert_eq!(
        finding.steps,
        vec![Step::Replace {
            place: WEB.parse()?,
            through
        }]
    );
    Ok(())
}

#[test]
fn an_object_hidden_by_a_forged_annotation_is_replaced_where_it_is_stored() -> Outcome {
    let key = "networkset.projectcalico.org/payments/hosts";
    let hide = |object: &mut LiveObject| {
        if let Content::Readable { placement, .. } = &mut object.content {
            *placement = Placement::UnreadableMetadata;
        }
    };
    let world = World::new()
        .source("s", &json!({}), &[(key, "1")])?
        .holds_at(key, key, "1", BEFORE, hide)?;
    let through = Through::Stored;
    assert_eq!(
        world.judge(key)?.steps,
        vec![Step::Replace {
            place: key.parse()?,
            through
        }]
    );
    Ok(())
}

#[test]
fn a_declared_object_that_cannot_be_read_is_replaced_and_an_undeclared_one_is_left() -> Outcome {
    let garble = |object: &mut LiveObject| object.content = Content::Unreadable("odd".into());
    let world = World::new().source("s", &json!({"sync": {"prune": "All"}}), &[(WEB, "1")])?;
    let world = world.holds_at(WEB, WEB, "", SINCE, garble)?;
    assert_eq!(world.standing(WEB)?, (Standing::Changed, 1));
    let other = "networkpolicy.networking.k8s.io/payments/other";
    let world = world.holds_at(other, other, "", SINCE, garble)?;
    assert_eq!(world.standing(other)?, (Standing::Unreadable, 0));
    Ok(())
}

#[test]
fn nothing_is_concluded_before_a_kind_is_listed_completely() -> Outcome {
    let mut world = World::new().source("s", &json!({"sync": {"prune": "All"}}), &[(WEB, "1")])?;
    let key: Key = WEB.parse()?;
    world.live.forget(key.kind());
    assert_eq!(world.standing(WEB)?, (Standing::KindNotServed, 0));
    world.live.serve(key.kind());
    assert_eq!(world.standing(WEB)?, (Standing::NotListed, 0));
    let other = "networkpolicy.networking.k8s.io/payments/other";
    let world = world.holds(other, "1", SINCE)?;
    assert_eq!(world.standing(other)?.1, 0);
    Ok(())
}

#[test]
fn an_object_waits_for_its_namespace() -> Outcome {
    let missing = "networkpolicy.networking.k8s.io/nowhere/a";
    let going = "networkpolicy.networking.k8s.io/going/a";
    let world = World::new().source("s", &json!({}), &[(missing, "1"), (going, "1")])?;
    assert_eq!(world.standing(missing)?, (Standing::WaitingForNamespace, 0));
    assert_eq!(world.standing(going)?, (Standing::WaitingForNamespace, 0));
    Ok(())
}

#[test]
fn what_is_going_already_is_left_alone_unless_git_declares_it_otherwise() -> Outcome {
    let going = |object: &mut LiveObject| object.terminating = true;
    let declared = || World::new().source("s", &json!({}), &[(WEB, "1")]);
    let world = declared()?.holds_at(WEB, WEB, "1", SINCE, going)?;
    assert_eq!(world.standing(WEB)?, (Standing::Terminating, 0));
    let world = declared()?.holds_at(WEB, WEB, "2", SINCE, going)?;
    assert_eq!(world.standing(WEB)?, (Standing::Changed, 1));
    let undeclared = World::new().source("s", &json!({}), &[])?;
    let world = undeclared.holds_at(WEB, WEB, "2", SINCE, going)?;
    assert_eq!(world.standing(WEB)?, (Standing::Terminating, 0));
    Ok(())
}

#[test]
fn what_nobody_covers_is_nobodys_business() -> Outcome {
    let scope = json!({"scope": {"namespaces": ["other"]}, "sync": {"prune": "All"}});
    let world = World::new().source("s", &scope, &[])?.holds(WEB, "1", SINCE)?;
    assert_eq!(world.standing(WEB)?, (Standing::Settled, 0));
    Ok(())
}

#[test]
fn only_what_is_younger_than_the_adoption_or_was_once_declared_is_pruned() -> Outcome {
    let world = || World::new().source("s", &json!({}), &[]);
    let young = world()?.holds(WEB, "1", SINCE)?.judge(WEB)?;
    assert_eq!(young.steps, vec![delete_of(WEB, DeleteReason::Undeclared)?]);
    assert_eq!(young.standing, Standing::Undeclared);
    assert_eq!(
        world()?.holds(WEB, "1", ADOPTED)?.standing(WEB)?.1,
        1,
        "in the very second"
    );
    let old = world()?.holds(WEB, "1", BEFORE)?;
    assert_eq!(old.standing(WEB)?, (Standing::Unadopted, 0));
    let key: Key = WEB.parse()?;
    let once = old.change("s", |source| source.formerly = Arc::new(HashSet::from([key.clone()])));
    assert_eq!(once.standing(WEB)?, (Standing::Undeclared, 1));
    Ok(())
}

#[test]
fn without_an_adoption_nothing_is_younger_than_it() -> Outcome {
    let world = World::new()
        .source("s", &json!({}), &[])?
        .change("s", |source| source.adopted_at = None);
    assert_eq!(world.holds(WEB, "1", SINCE)?.standing(WEB)?, (Standing::Unadopted, 0));
    Ok(())
}

#[test]
fn the_strictest_prune_of_all_covering_sources_wins() -> Outcome {
    let world = |first: &str, second: &str, created: &str| {
        World::new()
            .source("a", &json!({"sync": {"prune": first}}), &[])?
            .source("b", &json!({"sync": {"prune": second}}), &[])?
            .holds(WEB, "1", created)?
            .judge(WEB)
    };
    assert_eq!(world("All", "All", BEFORE)?.steps.len(), 1);
    assert_eq!(world("All", "SinceAdoption", BEFORE)?.standing, Standing::Unadopted);
    assert_eq!(world("All", "SinceAdoption", SINCE)?.steps.len(), 1);
    let never = world("All", "Never", SINCE)?;
    assert_eq!((never.hold, never.steps.len()), (Some(Hold::PruneNever), 0));
    Ok(())
}

#[test]
fn nothing_is_pruned_while_a_covering_source_has_no_head() -> Outcome {
    let prune = json!({"sync": {"prune": "All"}});
    let world = World::new()
        .source("a", &prune, &[])?
        .source("new", &prune, &[])?
        .change("new", |source| (source.head, source.had_head) = (None, false))
        .holds(WEB, "1", SINCE)?;
    assert_eq!(world.standing(WEB)?, (Standing::HeadUnknown, 0));
    let world = world.change("new", |source| source.had_head = true);
    assert_eq!(world.standing(WEB)?, (Standing::HeadUnknown, 0));
    Ok(())
}

#[test]
fn an_exempt_object_is_never_pruned_but_kept_as_git_says_where_git_declares_it() -> Outcome {
    let exempt = |object: &mut LiveObject| object.exempt_until = Some(Timestamp::MAX);
    let world = World::new().source("s", &json!({"sync": {"prune": "All"}}), &[])?;
    assert_eq!(
        world.holds_at(WEB, WEB, "1", SINCE, exempt)?.standing(WEB)?,
        (Standing::Exempt, 0)
    );
    let world = World::new().source("s", &json!({}), &[(WEB, "1")])?;
    assert_eq!(
        world.holds_at(WEB, WEB, "2", SINCE, exempt)?.standing(WEB)?,
        (Standing::Changed, 1)
    );
    Ok(())
}

#[test]
fn an_exemption_that_has_ended_keeps_nothing_from_being_pruned() -> Outcome {
    let world = World::new().source("s", &json!({"sync": {"prune": "All"}}), &[])?;
    let end = world.now;
    let exempt = |object: &mut LiveObject| object.exempt_until = Some(end);
    let mut world = world.holds_at(WEB, WEB, "1", SINCE, exempt)?;
    assert_eq!(world.standing(WEB)?, (Standing::Undeclared, 1));
    world.now = end - jiff::SignedDuration::from_secs(1);
    assert_eq!(world.standing(WEB)?, (Standing::Exempt, 0));
    Ok(())
}

#[test]
fn calicos_own_tiers_are_never_pruned() -> Outcome {
    let tier = "tier.projectcalico.org/kube-admin";
    let world = World::new().source("s", &json!({"sync": {"prune": "All"}}), &[])?;
    assert_eq!(world.holds(tier, "1", SINCE)?.standing(tier)?, (Standing::Exempt, 0));
    Ok(())
}

#[test]
fn a_conflict_freezes_the_object() -> Outcome {
    let world = World::new()
        .source("a", &json!({}), &[(WEB, "1")])?
        .source("b", &json!({}), &[(WEB, "2")])?
        .holds(WEB, "3", SINCE)?;
    let finding = world.judge(WEB)?;
    assert_eq!((finding.standing, finding.steps.len()), (Standing::Conflict, 0));
    assert_eq!(finding.sources.len(), 2, "both hear of it");
    Ok(())
}

#[test]
fn the_higher_priority_decides() -> Outcome {
    let world = World::new()
        .source("team", &json!({}), &[(WEB, "1")])?
        .source("platform", &json!({"priority": 10}), &[(WEB, "2")])?
        .holds(WEB, "1", SINCE)?;
    let declaration = world.judge(WEB)?.declaration;
    assert_eq!(
        declaration.map(|declaration| declaration.source),
        Some("platform".into())
    );
    Ok(())
}

#[test]
fn audit_suspension_and_gate_only_report_drift_and_write_nothing() -> Outcome {
    for (spec, hold) in [
        (json!({"mode": "Audit"}), Hold::Audit),
        (json!({"suspend": true}), Hold::Suspended),
        (json!({"sync": {"enabled": false}}), Hold::GateOnly),
    ] {
        let world = World::new().source("s", &spec, &[(WEB, "1")])?.holds(WEB, "2", SINCE)?;
        let changed = world.judge(WEB)?;
        assert_eq!((changed.standing, changed.hold), (Standing::Changed, Some(hold)));
        assert!(changed.steps.is_empty());
        let other = "networkpolicy.networking.k8s.io/payments/rogue";
        let rogue = world.holds(other, "1", SINCE)?.judge(other)?;
        assert_eq!((rogue.standing, rogue.hold), (Standing::Undeclared, Some(hold)));
        assert!(rogue.steps.is_empty());
    }
    let spec = json!({"verify": {"mode": "Head", "keysSecretRef": {"name": "k"}, "whenUnverified": "Deny"}});
    let world = World::new().source("s", &spec, &[(WEB, "1")])?;
    let world = world.change("s", |source| source.is_unverified = true);
    assert_eq!(world.judge(WEB)?.hold, Some(Hold::Unverified));
    let mut world = World::new().source("s", &json!({}), &[(WEB, "1")])?;
    world.rules.mode = Mode::Audit;
    assert_eq!(world.judge(WEB)?.hold, Some(Hold::Audit), "the gate as a whole");
    Ok(())
}

#[test]
fn a_misplaced_object_goes_however_old_it_is() -> Outcome {
    let (own, forged) = (
        "networkset.projectcalico.org/payments/hosts",
        "networkset.projectcalico.org/payments/x",
    );
    let leave = |_: &mut LiveObject| {};
    let world = World::new()
        .source("s", &json!({}), &[(own, "1")])?
        .holds(own, "1", BEFORE)?;
    let world = world.holds_at(forged, own, "1", BEFORE, leave)?;
    let finding = world.judge(own)?;
    assert_eq!(finding.standing, Standing::Misplaced);
    assert_eq!(finding.steps, vec![delete_of(forged, DeleteReason::Misplaced)?]);
    let undeclared = World::new()
        .source("s", &json!({}), &[])?
        .holds_at(forged, own, "1", BEFORE, leave)?;
    assert_eq!(undeclared.standing(own)?, (Standing::Misplaced, 1));
    Ok(())
}

#[test]
fn the_right_object_is_written_before_the_misplaced_one_goes() -> Outcome {
    let (own, forged) = (
        "networkset.projectcalico.org/payments/hosts",
        "networkset.projectcalico.org/payments/x",
    );
    let world = World::new().source("s", &json!({}), &[(own, "1")])?;
    let finding = world.holds_at(forged, own, "1", BEFORE, |_| {})?.judge(own)?;
    assert_eq!(
        finding.steps,
        vec![Step::Create, delete_of(forged, DeleteReason::Misplaced)?]
    );
    Ok(())
}

#[test]
fn tiers_come_first_and_go_last_and_everything_is_written_before_anything_goes() -> Outcome {
    let turn = |key: &str, step: &Step| -> Result<u8, crate::policy::key::KeyError> {
        Ok(step.turn(key.parse::<Key>()?.kind()))
    };
    let (tier, set) = ("tier.projectcalico.org/t", "networkset.projectcalico.org/n/s");
    let order = [
        turn(tier, &Step::Create)?,
        turn(set, &Step::Create)?,
        turn(WEB, &Step::Create)?,
        turn(WEB, &delete_of(WEB, DeleteReason::Undeclared)?)?,
        turn(set, &delete_of(set, DeleteReason::Undeclared)?)?,
        turn(tier, &delete_of(tier, DeleteReason::Undeclared)?)?,
    ];
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    Ok(())
}

#[test]
fn a_source_that_goes_takes_its_objects_along_only_where_it_says_so() -> Outcome {
    let spec = |on_removal: &str| json!({"sync": {"onRemoval": on_removal}});
    let world = |on_removal: &str| -> Result<World, Box<dyn std::error::Error>> {
        World::new()
            .source("s", &spec(on_removal), &[(WEB, "1")])?
            .change("s", |source| source.being_removed = true)
            .holds(WEB, "1", BEFORE)
    };
    assert_eq!(world("Release")?.standing(WEB)?, (Standing::Settled, 0));
    let finding = world("Prune")?.judge(WEB)?;
    assert_eq!(finding.steps, vec![delete_of(WEB, DeleteReason::SourceRemoved)?]);
    let shared = world("Prune")?.source("other", &json!({}), &[(WEB, "1")])?;
    assert_eq!(
        shared.standing(WEB)?,
        (Standing::InSync, 0),
        "another source declares it too"
    );
    let audited = world("Prune")?.change("s", |source| {
        let mut settings = (*source.settings).clone();
        settings.mode = Mode::Audit;
        source.settings = Arc::new(settings);
    });
    assert_eq!(audited.standing(WEB)?, (Standing::Leaving, 0));
    Ok(())
}

#[test]
fn a_source_that_goes_waits_for_another_that_may_want_its_objects_and_has_no_head() -> Outcome {
    let world = |spec: &serde_json::Value| -> Result<World, Box<dyn std::error::Error>> {
        let world = World::new()
            .source("goes", spec, &[(WEB, "1")])?
            .source("other", &json!({"priority": 10}), &[])?
            .change("goes", |source| source.being_removed = true);
        Ok(world.change("other", |source| source.head = None))
    };
    let prune = json!({"sync": {"onRemoval": "Prune"}});
    let hears_of = |world: &World| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let finding = world.judge(WEB)?;
        assert_eq!((finding.standing, finding.steps.len()), (Standing::HeadUnknown, 0));
        Ok(finding.sources.iter().map(ToString::to_string).collect())
    };
    let there = world(&prune)?.holds(WEB, "1", BEFORE)?;
    assert_eq!(hears_of(&there)?, ["other", "goes"]);
    assert_eq!(hears_of(&world(&prune)?)?, ["other"], "there is nothing to take along");
    let key: Key = WEB.parse()?;
    let mut unlisted = world(&prune)?;
    unlisted.live.forget(key.kind());
    unlisted.live.serve(key.kind());
    assert_eq!(hears_of(&unlisted)?, ["other", "goes"]);
    let asks_for_nothing = json!({"suspend": true, "sync": {"onRemoval": "Prune"}});
    let suspended = world(&asks_for_nothing)?.holds(WEB, "1", BEFORE)?;
    assert_eq!(hears_of(&suspended)?, ["other"]);
    Ok(())
}

#[test]
fn a_whole_planning_looks_at_what_is_declared_and_at_what_is_there() -> Outcome {
    let rogue = "networkpolicy.networking.k8s.io/payments/rogue";
    let world = World::new()
        .source("s", &json!({}), &[(WEB, "1")])?
        .holds(rogue, "1", SINCE)?;
    let sources = world.sources.iter().cloned().map(Arc::new).collect();
    let (desired, leaving) = part(&DesiredState::new(sources));
    let scene = Scene {
        desired: &desired,
        leaving: &leaving,
        rules: &world.rules,
        grants: &world.grants,
        now: world.now,
        live: &world.live,
        namespaces: &world.namespaces,
    };
    assert_eq!(
        all_keys(&scene).cloned().collect::<HashSet<Key>>(),
        HashSet::from([WEB.parse()?, rogue.parse()?])
    );
    Ok(())
}

fn granting(user: &str, name: &str) -> Result<crate::gate::GrantSet, Box<dyn std::error::Error>> {
    let grant: crate::gate::PolicyGrant = serde_json::from_value(json!({
        "metadata": {"name": "g", "uid": "1", "creationTimestamp": SINCE},
        "spec": {"requestedBy": user, "duration": "30m", "reason": "an outage", "objects": [
            {"kind": "networkpolicy.networking.k8s.io", "namespace": "payments", "name": name}]}
    }))?;
    let max = crate::gate::GrantRules::default().max_duration;
    let grant = crate::gate::Grant::new(&grant, SINCE.parse()?, max)?;
    Ok(crate::gate::GrantSet::new(vec![grant]))
}

#[test]
fn what_a_grant_names_is_neither_created_nor_replaced_nor_pruned_until_it_ends() -> Outcome {
    let missing = World::new().source("s", &json!({}), &[(WEB, "1")])?;
    let changed = World::new()
        .source("s", &json!({}), &[(WEB, "1")])?
        .holds(WEB, "2", BEFORE)?;
    let undeclared = World::new().source("s", &json!({}), &[])?.holds(WEB, "2", SINCE)?;
    for (mut world, standing) in [
        (missing, Standing::Missing),
        (changed, Standing::Changed),
        (undeclared, Standing::Undeclared),
    ] {
        assert_eq!(world.standing(WEB)?, (standing, 1));
        world.grants = granting("alice", "web")?;
        world.now = SINCE.parse()?;
        let held = world.judge(WEB)?;
        assert_eq!(
            (held.standing, held.hold, held.steps.len()),
            (standing, Some(Hold::BreakGlass), 0)
        );
        world.now = "2026-01-01T00:30:01Z".parse()?;
        assert_eq!(world.standing(WEB)?, (standing, 1));
        world.now = SINCE.parse()?;
        world.grants = granting("alice", "other")?;
        assert_eq!(world.standing(WEB)?, (standing, 1));
    }
    Ok(())
}

#[test]
fn a_grant_keeps_nothing_that_is_stored_under_a_forged_name() -> Outcome {
    let place = "networkpolicy.networking.k8s.io/payments/forged";
    let mut world = World::new()
        .source("s", &json!({}), &[])?
        .holds_at(place, WEB, "2", SINCE, |_| {})?;
    world.grants = granting("alice", "*")?;
    world.now = SINCE.parse()?;
    assert_eq!(
        world.judge(WEB)?.steps,
        vec![delete_of(place, DeleteReason::Misplaced)?]
    );
    Ok(())
}

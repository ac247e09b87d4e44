//! The table of promise 4, as sentences.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::policy::Digest;
use crate::source::UrlRules;
use crate::source::resource::PolicySourceSpec;
use crate::source::snapshot::{BlobId, Commit, Entries, Entry, Skipped};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";

/// One decision: the head of a source declares 100 objects, and a commit that descends from it declares them too.
#[expect(clippy::struct_excessive_bools, reason = "each test turns one of these facts round")]
struct Scene {
    spec: PolicySourceSpec,
    old: Snapshot,
    new: Snapshot,
    is_ancestor: bool,
    is_readable: bool,
    left_behind: Option<&'static str>,
    had_head: bool,
    is_other_selection: bool,
}

impl Scene {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let spec = json!({"git": {"url": "https://git.example.com/acme/policies.git"}});
        Ok(Self {
            spec: serde_json::from_value(spec)?,
            old: snapshot(OLD, 0..100)?,
            new: snapshot(NEW, 0..100)?,
            is_ancestor: true,
            is_readable: true,
            left_behind: None,
            had_head: true,
            is_other_selection: false,
        })
    }

    fn decide(&self) -> Result<Option<Refusal>, Box<dyn std::error::Error>> {
        let settings = Settings::from_spec(&self.spec, &UrlRules::default())?;
        let baseline = Baseline {
            commit: &self.old.commit.id,
            is_ancestor: self.is_ancestor,
            declares: Some(&self.old).filter(|_| self.is_readable),
            objects: self.old.entries.len(),
            is_other_selection: self.is_other_selection,
        };
        let candidate = Candidate {
            source: "platform",
            settings: &settings,
            snapshot: &self.new,
            baseline: Some(baseline).filter(|_| self.had_head),
            left_behind: self.left_behind,
        };
        Ok(decide(&candidate).err())
    }

    fn reason(&self) -> Result<Option<RefusalReason>, Box<dyn std::error::Error>> {
        Ok(self.decide()?.map(|refusal| refusal.reason))
    }
}

fn snapshot(commit: &str, objects: std::ops::Range<usize>) -> Result<Snapshot, Box<dyn std::error::Error>> {
    let mut entries = Entries::default();
    for object in objects {
        let entry = Entry {
            digest: Digest::of(&json!({"spec": object}))?,
            marked: None,
            path: Arc::from("a.yaml"),
            blob: BlobId([0; 20]),
            index: object,
            line: 1,
        };
        entries.insert(format!("networkpolicy.networking.k8s.io/a/p{object}").parse()?, entry);
    }
    Ok(Snapshot {
        commit: Commit {
            id: commit.to_owned(),
            tree: String::new(),
            time: Timestamp::UNIX_EPOCH,
            author: String::new(),
            subject: String::new(),
        },
        entries,
        skipped: Vec::new(),
        ignored: 0,
    })
}

#[test]
fn a_descendant_that_keeps_what_was_declared_is_accepted() -> TestResult {
    assert_eq!(Scene::new()?.decide()?, None);
    Ok(())
}

#[test]
fn a_source_that_never_had_a_head_takes_any_commit_an_empty_one_included() -> TestResult {
    let mut scene = Scene::new()?;
    scene.had_head = false;
    scene.is_ancestor = false;
    scene.new = snapshot(NEW, 0..0)?;
    assert_eq!(scene.decide()?, None);
    Ok(())
}

#[test]
fn rewritten_history_is_refused_unless_allowed() -> TestResult {
    let mut scene = Scene::new()?;
    scene.is_ancestor = false;
    assert_eq!(scene.reason()?, Some(RefusalReason::HistoryRewritten));
    scene.spec.accept = NEW.to_owned();
    assert_eq!(
        scene.reason()?,
        Some(RefusalReason::HistoryRewritten),
        "accept lifts other checks"
    );
    scene.spec.allow_rewind = true;
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn rewritten_history_is_allowed_and_still_may_not_remove_too_much() -> TestResult {
    let mut scene = Scene::new()?;
    scene.is_ancestor = false;
    scene.spec.allow_rewind = true;
    scene.new = snapshot(NEW, 0..10)?;
    assert_eq!(scene.reason()?, Some(RefusalReason::TooManyRemovals));
    scene.is_readable = false;
    assert_eq!(
        scene.reason()?,
        Some(RefusalReason::TooManyRemovals),
        "the number is known"
    );
    Ok(())
}

#[test]
fn a_pin_may_go_back_and_after_it_the_tip_follows_the_furthest_head() -> TestResult {
    let mut scene = Scene::new()?;
    scene.is_ancestor = false;
    scene.left_behind = Some(OLD);
    scene.spec.git.r#ref.commit = Some(NEW.to_owned());
    assert_eq!(scene.reason()?, None, "pinned");
    // The pinned commit is in force; the tip descends from it, and not from what was in force before.
    scene.is_ancestor = true;
    scene.left_behind = Some("3333333333333333333333333333333333333333");
    scene.spec.git.r#ref.commit = None;
    let refusal = scene.decide()?.ok_or("accepted")?;
    assert_eq!(refusal.reason, RefusalReason::HistoryRewritten);
    assert!(refusal.message.contains("3333333"), "{}", refusal.message);
    scene.left_behind = None;
    assert_eq!(scene.reason()?, None, "unpinned");
    Ok(())
}

#[test]
fn a_commit_that_removes_too_much_is_refused_and_told_how_to_be_accepted() -> TestResult {
    let mut scene = Scene::new()?;
    scene.new = snapshot(NEW, 0..80)?;
    assert_eq!(scene.reason()?, None, "twenty of a hundred may go");
    scene.new = snapshot(NEW, 0..79)?;
    let refusal = scene.decide()?.ok_or("accepted")?;
    assert_eq!(refusal.reason, RefusalReason::TooManyRemovals);
    let (told, named) = refusal
        .message
        .split_once(". What would go: ")
        .ok_or("nothing is named")?;
    assert_eq!(
        told,
        "commit 2222222 removes 21 of 100 objects; maxRemovals 20% allows 20. If that is meant, set spec.accept: \
         headgate source accept platform 2222222222222222222222222222222222222222"
    );
    assert!(
        named.starts_with("NetworkPolicy a/p79, NetworkPolicy a/p80, "),
        "{named}"
    );
    assert!(named.ends_with("NetworkPolicy a/p98 and 1 more"), "{named}");
    scene.spec.accept = OLD.to_owned();
    assert!(scene.reason()?.is_some(), "another commit was meant");
    scene.spec.accept = NEW.to_owned();
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn how_to_accept_is_told_in_full_however_long_the_names_are() -> TestResult {
    let mut scene = Scene::new()?;
    let long = snapshot(OLD, 0..30)?.entries;
    scene.old.entries = long
        .into_iter()
        .map(|(key, entry)| {
            let name = format!("{}-{}", "x".repeat(240), key.name());
            Ok((format!("networkpolicy.networking.k8s.io/a/{name}").parse()?, entry))
        })
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    for (new, reason) in [
        (snapshot(NEW, 0..1)?, RefusalReason::TooManyRemovals),
        (snapshot(NEW, 0..0)?, RefusalReason::EmptyTree),
    ] {
        scene.new = new;
        let refusal = scene.decide()?.ok_or("accepted")?;
        assert_eq!(refusal.reason, reason);
        let command = format!("headgate source accept platform {NEW}");
        assert!(refusal.message.contains(&command), "{}", refusal.message);
        assert!(refusal.message.ends_with(" and 29 more"), "{}", refusal.message);
        assert!(refusal.message.len() <= MAX_MESSAGE);
    }
    Ok(())
}

#[test]
fn what_is_replaced_by_other_objects_is_removed_too() -> TestResult {
    let mut scene = Scene::new()?;
    scene.new = snapshot(NEW, 50..150)?;
    assert_eq!(scene.reason()?, Some(RefusalReason::TooManyRemovals));
    Ok(())
}

#[test]
fn an_emptied_commit_is_refused_even_where_every_object_might_go() -> TestResult {
    let mut scene = Scene::new()?;
    scene.old = snapshot(OLD, 0..3)?;
    scene.new = snapshot(NEW, 0..0)?;
    scene.spec.max_removals = "100%".to_owned();
    assert_eq!(scene.reason()?, Some(RefusalReason::EmptyTree));
    scene.spec.accept = NEW.to_owned();
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn the_commit_in_force_stays_acceptable_under_a_narrower_scope() -> TestResult {
    let mut scene = Scene::new()?;
    scene.new = snapshot(OLD, 0..0)?;
    scene.new.skipped.push(Skipped {
        path: "a.yaml".to_owned(),
        line: 1,
        key: "networkpolicy.networking.k8s.io/a/p0".parse()?,
        why: "namespace a is not among spec.scope.namespaces".to_owned(),
    });
    scene.is_ancestor = true;
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn another_selection_that_leaves_every_object_out_needs_a_word_however_few_they_are() -> TestResult {
    let mut scene = Scene::new()?;
    scene.old = snapshot(OLD, 0..3)?;
    scene.new = snapshot(OLD, 0..0)?;
    scene.new.skipped.push(Skipped {
        path: "a.yaml".to_owned(),
        line: 1,
        key: "networkpolicy.projectcalico.org/a/p0".parse()?,
        why: "tier security is not among spec.scope.tiers".to_owned(),
    });
    scene.is_other_selection = true;
    assert_eq!(scene.reason()?, Some(RefusalReason::EmptyTree));
    scene.spec.accept = OLD.to_owned();
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn another_path_may_not_remove_more_than_a_commit_may() -> TestResult {
    let mut scene = Scene::new()?;
    scene.spec.git.path = "clusters/other".to_owned();
    scene.new = snapshot(OLD, 0..70)?;
    scene.is_other_selection = true;
    let refusal = scene.decide()?.ok_or("accepted")?;
    assert_eq!(refusal.reason, RefusalReason::TooManyRemovals);
    assert!(
        refusal
            .message
            .starts_with("commit 1111111 below clusters/other, read as the spec asks now, removes 30 of 100 objects"),
        "{}",
        refusal.message
    );
    scene.spec.accept = OLD.to_owned();
    assert_eq!(scene.reason()?, None);
    scene.spec.accept = String::new();
    scene.new = snapshot(OLD, 0..90)?;
    assert_eq!(scene.reason()?, None);
    Ok(())
}

#[test]
fn a_path_at_which_nothing_is_declared_is_not_taken_for_a_scope() -> TestResult {
    let mut scene = Scene::new()?;
    scene.new = snapshot(OLD, 0..0)?;
    assert_eq!(scene.reason()?, Some(RefusalReason::EmptyTree));
    Ok(())
}

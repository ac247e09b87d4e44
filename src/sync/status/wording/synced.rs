//! What is said of how the cluster stands against the commit in force.

use super::{Facts, Verdict, and_more, no, unknown, yes};
use crate::source::Snapshot;
use crate::source::resource::Mode;
use crate::sync::progress::Progress;
use crate::sync::report::{BREAK_GLASS, Tally};

pub(super) fn synced(facts: &Facts<'_>) -> Verdict {
    let Some(head) = facts.look.head.as_deref() else {
        return unknown("NoHead", "No commit is in force here yet.");
    };
    let judged = facts
        .tally
        .filter(|tally| tally.commit.as_ref() == Some(&head.commit.id));
    let Some(tally) = judged else {
        return unknown("NotLookedYet", "The cluster was not compared with this commit yet.");
    };
    if let Some((first, why)) = tally.failing_examples.first_key_value() {
        let others = tally.failing.saturating_sub(1);
        return no("WriteFailed", format!("{}: {why}{}", first.label(), and_more(others)));
    }
    if tally.conflicts > 0 {
        return no("Conflict", conflict_message(tally));
    }
    if !tally.not_served.is_empty() {
        let kinds: Vec<String> = tally.not_served.iter().map(ToString::to_string).collect();
        return no(
            "KindNotServed",
            format!("The cluster does not serve {}.", kinds.join(", ")),
        );
    }
    if !facts.complete || !tally.not_listed.is_empty() {
        return unknown("NotListed", "Not every guarded kind could be listed yet.");
    }
    if tally.unknown > 0 {
        return unknown(
            "HeadUnknown",
            "Another source that covers the same objects has no commit in force.",
        );
    }
    held(facts, tally).unwrap_or_else(|| settled(tally, head))
}

/// What is said of drift that nothing is done about.
fn held(facts: &Facts<'_>, tally: &Tally) -> Option<Verdict> {
    let state = facts.state?;
    let settings = &state.settings;
    let drift = tally.drift;
    if facts.gate_mode == Mode::Audit || settings.mode == Mode::Audit {
        return Some(unknown(
            "Audit",
            format!("Only reporting: {drift} objects differ from Git."),
        ));
    }
    if state.refuses_as_unverified() {
        let message = format!("Nothing is written while the commit does not verify: {drift} objects differ from it.");
        return Some(unknown("Unverified", message));
    }
    if settings.suspend {
        return Some(unknown(
            "Suspended",
            format!("Suspended: {drift} objects differ from Git."),
        ));
    }
    if !settings.sync {
        let reason = if drift == 0 { "True" } else { "Unknown" };
        let message = format!("Another deployer applies this source: {drift} objects differ from Git.");
        return Some(Verdict {
            status: reason,
            ..unknown("GateOnly", message)
        });
    }
    None
}

fn settled(tally: &Tally, head: &Snapshot) -> Verdict {
    let left_alone = match tally.undeclared {
        0 => String::new(),
        count => format!(" {count} undeclared objects are left alone."),
    };
    let count = tally.drift.saturating_sub(tally.held.values().sum());
    if count > 0 {
        let commit = head.commit.short();
        let message = match tally.progress {
            Some(Progress { done, total }) => {
                format!("The cluster is being brought to {commit}: {done} of {total} objects are done.")
            }
            None => format!("{count} objects are being brought to {commit}."),
        };
        return no("Applying", message);
    }
    if let Some(granted) = tally.granted_examples.first() {
        let others = tally.held.get(BREAK_GLASS).copied().unwrap_or(1).saturating_sub(1);
        let message = format!(
            "{}{} differs from Git and stays so until its grant ends.",
            granted.label(),
            and_more(others)
        );
        return no(BREAK_GLASS, message);
    }
    if tally.waiting > 0 {
        let names: Vec<&str> = tally.waiting_for.iter().map(String::as_str).collect();
        let message = format!(
            "All but {} of {} objects are as Git says; missing namespaces: {}.{left_alone}",
            tally.waiting,
            head.entries.len(),
            names.join(", ")
        );
        return yes("WaitingForNamespace", message);
    }
    let message = format!("All {} objects are as Git says.{left_alone}", head.entries.len());
    yes("Synced", message)
}

fn conflict_message(tally: &Tally) -> String {
    let first = tally.conflict_examples.first().map(crate::policy::Key::label);
    let sources: Vec<&str> = tally.conflicting.iter().map(AsRef::as_ref).collect();
    format!(
        "Sources of equal priority do not agree about {}{}: {}. Nothing is written there until they do or one has a higher spec.priority.",
        first.unwrap_or_default(),
        and_more(tally.conflicts.saturating_sub(1)),
        sources.join(" and ")
    )
}

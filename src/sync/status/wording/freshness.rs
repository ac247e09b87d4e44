//! The condition `Fresh`: whether the repository was read within the source's `staleAfter`. Its message stays the same
//! while its status does: the status is not written for every look at the repository.

use super::{Facts, Verdict, no, unknown, whole_second, yes};
use crate::source::resource::WhenStale;

pub(super) fn fresh(facts: &Facts<'_>) -> Verdict {
    let Some(state) = facts.state.filter(|state| state.head.is_some()) else {
        return unknown("NoHead", "No commit is in force here yet.");
    };
    let settings = &state.settings;
    if settings.suspend {
        return unknown("Suspended", "Suspended: the commit in force is kept on purpose.");
    }
    let Some(confirmed_at) = state.confirmed_at else {
        return unknown(
            "NotConfirmedYet",
            "The repository was not read since this process started.",
        );
    };
    let limit = humantime::format_duration(settings.stale_after);
    if !state.is_stale(facts.now) {
        return yes("Fresh", format!("The repository was read within {limit}."));
    }
    let meaning = match settings.when_stale {
        WhenStale::Allow => "the commit in force goes on deciding",
        WhenStale::Deny => "what this source decides is refused",
    };
    let last = whole_second(confirmed_at);
    no(
        "Stale",
        format!("The repository was last read at {last}, longer ago than {limit}: {meaning}."),
    )
}

/// Whether requests are refused for it.
pub(super) fn refuses(facts: &Facts<'_>) -> bool {
    let has_head = |state: &&crate::source::SourceState| state.head.is_some() && state.confirmed_at.is_some();
    facts
        .state
        .filter(has_head)
        .is_some_and(|state| state.refuses_as_stale(facts.now))
}

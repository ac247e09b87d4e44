//! Since when a source speaks for what it speaks for.

use super::*;

#[test]
fn the_adoption_is_dated_once_and_never_before_what_was_there() -> Outcome {
    let first = told(None, &look()?, None, &json!({}))?;
    assert_eq!(first.adopted_at, Some(Time("2026-01-02T00:00:01Z".parse()?)));
    let mut early = first.clone();
    early.adopted_at = Some(Time("2025-01-01T00:00:00Z".parse()?));
    assert_eq!(
        told(Some(&early), &look()?, None, &json!({}))?.adopted_at,
        early.adopted_at
    );
    let without_head = SourceReport { head: None, ..look()? };
    assert_eq!(told(None, &without_head, None, &json!({}))?.adopted_at, None);
    Ok(())
}

#[test]
fn a_source_that_comes_to_speak_for_others_is_adopted_anew() -> Outcome {
    let (shop, pay) = (
        json!({"scope": {"namespaces": ["shop"]}}),
        json!({"scope": {"namespaces": ["shop", "pay"]}}),
    );
    let mut before = told(None, &look()?, None, &shop)?;
    let long_ago = Some(Time("2025-01-01T00:00:00Z".parse()?));
    before.adopted_at.clone_from(&long_ago);
    assert_eq!(told(Some(&before), &look()?, None, &shop)?.adopted_at, long_ago);
    let after = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(after.adopted_at, Some(Time("2026-01-02T00:00:01Z".parse()?)));
    // Without a head the new scope is not adopted yet, and the status goes on saying so.
    let without_head = SourceReport { head: None, ..look()? };
    let waiting = told(Some(&before), &without_head, None, &pay)?;
    assert_eq!(
        (&waiting.adopted_at, &waiting.adopted_scope),
        (&long_ago, &before.adopted_scope)
    );
    assert_ne!(after.adopted_scope, before.adopted_scope);
    // Nor while the head is one of the old scope, or the report one of the old spec.
    let of_the_old_scope = SourceReport {
        scope_pending: true,
        ..look()?
    };
    let of_the_old_spec = SourceReport {
        generation: Some(2),
        ..look()?
    };
    for look in [of_the_old_scope, of_the_old_spec] {
        let waiting = told(Some(&before), &look, None, &pay)?;
        assert_eq!(
            (&waiting.adopted_at, &waiting.adopted_scope),
            (&long_ago, &before.adopted_scope)
        );
    }
    // The status of an older release does not say which scope it was.
    before.adopted_scope.clear();
    let older = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(
        (&older.adopted_at, &older.adopted_scope),
        (&long_ago, &after.adopted_scope)
    );
    // Where the spec was changed since, the scope may have been, too.
    before.observed_generation = Some(2);
    let widened = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(widened.adopted_at, after.adopted_at);
    // And it is remembered that nobody knows, until there is a head.
    let waiting = told(Some(&before), &without_head, None, &pay)?;
    assert_eq!(waiting.adopted_at, long_ago);
    let later = told(Some(&waiting), &look()?, None, &pay)?;
    assert_eq!(later.adopted_at, after.adopted_at);
    Ok(())
}

#[test]
fn a_process_without_a_head_leaves_the_baseline_as_it_was() -> Outcome {
    let before = told(None, &look()?, Some(&tally()), &json!({}))?;
    let nothing_yet = SourceReport {
        generation: Some(3),
        ..SourceReport::default()
    };
    let after = told(Some(&before), &nothing_yet, None, &json!({}))?;
    assert_eq!((&after.head, &after.highest_head), (&before.head, &before.highest_head));
    assert_eq!(after.adopted_at, before.adopted_at);
    assert_eq!(says(&after, "Ready"), "Unknown NotFetchedYet");
    Ok(())
}

//! What a commit or a spec may take away, and what waits for a word.

use std::time::Duration;

use headgate::source::Lookup;
use headgate::source::keeper::RefusalReason;
use headgate::source::resource::Scope;

use crate::git_support::{Origin, TestResult, Watched, head_of, objects, policy};

#[tokio::test]
async fn a_commit_that_removes_too_much_waits_for_a_word() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    for number in 0..6 {
        origin.remove(&format!("policies/p{number}.yaml"))?;
    }
    let removing = origin.commit_and_push("remove six")?;
    let report = watched.refreshed().await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 20));
    let refusal = report.refusal.ok_or("accepted")?;
    assert_eq!(refusal.reason, RefusalReason::TooManyRemovals);
    let command = format!("headgate source accept platform {removing}");
    assert!(refusal.message.contains(&command), "{}", refusal.message);
    watched.change(|source| source.spec.accept = removing.clone());
    assert_eq!(objects(&watched.until_head(&removing).await?), 14);
    Ok(())
}

#[tokio::test]
async fn another_path_that_lacks_too_much_waits_for_a_word_too() -> TestResult {
    let origin = Origin::new()?;
    for name in 0..20 {
        origin.write(
            &format!("big/p{name}.yaml"),
            &policy("payments", &format!("p{name}"), 80),
        )?;
    }
    origin.write("small/p0.yaml", &policy("payments", "p0", 80))?;
    let commit = origin.commit_and_push("Two folders")?;
    let mut watched = Watched::start(&origin.file_url(), |source| source.spec.git.path = "big".to_owned())?;
    assert_eq!(objects(&watched.until_head(&commit).await?), 20);
    watched.change(|source| source.spec.git.path = "small".to_owned());
    let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
    // Neither does a commit on top of it bring the other path into force.
    origin.write("small/p1.yaml", &policy("payments", "p1", 80))?;
    let next = origin.commit_and_push("More in the small one")?;
    watched.refreshed().await?;
    let report = watched
        .until("the next commit is refused", |report| {
            report.refusal.as_ref().is_some_and(|refusal| refusal.commit == next)
        })
        .await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
    watched.change(|source| source.spec.accept = next.clone());
    assert_eq!(objects(&watched.until_head(&next).await?), 2);
    Ok(())
}

/// A policy of Calico's in a tier.
fn tiered(tier: &str, name: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: {tier}.{name}, namespace: payments}}
spec: {{tier: {tier}, selector: all(), types: [Ingress], ingress: [{{action: Allow}}]}}
"
    )
}

#[tokio::test]
async fn wider_patterns_of_what_does_not_count_wait_for_a_word_too() -> TestResult {
    let (origin, commit) = Origin::with_policies(20)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&commit).await?;
    watched.change(|source| source.spec.git.ignore = vec!["policies/p1*.yaml".to_owned()]);
    let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
    // Nothing left at all is a reason of its own.
    watched.change(|source| source.spec.git.ignore = vec!["policies/**".to_owned()]);
    let report = watched.until_refused(RefusalReason::EmptyTree).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
    watched.change(|source| source.spec.git.ignore = vec!["policies/p2.yaml".to_owned()]);
    assert_eq!(objects(&watched.until_head(&commit).await?), 19);
    watched.change(|source| {
        source.spec.git.ignore = vec!["policies/p1*.yaml".to_owned()];
        source.spec.accept = commit.clone();
    });
    watched.until("it is accepted", |report| objects(report) == 9).await?;
    Ok(())
}

#[tokio::test]
async fn fewer_tiers_wait_for_a_word_too_also_where_a_list_of_namespaces_makes_them_fewer() -> TestResult {
    let origin = Origin::new()?;
    for name in 0..10 {
        origin.write(
            &format!("tiered/p{name}.yaml"),
            &tiered("platform", &format!("p{name}")),
        )?;
        origin.write(
            &format!("plain/p{name}.yaml"),
            &policy("payments", &format!("p{name}"), 80),
        )?;
    }
    let commit = origin.commit_and_push("Two tiers")?;
    let both = Scope {
        tiers: Some(vec!["default".to_owned(), "platform".to_owned()]),
        ..Scope::default()
    };
    let one = Scope {
        tiers: Some(vec!["default".to_owned()]),
        ..Scope::default()
    };
    let listed = Scope {
        namespaces: Some(vec!["payments".to_owned()]),
        ..Scope::default()
    };
    for (before, after) in [(Some(both), one), (None, listed)] {
        let mut watched = Watched::start(&origin.file_url(), |source| source.spec.scope = before)?;
        assert_eq!(objects(&watched.until_head(&commit).await?), 20);
        watched.change(|source| source.spec.scope = Some(after));
        let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
        assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
        watched.change(|source| source.spec.accept = commit.clone());
        assert_eq!(objects(&watched.until_head(&commit).await?), 10);
    }
    Ok(())
}

#[tokio::test]
async fn a_narrower_scope_is_no_removal_and_a_wider_one_covers_only_with_its_snapshot() -> TestResult {
    let (origin, _) = Origin::with_policies(20)?;
    origin.write("policies/web.yaml", &policy("web", "a", 80))?;
    let commit = origin.commit_and_push("web")?;
    let mut watched = Watched::start(&origin.file_url(), |source| {
        source.spec.scope = Some(Scope {
            namespaces: Some(vec!["payments".to_owned(), "web".to_owned()]),
            ..Scope::default()
        });
    })?;
    assert_eq!(objects(&watched.until_head(&commit).await?), 21);
    watched.change(|source| {
        if let Some(scope) = &mut source.spec.scope {
            scope.namespaces = Some(vec!["web".to_owned()]);
        }
    });
    let report = watched
        .until("the scope is narrow", |report| objects(report) == 1)
        .await?;
    assert_eq!(report.refusal, None);
    let skipped = &report.head.as_ref().ok_or("no head")?.skipped;
    assert_eq!(skipped.len(), 20);
    assert!(skipped.iter().all(|skipped| skipped.why.contains("namespace payments")));
    let wider = watched.keeper.changes();
    watched.change(|source| source.spec.scope = None);
    // However often it is looked at on the way, what is covered is declared.
    let key = "networkpolicy.networking.k8s.io/payments/p0".parse()?;
    let watching = async {
        loop {
            match watched.keeper.desired().look_up(&key) {
                Lookup::NotCovered => tokio::task::yield_now().await,
                Lookup::Declared(_) => return TestResult::Ok(()),
                other => return Err(format!("{other:?}").into()),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), watching).await??;
    assert!(wider.has_changed()?);
    watched
        .until("the new scope is in force", |report| !report.scope_pending)
        .await?;
    // Another scope together with a repository that cannot be read: the head stays one of the old scope.
    watched.change(|source| {
        source.spec.git.url = "https://127.0.0.1:1/nowhere.git".to_owned();
        source.spec.scope = Some(Scope {
            namespaces: Some(vec!["web".to_owned()]),
            ..Scope::default()
        });
    });
    let report = watched
        .until("the repository cannot be read", |report| {
            report.attempt.as_ref().is_some_and(|attempt| attempt.outcome.is_err())
        })
        .await?;
    assert_eq!((objects(&report), report.scope_pending), (21, true));
    Ok(())
}

#[tokio::test]
async fn an_emptied_repository_keeps_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.git(&["rm", "-r", "--quiet", "policies"])?;
    let emptied = origin.commit_and_push("empty")?;
    let report = watched.refreshed().await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    assert_eq!(
        report.refusal.map(|refusal| refusal.reason),
        Some(RefusalReason::EmptyTree)
    );
    watched.change(|source| source.spec.accept = emptied.clone());
    assert_eq!(objects(&watched.until_head(&emptied).await?), 0);
    Ok(())
}

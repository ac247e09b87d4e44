//! Heads against real repositories: what moves them, and what does not.

mod git_support;

use std::time::Duration;

use git_support::{Origin, Secrets, TestResult, Watched, head_of, mirrors, objects, policy};
use headgate::policy::Digest;
use headgate::source::Lookup;
use headgate::source::keeper::RefusalReason;
use headgate::source::resource::{GitRef, Scope};

#[tokio::test]
async fn a_new_commit_becomes_the_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    let report = watched.until_head(&first).await?;
    assert_eq!(objects(&report), 3);
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let report = watched.refreshed().await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(second.as_str()), 4));
    assert_eq!(report.highest_head, Some(second));
    let head = report.head.ok_or("no head")?;
    assert_eq!(
        (head.commit.subject.as_str(), head.commit.author.as_str()),
        ("more", "Ada <ada@example.com>")
    );
    Ok(())
}

#[tokio::test]
async fn what_a_changed_file_declares_is_replaced_and_the_rest_stays() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    let before = watched.until_head(&first).await?.head.ok_or("no head")?;
    origin.write("policies/p0.yaml", &policy("payments", "renamed", 80))?;
    origin.write("policies/p1.yaml", &policy("payments", "p1", 8080))?;
    origin.commit_and_push("change")?;
    let after = watched.refreshed().await?.head.ok_or("no head")?;
    let key = |name: &str| format!("networkpolicy.networking.k8s.io/payments/{name}").parse();
    assert!(!after.entries.contains_key(&key("p0")?));
    assert!(after.entries.contains_key(&key("renamed")?));
    assert_ne!(
        after.entries.get(&key("p1")?).map(|entry| entry.digest),
        before.entries.get(&key("p1")?).map(|entry| entry.digest)
    );
    assert_eq!(after.entries.get(&key("p2")?), before.entries.get(&key("p2")?));
    assert_eq!(after.entries.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_manifest_is_read_back_as_the_head_declares_it() -> TestResult {
    let origin = Origin::new()?;
    let both = format!("{}---\n{}", policy("payments", "a", 80), policy("payments", "b", 81));
    origin.write("both.yaml", &both)?;
    let commit = origin.commit_and_push("both")?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    let head = watched.until_head(&commit).await?.head.ok_or("no head")?;
    let key = "networkpolicy.networking.k8s.io/payments/b".parse()?;
    let entry = head.entries.get(&key).ok_or("not declared")?;
    let manifest = watched.keeper.manifest("platform", entry).await?;
    assert_eq!((&manifest.key, manifest.digest), (&key, entry.digest));
    assert_eq!(
        manifest.object.pointer("/spec/ingress/0/ports/0/port"),
        Some(&81.into())
    );
    let mut forged = entry.clone();
    forged.digest = Digest::of(&serde_json::Value::Null)?;
    assert!(watched.keeper.manifest("platform", &forged).await.is_err());
    assert!(watched.keeper.manifest("another", entry).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_force_push_keeps_the_old_head_until_it_is_allowed() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&second).await?;
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    let rewritten = origin.commit_and_push("another second")?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(second.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert_eq!(
        (refusal.reason, &refusal.commit),
        (RefusalReason::HistoryRewritten, &rewritten)
    );
    watched.change(|source| source.spec.allow_rewind = true);
    let report = watched.until_head(&rewritten).await?;
    assert_eq!(report.highest_head, Some(rewritten));
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
    Ok(())
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_head_and_the_next_good_commit_is_taken() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.write("policies/p1.yaml", "kind: NetworkPolicy\n  metadata: [")?;
    origin.write("policies/p2.yaml", &policy("payments", "p2", 8080))?;
    let broken = origin.commit_and_push("break")?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert_eq!(
        (refusal.reason, &refusal.commit),
        (RefusalReason::UnreadableFile, &broken)
    );
    assert!(
        refusal.message.starts_with("policies/p1.yaml:2:"),
        "{}",
        refusal.message
    );
    origin.write("policies/p1.yaml", &policy("payments", "p1", 81))?;
    let mended = origin.commit_and_push("mend")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(mended.as_str()));
    Ok(())
}

#[tokio::test]
async fn one_object_in_two_files_refuses_the_commit_and_names_both() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.write("policies/again.yml", &policy("payments", "p1", 80))?;
    origin.commit_and_push("again")?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert_eq!(refusal.reason, RefusalReason::DuplicateObject);
    for part in [
        "NetworkPolicy payments/p1",
        "policies/again.yml:1",
        "policies/p1.yaml:1",
    ] {
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
    origin.git(&["mv", "-f", "policies/again.yml", "policies/p1.yaml"])?;
    let mended = origin.commit_and_push("mend")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(mended.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_moved_object_is_one_object() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    // The new place comes before the old one in the tree.
    origin.git(&["mv", "policies/p1.yaml", "a.yaml"])?;
    let moved = origin.commit_and_push("move")?;
    let report = watched.refreshed().await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(moved.as_str()), 3));
    Ok(())
}

#[tokio::test]
async fn a_symbolic_link_is_an_error_unless_it_is_ignored() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    std::os::unix::fs::symlink("/etc/passwd", origin.work("policies/link.yaml"))?;
    std::os::unix::fs::symlink("p0.yaml", origin.work("policies/harmless"))?;
    let linked = origin.commit_and_push("link")?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert!(
        refusal.message.contains("policies/link.yaml is a symbolic link"),
        "{}",
        refusal.message
    );
    watched.change(|source| source.spec.git.ignore = vec!["**/link.yaml".to_owned()]);
    watched.until_head(&linked).await?;
    Ok(())
}

#[tokio::test]
async fn a_submodule_is_an_error_unless_it_is_ignored() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let entry = format!("160000,{first},vendor/shared");
    origin.git(&["update-index", "--add", "--cacheinfo", &entry])?;
    origin.git(&["commit", "--quiet", "--message", "submodule"])?;
    let commit = origin.git(&["rev-parse", "HEAD"])?;
    origin.push()?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert!(
        refusal.message.contains("vendor/shared is a submodule"),
        "{}",
        refusal.message
    );
    watched.change(|source| source.spec.git.ignore = vec!["vendor/*".to_owned()]);
    watched.until_head(&commit).await?;
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_too_large_refuses_the_commit() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.write("policies/huge.json", &" ".repeat((16 << 20) + 1))?;
    origin.commit_and_push("huge")?;
    let refusal = watched.refreshed().await?.refusal.ok_or("accepted")?;
    assert_eq!(
        refusal.message,
        "policies/huge.json:1:1: the file is larger than 16 MiB"
    );
    Ok(())
}

#[tokio::test]
async fn only_manifests_below_the_path_count() -> TestResult {
    let origin = Origin::new()?;
    origin.write("clusters/prod/a.yaml", &policy("payments", "a", 80))?;
    origin.write("clusters/prod/deep/er/b.yml", &policy("payments", "b", 80))?;
    origin.write("clusters/prod/kustomization.yaml", "not: [a policy")?;
    origin.write("clusters/prod/README.md", "not a policy")?;
    origin.write("clusters/prod-old/c.yaml", &policy("payments", "c", 80))?;
    let commit = origin.commit_and_push("start")?;
    let mut watched = Watched::start(&origin.file_url(), |source| {
        source.spec.git.path = "clusters/prod/".to_owned();
        source.spec.git.ignore = vec!["**/kustomization.yaml".to_owned()];
    })?;
    assert_eq!(objects(&watched.until_head(&commit).await?), 2);
    // A path that is not there, or has nothing, is not taken for the wish to delete everything.
    for path in ["clusters/nowhere", "clusters/prod/README.md"] {
        watched.change(|source| source.spec.git.path = path.to_owned());
        let report = watched.until_refused(RefusalReason::EmptyTree).await?;
        assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 2));
        watched.change(|source| source.spec.git.path = "clusters/prod".to_owned());
        watched.until_head(&commit).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pin_rolls_back_and_unpinning_goes_on_from_the_furthest_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&second).await?;
    watched.change(|source| source.spec.git.r#ref.commit = Some(first.clone()));
    let report = watched.until_head(&first).await?;
    assert_eq!(report.highest_head.as_deref(), Some(second.as_str()));
    // While it is pinned, the branch is rewritten to before its furthest head.
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    let rewritten = origin.commit_and_push("another second")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(first.as_str()));
    watched.change(|source| source.spec.git.r#ref.commit = None);
    let report = watched.until_refused(RefusalReason::HistoryRewritten).await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    assert_eq!(report.refusal.map(|refusal| refusal.commit), Some(rewritten));
    // The furthest head is back, with a commit on top.
    origin.git(&["reset", "--quiet", "--hard", &second])?;
    let third = origin.commit_and_push("third")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(third.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_pin_that_is_not_on_the_branch_is_refused() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.git(&["checkout", "--quiet", "-b", "other"])?;
    let elsewhere = origin.commit("elsewhere")?;
    origin.git(&["push", "--quiet", "origin", "other"])?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    watched.change(|source| source.spec.git.r#ref.commit = Some(elsewhere.clone()));
    let report = watched.until_refused(RefusalReason::NotFound).await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_tag_is_followed_to_its_commit() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.git(&["tag", "--annotate", "--message", "one", "v1"])?;
    origin.git(&["push", "--quiet", "origin", "v1"])?;
    let mut watched = Watched::start(&origin.file_url(), |source| {
        source.spec.git.r#ref = GitRef {
            branch: None,
            tag: Some("v1".to_owned()),
            commit: None,
        };
    })?;
    watched.until_head(&first).await?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    // Another ref of the same history is followed without a word.
    watched.change(|source| source.spec.git.r#ref = GitRef::default());
    watched.until_head(&second).await?;
    Ok(())
}

#[tokio::test]
async fn a_branch_that_is_gone_keeps_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.git(&["push", "--quiet", "origin", "HEAD:refs/heads/other"])?;
    origin.bare_git(&["update-ref", "-d", "refs/heads/main"])?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    assert_eq!(
        report.refusal.map(|refusal| refusal.reason),
        Some(RefusalReason::NotFound)
    );
    Ok(())
}

#[tokio::test]
async fn a_spec_that_became_unusable_keeps_the_head_and_what_it_covers() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let state = tempfile::tempdir()?;
    let timeout = Duration::from_secs(30);
    let mut watched = Watched::start_with(state.path(), &origin.file_url(), Secrets::default(), timeout, |_| ())?;
    watched.until_head(&first).await?;
    let before = mirrors(state.path())?;
    watched.change(|source| source.spec.stale_after = "soon".to_owned());
    let report = watched
        .until("it is invalid", |report| report.invalid.is_some())
        .await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    let key = "networkpolicy.networking.k8s.io/payments/p0".parse()?;
    assert!(matches!(watched.keeper.desired().look_up(&key), Lookup::Declared(_)));
    watched.change(|source| source.spec.stale_after = "10m".to_owned());
    watched.until("it is valid", |report| report.invalid.is_none()).await?;
    watched.refreshed().await?;
    assert_eq!(mirrors(state.path())?, before, "what had been fetched is still there");
    Ok(())
}

#[tokio::test]
async fn a_source_that_is_removed_goes_and_one_made_anew_starts_afresh() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.git(&["checkout", "--quiet", "--orphan", "unrelated"])?;
    let unrelated = origin.commit_and_push("unrelated")?;
    watched.change(|source| source.metadata.uid = Some("2".to_owned()));
    watched.until_head(&unrelated).await?;
    watched.keeper.set_sources(Vec::new());
    assert!(watched.keeper.desired().sources().is_empty());
    assert!(watched.keeper.reports().borrow().is_empty());
    Ok(())
}

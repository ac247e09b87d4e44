//! Heads against real repositories: what moves them, and what does not.

#[path = "../git_support/mod.rs"]
mod git_support;

mod refs;
mod removals;

use std::time::Duration;

use git_support::{Origin, Secrets, TestResult, Watched, head_of, mirrors, objects, policy};
use headgate::policy::Digest;
use headgate::source::Lookup;
use headgate::source::keeper::RefusalReason;

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

//! Sources that come to speak for more, for less, or for the same as others.

use kube::api::ListParams;
use serde_json::{Value, json};

use crate::harness::{Bench, allow, deny, until};
use crate::{Failure, Outcome};

/// Two sources of equal priority that disagree about `shared`, and agree about nothing else.
async fn in_conflict(bench: &Bench) -> Result<crate::repository::Repository, Failure> {
    let name = &bench.name;
    let other = bench.another_repository("other")?;
    bench.repository.write("shared.yaml", &allow(name, "shared", 80))?;
    bench.repository.write("mine.yaml", &deny(name, "mine"))?;
    bench.repository.commit("Mine")?;
    other.write("shared.yaml", &allow(name, "shared", 443))?;
    other.write("theirs.yaml", &deny(name, "theirs"))?;
    other.commit("Theirs")?;
    bench.make_source(&json!({})).await?;
    let spec = json!({"git": {"url": other.url(), "interval": "1s"}, "scope": {"namespaces": [name]}});
    bench.make_source_named(&format!("{name}-other"), &spec).await?;
    Ok(other)
}

/// Waits until both sources say that they do not agree, and name each other.
async fn until_frozen(bench: &Bench) -> Outcome {
    let other = format!("{}-other", bench.name);
    for source in [&bench.name, &other] {
        let why = bench.until_says(source, "Synced", "Conflict").await?;
        for named in [&bench.name, &other, &format!("{}/shared", bench.name)] {
            assert!(why.contains(named.as_str()), "{named}: {why}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_neither_written_nor_pruned_and_ends_however_one_gives_way() -> Outcome {
    let bench = Bench::new("giving-way").await?;
    let other_name = "giving-way-other";
    let other = in_conflict(&bench).await?;
    let running = bench.run().await?;
    until_frozen(&bench).await?;
    bench.until_adopted().await?;
    bench.until_there("mine").await?;
    bench.until_there("theirs").await?;
    assert!(
        bench.policies().get_opt("shared").await?.is_none(),
        "nobody decided what it is"
    );
    // A stranger's stays as well, and what else the two declare goes on being healed.
    bench.create(&allow("giving-way", "shared", 22)).await?;
    for mine in ["mine", "theirs"] {
        bench.delete(mine).await?;
        bench.until_there(mine).await?;
    }
    bench.until_port("shared", 22).await?;

    // By a commit: both say the same.
    other.write("shared.yaml", &allow("giving-way", "shared", 80))?;
    other.commit("As they have it")?;
    bench.until_port("shared", 80).await?;
    bench.until_says(other_name, "Synced", "Synced").await?;
    other.write("shared.yaml", &allow("giving-way", "shared", 443))?;
    other.commit("Another port again")?;
    until_frozen(&bench).await?;
    bench.until_port("shared", 80).await?;

    // By its scope: it speaks for another namespace.
    let elsewhere = json!({"scope": {"namespaces": ["elsewhere"]}});
    bench.change_source(other_name, elsewhere).await?;
    bench.delete("shared").await?;
    bench.until_port("shared", 80).await?;
    // What only it declared is undeclared then, and the source that is left goes by its own adoption.
    bench.until_gone("theirs").await?;
    let back = json!({"scope": {"namespaces": ["giving-*"]}});
    bench.change_source(other_name, back).await?;
    until_frozen(&bench).await?;

    bench.until_there("theirs").await?;

    // By its end: the other one decides.
    bench.patch("shared", json!({"spec": {"ingress": [{}]}})).await?;
    bench.delete_source(other_name).await?;
    bench.until_source_gone(other_name).await?;
    bench.until_port("shared", 80).await?;
    bench.until_says("giving-way", "Synced", "Synced").await?;
    for record in running
        .records()?
        .iter()
        .filter(|record| record["outcome"] == "deleted")
    {
        assert!(
            record["key"].as_str().is_some_and(|key| key.ends_with("/theirs")),
            "{record}"
        );
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_comes_to_speak_for_later_was_there_before_it() -> Outcome {
    let bench = Bench::new("grown").await?;
    bench.repository.write("deny.yaml", &deny("grown", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    // It speaks for nothing here yet, and is long adopted when it comes to.
    bench
        .make_source(&json!({"scope": {"namespaces": ["grown-before"]}}))
        .await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    for index in 0..30 {
        bench.create(&allow("grown", &format!("old-{index:02}"), 80)).await?;
    }
    let adopted = |source: &headgate::source::PolicySource| {
        let status = source.status.as_ref()?;
        status.adopted_at.as_ref().map(|at| at.0)
    };
    let before = adopted(&bench.source().await?).ok_or("it is adopted")?;
    let newest = bench.policies().get("old-29").await?.metadata.creation_timestamp;
    assert!(
        newest.is_some_and(|at| at.0 >= before),
        "they are younger than the source's first adoption"
    );

    let wider = json!({"scope": {"namespaces": ["grown-before", "grown"]}});
    bench.change_source("grown", wider).await?;
    bench.until_there("deny").await?;
    let status = until("the old ones to be listed", async || {
        let status = bench.source().await?.status.unwrap_or_default();
        Ok((status.undeclared_count == 30).then_some(status))
    })
    .await?;
    assert_eq!(status.undeclared.len(), 20);
    bench.until_synced_at(&first).await?;
    assert!(adopted(&bench.source().await?).is_some_and(|after| after > before));
    // From then on it is as for any source.
    bench.create(&allow("grown", "rogue", 22)).await?;
    bench.until_gone("rogue").await?;
    assert_eq!(bench.policies().list(&ListParams::default()).await?.items.len(), 31);
    assert_eq!(running.count("deleted")?, 1);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_share_a_repository_and_each_takes_what_is_in_its_scope() -> Outcome {
    let bench = Bench::new("shared-tree").await?;
    for namespace in ["shared-tree-a", "shared-tree-b"] {
        bench.make_namespace(namespace).await?;
        bench
            .repository
            .write(&format!("{namespace}/deny.yaml"), &deny(namespace, "deny"))?;
    }
    bench.repository.write("base/deny.yaml", &deny("shared-tree", "deny"))?;
    bench.repository.commit("Three namespaces")?;
    let spec = |scope: Value| json!({"git": {"url": bench.repository.url(), "interval": "1s"}, "scope": scope});
    let running = bench.run().await?;
    for (name, scope) in [
        ("shared-tree", json!({"namespaces": ["shared-tree"]})),
        ("shared-tree-teams", json!({"namespaces": ["shared-tree-?"]})),
        // Of another kind, so that nothing of it is left.
        (
            "shared-tree-kinds",
            json!({"namespaces": ["shared-*"], "kinds": ["networkset.projectcalico.org"]}),
        ),
    ] {
        bench.make_source_named(name, &spec(scope)).await?;
        bench.until_says(name, "Accepted", "Accepted").await?;
    }
    for (name, objects, skipped) in [
        (
            "shared-tree",
            1,
            vec!["shared-tree-a/deny.yaml", "shared-tree-b/deny.yaml"],
        ),
        ("shared-tree-teams", 2, vec!["base/deny.yaml"]),
        (
            "shared-tree-kinds",
            0,
            vec!["base/deny.yaml", "shared-tree-a/deny.yaml", "shared-tree-b/deny.yaml"],
        ),
    ] {
        let status = bench.sources().get(name).await?.status.unwrap_or_default();
        let paths: Vec<&str> = status.skipped.iter().map(|skipped| skipped.path.as_str()).collect();
        assert_eq!(
            (status.head.map(|head| head.objects), paths),
            (Some(objects), skipped),
            "{name}"
        );
    }
    let overlap = bench.until_says("shared-tree", "Overlapping", "ScopesOverlap").await?;
    assert!(
        overlap.contains("shared-tree-kinds (priority 0)") && !overlap.contains("teams"),
        "{overlap}"
    );
    until("all three to be there", async || {
        Ok(running.inexact(&bench.client).await?.is_empty().then_some(()))
    })
    .await?;
    running.stop().await
}

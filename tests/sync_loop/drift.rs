//! What someone does to the cluster is undone, whoever does it, unless Git says the same.

use headgate::gate::{Exemption, ExemptionSpec, Rules};
use headgate::source::resource::Mode;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Bench, allow, deny, parse, rules, until};
use crate::{Failure, Outcome};

async fn ready(bench: &Bench, spec: &Value) -> Result<crate::harness::Running, crate::Failure> {
    let namespace = &bench.name;
    bench.repository.write("deny.yaml", &deny(namespace, "deny"))?;
    bench.repository.write("web.yaml", &allow(namespace, "web", 80))?;
    let first = bench.repository.commit("Two policies")?;
    bench.make_source(spec).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    until("the adoption to be over", async || {
        let adopted = bench.source().await?.status.and_then(|status| status.adopted_at);
        // A source is asked once a second over time: a second after its first fetches the next one is free to begin.
        let free = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
        Ok(adopted.filter(|adopted| adopted.0 < free).map(|_| ()))
    })
    .await?;
    Ok(running)
}

async fn until_closed(bench: &Bench) -> Outcome {
    until("the policy to be as Git says", async || {
        let live = serde_json::to_value(bench.policies().get("deny").await?)?;
        let closed = live["spec"]["ingress"].is_null()
            && live["metadata"]["labels"].is_null()
            && live["metadata"]["annotations"].is_null();
        Ok(closed.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_a_deletion_and_a_rogue_are_undone() -> Outcome {
    let bench = Bench::new("drift").await?;
    let running = ready(&bench, &json!({})).await?;
    bench.patch("deny", json!({"spec": {"ingress": [{}]}})).await?;
    until_closed(&bench).await?;
    bench.delete("deny").await?;
    bench.until_there("deny").await?;
    bench.create(&allow("drift", "rogue", 22)).await?;
    bench.until_gone("rogue").await?;
    let records = until("the records", async || {
        let records = running.records()?;
        Ok((running.count("deleted")? == 1).then_some(records))
    })
    .await?;
    let replaced = records
        .iter()
        .find(|record| record["outcome"] == "replaced")
        .ok_or("it is recorded")?;
    assert_eq!(replaced["key"], "networkpolicy.networking.k8s.io/drift/deny");
    assert_eq!(replaced["differences"][0]["path"], "spec.ingress");
    assert!(
        replaced["commit"].is_string() && replaced["path"] == "deny.yaml",
        "{replaced}"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_field_manager_adds_does_not_survive() -> Outcome {
    let bench = Bench::new("managers").await?;
    let running = ready(&bench, &json!({})).await?;
    let mut opened = parse(&deny("managers", "deny"))?;
    crate::harness::merge(
        &mut opened,
        &json!({"metadata": {"labels": {"mine": "yes"}, "annotations": {"mine": "yes"}}, "spec": {"ingress": [{}]}}),
    );
    for manager in ["someone", "someone-else"] {
        let params = PatchParams::apply(manager).force();
        bench.policies().patch("deny", &params, &Patch::Apply(&opened)).await?;
        until_closed(&bench).await?;
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_that_other_deployers_leave() -> Outcome {
    let bench = Bench::new("others").await?;
    // The field that is defaulted where Git leaves it out.
    let plain = deny("others", "plain").replace("  policyTypes: [Ingress]\n", "");
    bench.repository.write("plain.yaml", &plain)?;
    let running = ready(&bench, &json!({})).await?;
    let until_plain = async || {
        until("the policy to be as Git says", async || {
            let live = serde_json::to_value(bench.policies().get("plain").await?)?;
            let plain = live["spec"]["ingress"].is_null()
                && live["spec"]["policyTypes"] == json!(["Ingress"])
                && live["metadata"]["labels"].is_null()
                && live["metadata"]["annotations"].is_null();
            Ok(plain.then_some(()))
        })
        .await
    };
    until_plain().await?;
    let mark = |name: &str, value: &str| json!({"metadata": {"annotations": {name: value}}, "spec": {"ingress": [{}]}});
    for write in [
        json!({"spec": {"ingress": [{}]}}),
        json!({"spec": {"policyTypes": ["Egress"]}}),
        json!({"metadata": {"labels": {"somebody": "else"}}}),
        // Marks by which a deployer would leave the object alone.
        mark("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
        mark("kustomize.toolkit.fluxcd.io/ssa", "Ignore"),
        mark("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
        mark("argocd.argoproj.io/sync-options", "Prune=false"),
        mark("helm.sh/resource-policy", "keep"),
    ] {
        bench.patch("plain", write.clone()).await?;
        until_plain().await?;
        // The same by another manager, whose fields no merge of the file's would touch.
        let mut applied = parse(&plain)?;
        crate::harness::merge(&mut applied, &write);
        let params = PatchParams::apply("someone").force();
        bench
            .policies()
            .patch("plain", &params, &Patch::Apply(&applied))
            .await?;
        until_plain().await?;
    }
    let rogue = allow("others", "rogue", 22).replace(
        "  name: rogue\n",
        "  name: rogue\n  annotations: {argocd.argoproj.io/sync-options: Prune=false}\n",
    );
    bench.create(&rogue).await?;
    bench.until_gone("rogue").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_a_fresher_commit_asks_for_is_not_undone() -> Outcome {
    let bench = Bench::new("fresher").await?;
    // The source would not look by itself before the test is over.
    let running = ready(&bench, &json!({"git": {"interval": "1h"}})).await?;
    bench.repository.write("web.yaml", &allow("fresher", "web", 443))?;
    let fresher = bench.repository.commit("Let the web in by TLS only")?;
    let version = serde_json::to_value(bench.policies().get("web").await?)?["metadata"]["resourceVersion"].clone();
    bench
        .patch("web", json!({"spec": {"ingress": [{"ports": [{"port": 443}]}]}}))
        .await?;
    bench.until_synced_at(&fresher).await?;
    let live = serde_json::to_value(bench.policies().get("web").await?)?;
    assert_eq!(live["spec"]["ingress"][0]["ports"][0]["port"], 443);
    assert_ne!(live["metadata"]["resourceVersion"], version);
    assert_eq!(running.count("replaced")?, 0, "there was nothing to do");
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_made_while_the_loop_was_away_is_undone_when_it_is_back() -> Outcome {
    let bench = Bench::new("away").await?;
    ready(&bench, &json!({})).await?.stop().await?;
    bench.patch("deny", json!({"spec": {"ingress": [{}]}})).await?;
    bench.delete("web").await?;
    bench.create(&allow("away", "rogue", 22)).await?;
    let running = bench
        .run_as(headgate::source::resource::Mode::Enforce, None, "another-disk")
        .await?;
    until_closed(&bench).await?;
    bench.until_there("web").await?;
    bench.until_gone("rogue").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_going_is_waited_for_only_as_long_as_it_is_what_git_says() -> Outcome {
    let bench = Bench::new("going").await?;
    let file = allow("going", "held", 80).replace("spec:", "  finalizers: [example.com/held]\nspec:");
    let running = ready(&bench, &json!({"sync": {"prune": "Never"}})).await?;
    bench.create(&file).await?;
    bench.delete("held").await?;
    bench.repository.write("held.yaml", &file)?;
    let commit = bench.repository.commit("Declare what is going")?;
    until("the loop to follow", async || {
        let status = bench.source().await?.status.unwrap_or_default();
        Ok(status.head.filter(|head| head.commit == commit).map(|_| ()))
    })
    .await?;
    let going = || async {
        let live = bench.policies().get("held").await?;
        Ok::<_, Failure>((live.metadata.uid, live.metadata.deletion_timestamp.is_some()))
    };
    let (first, is_going) = going().await?;
    assert!(is_going, "a finalizer that Git names was taken away");
    // Whoever opens it now does not get to keep it open by the finalizer.
    bench
        .patch(
            "held",
            json!({"spec": {"ingress": [{}]}, "metadata": {"labels": {"a": "b"}}}),
        )
        .await?;
    until("the object that is going to be as Git says", async || {
        let live = bench.policies().get("held").await?;
        Ok((live.metadata.labels.is_none() && live.metadata.uid == first).then_some(()))
    })
    .await?;
    bench.patch("held", json!({"metadata": {"finalizers": null}})).await?;
    until("the object to be made again", async || {
        let live = bench.policies().get_opt("held").await?;
        Ok(live
            .filter(|live| live.metadata.deletion_timestamp.is_none())
            .map(|_| ()))
    })
    .await?;
    // One that nobody but a stranger's finalizer holds is let go, and made again.
    bench
        .patch("held", json!({"metadata": {"finalizers": ["example.com/held", "example.com/for-ever"]}, "spec": {"ingress": [{}]}}))
        .await?;
    bench.delete("held").await?;
    until("the stranger's finalizer to go", async || {
        let live = bench.policies().get_opt("held").await?;
        let finalizers = live.and_then(|live| live.metadata.finalizers).unwrap_or_default();
        Ok((finalizers == ["example.com/held"]).then_some(()))
    })
    .await?;
    // One that lacks the finalizer that Git names, which nothing that is going can be given, goes and is made anew.
    bench.patch("held", json!({"metadata": {"finalizers": null}})).await?;
    let anew = async |before: Option<String>| {
        until("the object to be made anew", async || {
            let live = bench.policies().get_opt("held").await?;
            let live = live.filter(|live| live.metadata.deletion_timestamp.is_none() && live.metadata.uid != before);
            Ok(live.map(|live| live.metadata))
        })
        .await
    };
    let before = anew(first).await?.uid;
    bench.change_source("going", json!({"suspend": true})).await?;
    bench.until_says("going", "Synced", "Suspended").await?;
    bench
        .patch(
            "held",
            json!({"metadata": {"finalizers": ["example.com/other"]}, "spec": {"ingress": [{}]}}),
        )
        .await?;
    bench.delete("held").await?;
    bench.change_source("going", json!({"suspend": false})).await?;
    let metadata = anew(before).await?;
    assert_eq!(metadata.finalizers, Some(vec!["example.com/held".to_owned()]));
    assert_eq!(running.count("failed")?, 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_exemption_names_stays_until_the_exemption_ends() -> Outcome {
    let bench = Bench::new("ending").await?;
    bench.repository.write("deny.yaml", &deny("ending", "deny"))?;
    let commit = bench.repository.commit("Deny everything")?;
    bench.make_source(&json!({"sync": {"prune": "All"}})).await?;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8);
    let exemption = Exemption::new(ExemptionSpec {
        users: vec!["somebody".to_owned()],
        kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
        names: vec!["trial".to_owned()],
        until: Some(end),
        reason: "a trial".to_owned(),
        ..ExemptionSpec::default()
    })?;
    let rules = Rules {
        exemptions: vec![exemption],
        ..rules(Mode::Enforce)
    };
    bench.create(&allow("ending", "trial", 80)).await?;
    let running = bench.run_with(rules, None, "state").await?;
    bench.until_synced_at(&commit).await?;
    // By now a rogue beside it would be gone; by the clock of the object's end nothing else happens to it.
    bench.create(&allow("ending", "rogue", 22)).await?;
    bench.until_gone("rogue").await?;
    let kept = bench.policies().get_opt("trial").await?.is_some();
    assert!(
        kept || jiff::Timestamp::now() >= end,
        "pruned before the exemption's end"
    );
    bench.until_gone("trial").await?;
    assert!(jiff::Timestamp::now() >= end);
    running.stop().await
}

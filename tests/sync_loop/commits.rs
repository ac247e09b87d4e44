//! What a commit brings into the cluster, and what it must not take out of it.

use headgate::gate::GrantSet;
use headgate::source::resource::Mode;
use headgate::sync::{Standing, survey};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::harness::{Bench, allow, condition, deny, rules, until};
use crate::{Failure, Outcome};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_head_is_applied_and_every_commit_after_it() -> Outcome {
    let bench = Bench::new("commits").await?;
    for index in 0..10 {
        let name = format!("p{index}");
        bench
            .repository
            .write(&format!("{name}.yaml"), &allow("commits", &name, 80))?;
    }
    let first = bench.repository.commit("Ten policies")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    assert_eq!(bench.policies().list(&ListParams::default()).await?.items.len(), 10);

    bench.repository.write("p0.yaml", &allow("commits", "p0", 443))?;
    bench.repository.write("new.yaml", &deny("commits", "new"))?;
    bench.repository.remove("p1.yaml")?;
    let second = bench.repository.commit("Change one, add one, remove one")?;
    bench.until_synced_at(&second).await?;
    bench.until_gone("p1").await?;
    let changed = serde_json::to_value(bench.policies().get("p0").await?)?;
    assert_eq!(changed["spec"]["ingress"][0]["ports"][0]["port"], 443);
    assert!(
        changed["metadata"]["labels"].is_null(),
        "nothing is added to what Git says"
    );

    let status = bench.source().await?.status.ok_or("there is a status")?;
    assert_eq!(status.head.as_ref().map(|head| head.objects), Some(10));
    assert_eq!(status.announced, second);
    assert_eq!(status.short_commit, second.get(..7).unwrap_or_default());
    assert!(status.adopted_at.is_some());
    assert_eq!(status.drift, 0);
    let mut outcomes: Vec<String> = Vec::new();
    for record in running.records()? {
        let known = ["created", "replaced", "deleted", "accepted", "refused", "failed"];
        outcomes.extend(
            known
                .iter()
                .filter(|name| record["outcome"] == **name)
                .map(ToString::to_string),
        );
    }
    let count = |name: &str| outcomes.iter().filter(|outcome| *outcome == name).count();
    assert_eq!(
        (
            count("created"),
            count("replaced"),
            count("deleted"),
            count("accepted"),
            count("failed")
        ),
        (11, 1, 1, 2, 0)
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_repository_deletes_nothing_and_healing_goes_on() -> Outcome {
    let bench = Bench::new("emptied").await?;
    bench.repository.write("deny.yaml", &deny("emptied", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"sync": {"prune": "All"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.repository.remove("deny.yaml")?;
    bench.repository.commit("Remove everything")?;
    bench.until_ready_says("EmptyTree").await?;
    let source = bench.source().await?;
    assert_eq!(
        condition(&source, "Synced").map(|(status, _)| status).as_deref(),
        Some("True")
    );
    bench.delete("deny").await?;
    bench.until_there("deny").await?;
    assert_eq!(running.count("deleted")?, 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_policies_from_before_are_listed_and_not_touched() -> Outcome {
    let bench = Bench::new("adoption").await?;
    for index in 0..200 {
        bench.create(&allow("adoption", &format!("old-{index:03}"), 80)).await?;
    }
    bench.repository.write("deny.yaml", &deny("adoption", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let status = until("the old policies to be listed", async || {
        let status = bench.source().await?.status.unwrap_or_default();
        Ok((status.undeclared.len() == 20).then_some(status))
    })
    .await?;
    assert_eq!(
        status.undeclared.first().map(String::as_str),
        Some("networkpolicy.networking.k8s.io/adoption/old-000")
    );
    assert_eq!(status.drift, 0, "what is left alone is no drift");
    // A younger one goes, and so does an old one that Git once declared.
    bench.repository.write("old.yaml", &allow("adoption", "old-000", 80))?;
    let second = bench.repository.commit("Declare an old one")?;
    bench.until_synced_at(&second).await?;
    bench.repository.remove("old.yaml")?;
    bench.repository.commit("And remove it")?;
    bench.until_gone("old-000").await?;
    until("the adoption to be over", async || {
        let adopted = status.adopted_at.clone().ok_or("it was adopted")?;
        Ok((jiff::Timestamp::now() > adopted.0).then_some(()))
    })
    .await?;
    bench.create(&allow("adoption", "rogue", 22)).await?;
    bench.until_gone("rogue").await?;
    assert_eq!(bench.policies().list(&ListParams::default()).await?.items.len(), 200);
    assert_eq!(running.count("deleted")?, 2);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_is_waited_for_and_holds_up_nothing() -> Outcome {
    let bench = Bench::new("present").await?;
    bench.repository.write("now.yaml", &deny("present", "deny"))?;
    bench.repository.write("later.yaml", &deny("absent", "deny"))?;
    let first = bench.repository.commit("Deny here and there")?;
    bench
        .make_source(&json!({"scope": {"namespaces": ["present", "absent"]}}))
        .await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_ready_says("WaitingForNamespace").await?;
    bench.until_there("deny").await?;
    bench.make_namespace("absent").await?;
    bench.until_ready_says("Synced").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_object_holds_up_no_other_and_its_repair_is_taken_at_once() -> Outcome {
    let bench = Bench::new("broken").await?;
    let name = |index: usize| format!("p{index}");
    for index in 0..5 {
        bench
            .repository
            .write(&format!("{}.yaml", name(index)), &deny("broken", &name(index)))?;
    }
    refuse_by_policy(&bench, "broken").await?;
    bench.repository.write("0.yaml", &deny("broken", "refused"))?;
    bench.repository.commit("One of them is refused")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_ready_says("WriteFailed").await?;
    for index in 0..5 {
        bench.until_there(&name(index)).await?;
    }
    until("all but one to count as done", async || {
        let progress = bench.source().await?.status.unwrap_or_default().progress;
        Ok(progress.filter(|progress| (progress.done, progress.total) == (5, 6)))
    })
    .await?;
    bench.delete("p3").await?;
    bench.until_there("p3").await?;
    let records = running.records()?;
    let failed: Vec<_> = records.iter().filter(|record| record["outcome"] == "failed").collect();
    assert_eq!(failed.len(), 1, "recorded once, however often it is tried: {failed:#?}");
    bench.repository.remove("0.yaml")?;
    let repaired = bench.repository.commit("Without it")?;
    bench.until_synced_at(&repaired).await?;
    running.stop().await
}

/// The API server refuses `NetworkPolicies` named `refused` in this namespace from now on.
async fn refuse_by_policy(bench: &Bench, namespace: &str) -> Outcome {
    use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"]}]},
            "validations": [{"expression": "object.metadata.name != 'refused'", "message": "not this one"}]}
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"]}
    }))?;
    let post = kube::api::PostParams::default();
    kube::Api::all(bench.client.clone()).create(&post, &policy).await?;
    kube::Api::all(bench.client.clone()).create(&post, &binding).await?;
    let probe = serde_json::from_value(crate::harness::parse(&deny(namespace, "refused"))?)?;
    let dry = kube::api::PostParams {
        dry_run: true,
        ..Default::default()
    };
    until("the policy to refuse", async || {
        Ok(bench.policies().create(&dry, &probe).await.is_err().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_reports_drift_and_writes_nothing() -> Outcome {
    let bench = Bench::new("audit").await?;
    bench.repository.write("deny.yaml", &deny("audit", "deny"))?;
    bench.repository.write("web.yaml", &allow("audit", "web", 443))?;
    bench.repository.commit("Two policies")?;
    bench.create(&allow("audit", "web", 80)).await?;
    bench.make_source(&json!({})).await?;
    let running = bench.run_as(Mode::Audit, None, "state").await?;
    bench.until_ready_says("Audit").await?;
    let status = bench.source().await?.status.unwrap_or_default();
    assert_eq!(status.drift, 2);
    let names: Vec<String> = bench
        .policies()
        .list(&ListParams::default())
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["web"]);

    let seen = survey(
        &bench.client,
        &running.keeper.desired(),
        &rules(Mode::Enforce),
        &GrantSet::default(),
        &|_, _| {},
    )
    .await?;
    let standing = |name: &str| -> Result<Option<Standing>, Failure> {
        let key = format!("networkpolicy.networking.k8s.io/audit/{name}").parse()?;
        Ok(seen.findings.get(&key).map(|finding| finding.standing))
    };
    assert_eq!(standing("deny")?, Some(Standing::Missing));
    assert_eq!(standing("web")?, Some(Standing::Changed));
    let forms: Vec<String> = seen.forms.keys().map(ToString::to_string).collect();
    assert_eq!(forms, ["networkpolicy.networking.k8s.io/audit/web"]);
    running.stop().await
}

//! Calico's own resources in native mode, and kinds that come later than the loop.

use std::path::PathBuf;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::controlplane::ControlPlane;
use crate::harness::{Bench, parse, until};
use crate::{Failure, Outcome};

/// A folder with Calico's definitions; none where it is absent, and then CI fails.
fn definitions(name: &str) -> Result<Option<PathBuf>, Failure> {
    let folder = std::env::var_os("HEADGATE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let folder = folder.join("crds").join(name);
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    if std::env::var_os("CI").is_some() {
        return Err(format!("{} is not there, and CI must not skip this test", folder.display()).into());
    }
    eprintln!(
        "skipped: {} is not there; HEADGATE_SHARED names its folder",
        folder.display()
    );
    Ok(None)
}

/// Installs the definitions and gives their names.
async fn install(client: &Client, folder: PathBuf) -> Result<Vec<String>, Failure> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let crd = parse(&std::fs::read_to_string(file?.path())?)?;
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let params = PatchParams::apply("test").force();
        crds.patch(&name, &params, &Patch::Apply(&crd)).await?;
        names.push(name);
    }
    Ok(names)
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    api_in(("projectcalico.org", "v3"), client, kind, namespace)
}

fn api_in(served: (&str, &str), client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(served.0, served.1, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

const TIER: &str = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: platform}\nspec: {order: 100}\n";
const POLICY: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
    metadata: {name: web, namespace: calico}\nspec:\n  tier: platform\n  order: 100.0\n  selector: app == 'web'\n  \
    types: [Ingress]\n  ingress:\n    - action: Allow\n      protocol: TCP\n      \
    destination: {ports: [80, \"8080:8090\"]}\n";
const SET: &str = "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\nmetadata:\n  name: partners\n  \
    labels: {role: partner}\nspec:\n  nets: [203.0.113.0/24]\n";

#[tokio::test(flavor = "multi_thread")]
async fn calicos_kinds_are_followed_as_soon_as_they_are_served() -> Outcome {
    let Some(folder) = definitions("calico-native-v3")? else {
        return Ok(());
    };
    let bench = Bench::new("calico").await?;
    bench
        .repository
        .write("calico.yaml", &[TIER, POLICY, SET].join("---\n"))?;
    let first = bench
        .repository
        .commit("A tier, a policy in it, and a set in the other group")?;
    bench
        .make_source(&json!({"scope": {"clusterScoped": true, "tiers": ["platform", "later"]}}))
        .await?;
    let running = bench.run().await?;
    bench.until_ready_says("KindNotServed").await?;
    let names = install(&bench.client, folder).await?;
    bench.until_synced_at(&first).await?;

    let policies = api(&bench.client, "NetworkPolicy", Some("calico"));
    let open = json!({"spec": {"ingress": [{"action": "Allow"}]}, "metadata": {"labels": {"mine": "yes"}}});
    policies
        .patch("web", &PatchParams::default(), &Patch::Merge(open))
        .await?;
    until("the policy to be closed", async || {
        let live = policies.get("web").await?;
        let closed = live.data.pointer("/spec/ingress/0/protocol").is_some() && !live.labels().contains_key("mine");
        Ok(closed.then_some(()))
    })
    .await?;

    // What Calico's tier controller keeps on a tier is not the loop's business.
    let tiers = api(&bench.client, "Tier", None);
    let held = json!({"metadata": {"finalizers": ["projectcalico.org/tier-controller"]}});
    tiers
        .patch("platform", &PatchParams::default(), &Patch::Merge(held))
        .await?;
    let moved = json!({"spec": {"order": 1}});
    tiers
        .patch("platform", &PatchParams::default(), &Patch::Merge(moved))
        .await?;
    until("the tier to be where Git has it", async || {
        let live = tiers.get("platform").await?;
        Ok((live.data.pointer("/spec/order") == Some(&json!(100))).then_some(()))
    })
    .await?;
    let finalizers = tiers.get("platform").await?.metadata.finalizers.unwrap_or_default();
    assert_eq!(finalizers, ["projectcalico.org/tier-controller"]);

    // The file has the policy first; the tier it names is written first all the same.
    let more = [POLICY, "---\n", TIER]
        .concat()
        .replace("platform", "later")
        .replace("web", "api");
    bench.repository.write("more.yaml", &more)?;
    let second = bench.repository.commit("A policy and its tier")?;
    bench.until_synced_at(&second).await?;
    let created: Vec<String> = running
        .records()?
        .iter()
        .filter(|record| record["outcome"] == "created" && record["commit"] == second.as_str())
        .filter_map(|record| Some(record["key"].as_str()?.to_owned()))
        .collect();
    assert_eq!(
        created,
        [
            "tier.projectcalico.org/later",
            "networkpolicy.projectcalico.org/calico/api"
        ]
    );
    assert_eq!(running.count("failed")?, 0);

    // Kinds that are served no longer are no drift that writes could mend.
    let crds: Api<CustomResourceDefinition> = Api::all(bench.client.clone());
    for tier in ["platform", "later"] {
        let free = json!({"metadata": {"finalizers": null}});
        tiers.patch(tier, &PatchParams::default(), &Patch::Merge(free)).await?;
    }
    for name in names {
        crds.delete(&name, &DeleteParams::default()).await?;
    }
    bench.until_ready_says("KindNotServed").await?;
    running.stop().await
}

/// A control plane of its own: the two modes of Calico exclude each other.
fn plane_of_crd_v1() -> Result<&'static ControlPlane, Failure> {
    static PLANE: LazyLock<Result<ControlPlane, String>> =
        LazyLock::new(|| ControlPlane::start().map_err(|error| error.to_string()));
    Ok(PLANE.as_ref().map_err(Clone::clone)?)
}

/// Loops that speak for everything cluster-scoped would prune what the other's repository has.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The API server refuses policies of the tier `later` while there is no such tier, as Calico's own server does.
async fn refuse_without_tier(bench: &Bench) -> Outcome {
    use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": "tiers-first"},
        "spec": {
            "paramKind": {"apiVersion": "crd.projectcalico.org/v1", "kind": "Tier"},
            "matchConstraints": {
                "objectSelector": {"matchLabels": {"in-tier": "later"}},
                "resourceRules": [{"apiGroups": ["crd.projectcalico.org"], "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"]}]},
            "validations": [{"expression": "params != null", "message": "the tier later is not there"}]}
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": "tiers-first"},
        "spec": {"policyName": "tiers-first", "validationActions": ["Deny"],
            "paramRef": {"name": "later", "parameterNotFoundAction": "Deny"}}
    }))?;
    let post = PostParams::default();
    Api::all(bench.client.clone()).create(&post, &policy).await?;
    Api::all(bench.client.clone()).create(&post, &binding).await?;
    let probe = serde_json::from_value(parse(&in_tier("tierless", "probe", "later"))?)?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let policies = api_in(
        ("crd.projectcalico.org", "v1"),
        &bench.client,
        "NetworkPolicy",
        Some("tierless"),
    );
    until("the policy to refuse", async || {
        Ok(policies.create(&dry, &probe).await.is_err().then_some(()))
    })
    .await
}

fn in_tier(namespace: &str, name: &str, tier: &str) -> String {
    format!(
        "apiVersion: crd.projectcalico.org/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{in-tier: {tier}}}}}\n\
         spec: {{tier: {tier}, selector: all(), types: [Ingress]}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_its_tier_holds_up_no_other_and_follows_the_tier_at_once() -> Outcome {
    let Some(folder) = definitions("calico-crd-v1")? else {
        return Ok(());
    };
    let _turn = ONE_AT_A_TIME.lock().await;
    let bench = Bench::on(plane_of_crd_v1()?, "tierless").await?;
    bench.make_namespace("tierless").await?;
    install(&bench.client, folder).await?;
    refuse_without_tier(&bench).await?;
    // A team's repository, and one of the platform, which alone may have tiers.
    let platform = bench.another_repository("platform")?;
    let everything = json!({"git": {"url": platform.url(), "interval": "1s"},
        "scope": {"namespaces": [], "clusterScoped": true, "kinds": ["tier.projectcalico.org"]}});
    platform.write("README.md", "nothing yet")?;
    platform.commit("Nothing")?;
    bench.make_source_named("tierless-platform", &everything).await?;
    let team = &bench.repository;
    team.write("late.yaml", &in_tier("tierless", "late", "later"))?;
    team.write("early.yaml", &in_tier("tierless", "early", "default"))?;
    team.write("high.yaml", &in_tier("tierless", "high", "platform"))?;
    team.write("tier.yaml", &TIER.replace("platform", "mine"))?;
    team.write("web.yaml", &crate::harness::deny("tierless", "web"))?;
    team.commit("One whose tier is missing, and two that are not the team's")?;
    bench
        .make_source(&json!({"scope": {"tiers": ["default", "later"]}}))
        .await?;
    let running = bench.run().await?;
    let why = bench.until_says("tierless", "Synced", "WriteFailed").await?;
    assert!(why.contains("tierless/late"), "{why}");
    bench.until_there("web").await?;
    let stored = api_in(
        ("crd.projectcalico.org", "v1"),
        &bench.client,
        "NetworkPolicy",
        Some("tierless"),
    );
    until("the other Calico policy", async || Ok(stored.get_opt("early").await?)).await?;
    let status = bench.source().await?.status.unwrap_or_default();
    let skipped: Vec<(&str, bool)> = status
        .skipped
        .iter()
        .map(|skipped| (skipped.path.as_str(), skipped.reason.contains("tier platform")))
        .collect();
    assert_eq!(skipped, [("high.yaml", true), ("tier.yaml", false)]);

    platform.write("later.yaml", &TIER.replace("platform", "later"))?;
    platform.commit("The tier")?;
    until("the policy to follow its tier", async || {
        Ok(stored.get_opt("late").await?)
    })
    .await?;
    bench.until_says("tierless", "Synced", "Synced").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_calicos_api_server_the_stored_objects_themselves_are_kept_as_git_says() -> Outcome {
    let Some(folder) = definitions("calico-crd-v1")? else {
        return Ok(());
    };
    let _turn = ONE_AT_A_TIME.lock().await;
    let bench = Bench::on(plane_of_crd_v1()?, "calico").await?;
    bench.make_namespace("calico").await?;
    install(&bench.client, folder).await?;
    bench
        .repository
        .write("calico.yaml", &[TIER, POLICY, SET].join("---\n"))?;
    let first = bench.repository.commit("A tier, a policy in it, and a set")?;
    bench
        .make_source(&json!({"scope": {"clusterScoped": true, "tiers": ["platform"]}}))
        .await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let stored = |kind, namespace| api_in(("crd.projectcalico.org", "v1"), &bench.client, kind, namespace);

    // Calico's server would hide this set; a label that the annotation adds would reach every selector.
    let sets = stored("GlobalNetworkSet", None);
    for forged in ["no JSON", r#"{"labels":{"trusted":"yes"}}"#] {
        let forged = json!({"metadata": {"annotations": {"projectcalico.org/metadata": forged}}});
        sets.patch("partners", &PatchParams::default(), &Patch::Merge(forged))
            .await?;
        until("the set to be readable again", async || {
            Ok(sets.get("partners").await?.annotations().is_empty().then_some(()))
        })
        .await?;
    }

    // A second object that claims to be the same policy.
    let policies = stored("NetworkPolicy", Some("calico"));
    let mut twin = policies.get("web").await?;
    twin.metadata = serde_json::from_value(json!({"name": "twin", "namespace": "calico",
        "annotations": {"projectcalico.org/metadata": r#"{"name":"web"}"#}}))?;
    policies.create(&PostParams::default(), &twin).await?;
    until("the twin to be gone", async || {
        Ok(policies.get_opt("twin").await?.is_none().then_some(()))
    })
    .await?;
    assert!(policies.get_opt("web").await?.is_some());
    assert_eq!(running.count("failed")?, 0);
    running.stop().await
}

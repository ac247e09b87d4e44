//! A cluster that starts anew: Calico makes its Tiers before the webhook can be reached.

use serde_json::json;

use crate::Outcome;
use crate::calico::install;
use crate::stand::Stand;

fn tier(name: &str, order: u32) -> String {
    let action = if name == "default" { "Deny" } else { "Pass" };
    format!(
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}}}\n\
         spec: {{order: {order}, defaultAction: {action}}}\n"
    )
}

#[test]
fn calico_makes_its_tiers_while_the_webhook_is_away_and_the_loop_mends_them() -> Outcome {
    let stand = Stand::new()?;
    if !install(&stand)? {
        return Ok(());
    }
    stand.make_certificates()?;
    std::fs::write(stand.plane.dir().join("config.yaml"), "")?;
    stand.ask_at("https://127.0.0.1:1")?;
    let create = |name: &str, more: &[&str]| {
        let arguments = [&["create", "-f", "-"], more].concat();
        stand.kubectl_with(&arguments, &tier(name, 5))
    };
    let unreachable = "failed calling webhook \"calico-tiers.headgate.dev\"";
    stand.until("the API server to ask the webhook that is not there", || {
        Ok(create("team-a", &["--dry-run=server"])
            .err
            .contains(unreachable)
            .then_some(()))
    })?;
    for name in [
        "default",
        "kube-admin",
        "kube-baseline",
        "adminnetworkpolicy",
        "baselineadminnetworkpolicy",
    ] {
        create(name, &[]).ok()?;
    }
    assert!(create("team-a", &[]).refused()?.contains(unreachable));
    let tiers = "tiers.projectcalico.org";
    let label = stand.kubectl(&["label", tiers, "default", "a=b"]).refused()?;
    assert!(label.contains(unreachable), "{label}");

    stand.serve("")?;
    stand.repository.write("tier.yaml", &tier("default", 1_000_000))?;
    let commit = stand.repository.commit("The default tier, last")?;
    stand.add_source("platform", json!({"sync": {"prune": "All"}}))?;
    stand.until_ready_at("platform", &commit)?;
    let order =
        |name: &str| Ok::<_, crate::Failure>(stand.get(&format!("{tiers}/{name}"), None)?["spec"]["order"].clone());
    assert_eq!(order("default")?, 1_000_000);
    // Not declared: Calico's, and nobody else's.
    assert_eq!(order("kube-admin")?, 5);
    let said = stand.kubectl(&[
        "patch",
        tiers,
        "kube-admin",
        "--type=merge",
        "-p",
        r#"{"spec":{"order":1}}"#,
    ]);
    assert!(said.refused()?.contains("Tier kube-admin is not in Git."));
    Ok(())
}

//! The marks of a source's deployer.

use super::*;
use crate::source::resource::DeployerChoice;

fn applied_by_helm(object: Value) -> Value {
    let labelled = with(
        object,
        "/metadata",
        "labels",
        json!({"app.kubernetes.io/managed-by": "Helm"}),
    );
    with(
        labelled,
        "/metadata",
        "annotations",
        json!({"meta.helm.sh/release-name": "policies", "meta.helm.sh/release-namespace": "shop"}),
    )
}

fn deployed(deployer: DeployerChoice, declared: &[Value]) -> Result<Vec<SourceState>, Box<dyn std::error::Error>> {
    let spec = PolicySourceSpec { deployer, ..spec() };
    Ok(vec![source("platform", &spec, declared)?])
}

#[test]
fn marks_count_unless_the_source_names_their_deployer() -> Outcome {
    let file = policy("shop", "web", 80);
    let marked = applied_by_helm(file.clone());
    for (deployer, reason) in [
        (DeployerChoice::None, Reason::Differs),
        (DeployerChoice::ArgoCd, Reason::Differs),
        (DeployerChoice::Helm, Reason::MatchesHead),
    ] {
        let sources = || deployed(deployer, std::slice::from_ref(&file));
        assert_eq!(verdict(&create(marked.clone())?, sources()?, &rules()).0, reason);
        let update = update(file.clone(), marked.clone())?;
        assert_eq!(verdict(&update, sources()?, &rules()).0, reason);
    }
    Ok(())
}

#[test]
fn a_stale_revision_is_refused_marks_or_not() -> Outcome {
    let (now_in_git, before) = (policy("shop", "web", 443), policy("shop", "web", 80));
    let sources = || deployed(DeployerChoice::Helm, std::slice::from_ref(&now_in_git));
    let stale = create(applied_by_helm(before.clone()))?;
    assert_eq!(verdict(&stale, sources()?, &rules()).0, Reason::Differs);
    // Nor may the stale object be marked: the outcome is not what Git says.
    let marking = update(before.clone(), applied_by_helm(before))?;
    assert_eq!(verdict(&marking, sources()?, &rules()).0, Reason::Differs);
    Ok(())
}

#[test]
fn marks_declare_nothing_and_let_nothing_go() -> Outcome {
    let file = policy("shop", "web", 80);
    let sources = || deployed(DeployerChoice::Helm, std::slice::from_ref(&file));
    let rogue = create(applied_by_helm(policy("shop", "rogue", 22)))?;
    assert_eq!(verdict(&rogue, sources()?, &rules()).0, Reason::NotDeclared);
    let gone = delete(applied_by_helm(file.clone()))?;
    assert_eq!(verdict(&gone, sources()?, &rules()).0, Reason::StillDeclared);
    Ok(())
}

#[test]
fn the_deciding_sources_deployer_counts_and_conflicts_stay_conflicts() -> Outcome {
    let file = policy("shop", "web", 80);
    let with_priority = |name: &str, deployer, priority, declared: &Value| {
        let spec = PolicySourceSpec {
            priority,
            deployer,
            ..spec()
        };
        source(name, &spec, std::slice::from_ref(declared))
    };
    let marked = create(applied_by_helm(file.clone()))?;
    let sources = |low, high| -> Result<Vec<SourceState>, Box<dyn std::error::Error>> {
        Ok(vec![
            with_priority("low", low, 0, &file)?,
            with_priority("high", high, 10, &file)?,
        ])
    };
    let (none, helm) = (DeployerChoice::None, DeployerChoice::Helm);
    assert_eq!(verdict(&marked, sources(helm, none)?, &rules()).0, Reason::Differs);
    assert_eq!(verdict(&marked, sources(none, helm)?, &rules()).0, Reason::MatchesHead);
    let rivals = vec![
        with_priority("a", helm, 0, &file)?,
        with_priority("b", helm, 0, &applied_by_helm(file.clone()))?,
    ];
    assert_eq!(verdict(&marked, rivals, &rules()).0, Reason::Conflict);
    Ok(())
}

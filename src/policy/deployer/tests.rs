#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

use serde_json::{Value, json};

use super::*;
use crate::policy::canonicalize;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What an object says: digest and marks.
struct Said(Digest, Option<Marked>);

impl Said {
    fn of(object: &Value) -> Result<Self, Box<dyn std::error::Error>> {
        let canonical = canonicalize(object.clone())?;
        Ok(Self(canonical.digest()?, canonical.marked()?))
    }

    fn statement(&self) -> Statement<'_> {
        Statement {
            digest: self.0,
            marked: self.1.as_ref(),
        }
    }
}

fn matches(git: &Value, other: &Value, deployer: Option<Deployer>) -> Result<bool, Box<dyn std::error::Error>> {
    let (git, other) = (Said::of(git)?, Said::of(other)?);
    Ok(git.statement().matches(other.statement(), deployer))
}

fn policy(metadata: &Value) -> Value {
    object("networking.k8s.io/v1", "NetworkPolicy", metadata)
}

fn object(api_version: &str, kind: &str, metadata: &Value) -> Value {
    let mut all = json!({"name": "web", "namespace": "shop"});
    if let (Some(all), Some(more)) = (all.as_object_mut(), metadata.as_object()) {
        all.extend(more.clone());
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": all, "spec": {}})
}

/// What each tool puts on what it applies.
fn marks_of(deployer: Deployer) -> Vec<Value> {
    match deployer {
        Deployer::ArgoCd => vec![
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:networking.k8s.io/NetworkPolicy:shop/web"}}),
            json!({"labels": {"app.kubernetes.io/instance": "app"}, "annotations": {
                "argocd.argoproj.io/tracking-id": "app:networking.k8s.io/NetworkPolicy:shop/web",
                "argocd.argoproj.io/installation-id": "one"}}),
            json!({"labels": {"argocd.argoproj.io/instance": "app"}}),
        ],
        Deployer::Flux => vec![
            json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "a", "kustomize.toolkit.fluxcd.io/namespace": "b"}}),
            json!({"labels": {"helm.toolkit.fluxcd.io/name": "a", "helm.toolkit.fluxcd.io/namespace": "b",
                "app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b"}}),
        ],
        Deployer::Helm => vec![json!({"labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b"}})],
    }
}

#[test]
fn each_tools_marks_pass_for_it_and_for_nobody_else() -> Outcome {
    let git = policy(&json!({}));
    for marking in Deployer::ALL {
        for marks in marks_of(marking) {
            let marked = policy(&marks);
            for named in [None, Some(Deployer::ArgoCd), Some(Deployer::Flux), Some(Deployer::Helm)] {
                // Flux's helm-controller works by Helm, and marks as that does.
                let knows = named == Some(marking) || (named, marking) == (Some(Deployer::Flux), Deployer::Helm);
                assert_eq!(matches(&git, &marked, named)?, knows, "{named:?} {marked}");
            }
            assert_eq!(whose(&git, &marked, None)?, Some(marking), "{marked}");
            assert_eq!(whose(&git, &marked, Some(marking))?, None, "{marked}");
        }
    }
    Ok(())
}

fn whose(git: &Value, other: &Value, named: Option<Deployer>) -> Result<Option<Deployer>, Box<dyn std::error::Error>> {
    let (git, other) = (canonicalize(git.clone())?, canonicalize(other.clone())?);
    Ok(whose_marks(git.key.kind(), &git.form, &other.form, named))
}

#[test]
fn a_mark_beside_another_change_lets_nothing_pass() -> Outcome {
    let git = policy(&json!({"labels": {"team": "a"}}));
    for changed in [
        json!({"labels": {"team": "b", "app.kubernetes.io/managed-by": "Helm"}}),
        json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
        json!({"labels": {"team": "a", "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/managed-by2": "x"}}),
        json!({"labels": {"team": "a", "app.kubernetes.io/managed-by": "helm"}}),
        json!({"labels": {"team": "a", "app.kubernetes.io/managed-by": "tigera-operator"}}),
        json!({"labels": {"team": "a", "app.kubernetes.io/name": "web"}}),
        json!({"labels": {"team": "a"}, "annotations": {"meta.helm.sh/release": "a"}}),
        json!({"labels": {"team": "a", "meta.helm.sh/release-name": "a"}}),
        json!({"labels": {"team": "a"}, "annotations": {"app.kubernetes.io/managed-by": "Helm"}}),
        json!({"labels": {"team": "a"}, "finalizers": ["x/y"], "annotations": {"meta.helm.sh/release-name": "a"}}),
    ] {
        assert!(!matches(&git, &policy(&changed), Some(Deployer::Helm))?, "{changed}");
    }
    let same = json!({"labels": {"team": "a", "app.kubernetes.io/managed-by": "Helm"}});
    assert!(matches(&git, &policy(&same), Some(Deployer::Helm))?);
    Ok(())
}

#[test]
fn a_mark_that_git_declares_is_compared_like_anything_else() -> Outcome {
    let declared = json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"}});
    let git = policy(&declared);
    let helm = Some(Deployer::Helm);
    let mut applied = declared.clone();
    applied["annotations"] = json!({"meta.helm.sh/release-name": "r", "meta.helm.sh/release-namespace": "n"});
    assert!(matches(&git, &policy(&applied), helm)?, "what Helm adds to it passes");
    let mut other = applied.clone();
    other["labels"]["app.kubernetes.io/instance"] = json!("other");
    assert!(!matches(&git, &policy(&other), helm)?);
    let argo = Some(Deployer::ArgoCd);
    other = declared.clone();
    other["labels"]["app.kubernetes.io/instance"] = json!("other");
    assert!(
        !matches(&git, &policy(&other), argo)?,
        "nor may the tool whose mark it is change it"
    );
    other["labels"]
        .as_object_mut()
        .and_then(|labels| labels.remove("app.kubernetes.io/instance"));
    assert!(!matches(&git, &policy(&other), argo)?, "nor take it away");
    assert!(!matches(
        &policy(&json!({"labels": {"app.kubernetes.io/managed-by": "me"}})),
        &git,
        helm
    )?);
    Ok(())
}

#[test]
fn labels_that_select_traffic_are_no_marks_and_annotations_are() -> Outcome {
    let helm = Some(Deployer::Helm);
    for kind in ["NetworkSet", "GlobalNetworkSet", "HostEndpoint"] {
        for version in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
            let git = object(version, kind, &json!({}));
            let labelled = object(
                version,
                kind,
                &json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            );
            assert!(!matches(&git, &labelled, helm)?, "{kind}");
            let annotated = object(
                version,
                kind,
                &json!({"annotations": {"meta.helm.sh/release-name": "a"}}),
            );
            assert!(matches(&git, &annotated, helm)?, "{kind}");
        }
    }
    for kind in ["Tier", "NetworkPolicy", "StagedGlobalNetworkPolicy"] {
        let version = "projectcalico.org/v3";
        let labelled = object(
            version,
            kind,
            &json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
        );
        assert!(matches(&object(version, kind, &json!({})), &labelled, helm)?, "{kind}");
    }
    Ok(())
}

#[test]
fn marks_in_calicos_own_annotation_are_marks() -> Outcome {
    let git = object("projectcalico.org/v3", "NetworkPolicy", &json!({}));
    let packed = json!({"name": "web", "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "a"}});
    let stored = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "default.web", "namespace": "shop",
            "annotations": {"projectcalico.org/metadata": packed.to_string()}}, "spec": {"types": ["Ingress"]},
    });
    assert!(!matches(&git, &stored, None)?);
    assert!(matches(&git, &stored, Some(Deployer::Helm))?);
    Ok(())
}

#[test]
fn what_is_told_of_differences_leaves_out_what_does_not_count() -> Outcome {
    let git = canonicalize(policy(&json!({"labels": {"app.kubernetes.io/instance": "shop"}})))?;
    let other = canonicalize(policy(&json!({
        "labels": {"app.kubernetes.io/instance": "other", "argocd.argoproj.io/instance": "x"},
        "annotations": {"argocd.argoproj.io/tracking-id": "x", "note": "y"},
    })))?;
    let kind = git.key.kind();
    let told = without_marks(kind, &git.form, &other.form, Some(Deployer::ArgoCd));
    let metadata = json!({"labels": {"app.kubernetes.io/instance": "other"}, "annotations": {"note": "y"}});
    assert_eq!(told.get("metadata"), Some(&metadata));
    assert!(matches!(
        without_marks(kind, &git.form, &other.form, None),
        Cow::Borrowed(_)
    ));
    Ok(())
}

#[test]
fn taking_the_marks_away_leaves_what_an_object_without_any_has() -> Outcome {
    for deployer in Deployer::ALL {
        for marks in marks_of(deployer) {
            let (bare, marked) = (canonicalize(policy(&json!({})))?, canonicalize(policy(&marks))?);
            let told = without_marks(bare.key.kind(), &bare.form, &marked.form, Some(deployer));
            assert_eq!(*told, bare.form);
        }
    }
    Ok(())
}

#[test]
fn a_value_that_no_deployer_writes_is_no_mark() -> Outcome {
    let git = policy(&json!({}));
    let marked = |length: usize| {
        let id = "x".repeat(length);
        policy(&json!({"annotations": {"argocd.argoproj.io/tracking-id": id}}))
    };
    assert!(matches(&git, &marked(LONGEST_MARK), Some(Deployer::ArgoCd))?);
    assert!(!matches(&git, &marked(LONGEST_MARK + 1), Some(Deployer::ArgoCd))?);
    assert!(
        Said::of(&marked(LONGEST_MARK + 1))?.1.is_none(),
        "nothing of it is kept"
    );
    Ok(())
}

//! `headgate check` as the pull request runs it: arguments in, lines and exit status out. No cluster.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Failure = Box<dyn std::error::Error>;
type Outcome = Result<(), Failure>;

const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: NS}\n\
    spec:\n  podSelector: {}\n  policyTypes: [Ingress, Egress]\n";
const TIERED: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: payments}\n\
    spec:\n  tier: platform\n  types: [Ingress]\n";
const SOURCE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: payments}\n---\n\
    apiVersion: headgate.dev/v1alpha1\nkind: PolicySource\nmetadata: {name: payments}\nspec:\n  git:\n    \
    url: https://git.example.com/acme.git\n    path: prod/\n    ignore: [prod/skipped/**]\n  scope:\n    \
    namespaces: [payments]\n";

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn check(folder: &Path, more: &[&str]) -> Result<Said, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    let output = command.current_dir(folder).args(["check", "."]).args(more).output()?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> Result<tempfile::TempDir, Failure> {
    let folder = tempfile::tempdir()?;
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
        std::fs::write(path, text)?;
    }
    Ok(folder)
}

#[test]
fn lints_are_warnings_with_a_name_that_turns_them_off() -> Outcome {
    let folder = folder(&[("deny.yaml", &DENY.replace("NS", "web"))])?;
    let said = check(folder.path(), &[])?;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.starts_with("deny.yaml:1:1: warning: spec.policyTypes: "),
        "{}",
        said.out
    );
    assert!(said.out.contains(" [dns-cut-off]\n"), "{}", said.out);
    let json: Value = serde_json::from_str(&check(folder.path(), &["-o", "json"])?.out)?;
    assert_eq!(json.pointer("/problems/0/lint"), Some(&"dns-cut-off".into()));
    let github = check(folder.path(), &["-o", "github"])?.out;
    assert!(github.starts_with("::warning file=deny.yaml,line=1,col=1::") && github.ends_with("[dns-cut-off]\n"));
    let off = check(folder.path(), &["--disable", "dns-cut-off"])?;
    assert!(!off.out.contains("dns-cut-off"), "{}", off.out);
    let typo = check(folder.path(), &["--disable", "dns"])?;
    assert!(
        typo.code == Some(2) && typo.err.contains("webhook-cut-off"),
        "{}",
        typo.err
    );
    Ok(())
}

#[test]
fn headgate_is_protected_where_it_is() -> Outcome {
    let folder = folder(&[("deny.yaml", &DENY.replace("NS", "guard"))])?;
    assert!(!check(folder.path(), &[])?.out.contains("headgate-cut-off"));
    let said = check(
        folder.path(),
        &["--headgate-namespace", "guard", "--webhook-port", "9443"],
    )?;
    assert!(
        said.out.contains("[headgate-cut-off]") && said.out.contains("[webhook-cut-off]"),
        "{}",
        said.out
    );
    assert!(said.out.contains("9443"), "{}", said.out);
    Ok(())
}

#[test]
fn the_scope_comes_from_arguments() -> Outcome {
    let web = DENY.replace("NS", "web").replace(", Egress", "");
    let folder = folder(&[("web.yaml", &web), ("tiered.yaml", TIERED)])?;
    let outside = |more: &[&str]| -> Result<Vec<String>, Failure> {
        let said = check(folder.path(), more)?;
        let lines = said.out.lines().filter(|line| line.ends_with("[outside-scope]"));
        Ok(lines
            .map(|line| line.split(':').next().unwrap_or_default().to_owned())
            .collect())
    };
    assert!(outside(&[])?.is_empty());
    assert_eq!(outside(&["--namespaces", "payments"])?, ["tiered.yaml", "web.yaml"]);
    assert_eq!(outside(&["--namespaces", "pay*", "--tiers", "platform"])?, ["web.yaml"]);
    assert_eq!(
        outside(&["--kinds", "networkpolicy.networking.k8s.io"])?,
        ["tiered.yaml"]
    );
    assert_eq!(outside(&["--tiers", "default"])?, ["tiered.yaml"]);
    assert_eq!(check(folder.path(), &["--kinds", "pods"])?.code, Some(2));
    Ok(())
}

#[test]
fn the_scope_comes_from_a_policy_source() -> Outcome {
    let folder = folder(&[
        ("source.yaml", SOURCE),
        ("broken.yaml", "kind: ["),
        ("prod/skipped/broken.yaml", "kind: ["),
        ("prod/web.yaml", &DENY.replace("NS", "web").replace(", Egress", "")),
        (
            "prod/a/deny.yaml",
            &DENY.replace("NS", "payments").replace(", Egress", ""),
        ),
        (
            "prod/b/deny.yaml",
            &DENY.replace("NS", "payments").replace(", Egress", ""),
        ),
    ])?;
    let said = check(folder.path(), &["--scope", "source.yaml"])?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines.len() == 3
            && lines
                .first()
                .is_some_and(|line| line.contains("is declared in prod/a/deny.yaml:1 already"))
            && lines
                .get(1)
                .is_some_and(|line| line.starts_with("prod/web.yaml:1:1: warning: ")),
        "{}",
        said.out
    );
    let alias = check(folder.path(), &["--source", "source.yaml", "--ignore", "prod/b/**"])?;
    assert_eq!(alias.code, Some(0), "{}", alias.out);
    for (arguments, complaint) in [
        (&["--scope", "prod/web.yaml"][..], "holds no PolicySource"),
        (&["--scope", "absent.yaml"], "cannot be read"),
        (&["--scope", "source.yaml", "--namespaces", "a"], "cannot be used with"),
    ] {
        let said = check(folder.path(), arguments)?;
        assert!(said.code == Some(2) && said.err.contains(complaint), "{}", said.err);
    }
    Ok(())
}

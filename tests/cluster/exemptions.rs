//! `headgate exemptions`.

use std::process::Command;

use serde_json::Value;

use crate::{Failure, Outcome};

const CONFIG: &str = "exemptionPresets:\n  - name: calico-controllers\n  \
    - {name: calico-datastore-migration, until: 2020-01-31T18:00:00Z}\nexemptions:\n  \
    - {users: [alice], kinds: [tier.projectcalico.org], names: [lab], until: 2999-01-31T18:00:00Z, reason: a trial}\n";

fn headgate(arguments: &[&str]) -> Result<(Option<i32>, String), Failure> {
    let output = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .arg("exemptions")
        .args(arguments)
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

#[test]
fn the_command_prints_what_is_in_force_with_presets_expanded_and_ends() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config.yaml").display().to_string();
    std::fs::write(&path, CONFIG)?;
    let (code, table) = headgate(&["--config", &path])?;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("   ").map(str::trim).collect())
        .collect();
    let words = |line: usize| {
        lines[line]
            .iter()
            .filter(|cell| !cell.is_empty())
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(code, Some(0), "{table}");
    assert_eq!(
        words(0),
        ["PRESET", "USERS", "KINDS", "NAMES", "OPERATIONS", "ENDS", "REASON"]
    );
    assert_eq!(
        words(1),
        [
            "<none>",
            "alice",
            "tier.projectcalico.org",
            "lab",
            "*",
            "2999-01-31T18:00:00Z",
            "a trial"
        ]
    );
    assert!(
        lines[2].contains(&"calico-controllers") && lines[2].contains(&"<never>"),
        "{table}"
    );
    assert!(table.contains("2020-01-31T18:00:00Z (over)"), "{table}");
    let (_, wide) = headgate(&["--config", &path, "-o", "wide"])?;
    assert!(
        wide.contains("projectcalico.org/created-by=calico-kube-controllers"),
        "{wide}"
    );
    let (_, json) = headgate(&["--config", &path, "-o", "json"])?;
    let json: Value = serde_json::from_str(&json)?;
    assert_eq!(
        (&json[1]["preset"], &json[1]["inForce"]),
        (&"calico-controllers".into(), &true.into())
    );
    assert_eq!(
        (&json[2]["inForce"], &json[2]["operations"][0]),
        (&false.into(), &"CREATE".into())
    );
    let (_, yaml) = headgate(&["--config", &path, "-o", "yaml"])?;
    assert!(yaml.contains("preset: calico-controllers"), "{yaml}");
    let (_, presets) = headgate(&["--presets"])?;
    assert!(
        presets.contains("calico-datastore-migration     1            yes"),
        "{presets}"
    );
    std::fs::write(&path, "exemptionPresets: [{name: calico-datastore-migration}]\n")?;
    let (code, error) = headgate(&["--config", &path])?;
    assert_eq!(code, Some(2));
    assert!(error.contains("needs an end"), "{error}");
    Ok(())
}

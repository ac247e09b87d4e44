//! Objects that git itself would not write, and a server that sends them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use headgate::source::SourceReport;

use crate::git_support::hostile::{Hostile, Script, hostile, line, once};
use crate::git_support::{Origin, TestResult, Watched};
use crate::refused;

/// An object that git is given as it is; its id.
pub(crate) fn object(origin: &Origin, kind: &str, content: &mut dyn Iterator<Item = Vec<u8>>) -> TestResult<String> {
    let mut child = Command::new("git")
        .args([
            "-c",
            "core.bigFileThreshold=1m",
            "hash-object",
            "-t",
            kind,
            "--literally",
            "-w",
            "--stdin",
        ])
        .current_dir(origin.bare())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    for part in content {
        stdin.write_all(&part)?;
    }
    drop(stdin);
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?.trim().to_owned())
}

/// A tree of these entries in this order, whatever git would say to them.
pub(crate) fn tree(origin: &Origin, entries: &[(&str, &[u8], &str)]) -> TestResult<String> {
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend([mode.as_bytes(), b" ", name, b"\0"].concat());
        for digits in id.as_bytes().chunks(2) {
            raw.push(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
        }
    }
    object(origin, "tree", &mut std::iter::once(raw))
}

/// Puts a commit of this tree on the branch.
pub(crate) fn put(origin: &Origin, tree: &str) -> TestResult<String> {
    let parent = origin.bare_git(&["rev-parse", "refs/heads/main"])?;
    let commit = origin.bare_git(&["commit-tree", "-p", &parent, "-m", "odd", tree])?;
    origin.bare_git(&["update-ref", "refs/heads/main", &commit])?;
    Ok(commit)
}

pub(crate) fn blob(origin: &Origin, text: &str) -> TestResult<String> {
    object(origin, "blob", &mut std::iter::once(text.as_bytes().to_vec()))
}

/// A pack of these objects and no others.
pub(crate) fn packed(origin: &Origin, ids: &str) -> TestResult<Vec<u8>> {
    let mut pack = Command::new("git")
        .args(["pack-objects", "--stdout", "--quiet", "--window=0"])
        .current_dir(origin.bare())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = pack.stdin.take().ok_or("no input")?;
    input.write_all(format!("{ids}\n").as_bytes())?;
    drop(input);
    Ok(pack.wait_with_output()?.stdout)
}

/// A server that has this commit for its tip, and asks nothing of what it sends: git's own would not send some
/// of it.
pub(crate) async fn served(origin: &Origin, commit: &str) -> TestResult<Hostile> {
    let listed = "--batch-check=%(objectname)";
    let all = origin.bare_git(&["cat-file", "--batch-all-objects", listed])?;
    hostile(Script {
        refs: once([line(format!("{commit} refs/heads/main\n")), b"0000".to_vec()].concat()),
        ..Script::sending(&packed(origin, &all)?)
    })
    .await
}

/// Why a commit is refused that a server sends as it is: git's own would look into its folders, and end.
pub(crate) async fn refusal_of(watched: &mut Watched, origin: &Origin, commit: &str) -> TestResult<String> {
    let server = served(origin, commit).await?;
    watched.change(|source| source.spec.git.url.clone_from(&server.url));
    let is_it = |report: &SourceReport| report.refusal.as_ref().is_some_and(|refusal| refusal.commit == commit);
    refused(watched.until(&format!("{commit} is refused"), is_it).await?)
}

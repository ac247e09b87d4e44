//! `headgate check` as the pull request runs it: arguments in, lines and exit status out. No cluster.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Failure = Box<dyn std::error::Error>;
type Outcome = Result<(), Failure>;

const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: NS}\n\
    spec:\n  podSelector: {}\n  policyTypes: [Ingress, Egress]\n";
/// Lets something out, and no question to a name server.
const WEB: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: web}\n\
    spec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n  - ports: [{port: 443}]\n";
const CILIUM: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: web}\n\
    spec: {endpointSelector: {}}\n";
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
    let arguments: Vec<&str> = ["check", "."].iter().chain(more).copied().collect();
    headgate(folder, &arguments)
}

fn headgate(folder: &Path, arguments: &[&str]) -> Result<Said, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.env_remove("HEADGATE_CONFIG").env_remove("HEADGATE_NAMESPACE");
    let output = command.current_dir(folder).args(arguments).output()?;
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
    let folder = folder(&[("web.yaml", WEB)])?;
    let said = check(folder.path(), &[])?;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.starts_with("web.yaml:1:1: warning: spec.egress: "),
        "{}",
        said.out
    );
    assert!(said.out.contains(" [dns-cut-off]\n"), "{}", said.out);
    let json: Value = serde_json::from_str(&check(folder.path(), &["-o", "json"])?.out)?;
    assert_eq!(json.pointer("/problems/0/lint"), Some(&"dns-cut-off".into()));
    let github = check(folder.path(), &["-o", "github"])?.out;
    assert!(github.starts_with("::warning file=web.yaml,line=1,col=1::") && github.ends_with("[dns-cut-off]\n"));
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

#[test]
fn nothing_that_a_file_says_is_taken_for_a_line_or_a_command() -> Outcome {
    let kind = "apiVersion: v1\nkind: \"X\\n::error file=README.md,line=1::owned\\e[2J\\u202E\\u009B\"\n";
    let folder = folder(&[
        ("a%,:b\n::error ::owned\u{1b}[2J.yaml", kind),
        ("broken\r\n::error ::x.yaml", "kind: ["),
        ("kind.yaml", kind),
    ])?;
    for format in ["text", "json", "github"] {
        let said = check(folder.path(), &["-o", format])?;
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(
            !said.out.lines().any(|line| line.starts_with("::error ::")),
            "{}",
            said.out
        );
        assert!(
            !said.out.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\r']),
            "{}",
            said.out
        );
        assert!(!said.out.contains("\n::error file=README"), "{}", said.out);
    }
    let json: Value = serde_json::from_str(&check(folder.path(), &["-o", "json"])?.out)?;
    let what = json
        .pointer("/ignored/0/what")
        .and_then(Value::as_str)
        .unwrap_or_default();
    assert!(
        what.ends_with("owned\u{1b}[2J\u{202e}\u{9b}"),
        "for machines it is what it is: {json}"
    );
    let github = check(folder.path(), &["-o", "github"])?.out;
    assert!(github.contains("::error file=a%25%2C%3Ab\\n%3A%3Aerror"), "{github}");
    Ok(())
}

#[test]
fn files_are_named_as_they_are_found_from_here() -> Outcome {
    let folder = folder(&[("d2/sub/np.yaml", WEB), ("d2/sub/x.yaml", "kind: X\n")])?;
    for given in ["d2", "./d2", "d2/", "./d2/."] {
        let said = headgate(
            folder.path(),
            &["check", given, "-o", "github", "--ignore", "sub/x.yaml"],
        )?;
        assert!(
            said.out.starts_with("::warning file=d2/sub/np.yaml,line=1"),
            "{}",
            said.out
        );
        assert!(!said.out.contains("x.yaml"), "globs are from the folder: {}", said.out);
    }
    let absolute = folder.path().join("d2");
    let said = headgate(folder.path(), &["check", &absolute.to_string_lossy()])?;
    let path = absolute.join("sub/np.yaml");
    assert!(said.out.starts_with(&*path.to_string_lossy()), "{}", said.out);
    Ok(())
}

#[test]
fn a_kind_that_is_not_guarded_is_told() -> Outcome {
    let folder = folder(&[
        ("policies/web.yaml", CILIUM),
        ("cilium.yaml", "guardedKinds: [ciliumnetworkpolicy.cilium.io]\n"),
        ("kubernetes.yaml", "guardedKinds: [networkpolicy.networking.k8s.io]\n"),
    ])?;
    let checked = |more: &[&str]| {
        let arguments: Vec<&str> = ["check", "policies"].iter().chain(more).copied().collect();
        headgate(folder.path(), &arguments)
    };
    let said = checked(&[])?;
    assert!(
        said.code == Some(0)
            && said.out.contains(
                "web.yaml:1:1: warning: kind: CiliumNetworkPolicy is not among the kinds that are guarded by default"
            ),
        "{}{}",
        said.out,
        said.err
    );
    assert!(said.out.contains("[not-guarded]"), "{}", said.out);
    let said = checked(&["--config", "kubernetes.yaml"])?;
    assert!(
        said.out.contains("not among the configuration's guardedKinds"),
        "{}",
        said.out
    );
    assert!(!checked(&["--config", "cilium.yaml"])?.out.contains("warning: "));
    assert!(!checked(&["--disable", "not-guarded"])?.out.contains("warning: "));
    Ok(())
}

#[test]
fn what_a_source_refuses_as_a_whole_is_an_error() -> Outcome {
    let deep = "d/".repeat(65);
    let fits = "e/".repeat(64);
    let deny = |namespace: &str| DENY.replace("NS", namespace);
    let folder = folder(&[
        ("np.yaml", &deny("a")),
        ("module/.git", "gitdir: ../.git/modules/module\n"),
        ("module/np.yaml", &deny("b")),
        (&format!("{deep}np.yaml"), &deny("c")),
        (&format!("{fits}np.yaml"), &deny("d")),
        (".git/HEAD.yaml", "kind: ["),
    ])?;
    std::os::unix::fs::symlink("np.yaml", folder.path().join("link.yaml"))?;
    std::os::unix::fs::symlink("module", folder.path().join("linked-folder"))?;
    std::fs::File::create(folder.path().join("large.yaml"))?.set_len((16 << 20) + 1)?;
    let said = check(folder.path(), &[])?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let errors: Vec<&str> = said.out.lines().filter(|line| line.contains(": error: ")).collect();
    let expected = [
        "is nested more than 64 folders deep",
        "large.yaml:1:1: error: the file is larger than 16 MiB",
        "link.yaml:1:1: error: link.yaml is a symbolic link, which is not followed: put the file itself there, or name it in \
         spec.git.ignore",
        "module:1:1: error: module is a submodule, whose files are not read: name it in spec.git.ignore",
    ];
    assert_eq!(errors.len(), expected.len(), "{}", said.out);
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
    assert!(said.out.contains("2 objects in 2 files"), "{}", said.out);
    let ignore = ["--ignore", "module", "--ignore", "l*.yaml", "--ignore", "d"];
    let said = check(folder.path(), &ignore)?;
    assert_eq!(
        said.out.matches(": error: ").count(),
        1,
        "a source walks into ignored folders, too: {}",
        said.out
    );
    Ok(())
}

#[test]
fn what_git_cannot_hold_is_not_waited_for() -> Outcome {
    let folder = folder(&[("np.YAML", &DENY.replace("NS", "a"))])?;
    let made = Command::new("mkfifo").arg(folder.path().join("pipe.yaml")).status()?;
    assert!(made.success());
    let said = check(folder.path(), &[])?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.out
            .contains("pipe.yaml:1:1: error: this is neither a file nor a folder"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("np.YAML:1:1: warning: no source reads this file"),
        "{}",
        said.out
    );
    let said = check(folder.path(), &["--ignore", "*", "--disable", "not-read"])?;
    assert!(
        said.code == Some(0) && said.out.contains(".:1:1: warning: no manifest is here"),
        "{}",
        said.out
    );
    Ok(())
}

#[test]
fn a_policy_source_is_read_as_strictly_as_the_api_server_reads_it() -> Outcome {
    let folder = folder(&[("prod/np.yaml", &DENY.replace("NS", "payments"))])?;
    for (from, to, complaint) in [
        ("ignore:", "ingore:", "spec.git.ingore is no field"),
        ("namespaces:", "namespace:", "spec.scope.namespace is no field"),
        ("spec:", "mode: Audit\nspec:", "mode is no field"),
        (
            "path: prod/",
            "path: ../prod",
            "spec.git.path: \"../prod\" is not a folder below",
        ),
        (
            "path: prod/",
            "path: /prod",
            "spec.git.path: \"/prod\" is not a folder below",
        ),
        ("path: prod/", "path: absent", "there is no folder absent in the commit"),
        ("path: prod/", "interval: soon", "spec.git.interval: \"soon\""),
        ("v1alpha1", "v2", "write headgate.dev/v1alpha1"),
    ] {
        std::fs::write(folder.path().join("source.yaml"), SOURCE.replace(from, to))?;
        let said = check(folder.path(), &["--scope", "source.yaml"])?;
        assert!(
            said.code == Some(2) && said.err.contains(complaint),
            "{to}: {}{}",
            said.err,
            said.out
        );
    }
    for path in ["prod", "./prod//", "prod/."] {
        std::fs::write(
            folder.path().join("source.yaml"),
            SOURCE.replace("path: prod/", &format!("path: {path}")),
        )?;
        let said = check(folder.path(), &["--scope", "source.yaml"])?;
        assert!(
            said.code == Some(0) && said.out.contains("1 objects in 1 files"),
            "{}{}",
            said.err,
            said.out
        );
    }
    Ok(())
}

#[test]
fn a_digest_of_nothing_is_no_success() -> Outcome {
    let folder = folder(&[
        ("other.yaml", "apiVersion: v1\nkind: \"Name\\nspace\"\n"),
        (
            "both.yaml",
            &(DENY.replace("NS", "a") + "---\napiVersion: v1\nkind: Secret\n"),
        ),
        ("empty.yaml", ""),
    ])?;
    let said = headgate(folder.path(), &["digest", "other.yaml"])?;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert_eq!(
        said.err,
        "other.yaml:1: ignored: v1 Name\\nspace\nother.yaml: no object of a guarded kind is in it\n"
    );
    assert_eq!(headgate(folder.path(), &["digest", "empty.yaml"])?.code, Some(1));
    let said = headgate(folder.path(), &["digest", "both.yaml"])?;
    assert!(
        said.code == Some(0) && said.err.contains("ignored: v1 Secret"),
        "{}",
        said.err
    );
    Ok(())
}

#[test]
fn the_bounds_of_a_source_and_its_odd_content_are_those_of_check() -> Outcome {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    let folder = folder(&[
        ("deny.yaml", &DENY.replace("NS", "web")),
        ("lfs.yaml", pointer),
        ("a\u{202e}b.yaml", DENY),
        ("c\u{1b}[2J.yaml", DENY),
    ])?;
    let said = check(folder.path(), &[])?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    for line in [
        "this is a pointer of Git LFS",
        "a\\u{202e}b.yaml has a name",
        "c\\u{1b}[2J.yaml has a name",
    ] {
        assert!(said.out.contains(line), "{line} is not in\n{}", said.out);
    }
    std::fs::write(
        folder.path().join("limits.conf"),
        "git: {limits: {files: 1, fileSize: 1024}}\n",
    )?;
    let said = check(folder.path(), &["--config", "limits.conf"])?;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.out.contains("there are more than 1 manifests (git.limits.files)"),
        "{}",
        said.out
    );
    Ok(())
}

#[test]
fn only_certificates_are_printed_for_the_api_server() -> Outcome {
    let folder = folder(&[
        ("none.pem", ""),
        ("odd.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
    ])?;
    let certs = headgate(folder.path(), &["certs", "--dns", "localhost", "--out", "certs"])?;
    assert_eq!(certs.code, Some(0), "{}", certs.err);
    for (ca, code) in [
        ("certs/ca.crt", 0),
        ("certs/tls.key", 2),
        ("none.pem", 2),
        ("odd.pem", 2),
    ] {
        let arguments = ["webhook-configuration", "--url", "https://localhost/", "--ca", ca];
        let said = headgate(folder.path(), &arguments)?;
        assert_eq!(said.code, Some(code), "{ca}: {}", said.err);
        assert!(
            !said.out.contains("ValidatingWebhook") || code == 0,
            "{ca}: {}",
            said.out
        );
    }
    Ok(())
}

#[test]
fn an_error_moves_no_cursor() -> Outcome {
    let folder = folder(&[])?;
    let said = headgate(folder.path(), &["check", ".", "--config", "no\u{1b}[31m"])?;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no\\u{1b}[31m"), "{:?}", said.err);
    assert!(!said.err.contains('\u{1b}'), "{:?}", said.err);
    Ok(())
}

/// Whether the process answers that it is alive.
fn is_alive(address: std::net::SocketAddr) -> bool {
    use std::io::{Read as _, Write as _};
    let answer = || -> std::io::Result<String> {
        let mut connection = std::net::TcpStream::connect(address)?;
        connection.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        Ok(text)
    };
    answer().is_ok_and(|text| text.contains(" 200 "))
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() -> Outcome {
    let folder = folder(&[])?;
    let certs = headgate(folder.path(), &["certs", "--dns", "localhost", "--out", "certs"])?;
    assert_eq!(certs.code, Some(0), "{}", certs.err);
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n\
         contexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n",
    )?;
    let metrics = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args([
            "webhook",
            "--kubeconfig",
            "kubeconfig",
            "--state-dir",
            "state",
            "--certs",
            "certs",
        ])
        .args(["--listen", "127.0.0.1:0", "--metrics-listen", &metrics.to_string()])
        .current_dir(folder.path())
        .stderr(std::fs::File::options().write(true).open("/dev/full")?)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let answered = loop {
        if let Some(status) = child.try_wait()? {
            break Err(format!("it ended: {status}").into());
        }
        if is_alive(metrics) {
            break Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    child.kill()?;
    child.wait()?;
    answered
}

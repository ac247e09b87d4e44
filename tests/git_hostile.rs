//! Servers that attack whoever reads from them: by what they say, by where they send one, and for what one brings along.

mod git_support;

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use git_support::http::{Recited, bearer_of, recite, recite_tls, serve, serve_tls, tls_for};
use git_support::ssh::{Server, key_pair};
use git_support::{Origin, Secrets, TestResult, Watched, holding};
use headgate::source::PolicySource;
use headgate::source::resource::SecretRef;

const TIMEOUT: Duration = Duration::from_secs(30);
/// What a server would like to have shown.
const WORDS: &str = "MALICE\u{1b}[31m see https://evil.example";

fn with_secret(source: &mut PolicySource) {
    source.spec.git.credentials_secret_ref = Some(SecretRef {
        name: "acme-git".to_owned(),
    });
}

/// Everything that this process logs, of every library and at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        // The only subscriber of this program.
        let _ = tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .try_init();
        log
    });
    LOG.clone()
}

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What an attempt ends with.
async fn attempt(url: &str, secrets: Secrets) -> TestResult<String> {
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(state.path(), url, secrets, TIMEOUT, with_secret)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    Ok(report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default())
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

const ADVERTISEMENT: &str = "content-type: application/x-git-upload-pack-advertisement\r\n";
const RESULT: &str = "content-type: application/x-git-upload-pack-result\r\n";

/// What a server of version 2 of the protocol begins with.
fn capabilities() -> Vec<u8> {
    let body = line("# service=git-upload-pack\n")
        + "0000"
        + &line("version 2\n")
        + &line("agent=git/2.50\n")
        + &line("ls-refs=unborn\n")
        + &line("fetch=shallow\n")
        + &line("object-format=sha1\n")
        + "0000";
    answer("200 OK", ADVERTISEMENT, &body)
}

#[tokio::test]
async fn nothing_that_a_server_says_over_http_reaches_the_status() -> TestResult {
    let error = line(&format!("ERR {WORDS}\n"));
    let challenge = "www-authenticate: Basic realm=\"MALICE\"\r\n";
    let refs = line("0123456789012345678901234567890123456789 refs/heads/main\n") + "0000";
    let told = line("packfile\n") + &line(&format!("\u{3}{WORDS}\n")) + "0000";
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        (
            "a reason phrase",
            vec![answer("500 MALICE", "", WORDS)],
            "in trouble (HTTP 500)",
        ),
        ("a body", vec![answer("404 Not Found", "", WORDS)], "no such repository"),
        (
            "a refusal",
            vec![answer("403 MALICE", "", WORDS)],
            "refuses access (HTTP 403)",
        ),
        ("a limit", vec![answer("429 MALICE", "", WORDS)], "asked too often"),
        (
            "a challenge",
            vec![answer("401 MALICE", challenge, WORDS)],
            "asks for credentials",
        ),
        (
            "a page",
            vec![answer("200 OK", "content-type: text/MALICE\r\n", WORDS)],
            "no Git repository answers",
        ),
        ("an odd status", vec![answer("418 MALICE", "", WORDS)], "HTTP 418"),
        ("no HTTP at all", vec![format!("{WORDS}\r\n\r\n").into_bytes()], ""),
        (
            "headers that are none",
            vec![format!("HTTP/1.1 200 OK\r\n{WORDS}\r\n\r\n").into_bytes()],
            "",
        ),
        ("an error line", vec![answer("200 OK", ADVERTISEMENT, &error)], ""),
        (
            "a line of no length",
            vec![answer("200 OK", ADVERTISEMENT, &format!("zzzz{WORDS}"))],
            "",
        ),
        (
            "an error in place of the refs",
            vec![capabilities(), answer("200 OK", RESULT, &error)],
            "an error of its own",
        ),
        (
            "an error in place of the pack",
            vec![
                capabilities(),
                answer("200 OK", RESULT, &refs),
                answer("200 OK", RESULT, &error),
            ],
            "an error of its own",
        ),
        (
            "an error beside the pack",
            vec![
                capabilities(),
                answer("200 OK", RESULT, &refs),
                answer("200 OK", RESULT, &told),
            ],
            "",
        ),
        (
            "a ref that is none",
            vec![
                capabilities(),
                answer("200 OK", RESULT, &(line(&format!("{WORDS}\n")) + "0000")),
            ],
            "",
        ),
    ];
    for (what, answers, expected) in cases {
        let Recited { address, .. } = recite(answers).await?;
        let anonymous = Secrets::of("acme-git", &[]);
        let why = attempt(&format!("http://{address}/policies.git"), anonymous).await?;
        assert!(why.contains(expected) && !why.is_empty(), "{what}: {why}");
        assert!(
            !why.contains("MALICE") && !why.contains("evil") && !why.contains(char::is_control),
            "{what}: {why:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_way_in_which_a_certificate_does_not_verify_is_told_without_its_words() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    for (what, name, days, is_trusted, expected) in [
        ("another name", "malice.example", 0..10, true, "for another name"),
        ("expired", "localhost", -10..-1, true, "has expired"),
        ("of tomorrow", "localhost", 5..10, true, "not valid yet"),
        ("unknown", "localhost", 0..10, false, "put its authority into ca.crt"),
    ] {
        let (server, root) = tls_for(&origin, name, days).await?;
        let (_, other) = serve_tls(&origin, None).await?;
        let root = if is_trusted { root } else { other };
        let why = attempt(&server.url, Secrets::of("acme-git", &[("ca.crt", root.as_bytes())])).await?;
        assert!(why.contains(expected) && !why.contains("malice"), "{what}: {why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_along_wherever_it_leads() -> TestResult {
    let catcher = recite(vec![answer("404 Not Found", "", "")]).await?;
    let caught_in_clear = catcher.address;
    let (caught, other_root) = recite_tls(vec![answer("404 Not Found", "", "")]).await?;
    for (status, target, after) in [
        ("301 Moved", format!("http://127.0.0.1:{}", caught_in_clear.port()), 0),
        ("302 Found", format!("https://localhost:{}", caught.address.port()), 0),
        (
            "307 Temporary Redirect",
            format!("https://localhost:{}", caught.address.port()),
            1,
        ),
        (
            "308 Permanent Redirect",
            format!("http://localhost:{}", caught_in_clear.port()),
            1,
        ),
    ] {
        let location = format!("location: {target}/policies.git/info/refs?service=git-upload-pack\r\n");
        let mut answers = vec![answer(status, &location, "")];
        if after == 1 {
            answers.insert(0, capabilities());
        }
        let (server, root) = recite_tls(answers).await?;
        let roots = format!("{root}{other_root}");
        for identity in [
            vec![("bearerToken", &b"t0ken"[..])],
            vec![("username", &b"me"[..]), ("password", &b"t0ken"[..])],
        ] {
            let mut entries = identity;
            entries.push(("ca.crt", roots.as_bytes()));
            let url = format!("https://localhost:{}/policies.git", server.address.port());
            let why = attempt(&url, Secrets::of("acme-git", &entries)).await?;
            assert!(!why.is_empty() && !why.contains("t0ken"), "{status} to {target}: {why}");
        }
        assert!(!server.heard().is_empty(), "the first server was not even asked");
        assert!(
            server.heard().iter().all(|request| bearer_of(request).is_some()),
            "credentials are for the first server"
        );
    }
    assert_eq!(catcher.heard(), Vec::<String>::new(), "somebody came in clear");
    assert_eq!(caught.heard(), Vec::<String>::new(), "somebody came by TLS");
    Ok(())
}

#[tokio::test]
async fn credentials_are_read_again_when_they_rotate_and_are_in_no_log_and_on_no_disk() -> TestResult {
    let log = log();
    let (origin, first) = Origin::with_policies(3)?;
    for (header, old, new) in [
        (
            "Bearer n3w-t0ken",
            vec![("bearerToken", &b"0ld-t0ken"[..])],
            vec![("bearerToken", &b"n3w-t0ken"[..])],
        ),
        (
            // me:n3w-passw0rd
            "Basic bWU6bjN3LXBhc3N3MHJk",
            vec![("username", &b"me"[..]), ("password", &b"0ld-passw0rd"[..])],
            vec![("username", &b"me"[..]), ("password", &b"n3w-passw0rd"[..])],
        ),
    ] {
        let (server, root) = serve_tls(&origin, Some(header)).await?;
        let with_root = |entries: Vec<(&'static str, &'static [u8])>, secrets: &Secrets| {
            let root: &[u8] = root.as_bytes();
            let mut all: Vec<(&str, &[u8])> = entries;
            all.push(("ca.crt", root));
            secrets.put("acme-git", &all);
        };
        let secrets = Secrets::default();
        with_root(old, &secrets);
        let state = tempfile::tempdir()?;
        let watched = Watched::start_with(state.path(), &server.url, secrets.clone(), TIMEOUT, with_secret)?;
        let report = watched
            .until("it was refused", |report| report.attempt.is_some())
            .await?;
        let why = report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default();
        assert!(why.contains("does not take the credentials"), "{why}");
        with_root(new, &secrets);
        watched.until_head(&first).await?;
        let seen = format!("{:?}", watched.report());
        watched.stop().await;
        for secret in ["0ld-t0ken", "n3w-t0ken", "0ld-passw0rd", "n3w-passw0rd", "bWU6"] {
            assert!(!seen.contains(secret), "{secret} is in the report");
            assert_eq!(holding(state.path(), secret)?, Vec::<String>::new());
        }
    }
    let text = log.text();
    assert!(text.contains("TRACE"), "nothing is captured");
    for secret in [
        "0ld-t0ken",
        "n3w-t0ken",
        "0ld-passw0rd",
        "n3w-passw0rd",
        "bWU6bjN3LXBhc3N3MHJk",
    ] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    Ok(())
}

#[tokio::test]
async fn a_deploy_key_is_read_again_when_it_rotates_and_is_in_no_log() -> TestResult {
    let log = log();
    let (origin, first) = Origin::with_policies(1)?;
    let server = Server::start(&origin)?;
    let (stranger, _) = key_pair("ed25519")?;
    let secrets = Secrets::default();
    let put = |key: &str| {
        let entries: &[(&str, &[u8])] = &[
            ("identity", key.as_bytes()),
            ("known_hosts", server.known_hosts.as_bytes()),
        ];
        secrets.put("acme-git", entries);
    };
    put(&stranger);
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(state.path(), &server.url, secrets.clone(), TIMEOUT, with_secret)?;
    watched
        .until("it was refused", |report| report.attempt.is_some())
        .await?;
    put(&server.deploy_key);
    watched.until_head(&first).await?;
    watched.stop().await;
    let text = log.text();
    for key in [&stranger, &server.deploy_key] {
        let lines = key.lines().filter(|line| line.len() > 30 && !line.starts_with("-----"));
        // The first line is the same in all keys without a passphrase.
        for line in lines.skip(1) {
            assert!(!text.contains(line), "a line of a key is in the log");
            assert_eq!(holding(state.path(), line)?, Vec::<String>::new());
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_that_a_server_says_over_ssh_reaches_the_status() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let hex = line(&format!("ERR {WORDS}, more than 1 GiB, No space left on device\n"));
    for command in [
        format!("printf '%s' '{WORDS}' >&2; exit 1"),
        format!("printf '%s' '{WORDS}'"),
        format!("printf '%s' '{hex}'"),
        format!("printf 'Permission denied ({WORDS})' >&2; exit 1"),
    ] {
        let server = Server::start_with_banner(&origin, &command, WORDS)?;
        let entries: &[(&str, &[u8])] = &[
            ("identity", server.deploy_key.as_bytes()),
            ("known_hosts", server.known_hosts.as_bytes()),
        ];
        let why = attempt(&server.url, Secrets::of("acme-git", entries)).await?;
        assert!(
            !why.is_empty() && !why.contains("MALICE") && !why.contains("evil") && !why.contains(char::is_control),
            "{command}: {why:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn without_credentials_clear_http_is_read_and_file_urls_are_only_where_they_are_allowed() -> TestResult {
    let (origin, first) = Origin::with_policies(1)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    let allowed = Watched::start(&origin.file_url(), |_| ())?;
    allowed.until_head(&first).await?;
    let state = tempfile::tempdir()?;
    let refused = Watched::start_without_files(state.path(), &origin.file_url())?;
    let report = refused
        .until("it is refused", |report| report.invalid.is_some())
        .await?;
    assert!(report.invalid.is_some_and(|why| why.contains("--allow-file-urls")));
    assert!(report.attempt.is_none() && report.head.is_none());
    Ok(())
}

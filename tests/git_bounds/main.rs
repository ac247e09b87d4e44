//! What a server may make Headgate take in, unpack and keep: each bound, with the real protocol.

#[path = "../git_support/mod.rs"]
mod git_support;

mod content;
mod crafted;

use crafted::{object, packed, put, tree};
use git_support::apart::{self, Account, look};
use git_support::hostile::{Script, band, endless, greeting, hostile, line, once};
use git_support::http::serve;
use git_support::ssh::Server;
use git_support::{Origin, Secrets, TestResult, Watched, head_of, objects, policy};
use headgate::source::resource::SecretRef;
use headgate::source::{Limits, SourceReport};

/// What a process may take beyond what it takes for a small repository: far more than noise, far less than the harm.
pub(crate) const ROOM: u64 = 160 << 20;

#[tokio::test]
#[ignore = "a part of other tests, in a process of its own"]
async fn a_keeper_in_a_process_of_its_own() -> TestResult {
    apart::work().await
}

/// Has a process look at a server; what it says, and that it stayed small.
pub(crate) async fn look_at(url: &str) -> TestResult<Account> {
    let state = tempfile::tempdir()?;
    let account = look(&state.path().join("state"), url, &Limits::default()).await?;
    assert!(account.peak < ROOM, "it took {} MiB", account.peak >> 20);
    Ok(account)
}

pub(crate) fn failure(account: &Account) -> &str {
    account.failure.as_deref().unwrap_or_default()
}

/// What a source says of its repository.
pub(crate) async fn outcome(watched: &Watched) -> TestResult<String> {
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    Ok(report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default())
}

/// The message of the commit that is not in force.
pub(crate) fn refused(report: SourceReport) -> TestResult<String> {
    Ok(report.refusal.ok_or("accepted")?.message)
}

#[tokio::test]
async fn a_small_pack_that_holds_a_huge_object_is_not_unpacked() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let healthy = look_at(&server.url).await?;
    assert_eq!((healthy.head.as_deref(), healthy.objects), (Some(first.as_str()), 3));
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    // 512 MiB in half a megabyte; no manifest by its name. Packed before, so that git has only to send it.
    let zeros = object(&origin, "blob", &mut std::iter::repeat_n(vec![0; 1 << 20], 512))?;
    put(&origin, &tree(&origin, &[("100644", b"zeros.bin", &zeros)])?)?;
    origin.bare_git(&["-c", "core.bigFileThreshold=1m", "repack", "-a", "-d", "--quiet"])?;
    let account = look_at(&server.url).await?;
    assert!(failure(&account).contains("git.limits.gitObjectSize"), "{account:?}");
    let why = watched.refresh().await.failure().ok_or("it was fetched")?;
    assert!(why.contains("an object of 536870912 bytes"), "{why}");
    let report = watched.report();
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    Ok(())
}

#[tokio::test]
async fn more_than_one_fetch_may_bring_is_cut_off_over_http_and_ssh() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3 << 20).collect();
    std::fs::write(origin.work("noise.bin"), noise)?;
    let commit = origin.commit_and_push("noise")?;
    let limits = Limits {
        received: 1 << 20,
        ..Limits::default()
    };
    let server = serve(&origin).await?;
    let why = outcome(&Watched::start_within(limits.clone(), &server.url)?).await?;
    assert_eq!(why, "the repository sent more than 1 MiB (git.limits.received)");
    let ssh = Server::start(&origin)?;
    let entries: &[(&str, &[u8])] = &[
        ("identity", ssh.deploy_key.as_bytes()),
        ("known_hosts", ssh.known_hosts.as_bytes()),
    ];
    let state = tempfile::tempdir()?;
    let timeout = std::time::Duration::from_secs(30);
    let secrets = Secrets::of("acme-git", entries);
    let watched = Watched::start_with_limits(state.path(), &ssh.url, secrets, timeout, limits, |source| {
        source.spec.git.credentials_secret_ref = Some(SecretRef {
            name: "acme-git".to_owned(),
        });
    })?;
    assert_eq!(outcome(&watched).await?, why);
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&commit).await?;
    Ok(())
}

#[tokio::test]
async fn a_million_refs_and_a_list_without_end_are_cut_off() -> TestResult {
    let id = "4".repeat(40);
    let million: Vec<u8> = (0..1_000_000)
        .flat_map(|number| line(format!("{id} refs/heads/branch-{number}\n")))
        .collect();
    let talk = "lists too many refs, or talks without end";
    let script = Script {
        refs: once(million),
        ..Script::default()
    };
    let account = look_at(&hostile(script).await?.url).await?;
    assert!(failure(&account).contains(talk), "{account:?}");
    let script = Script {
        refs: endless(Vec::new(), &line(format!("{id} refs/heads/main\n"))),
        ..Script::default()
    };
    let account = look_at(&hostile(script).await?.url).await?;
    assert!(failure(&account).contains(talk), "{account:?}");
    // The first protocol lists them before anybody asks.
    let service = [line("# service=git-upload-pack\n"), b"0000".to_vec()].concat();
    let script = Script {
        greeting: endless(
            [service, line(format!("{id} HEAD\0ofs-delta side-band-64k\n"))].concat(),
            &line(format!("{id} refs/heads/main\n")),
        ),
        ..Script::default()
    };
    let account = look_at(&hostile(script).await?.url).await?;
    assert!(failure(&account).contains(talk), "{account:?}");
    Ok(())
}

#[tokio::test]
async fn a_list_of_what_a_server_can_do_that_never_ends_is_cut_off() -> TestResult {
    let start = greeting().strip_suffix(b"0000").map(<[u8]>::to_vec).unwrap_or_default();
    let script = Script {
        greeting: endless(start, &line("agent=evil\n")),
        ..Script::default()
    };
    let account = look_at(&hostile(script).await?.url).await?;
    assert!(failure(&account).contains("talks without end"), "{account:?}");
    // Neither does what comes instead of objects.
    for words in ["acknowledgments\n", "shallow-info\n"] {
        let script = Script {
            objects: endless(line(words), &line(format!("shallow {}\n", "4".repeat(40)))),
            ..Script::default()
        };
        let account = look_at(&hostile(script).await?.url).await?;
        assert!(account.failure.is_some() && account.head.is_none(), "{account:?}");
    }
    Ok(())
}

#[tokio::test]
async fn progress_without_end_is_cut_off_and_nothing_of_it_is_shown() -> TestResult {
    let limits = Limits {
        received: 32 << 20,
        ..Limits::default()
    };
    let start = line("packfile\n");
    for channel in [2, 3] {
        let script = Script {
            objects: endless(start.clone(), &band(channel, b"<script>call 555-0100</script>\n")),
            ..Script::default()
        };
        let server = hostile(script).await?;
        let why = outcome(&Watched::start_within(limits.clone(), &server.url)?).await?;
        assert_eq!(why, "the repository sent more than 32 MiB (git.limits.received)");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_server_says_in_its_own_words_does_not_reach_the_status() -> TestResult {
    let words = "call 555-0100";
    let error = || once(line(format!("ERR {words}")));
    let garbled = || once(line(format!("{words} refs/heads/main\n")));
    let scripts = [
        Script {
            greeting: error(),
            ..Script::default()
        },
        Script {
            refs: error(),
            ..Script::default()
        },
        Script {
            refs: garbled(),
            ..Script::default()
        },
        Script {
            objects: error(),
            ..Script::default()
        },
        Script {
            objects: once(line(words)),
            ..Script::default()
        },
        Script::sending(words.as_bytes()),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let server = hostile(script).await?;
        let why = outcome(&Watched::start(&server.url, |_| ())?).await?;
        assert!(!why.is_empty() && !why.contains("555"), "{number}: {why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pack_that_claims_more_than_it_holds_is_not_believed() -> TestResult {
    // Four billion objects, one of which would be of a terabyte.
    let start = |count: u32| [b"PACK\0\0\0\x02".as_slice(), &count.to_be_bytes()].concat();
    let account = look_at(&hostile(Script::sending(&start(u32::MAX))).await?.url).await?;
    assert!(failure(&account).contains("git.limits.gitObjects"), "{account:?}");
    let huge = [start(1), b"\xb0\x80\x80\x80\x80\x20".to_vec()].concat();
    let account = look_at(&hostile(Script::sending(&huge)).await?.url).await?;
    assert!(failure(&account).contains("git.limits.gitObjectSize"), "{account:?}");
    let nothing = [start(1_000_000), vec![0; 100]].concat();
    let account = look_at(&hostile(Script::sending(&nothing)).await?.url).await?;
    assert!(
        failure(&account).contains("no pack that Git would write"),
        "{account:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_speaking_sense_empties_nothing() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let mut watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    let silent = Script {
        refs: once(b"0000".to_vec()),
        ..Script::default()
    };
    for script in [Script::default(), silent, Script::sending(b"PACK")] {
        let before = watched.report().attempt.map(|attempt| attempt.at);
        let hostile = hostile(script).await?;
        watched.change(|source| source.spec.git.url.clone_from(&hostile.url));
        let looked = |report: &SourceReport| report.attempt.as_ref().map(|attempt| attempt.at) != before;
        let report = watched.until("it was looked at", looked).await?;
        assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    }
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    watched.change(|source| source.spec.git.url.clone_from(&server.url));
    watched.until_head(&second).await?;
    Ok(())
}

#[tokio::test]
async fn a_pack_that_lacks_what_its_commit_names_changes_nothing() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.write("policies/p1.yaml", &policy("payments", "p1", 8080))?;
    let second = origin.commit_and_push("change")?;
    // A pack of the commit alone, as a server may send one.
    let script = Script {
        refs: once([line(format!("{second} refs/heads/main\n")), b"0000".to_vec()].concat()),
        ..Script::sending(&packed(&origin, &second)?)
    };
    let account = look_at(&hostile(script).await?.url).await?;
    assert!(account.failure.is_some() && account.head.is_none(), "{account:?}");
    assert_eq!(head_of(&watched.refreshed().await?), Some(second.as_str()));
    Ok(())
}

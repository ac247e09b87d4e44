//! What a server may make Headgate take in, unpack and keep: each bound, with the real protocol.

mod git_support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use git_support::apart::{self, Account, look};
use git_support::hostile::{Hostile, Script, band, endless, greeting, hostile, line, once};
use git_support::http::serve;
use git_support::ssh::Server;
use git_support::{Origin, Secrets, TestResult, Watched, head_of, objects, policy};
use headgate::source::keeper::RefusalReason;
use headgate::source::resource::SecretRef;
use headgate::source::{Limits, SourceReport};

/// What a process may take beyond what it takes for a small repository: far more than noise, far less than the harm.
const ROOM: u64 = 160 << 20;

#[tokio::test]
#[ignore = "a part of other tests, in a process of its own"]
async fn a_keeper_in_a_process_of_its_own() -> TestResult {
    apart::work().await
}

/// Has a process look at a server; what it says, and that it stayed small.
async fn look_at(url: &str) -> TestResult<Account> {
    let state = tempfile::tempdir()?;
    let account = look(&state.path().join("state"), url, &Limits::default()).await?;
    assert!(account.peak < ROOM, "it took {} MiB", account.peak >> 20);
    Ok(account)
}

fn failure(account: &Account) -> &str {
    account.failure.as_deref().unwrap_or_default()
}

/// What a source says of its repository.
async fn outcome(watched: &Watched) -> TestResult<String> {
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    Ok(report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default())
}

/// The message of the commit that is not in force.
fn refused(report: SourceReport) -> TestResult<String> {
    Ok(report.refusal.ok_or("accepted")?.message)
}

/// An object that git is given as it is; its id.
fn object(origin: &Origin, kind: &str, content: &mut dyn Iterator<Item = Vec<u8>>) -> TestResult<String> {
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
fn tree(origin: &Origin, entries: &[(&str, &[u8], &str)]) -> TestResult<String> {
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
fn put(origin: &Origin, tree: &str) -> TestResult<String> {
    let parent = origin.bare_git(&["rev-parse", "refs/heads/main"])?;
    let commit = origin.bare_git(&["commit-tree", "-p", &parent, "-m", "odd", tree])?;
    origin.bare_git(&["update-ref", "refs/heads/main", &commit])?;
    Ok(commit)
}

/// Why a commit is refused that a server sends as it is: git's own would look into its folders, and end.
async fn refusal_of(watched: &mut Watched, origin: &Origin, commit: &str) -> TestResult<String> {
    let server = served(origin, commit).await?;
    watched.change(|source| source.spec.git.url.clone_from(&server.url));
    let is_it = |report: &SourceReport| report.refusal.as_ref().is_some_and(|refusal| refusal.commit == commit);
    refused(watched.until(&format!("{commit} is refused"), is_it).await?)
}

/// A server that has this commit for its tip, and asks nothing of what it sends: git's own would not send some
/// of it.
async fn served(origin: &Origin, commit: &str) -> TestResult<Hostile> {
    let listed = "--batch-check=%(objectname)";
    let all = origin.bare_git(&["cat-file", "--batch-all-objects", listed])?;
    hostile(Script {
        refs: once([line(format!("{commit} refs/heads/main\n")), b"0000".to_vec()].concat()),
        ..Script::sending(&packed(origin, &all)?)
    })
    .await
}

/// A pack of these objects and no others.
fn packed(origin: &Origin, ids: &str) -> TestResult<Vec<u8>> {
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

fn blob(origin: &Origin, text: &str) -> TestResult<String> {
    object(origin, "blob", &mut std::iter::once(text.as_bytes().to_vec()))
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

#[tokio::test]
async fn more_files_bytes_or_objects_than_a_source_may_have_keep_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(10)?;
    let exact = Limits {
        files: 10,
        objects: 10,
        total_size: 10 * 300,
        ..Limits::default()
    };
    let grow = |text: &str| -> TestResult {
        origin.write("policies/more.yaml", text)?;
        origin.commit_and_push("more")?;
        Ok(())
    };
    let watched = Watched::start_within(exact.clone(), &origin.file_url())?;
    watched.until_head(&first).await?;
    grow(&policy("payments", "more", 80))?;
    let why = refused(watched.refreshed().await?)?;
    assert_eq!(why, "there are more than 10 manifests (git.limits.files)");
    let watched = Watched::start_within(
        Limits {
            files: 11,
            ..exact.clone()
        },
        &origin.file_url(),
    )?;
    let why = refused(watched.until_refused(RefusalReason::UnreadableFile).await?)?;
    assert_eq!(why, "the manifests declare more than 10 objects (git.limits.objects)");
    grow(&format!("# {}\n", "x".repeat(1000)))?;
    let watched = Watched::start_within(
        Limits {
            files: 11,
            total_size: 3000,
            ..exact
        },
        &origin.file_url(),
    )?;
    let why = refused(watched.until_refused(RefusalReason::UnreadableFile).await?)?;
    assert_eq!(
        why,
        "the manifests have more than 3000 bytes together (git.limits.totalSize)"
    );
    let limits = Limits {
        file_size: 1000,
        ..Limits::default()
    };
    let watched = Watched::start_within(limits, &origin.file_url())?;
    let why = refused(watched.until_refused(RefusalReason::UnreadableFile).await?)?;
    assert!(
        why.starts_with("policies/more.yaml:1:1: the file is larger than 1000 bytes"),
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn one_large_file_under_many_names_is_read_once_and_counted_often() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let text = format!("# {}\n", "x".repeat(1 << 20));
    let one = blob(&origin, &text)?;
    let names: Vec<String> = (0..1000).map(|number| format!("f{number:04}.yaml")).collect();
    let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| ("100644", name.as_bytes(), &*one)).collect();
    put(&origin, &tree(&origin, &entries)?)?;
    let account = look_at(&serve(&origin).await?.url).await?;
    assert!(
        account
            .refusal
            .as_deref()
            .is_some_and(|why| why.contains("git.limits.totalSize")),
        "{account:?}"
    );
    Ok(())
}

#[tokio::test]
async fn folders_without_end_keep_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let file = blob(&origin, &policy("payments", "deep", 80))?;
    let mut deep = tree(&origin, &[("100644", b"p.yaml", &file)])?;
    for _ in 0..70 {
        deep = tree(&origin, &[("40000", b"d", &deep)])?;
    }
    put(&origin, &deep)?;
    let why = refused(watched.refreshed().await?)?;
    assert!(why.contains("is nested more than 64 folders deep"), "{why}");
    // A thousand folders in each of a thousand, of a thousand files each: a billion entries in three trees.
    let names: Vec<String> = (0..1000).map(|number| format!("e{number:03}")).collect();
    let full = |mode: &'static str, id: &str| {
        let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| (mode, name.as_bytes(), id)).collect();
        tree(&origin, &entries)
    };
    let wide = full("40000", &full("40000", &full("100644", &file)?)?)?;
    put(&origin, &wide)?;
    let why = refused(watched.refreshed().await?)?;
    assert!(why.contains("entries"), "{why}");
    assert_eq!(head_of(&watched.report()), Some(first.as_str()));
    Ok(())
}

#[tokio::test]
async fn names_that_no_checkout_could_have_keep_the_old_head_unless_they_are_ignored() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let file = blob(&origin, &policy("payments", "odd", 80))?;
    let inner = tree(&origin, &[("100644", b"p.yaml", &file)])?;
    let long = [vec![b'x'; 5000], b".yaml".to_vec()].concat();
    let cases: [(&str, &[u8], &str, &str); 10] = [
        ("100644", b"b\xff.yaml", &file, "b\u{fffd}.yaml has a name"),
        ("100644", b"b\x1b[2Jc.yaml", &file, "b\\u{1b}[2Jc.yaml has a name"),
        ("100644", "b\u{202e}.yaml".as_bytes(), &file, "has a name"),
        ("100644", "b\u{2060}.yaml".as_bytes(), &file, "has a name"),
        ("100644", b"../b.yaml", &file, "has a name"),
        ("40000", b"..", &inner, "../p.yaml has a name"),
        ("40000", b".", &inner, "./p.yaml has a name"),
        ("40000", b".GIT", &inner, ".GIT/p.yaml has a name"),
        ("40000", b"", &inner, "p.yaml has a name"),
        ("100644", &long, &file, "is longer than 4096 bytes"),
    ];
    for (mode, name, id, expected) in cases {
        let commit = put(&origin, &tree(&origin, &[(mode, name, id)])?)?;
        let why = refusal_of(&mut watched, &origin, &commit).await?;
        assert_eq!(head_of(&watched.report()), Some(first.as_str()));
        assert!(why.contains(expected) && !why.contains('\u{1b}'), "{expected}: {why}");
    }
    // What is no manifest may be called anything.
    let kept = blob(&origin, &policy("payments", "p0", 80))?;
    let odd: &[(&str, &[u8], &str)] = &[("100644", b"\xff\x01.md", &file), ("100644", b"p0.yaml", &kept)];
    let entries = [odd, &[("100644", b"x\xff.yaml", &file)]].concat();
    let commit = put(&origin, &tree(&origin, &entries)?)?;
    let server = served(&origin, &commit).await?;
    watched.change(|source| {
        source.spec.git.url.clone_from(&server.url);
        source.spec.git.ignore = vec!["x*.yaml".to_owned()];
        source.spec.max_removals = "100%".to_owned();
    });
    let report = watched.until_head(&commit).await?;
    assert_eq!(objects(&report), 1);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_git_did_not_write_keeps_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let one = blob(&origin, &policy("payments", "one", 80))?;
    let two = blob(&origin, &policy("payments", "two", 80))?;
    let twice: &[(&str, &[u8], &str)] = &[("100644", b"a.yaml", &one), ("100644", b"a.yaml", &two)];
    let backwards: &[(&str, &[u8], &str)] = &[("100644", b"b.yaml", &one), ("100644", b"a.yaml", &two)];
    for entries in [twice, backwards] {
        let commit = put(&origin, &tree(&origin, entries)?)?;
        let why = refusal_of(&mut watched, &origin, &commit).await?;
        assert!(
            why.contains("a.yaml is listed twice, or not in the order of names"),
            "{why}"
        );
    }
    let garbage = object(&origin, "tree", &mut std::iter::once(b"no tree at all".to_vec()))?;
    let commit = put(&origin, &garbage)?;
    let why = refusal_of(&mut watched, &origin, &commit).await?;
    assert!(why.contains("cannot be read: it was not written by git"), "{why}");
    assert_eq!(head_of(&watched.report()), Some(first.as_str()));
    Ok(())
}

#[tokio::test]
async fn names_that_differ_in_case_only_are_two_files() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    origin.write("policies/WEB.yaml", &policy("payments", "upper", 80))?;
    origin.write("policies/web.yaml", &policy("payments", "lower", 80))?;
    let commit = origin.commit_and_push("case")?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    assert_eq!(objects(&watched.until_head(&commit).await?), 3);
    // Two objects of one name are refused, whatever their files are called.
    origin.write("policies/WEB.yaml", &policy("payments", "lower", 81))?;
    origin.commit_and_push("collide")?;
    let why = refused(watched.refreshed().await?)?;
    assert!(why.contains("is declared twice"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_pointer_of_git_lfs_is_not_taken_for_an_empty_file() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n");
    origin.write("policies/p1.yaml", &pointer)?;
    origin.commit_and_push("lfs")?;
    let report = watched.refreshed().await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    let why = refused(report)?;
    assert!(
        why.starts_with("policies/p1.yaml:1:1: this is a pointer of Git LFS"),
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn files_full_of_errors_are_not_all_read() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    for number in 0..600 {
        let text =
            format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nbad{number}: [\n---\na: [\n---\nb: [\n");
        origin.write(&format!("bad/{number}.yaml"), &text)?;
    }
    origin.commit_and_push("bad")?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    let why = refused(watched.until_refused(RefusalReason::UnreadableFile).await?)?;
    assert!(
        why.contains("and ") && why.contains("more") && why.len() <= 1024,
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn large_files_are_read_in_bounded_memory() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    // As many values as a document may have, each a list of its own, and text besides.
    let (nested, text) = ("[],".repeat(450_000), "x".repeat(6 << 20));
    for number in 0..2 {
        origin.write(
            &format!("big/{number}.json"),
            &format!("{{\"a\": [{nested} {number}], \"b\": \"{text}\"}}"),
        )?;
    }
    let commit = origin.commit_and_push("big")?;
    let state = tempfile::tempdir()?;
    let url = origin.file_url();
    let account = look(&state.path().join("state"), &url, &Limits::default()).await?;
    assert_eq!(account.head.as_deref(), Some(commit.as_str()), "{account:?}");
    assert!(account.peak < 512 << 20, "it took {} MiB", account.peak >> 20);
    Ok(())
}

//! A disk that is full, cannot be written or has turned bits, and a process that is killed: the head stays, and what is
//! on disk is put right.

mod git_support;

use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use git_support::apart::{self, look_with};
use git_support::{Origin, Secrets, TestResult, Watched, head_of, mirrors, objects, policy};
use headgate::source::resource::HeadStatus;
use headgate::source::{Limits, Lookup};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "a part of other tests, in a process of its own"]
async fn a_keeper_in_a_process_of_its_own() -> TestResult {
    apart::work().await
}

/// A keeper that finds this commit in the status.
fn start(state: &Path, url: &str, commit: &str) -> TestResult<Watched> {
    Watched::start_with(state, url, Secrets::default(), TIMEOUT, |source| {
        let status = source.status.get_or_insert_default();
        status.head = Some(HeadStatus {
            commit: commit.to_owned(),
            objects: 3,
            ..HeadStatus::default()
        });
        commit.clone_into(&mut status.highest_head);
    })
}

/// Runs a test of this file on a disk of so many megabytes, mounted for it alone.
fn on_a_small_disk(test: &str, megabytes: usize) -> TestResult {
    let disk = tempfile::tempdir()?;
    let mount = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$DISK\" && exec \"$0\" \"$@\"");
    let is_root = String::from_utf8(Command::new("id").arg("-u").output()?.stdout)?.trim() == "0";
    let ran = Command::new("unshare")
        .args(if is_root {
            &["--mount"][..]
        } else {
            &["--map-root-user", "--mount"]
        })
        .args(["sh", "-c", &mount])
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("DISK", disk.path())
        .output()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() || !said.contains("1 passed") {
        return Err(format!("{test} on a small disk: {}\n{said}", ran.status).into());
    }
    Ok(())
}

fn disk() -> TestResult<PathBuf> {
    Ok(std::env::var_os("DISK").ok_or("no disk is mounted")?.into())
}

fn noise(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(6 << 20).collect()
}

/// Waits until a fetch succeeds: after a failed one nobody asks for a while.
async fn until_read(watched: &Watched, commit: &str) -> TestResult {
    let _ = watched.refresh().await;
    let report = watched.until_head(commit).await?;
    assert!(report.attempt.is_some_and(|attempt| attempt.outcome.is_ok()));
    Ok(())
}

#[test]
fn a_full_disk_keeps_the_head_and_is_used_again_once_there_is_room() -> TestResult {
    on_a_small_disk("on_a_disk_that_fills_up", 4)
}

#[tokio::test]
#[ignore = "a part of another test, on a disk of its own"]
async fn on_a_disk_that_fills_up() -> TestResult {
    let disk = disk()?;
    let (origin, first) = Origin::with_policies(3)?;
    let url = origin.file_url();
    let watched = start(&disk, &url, &first)?;
    watched.until_head(&first).await?;
    watched.refreshed().await?;
    std::fs::write(origin.work("noise.bin"), noise(1))?;
    origin.commit_and_push("too much for the disk")?;
    let why = watched.refresh().await.failure().ok_or("it had room")?;
    assert!(why.contains("failed to write the mirror: no storage space"), "{why}");
    assert_eq!(head_of(&watched.report()), Some(first.as_str()));
    // What was taken in of it is gone.
    std::fs::write(disk.join("room"), vec![0; 2 << 20])?;
    std::fs::remove_file(disk.join("room"))?;
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("small")?;
    until_read(&watched, &second).await?;
    watched.stop().await;
    // A start finds the last head, though there is not a byte left and no repository.
    fill(&disk)?;
    std::fs::rename(origin.bare(), origin.root().join("gone"))?;
    let watched = start(&disk, &url, &second)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(second.as_str()), 4));
    let key = "networkpolicy.networking.k8s.io/payments/more".parse()?;
    assert!(matches!(watched.keeper.desired().look_up(&key), Lookup::Declared(_)));
    Ok(())
}

/// Takes all that is left of a disk.
fn fill(disk: &Path) -> TestResult {
    use std::io::Write as _;
    let mut file = std::fs::File::create(disk.join("filler"))?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

#[test]
fn a_disk_that_cannot_be_written_still_gives_the_last_head() -> TestResult {
    on_a_small_disk("on_a_disk_that_cannot_be_written", 4)
}

#[tokio::test]
#[ignore = "a part of another test, on a disk of its own"]
async fn on_a_disk_that_cannot_be_written() -> TestResult {
    let disk = disk()?;
    let remount = |how: &str| -> TestResult {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&disk)
            .status()?;
        if done.success() {
            Ok(())
        } else {
            Err(format!("remount,{how}: {done}").into())
        }
    };
    let (origin, first) = Origin::with_policies(3)?;
    let url = origin.file_url();
    let watched = start(&disk, &url, &first)?;
    watched.until_head(&first).await?;
    watched.stop().await;
    remount("ro")?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let watched = start(&disk, &url, &first)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    let why = report
        .attempt
        .and_then(|attempt| attempt.outcome.err())
        .unwrap_or_default();
    assert!(why.to_lowercase().contains("read-only"), "{why}");
    remount("rw")?;
    until_read(&watched, &second).await
}

/// The file of a mirror whose path ends so.
fn file(state: &Path, end: &str) -> TestResult<PathBuf> {
    let files = walkdir::WalkDir::new(state).into_iter().flatten();
    let found = files
        .map(walkdir::DirEntry::into_path)
        .find(|path| path.to_string_lossy().ends_with(end) && path.is_file());
    found.ok_or_else(|| format!("there is no {end}").into())
}

/// Turns the bits of one byte, as far into the file as the share says.
fn turn(path: &Path, share: f64) -> TestResult {
    let mut bytes = std::fs::read(path)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a place somewhere in the file"
    )]
    let at = (bytes.len() as f64 * share) as usize;
    let byte = bytes.get_mut(at).ok_or("an empty file")?;
    *byte = !*byte;
    // In its place, as a disk does it.
    make_writable(path)?;
    Ok(std::fs::File::options()
        .write(true)
        .open(path)?
        .write_all_at(&bytes, 0)?)
}

fn make_writable(path: &Path) -> TestResult {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?)
}

#[tokio::test]
async fn whatever_file_of_a_mirror_is_damaged_it_is_put_right_and_the_head_stays_meanwhile() -> TestResult {
    let key = "networkpolicy.networking.k8s.io/payments/p0".parse()?;
    for (end, share) in [
        (".pack", 0.01),
        (".pack", 0.3),
        (".pack", 0.6),
        (".pack", 0.9),
        (".idx", 0.01),
        (".idx", 0.5),
        (".idx", 0.95),
        ("refs/heads/main", 0.1),
        ("refs/headgate/accepted", 0.5),
        ("HEAD", 0.1),
        ("config", 0.1),
    ] {
        let (origin, first) = Origin::with_policies(3)?;
        let state = tempfile::tempdir()?;
        let url = origin.file_url();
        let watched = start(state.path(), &url, &first)?;
        watched.until_head(&first).await?;
        turn(&file(state.path(), end)?, share)?;
        assert!(
            matches!(watched.keeper.desired().look_up(&key), Lookup::Declared(_)),
            "{end}"
        );
        watched.stop().await;
        // With the damage, and without the repository: nothing is in force that was not accepted.
        let away = origin.root().join("gone");
        std::fs::rename(origin.bare(), &away)?;
        let watched = start(state.path(), &url, &first)?;
        let report = watched
            .until("it was looked at", |report| report.attempt.is_some())
            .await?;
        match head_of(&report) {
            None => assert!(
                matches!(watched.keeper.desired().look_up(&key), Lookup::HeadUnknown { .. }),
                "{end} {share}"
            ),
            Some(head) => assert_eq!((head, objects(&report)), (first.as_str(), 3), "{end} {share}"),
        }
        watched.stop().await;
        std::fs::rename(&away, origin.bare())?;
        origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
        let second = origin.commit_and_push("more")?;
        let watched = start(state.path(), &url, &first)?;
        let report = watched.until_head(&second).await?;
        assert_eq!(objects(&report), 4, "{end} {share}");
        for entry in report.head.ok_or("no head")?.entries.values() {
            assert!(
                watched.keeper.manifest("platform", entry).await.is_ok(),
                "{end} {share}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_pack_that_is_damaged_under_a_running_process_is_fetched_anew() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first)?;
    watched.until_head(&first).await?;
    let before = mirrors(state.path())?;
    let pack = file(state.path(), ".pack")?;
    for share in [0.2, 0.4, 0.6, 0.8] {
        turn(&pack, share)?;
    }
    origin.write("policies/p1.yaml", &policy("payments", "p1", 8080))?;
    let second = origin.commit_and_push("change")?;
    let _ = watched.refresh().await;
    watched.until_head(&second).await?;
    assert_ne!(mirrors(state.path())?, before);
    Ok(())
}

#[tokio::test]
async fn fifty_kills_lose_nothing_and_leave_nothing_behind() -> TestResult {
    let (origin, mut last) = Origin::with_policies(3)?;
    let root = tempfile::tempdir()?;
    let state = root.path().join("state");
    let (url, limits) = (origin.file_url(), Limits::default());
    let mut random = fastrand::Rng::with_seed(11);
    let begun = Instant::now();
    look_with(&state, &url, &limits, None).await?;
    // Kills are spread over what such a process takes on this machine.
    let whole = u64::try_from(begun.elapsed().as_millis())?;
    let mut accepted = accepted_on_disk(&state)?;
    let mut killed = 0;
    for round in 0..50 {
        // Enough to be in the middle of something.
        let bulk: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(200 << 10)
            .collect();
        origin.write("policies/bulk.txt", &bulk)?;
        origin.write("policies/p1.yaml", &policy("payments", "p1", 8000 + round))?;
        last = origin.commit_and_push("round")?;
        let recorded = accepted.as_deref().map(|commit| (commit, 3));
        let mut child = apart::start(&state, &url, &limits, recorded)?;
        tokio::time::sleep(Duration::from_millis(random.u64(whole / 8..whole))).await;
        // It may have come to its end.
        let _ = child.kill();
        killed += usize::from(child.wait()?.signal() == Some(9));
        let now = accepted_on_disk(&state)?;
        assert!(
            accepted.is_none() || now.is_some(),
            "round {round}: what was accepted is lost"
        );
        accepted = now.or(accepted);
    }
    assert!(killed > 25, "only {killed} were killed");
    let commit = accepted.ok_or("never was a commit accepted")?;
    // What the last of them accepted is in force though nobody answers.
    std::fs::rename(origin.bare(), origin.root().join("gone"))?;
    let account = look_with(&state, &url, &limits, Some((&commit, 3))).await?;
    assert_eq!((account.head.as_deref(), account.objects), (Some(commit.as_str()), 3));
    std::fs::rename(origin.root().join("gone"), origin.bare())?;
    let account = look_with(&state, &url, &limits, Some((&commit, 3))).await?;
    assert_eq!((account.head.as_deref(), account.objects), (Some(last.as_str()), 3));
    let left = mirrors(&state)?;
    assert_eq!(left.len(), 1, "{left:?}");
    let names = walkdir::WalkDir::new(&state).into_iter().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_left = |name: &String| {
        ["partial", "tmp", "secret", ".lock"]
            .iter()
            .any(|part| name.contains(part))
    };
    assert_eq!(names.filter(is_left).collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

/// What the mirror says was accepted last; none where there is no mirror yet.
fn accepted_on_disk(state: &Path) -> TestResult<Option<String>> {
    if !state.exists() {
        return Ok(None);
    }
    for mirror in mirrors(state)? {
        let said = Command::new("git")
            .arg(format!("--git-dir={}", mirror.display()))
            .args(["rev-parse", "--verify", "--quiet", "refs/headgate/accepted^{commit}"])
            .output()?;
        if said.status.success() {
            return Ok(Some(String::from_utf8(said.stdout)?.trim().to_owned()));
        }
    }
    Ok(None)
}

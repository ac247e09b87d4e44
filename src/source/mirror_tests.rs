//! The mirror against a real repository, without a keeper.

use std::process::Command;

use super::*;

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A repository with one commit more at each call.
fn commit(dir: &Path, subject: &str) -> TestResult<ObjectId> {
    git(dir, &["commit", "--quiet", "--allow-empty", "--message", subject])?;
    Ok(git(dir, &["rev-parse", "HEAD"])?.parse()?)
}

fn git(dir: &Path, arguments: &[&str]) -> TestResult<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
        .args(arguments)
        .current_dir(dir)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn wish(keep: Option<ObjectId>) -> Wish {
    Wish {
        reference: "refs/heads/main".to_owned(),
        access: Access::default(),
        timeout: Duration::from_secs(30),
        keep,
        may_rewind: false,
        limits: Limits::default(),
    }
}

/// A repository, its mirror in a state folder, and both folders' guards.
fn mirrored() -> TestResult<(tempfile::TempDir, tempfile::TempDir, Arc<Mirror>)> {
    let (origin, state) = (tempfile::tempdir()?, tempfile::tempdir()?);
    git(origin.path(), &["init", "--quiet", "--initial-branch=main"])?;
    let url = format!("file://{}", origin.path().display());
    let mirror = Arc::new(Mirror::open(state.path(), "a", &url)?);
    Ok((origin, state, mirror))
}

#[tokio::test]
async fn packs_that_pile_up_are_cloned_into_one() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    mirror.max_packs.store(3, Ordering::Relaxed);
    let first = commit(origin.path(), "first")?;
    let start = Arc::clone(&mirror).fetch(wish(None)).await?;
    assert_eq!(start.tip, Some(first));
    let mut packs = Vec::new();
    for number in 0..4 {
        let tip = commit(origin.path(), &number.to_string())?;
        let fetched = Arc::clone(&mirror).fetch(wish(Some(first))).await?;
        assert_eq!(fetched.tip, Some(tip));
        packs.push(fetched.store.packs());
    }
    assert_eq!(packs, [2, 3, 4, 1]);
    // The old one stays as long as somebody reads from it.
    let old = start.store.dir().to_owned();
    assert!(Reader::open(&old)?.has(first)?);
    drop(start);
    assert!(!old.exists());
    Ok(())
}

#[tokio::test]
async fn being_tidy_never_loses_the_commit_in_force() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    let first = commit(origin.path(), "first")?;
    let start = Arc::clone(&mirror).fetch(wish(None)).await?;
    mirror.max_packs.store(0, Ordering::Relaxed);
    git(
        origin.path(),
        &[
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--message",
            "rewritten",
        ],
    )?;
    let fetched = Arc::clone(&mirror).fetch(wish(Some(first))).await?;
    assert_eq!(fetched.store.dir(), start.store.dir());
    assert!(fetched.tip.is_some_and(|tip| tip != first));
    assert!(Reader::open(fetched.store.dir())?.has(first)?);
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_may_still_be_written_to_is_left_behind() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    let first = commit(origin.path(), "first")?;
    let start = Arc::clone(&mirror).fetch(wish(None)).await?;
    drop(Attempt {
        mirror: Arc::clone(&mirror),
        limit: Limit::new(Duration::ZERO, u64::MAX),
        ended: false,
    });
    let fetched = Arc::clone(&mirror).fetch(wish(Some(first))).await?;
    assert_ne!(fetched.store.dir(), start.store.dir());
    let again = Arc::clone(&mirror).fetch(wish(Some(first))).await?;
    assert_eq!(again.store.dir(), fetched.store.dir());
    Ok(())
}

#[tokio::test]
async fn attempts_that_hang_are_bounded() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    commit(origin.path(), "first")?;
    let hanging = vec![Arc::clone(&mirror.attempts); MAX_HANGING];
    let refused = Arc::clone(&mirror).fetch(wish(None)).await;
    assert!(matches!(refused, Err(FetchError::Hanging(MAX_HANGING))));
    drop(hanging);
    assert!(mirror.fetch(wish(None)).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_mirror_in_which_every_fetch_fails_is_cloned_anew() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    commit(origin.path(), "first")?;
    let start = Arc::clone(&mirror).fetch(wish(None)).await?;
    let tip = commit(origin.path(), "second")?;
    std::fs::write(start.store.dir().join("refs/heads/main"), "damaged")?;
    for _ in 1..SUSPICIOUS_FAILURES {
        assert!(Arc::clone(&mirror).fetch(wish(None)).await.is_err());
    }
    assert_eq!(mirror.fetch(wish(None)).await?.tip, Some(tip));
    Ok(())
}

#[tokio::test]
async fn failures_that_have_another_cause_never_lose_the_commit_in_force() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    let first = commit(origin.path(), "first")?;
    let start = Arc::clone(&mirror).fetch(wish(None)).await?;
    let away = origin.path().with_extension("away");
    std::fs::rename(origin.path(), &away)?;
    for _ in 1..SUSPICIOUS_FAILURES {
        assert!(Arc::clone(&mirror).fetch(wish(Some(first))).await.is_err());
    }
    std::fs::rename(&away, origin.path())?;
    let amend = [
        "commit",
        "--quiet",
        "--amend",
        "--allow-empty",
        "--message",
        "rewritten",
    ];
    git(origin.path(), &amend)?;
    let fetched = Arc::clone(&mirror).fetch(wish(Some(first))).await?;
    assert_eq!(fetched.store.dir(), start.store.dir());
    assert!(fetched.tip.is_some_and(|tip| tip != first));
    assert!(Reader::open(fetched.store.dir())?.has(first)?);
    Ok(())
}

/// Commits a file of so many bytes that nothing makes smaller, in the place of the last commit.
fn rewrite(dir: &Path, bytes: usize, seed: u64) -> TestResult<ObjectId> {
    let mut random = fastrand::Rng::with_seed(seed);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
    std::fs::write(dir.join("noise.bin"), noise)?;
    git(dir, &["add", "noise.bin"])?;
    git(dir, &["commit", "--quiet", "--amend", "--message", "rewritten"])?;
    Ok(git(dir, &["rev-parse", "HEAD"])?.parse()?)
}

#[tokio::test]
async fn what_a_rewritten_branch_leaves_behind_is_let_go() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    mirror.room.store(1 << 20, Ordering::Relaxed);
    commit(origin.path(), "first")?;
    let mut sizes = Vec::new();
    for seed in 0..8 {
        let tip = rewrite(origin.path(), 600 << 10, seed)?;
        let fetched = Arc::clone(&mirror).fetch(wish(Some(tip))).await?;
        assert_eq!(fetched.tip, Some(tip));
        sizes.push(fetched.store.bytes() >> 10);
    }
    assert!(sizes.iter().all(|kilobytes| *kilobytes < 4 << 10), "{sizes:?}");
    assert!(!sizes.is_sorted(), "{sizes:?}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_grows_no_further_for_a_commit_that_was_taken_from_the_branch() -> TestResult {
    let (origin, _state, mirror) = mirrored()?;
    let wish = |keep, may_rewind| Wish {
        limits: Limits {
            received: 1 << 20,
            ..Limits::default()
        },
        may_rewind,
        ..wish(Some(keep))
    };
    let first = commit(origin.path(), "first")?;
    Arc::clone(&mirror).fetch(wish(first, false)).await?;
    let mut refused = None;
    for seed in 0..8 {
        rewrite(origin.path(), 600 << 10, seed)?;
        if let Err(error) = Arc::clone(&mirror).fetch(wish(first, false)).await {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(FetchError::Outgrown(Size(1_048_576)))),
        "{refused:?}"
    );
    let store = mirror.store().ok_or("no mirror")?;
    assert!(store.bytes() < 3 << 20 && Reader::open(store.dir())?.has(first)?);
    // Its owner lets it go.
    let tip = rewrite(origin.path(), 600 << 10, 100)?;
    let fetched = Arc::clone(&mirror).fetch(wish(first, true)).await?;
    assert_eq!(fetched.tip, Some(tip));
    assert!(fetched.store.bytes() < 1 << 20);
    Ok(())
}

//! Packs as git writes them, and packs made by hand to do harm.

#![expect(clippy::indexing_slicing, reason = "a test, of bytes whose places are known")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use gix::hash::ObjectId;

use super::*;

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// An object of a pack that is made by hand.
struct Object {
    kind: u8,
    /// What it claims to have unpacked.
    size: u64,
    /// What stands between the header and the content.
    base: Vec<u8>,
    content: Vec<u8>,
}

fn blob(content: &[u8]) -> Object {
    Object {
        kind: 3,
        size: content.len() as u64,
        base: Vec::new(),
        content: content.to_vec(),
    }
}

/// A difference that makes so many bytes from an object of so many.
fn delta(from: u64, makes: u64, base: Vec<u8>, kind: u8) -> Object {
    let content = [number(from), number(makes), vec![0x90, 1]].concat();
    Object {
        kind,
        size: content.len() as u64,
        base,
        content,
    }
}

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A pack of these, in which each may name the one that begins so many bytes before it.
fn pack(count: u32, objects: impl IntoIterator<Item = Object>) -> TestResult<Vec<u8>> {
    let mut pack = header::encode(gix::odb::pack::data::Version::V2, count).to_vec();
    for object in objects {
        let mut size = object.size;
        let mut byte = object.kind << 4 | u8::try_from(size & 0xf)?;
        size >>= 4;
        while size > 0 {
            pack.push(byte | 0x80);
            byte = u8::try_from(size & 0x7f)?;
            size >>= 7;
        }
        pack.push(byte);
        pack.extend(object.base);
        let mut deflate = gix::zlib::stream::deflate::Write::new(Vec::new(), gix::zlib::Compression::BEST);
        deflate.write_all(&object.content)?;
        deflate.flush()?;
        pack.extend(deflate.into_inner());
    }
    Ok(pack)
}

fn look(pack: &[u8], limits: &Limits) -> Result<Figures, PackError> {
    inspect(pack, limits, &|_| false, &|| Ok(()))
}

#[test]
fn a_pack_of_git_is_told_as_git_tells_it() -> TestResult {
    let dir = tempfile::tempdir()?;
    let git = |arguments: &[&str], input: Option<&str>| -> TestResult<Vec<u8>> {
        let mut child = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no input")?;
        stdin.write_all(input.unwrap_or_default().as_bytes())?;
        drop(stdin);
        Ok(child.wait_with_output()?.stdout)
    };
    git(&["init", "--quiet"], None)?;
    let mut text = String::new();
    for line in 0..60 {
        writeln!(text, "- this is line {line} of a file that grows")?;
        std::fs::write(dir.path().join("file.yaml"), &text)?;
        git(&["add", "."], None)?;
        git(&["commit", "--quiet", "--message", "more"], None)?;
    }
    let packed = git(
        &["pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset"],
        Some("HEAD\n"),
    )?;
    let figures = look(&packed, &Limits::default())?;
    let all = git(
        &["cat-file", "--batch-all-objects", "--batch-check=%(objectsize)"],
        None,
    )?;
    let sizes: Vec<u64> = String::from_utf8(all)?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    assert_eq!((figures.objects, figures.unpacked), (180, sizes.iter().sum()));
    assert!(figures.held < figures.unpacked, "{figures:?}");
    // Wherever it is cut, it is no pack.
    for end in [0, 11, 12, packed.len() / 2, packed.len() - 30] {
        assert!(
            matches!(look(&packed[..end], &Limits::default()), Err(PackError::Garbage)),
            "{end}"
        );
    }
    Ok(())
}

#[test]
fn a_pack_that_claims_billions_is_not_believed() -> TestResult {
    let refused = look(&pack(u32::MAX, [blob(b"a")])?, &Limits::default());
    assert!(
        matches!(refused, Err(PackError::TooManyObjects(u32::MAX, 1_000_000))),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn an_object_is_as_large_as_it_says_and_no_larger_than_one_may_be() -> TestResult {
    let limits = Limits {
        git_object_size: 1000,
        ..Limits::default()
    };
    assert!(look(&pack(1, [blob(&[0; 1000])])?, &limits).is_ok());
    let refused = look(&pack(1, [blob(&[0; 1001])])?, &limits);
    assert!(matches!(refused, Err(PackError::TooLarge(1001, 1000))), "{refused:?}");
    for (claimed, held) in [(999, 1000), (1000, 999), (5, 1_000_000)] {
        let lying = Object {
            size: claimed,
            ..blob(&vec![0; held])
        };
        let refused = look(&pack(1, [lying])?, &limits);
        assert!(
            matches!(refused, Err(PackError::Garbage)),
            "{claimed} {held}: {refused:?}"
        );
    }
    Ok(())
}

#[test]
fn a_small_difference_that_makes_a_large_object_is_seen() -> TestResult {
    let base = pack(1, [blob(&[7; 100])])?;
    let distance = vec![u8::try_from(base.len() - 12)?];
    let refused = look(
        &pack(2, [blob(&[7; 100]), delta(100, 1 << 40, distance, 6)])?,
        &Limits::default(),
    );
    assert!(
        matches!(refused, Err(PackError::TooLarge(size, _)) if size == 1 << 40),
        "{refused:?}"
    );
    // What the mirror has is no smaller for being left out of the pack.
    let id = ObjectId::null(gix::hash::Kind::Sha1);
    for (from, makes) in [(1 << 40, 10), (10, 1 << 40)] {
        let pack = pack(1, [delta(from, makes, id.as_slice().to_vec(), 7)])?;
        let refused = inspect(&*pack, &Limits::default(), &|_| true, &|| Ok(()));
        assert!(matches!(refused, Err(PackError::TooLarge(..))), "{refused:?}");
    }
    Ok(())
}

/// A chain of differences of 16 MiB each, from each of which a second one is made if asked.
fn chain(length: usize, forks: bool) -> TestResult<Vec<u8>> {
    let size = 16 << 20;
    let mut bytes = pack(0, [blob(&vec![0; size])])?;
    let mut count = 1;
    let mut last = 12;
    for _ in 0..length {
        for is_next in [false, true] {
            if !is_next && !forks {
                continue;
            }
            let here = bytes.len();
            let distance = here - last;
            let encoded = offset(u64::try_from(distance)?)?;
            let one = pack(0, [delta(size as u64, size as u64, encoded, 6)])?;
            bytes.extend(&one[12..]);
            count += 1;
            if is_next {
                last = here;
            }
        }
    }
    bytes[8..12].copy_from_slice(&u32::to_be_bytes(count));
    Ok(bytes)
}

/// How a pack writes how far back a base is.
fn offset(mut distance: u64) -> TestResult<Vec<u8>> {
    let mut bytes = vec![u8::try_from(distance & 0x7f)?];
    while distance >= 0x80 {
        distance = (distance >> 7) - 1;
        bytes.insert(0, u8::try_from(distance & 0x7f)? | 0x80);
    }
    Ok(bytes)
}

#[test]
fn a_tree_of_differences_that_have_to_be_kept_is_a_bomb_and_a_chain_of_them_is_none() -> TestResult {
    let straight = look(&chain(50, false)?, &Limits::default())?;
    assert_eq!((straight.objects, straight.unpacked), (51, 51 * (16 << 20)));
    assert!(straight.held <= 64 << 20, "{straight:?}");
    let forked = look(&chain(50, true)?, &Limits::default());
    assert!(matches!(forked, Err(PackError::Bomb)), "{forked:?}");
    assert!(look(&chain(5, true)?, &Limits::default()).is_ok());
    Ok(())
}

#[test]
fn a_chain_longer_than_git_makes_is_garbage() -> TestResult {
    let limits = Limits::default();
    let links = |length: usize| -> TestResult<Vec<u8>> {
        let mut bytes = pack(u32::try_from(length + 1)?, [blob(b"0123456789")])?;
        let mut last = 12;
        for _ in 0..length {
            let here = bytes.len();
            let link = pack(0, [delta(10, 10, offset(u64::try_from(here - last)?)?, 6)])?;
            bytes.extend(&link[12..]);
            last = here;
        }
        Ok(bytes)
    };
    assert!(look(&links(4095)?, &limits).is_ok());
    assert!(matches!(look(&links(4096)?, &limits), Err(PackError::Garbage)));
    Ok(())
}

#[test]
fn differences_from_anywhere_in_the_pack_count_as_if_each_was_made_from_the_one_before() -> TestResult {
    let id = ObjectId::null(gix::hash::Kind::Sha1);
    let open = |count: usize, size: u64| {
        (0..count)
            .map(move |_| delta(size, size, id.as_slice().to_vec(), 7))
            .collect::<Vec<_>>()
    };
    let refused = look(&pack(100, open(100, 16 << 20))?, &Limits::default());
    assert!(matches!(refused, Err(PackError::OpenBases)), "{refused:?}");
    assert!(look(&pack(100, open(100, 1 << 20))?, &Limits::default()).is_ok());
    Ok(())
}

#[test]
fn looking_ends_when_it_is_told_to() -> TestResult {
    let ended = inspect(
        &*pack(2, [blob(b"a"), blob(b"b")])?,
        &Limits::default(),
        &|_| false,
        &|| Err(io::Error::from(io::ErrorKind::TimedOut)),
    );
    assert!(matches!(ended, Err(PackError::Read(error)) if error.kind() == io::ErrorKind::TimedOut));
    Ok(())
}

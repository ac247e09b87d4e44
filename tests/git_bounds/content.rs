//! What a commit may hold: how much, and of what kind.

use headgate::source::Limits;
use headgate::source::keeper::RefusalReason;

use crate::crafted::{blob, object, put, refusal_of, served, tree};
use crate::git_support::apart::look;
use crate::git_support::http::serve;
use crate::git_support::{Origin, TestResult, Watched, head_of, objects, policy};
use crate::{look_at, refused};

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
    for number in 0..4 {
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

//! Where a mirror lives on disk: one folder a source and URL, held by one process, with at most one repository in use.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Processes that may share one state folder, each with mirrors of its own.
const MAX_SHARERS: usize = 8;
const LOCK: &str = "lock";
const LOCK_TRIES: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const PREFIX: &str = "mirror-";
const PARTIAL: &str = ".partial";
/// Folders with secrets, for as long as a fetch needs them.
const SECRET: &str = "secret-";

/// A folder that only this process uses. Goes when abandoned and no repository in it is in use any more.
pub(super) struct Home {
    dir: PathBuf,
    next: AtomicU64,
    abandoned: AtomicBool,
    /// Locked as long as the process uses the folder.
    _lock: File,
}

/// One bare repository. Packs are memory-mapped, so its folder goes only when the last user lets go of it.
pub(super) struct Store {
    dir: PathBuf,
    superseded: AtomicBool,
    home: Arc<Home>,
}

impl Home {
    /// Claims the folder for a source's repository, and clears it of what a process that died left behind.
    pub(super) fn claim(state_dir: &Path, source: &str, url: &str) -> io::Result<(Arc<Self>, Option<Arc<Store>>)> {
        let base = folder_name(source, url);
        for sharer in 0..MAX_SHARERS {
            let dir = match sharer {
                0 => state_dir.join(&base),
                _ => state_dir.join(format!("{base}.{sharer}")),
            };
            let lock = open_lock(&dir)?;
            if locked(&lock)? {
                return Self::tidy(dir, lock);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{MAX_SHARERS} processes use {} already", state_dir.display()),
        ))
    }

    fn tidy(dir: PathBuf, lock: File) -> io::Result<(Arc<Self>, Option<Arc<Store>>)> {
        let (mut finished, mut highest) = (Vec::new(), 0);
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if name.starts_with(SECRET) {
                remove(&entry.path());
            }
            let Some(serial) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let begun = serial.strip_suffix(PARTIAL).unwrap_or(serial).parse();
            highest = highest.max(begun.unwrap_or(0));
            match serial.parse::<u64>() {
                Ok(serial) => finished.push((serial, entry.path())),
                Err(_) => remove(&entry.path()),
            }
        }
        finished.sort();
        let newest = finished.pop();
        for (_, outdated) in finished {
            remove(&outdated);
        }
        let home = Arc::new(Self {
            dir,
            next: AtomicU64::new(highest + 1),
            abandoned: AtomicBool::new(false),
            _lock: lock,
        });
        let store = newest.map(|(_, dir)| {
            remove_left_locks(&dir);
            Store::new(dir, &home)
        });
        Ok((home, store))
    }

    /// Where everything of it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A folder that only this user may enter. It goes with what is returned, or at the next start.
    pub(super) fn start_secret_folder(&self) -> io::Result<TempDir> {
        tempfile::Builder::new()
            .prefix(SECRET)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&self.dir)
    }

    /// A folder for a clone in the making.
    pub(super) fn start_clone(&self) -> io::Result<PathBuf> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(format!("{PREFIX}{serial}{PARTIAL}"));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Turns a finished clone into a store.
    pub(super) fn finish_clone(self: &Arc<Self>, partial: &Path) -> io::Result<Arc<Store>> {
        let name = partial.to_string_lossy();
        let dir = PathBuf::from(name.strip_suffix(PARTIAL).unwrap_or(&name));
        fs::rename(partial, &dir)?;
        Ok(Store::new(dir, self))
    }

    /// Lets the folder go once nothing in it is in use.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.abandoned.load(Ordering::Relaxed) {
            remove(&self.dir);
        }
    }
}

impl Store {
    fn new(dir: PathBuf, home: &Arc<Home>) -> Arc<Self> {
        Arc::new(Self {
            dir,
            superseded: AtomicBool::new(false),
            home: Arc::clone(home),
        })
    }

    /// The repository's folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets the folder go once nobody uses it.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// How many packs have piled up: every fetch adds one, and gix never repacks.
    pub(super) fn packs(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.dir.join("objects/pack")) else {
            return 0;
        };
        let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "pack");
        entries.flatten().filter(is_pack).count()
    }
}

impl Store {
    /// Bytes that it takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let files = walkdir::WalkDir::new(&self.dir).into_iter().flatten();
        let sizes = files.filter_map(|entry| entry.metadata().ok());
        sizes.filter(fs::Metadata::is_file).map(|file| file.len()).sum()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.superseded.load(Ordering::Relaxed) && !self.home.abandoned.load(Ordering::Relaxed) {
            remove(&self.dir);
        }
    }
}

/// The file by which a folder is claimed. Where nothing can be written, one that is there does: what the folder holds can
/// still be read.
fn open_lock(dir: &Path) -> io::Result<File> {
    let path = dir.join(LOCK);
    let made = fs::create_dir_all(dir).and_then(|()| File::create(&path));
    made.or_else(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull => {
            File::open(&path).map_err(|_| error)
        }
        _ => Err(error),
    })
}

/// Locks the file, if nobody else has it locked for good: a program that is just being started shares every lock of this
/// process for a moment.
fn locked(file: &File) -> io::Result<bool> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Removes the folders of sources that are not listed any more, unless another process uses them.
pub(super) fn remove_unlisted(state_dir: &Path, listed: &[(String, String)]) -> io::Result<()> {
    let keep: Vec<String> = listed.iter().map(|(source, url)| folder_name(source, url)).collect();
    let entries = match fs::read_dir(state_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let dir = entry?.path();
        let name = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !is_folder_name(&name) || keep.contains(&name) {
            continue;
        }
        let Ok(lock) = File::open(dir.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            remove(&dir);
        }
    }
    Ok(())
}

/// `NAME-DIGEST.git`: the digest covers name and URL, so that a changed URL never finds another repository's objects,
/// and only harmless characters of the name are kept.
fn folder_name(source: &str, url: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(source.as_bytes());
    hash.update([0]);
    hash.update(url.as_bytes());
    let name: String = source
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(60)
        .collect();
    let digest = hash
        .finalize()
        .into_iter()
        .take(8)
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(byte));
    format!("{name}-{digest:016x}.git")
}

fn is_folder_name(name: &str) -> bool {
    let stem = name.split_once(".git").map_or("", |(stem, _)| stem);
    let digest = stem.rsplit('-').next().unwrap_or_default();
    stem.len() > digest.len() && digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Locks and half-written packs of a process that was killed would stop every later fetch.
fn remove_left_locks(repository: &Path) {
    let mut folders = vec![repository.join("refs"), repository.join("objects/pack")];
    let _ = fs::remove_file(repository.join("packed-refs.lock"));
    let _ = fs::remove_file(repository.join("HEAD.lock"));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_half = name.ends_with(".lock")
                || (folder.ends_with("pack") && !name.starts_with("pack-"))
                // Nothing of it can be found without its index; the next fetch brings it again.
                || (name.ends_with(".pack") && !path.with_extension("idx").exists());
            if path.is_dir() {
                folders.push(path);
            } else if is_half {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn remove(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %dir.display(), %error, "failed to remove an unused mirror; remove it by hand");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_url_gets_another_folder_and_no_name_leaves_the_state_folder() {
        assert_ne!(folder_name("a", "https://x"), folder_name("a", "https://y"));
        assert_ne!(folder_name("a", "bhttps://x"), folder_name("ab", "https://x"));
        assert!(!folder_name("../../etc", "https://x").contains('/'));
        assert!(is_folder_name(&folder_name("a", "https://x")));
        assert!(!is_folder_name("lost+found"));
    }

    #[test]
    fn two_processes_never_share_a_mirror() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let (first, _) = Home::claim(state.path(), "a", "https://x")?;
        let (second, _) = Home::claim(state.path(), "a", "https://x")?;
        assert_ne!(first.dir, second.dir);
        Ok(())
    }

    #[test]
    fn a_half_clone_is_gone_at_the_next_start_and_the_newest_whole_one_is_used() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let (home, _) = Home::claim(state.path(), "a", "https://x")?;
        let older = home.finish_clone(&home.start_clone()?)?;
        let newer = home.finish_clone(&home.start_clone()?)?;
        let half = home.start_clone()?;
        let newest = newer.dir().to_owned();
        drop((older, newer, home));
        let (_home, store) = Home::claim(state.path(), "a", "https://x")?;
        assert_eq!(store.map(|store| store.dir().to_owned()), Some(newest));
        assert!(!half.exists());
        Ok(())
    }

    #[test]
    fn locks_and_half_packs_of_a_killed_process_are_gone_at_the_next_start() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let (home, _) = Home::claim(state.path(), "a", "https://x")?;
        let store = home.finish_clone(&home.start_clone()?)?;
        let file = |path: &str| store.dir().join(path);
        let left = [
            "refs/heads/main.lock",
            "packed-refs.lock",
            "objects/pack/.tmpQx1",
            "objects/pack/pack-2.pack",
        ];
        let kept = ["refs/heads/main", "objects/pack/pack-1.pack", "objects/pack/pack-1.idx"];
        for path in left.iter().chain(&kept) {
            let path = file(path);
            path.parent().map(fs::create_dir_all).transpose()?;
            fs::write(path, "")?;
        }
        drop(home);
        let dir = store.dir().to_owned();
        drop(store);
        let _claimed = Home::claim(state.path(), "a", "https://x")?;
        assert!(left.iter().all(|path| !dir.join(path).exists()));
        assert!(kept.iter().all(|path| dir.join(path).exists()));
        Ok(())
    }

    #[test]
    fn a_superseded_store_stays_until_its_last_user_is_gone() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let (home, _) = Home::claim(state.path(), "a", "https://x")?;
        let store = home.finish_clone(&home.start_clone()?)?;
        let user = Arc::clone(&store);
        store.supersede();
        drop(store);
        assert!(user.dir().exists());
        let dir = user.dir().to_owned();
        drop(user);
        assert!(!dir.exists());
        Ok(())
    }

    #[test]
    fn folders_of_sources_that_are_gone_are_removed_unless_in_use() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let (_used, _) = Home::claim(state.path(), "used", "https://x")?;
        drop(Home::claim(state.path(), "gone", "https://x")?);
        drop(Home::claim(state.path(), "listed", "https://x")?);
        fs::create_dir(state.path().join("not-ours"))?;
        remove_unlisted(state.path(), &[("listed".to_owned(), "https://x".to_owned())])?;
        let left = |source| state.path().join(folder_name(source, "https://x")).exists();
        assert_eq!((left("used"), left("gone"), left("listed")), (true, false, true));
        assert!(state.path().join("not-ours").exists());
        Ok(())
    }
}

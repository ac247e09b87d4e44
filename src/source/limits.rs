//! What one repository may cost: bounds on what is received, unpacked and read. Past each of them the old head stays in
//! force, and the source says which it was.

use std::fmt;

/// Entries of trees that are looked at: a tree may name one folder many times over.
pub(crate) const MAX_ENTRIES: usize = 2_000_000;
/// Folders within folders.
pub(crate) const MAX_DEPTH: usize = 64;
/// Bytes of a path: Linux takes no longer one.
pub(crate) const MAX_PATH: usize = 4096;

/// Bytes of folders that are open at once while a commit is walked through.
pub(crate) const MAX_OPEN: usize = 64 << 20;
/// Bytes that are asked for at once to read or unpack an object: no limit on objects may be larger.
pub(crate) const MAX_ALLOCATION: u64 = 256 << 20;

/// The bounds that an operator may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that one fetch may bring.
    pub received: u64,
    /// Git objects that one fetch may bring: commits, trees, blobs and tags.
    pub git_objects: u32,
    /// Bytes of any one of them, unpacked.
    pub git_object_size: u64,
    /// Manifests of a source.
    pub files: usize,
    /// Bytes of a manifest.
    pub file_size: u64,
    /// Bytes of all manifests of a source together, with their paths.
    pub total_size: u64,
    /// Objects that a source may declare.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            received: 1 << 30,
            git_objects: 1_000_000,
            git_object_size: 64 << 20,
            files: 100_000,
            file_size: 16 << 20,
            total_size: 256 << 20,
            objects: 200_000,
        }
    }
}

impl Limits {
    /// What is said of a file that is larger than one may be.
    pub(crate) fn too_large(&self) -> String {
        format!("the file is larger than {}", Size(self.file_size))
    }
}

/// A number of bytes, as people write it: `16 MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = |shift: &u32| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match units.iter().find(|(shift, _)| whole(shift)) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_is_exact() {
        let told = |bytes: u64| Size(bytes).to_string();
        assert_eq!(told(16 << 20), "16 MiB");
        assert_eq!(told(1 << 30), "1 GiB");
        assert_eq!(told(1536 << 10), "1536 KiB");
        assert_eq!((told(0), told(1000)), ("0 bytes".to_owned(), "1000 bytes".to_owned()));
    }
}

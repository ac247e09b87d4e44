//! What a pack would take to unpack, looked at before anything of it is unpacked. A pack of some kilobytes can hold an
//! object of gigabytes, claim to hold billions, or be a tree of differences each of which has to be kept in memory
//! until the next are made: gix believes what a pack says of itself. Reads a stream; nothing is kept of its content.

use std::io::{self, BufRead, Read};

use gix::odb::pack::data::entry::Header;
use gix::odb::pack::data::{Entry, header};
use gix::zlib::{Decompress, FlushDecompress, Status};

use super::limits::{Limits, Size};

/// Bytes of objects that may have to be in memory at once while a pack is unpacked.
const MAX_HELD: u64 = 128 << 20;
/// Differences upon differences: git makes no longer chains.
const MAX_CHAIN: u16 = 4095;
/// Bytes of an object's id.
const ID: usize = 20;

/// Why a pack is not unpacked. Phrased for who owns the source; nothing of what the server sent is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("the server sends {0} Git objects at once; {1} may come (git.limits.gitObjects)")]
    TooManyObjects(u32, u32),
    #[error("the repository holds an object of {0} bytes; none may have more than {size} (git.limits.gitObjectSize)", size = Size(*.1))]
    TooLarge(u64, u64),
    #[error("what the server sends takes more than {} of memory to unpack", Size(MAX_HELD))]
    Bomb,
    #[error(
        "what the server sends may take more than {} of memory to unpack: it names by id what differences are made from, so that it may be anywhere in the pack; let the server send ofs-delta, as git does",
        Size(MAX_HELD)
    )]
    OpenBases,
    #[error("what the server sends is no pack that Git would write")]
    Garbage,
    #[error("what the server sent cannot be read back: {0}")]
    Read(#[from] io::Error),
}

/// What a pack takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) objects: u32,
    /// Bytes of all objects.
    pub(super) unpacked: u64,
    /// At most so many bytes of objects are in memory at once.
    pub(super) held: u64,
}

/// Looks through a pack. `is_known` says which objects the mirror has: differences from them need no other object of
/// the pack. `check` ends it early.
pub(super) fn inspect(
    pack: impl BufRead,
    limits: &Limits,
    is_known: &dyn Fn(&gix::oid) -> bool,
    check: &dyn Fn() -> io::Result<()>,
) -> Result<Figures, PackError> {
    let mut start = [0; header::SIZE];
    let mut pack = Counted { inner: pack, read: 0 };
    pack.read_exact(&mut start).map_err(cut_short)?;
    let (_, objects) = header::decode(&start).map_err(|_| PackError::Garbage)?;
    if objects > limits.git_objects {
        return Err(PackError::TooManyObjects(objects, limits.git_objects));
    }
    let mut inspection = Inspection {
        pack,
        inflate: Decompress::new(),
        largest: limits.git_object_size,
        check,
        entries: Vec::new(),
        has_open_bases: false,
    };
    for _ in 0..objects {
        check()?;
        inspection.entry(is_known)?;
    }
    inspection.figures(objects)
}

struct Inspection<'a, R> {
    pack: Counted<R>,
    inflate: Decompress,
    largest: u64,
    check: &'a dyn Fn() -> io::Result<()>,
    entries: Vec<Known>,
    /// Whether an object is told as the difference from one that may be anywhere in the pack.
    has_open_bases: bool,
}

/// What is known of an object of the pack.
struct Known {
    /// Where it begins.
    offset: u64,
    /// Bytes in memory while it is made.
    size: u64,
    base: Base,
    /// How many objects are told as a difference from it.
    children: u32,
    chain: u16,
}

enum Base {
    None,
    /// The object of this index.
    Here(u32),
    /// An object of so many bytes that the mirror has.
    Mirrored(u64),
    /// Any object of the pack.
    Somewhere,
}

impl<R: BufRead> Inspection<'_, R> {
    fn entry(&mut self, is_known: &dyn Fn(&gix::oid) -> bool) -> Result<(), PackError> {
        let offset = self.pack.read;
        let entry = Entry::from_read(&mut self.pack, offset, ID).map_err(cut_short)?;
        self.bounded(entry.decompressed_size)?;
        let begin = self.inflate(entry.decompressed_size)?;
        let (size, base) = match entry.header {
            Header::OfsDelta { base_distance } => {
                let base = offset.checked_sub(base_distance).ok_or(PackError::Garbage)?;
                let index = self.entries.binary_search_by_key(&base, |known| known.offset);
                let index = index.map_err(|_| PackError::Garbage)?;
                let (_, size) = sizes(&begin)?;
                (size, Base::Here(u32::try_from(index).map_err(|_| PackError::Garbage)?))
            }
            Header::RefDelta { base_id } => {
                let (from, size) = sizes(&begin)?;
                self.bounded(from)?;
                let is_mirrored = is_known(&base_id);
                self.has_open_bases |= !is_mirrored;
                (
                    size,
                    if is_mirrored {
                        Base::Mirrored(from)
                    } else {
                        Base::Somewhere
                    },
                )
            }
            _ => (entry.decompressed_size, Base::None),
        };
        self.bounded(size)?;
        // The difference itself is in memory, too, and may be the larger of the two.
        let size = size.max(entry.decompressed_size);
        let chain = match base {
            Base::Here(index) => self.parent(index)?,
            _ => 0,
        };
        self.entries.push(Known {
            offset,
            size,
            base,
            children: 0,
            chain,
        });
        Ok(())
    }

    /// Counts a child of an object; how long the chain is that ends in it.
    fn parent(&mut self, index: u32) -> Result<u16, PackError> {
        let parent = self.entries.get_mut(index as usize).ok_or(PackError::Garbage)?;
        parent.children += 1;
        match parent.chain {
            MAX_CHAIN.. => Err(PackError::Garbage),
            chain => Ok(chain + 1),
        }
    }

    fn bounded(&self, size: u64) -> Result<(), PackError> {
        if size > self.largest {
            return Err(PackError::TooLarge(size, self.largest));
        }
        Ok(())
    }

    /// Goes past one compressed stream that has to hold so many bytes; gives the first of them.
    fn inflate(&mut self, size: u64) -> Result<Vec<u8>, PackError> {
        // Blocks that hold nothing could make a stream as long as one likes.
        let longest = size + size / 64 + (64 << 10);
        let (mut begin, mut scratch) = (Vec::new(), [0; 16 << 10]);
        self.inflate.reset();
        loop {
            (self.check)()?;
            let input = self.pack.fill_buf()?;
            if input.is_empty() {
                return Err(PackError::Garbage);
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut scratch, FlushDecompress::None);
            let status = status.map_err(|_| PackError::Garbage)?;
            let read = self.inflate.total_in() - read;
            let written = self.inflate.total_out() - written;
            let out = usize::try_from(written).ok().and_then(|written| scratch.get(..written));
            begin.extend(out.unwrap_or_default().iter().take(SIZES - begin.len().min(SIZES)));
            self.pack
                .consume(usize::try_from(read).map_err(|_| PackError::Garbage)?);
            let is_over = self.inflate.total_out() > size || self.inflate.total_in() > longest;
            match status {
                Status::StreamEnd if self.inflate.total_out() == size => return Ok(begin),
                Status::Ok | Status::BufError if !is_over && read + written > 0 => {}
                _ => return Err(PackError::Garbage),
            }
        }
    }

    /// Each object whose differences are not all made yet is kept: at most those on one way from an object that is told
    /// as a whole down to a difference, and of these only those from which more than one is made. Where a difference
    /// may be from any object of the pack, it may lengthen any way, and every object may have another one made from it.
    fn figures(self, objects: u32) -> Result<Figures, PackError> {
        let mut figures = Figures {
            objects,
            ..Figures::default()
        };
        let (mut held, mut extra): (Vec<u64>, u64) = (Vec::with_capacity(self.entries.len()), 0);
        let (mut widest, most) = (0, MAX_HELD.max(2 * self.largest));
        for known in &self.entries {
            let is_kept = self.has_open_bases || known.children > 1;
            let (above, from) = match known.base {
                Base::None | Base::Somewhere => (0, 0),
                Base::Mirrored(size) => (size, 0),
                Base::Here(index) => {
                    let index = index as usize;
                    let from = self.entries.get(index).map_or(0, |base| base.size);
                    (held.get(index).copied().unwrap_or(0), from)
                }
            };
            if self.has_open_bases && !matches!(known.base, Base::None) {
                extra += known.size;
            }
            // Beside what is kept there are the object at hand and the one that it is made from.
            widest = widest.max(above + known.size + from);
            let here = above + if is_kept { known.size } else { 0 };
            figures.unpacked = figures.unpacked.saturating_add(known.size);
            held.push(here);
            if widest + extra > most {
                return Err(if self.has_open_bases {
                    PackError::OpenBases
                } else {
                    PackError::Bomb
                });
            }
        }
        figures.held = widest + extra;
        Ok(figures)
    }
}

/// Bytes in which a difference says how much it is made from, and how much it makes.
const SIZES: usize = 20;

fn sizes(delta: &[u8]) -> Result<(u64, u64), PackError> {
    let mut bytes = delta.iter();
    let mut number = || {
        let (mut sum, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = *bytes.next().ok_or(PackError::Garbage)?;
            let part = u64::from(byte & 0x7f);
            if shift > 56 {
                return Err(PackError::Garbage);
            }
            sum |= part << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(sum);
            }
        }
    };
    Ok((number()?, number()?))
}

fn cut_short(error: io::Error) -> PackError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other => PackError::Garbage,
        _ => PackError::Read(error),
    }
}

/// Knows how far it has come.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read += bytes as u64;
        Ok(bytes)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.read += bytes as u64;
        self.inner.consume(bytes);
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;

//! Between the connection and gix: a pack is put aside as it comes, looked through, and only then unpacked. Nothing of
//! what is put aside outlives the process: the file has no name.

use std::any::Any;
use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use gix::bstr::BStr;
use gix::protocol::transport::client::blocking_io::{
    ExtendedBufRead, HandleProgress, ReadlineBufRead, RequestWriter, SetServiceResponse, Transport,
};
use gix::protocol::transport::client::{Account, Error, MessageKind, TransportWithoutIO, WriteMode};
use gix::protocol::transport::packetline::PacketLineRef;
use gix::protocol::transport::{Protocol, Service};
use tempfile::SpooledTempFile;

use super::limits::{Limits, Size};
use super::pack::{Figures, inspect};
use super::transport::{Exceeded, Limit};

/// Bytes of a pack that are kept in memory rather than on disk.
const IN_MEMORY: usize = 1 << 20;
/// What a pack takes that is unpacked without waiting for others: objects, and bytes in memory.
const SMALL: (u32, u64) = (20_000, 16 << 20);
/// How often one that waits to unpack looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Held while a pack that takes much memory is unpacked: there is one such pack at a time in the process.
static UNPACKING: Mutex<()> = Mutex::new(());

/// What a pack is held to.
pub(super) struct Guard<'a> {
    pub(super) limits: &'a Limits,
    pub(super) limit: &'a Limit,
    /// Where a pack is put aside.
    pub(super) dir: &'a Path,
    /// The mirror that it is for.
    pub(super) repository: &'a gix::Repository,
}

/// A connection whose packs are looked through before gix gets them.
pub(super) struct Guarded<'a, T> {
    pub(super) inner: T,
    pub(super) guard: Guard<'a>,
}

impl Guard<'_> {
    /// Takes in a whole pack.
    fn receive(&self, from: &mut dyn Read) -> io::Result<(SpooledTempFile, Figures)> {
        self.limit.expect_pack();
        let mut aside = tempfile::spooled_tempfile_in(IN_MEMORY, self.dir);
        let most = self.limits.received;
        let bytes = io::copy(&mut from.take(most.saturating_add(1)), &mut aside)?;
        if bytes > most {
            return Err(io::Error::other(Exceeded::Received(Size(most))));
        }
        aside.rewind()?;
        let is_known = |id: &gix::oid| self.repository.has_object(id);
        let check = || self.limit.check();
        let figures = inspect(BufReader::new(&mut aside), self.limits, &is_known, &check).map_err(io::Error::other)?;
        aside.rewind()?;
        tracing::debug!(
            bytes,
            objects = figures.objects,
            unpacked = figures.unpacked,
            "a pack was received"
        );
        Ok((aside, figures))
    }

    /// Waits for its turn to unpack.
    fn turn(&self, figures: Figures) -> io::Result<Option<MutexGuard<'static, ()>>> {
        if figures.objects <= SMALL.0 && figures.held <= SMALL.1 {
            return Ok(None);
        }
        loop {
            match UNPACKING.try_lock() {
                Ok(turn) => return Ok(Some(turn)),
                Err(TryLockError::Poisoned(turn)) => return Ok(Some(turn.into_inner())),
                Err(TryLockError::WouldBlock) => {
                    self.limit.check()?;
                    std::thread::sleep(LOOK);
                }
            }
        }
    }
}

impl<T: TransportWithoutIO> TransportWithoutIO for Guarded<'_, T> {
    fn set_identity(&mut self, identity: Account) -> Result<(), Error> {
        self.inner.set_identity(identity)
    }

    fn to_url(&self) -> Cow<'_, BStr> {
        self.inner.to_url()
    }

    fn supported_protocol_versions(&self) -> &[Protocol] {
        self.inner.supported_protocol_versions()
    }

    fn connection_persists_across_multiple_requests(&self) -> bool {
        self.inner.connection_persists_across_multiple_requests()
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.inner.configure(config)
    }
}

impl<T: Transport> Transport for Guarded<'_, T> {
    fn handshake<'a>(
        &mut self,
        service: Service,
        extra_parameters: &'a [(&'a str, Option<&'a str>)],
    ) -> Result<SetServiceResponse<'_>, Error> {
        self.inner.handshake(service, extra_parameters)
    }

    fn request(
        &mut self,
        write_mode: WriteMode,
        on_into_read: MessageKind,
        trace: bool,
    ) -> Result<RequestWriter<'_>, Error> {
        let request = self.inner.request(write_mode, on_into_read, trace)?;
        let (writer, reader) = request.into_parts();
        let answer = Answer {
            inner: reader,
            guard: &self.guard,
            pack: None,
            turn: None,
        };
        Ok(RequestWriter::new_from_bufread(
            writer,
            Box::new(answer),
            write_mode,
            on_into_read,
            trace,
        ))
    }
}

/// A server's answer. gix reads it line by line until the pack begins, and the pack as bytes.
struct Answer<'a> {
    inner: Box<dyn ExtendedBufRead<'a> + Unpin + 'a>,
    guard: &'a Guard<'a>,
    pack: Option<BufReader<SpooledTempFile>>,
    turn: Option<MutexGuard<'static, ()>>,
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(buffer)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl BufRead for Answer<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.pack.is_none() {
            let (pack, figures) = self.guard.receive(&mut self.inner)?;
            self.turn = self.guard.turn(figures)?;
            self.pack = Some(BufReader::new(pack));
        }
        match &mut self.pack {
            Some(pack) => pack.fill_buf(),
            None => Ok(&[]),
        }
    }

    fn consume(&mut self, bytes: usize) {
        if let Some(pack) = &mut self.pack {
            pack.consume(bytes);
        }
    }
}

impl ReadlineBufRead for Answer<'_> {
    fn readline(&mut self) -> Option<io::Result<gix::Result<PacketLineRef<'_>>>> {
        self.inner.readline()
    }

    fn readline_str(&mut self, line: &mut String) -> io::Result<usize> {
        self.inner.readline_str(line)
    }
}

impl<'a> ExtendedBufRead<'a> for Answer<'a> {
    fn set_progress_handler(&mut self, handle_progress: Option<HandleProgress<'a>>) {
        self.inner.set_progress_handler(handle_progress);
    }

    fn peek_data_line(&mut self) -> Option<io::Result<Result<&[u8], Error>>> {
        self.inner.peek_data_line()
    }

    fn reset(&mut self, version: Protocol) {
        self.inner.reset(version);
    }

    fn stopped_at(&self) -> Option<MessageKind> {
        self.inner.stopped_at()
    }
}

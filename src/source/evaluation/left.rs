//! The head as an earlier process left it, where the spec selects something else of its commit since.

use std::sync::Arc;

use super::{Evaluation, Head, Situation, is_void};
use crate::source::blobs::Blobs;
use crate::source::reader::{ReadError, Reader};
use crate::source::selection::Selection;

impl Situation {
    /// The situation with the recorded commit as the head in memory, read as this replica had accepted it. None where
    /// the spec of today selects the same of it: then nothing has to be compared.
    ///
    /// Without this a restart would put into force, unasked, what acceptance had refused before it.
    pub(super) fn as_left(&self, reader: &Reader, blobs: &Blobs) -> Result<Option<Self>, ReadError> {
        let (None, Some(commit)) = (&self.head, self.recorded.commit) else {
            return Ok(None);
        };
        if reader.accepted()? != Some(commit) {
            return Ok(None);
        }
        // What another version noted, or none, says nothing.
        let note = reader.accepted_note()?;
        let selection = note.and_then(|note| serde_json::from_slice::<Selection>(&note).ok());
        let Some(selection) = selection.filter(|selection| *selection != Selection::of(&self.settings)) else {
            return Ok(None);
        };
        let Ok(settings) = selection.within(&self.settings) else {
            return Ok(None);
        };
        let then = Self {
            settings: Arc::new(settings),
            ..self.clone()
        };
        let Some(left) = then.recorded_head(reader, blobs)? else {
            return Ok(None);
        };
        // What the status counts, today's selection has and the old one has not: the sync role has gone over to it.
        let counted = |head: &Head| head.built.snapshot.entries.len() == self.recorded.objects;
        if !counted(&left) && self.recorded_head(reader, blobs)?.is_some_and(|head| counted(&head)) {
            return Ok(None);
        }
        Ok(Some(Self {
            head: Some(left),
            ..self.clone()
        }))
    }

    /// The recorded commit under these settings, if it may be put into force.
    fn recorded_head(&self, reader: &Reader, blobs: &Blobs) -> Result<Option<Arc<Head>>, ReadError> {
        let evaluation = Evaluation {
            situation: self,
            reader,
            blobs,
        };
        let head = evaluation.baseline()?.and_then(|baseline| baseline.head);
        Ok(head.filter(|head| !is_void(&head.built.snapshot, self.recorded.objects)))
    }
}

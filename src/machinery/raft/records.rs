//! One batch of the log: the records of a [`Ready`], one after another.

use super::interface::Ready;
use super::message::{HardState, Index};
use super::segment;

/// One batch on its way to the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub(super) payload: Vec<u8>,
    pub(super) hard: Option<HardState>,
    pub(super) highest: Index,
}

impl Records {
    /// A [`Ready`]'s part for the disk.
    pub fn of(ready: &Ready) -> Records {
        let entries: usize = ready.append.iter().map(|e| e.payload.size() + 16).sum();
        let mut payload = Vec::with_capacity(entries + 64);
        if let Some(hard) = &ready.hard {
            segment::put_hard(&mut payload, hard);
        }
        if let Some(snapshot) = &ready.snapshot {
            segment::put_snapshot(&mut payload, snapshot);
        }
        if let Some(from) = ready.truncate_from {
            segment::put_truncate(&mut payload, from);
        }
        for entry in &ready.append {
            segment::put_entry(&mut payload, entry);
        }
        Records { payload, hard: ready.hard, highest: ready.append.last().map_or(0, |e| e.index) }
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.payload.len()
    }

    /// Bytes that need not be records.
    #[cfg(test)]
    pub(super) fn raw(payload: &[u8]) -> Records {
        Records { payload: payload.to_vec(), ..Records::default() }
    }
}

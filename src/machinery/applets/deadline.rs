//! Limits of time for programs that block while they wait.

use clock::Instant;
use std::io;
use std::time::Duration;

/// When everything must be over. Time comes from `clock::Instant`, which does not run faster with
/// the cluster's scale: the limit is one of real work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub start: Instant,
    pub limit: Option<Duration>,
}

impl Deadline {
    pub(crate) fn new(limit: Option<Duration>) -> Deadline {
        Deadline { start: Instant::now(), limit }
    }

    /// Returns when the time is over. A limit beyond what the clock counts is none.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.start.checked_add(self.limit?)
    }

    /// # Errors
    /// `TimedOut` if nothing is left.
    pub(crate) fn left(&self) -> io::Result<Option<Duration>> {
        let Some(limit) = self.limit else { return Ok(None) };
        match limit.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

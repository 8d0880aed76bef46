//! The live records, as a viewer reads them.

use super::record::Record;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Only the ring holds records: one that it has given up is lost for a slow viewer, too, and its
/// texts and object take no memory.
pub(super) type Sender = broadcast::Sender<Weak<Record>>;

/// The live records of one sender, for one viewer.
struct Feed {
    records: broadcast::Receiver<Weak<Record>>,
    /// The first record that has come and that the viewer has not got yet.
    next: Option<Arc<Record>>,
    /// Records lost before it.
    lost: u64,
}

impl Feed {
    fn of(sender: &Sender) -> Feed {
        Feed { records: sender.subscribe(), next: None, lost: 0 }
    }

    /// Takes the next record that has come, if there is one and none is waiting. Returns whether it
    /// has taken one.
    fn fill(&mut self) -> bool {
        let had = self.next.is_some();
        while self.next.is_none() {
            match self.records.try_recv() {
                Ok(record) => self.take(&record),
                Err(TryRecvError::Lagged(lost)) => self.lost += lost,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return false,
            }
        }
        !had
    }

    fn take(&mut self, record: &Weak<Record>) {
        self.next = record.upgrade();
        self.lost += u64::from(self.next.is_none());
    }

    /// Returns the number of the next record; later than all others if there is none.
    fn seq(&self) -> u64 {
        self.next.as_ref().map_or(u64::MAX, |record| record.seq)
    }
}

/// The live records, for one viewer.
pub struct Live {
    main: Feed,
    aside: Feed,
}

impl Live {
    /// Subscribes to both senders.
    pub(super) fn of(main: &Sender, aside: &Sender) -> Live {
        Live { main: Feed::of(main), aside: Feed::of(aside) }
    }

    /// Waits for the next record, in the order of the numbers. The future may be dropped: no record
    /// is lost by that.
    ///
    /// # Errors
    /// `Lagged`: so many records were lost before the next one, because the viewer is slow.
    /// `Closed`: the stream has ended.
    pub async fn recv(&mut self) -> Result<Arc<Record>, RecvError> {
        loop {
            // What was sent before a record of the one feed is in the other by the time that this
            // record is seen. So the other is looked at again whenever one has brought something.
            while self.main.fill() | self.aside.fill() {}
            let lost = std::mem::take(&mut self.main.lost) + std::mem::take(&mut self.aside.lost);
            if lost > 0 {
                return Err(RecvError::Lagged(lost));
            }
            let feed = if self.aside.seq() < self.main.seq() { &mut self.aside } else { &mut self.main };
            if let Some(record) = feed.next.take() {
                return Ok(record);
            }
            let (feed, come) = tokio::select! {
                come = self.main.records.recv() => (&mut self.main, come),
                come = self.aside.records.recv() => (&mut self.aside, come),
            };
            match come {
                Ok(record) => feed.take(&record),
                Err(RecvError::Lagged(lost)) => feed.lost += lost,
                Err(RecvError::Closed) => {
                    // Both end together, but the other one may have something left.
                    let feeds = [&mut self.main, &mut self.aside];
                    let is_empty = |feed: &mut Feed| {
                        feed.fill();
                        feed.next.is_none() && feed.lost == 0
                    };
                    if feeds.map(is_empty) == [true; 2] {
                        return Err(RecvError::Closed);
                    }
                }
            }
        }
    }
}

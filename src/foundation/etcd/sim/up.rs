//! A running member as clients reach it, and the requests that wait for its next turn.

use super::history::Run;
use crate::kv::Kv;
use crate::server::Door;
use crate::waiting::Waiting;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

pub(super) enum Ask {
    Propose { id: u64, data: Bytes },
    Read { ctx: u64 },
    Question { ctx: u64, question: Bytes },
}

/// Requests that wait for a member's next turn.
#[derive(Clone, Default)]
pub(super) struct Inbox {
    pub asks: Arc<Mutex<Vec<Ask>>>,
}

impl Inbox {
    fn push(&self, ask: Ask) -> bool {
        self.asks.lock().push(ask);
        true
    }
}

impl Door for Inbox {
    fn propose(&self, id: u64, data: Bytes) -> bool {
        self.push(Ask::Propose { id, data })
    }
    fn read(&self, ctx: u64) -> bool {
        self.push(Ask::Read { ctx })
    }
    fn ask(&self, ctx: u64, question: Bytes) -> bool {
        self.push(Ask::Question { ctx, question })
    }
}

/// A member that is up, as clients reach it.
pub(super) struct Up {
    pub kv: Kv,
    pub waiting: Arc<Waiting>,
    pub inbox: Inbox,
    pub run: Run,
}

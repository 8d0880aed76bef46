//! A hop of a command: who asked whom, and what was done.

use super::gate::Gate;
use super::verb::changes;
use clock::Timestamp;
use tap::ObjectRef;

/// A place on the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// The learner's client: `kubectl`.
    Client,
    Api,
    Store,
    Scheduler,
    /// One of the controllers, by name.
    Controller(String),
    /// On a node.
    Kubelet(String),
    Proxy(String),
    Other(String),
}

/// What a hop was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Did {
    /// A stage of the command's own request in the API server.
    Stage(String),
    Stored,
    Answered {
        verb: String,
        code: u16,
        /// The stage that refused it, if one did.
        refused: Option<Gate>,
        /// A server in a pod answered, through the API server's proxy.
        from_pod: bool,
    },
    /// A component's request, from its first stage to its answer.
    Asked {
        verb: String,
        code: u16,
        refused: Option<Gate>,
        from_pod: bool,
    },
    Scheduled {
        chosen: Option<String>,
        fit: usize,
        of: usize,
        scores: Vec<i64>,
    },
    Bound {
        node: String,
    },
    Rules {
        rules: u64,
        changed: u64,
    },
    /// Anything else that a component reported.
    Told(tap::Event),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hop {
    pub at: Timestamp,
    pub took_us: u64,
    pub from: Spot,
    pub to: Spot,
    pub did: Did,
    pub object: Option<ObjectRef>,
    /// The subresource that a request asked for, e.g. `status`; else empty.
    pub subresource: String,
    pub revision: Option<u64>,
}

impl Hop {
    /// The revision that it made, if it changed the store.
    pub(crate) fn made(&self) -> Option<u64> {
        self.revision.filter(|revision| *revision > 0 && self.writes())
    }

    /// True if the hop changed the store.
    pub(crate) fn writes(&self) -> bool {
        match &self.did {
            Did::Stored => true,
            Did::Asked { verb, code, .. } => *code < 400 && changes(verb),
            _ => false,
        }
    }
}

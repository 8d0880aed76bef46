//! What plug-ins know of a write.

use crate::request::context::Context;
use crate::state::State;
use api::kinds::Kind;
use api::{Status, meta};
use serde_json::Value;
use std::sync::Arc;

/// A write on its way, as plug-ins see it.
pub(crate) struct Attributes<'a> {
    pub state: &'a Arc<State>,
    pub ctx: &'a Context,
    pub kind: &'a Kind,
    /// The object as it is stored; `None` if it is being created.
    pub old: Option<&'a Value>,
}

impl Attributes<'_> {
    /// An answer to a write that is not let in.
    pub(super) fn forbidden(&self, object: &Value, why: &str) -> Status {
        Status::forbidden(self.kind.group, self.kind.plural, meta::name(object), why)
    }
}

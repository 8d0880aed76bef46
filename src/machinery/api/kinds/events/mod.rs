//! The group `events.k8s.io`.

mod event;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![event::kind()]
}

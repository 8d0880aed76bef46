//! The group `certificates.k8s.io`.

pub mod certificate_signing_request;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![certificate_signing_request::kind()]
}

//! Self subject access reviews: the API server answers whether the client may do something. Never
//! stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<SelfSubjectAccessReview>() }
}

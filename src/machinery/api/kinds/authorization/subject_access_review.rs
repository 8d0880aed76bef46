//! Subject access reviews: the API server answers whether a user may do something. Never stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<SubjectAccessReview>() }
}

//! Local subject access reviews: the API server answers whether a user may do something in one
//! namespace. Never stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<LocalSubjectAccessReview>() }
}

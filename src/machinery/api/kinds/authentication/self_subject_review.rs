//! Self subject reviews: the API server answers as which user it knows the client. Never stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<SelfSubjectReview>() }
}

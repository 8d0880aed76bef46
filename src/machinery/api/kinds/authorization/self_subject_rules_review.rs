//! Self subject rules reviews: the API server lists what the client may do in a namespace. Never
//! stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<SelfSubjectRulesReview>() }
}

//! Token reviews: the API server answers whose token it is. Never stored.

use crate::kinds::entry::{CREATE, Kind, of};
use k8s_openapi::api::authentication::v1::TokenReview;

pub(super) fn kind() -> Kind {
    Kind { verbs: CREATE, ..of::<TokenReview>() }
}

//! The group `authentication.k8s.io`: kinds that are posted and answered, never stored.

kinds! {
    mod self_subject_review: k8s_openapi::api::authentication::v1::SelfSubjectReview;
    mod token_review: k8s_openapi::api::authentication::v1::TokenReview;
}

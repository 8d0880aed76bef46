//! The group `authorization.k8s.io`: kinds that are posted and answered, never stored.

kinds! {
    mod local_subject_access_review: k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;
    mod self_subject_access_review: k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
    mod self_subject_rules_review: k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
    mod subject_access_review: k8s_openapi::api::authorization::v1::SubjectAccessReview;
}

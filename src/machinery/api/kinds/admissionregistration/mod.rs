//! The group `admissionregistration.k8s.io`.

mod match_resources;

kinds! {
    mod validating_admission_policy: k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
    mod validating_admission_policy_binding: k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
}

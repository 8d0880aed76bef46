//! The group `certificates.k8s.io`.

kinds! {
    pub mod certificate_signing_request: k8s_openapi::api::certificates::v1::CertificateSigningRequest;
}

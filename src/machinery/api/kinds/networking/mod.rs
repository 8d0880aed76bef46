//! The group `networking.k8s.io`.

mod references;

kinds! {
    mod ingress_class: k8s_openapi::api::networking::v1::IngressClass;
    mod ingress: k8s_openapi::api::networking::v1::Ingress;
    mod network_policy: k8s_openapi::api::networking::v1::NetworkPolicy;
}

//! The group `rbac.authorization.k8s.io`.

mod bindings;

kinds! {
    mod cluster_role_binding: k8s_openapi::api::rbac::v1::ClusterRoleBinding;
    mod cluster_role: k8s_openapi::api::rbac::v1::ClusterRole;
    mod role_binding: k8s_openapi::api::rbac::v1::RoleBinding;
    mod role: k8s_openapi::api::rbac::v1::Role;
}

//! The group `apps`.

kinds! {
    mod controller_revision: k8s_openapi::api::apps::v1::ControllerRevision;
    mod daemon_set: k8s_openapi::api::apps::v1::DaemonSet;
    mod deployment: k8s_openapi::api::apps::v1::Deployment;
    mod replica_set: k8s_openapi::api::apps::v1::ReplicaSet;
    mod stateful_set: k8s_openapi::api::apps::v1::StatefulSet;
}

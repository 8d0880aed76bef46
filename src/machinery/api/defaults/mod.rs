//! What the server fills in, as Kubernetes 1.35 does (`zz_generated.defaults.go` and the registry
//! strategies).

pub mod autoscaling;
pub mod certificates;
pub mod cluster;
pub mod networking;
pub mod pods;
pub mod services;
pub mod storage;
pub mod workloads;

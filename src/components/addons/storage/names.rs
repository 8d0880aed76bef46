//! Names by which the provisioner, its volumes and their nodes are found.

/// The provisioner's name in storage classes.
pub const PROVISIONER: &str = "ropewalk.io/local-path";
/// The directory of all volumes in a node's file system.
pub(super) const ROOT: &str = "/var/local-path-provisioner";
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
pub(super) const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Keeps a volume until its directory is gone. The name is upstream's.
pub(super) const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

//! The ports of the control plane, which are kubeadm's.

/// The API's port on every control-plane node.
pub(crate) const API_PORT: u16 = 6443;
/// The port on which members of the store listen for each other, as etcd's do.
pub(crate) const PEER_PORT: u16 = 2380;

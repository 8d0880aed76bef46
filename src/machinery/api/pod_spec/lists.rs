//! The lists in a pod's spec that hold containers.

/// The lists of containers in a pod's spec.
pub(crate) const GROUPS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

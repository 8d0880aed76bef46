//! The leases of nodes: which of them are late.

use super::Cluster;
use std::time::Duration;

/// The kubelet renews the lease of its node every 10 s. One that was not renewed for this long is
/// late.
const HEARTBEAT_LATE: Duration = Duration::from_secs(15);
/// A lease that was not renewed for this long makes its node NotReady. Upstream:
/// `--node-monitor-grace-period` of kube-controller-manager.
pub(crate) const HEARTBEAT_LOST: Duration = Duration::from_secs(50);

impl Cluster {
    /// Notes that a node's lease was renewed, at this store revision; true if it was late. A list
    /// that is read again after a watch broke off may name a lease that was not renewed since.
    pub(super) fn note_heartbeat(&mut self, node: &str, revision: u64) -> bool {
        if self.renewed.insert(node.to_string(), revision) == Some(revision) {
            return false;
        }
        let was_late = self.late(node, self.now).is_some();
        self.heartbeats.insert(node.to_string(), self.now);
        was_late
    }

    /// Returns for how long the lease of a node was not renewed, if it is late.
    pub(crate) fn late(&self, node: &str, now: Duration) -> Option<Duration> {
        let age = now.saturating_sub(*self.heartbeats.get(node)?);
        (age >= HEARTBEAT_LATE).then_some(age)
    }

    /// Returns when the screen shows another age of a lease. `None`: no node has one. The lease of
    /// a node that was deleted is not on the screen.
    pub(crate) fn heartbeat_due(&self, now: Duration) -> Option<Duration> {
        let shown = self.heartbeats.iter().filter(|(node, _)| self.nodes.contains_key(*node));
        let oldest = shown.map(|(_, at)| *at).min()?;
        let whole = Duration::from_secs(now.saturating_sub(oldest).as_secs());
        Some(oldest + (whole + Duration::from_secs(1)).max(HEARTBEAT_LATE))
    }
}

//! Files that a node's own file system has before any pod writes to it.

use crate::volumes::{file_type, node_root};
use std::path::Path;

/// Path of the node's hosts file, from the root of its file system.
const HOSTS: &str = "etc/hosts";

/// Writes the node's `/etc/hosts`, before any pod is started, unless there is something of this
/// name: a `hostPath` volume of it shows the names that the node itself knows. What a pod of an
/// earlier life of the node has put there stays.
///
/// # Errors
/// It cannot be written below `root`, e.g. because a pod has made `/etc` a link that leads out of
/// it.
pub(crate) fn lay_out(root: &Path, node_name: &str, node_ip: &str) -> linux::Result<()> {
    let root = node_root(root)?;
    if file_type(&root, HOSTS)?.is_some() {
        return Ok(());
    }
    let text = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{node_ip}\t{node_name}\n");
    root.write_file(Path::new(HOSTS), text.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_node_has_a_hosts_file_and_keeps_what_pods_wrote_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("node");
        let file = root.join(HOSTS);
        lay_out(&root, "worker", "172.30.0.16").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("\n172.30.0.16\tworker\n"), "{text}");
        fs::write(&file, "of a pod").unwrap();
        lay_out(&root, "worker", "172.30.0.16").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "of a pod");
        let outside = tempfile::tempdir().unwrap();
        fs::remove_dir_all(root.join("etc")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("etc")).unwrap();
        assert!(lay_out(&root, "worker", "172.30.0.16").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is made outside");
    }
}

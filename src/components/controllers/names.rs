//! Names of the objects that controllers make: pods end with random letters, ReplicaSets and
//! ControllerRevisions with the hash of a template.

use client::Codec;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Characters of a name that is a subdomain of DNS, at most.
const NAME_MOST: usize = 253;
/// Characters of its owner's name that a ControllerRevision's name begins with, at most (upstream's
/// `ControllerRevisionName`).
const REVISION_OWNER_MOST: usize = 223;
/// The longest part of a generated name before its five random letters (upstream's
/// `MaxGeneratedNameLength`): such a name is a label of DNS, at most 63 characters.
const PREFIX_MOST: usize = 58;

/// Pure: what the names of an owner's pods begin with (`metadata.generateName`). Of the pods of an
/// Indexed Job it ends with the index, however long the Job's name is.
pub(crate) fn name_prefix(owner: &str, index: Option<i32>) -> String {
    let Some(index) = index else { return format!("{owner}-") };
    let end = format!("-{index}-");
    let most = PREFIX_MOST.saturating_sub(end.len());
    if owner.len() > most { cut(owner, most) + &end } else { format!("{owner}{end}") }
}

/// Pure: a generated name, e.g. `web-` and `x7k2p`: `web-x7k2p`.
pub(crate) fn generated_name(prefix: &str, letters: &str) -> String {
    cut(prefix, PREFIX_MOST) + letters
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Returns Kubernetes' hash of a template as names carry it, e.g. `76f8d594c6`: FNV-1a of the
/// template, its decimal digits mapped to letters that spell no words. (Upstream hashes Go's own
/// dump of the struct; only the shape is the same.)
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = template.encode().unwrap_or_default().to_string().into_bytes();
    if collisions > 0 {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    let hash = bytes.iter().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|b| ALPHABET[usize::from(b) % ALPHABET.len()] as char).collect()
}

/// Pure: the name of a ReplicaSet, e.g. `web-76f8d594c6`: that of its Deployment and the hash of
/// the template. Of a Deployment whose name is too long for that, the end is cut off. Upstream:
/// `generateReplicaSetName`.
pub(crate) fn replica_set_name(deployment: &str, hash: &str) -> String {
    cut(deployment, NAME_MOST.saturating_sub(hash.len() + 1)) + "-" + hash
}

/// Pure: the name of a ControllerRevision, e.g. `db-76f8d594c6`: that of its owner, cut off if it
/// is too long, and the hash of the template.
pub(crate) fn revision_name(owner: &str, hash: &str) -> String {
    cut(owner, REVISION_OWNER_MOST) + "-" + hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_labels_of_dns() {
        let name = |owner: &str, index| generated_name(&name_prefix(owner, index), "x7k2p");
        assert_eq!(name("web", None), "web-x7k2p");
        assert_eq!(name("work", Some(3)), "work-3-x7k2p");
        let long = "a".repeat(253);
        assert_eq!(name(&long, None), format!("{}x7k2p", &long[..58]));
        assert_eq!(name(&long, Some(12)), format!("{}-12-x7k2p", &long[..54]));
        assert_eq!(name(&long[..57], None), format!("{}-x7k2p", &long[..57]));
    }

    /// Both kinds take a name of 253 characters, as Deployments and DaemonSets do.
    #[test]
    fn what_is_named_after_a_long_name_has_a_name_that_is_allowed() {
        assert_eq!(replica_set_name("web", "76f8d594c6"), "web-76f8d594c6");
        assert_eq!(revision_name("db", "76f8d594c6"), "db-76f8d594c6");
        let long = "a".repeat(NAME_MOST);
        assert_eq!(replica_set_name(&long, "76f8d594c6"), format!("{}-76f8d594c6", &long[..242]));
        assert_eq!(replica_set_name(&long[..242], "76f8d594c6").len(), NAME_MOST);
        assert_eq!(revision_name(&long, "76f8d594c6"), format!("{}-76f8d594c6", &long[..223]));
    }
}

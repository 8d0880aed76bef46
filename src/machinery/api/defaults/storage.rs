//! Volumes, claims, storage classes.

use crate::value::{at, default, default_zero, list, put};
use crate::volumes::{CLAIM_PROTECTION, VOLUME_PROTECTION};
use serde_json::{Value, json};

pub fn claim(object: &mut Value) {
    default(object, "spec.volumeMode", "Filesystem");
}

pub fn prepare_claim(object: &mut Value) {
    protect(object, CLAIM_PROTECTION);
    put(object, "status", json!({"phase": "Pending"}));
}

pub fn volume(object: &mut Value) {
    default_zero(object, "spec.persistentVolumeReclaimPolicy", "Retain");
    default(object, "spec.volumeMode", "Filesystem");
    if at(object, "spec.hostPath").is_object() {
        default(object, "spec.hostPath.type", "");
    }
}

pub fn prepare_volume(object: &mut Value) {
    protect(object, VOLUME_PROTECTION);
    put(object, "status", json!({"phase": "Pending"}));
}

/// Storage object in use protection: what is used does not go before its last user.
fn protect(object: &mut Value, finalizer: &str) {
    let mut all = list(object, "metadata.finalizers").to_vec();
    if !all.iter().any(|f| f == finalizer) {
        all.push(finalizer.into());
        put(object, "metadata.finalizers", all);
    }
}

pub fn storage_class(object: &mut Value) {
    default_zero(object, "reclaimPolicy", "Delete");
    default_zero(object, "volumeBindingMode", "Immediate");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_protected_from_the_first_moment_and_once() {
        let mut object = json!({"metadata": {"finalizers": ["a/b"]}});
        prepare_claim(&mut object);
        prepare_claim(&mut object);
        assert_eq!(object["metadata"]["finalizers"], json!(["a/b", "kubernetes.io/pvc-protection"]));
    }
}

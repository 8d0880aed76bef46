//! Volumes, claims, storage classes.

use crate::api::value::{at, default, default_zero, put};
use serde_json::{Value, json};

pub fn claim(object: &mut Value) {
    default(object, "spec.volumeMode", "Filesystem");
}

pub fn prepare_claim(object: &mut Value) {
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
    put(object, "status", json!({"phase": "Pending"}));
}

pub fn storage_class(object: &mut Value) {
    default_zero(object, "reclaimPolicy", "Delete");
    default_zero(object, "volumeBindingMode", "Immediate");
}

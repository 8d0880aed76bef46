//! The configuration that `kubectl apply` notes in an annotation, as a server-side apply by kubectl
//! meets it (upstream: `lastappliedmanager.go` and `lastappliedupdater.go` of
//! `apimachinery/pkg/util/managedfields`).
//!
//! ```text
//! kubectl apply                  image: x, owned by kubectl-client-side-apply, and noted
//! kubectl apply --server-side    image: y, no conflict: the live value is the noted one
//! the same after an edit         409: another client has changed the image since
//! ```

use super::entries::Manager;
use crate::value::{self, text};
use crate::{gojson, meta};
use serde_json::Value;

/// The annotation in which `kubectl apply` notes what it applied, as JSON.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of `kubectl apply --server-side` whose user names none. All others keep out of this.
const KUBECTL: &str = "kubectl";
/// Bytes of all annotations of an object (`TotalAnnotationSizeLimitB` upstream).
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Returns the noted configuration of a live object; null if `manager` is not kubectl, or if there
/// is none in its version of the API.
pub(super) fn noted(live: &Value, manager: &Manager) -> Value {
    let content = meta::annotation(live, LAST_APPLIED).filter(|_| manager.name == KUBECTL);
    let noted: Value = content.and_then(|content| serde_json::from_str(content).ok()).unwrap_or_default();
    if text(&noted, "apiVersion") == manager.api_version { noted } else { Value::Null }
}

/// Notes the configuration that kubectl applied in an object that has such a note already: a later
/// client-side apply compares with it. `sent` is the configuration as kubectl sent it. A note that
/// is too large is removed.
pub fn sync_last_applied(object: &mut Value, sent: &Value, manager: &str) {
    let is_noted = meta::annotation(object, LAST_APPLIED).is_some_and(|noted| !noted.is_empty());
    if manager != KUBECTL || !is_noted {
        return;
    }
    let mut configuration = sent.clone();
    if let Some(Value::Object(annotations)) = value::at_mut(&mut configuration, "metadata.annotations") {
        annotations.shift_remove(LAST_APPLIED);
    }
    let note = gojson::compact(&configuration) + "\n"; // Go's encoder ends with a line end
    let annotations = value::slot_map(object, "metadata.annotations");
    annotations.insert(LAST_APPLIED.into(), note.into());
    let bytes: usize =
        annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > ANNOTATIONS_MAX {
        annotations.shift_remove(LAST_APPLIED);
    }
}

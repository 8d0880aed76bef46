//! The replicas of an object, where the Scale of it stands for them.

use api::Status;
use api::kinds::{Kind, ScalePaths};
use api::value::{self, int};
use serde_json::Value;

/// True for an object of a custom kind that says nothing of its replicas. Kinds of the table have
/// a default for them.
pub(super) fn lacks_replicas(kind: &Kind, paths: ScalePaths, object: &Value) -> bool {
    kind.custom.is_some() && int(object, paths.spec_replicas).is_none()
}

/// Returns the answer for a patch or an apply after which an object would still have no replicas.
pub(super) fn empty_replicas(paths: ScalePaths) -> Status {
    Status::bad_request(format!("the spec replicas field \".{}\" cannot be empty", paths.spec_replicas))
}

/// Completes an object after an apply of its Scale that says nothing of replicas. What others own
/// has stayed; what this manager applied before is gone, and a Scale without replicas asks for 0.
///
/// Example: `m` applies a Scale with 5 replicas, then one with an empty spec. The Deployment has 0
/// replicas, as upstream; its own default of 1 is no default of a Scale.
///
/// # Errors
/// 400 if the object, as it was before (`live`), has no replicas and gets none.
pub(crate) fn complete_applied(kind: &Kind, live: &Value, object: &mut Value) -> Result<(), Status> {
    let Some(paths) = kind.scale else { return Ok(()) };
    if lacks_replicas(kind, paths, object) && lacks_replicas(kind, paths, live) {
        return Err(empty_replicas(paths));
    }
    value::default(object, paths.spec_replicas, 0);
    Ok(())
}

//! What the store still has of the past.

use serde_json::Value;

/// Returns whether the store no longer has what was at this revision. It has compacted it, or it
/// has gone back itself (restored from a backup, or replaced) and its revisions end before.
/// `steps`: its answer to [`cluster::undo::Past::Steps`]; one without revisions says neither.
pub(crate) fn is_lost(steps: &Value, revision: i64) -> bool {
    let is_compacted = steps["oldest"].as_i64().is_some_and(|oldest| oldest > revision);
    is_compacted || steps["revision"].as_i64().is_some_and(|newest| newest < revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_lies_between_the_oldest_and_the_newest_revision_is_kept() {
        let steps = json!({"oldest": 5, "revision": 20});
        let lost = [4, 5, 20, 21].map(|revision| is_lost(&steps, revision));
        assert_eq!(lost, [true, false, false, true]);
        assert!(!is_lost(&Value::Null, 7), "no answer");
    }
}

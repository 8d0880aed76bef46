//! What is made while a way back is planned, where the way back leaves nothing.

use super::Move;
use crate::storage::cache::{DEFINITIONS, ROOT, place};
use api::custom;
use api::kinds::{Catalog, Kind};
use bytes::Bytes;
use etcd::api::{Compare, CompareResult, CompareTarget, Revision};
use serde_json::Value;
use std::collections::BTreeSet;

/// Returns the conditions of a transaction that holds only if nothing has been made since `known`
/// in a namespace, or of a definition, that these moves remove. It would stay behind: in a
/// namespace that is not there, or of a kind that nobody serves.
///
/// Example: `kubectl create namespace shop`, and its undo in the next moment. The plan has read the
/// Namespace alone; the controllers make `shop/default` and `shop/kube-root-ca.crt` before it is
/// committed. It is planned again, and removes all three.
///
/// Events are left out: they come all the time, and go by themselves.
pub(super) fn nothing_made_since(kinds: &Catalog, moves: &[Move], known: Revision) -> Vec<Compare> {
    let stored = kinds.iter().filter(|kind| kind.namespaced && kind.is_stored());
    let all: BTreeSet<&str> = stored.map(Kind::place).filter(|place| *place != "events").collect();
    let mut conditions = vec![];
    for m in moves.iter().filter(|m| m.put.is_none()) {
        match place(&m.key) {
            Some(("namespaces", name)) => {
                conditions
                    .extend(all.iter().map(|resource| none_since(&format!("{resource}/{name}"), known)));
            }
            Some((DEFINITIONS, _)) => {
                let definition = serde_json::from_slice::<Value>(&m.last);
                conditions.extend(definition.map(|object| none_since(&custom::place(&object), known)));
            }
            _ => {}
        }
    }
    conditions
}

/// The condition that no key below this one has been made since `known`.
fn none_since(below: &str, known: Revision) -> Compare {
    Compare {
        key: Bytes::from(format!("{ROOT}{below}/")),
        range_end: Bytes::from(format!("{ROOT}{below}0")), // '0' follows '/'
        result: CompareResult::Less,
        target: CompareTarget::CreateRevision(known + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn removed(key: &str, last: &Value) -> Move {
        Move { key: format!("{ROOT}{key}").into(), expected: 5, put: None, last: last.to_string().into() }
    }

    #[test]
    fn where_nothing_is_left_nothing_may_have_been_made() {
        let definition = json!({"spec": {"group": "example.com", "names": {"plural": "tabs"}}});
        let kept = Move { put: Some("{}".into()), ..removed("namespaces/kept", &json!({})) };
        let moves = [
            removed("namespaces/shop", &json!({})),
            removed("customresourcedefinitions/tabs.example.com", &definition),
            removed("configmaps/other/c", &json!({})),
            kept,
        ];
        let found = nothing_made_since(&Catalog::default(), &moves, 7);
        let ranges: Vec<&[u8]> = found.iter().map(|condition| &condition.key[..]).collect();
        for key in ["configmaps/shop/", "serviceaccounts/shop/", "pods/shop/", "example.com/tabs/"] {
            assert!(ranges.contains(&format!("{ROOT}{key}").as_bytes()), "{key}");
        }
        for key in ["events/shop/", "nodes/shop/", "configmaps/kept/", "configmaps/other/"] {
            assert!(!ranges.contains(&format!("{ROOT}{key}").as_bytes()), "{key}");
        }
        assert!(found.iter().all(|condition| condition.target == CompareTarget::CreateRevision(8)));
        let pods = found.iter().find(|condition| condition.key.starts_with(b"/registry/pods/")).unwrap();
        assert_eq!(&pods.range_end[..], b"/registry/pods/shop0");
    }
}

//! Who owns whom, as far as it was heard, and what follows from it for one object.

use client::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ApiResource;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The finalizer of an owner that waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// An object in the graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) api: ApiResource,
    pub(super) namespaced: bool,
    pub(super) key: Key,
    pub(super) version: Option<String>,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) going: bool,
    pub(super) finalizers: Vec<String>,
}

impl Node {
    /// Returns whether the object is being deleted in the foreground.
    pub(super) fn waits_for_dependents(&self) -> bool {
        self.going && self.finalizers.iter().any(|f| f == FOREGROUND)
    }

    /// Returns whether this owner, deleted in the foreground, waits for the object.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|o| o.uid == owner && o.block_owner_deletion == Some(true))
    }

    /// Returns whether the object is the one that this reference means. Its version may be another.
    pub(super) fn is_meant_by(&self, owner: &OwnerReference) -> bool {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.api.group == group && self.api.kind == owner.kind && self.key.name == owner.name
    }

    /// Returns whether the object can have an owner of this scope at all. A cluster-scoped object
    /// cannot say in which namespace its owner is, so a reference of it to a namespaced one is
    /// never resolved.
    pub(super) fn may_have_owner(&self, namespaced: bool) -> bool {
        self.namespaced || !namespaced
    }
}

/// All objects that the watches have shown, and which of them own which.
#[derive(Default)]
pub(super) struct Graph {
    /// By uid.
    pub(super) nodes: BTreeMap<String, Node>,
    /// Owner's uid → dependents' uids.
    pub(super) dependents: BTreeMap<String, BTreeSet<String>>,
    /// Owners that are known not to exist any more.
    pub(super) absent: Absent,
}

/// The last so many uids that were found gone: a uid never comes back but by an undo, which
/// [`Graph::put`] hears of.
#[derive(Default)]
pub(super) struct Absent {
    /// By uid: the object, if it was in the graph. What references say of an owner is not kept: a
    /// user can write one with a wrong kind.
    known: BTreeMap<String, Option<Node>>,
    order: VecDeque<String>,
}

impl Absent {
    const MOST: usize = 4096;
    /// The API server's uids have 36 characters, those of references as many as their writer likes.
    const LONGEST: usize = 64;

    /// Remembers an owner that is gone. `was`: as it was in the graph; `None` if it was not there,
    /// which does not change what is known. Its lists are not kept: nothing bounds them once the
    /// object is gone.
    pub(super) fn insert(&mut self, uid: &str, was: Option<Node>) {
        if uid.len() > Absent::LONGEST {
            return; // it is asked for again
        }
        let was = was.map(|node| Node { owners: Vec::new(), finalizers: Vec::new(), ..node });
        if let Some(known) = self.known.get_mut(uid) {
            *known = was.or(known.take());
            return;
        }
        self.known.insert(uid.to_string(), was);
        self.order.push_back(uid.to_string());
        if self.order.len() > Absent::MOST {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.known.contains_key(uid)
    }

    /// Returns whether the object had a namespace, if it was in the graph and is what this
    /// reference says.
    pub(super) fn is_namespaced(&self, owner: &OwnerReference) -> Option<bool> {
        let was = self.known.get(&owner.uid)?.as_ref()?;
        was.is_meant_by(owner).then_some(was.namespaced)
    }

    pub(super) fn remove(&mut self, uid: &str) {
        if self.known.remove(uid).is_some() {
            self.order.retain(|u| u != uid);
        }
    }
}

impl Graph {
    /// Takes an object over. Returns the uids of its owners, those of before included, that are
    /// being deleted: one that waits for its dependents may have waited for this one.
    ///
    /// An owner need not be in the graph yet: each kind has a watch of its own, and a pod may be
    /// heard of before its ReplicaSet. The edge is kept by the owner's uid until the owner comes.
    pub(super) fn put(&mut self, uid: &str, node: Node) -> Vec<String> {
        let before = self.nodes.get(uid).map(|known| known.owners.clone()).unwrap_or_default();
        let owners = before.iter().chain(&node.owners).map(|owner| &owner.uid);
        let going: BTreeSet<&String> =
            owners.filter(|owner| self.nodes.get(*owner).is_some_and(|known| known.going)).collect();
        let going = going.into_iter().cloned().collect();
        self.remove_edges(uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_string());
        }
        self.absent.remove(uid);
        self.nodes.insert(uid.to_string(), node);
        going
    }

    fn remove_edges(&mut self, uid: &str) {
        let owners = self.nodes.get(uid).map(|n| n.owners.clone()).unwrap_or_default();
        for owner in owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<Node> {
        self.remove_edges(uid);
        self.nodes.remove(uid)
    }

    /// Returns whether the owner waits for this dependent, which waits for the owner in turn. Both
    /// are being deleted in the foreground then, and so is every object on the way from the one to
    /// the other: none of them would ever go.
    ///
    /// `a` owns `b`, `b` owns `c`, `c` owns `a`, all with `blockOwnerDeletion`, all deleted in the
    /// foreground: `a` waits for `b`, which waits for `c`, which waits for `a`.
    ///
    /// The script `golden/circle` shows that all three go. Background deletion needs no such rule:
    /// there the first one goes at once, and the others follow.
    pub(super) fn waits_in_circle(&self, owner: &str, dependent: &str) -> bool {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open = vec![dependent];
        while let Some(uid) = open.pop() {
            let waits = self.nodes.get(uid).is_some_and(Node::waits_for_dependents);
            if !waits || !seen.insert(uid) {
                continue;
            }
            if uid == owner {
                return true;
            }
            let next = self.dependents.get(uid).into_iter().flatten();
            open.extend(
                next.map(String::as_str).filter(|d| self.nodes.get(*d).is_some_and(|n| n.blocks(uid))),
            );
        }
        false
    }

    pub(super) fn dependents_of(&self, uid: &str) -> Vec<(String, Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|u| Some((u.clone(), self.nodes.get(u)?.clone()))).collect()
    }
}

/// How an owner stands, seen from a dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It lives.
    Solid,
    /// It is not there, or another object has its name.
    Gone,
    /// It is being deleted in the foreground and waits for its dependents.
    Waiting,
    /// A namespaced object, seen from a cluster-scoped one.
    Unresolvable,
}

/// What to do with an object that has owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has an owner that is left or cannot be resolved, or it has none. `cut`: take off the
    /// owners that are gone or wait for their dependents.
    Keep { cut: bool },
    /// Delete it, and its own dependents before it.
    DeleteForeground,
    /// Delete it; its dependents follow.
    Delete,
}

/// Pure: an object's owners, and whether it has dependents of its own. While one of the owners
/// cannot be resolved the object stays as it is, as upstream.
///
/// A ReplicaSet owned by a Deployment, or by two owners (upstream: `attemptToDeleteItem`):
///
/// ```text
/// the owner lives                            Keep
/// one owner lives, one is gone               Keep, and take the one that is gone off the list
/// the only owner is gone                     Delete
/// the owner waits for it, it has pods        DeleteForeground: the pods go first
/// the owner waits for it, it has nothing     Delete
/// no owner                                   Keep: a user made it
/// an owner cannot be resolved                Keep, whatever the others are
/// ```
pub(super) fn verdict(owners: &[Standing], has_dependents: bool) -> Verdict {
    let any = |s: Standing| owners.contains(&s);
    if any(Standing::Unresolvable) {
        return Verdict::Keep { cut: false };
    }
    if owners.is_empty() || any(Standing::Solid) {
        return Verdict::Keep { cut: any(Standing::Gone) || any(Standing::Waiting) };
    }
    if any(Standing::Waiting) && has_dependents { Verdict::DeleteForeground } else { Verdict::Delete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owners: Vec<OwnerReference>) -> Node {
        Node {
            api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
            namespaced: true,
            key: Key::new("d", "x"),
            version: None,
            owners,
            going: false,
            finalizers: vec![],
        }
    }

    #[test]
    fn an_object_lives_as_long_as_one_owner_does() {
        use Standing::{Gone, Solid, Unresolvable, Waiting};
        assert_eq!(verdict(&[], false), Verdict::Keep { cut: false });
        assert_eq!(verdict(&[Solid], true), Verdict::Keep { cut: false });
        assert_eq!(verdict(&[Solid, Gone], false), Verdict::Keep { cut: true });
        assert_eq!(verdict(&[Solid, Waiting], true), Verdict::Keep { cut: true });
        assert_eq!(verdict(&[Gone], true), Verdict::Delete);
        assert_eq!(verdict(&[Waiting], false), Verdict::Delete);
        assert_eq!(verdict(&[Waiting, Gone], true), Verdict::DeleteForeground);
        assert_eq!(verdict(&[Gone, Unresolvable], true), Verdict::Keep { cut: false });
    }

    #[test]
    fn the_graph_forgets_edges_with_their_objects() {
        let owner = |uid: &str| OwnerReference { uid: uid.into(), ..OwnerReference::default() };
        let mut graph = Graph::default();
        graph.put("rs", pod(vec![owner("d")]));
        graph.put("pod", pod(vec![owner("rs")]));
        assert_eq!(graph.dependents_of("rs").len(), 1);
        graph.put("pod", pod(vec![]));
        assert_eq!(graph.dependents_of("rs").len(), 0);
        graph.remove("rs");
        assert!(graph.dependents.is_empty());
    }

    #[test]
    fn as_many_of_the_gone_are_remembered_as_are_needed_and_no_more() {
        let mut absent = Absent::default();
        (0..=Absent::MOST).for_each(|n| absent.insert(&n.to_string(), Some(pod(vec![]))));
        assert!(!absent.contains("0") && absent.contains("1"));
        absent.remove("1");
        absent.insert("0", None);
        assert!(!absent.contains("1") && absent.contains("0") && absent.contains("2"));
        assert_eq!(absent.known.len(), absent.order.len());
        let seen = |absent: &Absent, kind: &str, uid: &str| {
            absent.is_namespaced(&OwnerReference {
                api_version: "v1".into(),
                kind: kind.into(),
                name: "x".into(),
                uid: uid.into(),
                ..OwnerReference::default()
            })
        };
        assert_eq!((seen(&absent, "Pod", "2"), seen(&absent, "Pod", "0")), (Some(true), None));
        absent.insert("2", None);
        assert_eq!(seen(&absent, "Pod", "2"), Some(true), "a reference does not change what was seen");
        assert_eq!(seen(&absent, "Secret", "2"), None, "it was a Pod");
    }

    #[test]
    fn a_client_does_not_choose_how_much_is_remembered_of_the_gone() {
        let mut absent = Absent::default();
        absent.insert(&"u".repeat(1 << 20), None);
        assert!(absent.known.is_empty() && absent.order.is_empty());
        let finalizers = vec!["example.com/f".to_string(); 1000];
        absent.insert("x", Some(Node { finalizers, ..pod(vec![OwnerReference::default(); 1000]) }));
        let kept = absent.known["x"].as_ref().unwrap();
        assert!(kept.owners.is_empty() && kept.finalizers.is_empty());
    }

    #[test]
    fn a_circle_of_owners_waits_for_nothing_and_a_chain_for_its_end() {
        let node = |owner: &str, finalizers: &[&str]| Node {
            api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
            namespaced: true,
            key: Key::new("d", "x"),
            version: None,
            owners: vec![OwnerReference {
                uid: owner.into(),
                block_owner_deletion: Some(true),
                ..OwnerReference::default()
            }],
            going: !finalizers.is_empty(),
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
        };
        let foreground = [FOREGROUND];
        let mut graph = Graph::default();
        graph.put("a", node("c", &foreground));
        graph.put("b", node("a", &foreground));
        graph.put("c", node("b", &[]));
        assert!(!graph.waits_in_circle("a", "b"), "c is not on its way yet");
        graph.put("c", node("b", &foreground));
        for (owner, dependent) in [("a", "b"), ("b", "c"), ("c", "a")] {
            assert!(graph.waits_in_circle(owner, dependent), "{owner} {dependent}");
        }
        // d hangs on the circle, and is waited for as ever.
        graph.put("d", node("a", &foreground));
        assert!(!graph.waits_in_circle("a", "d"));
        graph.put("own", node("own", &foreground));
        assert!(graph.waits_in_circle("own", "own"));
    }
}

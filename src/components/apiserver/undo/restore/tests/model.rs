//! Undo and redo in a little world of Deployments, their sets and pods, after any commands.

use super::*;

/// A little world of Deployments, their sets and pods, with what their controllers would do.
#[derive(Clone, Default)]
struct Model {
    objects: BTreeMap<String, Value>,
    uids: usize,
}

impl Model {
    fn put(&mut self, key: String, owner: Option<String>, spec: Value) {
        self.uids += 1;
        let mut object = object!({"metadata": {"uid": format!("u{}", self.uids)}, "spec": spec});
        if let Some(owner) = owner {
            object["metadata"]["ownerReferences"] = object!([{"uid": owner, "controller": true}]);
        }
        self.objects.insert(key, object);
    }
    fn uid(&self, key: &str) -> Option<String> {
        self.objects.get(key).map(|o| meta::uid(o).to_string())
    }
    fn act(&mut self, act: u8, n: usize) {
        let (deployment, set) = (format!("deployments/d/{n}"), format!("replicasets/d/{n}"));
        match act {
            // Created, and its set made or adopted.
            0 if !self.objects.contains_key(&deployment) => {
                self.put(deployment.clone(), None, object!({"replicas": 2}));
                let owner = self.uid(&deployment);
                match self.objects.get_mut(&set) {
                    Some(set) => {
                        set["metadata"]["ownerReferences"] = object!([{"uid": owner, "controller": true}]);
                    }
                    None => {
                        self.put(set.clone(), owner, object!({"replicas": 2}));
                        for pod in 0..2 {
                            self.put(format!("pods/d/{n}-{pod}"), self.uid(&set), object!({}));
                        }
                    }
                }
            }
            // Deleted with --cascade=orphan.
            1 if self.objects.remove(&deployment).is_some() => {
                if let Some(set) = self.objects.get_mut(&set) {
                    value::remove(set, "metadata.ownerReferences");
                }
            }
            // Deleted with what it owns.
            2 => {
                self.objects.remove(&deployment);
                self.collect();
            }
            3 if self.objects.contains_key(&set) => {
                let extra = format!("pods/d/{n}-2");
                if self.objects.remove(&extra).is_none() {
                    self.put(extra, self.uid(&set), object!({}));
                }
            }
            _ => {}
        }
    }
    /// What the garbage collector makes of it.
    fn collect(&mut self) {
        loop {
            let uids: BTreeSet<String> = self.objects.values().map(|o| meta::uid(o).to_string()).collect();
            let before = self.objects.len();
            let lives = |o: &Value| {
                let owners = o["metadata"]["ownerReferences"].as_array();
                owners.is_none_or(|all| all.iter().any(|r| uids.contains(text(r, "uid"))))
            };
            self.objects.retain(|_, o| lives(o));
            if self.objects.len() == before {
                return;
            }
        }
    }
    fn keys(&self, revision: Revision) -> Vec<KeyValue> {
        self.objects.iter().map(|(key, object)| kv(key, revision, object.clone())).collect()
    }
    fn go_back_to(&mut self, then: &Model) {
        for (key, put) in planned(&then.keys(1), &self.keys(2)) {
            match put {
                Some(mut object) => {
                    if meta::uid(&object) == "new" {
                        self.uids += 1;
                        object["metadata"]["uid"] = format!("u{}", self.uids).into();
                    }
                    self.objects.insert(key, object);
                }
                None => _ = self.objects.remove(&key),
            }
        }
    }
}

proptest::proptest! {
    /// Whatever was done since, all that was there is there again, owns what it owned, and
    /// nothing of it is garbage.
    #[test]
    fn everything_that_was_there_before_is_there_after_an_undo(
        acts in proptest::collection::vec((0u8..5, 0usize..3), 1..40),
        back in 0usize..40,
    ) {
        let mut model = Model::default();
        let mut past = vec![model.clone()];
        for (act, n) in acts {
            match act {
                4 => {
                    let then = past[back % past.len()].clone();
                    let now = model.clone();
                    model.go_back_to(&then);
                    model.collect();
                    let same = |a: &Model, b: &Model| {
                        let keys = |m: &Model| m.objects.keys().cloned().collect::<Vec<_>>();
                        let owned = |m: &Model| m.objects.iter().filter(|(key, _)| !key.starts_with("pods/"))
                            .map(|(key, o)| (key.clone(), o.clone())).collect::<Vec<_>>();
                        keys(a) == keys(b) && owned(a) == owned(b)
                    };
                    proptest::prop_assert!(same(&model, &then));
                    // And a redo brings back what was there before the undo.
                    let undone = model.clone();
                    model.go_back_to(&now);
                    model.collect();
                    proptest::prop_assert!(same(&model, &now));
                    model.go_back_to(&undone);
                    model.collect();
                }
                act => model.act(act, n),
            }
            past.push(model.clone());
        }
    }
}

//! A user who creates, scales, changes and deletes workloads, deletes pods and takes them out of
//! their workloads. What it writes is heard.

use api::meta;
use api::value::{self, put};
use client::simulated::{Store, kind};
use rng::Rng;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const NAMESPACE: &str = "default";
const WORKLOADS: [&str; 5] = ["deployments", "replicasets", "statefulsets", "daemonsets", "jobs"];

pub(super) struct User {
    store: Store,
    rng: Rng,
}

impl User {
    pub(super) fn new(store: &Store, rng: Rng) -> User {
        User { store: store.clone(), rng }
    }

    /// Makes a few random changes. In about every second history everything is deleted at the end.
    pub(super) async fn act(&mut self) {
        for _ in 0..self.rng.range(3, 12) {
            self.step();
            let pause = if self.rng.chance(0.3) { 60_000 } else { 3000 };
            clock::sleep(Duration::from_millis(self.rng.range(1, pause))).await;
        }
        if self.rng.chance(0.5) {
            for plural in WORKLOADS {
                for found in self.store.all(plural) {
                    let policy = self.pick(&["Background", "Foreground"]);
                    self.delete(plural, &found.value, policy);
                }
            }
        }
    }

    fn pick<'a>(&self, from: &[&'a str]) -> &'a str {
        from[self.rng.range(0, from.len() as u64) as usize]
    }

    fn step(&self) {
        let plural = self.pick(&WORKLOADS);
        // Few names: another object of the same name is the case that is easily got wrong.
        let name = format!("{}-{}", &plural[..2], self.pick(&["a", "b"]));
        let Some(found) = self.store.get(kind(plural), NAMESPACE, &name) else {
            let made = self.store.create(kind(plural), NAMESPACE, self.workload(plural, &name));
            made.unwrap_or_else(|status| panic!("{plural} {name}: {}", status.message));
            if plural == "statefulsets" && self.rng.chance(0.3) {
                self.create_stray_pod(&name);
            }
            return;
        };
        match self.rng.range(0, 10) {
            0..3 if plural != "daemonsets" && plural != "jobs" => {
                self.edit(plural, &found.value, |new| put(new, "spec.replicas", self.rng.range(0, 5)));
            }
            3..6 if plural != "jobs" => {
                let image = format!("app:{}", self.rng.range(1, 4));
                self.edit(plural, &found.value, |new| {
                    put(new, "spec.template.spec.containers", json!([{"name": "c", "image": image}]));
                });
            }
            6 | 7 => {
                let policy = self.pick(&["Background", "Background", "Foreground", "Orphan"]);
                self.delete(plural, &found.value, policy);
            }
            8 => {
                if let Some(pod) = self.some_pod() {
                    self.delete("pods", &pod, "");
                }
            }
            _ => {
                // A StatefulSet cannot make its pod anew while another has the name: it would wait
                // for the user.
                if let Some(pod) = self.some_pod().filter(|pod| !meta::name(pod).starts_with("st-")) {
                    self.edit("pods", &pod, |new| put(new, "metadata.labels.app", "nothing"));
                }
            }
        }
    }

    /// Creates a pod with a StatefulSet's labels and another name: the set must leave it alone.
    fn create_stray_pod(&self, set: &str) {
        let meta = json!({"name": format!("debug-{set}"), "labels": {"app": set}});
        let spec =
            json!({"terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "image": "app:1"}]});
        // It may be there already.
        let _ = self.store.create(kind("pods"), NAMESPACE, json!({"metadata": meta, "spec": spec}));
    }

    fn some_pod(&self) -> Option<Value> {
        let pods = self.store.all("pods");
        let at = self.rng.range(0, pods.len() as u64) as usize;
        pods.get(at).map(|pod| pod.value.clone())
    }

    fn delete(&self, plural: &str, object: &Value, policy: &str) {
        let options = if policy.is_empty() { json!({}) } else { json!({"propagationPolicy": policy}) };
        // It may be on its way already.
        let _ = self.store.delete(kind(plural), (meta::namespace(object), meta::name(object)), &options);
    }

    fn edit(&self, plural: &str, object: &Value, change: impl Fn(&mut Value)) {
        let key = (meta::namespace(object), meta::name(object));
        let edited = self.store.edit(kind(plural), key, false, |new| {
            change(new);
            Ok(())
        });
        edited.unwrap_or_else(|status| panic!("{plural} {key:?}: {}", status.message));
    }

    fn workload(&self, plural: &str, name: &str) -> Value {
        let image = format!("app:{}", self.rng.range(1, 4));
        let mut object = json!({
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"terminationGracePeriodSeconds": 5, "containers": [{"name": "c", "image": image}]},
                },
            },
        });
        let replicas = self.rng.range(0, 5);
        match plural {
            "jobs" => {
                value::remove(&mut object, "spec.selector");
                put(&mut object, "spec.template.spec.restartPolicy", "Never");
                put(&mut object, "spec.completions", self.rng.range(1, 5));
                put(&mut object, "spec.parallelism", self.rng.range(1, 4));
                put(&mut object, "spec.backoffLimit", self.rng.range(0, 4));
                if self.rng.chance(0.3) {
                    put(&mut object, "spec.completionMode", "Indexed");
                }
            }
            "daemonsets" => {}
            "statefulsets" => {
                put(&mut object, "spec.replicas", replicas);
                put(&mut object, "spec.serviceName", name);
                put(&mut object, "spec.podManagementPolicy", self.pick(&["OrderedReady", "Parallel"]));
                if self.rng.chance(0.5) {
                    let claim = json!({
                        "metadata": {"name": "data"},
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                    });
                    put(&mut object, "spec.volumeClaimTemplates", json!([claim]));
                }
            }
            "deployments" => {
                put(&mut object, "spec.replicas", replicas);
                put(&mut object, "spec.strategy.type", self.pick(&["RollingUpdate", "Recreate"]));
                put(&mut object, "spec.revisionHistoryLimit", self.rng.range(0, 3));
            }
            _ => put(&mut object, "spec.replicas", replicas),
        }
        object
    }
}

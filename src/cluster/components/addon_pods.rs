//! How the addons are made, and which pods they have: a start waits for those.

use super::images::PREFIX;
use api::volumes::is_default_class;
use client::Codec;
use controllers::daemonset::decide::belongs;
use k8s_openapi::api::core::v1::{Node, PodTemplateSpec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// JSON pointers to the containers of a workload and of a pod.
pub(super) const CONTAINERS: [&str; 2] = ["/spec/template/spec/containers", "/spec/containers"];

/// The pods with a component of the cluster that the addons make, as a learner left them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AddonPods {
    /// How many objects of the addons are in their namespace, whatever they are.
    pub objects: usize,
    /// How many pods the Deployments make, and single pods.
    pub pods: usize,
    /// Templates of DaemonSets: each makes a pod for every node that it belongs on.
    daemons: Vec<PodTemplateSpec>,
}

impl AddonPods {
    /// Adds an object of the API, and the pods that it makes or is; none if no container runs a
    /// component.
    pub(crate) fn add(&mut self, object: &Value) {
        self.objects += usize::from(object.pointer("/metadata/namespace").is_some());
        let containers = CONTAINERS.iter().find_map(|path| object.pointer(path)?.as_array());
        let mut images = containers.into_iter().flatten().filter_map(|c| c["image"].as_str());
        if !images.any(|image| image.starts_with(PREFIX)) {
            return;
        }
        match object["kind"].as_str() {
            Some("Pod") => self.pods += 1,
            Some("Deployment") => {
                let replicas = object["spec"]["replicas"].as_u64();
                let replicas = replicas.map_or(1, |n| usize::try_from(n).unwrap_or(usize::MAX));
                self.pods = self.pods.saturating_add(replicas);
            }
            Some("DaemonSet") => {
                self.daemons.extend(PodTemplateSpec::decode(&object["spec"]["template"]).ok());
            }
            _ => {}
        }
    }

    /// Returns how many pods there are to be on these nodes, those of Deployments included.
    pub(crate) fn on(&self, nodes: &[&Arc<Node>]) -> usize {
        let daemons = |template| nodes.iter().filter(|node| belongs(template, node).0).count();
        self.daemons.iter().map(daemons).fold(self.pods, usize::saturating_add)
    }
}

/// Makes every object, whatever becomes of the others: only what names an account that could not
/// be made waits for it, because its pods would be refused. Returns which pods with a component
/// those have that are there, and what could not be made.
pub(super) async fn make_all<F: Future<Output = Result<Value, String>>>(
    objects: Vec<Value>,
    make: impl Fn(Value) -> F,
) -> (AddonPods, Vec<String>) {
    let (mut failed, mut pods) = (Vec::new(), AddonPods::default());
    let mut lacking = BTreeSet::new();
    for object in objects {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let account = text("/spec/template/spec/serviceAccountName");
        if lacking.contains(&account) {
            failed.push(format!("{kind} {name} waits for its account {account}"));
            continue;
        }
        match make(object).await {
            Ok(there) => pods.add(&there),
            Err(error) => {
                failed.push(error);
                lacking.extend((kind == "ServiceAccount").then_some(name));
            }
        }
    }
    (pods, failed)
}

/// Reads these workloads again, and updates which pods the addons have. If one cannot be read,
/// what is known stays.
pub(super) async fn refresh_addon_pods<F: Future<Output = Result<Value, String>>>(
    known: &watch::Sender<Option<AddonPods>>,
    addons: Vec<Value>,
    look: impl Fn(Value) -> F,
) {
    let (there, failed) = make_all(addons, look).await;
    if failed.is_empty() {
        known.send_if_modified(|known| known.replace(there.clone()) != Some(there));
    }
}

/// The annotation that makes the class `standard` the default one, for claims that name no class.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Clears the default mark of a StorageClass that is about to be created if another class has it in
/// its annotations (`others`). Of two default classes the newer one counts: a learner who deleted
/// `standard` and chose another default would get `standard` again at the next start.
pub(super) fn yield_default<'a>(
    class: &mut Value,
    mut others: impl Iterator<Item = &'a BTreeMap<String, String>>,
) {
    if others.any(|annotations| is_default_class(|key| annotations.get(key).map(String::as_str))) {
        class["metadata"]["annotations"][DEFAULT_CLASS] = "false".into();
    }
}

/// What cannot be made for this long is refused, e.g. by a quota of a learner's. What fails sooner
/// may only have been asked too early: while the API begins to answer there is no namespace yet.
const REFUSED_AFTER: Duration = Duration::from_secs(10);

/// Returns whether a start may go by the addons that were made: all of them, or those that are not
/// refused. `made`: how many objects are in their namespace. `tried`: how long ago there was the
/// first one.
pub(super) fn is_settled(failed: usize, made: usize, tried: Duration) -> bool {
    failed == 0 || made > 0 && tried >= REFUSED_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn count(object: &Value, nodes: &[Value]) -> usize {
        let nodes: Vec<Arc<Node>> =
            nodes.iter().map(|node| Arc::new(serde_json::from_value(node.clone()).unwrap())).collect();
        let mut pods = AddonPods::default();
        pods.add(object);
        pods.on(&nodes.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_pods_of_addons_are_counted_as_a_learner_left_them() {
        let image = format!("{}coredns:1", PREFIX);
        let own = json!([{"name": "coredns", "image": image}]);
        let deployment = |replicas: u64, containers: &Value| {
            let template = json!({"spec": {"containers": containers}});
            count(&json!({"kind": "Deployment", "spec": {"replicas": replicas, "template": template}}), &[])
        };
        assert_eq!((deployment(0, &own), deployment(2, &own)), (0, 2));
        let foreign = json!([{"name": "coredns", "image": "registry.k8s.io/coredns:1"}]);
        assert_eq!(deployment(2, &foreign), 0, "it says nothing of ours");
        assert_eq!(count(&json!({"kind": "Pod", "spec": {"containers": own}}), &[]), 1);

        let nodes = [
            json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}}),
            json!({"metadata": {"name": "b", "labels": {"proxy": "yes"}}}),
        ];
        let daemons = |spec: Value, containers: &Value| {
            let mut template = json!({"spec": spec});
            template["spec"]["containers"] = containers.clone();
            count(&json!({"kind": "DaemonSet", "spec": {"template": template}}), &nodes)
        };
        let everywhere = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(daemons(everywhere.clone(), &own), 2);
        assert_eq!(daemons(json!({"nodeSelector": {"proxy": "yes"}}), &own), 1);
        assert_eq!(daemons(json!({"nodeSelector": {"proxy": "no"}}), &own), 0);
        assert_eq!(daemons(everywhere, &foreign), 0);
    }

    /// The first account was asked for before its namespace was there, so the name server had to
    /// wait for it. `up --wait` returned meanwhile, on a cluster without names.
    #[test]
    fn a_start_waits_for_an_addon_that_was_asked_for_too_early() {
        assert!(is_settled(0, 9, Duration::ZERO) && is_settled(0, 0, Duration::ZERO));
        assert!(!is_settled(2, 7, Duration::ZERO) && !is_settled(2, 7, REFUSED_AFTER / 2));
        assert!(is_settled(1, 7, REFUSED_AFTER), "it is refused");
        assert!(is_settled(3, 1, REFUSED_AFTER), "the namespace is there");
        assert!(!is_settled(9, 0, REFUSED_AFTER * 2), "nothing is there");
    }

    #[tokio::test]
    async fn an_addon_that_cannot_be_made_keeps_no_other_one_back() {
        let pod = |name: &str| {
            let containers = json!([{"name": name, "image": format!("{PREFIX}{name}:1")}]);
            json!({"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}})
        };
        let made = std::cell::RefCell::new(vec![]);
        let make = async |object: Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_string();
            if name == "refused" {
                return Err("cannot make Pod refused: the address is taken".to_string());
            }
            made.borrow_mut().push(name);
            Ok(object)
        };
        let objects = vec![pod("first"), pod("refused"), pod("last"), pod("refused")];
        let (pods, failed) = make_all(objects, &make).await;
        assert_eq!(
            (pods.pods, failed.len(), made.into_inner()),
            (2, 2, vec!["first".into(), "last".to_string()])
        );
        assert!(failed[0].contains("refused"), "{failed:?}");
    }

    /// A quota lets no Deployment in. Only their pods were counted, so a start waited for ever.
    #[tokio::test]
    async fn a_start_does_not_wait_for_deployments_that_a_policy_refuses() {
        let object = |kind: &str, name: &str| {
            let container = json!({"name": name, "image": format!("{PREFIX}{name}:1")});
            let spec = json!({"template": {"spec": {"containers": [container]}}});
            json!({"kind": kind, "metadata": {"name": name, "namespace": "kube-system"}, "spec": spec})
        };
        let make = async |object: Value| match object["kind"] == "Deployment" {
            true => Err("cannot make a Deployment: exceeded quota".to_string()),
            false => Ok(object),
        };
        let [coredns, provisioner] = ["coredns", "provisioner"].map(|name| object("Deployment", name));
        let proxy = object("DaemonSet", "kube-proxy");
        for objects in [
            vec![coredns.clone(), proxy, provisioner.clone()],
            vec![
                json!({"kind": "ConfigMap", "metadata": {"namespace": "kube-system"}}),
                coredns,
                provisioner,
            ],
        ] {
            let (made, failed) = make_all(objects, &make).await;
            assert_eq!((made.pods, failed.len()), (0, 2));
            assert!(is_settled(failed.len(), made.objects, REFUSED_AFTER));
            assert!(!is_settled(failed.len(), made.objects, REFUSED_AFTER / 2));
        }
    }

    #[tokio::test]
    async fn what_names_an_account_that_could_not_be_made_waits_for_it() {
        let account = json!({"kind": "ServiceAccount", "metadata": {"name": "a"}});
        let daemons = |name: &str, account: &str| {
            let spec = json!({"serviceAccountName": account});
            json!({"kind": "DaemonSet", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}})
        };
        let objects = vec![account, daemons("waits", "a"), daemons("goes-on", "b"), daemons("free", "")];
        let make = |lacks_account: bool| {
            move |object: Value| async move {
                match lacks_account && object["kind"] == "ServiceAccount" {
                    true => Err("cannot make ServiceAccount a".to_string()),
                    false => Ok(object),
                }
            }
        };
        let failed = make_all(objects.clone(), make(true)).await.1;
        assert_eq!(failed, ["cannot make ServiceAccount a", "DaemonSet waits waits for its account a"]);
        assert!(make_all(objects, make(false)).await.1.is_empty());
    }

    /// `kubectl delete sc standard`, and a default class `fast` that retains its volumes: after the
    /// next start claims got `standard`, which deletes them.
    #[test]
    fn a_default_class_of_the_learners_stays_the_default() {
        let mark = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
        let made = |others: &[BTreeMap<String, String>]| {
            let mut class =
                json!({"metadata": {"name": "standard", "annotations": {(DEFAULT_CLASS): "true"}}});
            yield_default(&mut class, others.iter());
            class["metadata"]["annotations"][DEFAULT_CLASS] == "true"
        };
        let other = mark(DEFAULT_CLASS, "false");
        assert!(made(&[]) && made(&[other.clone(), mark("x", "true")]));
        for key in [DEFAULT_CLASS, "storageclass.beta.kubernetes.io/is-default-class"] {
            assert!(!made(&[other.clone(), mark(key, "true")]), "{key}");
        }
    }

    /// `up --detach`, and at once `kubectl scale -n kube-system deployment coredns --replicas=1`:
    /// the start waited for the second name server for ever.
    #[tokio::test]
    async fn a_start_waits_for_as_many_pods_as_an_addon_has_now() {
        let deployment = |replicas: u64| {
            let containers = json!([{"name": "c", "image": format!("{PREFIX}coredns:1")}]);
            let spec = json!({"replicas": replicas, "template": {"spec": {"containers": containers}}});
            json!({"kind": "Deployment", "metadata": {"name": "coredns"}, "spec": spec})
        };
        let known = watch::Sender::new(None);
        let mut seen = known.subscribe();
        let mut noted = async |there: Result<Value, String>| {
            let look = |_| std::future::ready(there.clone());
            refresh_addon_pods(&known, vec![deployment(2)], look).await;
            let is_news = seen.has_changed().unwrap();
            (is_news, seen.borrow_and_update().as_ref().map(|addons| addons.pods))
        };
        assert_eq!(noted(Ok(deployment(2))).await, (true, Some(2)));
        assert_eq!(noted(Ok(deployment(2))).await, (false, Some(2)));
        assert_eq!(noted(Ok(deployment(1))).await, (true, Some(1)));
        assert_eq!(noted(Err("no API server answers".into())).await, (false, Some(1)));
        assert_eq!(noted(Ok(Value::Null)).await, (true, Some(0)), "it was deleted");
    }
}

//! References between objects: when one gets another name or namespace, those that name it are
//! corrected.
//!
//! Source: kustomize, `api/filters/nameref` and `builtinpluginconsts/namereference.go`. A reference
//! leads to the one object that had its name before and that the referrer can reach: an object of
//! the same namespace, a cluster-scoped one, or, for a role binding, a service account.

use super::resource::{Place, Resource};
use crate::error::{Fail, text as fail};
use api::value::{self, at, text};
use serde_json::Value;

/// Where the spec of a pod stands, in the kinds whose ConfigMaps and Secrets are followed.
const PODS: [(&str, &str); 8] = [
    ("Pod", "spec"),
    ("PodTemplate", "template spec"),
    ("Deployment", "spec template spec"),
    ("ReplicaSet", "spec template spec"),
    ("DaemonSet", "spec template spec"),
    ("StatefulSet", "spec template spec"),
    ("Job", "spec template spec"),
    ("CronJob", "spec jobTemplate spec template spec"),
];
/// The references of a pod: the kind that is named, and the path within the pod's spec.
const IN_PODS: [(&str, &str); 13] = [
    ("ConfigMap", "volumes configMap name"),
    ("ConfigMap", "containers env valueFrom configMapKeyRef name"),
    ("ConfigMap", "initContainers env valueFrom configMapKeyRef name"),
    ("ConfigMap", "containers envFrom configMapRef name"),
    ("ConfigMap", "initContainers envFrom configMapRef name"),
    ("ConfigMap", "volumes projected sources configMap name"),
    ("Secret", "volumes secret secretName"),
    ("Secret", "containers env valueFrom secretKeyRef name"),
    ("Secret", "initContainers env valueFrom secretKeyRef name"),
    ("Secret", "containers envFrom secretRef name"),
    ("Secret", "initContainers envFrom secretRef name"),
    ("Secret", "imagePullSecrets name"),
    ("Secret", "volumes projected sources secret name"),
];
/// More references of a pod's spec. kustomize follows them in a ReplicationController, too, but in
/// no PodTemplate and no ReplicaSet.
const ALSO_IN_PODS: [(&str, &str); 3] = [
    ("ServiceAccount", "serviceAccountName"),
    ("PersistentVolumeClaim", "volumes persistentVolumeClaim claimName"),
    ("PriorityClass", "priorityClassName"),
];
/// Referrer, kind that is named, path. A path that leads to a map names by `name` and `namespace`.
/// Classes of ingresses are not followed: kustomize's own table has their group wrong.
const OTHERS: &[(&str, &str, &str)] = &[
    ("HorizontalPodAutoscaler", "Deployment", "spec scaleTargetRef name"),
    ("HorizontalPodAutoscaler", "ReplicationController", "spec scaleTargetRef name"),
    ("HorizontalPodAutoscaler", "ReplicaSet", "spec scaleTargetRef name"),
    ("HorizontalPodAutoscaler", "StatefulSet", "spec scaleTargetRef name"),
    ("Node", "ConfigMap", "spec configSource configMap"),
    ("Role", "ConfigMap", "rules resourceNames"),
    ("ClusterRole", "ConfigMap", "rules resourceNames"),
    ("Ingress", "ConfigMap", "metadata annotations nginx.ingress.kubernetes.io/fastcgi-params-configmap"),
    ("Ingress", "Secret", "spec tls secretName"),
    ("Ingress", "Secret", "metadata annotations ingress.kubernetes.io/auth-secret"),
    ("Ingress", "Secret", "metadata annotations nginx.ingress.kubernetes.io/auth-secret"),
    ("Ingress", "Secret", "metadata annotations nginx.ingress.kubernetes.io/auth-tls-secret"),
    ("ServiceAccount", "Secret", "imagePullSecrets name"),
    ("StorageClass", "Secret", "parameters secretName"),
    ("StorageClass", "Secret", "parameters adminSecretName"),
    ("StorageClass", "Secret", "parameters userSecretName"),
    ("StorageClass", "Secret", "parameters secretRef"),
    ("Role", "Secret", "rules resourceNames"),
    ("ClusterRole", "Secret", "rules resourceNames"),
    // For the Service of Knative; that of Kubernetes has no template.
    ("Service", "Secret", "spec template spec containers env valueFrom secretKeyRef name"),
    ("PersistentVolume", "Secret", "spec azureFile secretName"),
    ("StatefulSet", "Service", "spec serviceName"),
    ("Ingress", "Service", "spec rules http paths backend serviceName"),
    ("Ingress", "Service", "spec backend serviceName"),
    ("Ingress", "Service", "spec rules http paths backend service name"),
    ("Ingress", "Service", "spec defaultBackend service name"),
    ("APIService", "Service", "spec service name"),
    ("ValidatingWebhookConfiguration", "Service", "webhooks clientConfig service"),
    ("MutatingWebhookConfiguration", "Service", "webhooks clientConfig service"),
    ("RoleBinding", "Role", "roleRef name"),
    ("RoleBinding", "ClusterRole", "roleRef name"),
    ("ClusterRoleBinding", "ClusterRole", "roleRef name"),
    ("RoleBinding", "ServiceAccount", "subjects"),
    ("ClusterRoleBinding", "ServiceAccount", "subjects"),
    ("PersistentVolumeClaim", "PersistentVolume", "spec volumeName"),
    ("ClusterRole", "PersistentVolume", "rules resourceNames"),
    ("PersistentVolume", "StorageClass", "spec storageClassName"),
    ("PersistentVolumeClaim", "StorageClass", "spec storageClassName"),
    ("StatefulSet", "StorageClass", "spec volumeClaimTemplates spec storageClassName"),
    ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "spec policyName"),
];

/// The references that a kind may have: the kind that is named, and the path.
fn references(kind: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![];
    let mut within = |spec: &str, paths: &[(&'static str, &str)]| {
        all.extend(paths.iter().map(|(named, path)| (*named, format!("{spec} {path}"))));
    };
    if let Some((_, spec)) = PODS.iter().find(|(of, _)| *of == kind) {
        within(spec, &IN_PODS);
        if !matches!(kind, "PodTemplate" | "ReplicaSet") {
            within(spec, &ALSO_IN_PODS);
        }
    }
    if kind == "ReplicationController" {
        within("spec template spec", &ALSO_IN_PODS);
    }
    let others = OTHERS.iter().filter(|(of, _, _)| *of == kind);
    all.extend(others.map(|(_, named, path)| (*named, path.to_string())));
    all
}

/// An object that a reference may mean.
struct Candidate {
    kind: String,
    group: String,
    place: Place,
    cluster_scoped: bool,
    known: Vec<Place>,
    /// Its effective namespace before all changes, and now.
    original: String,
    now: String,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

/// Returns whether two lists end alike, as far as the shorter one goes. An empty one ends as no
/// other does. Source: kustomize's `SameEndingSubSlice`.
fn end_alike(a: &[String], b: &[String]) -> bool {
    a.is_empty() == b.is_empty() && a.iter().rev().zip(b.iter().rev()).all(|(x, y)| x == y)
}

impl Candidate {
    fn of(resource: &Resource) -> Candidate {
        let (first, place) = (resource.first_place(), resource.place());
        Candidate {
            kind: resource.kind().into(),
            group: resource.group().into(),
            cluster_scoped: resource.is_cluster_scoped(),
            known: resource.known.clone(),
            original: resource.effective_namespace(&first).into(),
            now: resource.effective_namespace(&place).into(),
            place,
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }

    /// `either`: a list that is empty is like every other.
    fn has_affixes_of(&self, other: &Candidate, either: bool) -> bool {
        let alike =
            |a: &[String], b: &[String]| (either && (a.is_empty() || b.is_empty())) || end_alike(a, b);
        alike(&self.prefixes, &other.prefixes) && alike(&self.suffixes, &other.suffixes)
    }
}

/// An object that names others.
struct Referrer<'a> {
    own: &'a Candidate,
    /// The objects that its references may mean.
    reach: Vec<&'a Candidate>,
    /// Kind and group of its `roleRef`.
    role: (String, String),
}

impl<'a> Referrer<'a> {
    fn of(object: &Value, own: &'a Candidate, all: &'a [Candidate]) -> Referrer<'a> {
        let binding = own.kind == "RoleBinding";
        let accounts = value::list(object, "subjects").iter().filter(|s| text(s, "kind") == "ServiceAccount");
        let spaces: Vec<&str> = accounts.filter_map(|s| s["namespace"].as_str()).collect();
        let reaches = |to: &&Candidate| {
            own.cluster_scoped
                || to.cluster_scoped
                || to.now == own.now
                || (binding && spaces.contains(&to.place.namespace.as_str()))
        };
        let part = |path: &str| text(object, path).to_string();
        Referrer {
            own,
            reach: all.iter().filter(reaches).collect(),
            role: (part("roleRef.kind"), part("roleRef.apiGroup")),
        }
    }

    /// The object of a kind that had this name before.
    ///
    /// # Errors
    /// Several objects fit equally well.
    fn find(
        &self,
        kind: &str,
        path: &str,
        name: &str,
        space: Option<&str>,
    ) -> Result<Option<&'a Candidate>, Fail> {
        let of_role = path == "roleRef name" && !self.role.0.is_empty();
        // In other namespaces only service accounts can be named; the other objects there only show
        // which namespaces exist.
        let own = |to: &Candidate| self.own.cluster_scoped || to.cluster_scoped || to.now == self.own.now;
        let named = |to: &&&Candidate| {
            // A patch may change the kind with the name; a reference has the former kind.
            to.known.iter().any(|known| known.kind == kind)
                && (kind == "ServiceAccount" || own(to))
                && to.known.iter().any(|known| known.name == name)
                && (!of_role || (to.kind == self.role.0 && to.group == self.role.1))
        };
        let mut found: Vec<&Candidate> = self.reach.iter().filter(named).copied().collect();
        if let Some(space) = space {
            match self.reach.iter().any(|to| to.original == space) {
                true => found.retain(|to| to.original == space),
                false => found.retain(|to| to.now == space),
            }
        }
        if found.len() > 1 {
            found.retain(|to| to.has_affixes_of(self.own, true));
        }
        if found.len() > 1 {
            found.retain(|to| to.has_affixes_of(self.own, false));
        }
        let Some(first) = found.first() else { return Ok(None) };
        let whole = path.ends_with("subjects") || path.ends_with("service");
        let same = |to: &&Candidate| {
            to.place.name == first.place.name && (!whole || to.place.namespace == first.place.namespace)
        };
        if found.iter().all(same) {
            return Ok(Some(first));
        }
        let candidates: Vec<String> =
            found.iter().map(|to| format!("{}/{}.{}", to.kind, to.place.name, to.now)).collect();
        fail(format!(
            "updating name reference in '{}' field of '{}/{}.{}': found multiple possible referrals: {}",
            path.replace(' ', "/"),
            self.own.kind,
            self.own.place.name,
            self.own.now,
            candidates.join(", ")
        ))
    }

    /// Corrects one reference: a name, or a map with a name and perhaps a namespace.
    fn correct(&self, kind: &str, path: &str, found: &mut Value) -> Result<(), Fail> {
        if let Some(name) = found.as_str() {
            if let Some(to) = self.find(kind, path, name, None)? {
                *found = to.place.name.clone().into();
            }
            return Ok(());
        }
        if !at(found, "name").is_string() {
            return Ok(());
        }
        let space = found["namespace"].as_str();
        let Some(to) = self.find(kind, path, text(found, "name"), space)? else { return Ok(()) };
        let Place { namespace: space, name, .. } = &to.place;
        value::put(found, "name", name.as_str());
        if !space.is_empty() {
            value::put(found, "namespace", space.as_str());
        }
        Ok(())
    }
}

/// Corrects every reference to an object whose place changed.
///
/// # Errors
/// A reference may mean several objects.
pub(super) fn follow(all: &mut [Resource]) -> Result<(), Fail> {
    let candidates: Vec<Candidate> = all.iter().map(Candidate::of).collect();
    if candidates.iter().all(|c| c.known.is_empty()) {
        return Ok(());
    }
    for (resource, own) in all.iter_mut().zip(&candidates) {
        let referrer = Referrer::of(&resource.object, own, &candidates);
        for (kind, path) in references(&own.kind) {
            let steps: Vec<&str> = path.split(' ').collect();
            let mut outcome = Ok(());
            each(&mut resource.object, &steps, &mut |found| {
                if outcome.is_ok() {
                    outcome = referrer.correct(kind, &path, found);
                }
            });
            outcome?;
        }
    }
    Ok(())
}

/// Calls `f` with everything at a path; a list on the way, or at its end, means each of its items.
pub(super) fn each(object: &mut Value, path: &[&str], f: &mut impl FnMut(&mut Value)) {
    match (object, path) {
        (Value::Array(list), _) => list.iter_mut().for_each(|item| each(item, path, f)),
        (found, []) => f(found),
        (found, ["**", rest @ ..]) => {
            each(found, rest, f);
            if let Value::Object(map) = found {
                map.values_mut().for_each(|inner| each(inner, path, f));
            }
        }
        (found, [step, rest @ ..]) => {
            if let Some(inner) = found.get_mut(*step) {
                each(inner, rest, f);
            }
        }
    }
}

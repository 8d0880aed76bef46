//! Who names whom: when an object gets another name, those that name it are corrected.

use super::Resource;
use api::value;
use serde_json::Value;

/// Kind that is named, and the paths of its name; `*` goes through a list, a first `**` looks at
/// any depth.
const REFERENCES: &[(&str, &[&str])] = &[
    (
        "ConfigMap",
        &[
            "**.configMapKeyRef.name",
            "**.configMapRef.name",
            "**.volumes.*.configMap.name",
            "**.sources.*.configMap.name",
            "rules.*.resourceNames.*",
        ],
    ),
    (
        "Secret",
        &[
            "**.secretKeyRef.name",
            "**.secretRef.name",
            "**.volumes.*.secret.secretName",
            "**.sources.*.secret.name",
            "**.imagePullSecrets.*.name",
            "secrets.*.name",
            "spec.tls.*.secretName",
            "spec.azureFile.secretName",
            "parameters.secretName",
            "parameters.adminSecretName",
            "parameters.userSecretName",
            "parameters.secretRef",
            "rules.*.resourceNames.*",
        ],
    ),
    (
        "Service",
        &[
            "spec.serviceName",
            "spec.defaultBackend.service.name",
            "spec.rules.*.http.paths.*.backend.service.name",
            "spec.rules.*.backendRefs.*.name",
        ],
    ),
    ("ServiceAccount", &["**.serviceAccountName", "**.serviceAccount"]),
    ("PersistentVolumeClaim", &["**.persistentVolumeClaim.claimName"]),
    ("PersistentVolume", &["spec.volumeName", "rules.*.resourceNames.*"]),
    ("StorageClass", &["spec.storageClassName", "spec.volumeClaimTemplates.*.spec.storageClassName"]),
    ("PriorityClass", &["**.priorityClassName"]),
    ("IngressClass", &["spec.ingressClassName"]),
];
/// References that say the kind beside the name.
const KINDED: &[&str] = &["roleRef", "spec.scaleTargetRef", "subjects.*"];
/// References to a Service that say its namespace beside its name: the kind that has them, and the
/// path.
const SERVICES: &[(&str, &str)] = &[
    ("ValidatingWebhookConfiguration", "webhooks.*.clientConfig.service"),
    ("MutatingWebhookConfiguration", "webhooks.*.clientConfig.service"),
    ("APIService", "spec.service"),
];

/// Namespace and name.
type Place = (String, String);

/// Corrects every reference to an object whose place was `before` (in the order of `all`).
pub fn follow(all: &mut [Resource], before: &[Place]) {
    let moved: Vec<(String, Place, Place)> = all
        .iter()
        .zip(before)
        .filter(|(r, old)| super::place(&r.object) != **old)
        .map(|(r, old)| (r.kind().to_string(), old.clone(), super::place(&r.object)))
        .collect();
    if moved.is_empty() {
        return;
    }
    for (resource, (namespace, _)) in all.iter_mut().zip(before) {
        // Of several with one name the one in the same namespace is meant.
        let new_name = |kind: &str, name: &str, wanted: &str| {
            let mut same = moved.iter().filter(|(k, (_, n), _)| k == kind && n == name);
            let here = same.clone().find(|(_, (ns, _), _)| ns == wanted);
            here.or_else(|| same.next()).map(|(_, _, new)| new.clone())
        };
        for (kind, paths) in REFERENCES {
            for path in *paths {
                let steps: Vec<&str> = path.split('.').collect();
                each(&mut resource.object, &steps, &mut |found| {
                    if let Some((_, name)) = found.as_str().and_then(|n| new_name(kind, n, namespace)) {
                        *found = name.into();
                    }
                });
            }
        }
        let own_kind = resource.kind().to_string();
        let services = SERVICES.iter().filter(|(of, _)| *of == own_kind).map(|(_, path)| (*path, "Service"));
        // An empty kind: the reference says its own.
        for (path, kind) in KINDED.iter().map(|path| (*path, "")).chain(services) {
            let steps: Vec<&str> = path.split('.').collect();
            each(&mut resource.object, &steps, &mut |found| {
                let said = value::text(found, "kind").to_string();
                let kind = if kind.is_empty() { said.as_str() } else { kind };
                let name = value::text(found, "name").to_string();
                let own = value::text(found, "namespace").to_string();
                if let Some((space, name)) =
                    new_name(kind, &name, if own.is_empty() { namespace } else { &own })
                {
                    value::put(found, "name", name);
                    if !own.is_empty() && !space.is_empty() {
                        value::put(found, "namespace", space);
                    }
                }
            });
        }
    }
}

/// Calls `f` with everything at a path.
pub fn each(object: &mut Value, path: &[&str], f: &mut impl FnMut(&mut Value)) {
    match path {
        [] => f(object),
        ["**", rest @ ..] => {
            each(object, rest, f);
            match object {
                Value::Object(map) => map.values_mut().for_each(|inner| each(inner, path, f)),
                Value::Array(list) => list.iter_mut().for_each(|inner| each(inner, path, f)),
                _ => {}
            }
        }
        ["*", rest @ ..] => {
            if let Value::Array(list) = object {
                list.iter_mut().for_each(|item| each(item, rest, f));
            }
        }
        [step, rest @ ..] => {
            if let Some(inner) = object.get_mut(*step) {
                each(inner, rest, f);
            }
        }
    }
}

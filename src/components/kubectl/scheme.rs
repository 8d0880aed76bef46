//! The kinds for which kubectl has types of Go. Verbs that work with these refuse every other kind,
//! e.g. those of custom resources, before they look at the object.

use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use api::gostr::quote;
use api::{kinds, schema};
use client::discovery::Resource;

/// Groups whose kinds client-go's scheme has. It has neither CustomResourceDefinitions nor
/// APIServices. Source: `k8s.io/client-go/kubernetes/scheme`.
const GROUPS: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Returns whether client-go's scheme has the kinds of a group.
pub(crate) fn has_group(group: &str) -> bool {
    GROUPS.contains(&group)
}

/// The source line of kubectl's scheme, by which errors name it.
pub(crate) const OF_KUBECTL: &str = "pkg/scheme/scheme.go:28";
/// The source line of client-go's scheme, which `port-forward` uses.
pub(crate) const OF_CLIENT: &str = "k8s.io/client-go/kubernetes/scheme/register.go:84";

/// Go's error for an object, or a list, whose kind is not in the scheme.
fn refusal(resource: &Resource, end: &str, scheme: &str) -> Option<String> {
    let Resource { group, version, kind, .. } = resource;
    (!has_group(group)).then(|| {
        format!(
            "no kind {} is registered for version {} in scheme {}",
            quote(&format!("{kind}{end}")),
            quote(&format!("{group}/{version}")),
            quote(scheme)
        )
    })
}

/// Checks that the scheme has the kind of an object.
///
/// # Errors
/// Go's sentence for one that it does not have.
pub(crate) fn check(info: &Info, scheme: &str) -> Result<(), Fail> {
    refusal(&info.resource, "", scheme).map_or(Ok(()), |why| Err(Fail::Text(why)))
}

/// Removes the fields of an object from a file that Go's struct of its kind does not have. Returns
/// why the object cannot be decoded into that struct.
///
/// Example: a Deployment with `replicas: "3"`.
fn mistyped(info: &mut Info) -> Option<String> {
    let Resource { group, version, kind, .. } = &*info.resource;
    let kind = kinds::find(group, version, kind)?;
    match info.source.is_empty() || info.object.is_null() {
        true => None,
        false => schema::conform(kind, &mut info.object).err(),
    }
}

/// Leaves out objects whose kinds kubectl's scheme does not have, and those of files that are no
/// objects of their kind. The reasons are added to `failures`.
pub(crate) fn known(infos: Vec<Info>, failures: &mut Vec<Fail>) -> Vec<Info> {
    let mut known = vec![];
    for mut info in infos {
        match refusal(&info.resource, "", OF_KUBECTL).or_else(|| mistyped(&mut info)) {
            None => known.push(info),
            Some(why) if info.source.is_empty() => failures.push(Fail::Text(why)),
            Some(why) => {
                failures.push(Fail::Text(format!("unable to decode {}: {why}", quote(&info.source))));
            }
        }
    }
    known
}

/// As [`builder::objects`], without the objects whose kinds kubectl's scheme does not have.
///
/// # Errors
/// Those of [`builder::objects`]; the selection has a whole resource of another kind.
pub(crate) async fn objects(ctx: &Ctx, selection: Selection) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let mut undecoded = vec![];
    let selection = match selection {
        Selection::Objects(infos, unread) => {
            // What a file holds is refused before a request is sent.
            let (of_files, named) = infos.into_iter().partition(|info: &Info| !info.source.is_empty());
            let of_files = known(of_files, &mut undecoded);
            Selection::Objects(of_files.into_iter().chain(named).collect(), unread)
        }
        Selection::Lists(lists) => {
            let why = lists.iter().find_map(|list| refusal(&list.resource, "List", OF_KUBECTL));
            if let Some(why) = why {
                return Err(Fail::Text(why));
            }
            Selection::Lists(lists)
        }
    };
    let (infos, mut failures) = builder::objects(ctx, selection).await?;
    failures.append(&mut undecoded);
    let infos = known(infos, &mut failures);
    Ok((infos, failures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn kinds_of_custom_resources_are_in_no_scheme() {
        let info = |group: &str, kind: &str, source: &str| {
            let resource = Resource {
                group: group.into(),
                version: "v1".into(),
                kind: kind.into(),
                ..Resource::default()
            };
            Info {
                resource: Arc::new(resource),
                namespace: "default".into(),
                name: "my".into(),
                object: serde_json::Value::Null,
                source: source.into(),
            }
        };
        let mut failures = vec![];
        let infos = vec![
            info("", "Pod", ""),
            info("stable.example.com", "CronTab", ""),
            info("stable.example.com", "CronTab", "cr.yaml"),
            info("batch", "Job", "job.yaml"),
            info("apiextensions.k8s.io", "CustomResourceDefinition", ""),
        ];
        let known = known(infos, &mut failures);
        assert_eq!(known.iter().map(|info| info.resource.kind.as_str()).collect::<Vec<_>>(), ["Pod", "Job"]);
        let messages: Vec<String> = failures.iter().map(Fail::message).collect();
        let why = |kind: &str, group: &str| {
            format!(
                "no kind \"{kind}\" is registered for version \"{group}/v1\" in scheme \"pkg/scheme/scheme.go:28\""
            )
        };
        let custom = why("CronTab", "stable.example.com");
        let definition = why("CustomResourceDefinition", "apiextensions.k8s.io");
        assert_eq!(messages, [custom.clone(), format!("unable to decode \"cr.yaml\": {custom}"), definition]);
    }
}

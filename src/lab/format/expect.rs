//! `expect:` of a check: a part of an object in YAML. It is compiled to the expression that an
//! author would write: is there such an object, and does it have this part?
//!
//! Example: `{kind: Deployment, name: web, spec: {replicas: 3}}` becomes
//! `present("Deployment","default","web") && fits(object("Deployment","default","web"),
//! {"spec":{"replicas":3}})`.

use super::compiler::Compiler;
use crate::cel::facts;
use api::kinds::Kind;
use api::schema;
use cluster::guest::LESSON_NAMESPACE;
use serde_json::{Map, Value as Json};

/// The expression for a part of an object; what is wrong with it is noted.
pub(super) fn source(on: &mut Compiler<'_>, mut part: Map<String, Json>) -> Option<String> {
    let kind = kind(on, &mut part)?;
    let ready = match part.remove("ready") {
        None => false,
        Some(Json::Bool(true)) => true,
        Some(_) => {
            on.fault("ready:", "`ready` is true, or it is left out".into());
            false
        }
    };
    let name = own_name(on, &mut part, "name");
    let namespace = own_name(on, &mut part, "namespace");
    if namespace.is_some() && !kind.namespaced {
        on.fault("namespace:", format!("a {} has no namespace", kind.kind));
    }
    if let (Some(name), Some("*")) = (&name, namespace.as_deref()) {
        let what = format!("{name:?} is looked for in one namespace; `*` is for lists without a name");
        on.fault("namespace:", what);
    }
    let namespace = match kind.namespaced {
        true => namespace.unwrap_or_else(|| LESSON_NAMESPACE.into()),
        false => String::new(),
    };
    let wanted = conforming(on, kind, Json::Object(part))?;
    // The name alone, unless another group has a kind of the same name.
    let called = match facts::kind(kind.kind) {
        Some(known) if known.group == kind.group => kind.kind.to_string(),
        _ => format!("{}.{}", kind.kind, kind.group),
    };
    let text = |text: &str| Json::from(text).to_string();
    let tests = |object: &str| {
        let mut tests = match &wanted {
            Json::Object(map) if map.is_empty() => vec![],
            wanted => vec![format!("fits({object}, {wanted})")],
        };
        tests.extend(ready.then(|| format!("ready({object})")));
        tests
    };
    Some(match name {
        Some(name) => {
            let place = format!("{}, {}, {}", text(&called), text(&namespace), text(&name));
            let mut all = vec![format!("present({place})")];
            all.extend(tests(&format!("object({place})")));
            all.join(" && ")
        }
        None => {
            let mut all = tests("one__");
            if all.is_empty() {
                all.push("true".into());
            }
            let list = format!("objects({}, {})", text(&called), text(&namespace));
            format!("{list}.exists(one__, {})", all.join(" && "))
        }
    })
}

/// The kind that `kind` and `apiVersion` name.
fn kind(on: &mut Compiler<'_>, part: &mut Map<String, Json>) -> Option<&'static Kind> {
    let mut word = |key: &str| match part.remove(key)? {
        Json::String(word) => Some(word),
        other => {
            on.fault(&format!("{key}:"), format!("the {key} is a text, not {other}"));
            None
        }
    };
    let (kind, version) = (word("kind"), word("apiVersion"));
    let Some(kind) = kind else {
        on.fault("expect:", "`expect` names the kind of the object: `kind: Pod`".into());
        return None;
    };
    let near = format!("kind: {kind}");
    let Some(known) = facts::kind(&kind) else {
        on.fault(&near, format!("there is no kind {kind:?} here"));
        return None;
    };
    let Some(version) = version else { return Some(known) };
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match facts::kind(&format!("{kind}.{group}")).filter(|kind| kind.api_version() == version) {
        Some(known) => Some(known),
        None => {
            let what = format!("{kind} has the apiVersion {:?}, not {version:?}", known.api_version());
            on.fault(&near, what);
            None
        }
    }
}

/// A name that stands beside the kind or, as in a manifest, in the metadata.
fn own_name(on: &mut Compiler<'_>, part: &mut Map<String, Json>, key: &str) -> Option<String> {
    let outside = part.remove(key);
    let inside = part.get_mut("metadata").and_then(Json::as_object_mut).and_then(|m| m.remove(key));
    if outside.is_some() && inside.is_some() {
        on.fault(&format!("{key}:"), format!("the {key} stands beside the kind and in the metadata"));
    }
    let given = outside.or(inside)?;
    match given.as_str() {
        Some(name) => Some(name.into()),
        None => {
            on.fault(&format!("{key}:"), format!("the {key} is a text, not {given}"));
            None
        }
    }
}

/// The part with values as they are stored (`0.5` of a processor is `500m`).
///
/// A field that the kind does not have, and a value of another type, are noted: no object would
/// ever fit.
fn conforming(on: &mut Compiler<'_>, kind: &Kind, part: Json) -> Option<Json> {
    let mut stored = part.clone();
    match schema::conform(kind, &mut stored) {
        Err(why) => {
            on.fault("expect:", format!("no {} is like this: {why}", kind.kind));
            None
        }
        Ok(unknown) if !unknown.is_empty() => {
            for field in unknown.shown() {
                let last = field.rsplit('.').next().unwrap_or(field);
                on.fault(&format!("{last}:"), format!("a {} has no field {field:?}", kind.kind));
            }
            None
        }
        Ok(_) => Some(canonical(part, &stored)),
    }
}

/// The values of a part as the stored form writes them; `null` stays, which that form leaves out.
fn canonical(part: Json, stored: &Json) -> Json {
    match (part, stored) {
        (Json::Object(map), Json::Object(stored)) => {
            let field = |(key, value): (String, Json)| {
                let like = stored.get(&key).unwrap_or(&Json::Null);
                (key.clone(), canonical(value, like))
            };
            Json::Object(map.into_iter().map(field).collect())
        }
        (Json::Array(items), Json::Array(stored)) if items.len() == stored.len() => {
            items.into_iter().zip(stored).map(|(item, stored)| canonical(item, stored)).collect()
        }
        (part, Json::Null) => part,
        (Json::Null, _) => Json::Null,
        (_, stored) => stored.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::{Facts, Object};
    use crate::cel::{Expr, Use};
    use serde_json::json;
    use std::path::Path;
    use std::sync::Arc;

    fn compiled(part: &str) -> Result<String, Vec<String>> {
        let part: Map<String, Json> = serde_yaml::from_str(part).unwrap();
        let mut faults = vec![];
        let source = source(&mut Compiler::new("", Path::new("f"), &mut faults), part);
        source.filter(|_| faults.is_empty()).ok_or(faults.into_iter().map(|fault| fault.what).collect())
    }

    fn holds(part: &str, objects: &[(&str, Json)]) -> bool {
        let mut facts = Facts::default();
        for kind in ["pods", "deployments.apps", "nodes"] {
            facts.objects.insert(kind.into(), Arc::default());
        }
        for (kind, object) in objects {
            let all = facts.objects.get_mut(*kind).unwrap();
            Arc::make_mut(all).insert(crate::cel::facts::key(object), Object::new(object.clone()));
        }
        let expr = Expr::compile(&compiled(part).unwrap(), Use::Check, &[]).unwrap();
        expr.holds(&Arc::new(facts))
    }

    #[test]
    fn a_part_becomes_an_expression() {
        assert_eq!(
            compiled("{kind: Deployment, name: web, spec: {replicas: 3}}").unwrap(),
            r#"present("Deployment", "default", "web") && fits(object("Deployment", "default", "web"), {"spec":{"replicas":3}})"#
        );
        assert_eq!(compiled("{kind: Node, name: n1}").unwrap(), r#"present("Node", "", "n1")"#);
        assert_eq!(
            compiled("{kind: Pod, metadata: {name: web, namespace: shop}, ready: true}").unwrap(),
            r#"present("Pod", "shop", "web") && fits(object("Pod", "shop", "web"), {"metadata":{}}) && ready(object("Pod", "shop", "web"))"#
        );
        let compiled = Expr::compile(&compiled("{kind: Pod, name: web}").unwrap(), Use::Check, &[]).unwrap();
        assert_eq!(compiled.needed.len(), 1, "a step knows what it builds on");
    }

    #[test]
    fn the_live_object_is_compared_with_the_part() {
        let web = json!({"kind": "Deployment", "metadata": {"namespace": "default", "name": "web",
            "labels": {"app": "web", "tier": "front"}}, "spec": {"replicas": 3}});
        let all = [("deployments.apps", web)];
        for (part, truth) in [
            ("{apiVersion: apps/v1, kind: Deployment, name: web, spec: {replicas: 3}}", true),
            ("{kind: Deployment, name: web, spec: {replicas: 2}}", false),
            ("{kind: Deployment, metadata: {labels: {app: web}}}", true),
            ("{kind: Deployment, metadata: {labels: {app: db}}}", false),
            ("{kind: Deployment, name: db}", false),
            ("{kind: Deployment, namespace: shop, name: web}", false),
            ("{kind: Deployment, namespace: '*', spec: {replicas: 3}}", true),
            ("{kind: Deployment, name: web, spec: {paused: null}}", true),
            ("{kind: Pod}", false),
        ] {
            assert_eq!(holds(part, &all), truth, "{part}");
        }
        let spec =
            |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
        let pod =
            json!({"kind": "Pod", "metadata": {"namespace": "default", "name": "a"}, "spec": spec("500m")});
        let half = "{kind: Pod, name: a, spec: {containers: [{resources: {requests: {cpu: 0.5}}}]}}";
        assert!(holds(half, &[("pods", pod)]), "half a processor is stored as 500m");
    }

    #[test]
    fn what_no_object_can_be_is_refused() {
        for (part, told) in [
            ("{name: web}", "`expect` names the kind"),
            ("{kind: Pood}", "there is no kind \"Pood\" here"),
            ("{apiVersion: v1, kind: Deployment}", "Deployment has the apiVersion \"apps/v1\", not \"v1\""),
            ("{kind: Deployment, spec: {replicaz: 3}}", "a Deployment has no field \"spec.replicaz\""),
            ("{kind: Deployment, spec: {replicas: three}}", "no Deployment is like this"),
            ("{kind: Node, namespace: default}", "a Node has no namespace"),
            ("{kind: Pod, name: a, metadata: {name: b}}", "beside the kind and in the metadata"),
            ("{kind: Pod, name: 3}", "the name is a text, not 3"),
            ("{kind: Pod, apiVersion: 1}", "the apiVersion is a text, not 1"),
            ("{kind: Pod, namespace: '*', name: web}", "`*` is for lists without a name"),
            ("{kind: Pod, ready: maybe}", "`ready` is true, or it is left out"),
        ] {
            let faults = compiled(part).unwrap_err();
            assert!(faults.iter().any(|f| f.contains(told)), "{part}: {faults:?}");
        }
    }
}

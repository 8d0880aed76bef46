//! create ingress: `--rule=host/path=service:port[,tls[=secret]]`.

use super::super::common::{enforced, one_name};
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Host, path, service and port; then perhaps `tls` and a secret. Text behind them is ignored.
static RULE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^([\w*\-.]*)(/.*)=([\w\-]+):([\w\-]+)(,(tls)=?([\w\-]+)?)?").ok());

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let (rules, default) = (ctx.flags.list("rule"), ctx.flags.text("default-backend"));
    if default.is_empty() && rules.is_empty() {
        return text(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)",
        );
    }
    for rule in &rules {
        if !RULE.as_ref().is_some_and(|r| r.is_match(rule)) {
            return text(format!(
                "rule {rule} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
            ));
        }
    }
    let mut annotations = Map::new();
    for annotation in ctx.flags.list("annotation") {
        let Some((key, value)) = annotation.split_once('=') else {
            return text(format!("annotation {annotation} is invalid and should be in format key=[value]"));
        };
        annotations.insert(key.into(), value.into());
    }
    if !default.is_empty() && default.split(':').count() != 2 {
        return text("default-backend should be in format servicename:serviceport");
    }
    let mut meta = json!({"name": name});
    if let Some(namespace) = enforced(ctx)? {
        meta["namespace"] = namespace.into();
    }
    if !annotations.is_empty() {
        meta["annotations"] = annotations.into();
    }
    let object = json!({"kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "metadata": meta,
        "spec": spec(ctx.flags.text("class"), default, &rules), "status": {"loadBalancer": {}}});
    submit(ctx, &within(ctx, "apis/networking.k8s.io/v1", "ingresses")?, object, "ingress: ").await
}

/// The spec of an Ingress, its fields in the order of Go's struct.
fn spec(class: &str, default: &str, rules: &[String]) -> Map<String, Value> {
    let mut spec = Map::new();
    if !class.is_empty() {
        spec.insert("ingressClassName".into(), class.into());
    }
    if !default.is_empty() {
        spec.insert("defaultBackend".into(), backend(default));
    }
    let (tls, rules) = (tls(rules), hosts(rules));
    if !tls.is_empty() {
        spec.insert("tls".into(), tls.into());
    }
    if !rules.is_empty() {
        spec.insert("rules".into(), rules.into());
    }
    spec
}

fn backend(text: &str) -> Value {
    let mut parts = text.split(':');
    let (service, port) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let port = match port.parse::<i32>() {
        Ok(0) => json!({}), // Go's struct leaves it out
        Ok(number) => json!({"number": number}),
        Err(_) => json!({"name": port}),
    };
    json!({"service": {"name": service, "port": port}})
}

/// Rules of one host stand together, in the order in which the hosts were named first.
fn hosts(rules: &[String]) -> Vec<Value> {
    let mut found: Vec<(String, Vec<Value>)> = vec![];
    for rule in rules {
        let rule = rule.split(',').next().unwrap_or(rule);
        let (host, rest) = rule.split_once('/').unwrap_or((rule, ""));
        // A path may contain `=`, too: the service is the first piece with a port. If that is not
        // the second piece, kubectl panics.
        let piece = |sign: usize| rest[sign + 1..].split('=').next().unwrap_or("");
        let mut signs = rest.match_indices('=').map(|(sign, _)| sign);
        let (path, service) = match signs.find(|sign| piece(*sign).contains(':')) {
            Some(sign) => (&rest[..sign], piece(sign)),
            None => (rest, ""),
        };
        let path = format!("/{path}");
        // A star at the end means everything below.
        let (path, kind) = match path.strip_suffix('*') {
            Some(prefix) => (prefix.to_string(), "Prefix"),
            None => (path, "Exact"),
        };
        let path = json!({"path": path, "pathType": kind, "backend": backend(service)});
        match found.iter_mut().find(|(h, _)| h == host) {
            Some((_, paths)) => paths.push(path),
            None => found.push((host.into(), vec![path])),
        }
    }
    let rule = |(host, paths): (String, Vec<Value>)| match host.as_str() {
        "" => json!({"http": {"paths": paths}}),
        host => json!({"host": host, "http": {"paths": paths}}),
    };
    found.into_iter().map(rule).collect()
}

/// One entry a secret, with every host once.
fn tls(rules: &[String]) -> Vec<Value> {
    let (mut seen, mut found): (Vec<&str>, Vec<(&str, Vec<&str>)>) = (vec![], vec![]);
    for rule in rules {
        let parts: Vec<&str> = rule.split(',').collect();
        let [_, tls] = parts.as_slice() else { continue };
        let host = rule.split('/').next().unwrap_or("");
        if seen.contains(&host) {
            continue;
        }
        seen.push(host);
        let secret = tls.split('=').nth(1).unwrap_or("");
        match found.iter_mut().find(|(s, _)| *s == secret) {
            Some((_, hosts)) => hosts.push(host),
            None => {
                let hosts: Vec<&str> = Some(host).filter(|h| !h.is_empty()).into_iter().collect();
                if !hosts.is_empty() || !secret.is_empty() {
                    found.push((secret, hosts));
                }
            }
        }
    }
    let entry = |(secret, hosts): (&str, Vec<&str>)| {
        let mut map = Map::new();
        if !hosts.is_empty() {
            map.insert("hosts".into(), json!(hosts));
        }
        if !secret.is_empty() {
            map.insert("secretName".into(), secret.into());
        }
        Value::Object(map)
    };
    found.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_grouped_by_host_and_secrets() {
        let rules = ["foo.com/*=svc:80,tls=one", "foo.com/a=b:http", "bar.com/=c:81,tls=one", "/x=y:1,tls"];
        let spec = spec("nginx", "", &rules.map(String::from));
        assert_eq!(spec["tls"], json!([{"hosts": ["foo.com", "bar.com"], "secretName": "one"}]));
        let found = spec["rules"].as_array().unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0]["http"]["paths"][0]["pathType"], "Prefix");
        assert_eq!(
            found[0]["http"]["paths"][1]["backend"],
            json!({"service": {"name": "b", "port": {"name": "http"}}})
        );
        assert_eq!(
            found[2],
            json!({"http": {"paths": [{"path": "/x", "pathType": "Exact", "backend": {"service": {"name": "y", "port": {"number": 1}}}}]}})
        );
        let of = |rule: &str| {
            let path = hosts(&[rule.to_string()])[0]["http"]["paths"][0].clone();
            (path["path"].clone(), path["backend"]["service"].clone())
        };
        let service = json!({"name": "s", "port": {"number": 80}});
        assert_eq!(of("a/x=y=s:80"), (json!("/x=y"), service.clone()));
        assert_eq!(of("a/x=s:80=z"), (json!("/x"), service.clone()));
        assert_eq!(of("a/x=s:80=t:81"), (json!("/x"), service), "as in kubectl");
        let port = |text: &str| backend(text)["service"]["port"].clone();
        assert_eq!((port("s:80:81"), port("s:0")), (json!({"number": 80}), json!({})));
        assert!(RULE.as_ref().unwrap().is_match("/=s:80") && !RULE.as_ref().unwrap().is_match("foo=s:80"));
    }
}

//! kustomize: prints the objects of a kustomization.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::kustomize::{build, namespace_of};
use api::value;
use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let folder = match ctx.args.as_slice() {
        [] => ".",
        [one] => one.as_str(),
        _ => return text("specify one path to kustomization.yaml"),
    };
    for flag in ["enable-helm", "enable-alpha-plugins"] {
        if ctx.flags.is(flag) {
            return text(format!("--{flag} is not implemented in ropewalk's built-in kubectl"));
        }
    }
    // `-e` is for functions, programs of a kustomization, which are not run here.
    if ctx.flags.changed("env") {
        return text("--env is not implemented in ropewalk's built-in kubectl");
    }
    let built = build(ctx, folder).await?;
    let output = ctx.flags.text("output");
    match output {
        "" => ctx.out(built.to_yaml()),
        file => {
            let path = ctx.path(file);
            if path.is_dir() {
                let several = spaces(&built.objects).len() > 1;
                for object in &built.objects {
                    let yaml = crate::print::yaml::to_string(object);
                    std::fs::write(path.join(file_name(object, several)), yaml)?;
                }
            } else {
                std::fs::write(&path, built.to_yaml())?;
            }
        }
    }
    Ok(())
}

/// The namespaces of objects that are in one; an object that names none is in `default`.
fn spaces(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().filter_map(namespace_of).collect()
}

/// `apps_v1_deployment_web.yaml`; where objects are in `several` namespaces, their namespace stands
/// before that. (`GroupedByCurrentNamespace` of kustomize.)
fn file_name(object: &Value, several: bool) -> String {
    let part = |path: &str| value::text(object, path).to_lowercase();
    let space = match namespace_of(object) {
        Some(space) if several => format!("{}_", space.to_lowercase()),
        _ => String::new(),
    };
    let version = part("apiVersion").replace('/', "_");
    format!("{space}{version}_{}_{}.yaml", part("kind"), part("metadata.name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    /// An object that names no namespace is in `default`.
    #[tokio::test]
    async fn objects_of_two_namespaces_do_not_share_a_file() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let map = |metadata: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{{metadata}}}}}");
        let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}";
        let [a, b, none] = ["name: c, namespace: a", "name: c, namespace: b", "name: c"].map(map);
        for (name, text) in [("a", a.as_str()), ("b", b.as_str()), ("none", none.as_str()), ("role", role)] {
            std::fs::write(dir.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let (folder, out) = (dir.path().display().to_string(), dir.path().join("out"));
        let [of_a, of_b, of_default] =
            ["a_", "b_", "default_"].map(|space| space.to_string() + "v1_configmap_c.yaml");
        for (resources, maps) in [
            ("a.yaml, b.yaml", vec![of_a.clone(), of_b]),
            ("a.yaml, none.yaml", vec![of_a, of_default]),
            ("none.yaml", vec!["v1_configmap_c.yaml".to_string()]),
        ] {
            let all = format!("resources: [{resources}, role.yaml]\n");
            std::fs::write(dir.path().join("kustomization.yaml"), all).unwrap();
            std::fs::create_dir(&out).unwrap();
            let result = server.kubectl(&["kustomize", &folder, "-o", &out.display().to_string()]).await;
            assert_eq!(result.code, 0, "{result:?}");
            let entries = std::fs::read_dir(&out).unwrap().flatten();
            let found: BTreeSet<String> =
                entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            let role = "rbac.authorization.k8s.io_v1_clusterrole_r.yaml".to_string();
            assert_eq!(found, maps.into_iter().chain([role]).collect::<BTreeSet<String>>(), "{resources}");
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}

//! kustomize: prints what a folder comes to.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::kustomize::build;
use api::value;
use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let shown = match ctx.args.as_slice() {
        [] => ".",
        [one] => one.as_str(),
        _ => return text("specify one path to kustomization.yaml"),
    };
    for flag in ["enable-helm", "enable-alpha-plugins"] {
        if ctx.flags.is(flag) {
            return text(format!("--{flag} is not implemented in ropewalk's built-in kubectl"));
        }
    }
    // Variables for functions, which are programs of a kustomization.
    if ctx.flags.changed("env") {
        return text("--env is not implemented in ropewalk's built-in kubectl");
    }
    let built = build(ctx, shown).await?;
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

/// The namespaces of objects that are in one.
fn spaces(objects: &[Value]) -> BTreeSet<&str> {
    objects.iter().map(|o| value::text(o, "metadata.namespace")).filter(|space| !space.is_empty()).collect()
}

/// `apps_v1_deployment_web.yaml`; where objects are in `several` namespaces, their namespace stands
/// before that.
fn file_name(object: &Value, several: bool) -> String {
    let part = |path: &str| value::text(object, path).to_lowercase();
    let space = match part("metadata.namespace") {
        space if several && !space.is_empty() => format!("{space}_"),
        _ => String::new(),
    };
    let version = part("apiVersion").replace('/', "_");
    format!("{space}{version}_{}_{}.yaml", part("kind"), part("metadata.name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn objects_of_two_namespaces_do_not_share_a_file() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let map = |space: &str| {
            format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c, namespace: {space}}}}}")
        };
        let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}";
        let files = [("a.yaml", map("a")), ("b.yaml", map("b")), ("r.yaml", role.to_string())];
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let all = "resources: [a.yaml, b.yaml, r.yaml]\n";
        std::fs::write(dir.path().join("kustomization.yaml"), all).unwrap();
        let (folder, out) = (dir.path().display().to_string(), dir.path().join("out"));
        std::fs::create_dir(&out).unwrap();
        let said = server.kubectl(&["kustomize", &folder, "-o", &out.display().to_string()]).await;
        assert_eq!(said.code, 0, "{said:?}");
        let entries = std::fs::read_dir(&out).unwrap().flatten();
        let found: BTreeSet<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        let role = "rbac.authorization.k8s.io_v1_clusterrole_r.yaml";
        let want = ["a_v1_configmap_c.yaml", "b_v1_configmap_c.yaml", role].map(String::from);
        assert_eq!(found, BTreeSet::from(want));
    }
}

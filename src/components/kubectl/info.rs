//! One object of a command, and the options with which a verb reads its arguments and files.

use super::ctx::Ctx;
use super::error::Fail;
use super::wire::paths;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;

/// One object that a command is about.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub resource: Arc<Resource>,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    /// As read from the file or the server; null before it was fetched.
    pub object: Value,
    /// The file that the object came from; empty if the command line named it.
    pub source: String,
}

impl Info {
    pub(crate) fn path(&self) -> String {
        paths::object(&self.resource, &self.namespace, &self.name)
    }

    pub(crate) fn collection(&self) -> String {
        paths::collection(&self.resource, &self.namespace)
    }

    /// `deployment.apps/web`
    pub(crate) fn named(&self) -> String {
        format!("{}/{}", self.resource.kind_group(), self.name)
    }

    /// `deployments/web`, as errors and waits name it: without the group, as upstream's
    /// `ObjectName`.
    pub(crate) fn plural_named(&self) -> String {
        format!("{}/{}", self.resource.plural, self.name)
    }

    /// The name of an object in the errors of `set`. With `--local` it is that of Go's type, whose
    /// group ends with a line break there. Source: cli-runtime's `Info.ObjectName`.
    ///
    /// Example: `deployments/web`; with `--local` `deployment.apps/web` and a line break.
    pub(crate) fn name_in_set(&self, local: bool) -> String {
        let kind = self.resource.kind.to_lowercase();
        match (local, self.resource.group.as_str()) {
            (false, _) => self.plural_named(),
            (true, "") => format!("{kind}/{}", self.name),
            (true, group) => format!("{kind}.{group}/{}\n", self.name),
        }
    }

    /// Reads the object again.
    pub(crate) async fn fetch(&mut self, ctx: &Ctx) -> Result<(), Fail> {
        match ctx.api().await?.get(&self.path(), &[]).await {
            Ok(object) => self.object = object,
            Err(fail) => return Err(self.lost(ctx, fail).await),
        }
        Ok(())
    }

    /// Returns the failure for an object that is not there: that of its namespace, if the namespace
    /// is not there either.
    pub(crate) async fn lost(&self, ctx: &Ctx, fail: Fail) -> Fail {
        if !fail.is_not_found() || matches!(self.namespace.as_str(), "" | "default") {
            return fail;
        }
        let Ok(api) = ctx.api().await else { return fail };
        match api.get(&format!("/api/v1/namespaces/{}", paths::segment(&self.namespace)), &[]).await {
            Err(nowhere) if nowhere.is_not_found() => nowhere,
            _ => fail,
        }
    }
}

/// The way in which a verb reads its arguments and files.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// A type alone means all of its objects.
    pub all_by_type: bool,
    /// `--all-namespaces` was given.
    pub all_namespaces: bool,
    /// Files need not be sent to a server, nor their kinds be known there.
    pub local: bool,
    /// Files are validated before they are decoded.
    pub validated: bool,
    /// `--selector` of this verb does not select objects, e.g. that of `expose`, which selects
    /// pods.
    pub other_selector: bool,
    /// `--all` is a selector, which excludes names (`SelectAllParam` of kubectl's builder). Other
    /// verbs ignore it beside names.
    pub all_selects: bool,
    /// The verb works on the server's objects, so `--selector` reads their labels there and not in
    /// the files (`Latest` of kubectl's builder).
    pub latest: bool,
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::Server;
    use serde_json::Value;

    /// Tools write a namespace into every object. Kept, it would differ from the server's object
    /// for ever, and `apply` would say `configured` each time.
    #[tokio::test]
    async fn an_object_of_the_cluster_has_no_namespace() {
        let server = Server::start().await;
        let text = "{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}";
        let result = server.kubectl_in(&["apply", "-f", "-"], text, Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "namespace/a created\n"), "{result:?}");
        let made = server.requests().into_iter().find(|request| request.method == "POST").unwrap().body;
        assert_eq!(made["metadata"]["namespace"], Value::Null, "{made}");
        let applied = made["metadata"]["annotations"].to_string();
        assert!(applied.contains("last-applied") && !applied.contains("namespace\\\""), "{applied}");
    }
}

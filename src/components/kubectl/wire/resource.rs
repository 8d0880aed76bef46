//! One resource of a server.

/// One resource of the server in one version, as discovery describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    /// Names of its subresources.
    pub subresources: Vec<String>,
}

impl Resource {
    /// `deployments.apps`, `pods`
    pub(crate) fn qualified(&self) -> String {
        api::status::qualified(&self.group, &self.plural)
    }
    /// `apps/v1`, `v1`
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }
    /// `deployment.apps`, `pod`: how kubectl names a kind in its answers.
    pub(crate) fn kind_group(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }
    /// True if the resource has this verb (`list`, `patch`).
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

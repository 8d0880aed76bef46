//! The server and the user that the command line, kubeconfig files and environment name.
//!
//! Source: client-go, `tools/clientcmd`.

use super::env::Env;
use super::error::Error;
use super::exec::Plugin;
use super::merged::{Entry, Kubeconfig};
use super::overrides::Overrides;
use super::target::Target;
use super::{entries, in_pod};
use api::value;
use serde_json::json;
use std::path::{Path, PathBuf};

impl Kubeconfig {
    /// Returns the server and the user that the command line, these files and the environment name;
    /// in a pod without a kubeconfig the pod's own cluster. Certificates and keys are read, nothing
    /// is connected.
    ///
    /// # Errors
    /// There is no such context, cluster or user, their entries are incomplete or contradict each
    /// other, one of their files cannot be read, the address is no URL, or the cluster is behind a
    /// proxy, which is not supported. The user has to correct the kubeconfig or the command line.
    pub fn target(&self, env: &Env, overrides: &Overrides) -> Result<Target, Error> {
        self.target_with(env, overrides, Path::new(in_pod::SERVICE_ACCOUNT))
    }

    /// As [`Kubeconfig::target`]. In a pod its service account has its files in `account`.
    ///
    /// # Errors
    /// As [`Kubeconfig::target`].
    pub(super) fn target_with(
        &self,
        env: &Env,
        overrides: &Overrides,
        account: &Path,
    ) -> Result<Target, Error> {
        let (context, cluster, user) = self.entries(overrides)?;
        let server = value::text(&cluster.value, "server");
        let proxy = value::text(&cluster.value, "proxy-url");
        if !proxy.is_empty() {
            return Err(Error::Proxy { cluster: cluster.name, proxy: proxy.into() });
        }
        entries::check(env, &user, &cluster, overrides)?;
        if server.is_empty()
            && value::empty(&user.value, "as")
            && let Some(target) = in_pod::target(env, overrides, &context.value, account)?
        {
            return Ok(target);
        }
        let default = env.vars.get("KUBERNETES_MASTER").filter(|server| !server.is_empty());
        let default = default.map_or("http://localhost:8080", String::as_str);
        let mut target = Target::at(if server.is_empty() { default } else { server })?;
        // The pod in which Ropewalk runs says nothing about the cluster that Ropewalk has started.
        let is_own = env.kubeconfig.is_some() && !self.explicit;
        let of_pod = || in_pod::namespace(env, account).filter(|_| !is_own);
        target.namespace = match value::text(&context.value, "namespace") {
            "" => of_pod().unwrap_or_else(|| "default".into()),
            named => named.into(),
        };
        target.impersonate(overrides, &user.value);
        if target.scheme == "https" {
            secure(&mut target, env, &user, &cluster)?;
        }
        Ok(target)
    }

    /// Returns the context, the cluster and the user, as the command line changes them. What is not
    /// named is empty.
    fn entries(&self, overrides: &Overrides) -> Result<(Entry, Entry, Entry), Error> {
        let empty = |name: &str| Entry { name: name.into(), value: json!({}), file: PathBuf::new() };
        let context_name = match overrides.context.as_str() {
            "" => self.current.as_str(),
            named => named,
        };
        let context = match Kubeconfig::find(&self.contexts, context_name) {
            Some(context) => context.clone(),
            None if context_name.is_empty() => empty(""),
            None => return Err(Error::NoContext(context_name.into())),
        };
        // An entry that only the context names may be missing. Faults then have its name.
        let pick = |list: &[Entry], named: &str, key: &str| -> Option<Entry> {
            let name = if named.is_empty() { value::text(&context.value, key) } else { named };
            match Kubeconfig::find(list, name) {
                Some(entry) => Some(entry.clone()),
                None => named.is_empty().then(|| empty(name)),
            }
        };
        let cluster = pick(&self.clusters, &overrides.cluster, "cluster")
            .ok_or_else(|| Error::NoCluster(overrides.cluster.clone()))?;
        let cluster = entries::cluster(&cluster, overrides);
        let user = pick(&self.users, &overrides.user, "user")
            .ok_or_else(|| Error::NoUser(overrides.user.clone()))?;
        let user = entries::user(&user, overrides);
        Ok((context, cluster, user))
    }
}

/// Writes into the target how the server is verified and who the user is. As in client-go nothing
/// of it counts over plain HTTP, where everybody on the way could read it.
fn secure(target: &mut Target, env: &Env, user: &Entry, cluster: &Entry) -> Result<(), Error> {
    target.insecure = value::flag(&cluster.value, "insecure-skip-tls-verify");
    target.ca_pem = entries::material(env, cluster, "certificate-authority")?;
    if target.insecure && target.ca_pem.is_some() {
        return Err(Error::InsecureWithAuthority);
    }
    let name = value::text(&cluster.value, "tls-server-name");
    target.server_name = Some(name.to_string()).filter(|name| !name.is_empty());
    let certificate = entries::material(env, user, "client-certificate")?;
    // A key without a certificate is not looked at (client-go's
    // `getUserIdentificationPartialConfig`): its file may be missing.
    target.certificate = match certificate {
        Some(certificate) => entries::material(env, user, "client-key")?.map(|key| (certificate, key)),
        None => None,
    };
    if !value::at(&user.value, "auth-provider").is_null() {
        let provider = value::text(&user.value, "auth-provider.name");
        return Err(Error::NoAuthProvider(provider.into()));
    }
    let known = entries::authorization(env, user)?;
    if target.authorization.is_none() {
        target.authorization = known;
        let file = value::text(&user.value, "tokenFile");
        target.token_file = (!file.is_empty()).then(|| env.cwd.join(file));
    }
    // A plugin may ask the user something, or open a browser. It is not asked if the entry already
    // says who the user is (client-go's `UpdateTransportConfig`).
    let is_known = target.authorization.is_some() || target.certificate.is_some();
    target.plugin = Plugin::of(user, cluster, target.ca_pem.as_deref())?.filter(|_| !is_known);
    Ok(())
}

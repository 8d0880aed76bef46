//! kubectl's global flags that count before the kubeconfig.

use crate::flag::Flags;
use client::kubeconfig::Overrides;

/// The values of flags that replace those of the kubeconfig.
pub(crate) fn overrides(flags: &Flags) -> Overrides {
    let text = |name: &str| flags.global(name).to_string();
    Overrides {
        context: text("context"),
        cluster: text("cluster"),
        user: text("user"),
        server: text("server"),
        tls_server_name: text("tls-server-name"),
        certificate_authority: text("certificate-authority"),
        insecure: flags.is_global("insecure-skip-tls-verify"),
        client_certificate: text("client-certificate"),
        client_key: text("client-key"),
        token: text("token"),
        username: text("username"),
        password: text("password"),
        impersonate: text("as"),
        impersonate_uid: text("as-uid"),
        impersonate_groups: flags.list("as-group"),
    }
}

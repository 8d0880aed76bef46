//! Why a kubeconfig leads to no server, in client-go's words.

use api::gostr::{io_error, quote};
use std::io;
use std::path::PathBuf;

/// Why kubeconfig files cannot be read, or name no server that can be asked. The texts are
/// client-go's. The user has to correct the kubeconfig or the command line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The one file that was asked for is absent.
    #[error("stat {0}: no such file or directory")]
    Absent(String),
    /// A kubeconfig is there and cannot be read.
    #[error("error loading config file \"{file}\": {call} {file}: {why}", file = path.display(), call = call(cause), why = io_error(cause))]
    Unreadable {
        /// The kubeconfig, as the command line or `$KUBECONFIG` named it.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A kubeconfig is no YAML, an object of another kind, or one that Go's decoder refuses.
    #[error("error loading config file \"{file}\": {why}", file = path.display())]
    Malformed {
        /// The kubeconfig, as the command line or `$KUBECONFIG` named it.
        path: PathBuf,
        /// Go's message.
        why: String,
    },
    /// No context has this name.
    #[error("Error in configuration: context was not found for specified context: {0}")]
    NoContext(String),
    /// No cluster has the name that was asked for.
    #[error("no server found for cluster {}", quote(.0))]
    NoCluster(String),
    /// No user has the name that was asked for.
    #[error("auth info {} does not exist", quote(.0))]
    NoUser(String),
    /// The cluster is behind a proxy.
    #[error(
        "cluster {} is reached through the proxy {proxy} (proxy-url), which Ropewalk cannot do; remove it with `kubectl config unset clusters.{cluster}.proxy-url`",
        quote(.cluster)
    )]
    Proxy {
        /// The name of the cluster's entry.
        cluster: String,
        /// The proxy's URL.
        proxy: String,
    },
    /// The entries are incomplete or contradict themselves; a sentence for each fault, one at
    /// least.
    #[error("{}", listed(.0))]
    Invalid(Vec<String>),
    /// An authority is given, and no certificate is to be verified.
    #[error("specifying a root certificates file with the insecure flag is not allowed")]
    InsecureWithAuthority,
    /// The server's address is none.
    #[error("host must be a URL or a host:port pair: {}", quote(.0))]
    Address(String),
    /// A file that an entry names cannot be read.
    #[error("{call} {file}: {why}", call = call(cause), why = io_error(cause))]
    File {
        /// As it was named.
        file: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The file that an entry names as that of the user's token is empty.
    #[error("read empty token from file {}", quote(.0))]
    EmptyToken(String),
    /// The user has a token in a file, and a name for HTTP's basic authentication.
    #[error("username/password or bearer token may be set, but not both")]
    TokenAndName,
    /// `KEY-data` is no base64.
    #[error("illegal base64 data in {key}-data: {why}")]
    Base64 {
        /// `client-certificate`, `client-key` or `certificate-authority`.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The user is to be found out by an auth provider (`auth-provider`). There is none of this
    /// name here: client-go's own are gone or are superseded by credential plugins.
    #[error("{}", no_provider(.0))]
    NoAuthProvider(String),
    /// The credential plugin speaks a version of the protocol that is not known here.
    #[error("exec plugin: invalid apiVersion {}", quote(.0))]
    PluginVersion(String),
}

/// Returns why there is no auth provider of a name. Those that client-go once had name what took
/// their place (`plugin/pkg/client/auth`: `gcp_stub.go`, `azure_stub.go`).
fn no_provider(name: &str) -> String {
    let (plugin, page) = match name {
        "gcp" => (
            "\"gke-gcloud-auth-plugin\"",
            "https://cloud.google.com/blog/products/containers-kubernetes/kubectl-auth-changes-in-gke",
        ),
        "azure" => (
            "https://github.com/Azure/kubelogin",
            "https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins",
        ),
        _ => return format!("no Auth Provider found for name {}", quote(name)),
    };
    format!(
        "The {name} auth plugin has been removed.\nPlease use the {plugin} kubectl/client-go credential plugin instead.\nSee {page} for further details"
    )
}

/// Returns the system call that Go names in an error: a directory is opened, and cannot be read.
fn call(cause: &io::Error) -> &'static str {
    if cause.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" }
}

/// Writes one fault as it is, and several as a list.
fn listed(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => {
            let lines: Vec<String> = many.iter().map(|fault| format!("* {fault}")).collect();
            format!("Error in configuration: \n{}", lines.join("\n"))
        }
    }
}

/// Why a credential plugin says of no user who it is, in client-go's words.
#[derive(Debug, thiserror::Error)]
#[error("getting credentials: {0}")]
pub struct PluginError(pub(super) String);

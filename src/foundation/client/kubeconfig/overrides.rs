//! What a command line says instead of the kubeconfig.

/// Values that count before those of the kubeconfig (client-go's `ConfigOverrides`). An empty text
/// was not given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The context, instead of the current one.
    pub context: String,
    /// The name of the cluster's entry, instead of the context's.
    pub cluster: String,
    /// The name of the user's entry, instead of the context's.
    pub user: String,
    /// The server's address.
    pub server: String,
    /// The name that the server's certificate must have.
    pub tls_server_name: String,
    /// A file with the authorities that may have signed the server's certificate.
    pub certificate_authority: String,
    /// The server's certificate is not checked.
    pub insecure: bool,
    /// A file with the user's certificate.
    pub client_certificate: String,
    /// A file with the certificate's key.
    pub client_key: String,
    /// The user's token.
    pub token: String,
    /// The user's name, for HTTP's basic authentication.
    pub username: String,
    /// The password of `username`.
    pub password: String,
    /// The user to act as.
    pub impersonate: String,
    /// The uid of the user to act as.
    pub impersonate_uid: String,
    /// The groups of the user to act as.
    pub impersonate_groups: Vec<String>,
}

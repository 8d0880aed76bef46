//! The server and the user of a program in a pod that has no kubeconfig.

use super::env::Env;
use super::error::Error;
use super::overrides::Overrides;
use super::target::Target;
use api::value;
use serde_json::Value;
use std::path::Path;

/// Files of a pod's service account.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Returns the namespace of a context that names none, in a pod whose service account has its files
/// in `account`: `$POD_NAMESPACE`, else the service account's. It counts also if a kubeconfig names
/// another cluster. `None`: this is no pod, or one without a token. Source: client-go,
/// `DeferredLoadingClientConfig.Namespace`.
pub(super) fn namespace(env: &Env, account: &Path) -> Option<String> {
    let set = |name: &str| env.vars.get(name).filter(|text| !text.is_empty());
    set("KUBERNETES_SERVICE_HOST").and(set("KUBERNETES_SERVICE_PORT"))?;
    if !account.join("token").is_file() {
        return None;
    }
    let of_account = || std::fs::read_to_string(account.join("namespace")).ok();
    let named = set("POD_NAMESPACE").cloned().or_else(|| of_account().map(|text| text.trim().to_string()));
    Some(named.filter(|text| !text.is_empty()).unwrap_or_else(|| "default".into()))
}

/// Returns the target of a client in a pod: its own cluster, as its service account. The command
/// line may name another user by a token, and another authority; the rest of it does not count. The
/// namespace is that of the context, else `$POD_NAMESPACE`, else the service account's. Source:
/// client-go, `inClusterClientConfig`.
///
/// # Errors
/// [`Error::File`]: the file of the other authority cannot be read.
pub(super) fn target(
    env: &Env,
    overrides: &Overrides,
    context: &Value,
    account: &Path,
) -> Result<Option<Target>, Error> {
    let set = |name: &str| env.vars.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let read = |name: &str| std::fs::read_to_string(account.join(name)).map(|text| text.trim().to_string());
    let (Some(host), Some(port), Ok(own)) =
        (set("KUBERNETES_SERVICE_HOST"), set("KUBERNETES_SERVICE_PORT"), read("token"))
    else {
        return Ok(None);
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let token = match overrides.token.as_str() {
        "" => own.as_str(),
        named => named,
    };
    let ca_pem = match overrides.certificate_authority.as_str() {
        "" => std::fs::read(account.join("ca.crt")).ok(),
        file => Some(
            std::fs::read(env.cwd.join(file)).map_err(|cause| Error::File { file: file.into(), cause })?,
        ),
    };
    let namespace = match value::text(context, "namespace") {
        "" => namespace(env, account).unwrap_or_else(|| "default".into()),
        named => named.into(),
    };
    let mut target = Target {
        scheme: "https".into(),
        host: format!("{host}:{port}"),
        ca_pem,
        authorization: Some(format!("Bearer {token}")),
        token_file: overrides.token.is_empty().then(|| account.join("token")),
        namespace,
        ..Target::default()
    };
    target.impersonate(overrides, &Value::Null);
    Ok(Some(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn in_a_pod_the_command_line_names_another_user_and_authority() {
        let account = tempfile::tempdir().unwrap();
        for (name, text) in
            [("token", "own\n"), ("namespace", "ns\n"), ("ca.crt", "own"), ("other.crt", "other")]
        {
            std::fs::write(account.path().join(name), text).unwrap();
        }
        let mut env = Env { cwd: account.path().into(), ..Env::default() };
        let given = |token: &str, authority: &str| Overrides {
            token: token.into(),
            certificate_authority: authority.into(),
            ..Overrides::default()
        };
        let none = Overrides::default();
        let of = |env: &Env, given: &Overrides, context: Value| target(env, given, &context, account.path());
        assert!(of(&env, &none, Value::Null).unwrap().is_none(), "not in a pod");
        for (name, text) in [("KUBERNETES_SERVICE_HOST", "fd00::1"), ("KUBERNETES_SERVICE_PORT", "443")] {
            env.vars.insert(name.into(), text.into());
        }
        let who = |env: &Env, given: &Overrides, context: Value| {
            let target = of(env, given, context).unwrap().unwrap();
            let ca = String::from_utf8(target.ca_pem.clone().unwrap()).unwrap();
            format!("{} {} {ca} {}", target.url(), target.authorization.unwrap(), target.namespace)
        };
        assert_eq!(who(&env, &none, Value::Null), "https://[fd00::1]:443 Bearer own own ns");
        let file = |given: &Overrides| of(&env, given, Value::Null).unwrap().unwrap().token_file;
        assert_eq!(file(&none), Some(account.path().join("token")), "the kubelet renews it");
        assert_eq!(file(&given("them", "")), None);
        let other = given("them", "other.crt");
        assert_eq!(who(&env, &other, Value::Null), "https://[fd00::1]:443 Bearer them other ns");
        assert!(of(&env, &given("", "none.crt"), Value::Null).is_err());
        env.vars.insert("POD_NAMESPACE".into(), "pod".into());
        assert!(who(&env, &none, Value::Null).ends_with(" pod"));
        assert!(who(&env, &none, json!({"namespace": "context"})).ends_with(" context"));
    }
}

//! kubeconfig: which server, as whom, in which namespace.

use super::credential::Plugin;
use super::{entries, in_pod};
use crate::Env;
use crate::error::{Fail, go_io, text};
use crate::parse::Flags;
use api::value;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One named entry and the file it stands in.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub value: Value,
    pub file: PathBuf,
}

/// All kubeconfig files, merged: of entries with one name the first counts.
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    pub clusters: Vec<Entry>,
    pub users: Vec<Entry>,
    pub contexts: Vec<Entry>,
    pub current: String,
    /// Null if no file has any.
    pub preferences: Value,
    /// The files that were asked for, whether they exist or not.
    pub files: Vec<PathBuf>,
    /// One file was named with `--kubeconfig`.
    pub explicit: bool,
}

impl Kubeconfig {
    /// Reads `--kubeconfig`, else `$KUBECONFIG`, else `~/.kube/config`. Files that are absent are
    /// left out, other than that of `--kubeconfig`.
    ///
    /// # Errors
    /// [`Fail::Text`]: the file of `--kubeconfig` is absent, or a file cannot be read or is no
    /// YAML.
    pub fn load(env: &Env, flags: &Flags) -> Result<Kubeconfig, Fail> {
        let explicit = flags.global("kubeconfig");
        if !explicit.is_empty() && !env.cwd.join(explicit).exists() {
            return Err(Fail::Text(format!("stat {explicit}: no such file or directory")));
        }
        Kubeconfig::load_or_new(env, flags)
    }

    /// As [`Kubeconfig::load`], for commands that are going to write it: a file that is named need
    /// not be there yet.
    pub(crate) fn load_or_new(env: &Env, flags: &Flags) -> Result<Kubeconfig, Fail> {
        let explicit = flags.global("kubeconfig");
        let given = env.vars.get("KUBECONFIG").filter(|v| !v.is_empty());
        let mut all = Kubeconfig::default();
        if !explicit.is_empty() {
            all.files = vec![env.cwd.join(explicit)];
            all.explicit = true;
        } else if let Some(file) = &env.kubeconfig {
            all.files = vec![file.clone()];
        } else if let Some(list) = given {
            all.files = list.split(':').filter(|p| !p.is_empty()).map(|p| env.cwd.join(p)).collect();
        } else if let Some(home) = env.vars.get("HOME") {
            all.files = vec![Path::new(home).join(".kube/config")];
        }
        for file in all.files.clone() {
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Fail::Text(format!(
                        "error loading config file \"{0}\": open {0}: {1}",
                        file.display(),
                        go_io(&error)
                    )));
                }
            };
            let parsed = crate::manifest::parse_yaml(&text).map_err(|why| {
                Fail::Text(format!("error loading config file \"{}\": {why}", file.display()))
            })?;
            all.merge(&parsed, &file);
        }
        Ok(all)
    }

    fn merge(&mut self, config: &Value, file: &Path) {
        let add = |into: &mut Vec<Entry>, list: &str, key: &str| {
            for item in value::list(config, list) {
                let name = value::text(item, "name").to_string();
                if !into.iter().any(|e| e.name == name) {
                    into.push(Entry { name, value: value::at(item, key).clone(), file: file.into() });
                }
            }
        };
        add(&mut self.clusters, "clusters", "cluster");
        add(&mut self.users, "users", "user");
        add(&mut self.contexts, "contexts", "context");
        if self.preferences.is_null() {
            self.preferences = value::at(config, "preferences").clone();
        }
        if self.current.is_empty() {
            self.current = value::text(config, "current-context").to_string();
        }
    }

    /// True if no file has a cluster, a user or a context.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.contexts.is_empty() && self.users.is_empty()
    }

    /// The entry of this name.
    pub fn find<'a>(list: &'a [Entry], name: &str) -> Option<&'a Entry> {
        list.iter().find(|e| e.name == name)
    }

    /// The whole as one `v1.Config`, entries sorted by name.
    pub fn to_value(&self) -> Value {
        let list = |entries: &[Entry], key: &str| -> Value {
            let mut sorted: Vec<&Entry> = entries.iter().collect();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            if sorted.is_empty() {
                return Value::Null;
            }
            sorted
                .iter()
                .map(|e| {
                    let mut map = Map::new();
                    map.insert("name".into(), e.name.clone().into());
                    map.insert(key.into(), e.value.clone());
                    Value::Object(map)
                })
                .collect()
        };
        let mut config = json!({
            "kind": "Config", "apiVersion": "v1",
            "clusters": list(&self.clusters, "cluster"),
            "users": list(&self.users, "user"),
            "contexts": list(&self.contexts, "context"),
            "current-context": self.current,
        });
        if self.preferences.as_object().is_some_and(|p| !p.is_empty()) {
            config["preferences"] = self.preferences.clone();
        }
        config
    }
}

/// Where to connect and as whom.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub scheme: String,
    /// `127.0.0.1:6443`
    pub host: String,
    /// Path before `/api`, without a slash at its end.
    pub base: String,
    pub ca_pem: Option<Vec<u8>>,
    pub insecure: bool,
    pub server_name: Option<String>,
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// `Authorization`
    pub authorization: Option<String>,
    pub impersonate: Vec<(String, String)>,
    pub namespace: String,
    /// Whom to ask who the user is: [`Target::authenticated`].
    pub plugin: Option<Plugin>,
}

/// A header that says who the user is, or as whom the user acts.
///
/// # Errors
/// It cannot be sent. Without it the request would be another user's, so it must not be left out.
pub fn identity(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), Fail> {
    let quote = crate::gostr::quote;
    let Ok(header) = HeaderName::try_from(name) else {
        return crate::error::text(format!("net/http: invalid header field name {}", quote(name)));
    };
    // Names may have letters of any script: the bytes are sent as they are.
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) => Ok((header, value)),
        Err(_) => crate::error::text(format!("net/http: invalid header field value for {}", quote(name))),
    }
}

/// A key of `as-user-extra` as a part of a header's name, in which not every character may stand.
fn extra_header(key: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const TOKEN: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'*')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    format!("Impersonate-Extra-{}", utf8_percent_encode(key, TOKEN))
}

fn missing(what: &str, name: &str) -> Fail {
    Fail::Text(format!("{what} {} does not exist", crate::gostr::quote(name)))
}

impl Target {
    /// Some server, as nobody in particular; `host` with or without a port.
    pub fn anybody(scheme: &str, host: &str) -> Target {
        Target { scheme: scheme.into(), host: host.into(), ..Target::default() }
    }

    /// The server and the user that flags, files and environment name; in a pod without a
    /// kubeconfig the pod's own cluster. Certificates and keys are read, nothing is connected.
    ///
    /// # Errors
    /// [`Fail::Plain`] or [`Fail::Text`] in kubectl's words: there is no such context, cluster or
    /// user, their entries are incomplete or contradict each other, one of their files cannot be
    /// read, the address is no URL, or the cluster is behind a proxy, which this kubectl cannot
    /// use. The user has to correct the kubeconfig or the flags.
    pub fn of(env: &Env, flags: &Flags, files: &Kubeconfig) -> Result<Target, Fail> {
        let empty = Entry { name: String::new(), value: json!({}), file: PathBuf::new() };
        let context_name = match flags.global("context") {
            "" => files.current.as_str(),
            named => named,
        };
        let context = match Kubeconfig::find(&files.contexts, context_name) {
            Some(context) => context.clone(),
            None if context_name.is_empty() => empty.clone(),
            None => {
                return Err(Fail::Plain(format!(
                    "Error in configuration: context was not found for specified context: {context_name}"
                )));
            }
        };
        let pick = |list: &[Entry], flag: &str, key: &str, what: &str| -> Result<Entry, Fail> {
            let name = match flags.global(flag) {
                "" => value::text(&context.value, key),
                named => named,
            };
            match Kubeconfig::find(list, name) {
                Some(entry) => Ok(entry.clone()),
                None if !flags.global(flag).is_empty() && what == "cluster" => {
                    text(format!("no server found for cluster {}", crate::gostr::quote(name)))
                }
                None if !flags.global(flag).is_empty() => Err(missing(what, name)),
                None => Ok(empty.clone()),
            }
        };
        let cluster = entries::cluster(&pick(&files.clusters, "cluster", "cluster", "cluster")?, flags);
        let user = entries::user(&pick(&files.users, "user", "user", "auth info")?, flags);
        let server = value::text(&cluster.value, "server");
        let proxy = value::text(&cluster.value, "proxy-url");
        if !proxy.is_empty() {
            return text(format!(
                "cluster {} is reached through the proxy {proxy} (proxy-url), which ropewalk's built-in kubectl cannot do; remove it with `kubectl config unset clusters.{}.proxy-url`, or use another kubectl",
                crate::gostr::quote(&cluster.name),
                cluster.name
            ));
        }
        entries::check(env, &user, &cluster)?;
        if server.is_empty()
            && value::empty(&user.value, "as")
            && let Some(target) =
                in_pod::target(env, flags, &context.value, Path::new(in_pod::SERVICE_ACCOUNT))?
        {
            return Ok(target);
        }
        let default = env.vars.get("KUBERNETES_MASTER").filter(|server| !server.is_empty());
        let default = default.map_or("http://localhost:8080", String::as_str);
        let mut target = Target::at(if server.is_empty() { default } else { server })?;
        target.namespace = match value::text(&context.value, "namespace") {
            "" => "default".into(),
            named => named.into(),
        };
        target.impersonate(flags, &user.value);
        let whom = |(name, _): &(String, String)| name == "Impersonate-User";
        if !target.impersonate.is_empty() && !target.impersonate.iter().any(whom) {
            return text(format!(
                "requesting uid, groups or user-extra for {} without impersonating a user",
                user.name
            ));
        }
        if target.scheme == "https" {
            target.secure(env, &user, &cluster)?;
        }
        Ok(target)
    }

    /// How the server is verified and who the user is. As in client-go nothing of it counts over
    /// plain HTTP, where everybody on the way could read it.
    fn secure(&mut self, env: &Env, user: &Entry, cluster: &Entry) -> Result<(), Fail> {
        self.insecure = value::flag(&cluster.value, "insecure-skip-tls-verify");
        self.ca_pem = entries::material(env, cluster, "certificate-authority")?;
        if self.insecure && self.ca_pem.is_some() {
            return text("specifying a root certificates file with the insecure flag is not allowed");
        }
        let name = value::text(&cluster.value, "tls-server-name");
        self.server_name = Some(name.to_string()).filter(|name| !name.is_empty());
        let certificate = entries::material(env, user, "client-certificate")?;
        let key = entries::material(env, user, "client-key")?;
        self.certificate = certificate.zip(key);
        self.plugin = Plugin::of(user, cluster, self.ca_pem.as_deref())?;
        self.authorization = entries::authorization(env, user)?;
        Ok(())
    }

    /// From the address alone.
    fn at(server: &str) -> Result<Target, Fail> {
        let has_scheme = server.contains("://");
        let with_scheme = if has_scheme { server.to_string() } else { format!("http://{server}") };
        let uri: Option<http::Uri> = with_scheme.parse().ok();
        let Some(uri) = uri.filter(|uri| has_scheme || matches!(uri.path(), "" | "/")) else {
            let shown = crate::gostr::quote(server);
            return text(format!("host must be a URL or a host:port pair: {shown}"));
        };
        let scheme = uri.scheme_str().unwrap_or("http").to_string();
        Ok(Target {
            host: uri.authority().map(|a| a.to_string()).unwrap_or_default(),
            base: uri.path().trim_end_matches('/').to_string(),
            scheme,
            namespace: "default".into(),
            ..Target::default()
        })
    }

    pub(super) fn impersonate(&mut self, flags: &Flags, user: &Value) {
        let name = match flags.global("as") {
            "" => value::text(user, "as"),
            named => named,
        };
        if !name.is_empty() {
            self.impersonate.push(("Impersonate-User".into(), name.into()));
        }
        let uid = match flags.global("as-uid") {
            "" => value::text(user, "as-uid"),
            named => named,
        };
        if !uid.is_empty() {
            self.impersonate.push(("Impersonate-Uid".into(), uid.into()));
        }
        let mut groups = flags.list("as-group");
        if groups.is_empty() {
            let known = value::list(user, "as-groups").iter();
            groups = known.filter_map(|g| g.as_str().map(String::from)).collect();
        }
        self.impersonate.extend(groups.into_iter().map(|group| ("Impersonate-Group".into(), group)));
        for (key, values) in value::map(user, "as-user-extra").into_iter().flatten() {
            for text in values.as_array().into_iter().flatten().filter_map(|v| v.as_str()) {
                self.impersonate.push((extra_header(key), text.into()));
            }
        }
    }

    /// `https://127.0.0.1:6443`
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn flags(line: &str) -> Flags {
        parse::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>()).unwrap().flags
    }

    #[test]
    fn the_first_file_wins_and_flags_win_over_files() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "current-context: one\ncontexts:\n- {name: one, context: {cluster: c, namespace: n1}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1/x/'}}\n").unwrap();
        std::fs::write(&b, "preferences: {colors: true}\ncurrent-context: two\ncontexts:\n- {name: two, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://b:2'}}\nusers:\n- {name: u, user: {token: t}}\n").unwrap();
        let mut env = Env::default();
        env.vars.insert("KUBECONFIG".into(), format!("{}:{}:/nowhere", a.display(), b.display()));
        let of = |line: &str| Target::of(&env, &flags(line), &Kubeconfig::load(&env, &flags(line)).unwrap());
        let one = of("get po").unwrap();
        assert_eq!((one.url().as_str(), one.namespace.as_str()), ("https://a:1/x", "n1"));
        let two = of("get po --context=two").unwrap();
        assert_eq!((two.authorization.as_deref(), two.namespace.as_str()), (Some("Bearer t"), "default"));
        assert!(of("get po --context=no").unwrap_err().message().ends_with("context: no"));
        assert_eq!(of("get po -s localhost:9").unwrap().url(), "http://localhost:9");
        let shown = Kubeconfig::load(&env, &flags("get po")).unwrap().to_value();
        assert_eq!(shown["preferences"], json!({"colors": true}));
    }

    #[test]
    fn a_cluster_behind_a_proxy_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "current-context: x\ncontexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1', proxy-url: 'http://p:3128'}}\n").unwrap();
        let env = Env { kubeconfig: Some(config), ..Env::default() };
        let refused = Target::of(&env, &flags("get po"), &Kubeconfig::load(&env, &flags("get po")).unwrap());
        let why = refused.unwrap_err().message();
        assert!(why.contains("\"c\"") && why.contains("http://p:3128"), "{why}");
    }

    #[test]
    fn an_entry_may_act_as_somebody_and_keep_its_token_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "current-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\nusers:\n- {name: u, user: {tokenFile: token, as: jane, as-uid: \"7\", as-groups: [dev, ops], as-user-extra: {why: [test]}}}\n- {name: v, user: {as-groups: [dev]}}\n").unwrap();
        let env = Env { kubeconfig: Some(config), ..Env::default() };
        let of = |line: &str| Target::of(&env, &flags(line), &Kubeconfig::load(&env, &flags(line)).unwrap());
        let target = of("get po").unwrap();
        assert_eq!(target.authorization.as_deref(), Some("Bearer secret"));
        let told: Vec<String> = target.impersonate.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            told,
            [
                "Impersonate-User=jane",
                "Impersonate-Uid=7",
                "Impersonate-Group=dev",
                "Impersonate-Group=ops",
                "Impersonate-Extra-why=test"
            ]
        );
        let nobody = of("get po --user=v").unwrap_err().message();
        assert_eq!(nobody, "requesting uid, groups or user-extra for v without impersonating a user");
    }

    #[test]
    fn who_acts_is_never_left_out() {
        let (_, value) = identity("Impersonate-User", "김철수").unwrap();
        assert_eq!(value.as_bytes(), "김철수".as_bytes());
        let told = identity("Impersonate-User", "a\nb").unwrap_err().message();
        assert_eq!(told, "net/http: invalid header field value for \"Impersonate-User\"");
        assert_eq!(extra_header("example.org/a b%"), "Impersonate-Extra-example.org%2Fa%20b%25");
        assert!(identity(&extra_header("example.org/a b%"), "x").is_ok());
    }
}

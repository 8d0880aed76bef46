//! What the cluster's kubeconfig says at the moment: for the prompt and for completion.

use base64::Engine as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The current context, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub context: String,
    pub namespace: String,
    /// `https://127.0.0.1:6443`
    pub server: String,
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
}

/// Pure: resolves the current context. What is missing is empty.
pub fn view(config: &Value) -> View {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let find = |list: &str, name: &str, what: &str| -> Value {
        let items = config[list].as_array().into_iter().flatten();
        items.into_iter().find(|i| i["name"] == name).map(|i| i[what].clone()).unwrap_or_default()
    };
    let pem = |v: &Value| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text(v)).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let name = text(&config["current-context"]);
    let context = find("contexts", &name, "context");
    let cluster = find("clusters", &text(&context["cluster"]), "cluster");
    let user = find("users", &text(&context["user"]), "user");
    let namespace = text(&context["namespace"]);
    View {
        context: name,
        namespace: if namespace.is_empty() { "default".into() } else { namespace },
        server: text(&cluster["server"]),
        ca_pem: pem(&cluster["certificate-authority-data"]),
        cert_pem: pem(&user["client-certificate-data"]),
        key_pem: pem(&user["client-key-data"]),
    }
}

/// A kubeconfig that is read again when it has changed.
pub struct Watched {
    path: PathBuf,
    seen: Option<SystemTime>,
    view: View,
}

impl Watched {
    pub fn new(path: &Path) -> Watched {
        Watched { path: path.into(), seen: None, view: View::default() }
    }

    pub fn view(&mut self) -> &View {
        let changed = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if changed != self.seen || changed.is_none() {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            self.view = view(&serde_yaml::from_str(&text).unwrap_or_default());
            self.seen = changed;
        }
        &self.view
    }
}

/// `ropewalk> `, with what differs from the usual in between: `ropewalk (web)> `, `ropewalk (other-context)> `.
pub fn prompt(view: &View, cluster: &str) -> String {
    let usual = format!("ropewalk-{cluster}");
    let context = (view.context != usual && !view.context.is_empty()).then_some(view.context.as_str());
    let namespace = (view.namespace != "default").then_some(view.namespace.as_str());
    match (context, namespace) {
        (None, None) => "ropewalk> ".into(),
        (Some(one), None) | (None, Some(one)) => format!("ropewalk ({one})> "),
        (Some(context), Some(namespace)) => format!("ropewalk ({context}/{namespace})> "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_prompt_shows_only_what_is_unusual() {
        let mut config = json!({
            "current-context": "ropewalk-main",
            "contexts": [{"name": "ropewalk-main", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": "Q0E="}}],
            "users": [{"name": "u", "user": {}}],
        });
        let found = view(&config);
        assert_eq!((found.server.as_str(), found.ca_pem.as_str()), ("https://127.0.0.1:1", "CA"));
        assert_eq!(prompt(&found, "main"), "ropewalk> ");
        assert_eq!(prompt(&found, "two"), "ropewalk (ropewalk-main)> ");
        config["contexts"][0]["context"]["namespace"] = json!("web");
        assert_eq!(prompt(&view(&config), "main"), "ropewalk (web)> ");
        assert_eq!(prompt(&view(&json!(null)), "main"), "ropewalk> ");
    }
}

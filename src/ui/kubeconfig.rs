//! What the cluster's kubeconfig says at the moment: for the prompt and for completion.

use super::prose::harmless;
use client::Client;
use client::kubeconfig::{View, view};
use cluster::Place;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A kubeconfig that is read again when it has changed.
pub(crate) struct Watched {
    path: PathBuf,
    seen: Option<SystemTime>,
    view: View,
}

impl Watched {
    pub(crate) fn new(path: &Path) -> Watched {
        Watched { path: path.into(), seen: None, view: View::default() }
    }

    pub(crate) fn view(&mut self) -> &View {
        let changed = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if changed != self.seen || changed.is_none() {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            self.view = view(&serde_yaml::from_str(&text).unwrap_or_default());
            self.seen = changed;
        }
        &self.view
    }
}

/// `ropewalk> `, with what differs from the usual in between: `ropewalk (web)> `, `ropewalk
/// (other-context)> `.
pub(crate) fn prompt(view: &View, cluster: &str) -> String {
    let usual = format!("ropewalk-{cluster}");
    let context = (view.context != usual && !view.context.is_empty()).then_some(view.context.as_str());
    let namespace = (view.namespace != "default").then_some(view.namespace.as_str());
    let prompt = match (context, namespace) {
        (None, None) => "ropewalk> ".into(),
        (Some(one), None) | (None, Some(one)) => format!("ropewalk ({one})> "),
        (Some(context), Some(namespace)) => format!("ropewalk ({context}/{namespace})> "),
    };
    // A kubeconfig may come from anywhere, and the editor counts the cells of its prompt.
    harmless(&prompt).into_owned()
}

/// A client as the learner's own kubeconfig says; the requests name themselves, so that the
/// map does not show them as the learner's.
pub(crate) fn of_map(place: &Place) -> Option<Client> {
    let text = std::fs::read_to_string(place.kubeconfig()).ok()?;
    view(&serde_yaml::from_str(&text).ok()?).client("ropewalk-map")
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
        config["contexts"][0]["context"]["namespace"] = json!("a\u{1b}[2J\nb");
        assert_eq!(prompt(&view(&config), "main"), "ropewalk (a[2Jb)> ");
    }
}

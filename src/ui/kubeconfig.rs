//! Reads the kubeconfig that kubectl reads in this session now: for the prompt and for completion.

use super::commands::is_stream;
use super::prose::harmless;
use client::Client;
use client::kubeconfig::{Env, Kubeconfig, View, view};
use cluster::Place;
use parking_lot::Mutex;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The kubeconfig that kubectl reads in the session; read again when it has changed. At first that
/// is the cluster's own.
pub(crate) struct Watched(Mutex<Watching>);

struct Watching {
    env: Env,
    /// The files that were read, with the times of their last changes.
    seen: Vec<(PathBuf, Option<SystemTime>)>,
    view: View,
}

impl Watched {
    /// Watches the cluster's own kubeconfig.
    pub(crate) fn new(own: &Path) -> Watched {
        let env = Env { kubeconfig: Some(own.into()), ..Env::default() };
        Watched(Mutex::new(Watching { env, seen: vec![], view: view(&Value::Null) }))
    }

    /// Watches from now on what kubectl reads in this environment: the learner may have exported
    /// `KUBECONFIG`.
    pub(crate) fn follow(&self, env: Env) {
        self.0.lock().env = env;
    }

    /// Returns the current context. It is empty if a file cannot be read, because kubectl does
    /// nothing either then, and if a file is a pipe: the prompt would wait for its content.
    pub(crate) fn view(&self) -> View {
        let mut now = self.0.lock();
        let changed = |file: &Path| std::fs::metadata(file).and_then(|m| m.modified()).ok();
        let files = Kubeconfig::files_of(&now.env).into_iter();
        let found: Vec<_> = files.map(|file| (changed(&file), file)).map(|(at, file)| (file, at)).collect();
        if found != now.seen || found.iter().any(|(_, at)| at.is_none()) {
            let has_stream = found.iter().any(|(file, _)| is_stream(file));
            let read = if has_stream { None } else { Kubeconfig::load(&now.env, "").ok() };
            now.view = view(&read.map_or(Value::Null, |all| all.to_value()));
            now.seen = found;
        }
        now.view.clone()
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

    /// kubectl honours it, so the prompt must not show the context of another file.
    #[test]
    fn an_exported_kubeconfig_is_followed_and_several_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, context: &str, current: &str| {
            let context = json!({"name": context, "context": {"namespace": format!("of-{context}")}});
            let config = json!({"contexts": [context], "current-context": current});
            let file = dir.path().join(name);
            std::fs::write(&file, config.to_string()).unwrap();
            file.display().to_string()
        };
        let (own, jane) = (write("own", "ropewalk-main", "ropewalk-main"), write("jane", "jane", ""));
        let watched = Watched::new(Path::new(&own));
        assert_eq!(prompt(&watched.view(), "main"), "ropewalk (of-ropewalk-main)> ");
        let exported = |value: &str| {
            let vars = [("KUBECONFIG".to_string(), value.to_string())].into();
            Env { vars, cwd: dir.path().into(), ..Env::default() }
        };
        watched.follow(exported(&format!("{jane}:{}", write("kim", "kim", "jane"))));
        assert_eq!(prompt(&watched.view(), "main"), "ropewalk (jane/of-jane)> ");
        watched.follow(exported("kim"));
        assert_eq!(watched.view().context, "jane", "a relative path");
        assert_eq!(watched.view().namespace, "default", "it has no such context");
        watched.follow(exported("/no/such/file"));
        assert_eq!(watched.view(), View { namespace: "default".into(), ..View::default() });
        watched.follow(Env { kubeconfig: Some(own.into()), ..Env::default() });
        assert_eq!(watched.view().context, "ropewalk-main");
    }

    /// `mkfifo pipe; export KUBECONFIG=pipe`: there would be no prompt any more.
    #[test]
    fn a_pipe_is_not_waited_for_and_a_damaged_file_shows_no_context() {
        let dir = tempfile::tempdir().unwrap();
        let [pipe, damaged] = ["pipe", "damaged"].map(|name| dir.path().join(name));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(&damaged, "{").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for file in [pipe, damaged] {
                drop(tell.send(prompt(&Watched::new(&file).view(), "main"))); // the test may have ended
            }
        });
        for _ in 0..2 {
            let shown = told.recv_timeout(std::time::Duration::from_secs(60));
            assert_eq!(shown.as_deref(), Ok("ropewalk> "));
        }
    }
}

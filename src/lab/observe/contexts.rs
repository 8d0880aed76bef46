//! The contexts of the learner's kubeconfig: the file that `KUBECONFIG` names in every terminal of
//! the cluster, so a change in a second terminal is seen, too.

use super::probe::no_answer;
use crate::cel::value;
use cel::Value;
use serde_json::Value as Json;
use std::path::Path;

/// A namespace that no context names.
const DEFAULT: &str = "default";

/// Reads a kubeconfig's contexts. A file that is gone has none; one that cannot be read is no
/// answer.
pub(super) async fn of(kubeconfig: &Path) -> Value {
    match tokio::fs::read_to_string(kubeconfig).await {
        Ok(text) => contexts_in(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => value::list(vec![]),
        Err(error) => no_answer(&error.to_string()),
    }
}

/// Returns `name, cluster, user, namespace, current` of each context. kubectl uses the namespace
/// `default` where the context names none.
fn contexts_in(text: &str) -> Value {
    let config: Json = match serde_yaml::from_str(text) {
        Ok(config) => config,
        Err(error) => return no_answer(&error.to_string()),
    };
    let current = config["current-context"].as_str().unwrap_or_default();
    let one = |context: &Json| {
        let text = |value: &Json| value::text(value.as_str().unwrap_or_default());
        let inner = &context["context"];
        let namespace = inner["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(DEFAULT);
        let name = context["name"].as_str().unwrap_or_default();
        value::map([
            ("name", value::text(name)),
            ("cluster", text(&inner["cluster"])),
            ("user", text(&inner["user"])),
            ("namespace", value::text(namespace)),
            ("current", Value::Bool(!name.is_empty() && name == current)),
        ])
    };
    value::list(config["contexts"].as_array().map_or(vec![], |all| all.iter().map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::str_field;
    use crate::cel::{Expr, Facts, Probe, Use};
    use std::sync::Arc;

    const CONFIG: &str = "
current-context: main
contexts:
- {name: main, context: {cluster: one, user: learner, namespace: staging}}
- {name: other, context: {cluster: two, user: kim}}
";

    #[tokio::test]
    async fn a_check_sees_the_contexts_of_the_learner_s_kubeconfig() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        assert_eq!(of(&file).await, value::list(vec![]), "it is gone");
        std::fs::write(&file, CONFIG).unwrap();
        let answers = [(Probe::Contexts, of(&file).await)].into();
        let facts = Arc::new(Facts { answers, ..Facts::default() });
        let holds = |source: &str| {
            let expr = Expr::compile(source, Use::Check, &[]).unwrap();
            assert!(expr.is_level() && expr.is_probe());
            expr.holds(&facts)
        };
        assert!(holds("contexts().exists(c, c.current && c.name == 'main' && c.namespace == 'staging')"));
        assert!(holds("contexts().exists(c, !c.current && c.user == 'kim' && c.namespace == 'default')"));
        assert!(!holds("contexts().exists(c, c.current && c.cluster == 'two')"));
        std::fs::write(&file, "contexts: [").unwrap();
        let broken = of(&file).await;
        assert_ne!(str_field(&broken, "error"), "", "neither so nor not so");
    }
}

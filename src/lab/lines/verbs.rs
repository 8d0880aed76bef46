//! What each verb of kubectl does to a cluster: the one table that all questions about a verb ask.
//!
//! Example: `rollout undo` changes objects that it names, and `rollout status` looks at them. So a
//! way back takes back the namespace of the first one, and the setup of a lesson may have the
//! second one without a question whether it takes something away.

use kubectl::table::Verb;

/// What a verb does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Changes objects by a manifest: `apply`, `replace`. A trial (`--dry-run=server`) shows how.
    Applies,
    /// Changes objects that it names: `label`, `set image`. A trial shows how.
    Changes,
    /// Changes nodes: `cordon`. No namespace has these.
    ChangesNodes,
    /// Reads or writes a kubeconfig. No object changes, but lines behind it may be about another
    /// namespace.
    Configures,
    /// Makes objects of the kind that it names (`create role`), or those of a manifest.
    Creates,
    /// Gives a pod a container, or makes a copy of the pod.
    Debugs,
    /// Deletes objects that it names, or those of a manifest.
    Deletes,
    /// Changes objects that it names to what a person writes in an editor, so no trial shows how.
    Edits,
    /// Makes an object whose kind the verb decides: `run` a Pod, `expose` a Service.
    Generates,
    /// Does nothing by itself: what it does depends on the verb below it. Where a shell has yet to
    /// fill that in (`rollout $DO`), it may be any of them.
    Holds,
    /// Changes nothing: it asks the server, or prints what it knows itself.
    Looks,
    /// Reaches what is inside of a pod or behind the API server: `exec`, `proxy`. What comes of it
    /// is not in the line.
    Reaches,
    /// Approves or denies signing requests. No namespace has these.
    Signs,
    /// Changes objects that it names, in a way that its trial does not show: `scale`,
    /// `rollout undo`.
    Steers,
}

impl Act {
    /// Returns what a verb does. `None`: the verb has no row, so nothing is known about it.
    pub(crate) fn of(verb: &Verb) -> Option<Act> {
        VERBS.iter().find(|(path, _)| *path == verb.path).map(|(_, act)| *act)
    }
}

/// Every verb by its path, in alphabetical order; the first is `kubectl` itself.
const VERBS: &[(&str, Act)] = &[
    ("", Act::Holds),
    ("annotate", Act::Changes),
    ("api-resources", Act::Looks),
    ("api-versions", Act::Looks),
    ("apply", Act::Applies),
    ("apply edit-last-applied", Act::Edits),
    ("apply set-last-applied", Act::Applies),
    ("apply view-last-applied", Act::Looks),
    ("attach", Act::Reaches),
    ("auth", Act::Holds),
    ("auth can-i", Act::Looks),
    ("auth reconcile", Act::Applies),
    ("auth whoami", Act::Looks),
    ("autoscale", Act::Generates),
    ("certificate", Act::Signs), // nothing below it does anything else
    ("certificate approve", Act::Signs),
    ("certificate deny", Act::Signs),
    ("cluster-info", Act::Looks),
    ("cluster-info dump", Act::Looks),
    ("completion", Act::Looks),
    ("config", Act::Configures),
    ("config current-context", Act::Configures),
    ("config delete-cluster", Act::Configures),
    ("config delete-context", Act::Configures),
    ("config delete-user", Act::Configures),
    ("config get-clusters", Act::Configures),
    ("config get-contexts", Act::Configures),
    ("config get-users", Act::Configures),
    ("config rename-context", Act::Configures),
    ("config set", Act::Configures),
    ("config set-cluster", Act::Configures),
    ("config set-context", Act::Configures),
    ("config set-credentials", Act::Configures),
    ("config unset", Act::Configures),
    ("config use-context", Act::Configures),
    ("config view", Act::Configures),
    ("cordon", Act::ChangesNodes),
    ("cp", Act::Reaches),
    ("create", Act::Creates),
    ("create clusterrole", Act::Creates),
    ("create clusterrolebinding", Act::Creates),
    ("create configmap", Act::Creates),
    ("create cronjob", Act::Creates),
    ("create deployment", Act::Creates),
    ("create ingress", Act::Creates),
    ("create job", Act::Creates),
    ("create namespace", Act::Creates),
    ("create poddisruptionbudget", Act::Creates),
    ("create priorityclass", Act::Creates),
    ("create quota", Act::Creates),
    ("create role", Act::Creates),
    ("create rolebinding", Act::Creates),
    ("create secret", Act::Creates),
    ("create secret docker-registry", Act::Creates),
    ("create secret generic", Act::Creates),
    ("create secret tls", Act::Creates),
    ("create service", Act::Creates),
    ("create service clusterip", Act::Creates),
    ("create service externalname", Act::Creates),
    ("create service loadbalancer", Act::Creates),
    ("create service nodeport", Act::Creates),
    ("create serviceaccount", Act::Creates),
    ("create token", Act::Creates),
    ("debug", Act::Debugs),
    ("delete", Act::Deletes),
    ("describe", Act::Looks),
    ("diff", Act::Looks),
    ("drain", Act::ChangesNodes),
    ("edit", Act::Edits),
    ("events", Act::Looks),
    ("exec", Act::Reaches),
    ("explain", Act::Looks),
    ("expose", Act::Generates),
    ("get", Act::Looks),
    ("help", Act::Looks),
    ("kustomize", Act::Looks),
    ("label", Act::Changes),
    ("logs", Act::Looks),
    ("options", Act::Looks),
    ("patch", Act::Changes),
    ("plugin", Act::Looks),
    ("plugin list", Act::Looks),
    ("port-forward", Act::Reaches),
    ("proxy", Act::Reaches),
    ("replace", Act::Applies),
    ("rollout", Act::Holds),
    ("rollout history", Act::Looks),
    ("rollout pause", Act::Steers),
    ("rollout restart", Act::Steers),
    ("rollout resume", Act::Steers),
    ("rollout status", Act::Looks),
    ("rollout undo", Act::Steers),
    ("run", Act::Generates),
    ("scale", Act::Steers),
    ("set", Act::Holds),
    ("set env", Act::Changes),
    ("set image", Act::Changes),
    ("set resources", Act::Changes),
    ("set selector", Act::Changes),
    ("set serviceaccount", Act::Changes),
    ("set subject", Act::Changes),
    ("taint", Act::ChangesNodes),
    ("top", Act::Looks),
    ("top node", Act::Looks),
    ("top pod", Act::Looks),
    ("uncordon", Act::ChangesNodes),
    ("version", Act::Looks),
    ("wait", Act::Looks),
];

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl::table;

    /// A verb that the built-in kubectl learns needs a row, and a row needs its verb.
    #[test]
    fn each_verb_of_kubectl_has_one_row() {
        let rows: Vec<&str> = VERBS.iter().map(|(path, _)| *path).collect();
        let mut verbs: Vec<&str> = table::all().iter().map(|verb| verb.path).collect();
        verbs.sort_unstable();
        assert_eq!(rows, verbs);
        assert!(table::all().iter().all(|verb| Act::of(verb).is_some()));
    }

    /// What stands below a verb that only looks is not asked about by itself where a shell has yet
    /// to fill it in.
    #[test]
    fn below_a_verb_that_only_looks_there_is_no_other() {
        for verb in table::all().iter().filter(|verb| Act::of(verb) == Some(Act::Looks)) {
            let below: Vec<_> = verb.children().map(|child| (child.path, Act::of(child))).collect();
            assert!(below.iter().all(|(_, act)| *act == Some(Act::Looks)), "{}: {below:?}", verb.path);
        }
    }
}

//! What a lesson is about: the objects that its lines make, delete or change.

use super::{key, kind_of, namespace_of, naming, of_lesson, parsed, parts_of};
use crate::format::Lesson;
use crate::lines::{self, Act};
use kubectl::parse::Parsed;
use std::collections::BTreeSet;

/// Keys of the objects that the lines of a lesson's setup and solutions make, delete or change.
///
/// Example: control-tower/11 patches the DaemonSet `kube-proxy`, which is the cluster's. To go back
/// in that lesson takes nothing of the learner's own there.
pub(crate) fn touched(lesson: &Lesson) -> BTreeSet<String> {
    let lines = parts_of(lesson).flat_map(|lines| lines::commands(lines));
    let changed = lines.filter_map(|(line, _)| parsed(&line)).flat_map(|parsed| changed(&parsed));
    changed.chain(of_lesson(lesson)).collect()
}

/// Keys of the objects that a command changes and names, with their kinds, in its arguments. Those
/// that its manifest names are not among them.
fn changed(parsed: &Parsed) -> Vec<String> {
    let changes = matches!(Act::of(parsed.verb), Some(Act::Changes | Act::Edits | Act::Steers));
    if !changes || parsed.flags.changed("filename") {
        return vec![];
    }
    let namespace = namespace_of(parsed);
    let named = |kind: &str, name: &str| {
        let kind = kind_of(kind)?;
        Some(key(&kind.qualified(), if kind.namespaced { namespace } else { "" }, name))
    };
    let mut words = naming(&parsed.args).peekable();
    if words.peek().is_some_and(|first| first.contains('/')) {
        return words
            .filter_map(|word| word.split_once('/'))
            .filter_map(|(kind, name)| named(kind, name))
            .collect();
    }
    let Some(kind) = words.next() else { return vec![] };
    words.filter_map(|name| named(kind, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Library;

    #[test]
    fn what_a_command_changes_is_named() {
        for (line, named) in [
            (
                "kubectl patch daemonset kube-proxy -n kube-system -p '{}'",
                "daemonsets.apps/kube-system/kube-proxy",
            ),
            ("-k scale deploy/web -n shop --replicas=3", "deployments.apps/shop/web"),
            ("kubectl label node n1 n2 a=b c-", "nodes//n1 nodes//n2"),
            ("kubectl set image deployment site nginx=nginx:1.26", "deployments.apps/default/site"),
            ("kubectl rollout undo ds/kube-proxy -n kube-system", "daemonsets.apps/kube-system/kube-proxy"),
            ("timeout 5 kubectl scale deployment web --replicas=3", "deployments.apps/default/web"),
            ("kubectl edit deployment web", "deployments.apps/default/web"),
            ("kubectl apply edit-last-applied deploy/web -n shop", "deployments.apps/shop/web"),
            ("kubectl apply view-last-applied deploy/web -n shop", ""),
            ("kubectl rollout status deployment site", ""),
            ("kubectl get daemonset kube-proxy -n kube-system", ""),
            ("kubectl label pods -l a=b c=d", ""),
        ] {
            let found = parsed(line).map(|parsed| changed(&parsed)).unwrap_or_default();
            assert_eq!(found.join(" "), named, "{line}");
        }
    }

    /// `goto` asked whether the DaemonSet, which the lesson patches, may be changed back.
    #[test]
    fn what_a_lesson_patches_is_its_own_to_change_back() {
        let library = Library::built_in();
        let lesson = library.get("control-tower/11").unwrap();
        let proxy = "daemonsets.apps/kube-system/kube-proxy";
        assert!(touched(lesson).contains(proxy));
        assert!(!of_lesson(lesson).contains(proxy), "no line of it makes the DaemonSet");
        assert!(touched(lesson).is_superset(&of_lesson(lesson)));
    }
}

//! The users behind requests: persons, components and accounts, as far as a user's name shows it.

/// The person at the keyboard: the user of the cluster's kubeconfig.
pub const LEARNER: &str = "learner";
/// Sets lessons and labs up and judges them. What it does is never taken for the learner's doing.
pub const TEACHER: &str = "teacher";
/// The cluster's own administrator: makes what a fresh cluster has, and keeps it.
pub const ADMIN: &str = "kubernetes-admin";

/// The user name of a node's kubelet begins with this.
pub const NODE: &str = "system:node:";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Returns true for a user whose acts count as a person's and can be undone: neither a component
/// nor a service account (`system:…`), nor the administrator, nor the teacher.
pub fn is_person(user: &str) -> bool {
    !user.is_empty() && !user.starts_with("system:") && user != TEACHER && user != ADMIN
}

/// Returns whether the user is one of the cluster's own components. A change by any other user was
/// wanted by a person, who made it under some name or started the program that made it.
pub fn is_component(user: &str) -> bool {
    // Of the service accounts in kube-system only these two are used by addons: kube-proxy has a
    // user of its own. What another one does, a person wanted.
    const NAMES: [&str; 7] = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:kube-proxy",
        "system:serviceaccount:kube-system:coredns",
        "system:serviceaccount:kube-system:storage-provisioner",
        ADMIN,
    ];
    NAMES.contains(&user) || user.starts_with(NODE)
}

/// Returns the user who sent a request: the impersonator, if there is one.
pub fn actor<'a>(user: &'a str, impersonator: &'a str) -> &'a str {
    if impersonator.is_empty() { user } else { impersonator }
}

/// Returns the account that pays for a request: of bounds, of steps that can be undone, of records.
/// It is the actor's. All service accounts of a namespace have one account together, because their
/// names cost nothing: a client that may make one may make a thousand.
pub fn account(user: &str, impersonator: &str) -> String {
    let actor = actor(user, impersonator);
    match actor.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, _)) => format!("system:serviceaccounts:{namespace}"),
        None => actor.to_string(),
    }
}

/// Returns whether a subresource leads to something beside the API server that goes on: a command
/// in a container, a port, another server. Then also a GET is an act, and nothing is only tried.
pub fn is_connection(subresource: &str) -> bool {
    matches!(subresource, "exec" | "attach" | "portforward" | "proxy")
}

/// The value of the header `Kubectl-Watch` for `kubectl get --watch-only`.
pub const WATCH_ONLY: &str = "only";
/// [`Answer::unseen`](crate::Answer::unseen) of an answer that kubectl did not print.
pub const UNPRINTED: &str = "unprinted";

/// Returns where kubectl's output went if the learner did not see it, from its headers
/// `Kubectl-Watch` and `Kubectl-Unseen`. With `--watch-only` it prints what changes, and nothing of
/// the list or object that it reads first.
///
/// ```text
/// kubectl get pods --watch-only      list unprinted, watch ""
/// kubectl get pods -w > /dev/null    list null, watch null
/// ```
pub fn unseen<'a>(verb: &str, watch: &str, unseen: &'a str) -> &'a str {
    if watch == WATCH_ONLY && verb != "watch" { UNPRINTED } else { unseen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_before_watch_only_is_not_printed() {
        assert_eq!(unseen("list", WATCH_ONLY, ""), UNPRINTED);
        assert_eq!(unseen("get", WATCH_ONLY, "file"), UNPRINTED);
        assert_eq!(unseen("watch", WATCH_ONLY, "file"), "file");
        assert_eq!((unseen("list", "true", ""), unseen("list", "", "null")), ("", "null"));
    }

    #[test]
    fn who_takes_another_name_has_still_acted() {
        let request = |user: &str, impersonator: &str| {
            let (user, impersonator) = (user.into(), impersonator.into());
            crate::Request { user, impersonator, ..crate::Request::default() }
        };
        assert!(request(TEACHER, LEARNER).is_persons() && request("system:node:n", "jane").is_persons());
        assert!(!request("jane", TEACHER).is_persons() && !request(TEACHER, "").is_persons());
    }

    #[test]
    fn who_is_no_component_has_wanted_it_so() {
        for other in [
            TEACHER,
            LEARNER,
            "",
            "system:serviceaccount:shop:robot",
            "system:serviceaccount:kube-system:robot",
            "system:serviceaccount:kube-system:coredns2",
            "system:masters",
            "system:x",
        ] {
            assert!(!is_component(other), "{other}");
        }
        for own in ["system:node:n", ADMIN, "system:serviceaccount:kube-system:coredns"] {
            assert!(is_component(own), "{own}");
        }
    }

    #[test]
    fn components_the_administrator_and_the_teacher_are_no_persons() {
        assert!(is_person(LEARNER) && is_person("jane"));
        for other in ["", TEACHER, ADMIN, "system:node:n", "system:serviceaccount:default:default"] {
            assert!(!is_person(other), "{other}");
        }
    }
}

//! Flows: how important a request is, and on whose account it counts.
//!
//! The levels are those of upstream's default FlowSchemas, somewhat fewer: `exempt` for
//! administrators, `leader-election` and `node-high` for what must never wait, `workload-high` for
//! the control plane, `system` for kubelets, and one for all other users. Each level has places of
//! its own ([`super::bounds`]), so a flood on one of them takes nothing from the others; on a level
//! an account has a part of the places, so no account takes all.
//!
//! An account is not a user name, because names cost nothing where the namespace's editor makes
//! ServiceAccounts: all ServiceAccounts of a namespace are one account, and so are all anonymous
//! clients. Example: `system:serviceaccount:shop:web` and
//! `system:serviceaccount:shop:cron` share the account `system:serviceaccounts:shop`.

use crate::auth::user::{MASTERS, User};
use crate::request::info::Info;
use tap::account;

/// The users of the control plane's own components, by the names in their certificates.
const CONTROL_PLANE: [&str; 4] =
    ["system:apiserver", "system:kube-controller-manager", "system:kube-proxy", "system:kube-scheduler"];
/// The account of all clients that showed neither certificate nor token.
const ANONYMOUS: &str = "system:anonymous";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The importance of a client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Administrators (`system:masters`): no bound holds for them, as upstream.
    Exempt,
    /// The components of the control plane.
    Control,
    /// Kubelets.
    Nodes,
    /// ServiceAccounts of kube-system: the cluster's addons, and every other pod there.
    Addons,
    /// All other users, anonymous ones among them.
    Users,
}

/// A client as the bounds see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub level: Level,
    /// Empty on the exempt level.
    pub account: String,
}

impl Flow {
    /// Returns the flow of a user. Impersonation (`--as`) gives no other account and no higher
    /// level: the caller pays, as a user.
    pub(crate) fn of(user: &User) -> Flow {
        if !user.impersonator.is_empty() {
            return Flow { level: Level::Users, account: account(&user.name, &user.impersonator) };
        }
        if user.is_in(MASTERS) {
            return Flow { level: Level::Exempt, account: String::new() };
        }
        let level = match namespace(&user.name) {
            Some("kube-system") => Level::Addons,
            Some(_) => Level::Users,
            None if CONTROL_PLANE.contains(&&*user.name) => Level::Control,
            None if user.node().is_some() => Level::Nodes,
            None => Level::Users,
        };
        Flow { level, account: account(&user.name, "") }
    }

    /// Returns the number of places out of `all` that this account may have at most
    /// ([`super::pool`] says how several accounts share).
    ///
    /// Half of them; a node a quarter, so that one node's stolen certificate leaves three quarters
    /// to the other nodes; all anonymous clients together an eighth. The addons are one account,
    /// the only one on their level.
    pub(crate) fn share(&self, all: usize) -> usize {
        match self.level {
            Level::Exempt | Level::Addons => all,
            Level::Nodes => all.div_ceil(4),
            Level::Control => all.div_ceil(2),
            Level::Users if self.account == ANONYMOUS => all.div_ceil(8),
            Level::Users => all.div_ceil(2),
        }
    }

    /// Returns whether this request must not wait behind other requests of the same client: the
    /// renewal of a Lease by the control plane or a kubelet, and a kubelet's status of its own
    /// Node. Upstream: the levels `leader-election` and `node-high`.
    pub(crate) fn is_heartbeat(&self, info: &Info) -> bool {
        match self.level {
            Level::Control | Level::Nodes if info.verb == "watch" => false,
            Level::Control => info.resource == "leases",
            Level::Nodes => {
                info.resource == "leases"
                    || info.resource == "nodes" && matches!(&*info.subresource, "" | "status")
            }
            Level::Exempt | Level::Addons | Level::Users => false,
        }
    }
}

/// Returns the namespace of a service account, by its user name.
fn namespace(user: &str) -> Option<&str> {
    user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':').map(|(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::NODES;

    #[test]
    fn names_that_cost_nothing_are_one_account() {
        let of = |namespace: &str, name: &str| Flow::of(&User::service_account(namespace, name));
        assert_eq!(of("shop", "a"), of("shop", "b"));
        assert_ne!(of("shop", "a").account, of("other", "a").account);
        assert_eq!(of("kube-system", "default").level, Level::Addons);
        let nobody = Flow::of(&User::anonymous());
        assert_eq!((nobody.level, nobody.share(80)), (Level::Users, 10));
        // Another name by impersonation is the same account, and never a higher level.
        for name in ["system:kube-scheduler", "jane"] {
            let taken =
                User { impersonator: "system:serviceaccount:shop:a".into(), ..User::new(name, &[MASTERS]) };
            assert_eq!(Flow::of(&taken), of("shop", "a"), "{name}");
        }
    }

    #[test]
    fn the_control_plane_and_nodes_have_levels_of_their_own() {
        let level = |name: &str, groups: &[&str]| Flow::of(&User::new(name, groups)).level;
        assert_eq!(level("learner", &[MASTERS]), Level::Exempt);
        assert_eq!(level("system:kube-scheduler", &[]), Level::Control);
        assert_eq!(level("system:node:n1", &[NODES]), Level::Nodes);
        // A name that only looks like one, and a name or a group without the other.
        for (name, groups) in [
            ("system:kube-anything", &[][..]),
            ("system:node:n1", &[]),
            ("jane", &[NODES]),
            ("system:serviceaccount:kube-system", &[]),
        ] {
            assert_eq!(level(name, groups), Level::Users, "{name}");
        }
        let node = |name: &str| Flow::of(&User::new(name, &[NODES]));
        assert_ne!(node("system:node:n1").account, node("system:node:n2").account);
        assert_eq!(node("system:node:n1").share(80), 20);
    }

    #[test]
    fn only_those_who_keep_the_cluster_alive_have_heartbeats() {
        let info = |verb: &str, resource: &str, subresource: &str| Info {
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            is_resource: true,
            ..Info::default()
        };
        let scheduler = Flow::of(&User::new("system:kube-scheduler", &[]));
        let kubelet = Flow::of(&User::new("system:node:n1", &[NODES]));
        let bob = Flow::of(&User::new("bob", &[]));
        for (flow, request, is) in [
            (&scheduler, info("update", "leases", ""), true),
            (&scheduler, info("get", "leases", ""), true),
            (&scheduler, info("watch", "leases", ""), false),
            (&scheduler, info("update", "nodes", "status"), false),
            (&kubelet, info("patch", "nodes", "status"), true),
            (&kubelet, info("update", "leases", ""), true),
            (&kubelet, info("get", "nodes", "proxy"), false),
            (&kubelet, info("patch", "pods", "status"), false),
            (&bob, info("update", "leases", ""), false),
        ] {
            assert_eq!(flow.is_heartbeat(&request), is, "{flow:?} {request:?}");
        }
    }
}

//! The verbs, for every kind, and the kinds that need more than a table entry.
//!
//! | file | part |
//! |---|---|
//! | `read`, `list_past`, `listing`, `watch`, `filter` | get, list, a list at an earlier revision, watch, and their selectors |
//! | `write` | create, update, patch, server-side apply |
//! | `delete` | delete and deletecollection |
//! | `scale`, `replicas` | the replicas of an object, in the same form for every kind |
//! | `binding`, `token_request` | `pods/binding`; `serviceaccounts/token` |
//! | `eviction` | `pods/eviction`: deletes that ask a disruption budget |
//! | `pod` | what binding and eviction have in common |
//! | `strategy` | what the server sets and keeps in every object (upstream: `registry/rest`) |
//! | `services`, `cidr` | ClusterIPs and NodePorts: no address is given out twice |
//! | `crd` | CustomResourceDefinitions: names, and an end that takes their objects along |
//! | `metrics`, `summaries` | `metrics.k8s.io`, from the kubelets |
//! | `bootstrap` | what a new cluster begins with |

pub(crate) mod binding;
pub(crate) mod bootstrap;
pub(crate) mod cidr;
pub(crate) mod crd;
pub(crate) mod delete;
pub(crate) mod eviction;
pub(crate) mod filter;
mod list_past;
pub(crate) mod listing;
pub(crate) mod metrics;
mod pod;
pub(crate) mod read;
mod replicas;
pub(crate) mod scale;
pub(crate) mod services;
pub(crate) mod strategy;
pub(crate) mod summaries;
pub(crate) mod token_request;
pub(crate) mod watch;
pub(crate) mod write;

//! Who a client is, and what it may do.
//!
//! | file | part |
//! |---|---|
//! | `authn` | authentication: certificates, tokens, then impersonation |
//! | `impersonation` | users who ask to be taken for others |
//! | `bearer` | where a request carries its token |
//! | `tokens`, `verified` | ServiceAccount tokens and the signatures that were checked lately |
//! | `user` | the user of a request |
//! | `rbac`, `attributes` | authorization: the node authorizer, then roles and their bindings |
//! | `role_bindings` | an index from a user to the roles that are bound to it |
//! | `node_authorizer` | what a kubelet may do |
//! | `escalation`, `missing` | no user gives away rights that it lacks: roles and bindings |
//! | `param_access` | no user learns what it may not read: parameters of admission policies |
//! | `policy`, `reconcile` | the default roles, and their repair in an older cluster |
//! | `reviews`, `access_reviews` | questions of clients about tokens and rights |

pub(crate) mod access_reviews;
pub(crate) mod attributes;
pub(crate) mod authn;
pub(crate) mod bearer;
pub(crate) mod escalation;
pub(crate) mod impersonation;
mod missing;
pub(crate) mod node_authorizer;
mod param_access;
pub(crate) mod policy;
pub(crate) mod rbac;
pub(crate) mod reconcile;
pub(crate) mod reviews;
pub(crate) mod role_bindings;
pub(crate) mod tokens;
pub(crate) mod user;
pub(crate) mod verified;
